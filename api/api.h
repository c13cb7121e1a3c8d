/* Everything a handler sees: a request, and the ways to answer it.
 *
 * server/http.c reads a request (its headers judged first, its body into memory or a spool file,
 * within the route's limits), looks up the route and hands an api_request to a small pool of api
 * threads. A handler runs on one of them: it may read the store and may wait for a commit there,
 * since no HTTP thread waits with it. It answers exactly once, by one of api_answer_*; what takes
 * longer (a prediction, ?wait=30) calls api_defer and answers later from any thread. Events are an
 * api_stream: a cursor that the HTTP side reads and parks.
 *
 * A request belongs to the code that must answer it; after the answer it is gone. When the client
 * leaves early the answer is thrown away, and api_client_gone reports it. */
#ifndef AFFECT_API_API_H
#define AFFECT_API_API_H

#include "engine/core/fields.h"
#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct api_request api_request;

/* All that handlers share; made by server/main.c, defined in api/context.h. */
typedef struct api_context api_context;

/* ---- The request: everything borrowed until the answer ---- */

typedef struct {
    const char *name;         /* of the multipart part; "" for a raw body */
    const char *file_name;    /* as the client says; never used as a path; NULL if none */
    const char *content_type; /* NULL if none */
    const char *data; /* in memory, NUL-terminated behind size; NULL when spooled to a file */
    size_t size;
    const char *path; /* of the spool file, NULL when in memory; removed after the answer
                         unless api_part_keep */
} api_part;

api_context *api_context_of(const api_request *request);
const char *api_method(const api_request *request);
const char *api_path(const api_request *request);
const char *api_request_id(const api_request *request);
/* "{name}" of the route's pattern, percent-decoded. */
const char *api_path_value(const api_request *request, const char *name);
/* A query value, or NULL. Queries that the route's row does not list, and values that do not fit
 * theirs, were already refused (422). */
const char *api_query(const api_request *request, const char *name);
/* An integer or boolean query of the route's row, or the row's default. */
int64_t api_query_integer(const api_request *request, const char *name);
bool api_query_bool(const api_request *request, const char *name);
const char *api_header(const api_request *request, const char *name);
/* Content-Type is type, with or without parameters. */
bool api_has_media_type(const api_request *request, const char *type);
bool api_accepts(const api_request *request, const char *content_type); /* named in Accept */
bool api_client_gone(const api_request *request);

/* The body: parts of a multipart form, or one part named "" for anything else. */
size_t api_n_parts(const api_request *request);
const api_part *api_part_at(const api_request *request, size_t index);
const api_part *api_part_find(const api_request *request, const char *name);
/* Moves a spooled part to `path` (same file system): it is not removed any more. */
affect_status api_part_keep(const api_part *part, const char *path, affect_error *err);
/* Whether there is no body, or {}; false: already answered (400, 422). */
bool api_body_is_empty(api_request *request);
/* The JSON body, parsed, owned by the request; NULL: already answered (400, 415). */
const affect_json *api_body_json(api_request *request);

/* ---- Answers: each ends the handler's right to the request ---- */

/* Added to whatever answer follows. */
void api_set_header(api_request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes ownership of the JSON; NULL answers 500. */
void api_answer_json(api_request *request, int status, affect_json *json);
/* Takes ownership of the buffer's bytes. */
void api_answer_buffer(api_request *request, int status, const char *content_type,
                       affect_buffer *buffer);
void api_answer_empty(api_request *request, int status); /* 204, 304 */
/* A file, with ETag (quotes are added), Range, If-Match and If-None-Match served. */
void api_answer_file(api_request *request, const char *path, const char *content_type,
                     const char *etag, const char *file_name);

/* 200 with the JSON (owned) when status is OK, else the problem of the error. */
void api_answer_result(api_request *request, affect_status status, affect_json *json,
                       const affect_error *error);

/* The same for a JSON that follows from the path and the store alone: see documents.h. */
void api_answer_document(api_request *request, affect_status status, affect_json *json,
                         const affect_error *error);

/* problem+json (RFC 9457). `code` is a word of the table in problem.c, which gives title and
 * status. */
void api_answer_problem(api_request *request, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The problem that belongs to a status and error of the engine (INVALID 422 with errors[pointer],
 * all of them when error->fields is set,
 * NOT_FOUND 404, CONFLICT 409, BUSY 503 + Retry-After, NO_SPACE 507, MALFORMED 422, TOO_LARGE 413,
 * ...). */
void api_answer_error(api_request *request, const affect_error *error);
/* With extra members ("allowed", "limit"): takes ownership of `members` (an object or NULL). */
void api_answer_problem_with(api_request *request, const char *code, affect_json *members,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The handler returns without an answer; one follows later, from any thread, exactly once. */
void api_defer(api_request *request);

/* ---- Streams ---- */

typedef enum { API_STREAM_DATA, API_STREAM_WAIT, API_STREAM_END } api_stream_state;

/* A body made while it is sent. read appends at most about `max` bytes to buffer and says DATA, or
 * WAIT (nothing now: the HTTP side parks the connection until api_stream_wake; the source must have
 * registered the request for waking, under its own lock, before it says so), or END. `read` runs
 * on an HTTP thread and must not block. `heartbeat` text, if not NULL, is sent after 15 s of
 * silence. `free` is called once, when the stream ended or the client left; after it no wake may
 * come. */
typedef struct {
    const char *content_type;
    const char *heartbeat;
    api_stream_state (*read)(void *context, api_request *request, affect_buffer *buffer,
                             size_t max);
    void (*free)(void *context);
    void *context;
} api_stream;

void api_answer_stream(api_request *request, int status, const api_stream *stream);
/* Any thread, any time between answer_stream and the stream's free: read is tried again. */
void api_stream_wake(api_request *request);

/* ---- Routes ---- */

typedef void api_handler(api_request *request);

typedef enum { API_BODY_NONE, API_BODY_JSON, API_BODY_MULTIPART, API_BODY_UPLOAD } api_body_kind;

/* Roles come with keys; until then no row is checked. */
typedef enum {
    API_ROLE_ANYONE,
    API_ROLE_VIEWER,
    API_ROLE_PREDICTOR,
    API_ROLE_TRAINER,
    API_ROLE_ADMIN
} api_role;

/* One row of the table in routes.c. */
typedef struct {
    const char *method;  /* "GET" (HEAD comes with it), "POST", ... */
    const char *pattern; /* "/v1/jobs/{id}/events" */
    api_handler *handler;
    api_role role;
    /* For the contract: "202 Job, 200 Job, 204": statuses with a name of answers.json or a media
     * type, several joined by |. The first is what normally comes. */
    const char *answers;
    const char *summary;  /* one line for /openapi.json and people */
    unsigned bodies;      /* bits 1 << API_BODY_*; 0 = a body is refused (413/415) */
    const char *max_body; /* name of the setting that limits the body: "max_json_bytes", ... */
    /* Adds the body's schemas to the contract, by media type (handlers.h); NULL: none, or {}. */
    void (*describe)(affect_json *content);
    const affect_field *queries; /* their names, types, bounds, defaults; NULL: none */
    const affect_field *headers; /* that the handler reads; NULL: none */
} api_route;

#endif
