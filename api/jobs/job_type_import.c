/* Imports: a corpus becomes a dataset.
 *
 * The dataset's row is made with the job and is ready or failed when the job ends. A worker that
 * was killed leaves the unpacked archive in the dataset's folder: what an import made that did not
 * succeed is removed, and one that is paused (a full disk) begins anew. */
#include "api/jobs/job_type.h"
#include "api/store/shard_collection.h"

static affect_status prepare(api_job_product *product, affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    AFFECT_TRY(
        affect_path_join(folder, err, product->data_dir, "datasets/%s", product->dataset_id));
    return api_dataset_summarize(&product->facts, folder, err);
}

static affect_status store(api_job_product *product, api_db *db, affect_error *err) {
    affect_json_free(affect_json_detach(product->result, "dataset")); /* a path of this machine */
    affect_json_set_string(product->result, "dataset", product->dataset_id);
    return api_dataset_finish(db, product->dataset_id, product->facts, err);
}

static void clean(api_store *store, const char *data_dir, const char *dataset_id,
                  api_job_state state) {
    char path[AFFECT_PATH_MAX];
    bool ended = api_job_state_terminal(state);
    if (!ended && state != API_JOB_PAUSED) return;
    if (state != API_JOB_SUCCEEDED && dataset_id[0] &&
        affect_path_join(path, NULL, data_dir, "datasets/%s", dataset_id) == AFFECT_STATUS_OK)
        affect_directory_remove(path, NULL);
    /* What a dataset left behind that was deleted while this ran, and what a failed one made. */
    if (ended) api_shards_collect(store, data_dir);
}

static const char *const keys[] = {"store", "output", "source/archive", NULL};

const api_job_type api_job_type_import = {.name = "import",
                                          .keys = keys,
                                          .reads_import_root = true,
                                          .made_by = "POST /v1/datasets",
                                          .prepare = prepare,
                                          .store = store,
                                          .give_up = api_store_dataset_set_failed,
                                          .clean = clean};
