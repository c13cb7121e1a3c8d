/* Datasets; see dataset_registry.h. */
#include "api/store/dataset_registry.h"

#include "api/store/folder_deletion.h"
#include "engine/core/clock.h"
#include "engine/core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MANIFEST_BYTES (512u << 20)
#define MAX_DROPPED        1000 /* of a body; the report has all that the import kept */

void api_dataset_id_make(char id[API_DATASET_ID_SIZE]) {
    char ulid[AFFECT_ULID_SIZE];
    affect_ulid_make(ulid);
    snprintf(id, API_DATASET_ID_SIZE, "ds_%s", ulid);
}

affect_status api_dataset_insert(api_db *db, void *context, affect_error *err) {
    const api_dataset_new *dataset = context;
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM datasets WHERE name = ? AND state = 'failed'", "t",
                          dataset->name));
    affect_status status =
        api_db_run(db, err,
                   "INSERT INTO datasets (id, name, state, job_id, layout, created_ms) "
                   "VALUES (?, ?, 'importing', ?, ?, ?)",
                   "tttti", dataset->id, dataset->name, dataset->job_id, dataset->layout,
                   affect_clock_unix_ms());
    if (status == AFFECT_STATUS_CONFLICT)
        return affect_fail(err, CONFLICT, "a dataset named \"%s\" is there already", dataset->name);
    return status;
}

/* ---- Summaries ---- */

static void copy_member(affect_json *to, const affect_json *from, const char *name) {
    const affect_json *value = affect_json_get(from, name);
    if (value) affect_json_set(to, name, affect_json_copy(value));
}

static affect_json *first_of(const affect_json *array, size_t limit) {
    affect_json *copy = affect_json_new_array();
    size_t n = 0;
    for (const affect_json *e = affect_json_first(array); e && n < limit; e = affect_json_next(e)) {
        affect_json_append(copy, affect_json_copy(e));
        n++;
    }
    return copy;
}

static affect_json *summary_of(const affect_json *manifest) {
    static const char *const counts[] = {"utterances", "classes",    "sessions",    "streams",
                                         "improvised", "scripted",   "audio_hours", "n_dropped",
                                         "n_rejected", "n_warnings", NULL};
    const affect_json *report = affect_json_get(manifest, "report");
    affect_json *summary = affect_json_new_object();
    for (int i = 0; counts[i]; i++) copy_member(summary, report, counts[i]);
    affect_json_set_number(summary, "speakers",
                           (double)affect_json_size(affect_json_get(report, "speakers")));
    affect_json_set(summary, "dropped", first_of(affect_json_get(report, "dropped"), MAX_DROPPED));
    copy_member(summary, manifest, "digest");
    return summary;
}

affect_status api_dataset_summarize(affect_json **summary, const char *folder, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_json *manifest = NULL;
    AFFECT_TRY(affect_path_join(path, err, folder, "dataset.json"));
    AFFECT_TRY(affect_json_read(&manifest, path, MAX_MANIFEST_BYTES, err));
    *summary = summary_of(manifest);
    affect_json_free(manifest);
    return AFFECT_STATUS_OK;
}

affect_status api_dataset_finish(api_db *db, const char *id, const affect_json *summary,
                                 affect_error *err) {
    char *text = affect_json_text(summary);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for a summary");
    affect_status status = api_db_run(
        db, err, "UPDATE datasets SET state = 'ready', summary = ? WHERE id = ?", "tt", text, id);
    free(text);
    return status;
}

affect_status api_dataset_give_up(api_db *db, const char *id, affect_error *err) {
    return api_db_run(db, err, "UPDATE datasets SET state = 'failed' WHERE id = ?", "t", id);
}

/* ---- Bodies ---- */

typedef struct {
    const char *name, *after;
    int64_t limit;
    api_dataset *dataset;
    affect_json *json;
} question;

static affect_status find(api_db *db, void *context, affect_error *err) {
    question *q = context;
    api_rows *rows = NULL;
    bool found = false;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id, name, state FROM datasets WHERE name = ?1 OR id = ?1", "t",
                            q->name));
    if (api_rows_next(rows)) {
        found = true;
        snprintf(q->dataset->id, sizeof q->dataset->id, "%s", api_rows_text(rows, 0));
        snprintf(q->dataset->name, sizeof q->dataset->name, "%s", api_rows_text(rows, 1));
        snprintf(q->dataset->state, sizeof q->dataset->state, "%s", api_rows_text(rows, 2));
    }
    AFFECT_TRY(api_rows_end(rows, err));
    return found ? AFFECT_STATUS_OK : affect_fail(err, NOT_FOUND, "no dataset \"%.80s\"", q->name);
}

affect_status api_dataset_find(api_dataset *dataset, api_store *store, const char *name_or_id,
                               affect_error *err) {
    question q = {.name = name_or_id, .dataset = dataset};
    return api_store_read(store, find, &q, err);
}

#define BODY_COLUMNS "name, id, state, layout, job_id, created_ms, summary"

