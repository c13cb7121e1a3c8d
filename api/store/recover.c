/* Rebuilding the rows; see recover.h.
 *
 * DATA/datasets/<id>/dataset.json names its dataset; DATA/models/<name>/<n>.safetensors is version
 * n. What does not read is skipped and logged: one damaged file must not keep the rest away. */
#include "api/store/recover.h"

#include "api/log.h"
#include "api/models/model_registry.h"
#include "api/store/dataset_registry.h"
#include "engine/core/digest.h"

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

/* Visits the entries of DATA/`name`. */
static affect_status visit(recovery *r, const char *name, affect_directory_visit *each,
                           affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(folder, err, r->data_dir, "%s", name));
    return affect_directory_each(folder, each, r, err);
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

static affect_status add_dataset(void *context, const char *folder, const char *id,
                                 affect_error *err) {
    recovery *r = context;
    if (id[0] == '.') return AFFECT_STATUS_OK;
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
        status = api_store_dataset_insert(
            r->db,
            &(api_dataset_record){.id = id,
                                  .name = name,
                                  .job_id = RECOVERED_JOB,
                                  .layout = affect_json_get_string(manifest, "layout", "iemocap"),
                                  .created_ms = changed_ms(file)},
            &why);
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

typedef struct {
    recovery *r;
    const char *name; /* of the model */
} versions;

static affect_status visit_version(void *context, const char *folder, const char *file,
                                   affect_error *err) {
    versions *v = context;
    char path[AFFECT_PATH_MAX], *end = NULL;
    affect_error why = {0};
    long long version = strtoll(file, &end, 10);
    if (version < 1 || strcmp(end, ".safetensors") != 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", file));
    if (add_version(v->r, path, v->name, version, &why) != AFFECT_STATUS_OK)
        return skip(v->r, path, &why);
    v->r->found.n_versions++;
    return AFFECT_STATUS_OK;
}

static affect_status add_model(void *context, const char *folder, const char *name,
                               affect_error *err) {
    versions v = {context, name};
    char of_model[AFFECT_PATH_MAX];
    affect_error why = {0};
    if (name[0] == '.') return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(of_model, err, folder, "%s", name));
    affect_status status = api_name_check(name, "", &why);
    if (status == AFFECT_STATUS_OK)
        status = affect_directory_each(of_model, visit_version, &v, &why);
    return status == AFFECT_STATUS_OK ? status : skip(v.r, of_model, &why);
}

/* ---- Recovering, and whether it is needed ---- */

static affect_status fill(api_db *db, void *context, affect_error *err) {
    recovery *r = context;
    r->db = db;
    AFFECT_TRY(visit(r, "datasets", add_dataset, err));
    return visit(r, "models", add_model, err);
}

affect_status api_recover(api_recovered *found, api_store *store, const char *data_dir,
                          affect_error *err) {
    recovery r = {.data_dir = data_dir};
    affect_status status = api_store_write(store, fill, NULL, &r, err);
    *found = r.found;
    return status;
}

static affect_status count_dataset(void *context, const char *folder, const char *name,
                                   affect_error *err) {
    recovery *r = context;
    if (name[0] == '.') return AFFECT_STATUS_OK;
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, folder, "%s/dataset.json", name));
    if (affect_file_exists(path)) r->found.n_datasets++;
    return AFFECT_STATUS_OK;
}

static affect_status count_model(void *context, const char *folder, const char *name,
                                 affect_error *err) {
    (void)folder, (void)err;
    recovery *r = context;
    if (name[0] != '.') r->found.n_versions++;
    return AFFECT_STATUS_OK;
}

affect_status api_recover_needed(const char *data_dir, const char *path, affect_error *err) {
    recovery r = {.data_dir = data_dir};
    struct stat info;
    if (stat(path, &info) == 0 && info.st_size > 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(visit(&r, "datasets", count_dataset, err));
    AFFECT_TRY(visit(&r, "models", count_model, err));
    if (!r.found.n_datasets && !r.found.n_versions) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT,
                       "the database %s is missing or empty, but %zu datasets and %zu models are "
                       "there: put it back from a copy, or make it anew from them with `affectd "
                       "recover` (jobs and their curves are then gone)",
                       path, r.found.n_datasets, r.found.n_versions);
}
