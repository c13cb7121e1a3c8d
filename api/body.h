/* Bodies while they arrive: parts in memory, or spooled to files once they are large.
 *
 * The HTTP side feeds a body piece by piece; the parts appear in the request when it is complete.
 * The first failure sticks (TOO_LARGE, NO_SPACE, NO_MEMORY, MALFORMED); later bytes are thrown
 * away. */
#ifndef AFFECT_API_BODY_H
#define AFFECT_API_BODY_H

#include "api/request.h"

typedef struct {
    api_request *request;
    uint64_t limit, received;
    uint64_t unchecked; /* spooled since the disk's free space was looked at */
    int current;        /* index of the part that grows, -1 at the start */
    affect_error error;
} api_body;

void api_body_begin(api_body *body, api_request *request, uint64_t limit);
/* Whether a body of that size fits and leaves the reserve free. NO_SPACE. */
affect_status api_body_check_space(const api_request *request, uint64_t n_bytes, affect_error *err);
/* Counts bytes of the connection against the limit. */
void api_body_count(api_body *body, size_t n_bytes);
/* Starts a part; name "" for a raw body. A name given twice is an error. */
void api_body_part(api_body *body, const char *name, const char *file_name,
                   const char *content_type);
/* Appends to the part that was started last. */
void api_body_append(api_body *body, const void *data, size_t size);
/* Fills what handlers see. True when the body is whole; otherwise `error` has the reason. */
bool api_body_end(api_body *body);

#endif
