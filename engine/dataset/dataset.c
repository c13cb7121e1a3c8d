/* Reading a dataset; see dataset.h. The manifest is written by import.c. */
#include "engine/dataset/dataset.h"

#include "engine/core/file.h"
#include "engine/dataset/shard.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MANIFEST_BYTES (512u << 20)

/* Where an utterance's numbers are. */
typedef struct {
    const affect_shard *shard;
    size_t index;
} place;

struct affect_dataset {
    affect_json *manifest;
    affect_sizes sizes;
    const char **classes; /* borrowed from the manifest, as all strings are */
    size_t n_classes;
    affect_shard **shards;
    size_t n_shards;
    affect_utterance *utterances;
    place *places;
    size_t n_utterances;
};

static affect_status malformed(affect_error *err, const char *what) {
    return affect_fail(err, MALFORMED, "dataset.json: %s", what);
}

static affect_status read_head(affect_dataset *dataset, affect_error *err) {
    const affect_json *manifest = dataset->manifest;
    if (strcmp(affect_json_get_string(manifest, "format", ""), "affect-dataset") != 0)
        return malformed(err, "not the manifest of a dataset");
    if (affect_json_get_number(manifest, "version", 0) != 1)
        return affect_fail(err, UNSUPPORTED, "dataset.json: version %g (this program reads 1)",
                           affect_json_get_number(manifest, "version", 0));
    if (affect_sizes_from_json(&dataset->sizes, affect_json_get(manifest, "sizes"), "", NULL) !=
            AFFECT_STATUS_OK ||
        dataset->sizes.n_features == 0)
        return malformed(err, "sizes are missing or wrong");
    const affect_json *classes = affect_json_get(manifest, "classes");
    dataset->classes = calloc(affect_json_size(classes) + 1, sizeof *dataset->classes);
    if (!dataset->classes) return affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    for (const affect_json *name = affect_json_first(classes); name; name = affect_json_next(name))
        dataset->classes[dataset->n_classes++] = affect_json_string(name, "");
    dataset->sizes.n_classes = dataset->n_classes;
    return dataset->n_classes ? AFFECT_STATUS_OK : malformed(err, "no classes");
}

static affect_status open_shards(affect_dataset *dataset, const char *store, affect_error *err) {
    const affect_json *names = affect_json_get(dataset->manifest, "shards");
    dataset->shards = calloc(affect_json_size(names) + 1, sizeof(affect_shard *));
    if (!dataset->shards) return affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    for (const affect_json *name = affect_json_first(names); name; name = affect_json_next(name)) {
        char path[AFFECT_PATH_MAX];
        const char *digest = affect_json_string(name, "");
        if (strlen(digest) != 64 || strspn(digest, "0123456789abcdef") != 64)
            return malformed(err, "a shard's name is not a digest");
        AFFECT_TRY(affect_path_join(path, err, store, "%s.safetensors", digest));
        AFFECT_TRY(
            affect_shard_open(&dataset->shards[dataset->n_shards], path, &dataset->sizes, err));
        dataset->n_shards++;
    }
    return AFFECT_STATUS_OK;
}

static affect_utterance utterance_of(const affect_json *row, int label) {
    return (affect_utterance){.id = affect_json_get_string(row, "id", NULL),
                              .dialog = affect_json_get_string(row, "dialog", NULL),
                              .session = affect_json_get_string(row, "session", NULL),
                              .scenario = affect_json_get_string(row, "scenario", NULL),
                              .speaker = affect_json_get_string(row, "speaker", NULL),
                              .wearer = affect_json_get_string(row, "wearer", NULL),
                              .raw_label = affect_json_get_string(row, "raw_label", NULL),
                              .transcript = affect_json_get_string(row, "transcript", NULL),
                              .label = label,
                              .own_motion = affect_json_get_bool(row, "own_motion", false),
                              .improvised = affect_json_get_bool(row, "improvised", false),
                              .start_s = affect_json_get_number(row, "start", 0),
                              .end_s = affect_json_get_number(row, "end", 0),
                              .valence = affect_json_get_number(row, "valence", 0),
                              .activation = affect_json_get_number(row, "activation", 0),
                              .dominance = affect_json_get_number(row, "dominance", 0),
                              .votes = affect_json_get(row, "votes"),
                              .attributes = affect_json_get(row, "attributes"),
                              .columns = affect_json_get(row, "columns"),
                              .streams = affect_json_get(row, "streams")};
}

