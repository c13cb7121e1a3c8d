/* Collecting shards; see shard_collection.h.
 *
 * Manifests are read on the caller's thread: those of large corpora take a while. The removal is a
 * write of the store, so that no import's row can appear before its end, and it is made only if no
 * import began since before the manifests were read. A manifest that cannot be read stops it: what
 * it names is not known. */
#include "api/store/shard_collection.h"

#include "api/log.h"
#include "api/store/store_datasets.h"
#include "engine/core/file.h"
#include "engine/core/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_MANIFEST_BYTES (512u << 20)
#define NAME_SIZE          65 /* a SHA-256 in hexadecimal */

typedef struct {
    const char *data_dir;
    char (*names)[NAME_SIZE]; /* that manifests name; sorted once all are read */
    size_t n;
    char newest[API_ID_SIZE]; /* dataset when the manifests were read */
} collection;

static affect_status add_names(collection *c, const affect_json *shards, affect_error *err) {
    for (const affect_json *e = affect_json_first(shards); e; e = affect_json_next(e)) {
        char(*grown)[NAME_SIZE] = realloc(c->names, (c->n + 1) * NAME_SIZE);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for the names of shards");
        c->names = grown;
        snprintf(grown[c->n++], NAME_SIZE, "%s", affect_json_string(e, ""));
    }
    return AFFECT_STATUS_OK;
}

static affect_status visit(collection *c, const char *name, affect_directory_visit *each,
                           affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(folder, err, c->data_dir, "%s", name));
    return affect_directory_each(folder, each, c, err);
}

static affect_status read_manifest(void *context, const char *folder, const char *name,
                                   affect_error *err) {
    collection *c = context;
    char path[AFFECT_PATH_MAX];
    affect_json *manifest = NULL;
    if (name[0] == '.') return AFFECT_STATUS_OK; /* a dataset that is being deleted */
    AFFECT_TRY(affect_path_join(path, err, folder, "%s/dataset.json", name));
    if (!affect_file_exists(path)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_json_read(&manifest, path, MAX_MANIFEST_BYTES, err));
    affect_status status = add_names(c, affect_json_get(manifest, "shards"), err);
    affect_json_free(manifest);
    return status;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static affect_status remove_unnamed(void *context, const char *folder, const char *name,
                                    affect_error *err) {
    const collection *c = context;
    char path[AFFECT_PATH_MAX], stem[NAME_SIZE];
    const char *dot = strchr(name, '.');
    if (!dot || dot - name != NAME_SIZE - 1) return AFFECT_STATUS_OK; /* none of ours */
    snprintf(stem, sizeof stem, "%.*s", NAME_SIZE - 1, name);
    if (c->n && bsearch(stem, c->names, c->n, NAME_SIZE, compare)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", name));
    return unlink(path) == 0 || errno == ENOENT ? AFFECT_STATUS_OK
                                                : affect_error_errno(err, errno, "%s", path);
}

/* CONFLICT while an import has not ended; else the newest dataset's id, "" without one. */
static affect_status find_newest(char newest[API_ID_SIZE], api_db *db, affect_error *err) {
    bool importing;
    AFFECT_TRY(api_store_dataset_newest(newest, &importing, db, err));
    return importing ? affect_fail(err, CONFLICT, "an import runs") : AFFECT_STATUS_OK;
}

static affect_status work_begin(api_db *db, void *context, affect_error *err) {
    collection *c = context;
    return find_newest(c->newest, db, err);
}

static affect_status work_remove(api_db *db, void *context, affect_error *err) {
    collection *c = context;
    char newest[API_ID_SIZE];
    AFFECT_TRY(find_newest(newest, db, err));
    if (strcmp(newest, c->newest) != 0) return affect_fail(err, CONFLICT, "an import ran");
    return visit(c, "features", remove_unnamed, err);
}

void api_shards_collect(api_store *store, const char *data_dir) {
    collection c = {.data_dir = data_dir};
    affect_error error = {0};
    affect_status status = api_store_read(store, work_begin, &c, &error);
    if (status == AFFECT_STATUS_OK) status = visit(&c, "datasets", read_manifest, &error);
    if (status == AFFECT_STATUS_OK && c.n) qsort(c.names, c.n, NAME_SIZE, compare);
    if (status == AFFECT_STATUS_OK) status = api_store_write(store, work_remove, NULL, &c, &error);
    if (status != AFFECT_STATUS_OK && status != AFFECT_STATUS_CONFLICT)
        api_log(API_LOG_WARNING, "features that nothing uses stay", "reason", error.message, NULL);
    free(c.names);
}
