/* A change of one job: a write to the store whose events are published after the commit.
 *
 * The queue's parts share this: creating and cancelling, what workers say, how they end. */
#ifndef AFFECT_JOBS_JOB_WRITE_H
#define AFFECT_JOBS_JOB_WRITE_H

#include "api/jobs/job_rows.h"
#include "engine/core/file.h"

/* What they all need; borrowed and immutable while jobs run. */
typedef struct {
    api_store *store;
    api_feed *feed;
    api_model_registry *registry;
    char data_dir[AFFECT_PATH_MAX];
    int max_queued, max_restarts;
} api_job_base;

typedef struct {
    const api_job_base *base;
    const char *id; /* the job, loaded into `row` before the work; NULL: the work finds one */
    /* Runs on the store's thread, with the write itself as its context. */
    api_store_work *work;
    void *context;     /* the work's own */
    bool uses_reserve; /* as api_store_write_freeing */
    api_job_row row;
    api_event_list events; /* what the work appends to */
} api_job_write;

/* Runs the work. Afterwards row is as it was left; it is owned: api_job_row_free. */
affect_status api_job_write_run(api_job_write *write, affect_error *err);
/* Whether a write that failed so may succeed later. */
bool api_job_write_may_pass(affect_status status);
/* Within a work: an interrupted job waits again, or fails when that was tried too often. */
affect_status api_job_write_requeue(api_job_write *write, api_db *db, affect_error *err);
/* Reads a job's row, outside a write. */
affect_status api_job_read(api_job_row *row, const api_job_base *base, const char *id,
                           affect_error *err);

/* DATA/jobs/<id>: spec.json, log, lock and what the worker makes. */
affect_status api_job_base_folder(char path[AFFECT_PATH_MAX], const api_job_base *base,
                                  const char *id, affect_error *err);
/* Removes what a job needs no more in its state: the last checkpoint when it succeeded, the archive
 * that was uploaded for it when it has ended, and what its type says. */
void api_job_clean(const api_job_base *base, const api_job_row *row);

#endif
