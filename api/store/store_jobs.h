/* Jobs, their events and epochs, and the keys of idempotent requests: what the store knows of them.
 *
 * Every function works within a read or a write of the store. Bodies are what clients see, without
 * links. Texts are JSON. */
#ifndef AFFECT_STORE_STORE_JOBS_H
#define AFFECT_STORE_STORE_JOBS_H

#include "api/jobs/job_state.h"
#include "api/store/store.h"

typedef struct {
    char id[API_ID_SIZE];
    char type[32];
    api_job_state state;
    int64_t state_number, last_seq, restarts;
    char dataset_id[API_ID_SIZE]; /* or "" */
    char model[96];               /* or "" */
    char reason[32];              /* of its state, or "" */
    char parent[API_ID_SIZE];     /* the job whose run it is, or "" */
    char *spec;                   /* JSON text; owned: api_job_row_free */
} api_job_row;

/* NOT_FOUND. Zero-initialise the row. */
affect_status api_job_row_load(api_job_row *row, api_db *db, const char *id, affect_error *err);
void api_job_row_free(api_job_row *row);

/* ---- Jobs ---- */

/* A row to make, queued, with state number 1 and no events. Members may be NULL where a job may
 * have none. */
typedef struct {
    const char *id, *type, *request, *spec, *dataset_id, *model, *progress, *retry_of, *parent;
    const char *run, *run_digest; /* of a run */
    int64_t max_runs;             /* of a job with runs: at once; 0: it has none */
} api_job_record;
affect_status api_store_job_insert(api_db *db, const api_job_record *job, affect_error *err);
affect_status api_store_job_set_spec(api_db *db, const char *id, const char *spec,
                                     affect_error *err);
/* A new state with what belongs to it; `instance` NULL: as it was. */
affect_status api_store_job_set_state(api_db *db, const api_job_row *row, const char *reason,
                                      const char *instance, affect_error *err);
affect_status api_store_job_set_started(api_db *db, const char *id, affect_error *err);
affect_status api_store_job_set_ended(api_db *db, const char *id, const char *error,
                                      const char *result, affect_error *err);
affect_status api_store_job_set_error(api_db *db, const char *id, const char *error,
                                      affect_error *err);
affect_status api_store_job_set_reason(api_db *db, const char *id, const char *reason,
                                       affect_error *err);
affect_status api_store_job_set_progress(api_db *db, const char *id, const char *progress,
                                         affect_error *err);
affect_status api_store_job_set_best(api_db *db, const char *id, int64_t epoch, affect_error *err);
affect_status api_store_job_clear_restarts(api_db *db, const char *id, affect_error *err);
/* With its events, epochs, key, and its runs with theirs. */
affect_status api_store_job_delete(api_db *db, const char *id, affect_error *err);

/* The body; *json owned. NOT_FOUND. */
affect_status api_store_job_get(affect_json **json, api_db *db, const char *id, affect_error *err);
/* Which jobs: those behind `after` in their order ("": from its begin), in `state` and of `type`
 * (NULL: any). parent NULL: jobs that are no runs, the newest first; else the runs of that job, in
 * the order of their indices. */
typedef struct {
    const char *after, *state, *type, *parent;
    int64_t limit;
} api_job_page;
/* {"data": [body...], "more"}; *json owned. */
affect_status api_store_job_list(affect_json **json, api_db *db, const api_job_page *page,
                                 affect_error *err);
/* How many jobs that are no runs are in the state. */
affect_status api_store_job_count(int64_t *n, api_db *db, api_job_state state, affect_error *err);
/* Where a job stands; NOT_FOUND. */
typedef struct {
    int64_t last_seq, state_number;
    bool ended;
} api_job_head;
affect_status api_store_job_head(api_job_head *head, api_db *db, const char *id, affect_error *err);

