/* How a job ends once its worker is gone: what it said last, or what its silence means.
 *
 * A model or a dataset that the worker made becomes part of the store in the transaction that ends
 * the job. A worker without a last word crashed (failed), was killed for memory (failed, oom), was
 * lost (interrupted, then queued again), or was stopped with the server (interrupted, drain). */
#ifndef AFFECT_JOBS_JOB_ENDING_H
#define AFFECT_JOBS_JOB_ENDING_H

#include "api/jobs/job_write.h"
#include "api/jobs/worker.h"

/* On the workers' thread. A failure (a full disk) stores nothing: to be called again. */
affect_status api_job_end(const api_job_base *base, const char *job_id, const api_worker_exit *how,
                          bool draining, affect_error *err);

#endif
