/* HTTP on libmicrohttpd (0.9.75 to 1.0); see http.h.
 *
 * A request is made by the first callback that sees its raw target and freed by the last one that
 * knows it (it is counted: the connection and a stream's response each hold it). `lock` guards
 * whether its connection is suspended and what has happened meanwhile, so that it is resumed
 * exactly once for each suspension. Lock order: the connection table's, then a request's; no lock
 * is held while a stream's source is read. */
#include "server/http.h"

#include "api/body.h"
#include "api/counters.h"
#include "api/documents.h"
#include "api/executor.h"
#include "api/log.h"
#include "api/problem.h"
#include "api/routes.h"
#include "server/address.h"
#include "server/connections.h"
#include "server/guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTION_MEMORY (32u << 10) /* a megabyte would cost three quarters of the throughput */
#define POST_BUFFER       4096u
#define STREAM_BLOCK      16384u
#define DRAIN_BYTES       (1u << 20) /* of a failed body that are read before the client is cut */

struct http_server {
    api_context *context;
    struct MHD_Daemon *daemon;
    connections *connections;
    api_executor *executor;
    int port;
    atomic_int n_requests; /* alive */
    atomic_int n_streams;  /* being sent */
};

typedef struct {
    http_server *server;
    struct MHD_Connection *connection;
    connection_entry *entry;
    api_request *request;
    char *target; /* raw; owned */
    struct MHD_PostProcessor *post;
    api_body body;
    bool begun, refused, dispatched;
    double started;
    atomic_int n_holders;
    uint64_t n_sent;

    pthread_mutex_t lock; /* guards: */
    bool suspended, answered, woken;

    affect_buffer pending; /* of a stream: read from its source, not yet sent */
    size_t pending_sent;
    atomic_bool heartbeat_due;
    double last_sent;
} http_request;

/* ---- Life of a request ---- */

static void release(http_request *r) {
    if (atomic_fetch_sub(&r->n_holders, 1) != 1) return;
    pthread_mutex_lock(&r->lock); /* the thread that resumed it has released the lock behind this */
    pthread_mutex_unlock(&r->lock);
    if (r->post) MHD_destroy_post_processor(r->post);
    atomic_fetch_sub(&r->server->n_requests, 1);
    pthread_mutex_destroy(&r->lock);
    affect_buffer_free(&r->pending);
    api_request_free(r->request);
    free(r->target);
    free(r);
}

/* The request that the library has not completed yet, kept with its connection: some of its ways
 * out of a request that it refuses by itself skip the callback of completion. */
static void **unfinished(struct MHD_Connection *connection) {
    connection_entry *entry =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    return entry ? connections_slot(entry) : NULL;
}

static void drop_unfinished(void **slot) {
    http_request *left = slot ? *slot : NULL;
    if (!left) return;
    *slot = NULL;
    release(left);
}

/* The first sight of a request: its raw target. The library would next count and copy the query's
 * arguments, whose number it does not bound; we read them ourselves (api_request_set_target, which
 * does), so its own copy of the target ends before the query. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection) {
    void **slot = unfinished(connection);
    drop_unfinished(slot);
    http_request *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    if (slot) *slot = r;
    r->server = cls;
    r->connection = connection;
    r->target = strdup(target);
    r->started = affect_clock_seconds();
    atomic_init(&r->n_holders, 1);
    pthread_mutex_init(&r->lock, NULL);
    atomic_fetch_add(&r->server->n_requests, 1);
    char *query = strchr((char *)target, '?'); /* the library's buffer, which it parses in place */
    if (query) query[0] = query[1] = '\0';
    return r;
}

static bool is_probe(const char *path) {
    static const char *const probes[] = {"/livez", "/readyz", "/healthz", "/metrics"};
    for (size_t i = 0; path && i < sizeof probes / sizeof *probes; i++)
        if (strcmp(path, probes[i]) == 0) return true;
    return false;
}

