/* Shards of the feature store; see shard.h. */
#include "engine/dataset/shard.h"

#include "engine/core/digest.h"

#include <stdlib.h>
#include <string.h>

static void set_text(affect_json *metadata, const char *name, const affect_json *value) {
    char *text = affect_json_text(value);
    affect_json_set(metadata, name, text ? affect_json_new_string(text) : NULL);
    free(text);
}

/* Of the tensors and of the metadata's texts, each behind its size. */
static void content_digest(char text[AFFECT_DIGEST_TEXT_SIZE], const affect_safetensor *tensors,
                           size_t n_tensors, const affect_json *metadata) {
    static const char *const names[] = {"features", "utterances", "quality", "rejected",
                                        "n_rejected"};
    affect_digest digest;
    affect_digest_begin(&digest);
    for (size_t i = 0; i < n_tensors; i++) {
        uint64_t size = affect_shape_count(tensors[i].shape) * affect_dtype_size(tensors[i].dtype);
        affect_digest_update(&digest, &size, sizeof size);
        affect_digest_update(&digest, tensors[i].data, size);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = affect_json_get_string(metadata, names[i], "");
        uint64_t size = strlen(value);
        affect_digest_update(&digest, &size, sizeof size);
        affect_digest_update(&digest, value, size);
    }
    affect_digest_end(&digest, text);
}

enum { MAX_TENSORS = 3 * AFFECT_MAX_FEATURES };
typedef char tensor_name[AFFECT_FEATURE_NAME_SIZE + 16];

/* The tensors of a feature of n utterances, which have n_rows rows in all; their number. */
static size_t describe(affect_safetensor tensors[3], tensor_name names[3],
                       const affect_feature *feature, const affect_shard_values *values, size_t n,
                       size_t n_rows) {
    for (size_t i = 0; i < 3 && feature->modality->tensors[i]; i++)
        affect_feature_tensor(names[i], feature, i);
    if (feature->modality->is_ragged) {
        const affect_shape rows = {2, {n_rows, affect_feature_row_size(feature)}};
        tensors[0] = (affect_safetensor){names[0], AFFECT_DTYPE_I64, {1, {n + 1}}, values->offsets};
        tensors[1] = (affect_safetensor){names[1], AFFECT_DTYPE_F32, rows, values->values};
        tensors[2] = (affect_safetensor){names[2], AFFECT_DTYPE_F32, {1, {n}}, values->pad_value};
        return 3;
    }
    affect_shape all = {feature->shape.rank + 1, {values->values ? n : 0}};
    memcpy(all.size + 1, feature->shape.size, (size_t)feature->shape.rank * sizeof *all.size);
    tensors[0] = (affect_safetensor){names[0], AFFECT_DTYPE_F32, all, values->values};
    tensors[1] = (affect_safetensor){names[1], AFFECT_DTYPE_U8, all, values->missing};
    return 2;
}

affect_status affect_shard_write(const char *path, const affect_shard_content *content,
                                 affect_error *err) {
    affect_safetensor tensors[MAX_TENSORS];
    tensor_name names[MAX_TENSORS];
    size_t n = content->n_utterances, n_tensors = 0;
    for (size_t f = 0; f < content->sizes->n_features; f++) {
        const affect_shard_values *values = &content->values[f];
        size_t n_rows = values->offsets ? (size_t)values->offsets[n] : 0;
        n_tensors += describe(tensors + n_tensors, names + n_tensors, &content->sizes->features[f],
                              values, n, n_rows);
    }
    affect_json *metadata = affect_json_new_object();
    affect_json *n_rejected = affect_json_new_number((double)content->n_rejected);
    set_text(metadata, "features", content->features);
    set_text(metadata, "utterances", content->utterances);
    set_text(metadata, "quality", content->quality);
    set_text(metadata, "rejected", content->rejected);
    set_text(metadata, "n_rejected", n_rejected);
    affect_json_free(n_rejected);
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    content_digest(digest, tensors, n_tensors, metadata);
    affect_json_set_string(metadata, "content", digest);
    affect_status status = affect_json_size(metadata) == 6
                               ? affect_safetensors_write(path, tensors, n_tensors, metadata, err)
                               : affect_fail(err, NO_MEMORY, "%s: no memory", path);
    affect_json_free(metadata);
    return status;
}

struct affect_shard {
    affect_safetensors *file;
    affect_json *utterances, *quality, *rejected, *n_rejected;
    const char **ids; /* into utterances */
    size_t n;
    const affect_sizes *sizes; /* borrowed */
    affect_shard_values values[AFFECT_MAX_FEATURES];
};

static affect_status get(void *to, affect_shard *shard, const affect_safetensor *want,
                         affect_error *err) {
    const void *data = NULL;
    AFFECT_TRY(
        affect_safetensors_get(&data, shard->file, want->name, want->dtype, want->shape, err));
    memcpy(to, &data, sizeof data);
    return AFFECT_STATUS_OK;
}

static affect_status map_ragged(affect_shard *shard, affect_shard_values *values,
                                const affect_feature *feature, affect_error *err) {
    affect_safetensor want[3];
    tensor_name names[3];
    size_t n = shard->n, most = affect_feature_n_rows(feature);
    describe(want, names, feature, values, n, 0);
    AFFECT_TRY(get(&values->offsets, shard, &want[0], err));
    for (size_t i = 0; i < n; i++) {
        int64_t n_rows = values->offsets[i + 1] - values->offsets[i];
        if (values->offsets[0] != 0 || n_rows < 0 || (size_t)n_rows > most)
            return affect_fail(err, MALFORMED, "offsets of utterance %zu do not fit", i);
    }
    want[1].shape.size[0] = n ? (size_t)values->offsets[n] : 0;
    AFFECT_TRY(get(&values->values, shard, &want[1], err));
    return get(&values->pad_value, shard, &want[2], err);
}

