/* Models and versions in SQLite; see store_models.h.
 *
 * A model's row stays when its versions are removed: it keeps the greatest number, so that none is
 * given twice. */
#include "api/store/store_models.h"
#include "api/store/store_sqlite.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ---- */

affect_status api_store_version_next(int64_t *version, api_db *db, const char *name,
                                     affect_error *err) {
    AFFECT_TRY(api_db_run(db, err,
                          "INSERT INTO models (name, latest, created_ms) VALUES (?, 0, ?) "
                          "ON CONFLICT (name) DO NOTHING",
                          "ti", name, affect_clock_unix_ms()));
    AFFECT_TRY(
        api_db_run(db, err, "UPDATE models SET latest = latest + 1 WHERE name = ?", "t", name));
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT latest FROM models WHERE name = ?", "t", name));
    *version = api_rows_next(rows) ? api_rows_integer(rows, 0) : 0;
    return api_rows_end(rows, err);
}

affect_status api_store_version_insert(api_db *db, const api_version_record *v, affect_error *err) {
    AFFECT_TRY(api_db_run(db, err,
                          "INSERT INTO models (name, latest, created_ms) VALUES (?1, ?2, ?3) "
                          "ON CONFLICT (name) DO UPDATE SET latest = max(latest, ?2)",
                          "tii", v->name, v->version, v->created_ms));
    return api_db_run(db, err,
                      "INSERT INTO model_versions (name, version, job_id, created_ms, digest, "
                      "bytes, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)",
                      "titi"
                      "tit",
                      v->name, v->version, v->job_id, v->created_ms, v->digest, v->n_bytes,
                      v->metadata);
}

affect_status api_store_version_find(bool *found, int64_t *version, char digest[65],
                                     int64_t *n_bytes, api_db *db, const char *name,
                                     affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT version, digest, bytes FROM model_versions WHERE name = ?1 AND "
                            "version = CASE ?2 WHEN 0 THEN (SELECT max(version) FROM "
                            "model_versions WHERE name = ?1) ELSE ?2 END",
                            "ti", name, *version));
    *found = api_rows_next(rows);
    if (*found) {
        *version = api_rows_integer(rows, 0);
        snprintf(digest, 65, "%s", api_rows_text(rows, 1));
        *n_bytes = api_rows_integer(rows, 2);
    }
    return api_rows_end(rows, err);
}

affect_status api_store_versions_list(affect_json *names, api_db *db, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT name || ':' || version FROM model_versions "
                            "ORDER BY name, version",
                            ""));
    while (api_rows_next(rows))
        affect_json_append(names, affect_json_new_string(api_rows_text(rows, 0)));
    return api_rows_end(rows, err);
}

/* ---- Deleting ---- */

static affect_status check_unused(api_db *db, const char *name, int64_t version,
                                  affect_error *err) {
    char reference[128], user[64] = "";
    api_rows *rows = NULL;
    snprintf(reference, sizeof reference, version ? "%s:%lld" : "%s:", name, (long long)version);
    AFFECT_TRY(
        api_db_query(&rows, db, err,
                     "SELECT id FROM jobs WHERE ended_ms IS NULL AND (model = ?1 OR "
                     "(?3 = 0 AND (model = ?2 OR substr(model, 1, length(?1)) = ?1))) LIMIT 1",
                     "tti", reference, name, version));
    if (api_rows_next(rows)) snprintf(user, sizeof user, "%s", api_rows_text(rows, 0));
    AFFECT_TRY(api_rows_end(rows, err));
    return user[0] ? affect_fail(err, CONFLICT, "the model is in use by %s", user)
                   : AFFECT_STATUS_OK;
}

static affect_status take_versions(int64_t **versions, size_t *n, api_rows *rows,
                                   affect_error *err) {
    bool memory = true;
    *n = 0;
    while (memory && api_rows_next(rows)) {
        int64_t *grown = realloc(*versions, (*n + 1) * sizeof *grown);
        memory = grown != NULL;
        if (!memory) break;
        *versions = grown;
        grown[(*n)++] = api_rows_integer(rows, 0);
    }
    AFFECT_TRY(api_rows_end(rows, err));
    return memory ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for versions");
}

