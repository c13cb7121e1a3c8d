/* The guard: what a request's raw target and headers must not contain.
 *
 * libmicrohttpd 0.9.75 accepts a Content-Length beside a Transfer-Encoding, takes the first of two
 * Content-Lengths and accepts a blank before a header's colon: behind a proxy that decides
 * otherwise, each lets one request hide another. It also cuts the path at %00 and waits for ever on
 * an unknown Transfer-Encoding. These pure functions refuse all of them (RFC 9112,
 * sections 3.2, 5.1, 6.1-6.3). */
#ifndef AFFECTD_SERVER_GUARD_H
#define AFFECTD_SERVER_GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t n_content_length, n_transfer_encoding, n_host;
    const char *reason; /* NULL while nothing is wrong; borrowed for ever */
} guard;

/* The raw target as sent. */
void guard_target(guard *self, const char *target);
/* Each header, in order. */
void guard_header(guard *self, const char *name, const char *value);
/* After the last header; version is "HTTP/1.1". Returns the reason to refuse, or NULL. */
const char *guard_end(guard *self, const char *version);

/* An X-Request-Id worth echoing: 1 to 64 of [A-Za-z0-9._-]. */
bool guard_request_id(const char *text);

#endif
