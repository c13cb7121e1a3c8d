/* The table of job types: all that the queue, the handlers and the contract know of one.
 *
 * A type is a file, job_type_NAME.c, that defines `const api_job_type api_job_type_NAME`, and a row
 * of job_type_rows.h; nothing else names it. Its worker is `affect NAME --spec FILE --events
 * --supervised`. A request becomes a draft (job_draft.h), the draft a row; what a worker that
 * succeeded made becomes part of the store in the transaction that ends its job. */
#ifndef AFFECT_JOBS_JOB_TYPE_H
#define AFFECT_JOBS_JOB_TYPE_H

#include "api/jobs/job_draft.h"
#include "api/jobs/job_state.h"

/* What a worker made, on its way into the store. */
typedef struct {
    struct api_model_registry *models;
    api_store *store;
    const char *data_dir, *folder; /* of the server; of the job */
    const char *job_id, *dataset_id, *model;
    affect_json *result;        /* of the worker's end event; prepare and store may change it */
    affect_json *facts;         /* what prepare read; owned */
    char file[AFFECT_PATH_MAX]; /* which it read */
    char digest[AFFECT_DIGEST_TEXT_SIZE];
} api_job_product;

/* The file `name` in `folder` is to become a version of product->model: read before the
 * transaction, added within it, which sets the result's "model" and "version". Without a model (a
 * run of a sweep) both do nothing. */
affect_status api_job_product_read_model(api_job_product *product, const char *folder,
                                         const char *name, affect_error *err);
affect_status api_job_product_add_model(api_job_product *product, api_db *db, affect_error *err);

/* NULL and false where a type has no such thing. */
typedef struct {
    const char *name;
    /* The request's fields, in a struct of the type's own (draft->request), and how it becomes the
     * draft's specification. NULL: jobs of this type are made by `made_by`, not by POST /v1/jobs.
     */
    const affect_field *fields;
    size_t request_size;
    affect_status (*make)(api_job_draft *draft, affect_error *err);
    const char *made_by;
    /* Members of the specification ("a" or "a/b") that are keys: paths relative to the data folder.
     * What starts the worker makes them absolute. Ended by NULL. */
    const char *const *keys;
    bool reads_import_root; /* source.path lies below the import root, which source.root becomes */
    bool pausable;          /* its worker writes checkpoints and resumes from the last one */
    bool has_curves;        /* of its epochs: /metrics and /plot.svg */
    bool has_report;        /* of the part that it evaluates: pictures of its result */
    bool has_dry_run;
    bool has_runs; /* its runs, jobs of their own, go first; its worker reports what they came to */
    bool
        has_artifacts; /* its worker names files of the job's folder in its end event's `artifacts`:
                          they are listed with size and digest, and served with ETag and Range */
    /* Before the transaction that ends a job well: reads what the worker made. A failure fails the
     * job. */
    affect_status (*prepare)(api_job_product *product, affect_error *err);
    /* Within the transaction. */
    affect_status (*store)(api_job_product *product, api_db *db, affect_error *err);
    /* Within the transaction that ends a job otherwise. */
    affect_status (*give_up)(api_db *db, const char *dataset_id, affect_error *err);
    /* After a change of a job's state: removes files that are needed no more. */
    void (*clean)(api_store *store, const char *data_dir, const char *dataset_id,
                  api_job_state state);
} api_job_type;

/* That of imports, whose jobs /v1/datasets makes. */
extern const api_job_type api_job_type_import;

/* That of the runs of a sweep. */
extern const api_job_type api_job_type_train;

/* Reads a request of this type and makes the draft of it; draft->request is used meanwhile. */
affect_status api_job_type_make(api_job_draft *draft, const api_job_type *type,
                                const affect_json *body, affect_error *err);

/* The row of that name, or NULL. */
const api_job_type *api_job_type_find(const char *name);
/* The same for a stored job's type: one that this program does not know has nothing. */
const api_job_type *api_job_type_of(const char *name);
/* The rows from 0; NULL behind the last. */
const api_job_type *api_job_type_at(size_t index);
/* Whether a job of that type and state can be made again: it has ended without success, and its
 * request is all that it was made of. */
bool api_job_type_can_retry(const api_job_type *type, api_job_state state);
/* Makes a schema one of the rows' names. */
void api_job_type_add_names(affect_json *schema);
/* Sets {"self": ..., ...} of a job. */
void api_job_type_set_links(affect_json *links, const api_job_type *type, const char *id,
                            api_job_state state);

#endif
