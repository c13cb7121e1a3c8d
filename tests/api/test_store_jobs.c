/* Questions of the store about jobs: bodies, pages, parents, retention, keys. */
#include "api/store/store_jobs.h"

#include "api/store/upgrade.h"
#include "engine/core/file.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static api_store *store;

static affect_status insert(api_db *db, void *context, affect_error *err) {
    (void)context;
    for (int i = 1; i <= 7; i++) {
        char id[API_ID_SIZE];
        snprintf(id, sizeof id, "job_%d", i);
        const api_job_record job = {.id = id,
                                    .type = i == 1 ? "outer" : "inner",
                                    .request = "{\"a\": 1}",
                                    .spec = "{}",
                                    .progress = "{\"fraction\": 0}",
                                    .retry_of = i == 3 ? "job_2" : NULL,
                                    .parent = i > 5 ? "job_1" : NULL,
                                    .run = i > 5 ? "{\"index\": 1}" : NULL,
                                    .run_digest = i > 5 ? "same" : NULL,
                                    .max_runs = i == 1 ? 1 : 0};
        AFFECT_TRY(api_store_job_insert(db, &job, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_bodies(api_db *db, void *context, affect_error *err) {
    (void)context;
    affect_json *body = NULL;
    AFFECT_TRY(api_store_job_get(&body, db, "job_3", err));
    CHECK(affect_json_is_null(affect_json_get(body, "run")));
    CHECK(strcmp(affect_json_get_string(body, "retry_of", ""), "job_2") == 0);
    CHECK(strcmp(affect_json_get_string(body, "state", ""), "queued") == 0);
    CHECK(affect_json_get_number(affect_json_get(body, "request"), "a", 0) == 1);
    affect_json_free(body);
    AFFECT_TRY(api_store_job_get(&body, db, "job_6", err));
    CHECK(strcmp(affect_json_get_string(body, "parent", ""), "job_1") == 0);
    CHECK(affect_json_get_number(affect_json_get(body, "run"), "index", 0) == 1);
    affect_json_free(body);
    AFFECT_TRY(api_store_job_get(&body, db, "job_1", err));
    CHECK(affect_json_is_null(affect_json_get(body, "parent")));
    affect_json_free(body);
    CHECK(api_store_job_get(&body, db, "job_9", NULL) == AFFECT_STATUS_NOT_FOUND);
    return AFFECT_STATUS_OK;
}

/* The page's ids as text, and whether others follow. */
static void check_page(api_db *db, const api_job_page *page, const char *ids, bool more) {
    char text[200] = "";
    affect_json *json = NULL;
    CHECK(api_store_job_list(&json, db, page, NULL) == AFFECT_STATUS_OK);
    for (const affect_json *e = affect_json_first(affect_json_get(json, "data")); e;
         e = affect_json_next(e))
        strcat(strcat(text, affect_json_get_string(e, "id", "") + 4), " ");
    CHECK(strcmp(text, ids) == 0);
    CHECK(affect_json_get_bool(json, "more", !more) == more);
    affect_json_free(json);
}

static affect_status read_pages(api_db *db, void *context, affect_error *err) {
    (void)context, (void)err;
    check_page(db, &(api_job_page){.after = "", .limit = 2}, "5 4 ", true);
    check_page(db, &(api_job_page){.after = "job_4", .limit = 2}, "3 2 ", true);
    check_page(db, &(api_job_page){.after = "job_2", .limit = 2}, "1 ", false);
    check_page(db, &(api_job_page){.after = "", .limit = 5}, "5 4 3 2 1 ", false);
    check_page(db, &(api_job_page){.after = "", .type = "outer", .limit = 1}, "1 ", false);
    check_page(db, &(api_job_page){.after = "", .state = "failed", .limit = 1}, "", false);
    check_page(db, &(api_job_page){.after = "", .parent = "job_1", .limit = 1}, "6 ", true);
    check_page(db, &(api_job_page){.after = "job_6", .parent = "job_1", .limit = 5}, "7 ", false);
    return AFFECT_STATUS_OK;
}

static void check_startable(api_db *db, bool others, size_t n, const char *first) {
    api_id_list list = {0};
    CHECK(api_store_jobs_startable(&list, db, others, NULL) == AFFECT_STATUS_OK);
    CHECK(list.n == n && (n == 0 || strcmp(list.ids[0], first) == 0));
    free(list.ids);
}

static affect_status set_state(api_db *db, const char *id, api_job_state state, affect_error *err) {
    api_job_row row = {0};
    AFFECT_TRY(api_job_row_load(&row, db, id, err));
    row.state = state;
    affect_status status = api_store_job_set_state(db, &row, NULL, NULL, err);
    api_job_row_free(&row);
    return status;
}

/* Runs start while their job is running, max_runs of them at once. */
static affect_status start_runs(api_db *db, void *context, affect_error *err) {
    char found[API_ID_SIZE];
    int64_t n[API_JOB_STATE_COUNT], n_total;
    (void)context;
    check_startable(db, false, 0, "");
    check_startable(db, true, 5, "job_1");
    AFFECT_TRY(set_state(db, "job_1", API_JOB_RUNNING, err));
    check_startable(db, false, 2, "job_6");
    AFFECT_TRY(api_store_run_find(found, db, "job_7", err));
    CHECK(!found[0]);
    AFFECT_TRY(set_state(db, "job_6", API_JOB_RUNNING, err));
    check_startable(db, false, 0, "");
    AFFECT_TRY(set_state(db, "job_6", API_JOB_SUCCEEDED, err));
    check_startable(db, false, 1, "job_7");
    AFFECT_TRY(api_store_run_find(found, db, "job_7", err));
    CHECK(strcmp(found, "job_6") == 0);
    AFFECT_TRY(api_store_runs_count(n, &n_total, db, "job_1", err));
    CHECK(n_total == 2 && n[API_JOB_SUCCEEDED] == 1 && n[API_JOB_QUEUED] == 1);
    AFFECT_TRY(api_store_jobs_count_active(&n_total, db, err));
    return n_total == 1 ? set_state(db, "job_1", API_JOB_QUEUED, err) : AFFECT_STATUS_INTERNAL;
}

static affect_status end_jobs(api_db *db, void *context, affect_error *err) {
    (void)context;
    for (int i = 2; i <= 4; i++) {
        char id[API_ID_SIZE];
        snprintf(id, sizeof id, "job_%d", i);
        AFFECT_TRY(api_store_job_set_ended(db, id, NULL, "{}", err));
        AFFECT_TRY(api_store_key_put(db, id, "digest", id, err));
    }
    AFFECT_TRY(api_store_event_append(db, "job_2", 1, "log", "{}", err));
    return api_store_epoch_put(db, "job_2", 1, "{}", err);
}

static affect_status read_expired(api_db *db, void *context, affect_error *err) {
    (void)context;
    api_id_list list = {0};
    AFFECT_TRY(api_store_jobs_expired(&list, db, 0, 0, 9, err));
    CHECK(list.n == 0);
    free(list.ids);
    AFFECT_TRY(api_store_jobs_expired(&list, db, 0, 1, 9, err));
    CHECK(list.n == 2); /* of three that ended, the newest stays */
    free(list.ids);
    AFFECT_TRY(api_store_jobs_expired(&list, db, INT64_MAX, 0, 2, err));
    CHECK(list.n == 2);
    free(list.ids);
    return AFFECT_STATUS_OK;
}

static affect_status delete_one(api_db *db, void *context, affect_error *err) {
    (void)context;
    return api_store_job_delete(db, "job_2", err);
}

static affect_status read_keys(api_db *db, void *context, affect_error *err) {
    (void)context;
    bool found = true;
    char id[API_ID_SIZE];
    int64_t epoch = 9;
    AFFECT_TRY(api_store_key_find(&found, id, db, "job_2", "digest", err));
    CHECK(!found); /* it left with its job */
    AFFECT_TRY(api_store_epoch_newest(&epoch, db, "job_2", err));
    CHECK(epoch == 0);
    AFFECT_TRY(api_store_key_find(&found, id, db, "job_3", "digest", err));
    CHECK(found && strcmp(id, "job_3") == 0);
    CHECK(api_store_key_find(&found, id, db, "job_3", "another", NULL) == AFFECT_STATUS_CONFLICT);
    return AFFECT_STATUS_OK;
}

static void test_jobs(void) {
    CHECK_OK(api_store_write(store, insert, NULL, NULL, err));
    CHECK_OK(api_store_read(store, read_bodies, NULL, err));
    CHECK_OK(api_store_read(store, read_pages, NULL, err));
    CHECK_OK(api_store_write(store, start_runs, NULL, NULL, err));
    CHECK_OK(api_store_write(store, end_jobs, NULL, NULL, err));
    CHECK_OK(api_store_read(store, read_expired, NULL, err));
    CHECK_OK(api_store_write(store, delete_one, NULL, NULL, err));
    CHECK_OK(api_store_read(store, read_keys, NULL, err));
}

/* The same JSON, members in any order. */
static void check_same(const char *text, const char *wanted) {
    affect_json *a = NULL, *b = NULL;
    CHECK_OK(affect_json_parse(&a, text, strlen(text), err));
    CHECK_OK(affect_json_parse(&b, wanted, strlen(wanted), err));
    char *of_a = affect_json_canonical_text(a), *of_b = affect_json_canonical_text(b);
    CHECK(strcmp(of_a, of_b) == 0);
    free(of_a);
    free(of_b);
    affect_json_free(a);
    affect_json_free(b);
}

/* What schema 1 had: absolute paths below a folder that may be elsewhere now. */
static void test_specifications_of_schema_1(void) {
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"{\"type\":\"x\",\"dataset\":\"/a b/datasets/ds_2\",\"output\":\"/a b/jobs/job_1\","
         "\"model\":\"/a b/models/m/1.safetensors\",\"device\":\"cpu\"}",
         "{\"type\":\"x\",\"dataset\":\"datasets/ds_2\",\"output\":\"jobs/job_1\","
         "\"model\":\"models/m/1.safetensors\",\"device\":\"cpu\"}"},
        {"{\"model\":\"first\",\"output\":\"/jobs/job_1\"}",
         "{\"model\":\"first\",\"output\":\"jobs/job_1\"}"},
        {"{\"source\":{\"archive\":\"/d/jobs/job_1/upload\"},\"store\":\"/d/features\","
         "\"output\":\"/d/datasets/ds_1\"}",
         "{\"source\":{\"archive\":\"jobs/job_1/upload\"},\"store\":\"features\","
         "\"output\":\"datasets/ds_1\"}"},
        {"{\"source\":{\"root\":\"/corpora\",\"path\":\"x\"},\"output\":\"/d/datasets/ds_1\"}",
         "{\"source\":{\"path\":\"x\"},\"output\":\"datasets/ds_1\"}"},
        {"{\"output\":\"jobs/job_1\"}", "{\"output\":\"jobs/job_1\"}"},
        {"{\"output\":\"/d/jobs/job_9\",\"dataset\":\"/d/datasets/ds_1\"}",
         "{\"output\":\"/d/jobs/job_9\",\"dataset\":\"/d/datasets/ds_1\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = NULL;
        CHECK_OK(api_upgrade_spec(&text, cases[i].before, "job_1", "ds_1", err));
        check_same(text, cases[i].after);
        free(text);
    }
    char *text = NULL;
    CHECK(api_upgrade_spec(&text, "{", "job_1", "", NULL) != AFFECT_STATUS_OK && !text);
}

int main(void) {
    char folder[] = "/tmp/affect-store-jobs-XXXXXX", path[AFFECT_PATH_MAX];
    if (!mkdtemp(folder)) return 1;
    CHECK_OK(affect_path_join(path, err, folder, "a.db"));
    CHECK_OK(api_store_open(&store, path, err));
    TEST_RUN(test_jobs);
    TEST_RUN(test_specifications_of_schema_1);
    api_store_close(store);
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