affect_status api_store_version_delete(int64_t **versions, size_t *n, api_db *db, const char *name,
                                       int64_t version, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(check_unused(db, name, version, err));
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT version FROM model_versions WHERE name = ?1 AND (?2 = 0 OR "
                            "version = ?2)",
                            "ti", name, version));
    AFFECT_TRY(take_versions(versions, n, rows, err));
    if (!*n) return affect_fail(err, NOT_FOUND, "no model \"%.80s\" of that version", name);
    return api_db_run(db, err,
                      "DELETE FROM model_versions WHERE name = ?1 AND (?2 = 0 OR version = ?2)",
                      "ti", name, version);
}

/* ---- Bodies ---- */

#define VERSION_COLUMNS "v.name, v.version, v.job_id, v.created_ms, v.digest, v.bytes, v.metadata"

static affect_json *version_body(api_rows *rows, bool complete) {
    affect_json *body = affect_json_new_object();
    affect_json_set_string(body, "name", api_rows_text(rows, 0));
    affect_json_set_number(body, "version", (double)api_rows_integer(rows, 1));
    affect_json_set_string(body, "job", api_rows_text(rows, 2));
    affect_json_set(body, "created", api_rows_time(rows, 3));
    affect_json_set_string(body, "sha256", api_rows_text(rows, 4));
    affect_json_set_number(body, "bytes", (double)api_rows_integer(rows, 5));
    affect_json *metadata = api_rows_json(rows, 6);
    for (const affect_json *m = affect_json_first(metadata); m; m = affect_json_next(m)) {
        const char *member = affect_json_name(m);
        bool brief = strcmp(member, "labels") == 0 || strcmp(member, "metrics") == 0 ||
                     strcmp(member, "dataset") == 0 || strcmp(member, "selection") == 0;
        if (complete || brief) affect_json_set(body, member, affect_json_copy(m));
    }
    affect_json_free(metadata);
    return body;
}

static affect_json *model_body(api_rows *rows) {
    affect_json *model = affect_json_new_object();
    affect_json_set_string(model, "name", api_rows_text(rows, 0));
    affect_json_set_number(model, "latest", (double)api_rows_integer(rows, 1));
    affect_json_set(model, "newest", version_body(rows, false));
    return model;
}

affect_status api_store_model_list(affect_json **json, api_db *db, const char *after, int64_t limit,
                                   affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " VERSION_COLUMNS " FROM models m JOIN model_versions v ON "
                            "v.name = m.name AND v.version = (SELECT max(version) FROM "
                            "model_versions WHERE name = m.name) WHERE m.name > ? "
                            "ORDER BY m.name LIMIT ?",
                            "ti", after, limit + 1));
    return api_rows_page(json, rows, limit, model_body, err);
}

affect_status api_store_model_get(affect_json **json, api_db *db, const char *name,
                                  affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " VERSION_COLUMNS " FROM model_versions v WHERE v.name = ? "
                            "ORDER BY v.version DESC",
                            "t", name));
    affect_json *versions = affect_json_new_array();
    double latest = 0;
    while (api_rows_next(rows)) {
        if (latest == 0) latest = (double)api_rows_integer(rows, 1);
        affect_json_append(versions, version_body(rows, false));
    }
    affect_status status = api_rows_end(rows, err);
    if (status == AFFECT_STATUS_OK && latest == 0)
        status = affect_fail(err, NOT_FOUND, "no model \"%.80s\"", name);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(versions);
        return status;
    }
    *json = affect_json_new_object();
    affect_json_set_string(*json, "name", name);
    affect_json_set_number(*json, "latest", latest);
    affect_json_set(*json, "versions", versions);
    return status;
}

affect_status api_store_version_get(affect_json **json, api_db *db, const char *name,
                                    int64_t version, affect_error *err) {
    api_rows *rows = NULL;
    *json = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT " VERSION_COLUMNS " FROM model_versions v WHERE v.name = ? AND "
                            "v.version = ?",
                            "ti", name, version));
    if (api_rows_next(rows)) *json = version_body(rows, true);
    AFFECT_TRY(api_rows_end(rows, err));
    return *json ? AFFECT_STATUS_OK
                 : affect_fail(err, NOT_FOUND, "no version %lld of model \"%.80s\"",
                               (long long)version, name);
}