static int class_index(const affect_dataset *dataset, const char *name) {
    for (size_t i = 0; i < dataset->n_classes; i++)
        if (strcmp(dataset->classes[i], name) == 0) return (int)i;
    return -1;
}

static affect_status read_utterance(affect_dataset *dataset, const affect_json *row,
                                    affect_error *err) {
    int label = class_index(dataset, affect_json_get_string(row, "label", ""));
    double shard = affect_json_get_number(row, "shard", -1);
    double index = affect_json_get_number(row, "index", -1);
    affect_utterance read = utterance_of(row, label);
    if (label < 0 || !read.id || !read.raw_label)
        return malformed(err, "an utterance lacks a field or has an unknown label");
    if (!(shard >= 0 && shard < (double)dataset->n_shards) || !(index >= 0 && index < 1e6))
        return malformed(err, "an utterance names no shard");
    const affect_shard *from = dataset->shards[(size_t)shard];
    if ((size_t)index >= affect_shard_n_utterances(from) ||
        strcmp(affect_shard_utterance(from, (size_t)index), read.id) != 0)
        return affect_fail(err, MALFORMED, "dataset.json: %.60s is not in its shard", read.id);
    size_t n = dataset->n_utterances;
    if (n && strcmp(dataset->utterances[n - 1].id, read.id) >= 0)
        return malformed(err, "utterances are not in the order of their ids");
    dataset->utterances[n] = read;
    dataset->places[n] = (place){from, (size_t)index};
    dataset->n_utterances++;
    return AFFECT_STATUS_OK;
}

static affect_status read_utterances(affect_dataset *dataset, affect_error *err) {
    const affect_json *rows = affect_json_get(dataset->manifest, "utterances");
    size_t n = affect_json_size(rows);
    dataset->utterances = calloc(n + 1, sizeof *dataset->utterances);
    dataset->places = calloc(n + 1, sizeof *dataset->places);
    if (!dataset->utterances || !dataset->places)
        return affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row))
        AFFECT_TRY(read_utterance(dataset, row, err));
    return AFFECT_STATUS_OK;
}

static affect_status store_path(char path[AFFECT_PATH_MAX], const affect_dataset *dataset,
                                const char *directory, const char *store, affect_error *err) {
    const char *named = affect_json_get_string(dataset->manifest, "store", "");
    if (!store && *named && *named != '/')
        return affect_path_join(path, err, directory, "%s", named);
    if (!store) store = named;
    if (!*store || strlen(store) >= AFFECT_PATH_MAX) return malformed(err, "no store");
    strcpy(path, store);
    return AFFECT_STATUS_OK;
}

static affect_status load(affect_dataset *dataset, const char *directory, const char *store,
                          affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, directory, "dataset.json"));
    AFFECT_TRY(affect_json_read(&dataset->manifest, path, MAX_MANIFEST_BYTES, err));
    AFFECT_TRY(read_head(dataset, err));
    AFFECT_TRY(store_path(path, dataset, directory, store, err));
    AFFECT_TRY(open_shards(dataset, path, err));
    return read_utterances(dataset, err);
}

affect_status affect_dataset_open(affect_dataset **dataset, const char *directory,
                                  const char *store, affect_error *err) {
    affect_dataset *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", directory);
    affect_status status = load(made, directory, store, err);
    if (status != AFFECT_STATUS_OK) {
        affect_dataset_close(made);
        return status;
    }
    *dataset = made;
    return AFFECT_STATUS_OK;
}

