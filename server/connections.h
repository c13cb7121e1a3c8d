/* The table of connections, and the watch that walks it.
 *
 * Each open socket has an entry with what it is doing since when; the watch (one thread) shuts down
 * sockets whose headers or bodies are late, and reports clients that left while suspended. The
 * entry's owner is the HTTP thread of its connection; every field is guarded by the table's lock.
 * Lock order: the table's, then a request's. */
#ifndef AFFECTD_SERVER_CONNECTIONS_H
#define AFFECTD_SERVER_CONNECTIONS_H

#include "api/settings.h"

#include <stdint.h>

typedef struct connections connections;
typedef struct connection_entry connection_entry;

typedef enum {
    CONNECTION_IDLE,    /* between requests, or reading headers */
    CONNECTION_BODY,    /* reading a body */
    CONNECTION_WORKING, /* suspended: a handler or a parked stream */
    CONNECTION_SENDING
} connection_phase;

/* Called by the watch, with the table locked, for a WORKING connection: `gone` when the client
 * left; else about four times a second, for heartbeats. */
typedef void connection_visit(void *request, bool gone, double now);

affect_status connections_create(connections **table, const api_settings *settings,
                                 connection_visit *visit, affect_error *err);
void connections_free(connections *table);
/* Shuts every socket down. */
void connections_cut(connections *table);

/* NULL without memory. Where few places are left, the connection that has been silent longest is
 * shut down: between requests, or one that never sent any. */
connection_entry *connections_add(connections *table, int fd);
/* What the HTTP side keeps with the connection, NULL at first; for its own thread only. */
void **connections_slot(connection_entry *entry);
void connections_remove(connections *table, connection_entry *entry);
/* request is what visits get; NULL between requests. */
void connections_phase(connections *table, connection_entry *entry, connection_phase phase,
                       void *request);
/* More of the body came. */
void connections_progress(connections *table, connection_entry *entry, size_t n_bytes);

#endif
