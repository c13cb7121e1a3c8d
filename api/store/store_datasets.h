/* Datasets: what the store knows of them.
 *
 * Every function works within a read or a write of the store. Bodies are what clients see, without
 * links. */
#ifndef AFFECT_STORE_STORE_DATASETS_H
#define AFFECT_STORE_STORE_DATASETS_H

#include "api/store/store.h"

typedef struct {
    char id[API_ID_SIZE], name[72], state[16];
} api_dataset;

/* A row to make, in the state `importing`. */
typedef struct {
    const char *id, *name, *job_id, *layout;
    int64_t created_ms;
} api_dataset_record;
/* CONFLICT: the name is taken; one whose import failed gives it up. */
affect_status api_store_dataset_insert(api_db *db, const api_dataset_record *dataset,
                                       affect_error *err);
/* summary: JSON text of what the import found. */
affect_status api_store_dataset_set_ready(api_db *db, const char *id, const char *summary,
                                          affect_error *err);
affect_status api_store_dataset_set_failed(api_db *db, const char *id, affect_error *err);
/* CONFLICT while a job that has not ended uses it; NOT_FOUND. */
affect_status api_store_dataset_delete(api_db *db, const char *id, affect_error *err);

/* By name or id. NOT_FOUND. */
affect_status api_store_dataset_find(api_dataset *dataset, api_db *db, const char *name_or_id,
                                     affect_error *err);
affect_status api_store_dataset_get(affect_json **json, api_db *db, const char *name_or_id,
                                    affect_error *err);
affect_status api_store_dataset_list(affect_json **json, api_db *db, const char *after,
                                     int64_t limit, affect_error *err);
/* The newest id, "" without one, and whether an import has not ended. */
affect_status api_store_dataset_newest(char id[API_ID_SIZE], bool *importing, api_db *db,
                                       affect_error *err);

#endif
