/* The guard: what a request's raw target and headers must not contain.
 *
 * libmicrohttpd 0.9.75 accepts a Content-Length beside a Transfer-Encoding, takes the first of two
 * Content-Lengths and accepts a blank before a header's colon: behind a proxy that decides
 * otherwise, each lets one request hide another. It also cuts the path at %00 and waits for ever on
 * an unknown Transfer-Encoding. These pure functions refuse all of them (RFC 9112,
 * sections 3.2, 5.1, 6.1-6.3).
 *
 * They also say whom a request is for: a page of another site must not reach the server under a
 * name of its own (DNS rebinding: Host), nor make a browser send it anything but a GET (Origin). */
#ifndef AFFECTD_SERVER_GUARD_H
#define AFFECTD_SERVER_GUARD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t n_content_length, n_transfer_encoding, n_host;
    const char *host, *origin; /* values, borrowed from guard_header's caller, or NULL */
    const char *reason;        /* NULL while nothing is wrong; borrowed for ever */
} guard;

/* The raw target as sent. */
void guard_target(guard *self, const char *target);
/* Each header, in order. size: of the value, which may hold anything. */
void guard_header(guard *self, const char *name, const char *value, size_t size);
/* What the caller saw itself; reason: borrowed for ever. */
void guard_refuse(guard *self, const char *reason);
/* After the last header; version is "HTTP/1.1". Returns the reason to refuse, or NULL. */
const char *guard_end(guard *self, const char *version);

/* Whether the Host, without its port, is one that the server has: a loopback name or address, the
 * host of `listen` (an address of any kind where that is 0.0.0.0 or [::]: an address cannot be
 * rebound), or one of `names` (blanks between them). A request without Host (HTTP/1.0) has none to
 * be wrong. */
bool guard_host_allowed(const guard *self, const char *listen, const char *names);
/* Whether the request changes nothing (GET, HEAD), comes from no page, or from a page of this Host.
 */
bool guard_origin_allowed(const guard *self, const char *method);

/* An X-Request-Id worth echoing: 1 to 64 of [A-Za-z0-9._-]. */
bool guard_request_id(const char *text);

#endif
