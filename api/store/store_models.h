/* Models and their versions: what the store knows of them.
 *
 * Every function works within a read or a write of the store. Bodies are what clients see, without
 * links. */
#ifndef AFFECT_STORE_STORE_MODELS_H
#define AFFECT_STORE_STORE_MODELS_H

#include "api/store/store.h"

/* A version's row. metadata: JSON text. */
typedef struct {
    const char *name;
    int64_t version;
    const char *job_id;
    int64_t created_ms;
    const char *digest;
    int64_t n_bytes;
    const char *metadata;
} api_version_record;
/* CONFLICT: it is there. */
affect_status api_store_version_insert(api_db *db, const api_version_record *version,
                                       affect_error *err);
/* A number that was never given before. */
affect_status api_store_version_next(int64_t *version, api_db *db, const char *name,
                                     affect_error *err);
/* The row of `*version` (0: the newest, whose number it becomes). *found: there is one. */
affect_status api_store_version_find(bool *found, int64_t *version, char digest[65],
                                     int64_t *n_bytes, api_db *db, const char *name,
                                     affect_error *err);
/* Removes a version, or all with version 0; *versions (owned) are their numbers. CONFLICT while a
 * job that has not ended makes or uses one; NOT_FOUND. */
affect_status api_store_version_delete(int64_t **versions, size_t *n, api_db *db, const char *name,
                                       int64_t version, affect_error *err);
/* Appends "name:version" of all. */
affect_status api_store_versions_list(affect_json *names, api_db *db, affect_error *err);

/* Bodies; *json owned. NOT_FOUND. */
affect_status api_store_model_list(affect_json **json, api_db *db, const char *after, int64_t limit,
                                   affect_error *err);
affect_status api_store_model_get(affect_json **json, api_db *db, const char *name,
                                  affect_error *err);
affect_status api_store_version_get(affect_json **json, api_db *db, const char *name,
                                    int64_t version, affect_error *err);

#endif
