/* A shard: the features of all utterances of one dialog, one safetensors file of the store.
 *
 * Of a ragged feature (modality.h), by the names of its row; here those of "mel":
 *   offsets   (n + 1)           I64  rows of utterance i: offsets[i]..offsets[i + 1] of mel
 *   mel       (rows, mels)      F32  true lengths, one utterance after the other
 *   pad_value (n)               F32  what stands for the rows after an utterance's last
 * Of any other, here "motion":
 *   motion    (n, parts, 189)   F32  0 where missing
 *   missing   (n, parts, 189)   U8   1 where there was nothing to average
 *             (0, parts, 189) both where the corpus has none for any of them
 * metadata: "features" (config), "utterances" (ids), "quality" (one object an utterance),
 *           "rejected" and "n_rejected" (rows of sound and motion that could not be read),
 *           "content" (SHA-256 of all of the above; older shards have none)
 *
 * All rated utterances of the dialog are in it, whatever the label map, so a change of the map
 * computes nothing. Its name is the SHA-256 of what it was made of (affect_dialog_key).
 *
 * An open shard is immutable and shared. */
#ifndef AFFECT_DATASET_SHARD_H
#define AFFECT_DATASET_SHARD_H

#include "engine/core/safetensors.h"
#include "engine/dataset/dataset.h"

/* One feature of all utterances; borrowed. */
typedef struct {
    const int64_t *offsets; /* ragged alone, as pad_value */
    const float *values;    /* NULL, and missing too: none of an utterance (not ragged) */
    const float *pad_value;
    const uint8_t *missing; /* not ragged alone */
} affect_shard_values;

/* What is written: arrays borrowed, shapes as above. */
typedef struct {
    size_t n_utterances;
    const affect_sizes *sizes;
    affect_shard_values values[AFFECT_MAX_FEATURES]; /* of each feature of sizes */
    const affect_json *features, *utterances, *quality, *rejected;
    uint64_t n_rejected;
} affect_shard_content;

affect_status affect_shard_write(const char *path, const affect_shard_content *content,
                                 affect_error *err);

typedef struct affect_shard affect_shard;

/* Maps the file and checks that it holds together; `sizes` is what it must have, borrowed until
 * close. */
affect_status affect_shard_open(affect_shard **shard, const char *path, const affect_sizes *sizes,
                                affect_error *err);
/* Reads all of it and compares with the digest of what was written: MALFORMED when it differs. A
 * shard without a digest is taken as it is. */
affect_status affect_shard_verify(const affect_shard *shard, affect_error *err);
void affect_shard_close(affect_shard *shard);
size_t affect_shard_n_utterances(const affect_shard *shard);
/* All borrowed until close. index < n_utterances. */
affect_feature_values affect_shard_values_of(const affect_shard *shard, size_t feature,
                                             size_t index);
const char *affect_shard_utterance(const affect_shard *shard, size_t index); /* its id */
const affect_json *affect_shard_quality(const affect_shard *shard);          /* array */
const affect_json *affect_shard_rejected(const affect_shard *shard);         /* array */
uint64_t affect_shard_n_rejected(const affect_shard *shard);

#endif
