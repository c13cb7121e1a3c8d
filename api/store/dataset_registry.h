/* Datasets: names, states and what an import found.
 *
 * A dataset's row is made together with its import job and says `importing`; the job's end makes it
 * `ready` with a summary of the manifest, or `failed`, and a failed name may be taken again. Its
 * folder is DATA/datasets/<id>; features lie in the shared store DATA/features. */
#ifndef AFFECT_STORE_DATASET_REGISTRY_H
#define AFFECT_STORE_DATASET_REGISTRY_H

#include "api/store/store_datasets.h"
#include "engine/core/json.h"

#define API_DATASET_ID_SIZE 40
void api_dataset_id_make(char id[API_DATASET_ID_SIZE]); /* ds_ + ULID */

/* Work for api_job_new.also, with an api_dataset_record as its context. CONFLICT: the name is
 * taken.
 */
affect_status api_dataset_insert(api_db *db, void *context, affect_error *err);

/* What the manifest DIR/dataset.json says, without utterances; *summary owned. */
affect_status api_dataset_summarize(affect_json **summary, const char *folder, affect_error *err);
/* Within a write: the import is done. */
affect_status api_dataset_finish(api_db *db, const char *id, const affect_json *summary,
                                 affect_error *err);
/* By name or id. NOT_FOUND. */
affect_status api_dataset_find(api_dataset *dataset, api_store *store, const char *name_or_id,
                               affect_error *err);
/* Bodies: *json owned. */
affect_status api_dataset_get(affect_json **json, api_store *store, const char *name_or_id,
                              affect_error *err);
affect_status api_dataset_list(affect_json **json, api_store *store, const char *after,
                               int64_t limit, affect_error *err);
/* Within a write (an api_store_work; context: its id): CONFLICT unless it is ready, so that a job
 * and the end of its dataset cannot pass each other. */
affect_status api_dataset_require(api_db *db, void *context, affect_error *err);
/* Removes the row and the folder (folder_deletion.h). CONFLICT while a job that has not ended uses
 * the dataset. Its shards stay until api_shards_collect. */
affect_status api_dataset_delete(api_store *store, const char *data_dir, const char *id,
                                 affect_error *err);

#endif
