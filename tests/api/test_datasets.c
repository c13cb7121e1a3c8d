/* Rows of datasets: who may use one, and when it can be deleted. */
#include "api/jobs/job_rows.h"
#include "api/store/dataset_registry.h"
#include "api/store/store_sqlite.h"
#include "engine/core/file.h"
#include "tests/test.h"

#include <unistd.h>

static char folder[] = "/tmp/affect-datasets-XXXXXX";
static char id[] = "ds_1", name[] = "corpus";

static affect_status add_dataset(api_db *db, void *context, affect_error *err) {
    api_dataset_record dataset = {
        .id = id, .name = context, .job_id = "job_1", .layout = "iemocap"};
    return api_dataset_insert(db, &dataset, err);
}

static affect_status finish(api_db *db, void *context, affect_error *err) {
    affect_json *summary = affect_json_new_object();
    affect_status status = api_dataset_finish(db, context, summary, err);
    affect_json_free(summary);
    return status;
}

/* What handle_jobs.c has a job's creation do. */
static affect_status add_job(api_db *db, void *context, affect_error *err) {
    affect_json *nothing = affect_json_new_object();
    api_event_list events = {0};
    const api_job_new job = {
        .type = "train", .id = "job_2", .request = nothing, .spec = nothing, .dataset_id = context};
    affect_status status = api_dataset_require(db, context, err);
    if (status == AFFECT_STATUS_OK) status = api_job_row_insert(db, &job, &events, err);
    api_event_list_free(&events);
    affect_json_free(nothing);
    return status;
}

static affect_status end_job(api_db *db, void *context, affect_error *err) {
    (void)context;
    return api_db_run(db, err, "UPDATE jobs SET state = 'failed', ended_ms = 1", "");
}

/* A job and the deletion of its dataset cannot both succeed, whatever the handlers saw before. */
static void test_jobs_and_deletion(void) {
    char path[AFFECT_PATH_MAX];
    api_store *store = NULL;
    CHECK_OK(affect_path_join(path, err, folder, "a.db"));
    CHECK_OK(api_store_open(&store, path, err));
    CHECK_OK(api_store_write(store, add_dataset, NULL, name, err));
    CHECK(api_store_write(store, add_dataset, NULL, name, NULL) == AFFECT_STATUS_CONFLICT);
    CHECK(api_store_write(store, add_job, NULL, id, NULL) == AFFECT_STATUS_CONFLICT);
    CHECK_OK(api_store_write(store, finish, NULL, id, err));
    CHECK_OK(api_store_write(store, add_job, NULL, id, err));
    CHECK(api_dataset_delete(store, folder, id, NULL) == AFFECT_STATUS_CONFLICT);
    CHECK_OK(api_store_write(store, end_job, NULL, NULL, err));
    CHECK_OK(api_dataset_delete(store, folder, id, err));
    CHECK(api_store_write(store, add_job, NULL, id, NULL) == AFFECT_STATUS_CONFLICT);
    CHECK(api_dataset_delete(store, folder, id, NULL) == AFFECT_STATUS_NOT_FOUND);
    api_store_close(store);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    TEST_RUN(test_jobs_and_deletion);
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
