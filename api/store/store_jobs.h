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
} api_job_record;
affect_status api_store_job_insert(api_db *db, const api_job_record *job, affect_error *err);
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
/* With its events, epochs and key. */
affect_status api_store_job_delete(api_db *db, const char *id, affect_error *err);

/* The body; *json owned. NOT_FOUND. */
affect_status api_store_job_get(affect_json **json, api_db *db, const char *id, affect_error *err);
/* Which jobs: those older than `before` ("": from the newest), in `state` and of `type` (NULL:
 * any). */
typedef struct {
    const char *before, *state, *type;
    int64_t limit;
} api_job_page;
/* {"data": [body...], "more"}, newest first; *json owned. */
affect_status api_store_job_list(affect_json **json, api_db *db, const api_job_page *page,
                                 affect_error *err);
/* How many jobs are in the state. */
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
/* All jobs that are active or interrupted. */
affect_status api_store_jobs_left(api_id_list *list, api_db *db, affect_error *err);
/* Queued jobs, the oldest first, up to a thousand. */
affect_status api_store_jobs_queued(api_id_list *list, api_db *db, affect_error *err);
/* Jobs that ended before a time (milliseconds; 0: none) or are not among the newest n_kept of those
 * that ended (0: all are), the oldest first, at most `limit`. */
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