static affect_status map_even(affect_shard *shard, affect_shard_values *values,
                              const affect_feature *feature, affect_error *err) {
    affect_safetensor want[3];
    tensor_name names[3];
    describe(want, names, feature, values, shard->n, 0);
    const affect_safetensor *found = affect_safetensors_find(shard->file, names[0]);
    bool has_any = !found || found->shape.size[0] > 0;
    want[0].shape.size[0] = want[1].shape.size[0] = has_any ? shard->n : 0;
    AFFECT_TRY(get(&values->values, shard, &want[0], err));
    AFFECT_TRY(get(&values->missing, shard, &want[1], err));
    if (!has_any) *values = (affect_shard_values){0};
    return AFFECT_STATUS_OK;
}

static affect_status map_tensors(affect_shard *shard, affect_error *err) {
    for (size_t f = 0; f < shard->sizes->n_features; f++) {
        const affect_feature *feature = &shard->sizes->features[f];
        AFFECT_TRY(feature->modality->is_ragged ? map_ragged(shard, &shard->values[f], feature, err)
                                                : map_even(shard, &shard->values[f], feature, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_metadata(affect_shard *shard, affect_error *err) {
    const affect_safetensors *file = shard->file;
    AFFECT_TRY(affect_safetensors_metadata_json(&shard->utterances, file, "utterances", err));
    AFFECT_TRY(affect_safetensors_metadata_json(&shard->quality, file, "quality", err));
    AFFECT_TRY(affect_safetensors_metadata_json(&shard->rejected, file, "rejected", err));
    AFFECT_TRY(affect_safetensors_metadata_json(&shard->n_rejected, file, "n_rejected", err));
    shard->n = affect_json_size(shard->utterances);
    if (!affect_json_is_array(shard->utterances) || !affect_json_is_array(shard->quality) ||
        affect_json_size(shard->quality) != shard->n)
        return affect_fail(err, MALFORMED, "metadata: utterances and quality differ in number");
    shard->ids = calloc(shard->n + 1, sizeof *shard->ids);
    if (!shard->ids) return affect_fail(err, NO_MEMORY, "no memory");
    size_t i = 0;
    for (const affect_json *id = affect_json_first(shard->utterances); id;
         id = affect_json_next(id))
        shard->ids[i++] = affect_json_string(id, "");
    return AFFECT_STATUS_OK;
}

affect_status affect_shard_open(affect_shard **shard, const char *path, const affect_sizes *sizes,
                                affect_error *err) {
    affect_shard *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
    made->sizes = sizes;
    affect_status status = affect_safetensors_open(&made->file, path, err);
    if (status == AFFECT_STATUS_OK) {
        status = read_metadata(made, err);
        if (status == AFFECT_STATUS_OK) status = map_tensors(made, err);
        if (status != AFFECT_STATUS_OK) status = affect_error_prefix(err, status, "%s", path);
    }
    if (status != AFFECT_STATUS_OK) {
        affect_shard_close(made);
        return status;
    }
    *shard = made;
    return AFFECT_STATUS_OK;
}

affect_status affect_shard_verify(const affect_shard *shard, affect_error *err) {
    const char *written = affect_safetensors_metadata(shard->file, "content");
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    affect_safetensor tensors[MAX_TENSORS];
    size_t n = 0;
    if (!written) return AFFECT_STATUS_OK;
    for (size_t f = 0; f < shard->sizes->n_features; f++) {
        const affect_feature *feature = &shard->sizes->features[f];
        for (size_t i = 0; i < 3 && feature->modality->tensors[i]; i++) {
            tensor_name name;
            tensors[n++] =
                *affect_safetensors_find(shard->file, affect_feature_tensor(name, feature, i));
        }
    }
    content_digest(digest, tensors, n, affect_safetensors_all_metadata(shard->file));
    return strcmp(digest, written) == 0
               ? AFFECT_STATUS_OK
               : affect_fail(err, MALFORMED, "the content is not what was written");
}

void affect_shard_close(affect_shard *shard) {
    if (!shard) return;
    affect_safetensors_close(shard->file);
    affect_json_free(shard->utterances);
    affect_json_free(shard->quality);
    affect_json_free(shard->rejected);
    affect_json_free(shard->n_rejected);
    free(shard->ids);
    free(shard);
}

size_t affect_shard_n_utterances(const affect_shard *shard) {
    return shard->n;
}

affect_feature_values affect_shard_values_of(const affect_shard *shard, size_t f, size_t index) {
    const affect_feature *feature = &shard->sizes->features[f];
    const affect_shard_values *values = &shard->values[f];
    size_t n = affect_shape_count(feature->shape);
    if (feature->modality->is_ragged)
        return (affect_feature_values){
            .n_rows = (size_t)(values->offsets[index + 1] - values->offsets[index]),
            .values =
                values->values + (size_t)values->offsets[index] * affect_feature_row_size(feature),
            .pad_value = values->pad_value[index]};
    if (!values->values) return (affect_feature_values){0};
    return (affect_feature_values){.n_rows = affect_feature_n_rows(feature),
                                   .values = values->values + index * n,
                                   .missing = values->missing + index * n};
}

const char *affect_shard_utterance(const affect_shard *shard, size_t index) {
    return shard->ids[index];
}
const affect_json *affect_shard_quality(const affect_shard *shard) {
    return shard->quality;
}
const affect_json *affect_shard_rejected(const affect_shard *shard) {
    return shard->rejected;
}
uint64_t affect_shard_n_rejected(const affect_shard *shard) {
    return (uint64_t)affect_json_number(shard->n_rejected, 0);
}
