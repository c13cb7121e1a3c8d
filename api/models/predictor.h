/* Predictions: long-lived `affect predict --serve` children behind a bounded queue.
 *
 * A child talks over descriptor 3, a SOCK_SEQPACKET pair: it sends {"event": "hello", "protocol":
 * 4} and then answers one batch at a time (engine/predict/serve.h). A request's parts lie one
 * behind the other in one sealed memfd, passed with SCM_RIGHTS.
 *
 * Requests that arrive while the child computes make up its next batch: the oldest and those of the
 * same model, up to max_batch. Where the batch before had several, a request that finds the child
 * idle waits batch_window_s for batch peers; a lone client's does not. So a request waits at most
 * one window and one batch, as long as fewer than max_batch (of one model) are waiting. Its answer
 * does not depend on the batch (engine/predict/predict.h).
 *
 * One thread serves all children: it hands them batches, answers requests that are past their
 * deadline with TIMEOUT (uncomputed, where they still waited), drops those whose client left, kills
 * a child whose batch takes longer than a deadline, and replaces one that died, waiting longer each
 * time, up to 10 s. Each request of a lost child's batch ends with DEVICE_LOST. */
#ifndef AFFECT_MODELS_PREDICTOR_H
#define AFFECT_MODELS_PREDICTOR_H

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/source.h"
#include "engine/core/status.h"
#include "engine/modality/modality.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_PREDICTOR_MAX_BATCH 64
enum { API_PREDICTOR_BUCKETS = 7 };

typedef struct api_predictor api_predictor;

typedef struct {
    const char *binary; /* of `affect`; copied */
    const char *device; /* "cpu"; copied */
    int n_children;     /* predictions at once */
    int n_threads;      /* of each child; 0: the child decides */
    int max_queued;     /* requests that may wait; more: BUSY */
    int max_batch;      /* requests that a child computes at once */
    double batch_window_s;
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

/* Whether at least one child is up: it has sent its handshake and lives. */
bool api_predictor_ready(api_predictor *predictor);

/* For /metrics. Counters run from the start. */
typedef struct {
    int n_ready, n_busy, n_queued;           /* children that are up, at work; requests waiting */
    uint64_t batches[API_PREDICTOR_BUCKETS]; /* handed over, of up to 2^bucket requests */
    uint64_t n_predictions;                  /* requests in them */
    double wait_s;                           /* from submit to handing over, of all of them */
    uint64_t n_expired;                      /* ended by their deadline */
    uint64_t n_left;                         /* dropped, as their client had left */
    uint64_t n_lost;                         /* ended with their child */
    uint64_t n_refused;                      /* the queue was full */
} api_predictor_counts;
void api_predictor_count(api_predictor *predictor, api_predictor_counts *counts);

/* Wakes the thread. Any thread. */
void api_predictor_wake(api_predictor *predictor);

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
    affect_time_window windows[AFFECT_MAX_MODALITIES]; /* in the order of modality.h's table; an
                                                           open end is HUGE_VAL */
    bool calibrated; /* probabilities scaled by the model's temperature */
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