/* Probes come every few seconds for ever and say nothing: they are logged at debug. */
static void log_request(const http_request *r, int status) {
    const api_request *x = r->request;
    bool probe = x->route && x->route->role == API_ROLE_ANYONE && status < 400;
    api_log_level level = probe ? API_LOG_DEBUG : API_LOG_INFO;
    if (!api_log_has(level)) return;
    affect_json *fields = affect_json_new_object();
    affect_json_set_string(fields, "request_id", x->id);
    affect_json_set_string(fields, "method", x->method);
    affect_json_set_string(fields, "path", x->path ? x->path : "");
    affect_json_set_number(fields, "status", status);
    affect_json_set_number(fields, "bytes", (double)r->n_sent);
    affect_json_set_number(fields, "ms",
                           (double)(int64_t)((affect_clock_seconds() - r->started) * 1e6) / 1e3);
    api_log_fields(level, "request", fields);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode how) {
    (void)how;
    http_server *server = cls;
    http_request *r = *con_cls;
    *con_cls = NULL;
    if (!r) return;
    void **slot = unfinished(connection);
    if (slot && *slot == r) *slot = NULL;
    connections_phase(server->connections, r->entry, CONNECTION_IDLE, NULL);
    if (r->request) {
        int status = r->request->answer.status;
        log_request(r, status);
        api_metrics_in_flight(server->context->metrics, -1);
        api_metrics_count(server->context->metrics, r->request,
                          affect_clock_seconds() - r->started);
    }
    release(r);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what) {
    http_server *server = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context) drop_unfinished(connections_slot(*socket_context));
        connections_remove(server->connections, *socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = connections_add(server->connections, info->connect_fd);
}

/* ---- Suspending and resuming ---- */

static void resume_locked(http_request *r) {
    r->suspended = false;
    MHD_resume_connection(r->connection);
}

static void on_answered(api_request *request) {
    http_request *r = request->connection;
    pthread_mutex_lock(&r->lock);
    r->answered = true;
    if (r->suspended) resume_locked(r);
    pthread_mutex_unlock(&r->lock);
}

static void on_wake(api_request *request) {
    http_request *r = request->connection;
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    if (r->suspended && r->answered) resume_locked(r);
    pthread_mutex_unlock(&r->lock);
}

static const api_transport transport = {on_answered, on_wake};

/* The watch looks at a suspended connection. */
static void visit(void *context, bool gone, double now) {
    http_request *r = context;
    const api_settings *settings = r->server->context->settings;
    if (gone) atomic_store(&r->request->client_gone, true);
    pthread_mutex_lock(&r->lock);
    bool parked = r->suspended && r->answered;
    bool silent = parked && now - r->last_sent > settings->heartbeat_seconds;
    if (silent) atomic_store(&r->heartbeat_due, true);
    if (parked && (gone || silent)) resume_locked(r);
    pthread_mutex_unlock(&r->lock);
}

/* ---- Sending ---- */

/* Appends what the stream has; true when there is something to send or the end was reached. */
static api_stream_state read_source(http_request *r) {
    const api_stream *stream = &r->request->answer.stream;
    affect_buffer_clear(&r->pending);
    r->pending_sent = 0;
    if (atomic_exchange(&r->heartbeat_due, false) && stream->heartbeat) {
        affect_buffer_append_string(&r->pending, stream->heartbeat);
        return API_STREAM_DATA;
    }
    return stream->read(stream->context, r->request, &r->pending, STREAM_BLOCK);
}

static ssize_t send_pending(http_request *r, char *to, size_t max) {
    size_t n = r->pending.size - r->pending_sent;
    if (n > max) n = max;
    memcpy(to, r->pending.data + r->pending_sent, n);
    r->pending_sent += n;
    r->n_sent += n;
    r->last_sent = affect_clock_seconds();
    return (ssize_t)n;
}

/* Parks the connection unless something was appended since `read` looked. */
static bool park(http_request *r) {
    connections_phase(r->server->connections, r->entry, CONNECTION_WORKING, r);
    pthread_mutex_lock(&r->lock);
    bool parked = !r->woken && !atomic_load(&r->request->client_gone);
    if (parked) {
        r->suspended = true;
        MHD_suspend_connection(r->connection);
    }
    pthread_mutex_unlock(&r->lock);
    return parked;
}

