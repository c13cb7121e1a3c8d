/* A job that is being made: what a request asks for, on its way to a row of the store.
 *
 * The parts that types of jobs share: finding what a request names, the common members of the
 * worker's specification. Errors are the request's fields' (422 with pointers), all of them at once
 * where one does not hide another. */
#ifndef AFFECT_JOBS_JOB_DRAFT_H
#define AFFECT_JOBS_JOB_DRAFT_H

#include "api/api.h"
#include "api/context.h"
#include "api/store/dataset_registry.h"
#include "api/store/store.h"
#include "engine/core/digest.h"
#include "engine/core/fields.h"
#include "engine/core/file.h"
#include "engine/dataset/dataset.h"

/* A run of a job with runs. */
typedef struct {
    char id[API_ID_SIZE], digest[AFFECT_DIGEST_TEXT_SIZE]; /* digest "": none */
    affect_json *request, *spec, *run;                     /* owned */
    int64_t epochs;
} api_job_draft_run;

typedef struct {
    const api_context *context;
    void *request; /* what the client asks for: the struct of its type's fields */
    char id[API_ID_SIZE];
    api_dataset dataset;
    char model[96];         /* what the row says: name, or name:version */
    int64_t epochs;         /* 0: it has none */
    affect_json *spec;      /* the worker's; owned */
    affect_dataset *opened; /* the dataset, where it is open already; borrowed */
    bool checked; /* what depends on the dataset: by another draft that differs in its seed */
    api_job_draft_run *runs; /* (n_runs) of a job with runs; owned */
    size_t n_runs;
    int64_t max_runs;
} api_job_draft;
/* Frees spec and runs. */
void api_job_draft_free(api_job_draft *draft);

void api_job_id_make(char id[API_ID_SIZE]); /* job_ + ULID */

/* The dataset that the request names, which must be ready. "": the field table has refused it. */
affect_status api_job_draft_find_dataset(api_job_draft *draft, const char *name, affect_error *err);
/* The specification's members that every type has that computes on a dataset. device "": the
 * server's; precision: affect_precision. */
affect_status api_job_draft_begin_spec(api_job_draft *draft, const char *type, const char *device,
                                       int precision, affect_error *err);
/* Opens the dataset; NULL: it cannot be opened, which is the worker's to report. Close with
 * affect_dataset_close. */
affect_dataset *api_job_draft_open_dataset(const api_job_draft *draft);
/* A thing that the body names and that is not there is the body's fault: 422 with its pointer. */
affect_status api_job_draft_as_field_error(affect_error *err, affect_status status,
                                           const char *field);

#endif
