/* Early termination of the runs of a job: what engine/sweep/asha.h decides, carried out.
 *
 * A run waits at its next rung: its specification says after which epoch it pauses (reason "rung").
 * A decision resumes the runs of a point with a later pause, or none, in one transaction with a
 * `decision` event of the job: rung (epochs), point, rank, recorded, value, threshold. */
#ifndef AFFECT_JOBS_EARLY_TERMINATION_H
#define AFFECT_JOBS_EARLY_TERMINATION_H

#include "api/jobs/job_write.h"

/* Makes one decision about the runs of a job, if one can be made: *decided. With `idle` none of
 * them runs or is queued: where a point is complete, those that wait are cancelled
 * ("early_terminated"), unless a run is paused for another reason. */
affect_status api_early_termination_decide(bool *decided, const api_job_base *base,
                                           const api_job_row *job, bool idle, affect_error *err);

#endif