static ssize_t stream_read(void *cls, uint64_t position, char *to, size_t max) {
    (void)position;
    http_request *r = cls;
    for (;;) {
        if (r->pending_sent < r->pending.size) return send_pending(r, to, max);
        if (atomic_load(&r->request->client_gone)) return MHD_CONTENT_READER_END_WITH_ERROR;
        pthread_mutex_lock(&r->lock);
        r->woken = false;
        pthread_mutex_unlock(&r->lock);
        api_stream_state state = read_source(r);
        if (r->pending.failed) return MHD_CONTENT_READER_END_WITH_ERROR;
        if (r->pending.size) continue;
        if (state == API_STREAM_END) return MHD_CONTENT_READER_END_OF_STREAM;
        if (state == API_STREAM_WAIT && park(r)) return 0;
    }
}

static void stream_free(void *cls) {
    http_request *r = cls;
    api_stream *stream = &r->request->answer.stream;
    stream->free(stream->context);
    stream->free = NULL;
    atomic_fetch_sub(&r->server->n_streams, 1);
    release(r);
}

static struct MHD_Response *make_response(http_request *r) {
    api_answer *answer = &r->request->answer;
    switch (answer->kind) {
    case API_ANSWER_FILE: {
        int fd = answer->fd;
        answer->fd = -1;
        r->n_sent = answer->file_size;
        return MHD_create_response_from_fd_at_offset64(answer->file_size, fd, answer->file_offset);
    }
    case API_ANSWER_STREAM: {
        r->last_sent = affect_clock_seconds();
        struct MHD_Response *response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, r, stream_free);
        if (response) {
            atomic_fetch_add(&r->n_holders, 1);
            atomic_fetch_add(&r->server->n_streams, 1);
        }
        return response;
    }
    default:
        break;
    }
    size_t size = answer->body.size;
    r->n_sent = size;
    if (size == 0) return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    char *data = affect_buffer_take(&answer->body);
    return MHD_create_response_from_buffer(size, data, MHD_RESPMEM_MUST_FREE);
}

/* Streams last: they must leave places for requests that do not. */
static void refuse_stream(http_request *r) {
    api_request *x = r->request;
    api_stream *stream = &x->answer.stream;
    if (x->answer.kind != API_ANSWER_STREAM ||
        atomic_load(&r->server->n_streams) < r->server->context->settings->max_event_readers)
        return;
    if (stream->free) stream->free(stream->context);
    *stream = (api_stream){0};
    api_pairs_free(&x->answer.headers);
    api_answer_problem(x, "busy", "too many event streams are open");
}