/* Ids of jobs; *ids owned, each API_ID_SIZE bytes. */
typedef struct {
    char (*ids)[API_ID_SIZE];
    size_t n;
} api_id_list;
/* All jobs that are active or interrupted, but those with runs, which have no worker. */
affect_status api_store_jobs_left(api_id_list *list, api_db *db, affect_error *err);
/* Queued jobs that may start, the oldest first, up to a thousand: runs whose job is running with
 * fewer than max_runs of them active, and, with `others`, jobs that are no runs. */
affect_status api_store_jobs_startable(api_id_list *list, api_db *db, bool others,
                                       affect_error *err);
/* How many jobs that are no runs are active. */
affect_status api_store_jobs_count_active(int64_t *n, api_db *db, affect_error *err);
/* ---- Runs of a job ---- */

/* How many runs of a job are in each state; together *n_total. */
affect_status api_store_runs_count(int64_t n[API_JOB_STATE_COUNT], int64_t *n_total, api_db *db,
                                   const char *parent, affect_error *err);
/* Its runs, all or those in a state, in their order. */
affect_status api_store_runs_of(api_id_list *list, api_db *db, const char *parent,
                                affect_error *err);
affect_status api_store_runs_in(api_id_list *list, api_db *db, const char *parent,
                                api_job_state state, affect_error *err);
/* Jobs with runs that have not ended, or of which a run has not: the oldest first. */
affect_status api_store_jobs_with_runs(api_id_list *list, api_db *db, affect_error *err);
/* The newest run that succeeded with this digest, but `id`; "": there is none. */
affect_status api_store_run_find(char found[API_ID_SIZE], api_db *db, const char *id,
                                 affect_error *err);
/* Gives a job the epochs of another, and its best one. */
affect_status api_store_epochs_copy(api_db *db, const char *id, const char *from,
                                    affect_error *err);
/* When the job started, in milliseconds; 0: not yet. */
affect_status api_store_job_started(int64_t *started_ms, api_db *db, const char *id,
                                    affect_error *err);

/* Jobs that are no runs and ended before a time (milliseconds; 0: none) or are not among the newest
 * n_kept of those that ended (0: all are), the oldest first, at most `limit`. */
affect_status api_store_jobs_expired(api_id_list *list, api_db *db, int64_t before_ms,
                                     int64_t n_kept, int64_t limit, affect_error *err);

/* ---- Events and epochs ---- */

/* Number `seq` becomes the job's newest event. */
affect_status api_store_event_append(api_db *db, const char *job_id, int64_t seq, const char *kind,
                                     const char *data, affect_error *err);
/* Calls `visit` for events behind `after`, at most `limit`, in their order, until it says false. */
typedef bool api_event_visit(void *context, int64_t seq, const char *kind, const char *data);
affect_status api_store_events_read(api_db *db, const char *job_id, int64_t after, int64_t limit,
                                    api_event_visit *visit, void *context, affect_error *err);
/* Keeps an epoch's event, in place of an earlier one of that number. */
affect_status api_store_epoch_put(api_db *db, const char *job_id, int64_t epoch, const char *data,
                                  affect_error *err);
affect_status api_store_epoch_is_stored(bool *stored, api_db *db, const char *job_id, int64_t epoch,
                                        affect_error *err);
/* The greatest number; 0: none. */
affect_status api_store_epoch_newest(int64_t *epoch, api_db *db, const char *job_id,
                                     affect_error *err);
/* Appends them to an array, in the order of their numbers. */
affect_status api_store_epochs_read(affect_json *epochs, api_db *db, const char *job_id,
                                    affect_error *err);

/* ---- Idempotency keys ---- */

/* *found, and the job that was made with the key. CONFLICT: of another request. */
affect_status api_store_key_find(bool *found, char job_id[API_ID_SIZE], api_db *db, const char *key,
                                 const char *digest, affect_error *err);
affect_status api_store_key_put(api_db *db, const char *key, const char *digest, const char *job_id,
                                affect_error *err);

#endif
