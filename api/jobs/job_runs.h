/* Jobs that are made of runs: what follows for a job from the states of its runs, and for them from
 * its own.
 *
 * A job with runs (job_type.h) has no worker while they go. Runs start while it is running, at most
 * max_runs at once; when the last one has ended, its worker makes the report that ends it. To pause
 * or cancel it pauses or cancels them. */
#ifndef AFFECT_JOBS_JOB_RUNS_H
#define AFFECT_JOBS_JOB_RUNS_H

#include "api/jobs/job_write.h"
#include "api/jobs/worker.h"

/* Brings all such jobs and their runs together: each step follows from what is stored, so it may be
 * done at any time and any number of times. `report` starts the worker of a job whose runs have all
 * ended. To be called by the scheduler after each change of a job and at its start. */
typedef affect_status api_job_runs_report(void *context, const char *id, affect_error *err);
affect_status api_job_runs_advance(const api_job_base *base, api_workers *workers,
                                   api_job_runs_report *report, void *context, affect_error *err);

/* Within a write: a job with runs starts, and those that were paused resume with it. */
affect_status api_job_runs_begin(api_job_write *write, api_db *db, affect_error *err);
/* A queued run takes over the result of an earlier one with the same digest, with links to its
 * files. *taken false: there is none, and a worker must run it. */
affect_status api_job_runs_take_over(bool *taken, const api_job_base *base, const char *id,
                                     affect_error *err);
/* Sets spec["runs"]: what the report is made of, by run: the members of "run", "job", "state",
 * "result" and "folder", an absolute path. */
affect_status api_job_runs_describe(affect_json *spec, const api_job_base *base, const char *id,
                                    affect_error *err);

#endif
