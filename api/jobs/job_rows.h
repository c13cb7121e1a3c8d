/* Changes of jobs with the events that tell them, and the bodies that clients see.
 *
 * Whatever changes a job appends the events
 * that tell it, in the same transaction, and collects them in a list for the feed. */
#ifndef AFFECT_JOBS_JOB_ROWS_H
#define AFFECT_JOBS_JOB_ROWS_H

#include "api/jobs/feed.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_state.h"
#include "api/store/store_jobs.h"

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
affect_status api_job_read_body(affect_json **json, api_store *store, const char *id,
                                affect_error *err);
/* A page of bodies, {"data", "more"}; *json owned. */
affect_status api_job_read_page(affect_json **json, api_store *store, const api_job_page *page,
                                affect_error *err);

#endif
