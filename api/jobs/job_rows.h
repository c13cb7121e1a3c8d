/* Rows of jobs, events and epochs: the SQL of job_queue and of the handlers that read jobs.
 *
 * Every function works within a store's write or read. Whatever changes a job appends the events
 * that tell it, in the same transaction, and collects them in a list for the feed. */
#ifndef AFFECT_JOBS_JOB_ROWS_H
#define AFFECT_JOBS_JOB_ROWS_H

#include "api/jobs/feed.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_state.h"

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

/* Makes the row, queued, and its first event. */
affect_status api_job_row_insert(api_db *db, const api_job_new *job, api_event_list *events,
                                 affect_error *err);

/* What belongs to an action. All optional, borrowed. */
typedef struct {
    const char *reason;       /* state_reason */
    const char *instance;     /* START */
    const affect_json *error; /* {"code", "message"} */
    const affect_json *result;
    bool counts_restart; /* LOSE */
} api_job_change;

/* Does the action: updates the row (and row->state) and appends a `state` event, and an `end` event
 * behind it when the new state is terminal. An action that leaves the state as it is does nothing.
 * CONFLICT when the table of states does not allow it. */
affect_status api_job_row_act(api_job_row *row, api_db *db, api_job_action action,
                              const api_job_change *change, api_event_list *events,
                              affect_error *err);
/* Appends one event; members (borrowed) are its data, "event" left out. */
affect_status api_job_row_event(api_job_row *row, api_db *db, const char *kind,
                                const affect_json *members, api_event_list *events,
                                affect_error *err);
/* Stores an epoch's event and appends it, marked "replayed" when that epoch was told before. */
affect_status api_job_row_epoch(api_job_row *row, api_db *db, affect_json *members,
                                api_event_list *events, affect_error *err);
affect_status api_job_row_progress(api_job_row *row, api_db *db, const affect_json *progress,
                                   affect_error *err);
affect_status api_job_row_best(api_job_row *row, api_db *db, int64_t epoch, affect_error *err);

/* The body of GET /v1/jobs/{id}: *json owned. NOT_FOUND. */
affect_status api_job_body(affect_json **json, api_db *db, const char *id, affect_error *err);
/* The same, read from the store. */
affect_status api_job_read_body(affect_json **json, api_store *store, const char *id,
                                affect_error *err);
/* Which jobs: those older than `before` ("": from the newest), in `state` and of `type` (NULL:
 * any).
 */
typedef struct {
    const char *before, *state, *type;
    int64_t limit;
} api_job_page;
/* A page of jobs, newest first, appended to `data`; *more tells whether there are others. */
affect_status api_job_bodies(affect_json *data, bool *more, api_db *db, const api_job_page *page,
                             affect_error *err);
/* How many jobs are in the state. */
affect_status api_job_rows_count(int64_t *n, api_db *db, api_job_state state, affect_error *err);
/* Ids of all jobs that are active or interrupted; *ids owned, each API_ID_SIZE bytes. */
affect_status api_job_rows_left(char (**ids)[API_ID_SIZE], size_t *n, api_db *db,
                                affect_error *err);

/* Ids of queued jobs, the oldest first, up to a thousand; likewise. */
affect_status api_job_rows_queued(char (**ids)[API_ID_SIZE], size_t *n, api_db *db,
                                  affect_error *err);
/* Why it is in the state that it is in. */
affect_status api_job_row_reason(api_job_row *row, api_db *db, const char *reason,
                                 affect_error *err);

#endif
