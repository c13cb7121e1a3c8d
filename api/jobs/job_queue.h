/* The queue of jobs: created as rows, run in their order by a set number of workers.
 *
 * The store is the truth: a job exists when its row and its first event are committed, and each
 * change of state is stored together with the event that tells it. The scheduler's thread starts
 * the oldest queued job whenever a slot is free; the workers' thread stores what workers say and
 * how they end. Found at start-up, rows of another server instance have lost their worker:
 * `cancelling` becomes `cancelled`, `pausing` becomes `paused`, other active ones `interrupted` and
 * then `queued` again, until max_restarts is reached (failed, worker_lost). A restarted train job
 * resumes from its last checkpoint, other jobs begin anew; epochs that were reported before carry
 * "replayed": true. */
#ifndef AFFECT_JOBS_JOB_QUEUE_H
#define AFFECT_JOBS_JOB_QUEUE_H

#include "api/jobs/feed.h"
#include "api/jobs/job_state.h"
#include "api/jobs/worker.h"
#include "api/models/model_registry.h"
#include "api/store/store.h"

typedef struct api_job_queue api_job_queue;

typedef struct {
    const char *data_dir;    /* copied; jobs/<id>/ lies below it */
    const char *import_root; /* copied; "": no folders are imported */
    int n_slots;             /* workers at once */
    int max_queued;          /* jobs that may wait; more: BUSY */
    int max_restarts;        /* of one job after lost workers */
    int64_t n_kept;          /* ended jobs that are kept, the newest; 0: all */
    double kept_days;        /* and no longer than this; 0: for ever */
    api_worker_options worker;
} api_job_queue_options;
void api_job_queue_options_default(api_job_queue_options *options);

/* Takes in what an earlier instance left, and starts. Borrows store, feed, registry. */
affect_status api_job_queue_create(api_job_queue **queue, api_store *store, api_feed *feed,
                                   api_model_registry *registry,
                                   const api_job_queue_options *options, affect_error *err);
/* Starts nothing any more and stops the workers (SIGTERM, then SIGKILL after the grace): their jobs
 * become `interrupted` (drain) and run again after the next start. Returns when all are gone. */
void api_job_queue_stop(api_job_queue *queue);
/* Queued jobs that wait for an earlier worker of theirs to end. */
int api_job_queue_n_blocked(const api_job_queue *queue);
void api_job_queue_free(api_job_queue *queue); /* after stop; NULL allowed */

/* A job to make. Borrowed. */
typedef struct api_job_new {
    const char *type;               /* of the table of job types */
    const char *id;                 /* from api_job_id_make (job_draft.h) */
    const affect_json *request;     /* what the client asked for */
    const affect_json *spec;        /* what the worker is told */
    const char *retry_of, *parent;  /* ids of jobs; or NULL */
    const affect_json *run;         /* of a run: its index, point, ...; or NULL */
    const char *run_digest;         /* of a run; or NULL: its result is not taken from another */
    const struct api_job_new *runs; /* (n_runs) to make with it; their parent is set */
    size_t n_runs;
    int64_t max_runs;               /* at once */
    const char *dataset_id;         /* or NULL */
    const char *model;              /* or NULL */
    int64_t epochs;                 /* 0 when it has none */
    const char *idempotency_key;    /* or NULL */
    const char *idempotency_digest; /* of the request */
    /* More to store in the same transaction (a dataset's row); may be NULL. */
    api_store_work *also;
    void *also_context;
} api_job_new;

#define API_JOB_UPLOAD "upload" /* file in a job's folder: the archive of an import */

/* The job that was made with the key, if there is one. CONFLICT: of another request. */
affect_status api_job_find(api_job_queue *queue, const char *key, const char *digest,
                           char id[API_ID_SIZE], bool *existed, affect_error *err);
/* BUSY: the queue is full. With a known idempotency key and the same digest: no new job, `id`
 * becomes the earlier one's and *existed is true; with another digest CONFLICT. */
affect_status api_job_create(api_job_queue *queue, const api_job_new *job, char id[API_ID_SIZE],
                             bool *existed, affect_error *err);

/* The ETag of a job in that state, with its quotes. */
#define API_ETAG_SIZE 32
void api_job_etag(char etag[API_ETAG_SIZE], int64_t state_number);

typedef enum { API_ASK_ACCEPTED, API_ASK_DONE, API_ASK_REFUSED, API_ASK_CHANGED } api_ask_outcome;
/* Asks a job to CANCEL, PAUSE or RESUME. ACCEPTED: it does, or has just done so; DONE: it was so
 * already; REFUSED: not in its state, *state (and of some types none is ever paused);
 * CHANGED: the conditions of `request` (If-Match; NULL: none) do not hold for its state. A
 * pausing worker writes a checkpoint and ends; resumed, the job waits in the queue and resumes from
 * there to the same bits. */
affect_status api_job_ask(api_job_queue *queue, const char *id, api_job_action action,
                          const api_request *request, api_ask_outcome *outcome,
                          api_job_state *state, affect_error *err);

/* Removes a job with its events and its folder; what it made stays. A paused one is cancelled
 * first. CONFLICT: it waits or runs, *state. NOT_FOUND. */
affect_status api_job_delete(api_job_queue *queue, const char *id, api_job_state *state,
                             affect_error *err);

/* How many wait and run, for readiness and metrics. */
void api_job_queue_count(api_job_queue *queue, int *n_queued, int *n_active, int *n_slots);

#endif
