/* Rebuilding the rows; see recover.h.
 *
 * DATA/datasets/<id>/dataset.json names its dataset; DATA/models/<name>/<n>.safetensors is version
 * n. What does not read is skipped and logged: one damaged file must not keep the rest away. */
#include "api/store/recover.h"

#include "api/log.h"
#include "api/models/model_registry.h"
#include "api/store/dataset_registry.h"
#include "engine/core/digest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_MANIFEST_BYTES (512u << 20)
#define RECOVERED_JOB      "" /* the job that made it is gone */

typedef struct {
    const char *data_dir;
    api_db *db;
    api_recovered found;
} recovery;

typedef affect_status visit(recovery *r, const char *folder, const char *name, affect_error *err);

/* Calls `each` for every entry of DATA/`kind` that does not begin with a dot. */
static affect_status walk(recovery *r, const char *kind, visit *each, affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(folder, err, r->data_dir, "%s", kind));
    DIR *entries = opendir(folder);
    if (!entries)
        return errno == ENOENT ? AFFECT_STATUS_OK : affect_error_errno(err, errno, "%s", folder);
    affect_status status = AFFECT_STATUS_OK;
    for (struct dirent *e; status == AFFECT_STATUS_OK && (e = readdir(entries));)
        if (e->d_name[0] != '.') status = each(r, folder, e->d_name, err);
    closedir(entries);
    return status;
}

static int64_t changed_ms(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_mtime * 1000 : 0;
}

static affect_status skip(recovery *r, const char *path, const affect_error *why) {
    r->found.n_skipped++;
    api_log(API_LOG_WARNING, "not recovered", "path", path, "reason", why->message, NULL);
    return AFFECT_STATUS_OK;
}

/* ---- Datasets ---- */

static affect_status add_dataset(recovery *r, const char *folder, const char *id,
                                 affect_error *err) {
    char path[AFFECT_PATH_MAX], file[AFFECT_PATH_MAX];
    affect_json *manifest = NULL, *summary = NULL;
    affect_error why = {0};
    AFFECT_TRY(affect_path_join(file, err, folder, "%s/dataset.json", id));
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", id));
    affect_status status = affect_json_read(&manifest, file, MAX_MANIFEST_BYTES, &why);
    const char *name = affect_json_get_string(manifest, "name", "");
    if (status == AFFECT_STATUS_OK) status = api_dataset_summarize(&summary, path, &why);
    if (status == AFFECT_STATUS_OK) status = api_name_check(name, "", &why);
    if (status == AFFECT_STATUS_OK)
        status =
            api_db_run(r->db, &why,
                       "INSERT INTO datasets (id, name, state, job_id, layout, created_ms) "
                       "VALUES (?, ?, 'importing', ?, ?, ?)",
                       "tttti", id, name, RECOVERED_JOB,
                       affect_json_get_string(manifest, "layout", "iemocap"), changed_ms(file));
    if (status == AFFECT_STATUS_OK) status = api_dataset_finish(r->db, id, summary, &why);
    affect_json_free(manifest);
    affect_json_free(summary);
    if (status != AFFECT_STATUS_OK) return skip(r, path, &why);
    r->found.n_datasets++;
    return AFFECT_STATUS_OK;
}

/* ---- Models ---- */

static affect_status add_version(recovery *r, const char *path, const char *name, int64_t version,
                                 affect_error *err) {
    affect_json *metadata = NULL;
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    AFFECT_TRY(api_model_describe(&metadata, path, err));
    affect_status status = affect_digest_file(digest, path, err);
    if (status == AFFECT_STATUS_OK)
        status = api_model_insert(r->db, name, version, RECOVERED_JOB, changed_ms(path), path,
                                  digest, metadata, err);
    affect_json_free(metadata);
    return status;
}

static affect_status add_model(recovery *r, const char *folder, const char *name,
                               affect_error *err) {
    char of_model[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    affect_error why = {0};
    AFFECT_TRY(affect_path_join(of_model, err, folder, "%s", name));
    DIR *entries = opendir(of_model);
    if (!entries || api_name_check(name, "", &why) != AFFECT_STATUS_OK) {
        if (entries)
            closedir(entries);
        else
            affect_error_errno(&why, errno, "%s", name);
        return skip(r, of_model, &why);
    }
    affect_status status = AFFECT_STATUS_OK;
    for (struct dirent *e; status == AFFECT_STATUS_OK && (e = readdir(entries));) {
        char *end = NULL;
        long long version = strtoll(e->d_name, &end, 10);
        if (version < 1 || strcmp(end, ".safetensors") != 0) continue;
        status = affect_path_join(path, err, of_model, "%s", e->d_name);
        if (status != AFFECT_STATUS_OK) break;
        if (add_version(r, path, name, version, &why) == AFFECT_STATUS_OK)
            r->found.n_versions++;
        else
            skip(r, path, &why);
    }
    closedir(entries);
    return status;
}

/* ---- The two questions ---- */

static affect_status fill(api_db *db, void *context, affect_error *err) {
    recovery *r = context;
    r->db = db;
    AFFECT_TRY(walk(r, "datasets", add_dataset, err));
    return walk(r, "models", add_model, err);
}

affect_status api_recover(api_recovered *found, api_store *store, const char *data_dir,
                          affect_error *err) {
    recovery r = {.data_dir = data_dir};
    affect_status status = api_store_write(store, fill, NULL, &r, err);
    *found = r.found;
    return status;
}

static affect_status count_dataset(recovery *r, const char *folder, const char *name,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, folder, "%s/dataset.json", name));
    if (affect_file_exists(path)) r->found.n_datasets++;
    return AFFECT_STATUS_OK;
}

static affect_status count_model(recovery *r, const char *folder, const char *name,
                                 affect_error *err) {
    (void)folder, (void)name, (void)err;
    r->found.n_versions++;
    return AFFECT_STATUS_OK;
}

affect_status api_recover_needed(const char *data_dir, const char *path, affect_error *err) {
    recovery r = {.data_dir = data_dir};
    struct stat info;
    if (stat(path, &info) == 0 && info.st_size > 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(walk(&r, "datasets", count_dataset, err));
    AFFECT_TRY(walk(&r, "models", count_model, err));
    if (!r.found.n_datasets && !r.found.n_versions) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT,
                       "the database %s is missing or empty, but %zu datasets and %zu models are "
                       "there: put it back from a copy, or make it anew from them with `affectd "
                       "recover` (jobs and their curves are then gone)",
                       path, r.found.n_datasets, r.found.n_versions);
}