static enum MHD_Result send_answer(http_request *r) {
    api_request *x = r->request;
    refuse_stream(r);
    connections_phase(r->server->connections, r->entry, CONNECTION_SENDING, r);
    struct MHD_Response *response = make_response(r);
    if (!response) return MHD_NO;
    for (size_t i = 0; i < x->answer.headers.n; i++)
        MHD_add_response_header(response, x->answer.headers.items[i].name,
                                x->answer.headers.items[i].value);
    MHD_add_response_header(response, "X-Request-Id", x->id);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (!api_pairs_find(&x->answer.headers, "Cache-Control", true))
        MHD_add_response_header(response, "Cache-Control", "no-store");
    if (x->answer.close) MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result =
        MHD_queue_response(r->connection, (unsigned)x->answer.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- Headers ---- */

typedef struct {
    http_request *r;
    guard guard;
    bool complete;
    const char *end; /* of the text before, in the library's buffer */
} header_walk;

/* Whether only the bytes of `between` (and NULs, which the library writes over ends) lie from..to.
 */
static bool only(const char *from, const char *to, const char *between) {
    if (to < from || to - from > CONNECTION_MEMORY) return false;
    for (; from < to; from++)
        if (*from && !strchr(between, *from)) return false;
    return true;
}

/* libmicrohttpd before 1.0 ends a value at a NUL, glues folded lines together ("Content-Length: 2"
 * and " 3" become 23) and drops lines that are no headers: a proxy may see another request. It
 * parses in place, so what it hid lies between the texts that it shows. */
static bool in_sequence(header_walk *walk, const char *name, size_t name_size, const char *value,
                        size_t value_size) {
    const char *end = walk->end;
    walk->end = value + value_size;
    return MHD_VERSION >= 0x01000000 ||
           ((!end || only(end, name, "\r\n \t")) && only(name + name_size, value, ": \t"));
}

/* Behind the last header stands the empty line. */
static bool ends_headers(const header_walk *walk) {
    return MHD_VERSION >= 0x01000000 || !walk->end || only(walk->end, walk->end + 4, "\r\n");
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size) {
    (void)kind;
    header_walk *walk = cls;
    if (!value) value = name + name_size, value_size = 0;
    if (!in_sequence(walk, name, name_size, value, value_size))
        guard_refuse(&walk->guard, "a folded header, a NUL, or a line that is no header");
    guard_header(&walk->guard, strlen(name) == name_size ? name : "", value, value_size);
    if (!api_pairs_add(&walk->r->request->headers, name, value)) walk->complete = false;
    return MHD_YES;
}

static void set_request_id(api_request *x) {
    const char *given = api_header(x, "X-Request-Id");
    if (given && guard_request_id(given)) {
        snprintf(x->id, sizeof x->id, "%s", given);
        return;
    }
    char id[AFFECT_ULID_SIZE];
    affect_ulid_make(id);
    snprintf(x->id, sizeof x->id, "req_%s", id);
}

/* The answer to a request that comes while the server stops. An EventSource gives up for ever after
 * a 503, but comes back after a cut: false, cut it. */
static bool refuse_draining(http_request *r) {
    const char *accept = api_header(r->request, "Accept");
    if (accept && strstr(accept, "text/event-stream")) return false;
    r->request->answer.close = true;
    api_answer_problem(r->request, "draining", "the server is stopping");
    return true;
}

/* The names of server and page; probes may use any. False: answered. */
static bool check_names(http_request *r, const guard *of) {
    const api_settings *settings = r->server->context->settings;
    api_request *x = r->request;
    if (is_probe(x->path)) return true;
    x->answer.close = true;
    if (!guard_host_allowed(of, settings->listen, settings->allowed_hosts))
        api_answer_problem(x, "misdirected",
                           "the Host \"%.100s\" is not among the allowed ones "
                           "(setting allowed_hosts)",
                           of->host);
    else if (!guard_origin_allowed(of, x->method))
        api_answer_problem(x, "forbidden", "a page of \"%.100s\" may not do this", of->origin);
    else
        x->answer.close = false;
    return !x->answer.close;
}

/* Judges the request by its headers. False: answered. */
static bool check_request(http_request *r, const char *version) {
    api_request *x = r->request;
    header_walk walk = {.r = r, .complete = true, .end = version + strlen(version)};
    guard_target(&walk.guard, r->target);
    MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, on_header, &walk);
    if (!ends_headers(&walk)) guard_refuse(&walk.guard, "a line that is no header");
    set_request_id(x);
    const char *reason = guard_end(&walk.guard, version);
    bool readable = !reason && api_request_set_target(x, r->target);
    if (!readable) {
        x->answer.close = true;
        api_answer_problem(x, "malformed", "%s", reason ? reason : "malformed target");
        return false;
    }
    if (!walk.complete) {
        api_answer_problem(x, "no_memory", "no memory for the request");
        return false;
    }
    if (!check_names(r, &walk.guard)) return false;
    uint64_t limit = 0;
    if (!api_route_find(x) || !api_route_check(x, &limit)) {
        /* What was announced is not read: the connection cannot continue. */
        x->answer.close = api_header(x, "Content-Length") || api_header(x, "Transfer-Encoding");
        return false;
    }
    const char *length = api_header(x, "Content-Length");
    affect_error error = {0};
    if (length && api_body_check_space(x, strtoull(length, NULL, 10), &error) != AFFECT_STATUS_OK) {
        x->answer.close = true;
        api_answer_error(x, &error);
        return false;
    }
    api_body_begin(&r->body, x, limit);
    return true;
}

static enum MHD_Result on_part(void *cls, enum MHD_ValueKind kind, const char *name,
                               const char *file_name, const char *content_type,
                               const char *encoding, const char *data, uint64_t offset,
                               size_t size) {
    (void)kind, (void)encoding;
    http_request *r = cls;
    if (!name) name = "";
    /* A value that begins with a line break comes with offset 0 twice, first without bytes, when
     * the break is the end of what was received. */
    int current = r->body.current;
    const api_part_state *part = current < 0 ? NULL : &r->request->parts[current];
    bool continued = part && part->size == 0 && strcmp(part->name, name) == 0;
    if (offset == 0 && !continued) api_body_part(&r->body, name, file_name, content_type);
    api_body_append(&r->body, data, size);
    return MHD_YES;
}

static bool has_body(const api_request *x) {
    const char *length = api_header(x, "Content-Length");
    return api_header(x, "Transfer-Encoding") || (length && strtoull(length, NULL, 10) > 0);
}

/* The first call for a request: headers are in, the body is not. */
static enum MHD_Result begin(http_request *r, const char *method, const char *version) {
    r->begun = true;
    r->request = api_request_create(r->server->context, &transport);
    if (!r->request) return MHD_NO;
    api_request *x = r->request;
    x->connection = r;
    snprintf(x->method, sizeof x->method, "%s", method);
    r->entry =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    api_metrics_in_flight(r->server->context->metrics, 1);
    bool accepted = check_request(r, version);
    if (accepted && atomic_load(&r->server->context->draining)) {
        if (!refuse_draining(r)) return MHD_NO;
        accepted = false;
    }
    if (!accepted) {
        /* Answered before its body is read, a request ends its connection; without a body it need
         * not, if the answer waits for the next call. */
        r->refused = true;
        return has_body(x) ? send_answer(r) : MHD_YES;
    }
    connections_phase(r->server->connections, r->entry, CONNECTION_BODY, r);
    if (x->body_kind == API_BODY_MULTIPART) {
        r->post = MHD_create_post_processor(r->connection, POST_BUFFER, on_part, r);
        if (!r->post) {
            x->answer.close = true;
            api_answer_problem(x, "malformed", "multipart/form-data without a usable boundary");
            return send_answer(r);
        }
    } else if (x->body_kind != API_BODY_NONE && has_body(x)) {
        api_body_part(&r->body, "", NULL, api_header(x, "Content-Type"));
    }
    return MHD_YES;
}

/* ---- Body ---- */

static enum MHD_Result feed(http_request *r, const char *data, size_t *size) {
    connections_progress(r->server->connections, r->entry, *size);
    api_body_count(&r->body, *size);
    bool failed = r->body.error.status != AFFECT_STATUS_OK;
    if (!failed && r->post) {
        if (MHD_post_process(r->post, data, *size) != MHD_YES)
            affect_fail(&r->body.error, INVALID, "malformed multipart body");
    } else if (!failed) {
        api_body_append(&r->body, data, *size);
    } else if (r->body.received > r->body.limit + DRAIN_BYTES) {
        return MHD_NO; /* only a cut connection stops such a client */
    }
    *size = 0;
    return MHD_YES;
}

/* The body is in: hands the request to the handlers. */
static enum MHD_Result dispatch(http_request *r) {
    api_request *x = r->request;
    r->dispatched = true;
    bool whole = !r->post || MHD_destroy_post_processor(r->post) == MHD_YES;
    r->post = NULL;
    if (!whole && r->body.error.status == AFFECT_STATUS_OK)
        affect_fail(&r->body.error, INVALID, "the multipart body ends too early");
    if (!api_body_end(&r->body)) {
        x->answer.close = true;
        if (r->body.error.status == AFFECT_STATUS_TOO_LARGE) {
            affect_json *members = affect_json_new_object();
            affect_json_set_number(members, "limit", (double)r->body.limit);
            api_answer_problem_with(x, "too_large", members, "%s", r->body.error.message);
        } else {
            api_answer_error(x, &r->body.error);
        }
        return send_answer(r);
    }
    connections_phase(r->server->connections, r->entry, CONNECTION_WORKING, r);
    if (api_documents_answer(x)) return send_answer(r);
    if (api_route_is_immediate(x->route)) {
        x->route->handler(x);
        return send_answer(r);
    }
    pthread_mutex_lock(&r->lock);
    r->suspended = true;
    MHD_suspend_connection(r->connection);
    pthread_mutex_unlock(&r->lock);
    if (!api_executor_submit(r->server->executor, x))
        api_answer_problem(x, "busy", "too many requests wait for a handler");
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **con_cls) {
    (void)cls, (void)connection, (void)url;
    http_request *r = *con_cls;
    if (!r || !r->target) return MHD_NO;
    if (!r->begun) return begin(r, method, version);
    if (*upload_size) return feed(r, upload, upload_size);
    if (!r->refused && !r->dispatched) return dispatch(r);
    return send_answer(r);
}

/* ---- What the library refuses by itself ---- */

/* The library's own calls of this function come here as well, through the dynamic linker. Its pages
 * are HTML; here they become problems. For a wrong Content-Length 0.9.75 would send the head twice:
 * that connection is cut. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response) {
    typedef enum MHD_Result queue(struct MHD_Connection *, unsigned, struct MHD_Response *);
    static _Atomic(void *) next;
    if (!atomic_load(&next)) atomic_store(&next, dlsym(RTLD_NEXT, "MHD_queue_response"));
    queue *send_response = (queue *)atomic_load(&next);
    if (status < 400 || MHD_get_response_header(response, "X-Request-Id")) /* ours */
        return send_response(connection, status, response);
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length")) return MHD_NO;
    char *text = api_problem_text((int)status);
    if (!text) return MHD_NO;
    struct MHD_Response *problem =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!problem) return MHD_NO;
    MHD_add_response_header(problem, "Content-Type", "application/problem+json");
    MHD_add_response_header(problem, "Connection", "close");
    enum MHD_Result result = send_response(connection, status, problem);
    MHD_destroy_response(problem);
    return result;
}

