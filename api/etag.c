/* Conditional requests; see etag.h. */
#include "api/etag.h"

#include <string.h>

#define BLANKS " \t"

/* The end of the ETag that begins at text, W/ before it or not; NULL when there is none. */
static const char *end_of_tag(const char *text) {
    if (strncmp(text, "W/", 2) == 0) text += 2;
    if (*text++ != '"') return NULL;
    while (*text && *text != '"' && (unsigned char)*text > ' ' && *text != 0x7f) text++;
    return *text == '"' ? text + 1 : NULL;
}

bool api_etag_listed(const char *list, const char *etag, bool weak) {
    size_t size = strlen(etag);
    const char *at = list + strspn(list, BLANKS);
    if (*at == '*') return !at[1 + strspn(at + 1, BLANKS)];
    for (;;) {
        at += strspn(at, BLANKS ",");
        const char *end = *at ? end_of_tag(at) : NULL;
        if (!end) return false;
        if (weak && *at == 'W') at += 2;
        if ((size_t)(end - at) == size && memcmp(at, etag, size) == 0) return true;
        at = end + strspn(end, BLANKS);
        if (*at && *at != ',') return false;
    }
}

api_condition api_condition_of(const api_request *request, const char *etag) {
    const char *match = api_header(request, "If-Match");
    const char *none_match = api_header(request, "If-None-Match");
    const char *method = api_method(request);
    if (match && !api_etag_listed(match, etag, false)) return API_CONDITION_FAILED;
    if (!none_match || !api_etag_listed(none_match, etag, true)) return API_CONDITION_HOLDS;
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    return reads ? API_CONDITION_UNCHANGED : API_CONDITION_FAILED;
}
