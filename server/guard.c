/* The guard; see guard.h. */
#include "server/guard.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static void refuse(guard *self, const char *reason) {
    if (!self->reason) self->reason = reason;
}

void guard_target(guard *self, const char *target) {
    if (target[0] != '/') refuse(self, "the target must begin with /");
    for (const unsigned char *c = (const unsigned char *)target; *c; c++) {
        if (*c <= 0x20 || *c == 0x7F) refuse(self, "control byte or blank in the target");
        if (*c == '%' && c[1] == '0' && c[2] == '0') refuse(self, "%00 in the target");
        if (*c == '%' && !(isxdigit(c[1]) && isxdigit(c[2])))
            refuse(self, "malformed percent-escape in the target");
    }
}

static bool is_token(const char *name) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (!isalnum(*c) && !strchr(others, *c)) return false;
    return *name != '\0';
}

static bool is_digits(const char *text) {
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 18 && !text[n];
}

void guard_header(guard *self, const char *name, const char *value) {
    if (!is_token(name))
        refuse(self, "a header's name has a blank or a byte that no name may have");
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7F) refuse(self, "control byte in a header");
    if (strcasecmp(name, "Content-Length") == 0) {
        self->n_content_length++;
        if (!is_digits(value)) refuse(self, "Content-Length is not a number");
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        self->n_transfer_encoding++;
        if (strcasecmp(value, "chunked") != 0)
            refuse(self, "Transfer-Encoding: only chunked is accepted");
    } else if (strcasecmp(name, "Host") == 0) {
        self->n_host++;
    }
}

const char *guard_end(guard *self, const char *version) {
    if (self->n_content_length > 1) refuse(self, "more than one Content-Length");
    if (self->n_transfer_encoding > 1) refuse(self, "more than one Transfer-Encoding");
    if (self->n_content_length && self->n_transfer_encoding)
        refuse(self, "Content-Length together with Transfer-Encoding");
    if (self->n_host > 1) refuse(self, "more than one Host");
    if (self->n_host == 0 && strcmp(version, "HTTP/1.1") == 0) refuse(self, "the Host is missing");
    return self->reason;
}

bool guard_request_id(const char *text) {
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= 64 && !text[n];
}
