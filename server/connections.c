/* The table of connections; see connections.h. */
#include "server/connections.h"

#include "api/log.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define WATCH_NS (200 * 1000 * 1000)
#define RESERVE  32 /* places that silent connections do not keep from those that come */

struct connection_entry {
    connection_entry *next, *previous;
    int fd;
    connection_phase phase;
    double since;             /* of the phase */
    double headers_since;     /* first byte of a request seen, 0 while none */
    uint64_t bytes_when_idle; /* received by the socket when the phase became IDLE */
    uint64_t body_bytes;
    double last_progress; /* of the body */
    bool answered_late;
    bool is_cut;
    void *request;
    void *slot;
};

struct connections {
    const api_settings *settings;
    connection_visit *visit;
    pthread_mutex_t lock; /* guards all below and every entry */
    pthread_cond_t stop;
    bool stopping;
    connection_entry *first;
    int64_t n_open; /* entries that are not cut */
    pthread_t watch;
};

/* Bytes the peer has sent on this socket so far. */
static uint64_t bytes_received(int fd) {
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
    return info.tcpi_bytes_received;
}

static bool headers_late(const connections *table, connection_entry *entry, double now) {
    if (bytes_received(entry->fd) <= entry->bytes_when_idle) return false;
    if (entry->headers_since == 0) entry->headers_since = now;
    return now - entry->headers_since > table->settings->header_timeout_seconds;
}

static bool body_late(const connections *table, const connection_entry *entry, double now) {
    double allowed = table->settings->body_timeout_seconds +
                     (double)entry->body_bytes / (double)table->settings->min_body_bytes_per_second;
    return now - entry->since > allowed;
}

