/* Predictors: long-lived `affect predict --serve` children behind a bounded queue.
 *
 * A child talks over descriptor 3, a SOCK_SEQPACKET pair: it says {"event": "hello", "protocol": 1}
 * and then answers one request packet at a time. A request is JSON plus one memfd, passed with
 * SCM_RIGHTS, that holds the bytes of all parts one behind the other; an answer is JSON. One thread
 * serves all children: it hands requests to idle ones, watches deadlines, kills a child that hangs,
 * replaces one that died (waiting longer each time, up to 10 s), and ends requests of either with a
 * status: TIMEOUT, or DEVICE_LOST for a lost child. */
#ifndef AFFECT_API_PREDICTOR_H
#define AFFECT_API_PREDICTOR_H

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct api_predictor api_predictor;

typedef struct {
    const char *binary;   /* of `affect`; copied */
    const char *device;   /* "cpu"; copied */
    int n_children;       /* predictions at once */
    int n_threads;        /* of each child; 0: the child decides */
    int max_queued;       /* requests that may wait; more: BUSY */
    double deadline_s;    /* from submit to answer */
    size_t max_log_bytes; /* of the children's stderr kept in DATA/predictor.log */
    const char *log_path; /* copied; NULL: /dev/null */
} api_predictor_options;
void api_predictor_options_default(api_predictor_options *options);

affect_status api_predictor_create(api_predictor **predictor, const api_predictor_options *options,
                                   affect_error *err);
/* Ends what waits with CANCELLED, lets nothing in, ends the children. */
void api_predictor_stop(api_predictor *predictor);
void api_predictor_free(api_predictor *predictor); /* after stop; NULL allowed */

/* Whether at least one child has said hello and lives. */
bool api_predictor_ready(api_predictor *predictor);
void api_predictor_count(api_predictor *predictor, int *n_ready, int *n_busy, int *n_queued);

typedef struct {
    const char *name; /* "audio", "mocap_face", ... */
    const char *data; /* in memory, or NULL: */
    const char *path; /* a file */
    size_t size;
} api_predictor_part;

typedef struct {
    const char *model; /* path of the model file */
    const api_predictor_part *parts;
    size_t n_parts;
    bool has_start, has_end;
    double start_s, end_s;
    /* Called once, on the predictor's thread; result is owned by the call, NULL unless OK. */
    void (*done)(void *context, affect_status status, affect_json *result,
                 const affect_error *error);
    /* Whether the answer is still wanted; may be NULL. Asked before work begins. */
    bool (*gone)(void *context);
    void *context;
} api_predictor_request;

/* Copies the parts into shared memory and queues the request; `done` is called unless this fails.
 * BUSY: the queue is full. Any thread. */
affect_status api_predictor_submit(api_predictor *predictor, const api_predictor_request *request,
                                   affect_error *err);

#endif
