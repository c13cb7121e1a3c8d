/* The guard; see guard.h. */
#include "server/guard.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void guard_refuse(guard *self, const char *reason) {
    if (!self->reason) self->reason = reason;
}

void guard_target(guard *self, const char *target) {
    if (target[0] != '/') guard_refuse(self, "the target must begin with /");
    for (const unsigned char *c = (const unsigned char *)target; *c; c++) {
        if (*c <= 0x20 || *c == 0x7F) guard_refuse(self, "control byte or blank in the target");
        if (*c == '%' && c[1] == '0' && c[2] == '0') guard_refuse(self, "%00 in the target");
        if (*c == '%' && !(isxdigit(c[1]) && isxdigit(c[2])))
            guard_refuse(self, "malformed percent-escape in the target");
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

/* reg-name, address or [address], then perhaps a port (RFC 9110, 7.2). */
static bool is_host(const char *value) {
    size_t n = *value == '[' ? strcspn(value, "]") : 0;
    if (n && (value[n] != ']' || strspn(value + 1, "0123456789abcdefABCDEF:.") != n - 1))
        return false;
    const char *rest =
        n ? value + n + 1
          : value + strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-._~%!$&'()*+,;=");
    if (rest == value) return false;
    if (*rest == ':') rest += 1 + strspn(rest + 1, "0123456789");
    return !*rest;
}

void guard_header(guard *self, const char *name, const char *value, size_t size) {
    if (memchr(value, '\0', size)) guard_refuse(self, "a NUL in a header");
    if (!is_token(name))
        guard_refuse(self, "a header's name has a blank or a byte that no name may have");
    for (const unsigned char *c = (const unsigned char *)value; *c; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7F) guard_refuse(self, "control byte in a header");
    if (strcasecmp(name, "Content-Length") == 0) {
        self->n_content_length++;
        if (!is_digits(value)) guard_refuse(self, "Content-Length is not a number");
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        self->n_transfer_encoding++;
        if (strcasecmp(value, "chunked") != 0)
            guard_refuse(self, "Transfer-Encoding: only chunked is accepted");
    } else if (strcasecmp(name, "Host") == 0) {
        self->n_host++;
        self->host = value;
        if (!is_host(value))
            guard_refuse(self, "the Host is not a name or address with perhaps a port");
    } else if (strcasecmp(name, "Origin") == 0) {
        self->origin = value;
    }
}

const char *guard_end(guard *self, const char *version) {
    if (self->n_content_length > 1) guard_refuse(self, "more than one Content-Length");
    if (self->n_transfer_encoding > 1) guard_refuse(self, "more than one Transfer-Encoding");
    if (self->n_transfer_encoding && strcmp(version, "HTTP/1.1") != 0)
        guard_refuse(self, "Transfer-Encoding in HTTP/1.0");
    if (self->n_content_length && self->n_transfer_encoding)
        guard_refuse(self, "Content-Length together with Transfer-Encoding");
    if (self->n_host > 1) guard_refuse(self, "more than one Host");
    if (self->n_host == 0 && strcmp(version, "HTTP/1.1") == 0)
        guard_refuse(self, "the Host is missing");
    return self->reason;
}

/* ---- Whom it is for ---- */

/* Characters before the port. */
static size_t host_size(const char *host) {
    return *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
}

static bool same_name(const char *a, size_t n, const char *b, size_t m) {
    if (n > 1 && a[n - 1] == '.') n--; /* the root's dot */
    return n == m && strncasecmp(a, b, n) == 0;
}

static bool is_address(const char *host, size_t n) {
    return *host == '[' || strspn(host, "0123456789.") == n;
}

static bool is_loopback_name(const char *host, size_t n) {
    return same_name(host, n, "localhost", 9) || same_name(host, n, "[::1]", 5) ||
           (is_address(host, n) && strncmp(host, "127.", 4) == 0);
}

bool guard_host_allowed(const guard *self, const char *listen, const char *names) {
    if (!self->host) return true;
    size_t n = host_size(self->host), m = host_size(listen);
    bool anywhere = same_name(listen, m, "0.0.0.0", 7) || same_name(listen, m, "[::]", 4);
    if (is_loopback_name(self->host, n) || same_name(self->host, n, listen, m)) return true;
    if (anywhere && is_address(self->host, n)) return true;
    for (const char *word = names; *word;) {
        size_t size = strcspn(word, " ");
        if (size && same_name(self->host, n, word, size)) return true;
        word += size + (word[size] == ' ');
    }
    return false;
}

bool guard_origin_allowed(const guard *self, const char *method) {
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || !self->origin) return true;
    const char *host = strstr(self->origin, "://");
    return host && self->host && strcasecmp(host + 3, self->host) == 0;
}

bool guard_request_id(const char *text) {
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= 64 && !text[n];
}
