/* Datasets in SQLite; see store_datasets.h. */
#include "api/store/store_datasets.h"
#include "api/store/store_sqlite.h"

#include <stdio.h>
#include <string.h>

/* ---- Rows ---- */

affect_status api_store_dataset_insert(api_db *db, const api_dataset_record *dataset,
                                       affect_error *err) {
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM datasets WHERE name = ? AND state = 'failed'", "t",
                          dataset->name));
    affect_status status = api_db_run(
        db, err,
        "INSERT INTO datasets (id, name, state, job_id, layout, created_ms) "
        "VALUES (?, ?, 'importing', ?, ?, ?)",
        "tttti", dataset->id, dataset->name, dataset->job_id, dataset->layout, dataset->created_ms);
    if (status == AFFECT_STATUS_CONFLICT)
        return affect_fail(err, CONFLICT, "a dataset named \"%s\" is there already", dataset->name);
    return status;
}

affect_status api_store_dataset_set_ready(api_db *db, const char *id, const char *summary,
                                          affect_error *err) {
    return api_db_run(db, err, "UPDATE datasets SET state = 'ready', summary = ? WHERE id = ?",
                      "tt", summary, id);
}

affect_status api_store_dataset_set_failed(api_db *db, const char *id, affect_error *err) {
    return api_db_run(db, err, "UPDATE datasets SET state = 'failed' WHERE id = ?", "t", id);
}

affect_status api_store_dataset_delete(api_db *db, const char *id, affect_error *err) {
    api_rows *rows = NULL;
    char user[API_ID_SIZE + 16] = "";
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id FROM jobs WHERE dataset_id = ? AND ended_ms IS NULL LIMIT 1",
                            "t", id));
    if (api_rows_next(rows)) snprintf(user, sizeof user, "%s", api_rows_text(rows, 0));
    AFFECT_TRY(api_rows_end(rows, err));
    if (user[0]) return affect_fail(err, CONFLICT, "the dataset is in use by %s", user);
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM datasets WHERE id = ?", "t", id));
    return api_db_changes(db) ? AFFECT_STATUS_OK : affect_fail(err, NOT_FOUND, "no such dataset");
}

/* ---- Questions and bodies ---- */

affect_status api_store_dataset_find(api_dataset *dataset, api_db *db, const char *name_or_id,
                                     affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id, name, state FROM datasets WHERE name = ?1 OR id = ?1 "
                            "ORDER BY id = ?1 DESC",
                            "t", name_or_id));
    bool found = api_rows_next(rows);
    if (found) {
        snprintf(dataset->id, sizeof dataset->id, "%s", api_rows_text(rows, 0));
        snprintf(dataset->name, sizeof dataset->name, "%s", api_rows_text(rows, 1));
        snprintf(dataset->state, sizeof dataset->state, "%s", api_rows_text(rows, 2));
    }
    AFFECT_TRY(api_rows_end(rows, err));
    return found ? AFFECT_STATUS_OK
                 : affect_fail(err, NOT_FOUND, "no dataset \"%.80s\"", name_or_id);
}

affect_status api_store_dataset_newest(char id[API_ID_SIZE], bool *importing, api_db *db,
                                       affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT coalesce(max(id), ''), coalesce(max(state = 'importing'), 0) "
                            "FROM datasets",
                            ""));
    id[0] = '\0';
    *importing = false;
    if (api_rows_next(rows)) {
        snprintf(id, API_ID_SIZE, "%s", api_rows_text(rows, 0));
        *importing = api_rows_integer(rows, 1) != 0;
    }
    return api_rows_end(rows, err);
}

#define BODY_COLUMNS "name, id, state, layout, job_id, created_ms, summary"

static affect_json *make_body(api_rows *rows, bool with_dropped) {
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
    return body;
}

static affect_json *brief_body(api_rows *rows) {
    return make_body(rows, false);
}

affect_status api_store_dataset_get(affect_json **json, api_db *db, const char *name_or_id,
                                    affect_error *err) {
    api_rows *rows = NULL;
    *json = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " BODY_COLUMNS " FROM datasets WHERE name = ?1 OR id = ?1 "
                            "ORDER BY id = ?1 DESC",
                            "t", name_or_id));
    if (api_rows_next(rows)) *json = make_body(rows, true);
    AFFECT_TRY(api_rows_end(rows, err));
    return *json ? AFFECT_STATUS_OK
                 : affect_fail(err, NOT_FOUND, "no dataset \"%.80s\"", name_or_id);
}

affect_status api_store_dataset_list(affect_json **json, api_db *db, const char *after,
                                     int64_t limit, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " BODY_COLUMNS " FROM datasets WHERE name > ? "
                            "ORDER BY name LIMIT ?",
                            "ti", after, limit + 1));
    return api_rows_page(json, rows, limit, brief_body, err);
}