affect_status affect_dataset_verify(const affect_dataset *dataset, affect_error *err) {
    const affect_json *name = affect_json_first(affect_json_get(dataset->manifest, "shards"));
    for (size_t i = 0; i < dataset->n_shards; i++, name = affect_json_next(name)) {
        affect_status status = affect_shard_verify(dataset->shards[i], err);
        if (status != AFFECT_STATUS_OK)
            return affect_error_prefix(err, status, "shard %.16s is damaged (import again)",
                                       affect_json_string(name, ""));
    }
    return AFFECT_STATUS_OK;
}

void affect_dataset_close(affect_dataset *dataset) {
    if (!dataset) return;
    for (size_t i = 0; i < dataset->n_shards; i++) affect_shard_close(dataset->shards[i]);
    free(dataset->shards);
    free(dataset->utterances);
    free(dataset->places);
    free(dataset->classes);
    affect_json_free(dataset->manifest);
    free(dataset);
}

const char *affect_dataset_name(const affect_dataset *dataset) {
    return affect_json_get_string(dataset->manifest, "name", "");
}
const char *affect_dataset_digest(const affect_dataset *dataset) {
    return affect_json_get_string(dataset->manifest, "digest", "");
}
const affect_sizes *affect_dataset_sizes(const affect_dataset *dataset) {
    return &dataset->sizes;
}
const affect_json *affect_dataset_manifest(const affect_dataset *dataset) {
    return dataset->manifest;
}
const affect_json *affect_dataset_features_json(const affect_dataset *dataset) {
    return affect_json_get(dataset->manifest, "features");
}
const affect_json *affect_dataset_label_map(const affect_dataset *dataset) {
    return affect_json_get(dataset->manifest, "labels");
}
const affect_json *affect_dataset_report(const affect_dataset *dataset) {
    return affect_json_get(dataset->manifest, "report");
}
size_t affect_dataset_n_classes(const affect_dataset *dataset) {
    return dataset->n_classes;
}
const char *affect_dataset_class(const affect_dataset *dataset, size_t index) {
    assert(index < dataset->n_classes);
    return dataset->classes[index];
}
size_t affect_dataset_n_utterances(const affect_dataset *dataset) {
    return dataset->n_utterances;
}
const affect_utterance *affect_dataset_utterance(const affect_dataset *dataset, size_t index) {
    assert(index < dataset->n_utterances);
    return &dataset->utterances[index];
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(((const affect_utterance *)a)->id, ((const affect_utterance *)b)->id);
}

bool affect_dataset_find(const affect_dataset *dataset, size_t *index, const char *id) {
    const affect_utterance key = {.id = id};
    const affect_utterance *found = bsearch(&key, dataset->utterances, dataset->n_utterances,
                                            sizeof *dataset->utterances, compare_ids);
    if (found) *index = (size_t)(found - dataset->utterances);
    return found != NULL;
}

affect_feature_values affect_dataset_values(const affect_dataset *dataset, size_t feature,
                                            size_t index) {
    assert(index < dataset->n_utterances && feature < dataset->sizes.n_features);
    return affect_shard_values_of(dataset->places[index].shard, feature,
                                  dataset->places[index].index);
}

void affect_dataset_fill(const affect_dataset *dataset, float *values, uint8_t *missing,
                         size_t feature, size_t index) {
    const affect_feature *of = &dataset->sizes.features[feature];
    affect_feature_values from = affect_dataset_values(dataset, feature, index);
    size_t all = affect_shape_count(of->shape), n = from.n_rows * affect_feature_row_size(of);
    if (n) memcpy(values, from.values, n * sizeof *values);
    for (size_t i = n; i < all; i++) values[i] = from.pad_value;
    if (missing && n && from.missing) memcpy(missing, from.missing, n);
    if (missing && n && !from.missing) memset(missing, 0, n);
    if (missing) memset(missing + n, 1, all - n);
}
