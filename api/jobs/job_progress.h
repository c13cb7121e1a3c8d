/* What workers say, line by line, becomes rows and events.
 *
 * Belongs to the workers' thread. It remembers of each running job which epoch it is in, so that
 * the progress of the whole job can be told; nothing that is remembered matters after a crash. */
#ifndef AFFECT_JOBS_JOB_PROGRESS_H
#define AFFECT_JOBS_JOB_PROGRESS_H

#include "api/jobs/job_write.h"

typedef struct api_job_progress api_job_progress;

/* NULL without memory. Borrows the base. */
api_job_progress *api_job_progress_create(const api_job_base *base);
void api_job_progress_free(api_job_progress *progress);
/* Stores a batch of lines of one job in one transaction. A failure stores none: they may come
 * again. */
affect_status api_job_progress_take(api_job_progress *progress, const char *job_id,
                                    affect_json *const *lines, size_t n, affect_error *err);
/* Seconds between two stored progress events of a job that runs for so many seconds: half a second
 * at first, then a twentieth of its age, at most fifteen. A day of progress is under 6000 events,
 * a short job is seen closely; GET of the job is never older than half a second. */
double api_job_progress_interval(double seconds);
void api_job_progress_forget(api_job_progress *progress, const char *job_id);

#endif
