/* The inside of a request: what the HTTP side fills in and takes back. Handlers use api.h only.
 *
 * The HTTP side makes a request when the headers are in, adds the body, hands it to a handler
 * and, when `answered` is called, sends what stands in `answer`. It frees the request when the
 * answer is sent or the client is gone. Text is owned by the request. */
#ifndef AFFECT_API_REQUEST_H
#define AFFECT_API_REQUEST_H

#include "api/api.h"
#include "api/context.h"

#define API_MAX_PATH_VALUES 4
#define API_MAX_QUERIES     32

/* A list of names and values, both owned. */
typedef struct {
    char *name, *value;
} api_pair;

typedef struct {
    api_pair *items;
    size_t n;
} api_pairs;

/* Copies; false without memory. */
bool api_pairs_add(api_pairs *pairs, const char *name, const char *value);
const char *api_pairs_find(const api_pairs *pairs, const char *name, bool ignore_case);
void api_pairs_free(api_pairs *pairs);

/* A part while and after it is read: in memory, or in a spool file once it is large. */
typedef struct {
    api_part part;        /* what handlers see; filled when the body is complete */
    affect_buffer memory; /* owned */
    char *name, *file_name, *content_type, *path; /* owned */
    int fd;                                       /* of the spool file while written, else -1 */
    uint64_t size;
    bool kept;
} api_part_state;

typedef enum {
    API_ANSWER_NONE,
    API_ANSWER_BUFFER,
    API_ANSWER_FILE,
    API_ANSWER_STREAM
} api_answer_kind;

typedef struct {
    api_answer_kind kind;
    int status;
    api_pairs headers;
    affect_buffer body; /* BUFFER */
    int fd;             /* FILE: owned, -1 when taken */
    uint64_t file_offset, file_size;
    api_stream stream; /* STREAM: owned; its `free` is NULL once it was called */
    bool close;        /* close the connection afterwards */
} api_answer;

/* Calls back to the HTTP side. Any thread. */
typedef struct {
    void (*answered)(api_request *request);
    void (*wake)(api_request *request);
} api_transport;

struct api_request {
    api_context *context;
    const api_transport *transport;
    void *connection; /* the HTTP side's own */
    const api_route *route;
    char method[16];
    char *path;  /* decoded */
    char id[65]; /* X-Request-Id: the client's or a new one */
    api_pairs queries, headers;
    const char *path_names[API_MAX_PATH_VALUES]; /* into the route's pattern */
    size_t path_name_sizes[API_MAX_PATH_VALUES];
    char *path_values[API_MAX_PATH_VALUES]; /* owned */
    size_t n_path_values;
    api_body_kind body_kind;
    api_part_state *parts;
    size_t n_parts;
    affect_json *json;
    uint64_t store_version; /* when it was looked for among the documents */
    atomic_bool client_gone;
    api_answer answer;
};

/* NULL without memory. */
api_request *api_request_create(api_context *context, const api_transport *transport);
/* Removes spooled parts that were not kept. */
void api_request_free(api_request *request);

/* Splits the raw target ("/v1/jobs/a%20b?after=3") into path and queries, percent-decoding both.
 * False: malformed escape, %00, control byte, no leading slash, or too many queries. */
bool api_request_set_target(api_request *request, const char *target);

/* The text of an answer of JSON, which it takes over; *text owned. False: answered with a problem.
 */
bool api_print_answer(affect_buffer *text, api_request *request, affect_json *json);

#endif
