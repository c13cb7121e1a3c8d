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

affect_status affect_shard_write(const char *path, const affect_shard_content *content,
                                 affect_error *err) {
    size_t n = content->n_utterances, mels = content->sizes.mels;
    size_t parts = content->sizes.parts, columns = content->sizes.columns;
    size_t n_motion = content->motion ? n : 0;
    const affect_safetensor tensors[] = {
        {"offsets", AFFECT_DTYPE_I64, {1, {n + 1}}, content->offsets},
        {"mel", AFFECT_DTYPE_F32, {2, {(size_t)content->offsets[n], mels}}, content->mel},
        {"pad_value", AFFECT_DTYPE_F32, {1, {n}}, content->pad_value},
        {"motion", AFFECT_DTYPE_F32, {3, {n_motion, parts, columns}}, content->motion},
        {"missing", AFFECT_DTYPE_U8, {3, {n_motion, parts, columns}}, content->missing}};
    affect_json *metadata = affect_json_new_object();
    affect_json *n_rejected = affect_json_new_number((double)content->n_rejected);
    set_text(metadata, "features", content->features);
    set_text(metadata, "utterances", content->utterances);
    set_text(metadata, "quality", content->quality);
    set_text(metadata, "rejected", content->rejected);
    set_text(metadata, "n_rejected", n_rejected);
    affect_json_free(n_rejected);
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    content_digest(digest, tensors, 5, metadata);
    affect_json_set_string(metadata, "content", digest);
    affect_status status = affect_json_size(metadata) == 6
                               ? affect_safetensors_write(path, tensors, 5, metadata, err)
                               : affect_fail(err, NO_MEMORY, "%s: no memory", path);
    affect_json_free(metadata);
    return status;
}

struct affect_shard {
    affect_safetensors *file;
    affect_json *utterances, *quality, *rejected, *n_rejected;
    const char **ids; /* into utterances */
    size_t n, n_frames;
    affect_dataset_sizes sizes;
    const int64_t *offsets;
    const float *mel, *pad_value, *motion;
    const uint8_t *missing;
};

static affect_status get(void *to, affect_shard *shard, const char *name, affect_dtype dtype,
                         affect_shape shape, affect_error *err) {
    const void *data = NULL;
    AFFECT_TRY(affect_safetensors_get(&data, shard->file, name, dtype, shape, err));
    memcpy(to, &data, sizeof data);
    return AFFECT_STATUS_OK;
}

static affect_status map_tensors(affect_shard *shard, affect_error *err) {
    size_t n = shard->n, parts = shard->sizes.parts, columns = shard->sizes.columns;
    const affect_safetensor *found = affect_safetensors_find(shard->file, "motion");
    bool has_motion = !found || found->shape.size[0] > 0;
    const affect_shape motion = {3, {has_motion ? n : 0, parts, columns}};
    AFFECT_TRY(
        get(&shard->offsets, shard, "offsets", AFFECT_DTYPE_I64, (affect_shape){1, {n + 1}}, err));
    for (size_t i = 0; i < n; i++) {
        int64_t n_frames = shard->offsets[i + 1] - shard->offsets[i];
        if (shard->offsets[0] != 0 || n_frames < 0 || (size_t)n_frames > shard->sizes.frames)
            return affect_fail(err, MALFORMED, "offsets of utterance %zu do not fit", i);
    }
    shard->n_frames = n ? (size_t)shard->offsets[n] : 0;
    AFFECT_TRY(get(&shard->mel, shard, "mel", AFFECT_DTYPE_F32,
                   (affect_shape){2, {shard->n_frames, shard->sizes.mels}}, err));
    AFFECT_TRY(
        get(&shard->pad_value, shard, "pad_value", AFFECT_DTYPE_F32, (affect_shape){1, {n}}, err));
    AFFECT_TRY(get(&shard->motion, shard, "motion", AFFECT_DTYPE_F32, motion, err));
    AFFECT_TRY(get(&shard->missing, shard, "missing", AFFECT_DTYPE_U8, motion, err));
    if (!has_motion) shard->motion = NULL, shard->missing = NULL;
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

affect_status affect_shard_open(affect_shard **shard, const char *path, affect_dataset_sizes sizes,
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
    static const char *const names[] = {"offsets", "mel", "pad_value", "motion", "missing"};
    const char *written = affect_safetensors_metadata(shard->file, "content");
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    affect_safetensor tensors[5];
    if (!written) return AFFECT_STATUS_OK;
    for (int i = 0; i < 5; i++) tensors[i] = *affect_safetensors_find(shard->file, names[i]);
    content_digest(digest, tensors, 5, affect_safetensors_all_metadata(shard->file));
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

affect_utterance_features affect_shard_features(const affect_shard *shard, size_t index) {
    size_t n_motion = shard->sizes.parts * shard->sizes.columns;
    return (affect_utterance_features){
        .n_frames = (size_t)(shard->offsets[index + 1] - shard->offsets[index]),
        .mel = shard->mel + (size_t)shard->offsets[index] * shard->sizes.mels,
        .pad_value = shard->pad_value[index],
        .motion = shard->motion ? shard->motion + index * n_motion : NULL,
        .missing = shard->motion ? shard->missing + index * n_motion : NULL};
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
