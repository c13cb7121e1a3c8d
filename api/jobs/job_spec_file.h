/* A worker's specification, from the row to the file that the worker reads.
 *
 * A stored specification names no folder of this machine: its keys (job_type.h) are relative to the
 * data folder, so that the folder can be moved and a worker be started elsewhere. */
#ifndef AFFECT_JOBS_JOB_SPEC_FILE_H
#define AFFECT_JOBS_JOB_SPEC_FILE_H

#include "api/jobs/job_type.h"

/* Makes the keys of a specification absolute; `import_root` may be "". */
affect_status api_job_spec_resolve(affect_json *spec, const api_job_type *type,
                                   const char *data_dir, const char *import_root,
                                   affect_error *err);

#endif
