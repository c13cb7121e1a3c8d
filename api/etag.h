/* Conditional requests (RFC 9110, section 13): If-Match and If-None-Match against an ETag. */
#ifndef AFFECT_API_ETAG_H
#define AFFECT_API_ETAG_H

#include "api/api.h"

typedef enum {
    API_CONDITION_HOLDS,     /* continue; also when the request has neither header */
    API_CONDITION_UNCHANGED, /* of GET and HEAD: the client has it already, 304 */
    API_CONDITION_FAILED     /* 412 */
} api_condition;

/* The request's condition against a resource that exists, whose current ETag is `etag` (strong,
 * with its quotes). */
api_condition api_condition_of(const api_request *request, const char *etag);
/* Whether the list of ETags ("*" is any) of a header names this one. weak: W/"x" counts as "x", as
 * If-None-Match compares; If-Match does not. What is no list of ETags names none. */
bool api_etag_listed(const char *list, const char *etag, bool weak);

#endif
