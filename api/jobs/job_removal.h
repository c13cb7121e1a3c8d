/* Removal of jobs: rows, events, epochs and folder, at once or not at all.
 *
 * The folder goes with the rows (folder_deletion.h). What the job made stays: a dataset, a version
 * of a model. */
#ifndef AFFECT_JOBS_JOB_REMOVAL_H
#define AFFECT_JOBS_JOB_REMOVAL_H

#include "api/jobs/job_write.h"

/* Removes a job that has ended. CONFLICT: it has not, *state. NOT_FOUND. */
affect_status api_job_remove(const api_job_base *base, const char *id, api_job_state *state,
                             affect_error *err);

/* Which ended jobs are kept: the newest n_kept (0: all) of those that ended in the last
 * `days` (0: ever). */
typedef struct {
    int64_t n_kept;
    double days;
} api_job_retention;
/* Removes at most a few jobs that are past that, oldest first; *n is how many. */
affect_status api_job_retain(const api_job_base *base, const api_job_retention *retention,
                             int64_t *n, affect_error *err);

#endif
