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
    const api_dataset_record *dataset = context;
    return api_store_dataset_insert(db, dataset, err);
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
    affect_status status = api_store_dataset_set_ready(db, id, text, err);
    free(text);
    return status;
}

/* ---- Bodies ---- */

static void set_links(affect_json *body) {
    char link[128];
    const char *name = affect_json_get_string(body, "name", "");
    affect_json *links = affect_json_set_object(body, "links");
    snprintf(link, sizeof link, "/v1/datasets/%s", name);
    affect_json_set_string(links, "self", link);
    snprintf(link, sizeof link, "/v1/datasets/%s/report", name);
    affect_json_set_string(links, "report", link);
    snprintf(link, sizeof link, "/v1/jobs/%s", affect_json_get_string(body, "job", ""));
    affect_json_set_string(links, "job", link);
}

typedef struct {
    const char *name, *after;
    int64_t limit;
    api_dataset *dataset;
    affect_json *json;
} dataset_query;

static affect_status find(api_db *db, void *context, affect_error *err) {
    dataset_query *q = context;
    return api_store_dataset_find(q->dataset, db, q->name, err);
}

affect_status api_dataset_find(api_dataset *dataset, api_store *store, const char *name_or_id,
                               affect_error *err) {
    dataset_query q = {.name = name_or_id, .dataset = dataset};
    return api_store_read(store, find, &q, err);
}

static affect_status get(api_db *db, void *context, affect_error *err) {
    dataset_query *q = context;
    return api_store_dataset_get(&q->json, db, q->name, err);
}

affect_status api_dataset_get(affect_json **json, api_store *store, const char *name_or_id,
                              affect_error *err) {
    dataset_query q = {.name = name_or_id};
    affect_status status = api_store_read(store, get, &q, err);
    if (status == AFFECT_STATUS_OK) set_links(q.json);
    *json = q.json;
    return status;
}

static affect_status list(api_db *db, void *context, affect_error *err) {
    dataset_query *q = context;
    return api_store_dataset_list(&q->json, db, q->after, q->limit, err);
}

affect_status api_dataset_list(affect_json **json, api_store *store, const char *after,
                               int64_t limit, affect_error *err) {
    dataset_query q = {.after = after, .limit = limit};
    affect_status status = api_store_read(store, list, &q, err);
    for (affect_json *body = affect_json_first(affect_json_get(q.json, "data")); body;
         body = affect_json_next(body))
        set_links(body);
    *json = q.json;
    return status;
}

affect_status api_dataset_require(api_db *db, void *context, affect_error *err) {
    api_dataset dataset;
    affect_status status = api_store_dataset_find(&dataset, db, context, err);
    if (status == AFFECT_STATUS_NOT_FOUND ||
        (status == AFFECT_STATUS_OK &&
         (strcmp(dataset.state, "ready") != 0 || strcmp(dataset.id, context) != 0)))
        return affect_fail(err, CONFLICT, "the dataset is not ready, or was just deleted");
    return status;
}

typedef struct {
    const char *data_dir, *id;
    api_folder_deletion folder;
} deletion;

static affect_status work_delete(api_db *db, void *context, affect_error *err) {
    deletion *d = context;
    AFFECT_TRY(api_store_dataset_delete(db, d->id, err));
    return api_folder_deletion_begin(&d->folder, d->data_dir, "datasets", d->id, err);
}

affect_status api_dataset_delete(api_store *store, const char *data_dir, const char *id,
                                 affect_error *err) {
    deletion d = {.data_dir = data_dir, .id = id};
    affect_status status = api_store_write_freeing(store, work_delete, NULL, &d, err);
    api_folder_deletion_end(&d.folder, status == AFFECT_STATUS_OK);
    return status;
}
