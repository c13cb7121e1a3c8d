/* Models and their versions: immutable files with a row each.
 *
 * A finished train job becomes version n of its model: the file is moved to
 * DATA/models/<name>/<n>.safetensors and never changed again; the row carries its digest and what
 * the file's metadata says. A reference is "name" (the newest version) or "name:3". */
#ifndef AFFECT_MODELS_MODEL_REGISTRY_H
#define AFFECT_MODELS_MODEL_REGISTRY_H

#include "api/store/store.h"
#include "engine/core/file.h"
#include "engine/core/json.h"

typedef struct api_model_registry api_model_registry;

affect_status api_model_registry_create(api_model_registry **registry, api_store *store,
                                        const char *data_dir, affect_error *err);
void api_model_registry_free(api_model_registry *registry);

#define API_MODEL_NAME_SIZE 72
/* [A-Za-z0-9][A-Za-z0-9._-]{0,63}, nothing else. INVALID otherwise. */
/* The same as members of a JSON Schema, for field tables. */
#define API_NAME_SCHEMA "{'pattern':'^[A-Za-z0-9][A-Za-z0-9._-]*$','minLength':1,'maxLength':64}"
affect_status api_name_check(const char *name, const char *pointer, affect_error *err);

/* "models/NAME/3.safetensors": where its file lies in the data folder. */
#define API_MODEL_KEY_SIZE (API_MODEL_NAME_SIZE + 48)
void api_model_key(char key[API_MODEL_KEY_SIZE], const char *name, int64_t version);

typedef struct {
    char name[API_MODEL_NAME_SIZE];
    int64_t version;
    char path[AFFECT_PATH_MAX]; /* of the file */
    char digest[65];
    int64_t n_bytes;
} api_model_version;

/* The version that "name" or "name:3" means. NOT_FOUND, INVALID. */
affect_status api_model_resolve(api_model_registry *registry, const char *reference,
                                api_model_version *version, affect_error *err);

/* Whether the version's file is the one that was stored: as long as size and time of change are
 * those of the last look that is believed; else its digest is computed. ARTIFACT_CORRUPT when it is
 * another, or no file. */
affect_status api_model_verify(api_model_registry *registry, const api_model_version *version,
                               affect_error *err);
/* The same for every version, by digest: {"checked": n, "damaged": ["name:1", ...]}. *json owned.
 */
affect_status api_model_verify_all(api_model_registry *registry, affect_json **json,
                                   affect_error *err);
/* The versions that were found damaged since the start, as in "damaged"; owned. */
affect_json *api_model_damaged(api_model_registry *registry);

/* Within a store's write: links `file` to its place as the next version of `name` whose place is
 * free and stores its row. The link is durable before the row. A file is never overwritten, also
 * one that has no row. */
affect_status api_model_add(api_model_registry *registry, api_db *db, const char *name,
                            const char *job_id, const char *file, const char *digest,
                            const affect_json *metadata, int64_t *version, affect_error *err);
/* Within a write: the row of a version whose file lies at `path`. */
affect_status api_model_insert(api_db *db, const char *name, int64_t version, const char *job_id,
                               int64_t created_ms, const char *path, const char *digest,
                               const affect_json *metadata, affect_error *err);
/* Removes one version, or all with version 0: rows, then files. NOT_FOUND; CONFLICT while a job
 * that has not ended makes or uses one. Numbers are not given again. */
affect_status api_model_delete(api_model_registry *registry, const char *name, int64_t version,
                               affect_error *err);
/* What a file's metadata becomes in a row: architecture's name, labels, feature config, dataset,
 * split, metrics, training, code version. *metadata owned. */
affect_status api_model_describe(affect_json **metadata, const char *file, affect_error *err);

/* {"data": [{"name", "latest", "versions", ...}], ...}; one model with its versions; one version.
 * *json owned. NOT_FOUND. */
affect_status api_model_list(api_model_registry *registry, affect_json **json, int64_t limit,
                             const char *after, affect_error *err);
affect_status api_model_get(api_model_registry *registry, affect_json **json, const char *name,
                            affect_error *err);
affect_status api_model_version_get(api_model_registry *registry, affect_json **json,
                                    const char *name, int64_t version, affect_error *err);

#endif