static affect_json *body_of(api_rows *rows, bool with_dropped) {
    char link[128];
    affect_json *body = affect_json_new_object();
    affect_json_set_string(body, "name", api_rows_text(rows, 0));
    affect_json_set_string(body, "id", api_rows_text(rows, 1));
    affect_json_set_string(body, "state", api_rows_text(rows, 2));
    affect_json_set_string(body, "layout", api_rows_text(rows, 3));
    affect_json_set_string(body, "job", api_rows_text(rows, 4));
    affect_json_set(body, "created", api_rows_time(rows, 5));
    affect_json *summary = api_rows_json(rows, 6);
    for (const affect_json *m = affect_json_first(summary); m; m = affect_json_next(m))
        if (with_dropped || strcmp(affect_json_name(m), "dropped") != 0)
            affect_json_set(body, affect_json_name(m), affect_json_copy(m));
    affect_json_free(summary);
    affect_json *links = affect_json_set_object(body, "links");
    snprintf(link, sizeof link, "/v1/datasets/%s", api_rows_text(rows, 0));
    affect_json_set_string(links, "self", link);
    snprintf(link, sizeof link, "/v1/datasets/%s/report", api_rows_text(rows, 0));
    affect_json_set_string(links, "report", link);
    snprintf(link, sizeof link, "/v1/jobs/%s", api_rows_text(rows, 4));
    affect_json_set_string(links, "job", link);
    return body;
}

static affect_status get(api_db *db, void *context, affect_error *err) {
    question *q = context;
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " BODY_COLUMNS " FROM datasets WHERE name = ?1 OR id = ?1", "t",
                            q->name));
    if (api_rows_next(rows)) q->json = body_of(rows, true);
    AFFECT_TRY(api_rows_end(rows, err));
    return q->json ? AFFECT_STATUS_OK
                   : affect_fail(err, NOT_FOUND, "no dataset \"%.80s\"", q->name);
}

affect_status api_dataset_get(affect_json **json, api_store *store, const char *name_or_id,
                              affect_error *err) {
    question q = {.name = name_or_id};
    affect_status status = api_store_read(store, get, &q, err);
    *json = q.json;
    return status;
}

static affect_status list(api_db *db, void *context, affect_error *err) {
    question *q = context;
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " BODY_COLUMNS " FROM datasets WHERE name > ? "
                            "ORDER BY name LIMIT ?",
                            "ti", q->after, q->limit + 1));
    q->json = affect_json_new_object();
    affect_json *data = affect_json_set_array(q->json, "data");
    bool more = false;
    for (int64_t n = 0; api_rows_next(rows); n++) {
        if (n == q->limit) {
            more = true;
            break;
        }
        affect_json_append(data, body_of(rows, false));
    }
    affect_json_set_bool(q->json, "more", more);
    return api_rows_end(rows, err);
}

affect_status api_dataset_list(affect_json **json, api_store *store, const char *after,
                               int64_t limit, affect_error *err) {
    question q = {.after = after, .limit = limit};
    affect_status status = api_store_read(store, list, &q, err);
    *json = q.json;
    if (status == AFFECT_STATUS_OK) return status;
    affect_json_free(q.json);
    *json = NULL;
    return status;
}

affect_status api_dataset_require(api_db *db, void *context, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err, "SELECT 1 FROM datasets WHERE id = ? AND state = 'ready'", "t", context));
    bool ready = api_rows_next(rows);
    AFFECT_TRY(api_rows_end(rows, err));
    return ready ? AFFECT_STATUS_OK
                 : affect_fail(err, CONFLICT, "the dataset is not ready, or was just deleted");
}

typedef struct {
    const char *data_dir, *id;
    api_folder_deletion folder;
} deletion;

static affect_status work_delete(api_db *db, void *context, affect_error *err) {
    deletion *d = context;
    api_rows *rows = NULL;
    char user[API_DATASET_ID_SIZE + 16] = "";
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id FROM jobs WHERE dataset_id = ? AND ended_ms IS NULL LIMIT 1",
                            "t", d->id));
    if (api_rows_next(rows)) snprintf(user, sizeof user, "%s", api_rows_text(rows, 0));
    AFFECT_TRY(api_rows_end(rows, err));
    if (user[0]) return affect_fail(err, CONFLICT, "the dataset is in use by %s", user);
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM datasets WHERE id = ?", "t", d->id));
    if (!api_db_changes(db)) return affect_fail(err, NOT_FOUND, "no such dataset");
    return api_folder_deletion_begin(&d->folder, d->data_dir, "datasets", d->id, err);
}

affect_status api_dataset_delete(api_store *store, const char *data_dir, const char *id,
                                 affect_error *err) {
    deletion d = {.data_dir = data_dir, .id = id};
    affect_status status = api_store_write_freeing(store, work_delete, NULL, &d, err);
    api_folder_deletion_end(&d.folder, status == AFFECT_STATUS_OK);
    return status;
}