/* ---- The server ---- */

static affect_status start_daemon(http_server *server, const struct addrinfo *address,
                                  affect_error *err) {
    const api_settings *s = server->context->settings;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                     (address->ai_family == AF_INET6 ? (unsigned)MHD_USE_IPv6 : 0);
    unsigned timeout = s->idle_timeout_seconds < 1 ? 1 : (unsigned)s->idle_timeout_seconds;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_SOCK_ADDR, 0, address->ai_addr},
        {MHD_OPTION_CONNECTION_TIMEOUT, timeout, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, s->max_connections, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->max_connections_per_address, NULL},
        {MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024, NULL},
        {s->http_threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, s->http_threads, NULL},
        {MHD_OPTION_END, 0, NULL}};
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!server->daemon)
        return affect_error_errno(err, errno ? errno : EIO, "cannot listen on %s", s->listen);
    server->port = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return AFFECT_STATUS_OK;
}

static affect_status start_all(http_server *server, affect_error *err) {
    const api_settings *s = server->context->settings;
    AFFECT_TRY(connections_create(&server->connections, s, visit, err));
    AFFECT_TRY(api_executor_create(&server->executor, (int)s->api_threads, (int)s->api_queue, err));
    struct addrinfo *address = NULL;
    AFFECT_TRY(address_resolve(&address, s->listen, err));
    affect_status status =
        address_is_loopback(address->ai_addr) || s->allow_anonymous
            ? start_daemon(server, address, err)
            : affect_fail(
                  err, INVALID,
                  "listen: %s is not loopback: anybody who reaches it could use this server; "
                  "say --allow-anonymous if that is meant",
                  s->listen);
    freeaddrinfo(address);
    return status;
}

affect_status http_server_start(http_server **server, api_context *context, affect_error *err) {
    http_server *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for the HTTP server");
    made->context = context;
    affect_status status = start_all(made, err);
    if (status != AFFECT_STATUS_OK) {
        api_executor_free(made->executor);
        connections_free(made->connections);
        free(made);
        return status;
    }
    *server = made;
    return AFFECT_STATUS_OK;
}

int http_server_port(const http_server *server) {
    return server->port;
}

/* True when no request is alive within `seconds`. */
static bool wait_for_requests(const http_server *server, double seconds) {
    double until = affect_clock_seconds() + seconds;
    while (atomic_load(&server->n_requests) > 0 && affect_clock_seconds() < until)
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    return atomic_load(&server->n_requests) == 0;
}

void http_server_stop(http_server *server, double seconds) {
    if (!wait_for_requests(server, seconds)) {
        connections_cut(server->connections);
        if (!wait_for_requests(server, 1))
            api_log(API_LOG_WARNING, "requests are still open", NULL);
    }
    api_executor_free(server->executor);
    MHD_stop_daemon(server->daemon);
    connections_free(server->connections);
    free(server);
}
