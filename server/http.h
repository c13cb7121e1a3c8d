/* HTTP: libmicrohttpd's connections turned into requests, and answers into bytes.
 *
 * A few threads of libmicrohttpd (epoll) read and write; they never wait for anything else. A
 * request is judged by its headers alone first (guard, route, method, type, length), so that a
 * client that waits for 100-continue sends nothing when it is refused; its body is read into memory
 * or a spool file; then the connection is suspended and the request handed to the handler threads.
 * The answer resumes it. A stream's connection is suspended whenever its source has nothing to say.
 *
 * One more thread, the watch, sees what libmicrohttpd cannot: headers or bodies that arrive too
 * slowly, clients that left while their connection was suspended, and streams that need a
 * heartbeat. */
#ifndef AFFECTD_SERVER_HTTP_H
#define AFFECTD_SERVER_HTTP_H

#include "api/context.h"
#include "engine/core/status.h"

typedef struct http_server http_server;

/* Listens on settings->listen. Borrows the context. */
affect_status http_server_start(http_server **server, struct api_context *context,
                                affect_error *err);
/* The port in use. */
int http_server_port(const http_server *server);
/* context->draining must be set: requests that come from then on are answered with 503 draining.
 * (MHD_quiesce_daemon would refuse their connections, but its threads then race for the listening
 * socket's place in their epoll sets, and the loser ends the process: a defect of 0.9.75 to 1.0.)
 * Waits at most `seconds` for open requests, cuts what is left, frees all. A caller that answers
 * deferred requests must be stopping. */
void http_server_stop(http_server *server, double seconds);

#endif