static bool client_left(const connection_entry *entry) {
    char byte;
    ssize_t n = recv(entry->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/* libmicrohttpd 0.9 keeps a connection whose client left in the middle of a request until the idle
 * timeout. A client that only closed its sending side has sent all before: it is past these phases.
 */
static bool abandoned(const connection_entry *entry, double now) {
    bool halted = entry->phase == CONNECTION_IDLE ? entry->headers_since > 0
                                                  : now - entry->last_progress > 0.5;
    return entry->phase != CONNECTION_SENDING && halted && client_left(entry);
}

/* The answer to a client that sends too slowly. libmicrohttpd cannot answer before a request is
 * complete, so this is written past it: its threads answer only after connections_phase, which
 * needs the lock that is held here. Plain HTTP only. */
static void answer_late(connection_entry *entry) {
    static const char body[] =
        "{\"type\":\"urn:affectd:problem:request_timeout\","
        "\"title\":\"The request came too slowly\",\"status\":408,\"detail\":\"%s\","
        "\"instance\":\"\",\"code\":\"request_timeout\",\"request_id\":\"%s\"}\n";
    if (entry->answered_late) return;
    entry->answered_late = true;
    char id[AFFECT_ULID_SIZE], request_id[AFFECT_ULID_SIZE + 4], text[1024], content[640];
    affect_ulid_make(id);
    snprintf(request_id, sizeof request_id, "req_%s", id);
    snprintf(content, sizeof content, body,
             entry->phase == CONNECTION_BODY ? "the body came too slowly"
                                             : "the headers came too slowly",
             request_id);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
                     "X-Request-Id: %s\r\nCache-Control: no-store\r\nConnection: close\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     request_id, strlen(content), content);
    (void)!send(entry->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    api_log(API_LOG_INFO, "a slow client was cut", "request_id", request_id, NULL);
}

static void look(const connections *table, connection_entry *entry, double now) {
    if (entry->phase == CONNECTION_WORKING) {
        table->visit(entry->request, client_left(entry), now);
        return;
    }
    bool late = (entry->phase == CONNECTION_IDLE && headers_late(table, entry, now)) ||
                (entry->phase == CONNECTION_BODY && body_late(table, entry, now));
    if (late) answer_late(entry);
    if (late || abandoned(entry, now)) shutdown(entry->fd, SHUT_RDWR);
}

static void *watch(void *argument) {
    connections *table = argument;
    pthread_mutex_lock(&table->lock);
    while (!table->stopping) {
        double now = affect_clock_seconds();
        for (connection_entry *e = table->first; e; e = e->next) look(table, e, now);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC,
                      &until); /* the condition's: steps of the time do not count */
        until.tv_nsec += WATCH_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&table->stop, &table->lock, &until);
    }
    pthread_mutex_unlock(&table->lock);
    return NULL;
}

affect_status connections_create(connections **table, const api_settings *settings,
                                 connection_visit *visit, affect_error *err) {
    connections *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for connections");
    made->settings = settings;
    made->visit = visit;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int error_number = pthread_create(&made->watch, NULL, watch, made);
    if (error_number) {
        free(made);
        return affect_error_errno(err, error_number, "the watch was not started");
    }
    *table = made;
    return AFFECT_STATUS_OK;
}

void connections_free(connections *table) {
    if (!table) return;
    pthread_mutex_lock(&table->lock);
    table->stopping = true;
    pthread_cond_signal(&table->stop);
    pthread_mutex_unlock(&table->lock);
    pthread_join(table->watch, NULL);
    pthread_cond_destroy(&table->stop);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

void connections_cut(connections *table) {
    pthread_mutex_lock(&table->lock);
    for (connection_entry *e = table->first; e; e = e->next) shutdown(e->fd, SHUT_RDWR);
    pthread_mutex_unlock(&table->lock);
}

static void cut(connections *table, connection_entry *entry) {
    if (!entry->is_cut) table->n_open--;
    entry->is_cut = true;
    shutdown(entry->fd, SHUT_RDWR);
}

/* Between requests for the longest time, and with nothing of the next one come. */
static connection_entry *longest_silent(const connections *table) {
    connection_entry *oldest = NULL;
    for (connection_entry *e = table->first; e; e = e->next)
        if (e->phase == CONNECTION_IDLE && !e->is_cut && e->headers_since == 0 &&
            (!oldest || e->since < oldest->since))
            oldest = e;
    return oldest;
}

void **connections_slot(connection_entry *entry) {
    return &entry->slot;
}

connection_entry *connections_add(connections *table, int fd) {
    connection_entry *entry = calloc(1, sizeof *entry);
    if (!entry) return NULL;
    entry->fd = fd;
    entry->since = affect_clock_seconds();
    pthread_mutex_lock(&table->lock);
    int64_t most = table->settings->max_connections;
    connection_entry *silent = table->n_open >= most - (most / 4 < RESERVE ? most / 4 : RESERVE)
                                   ? longest_silent(table)
                                   : NULL;
    if (silent) cut(table, silent);
    table->n_open++;
    entry->next = table->first;
    if (entry->next) entry->next->previous = entry;
    table->first = entry;
    pthread_mutex_unlock(&table->lock);
    return entry;
}

void connections_remove(connections *table, connection_entry *entry) {
    if (!entry) return;
    pthread_mutex_lock(&table->lock);
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        table->first = entry->next;
    if (entry->next) entry->next->previous = entry->previous;
    if (!entry->is_cut) table->n_open--;
    pthread_mutex_unlock(&table->lock);
    free(entry);
}

void connections_phase(connections *table, connection_entry *entry, connection_phase phase,
                       void *request) {
    if (!entry) return;
    uint64_t received = phase == CONNECTION_IDLE ? bytes_received(entry->fd) : 0;
    pthread_mutex_lock(&table->lock);
    entry->phase = phase;
    entry->request = request;
    entry->since = affect_clock_seconds();
    entry->headers_since = 0;
    entry->body_bytes = 0;
    entry->last_progress = entry->since;
    if (phase == CONNECTION_IDLE) entry->bytes_when_idle = received;
    pthread_mutex_unlock(&table->lock);
}

void connections_progress(connections *table, connection_entry *entry, size_t n_bytes) {
    if (!entry) return;
    pthread_mutex_lock(&table->lock);
    entry->body_bytes += n_bytes;
    entry->last_progress = affect_clock_seconds();
    pthread_mutex_unlock(&table->lock);
}
