/* A shard: the features of all utterances of one dialog, one safetensors file of the store.
 *
 *   offsets   (n + 1)           I64  frames of utterance i: rows offsets[i]..offsets[i + 1] of mel
 *   mel       (frames, mels)    F32  true lengths, one utterance after the other
 *   pad_value (n)               F32  what stands for the frames after an utterance's last
 *   motion    (n, parts, 189)   F32  raw means; 0 where missing
 *   missing   (n, parts, 189)   U8   1 where there was nothing to average
 *             (0, parts, 189) both where the corpus has no motion for any of them
 *   metadata: "features" (config), "utterances" (ids), "quality" (one object an utterance),
 *             "rejected" and "n_rejected" (rows of sound and motion that could not be read),
 *             "content" (SHA-256 of all of the above; older shards have none)
 *
 * All rated utterances of the dialog are in it, whatever the label map, so a change of the map
 * computes nothing. Its name is the SHA-256 of what it was made of (shard_key in import.c).
 *
 * An open shard is immutable and shared. */
#ifndef AFFECT_DATASET_SHARD_H
#define AFFECT_DATASET_SHARD_H

#include "engine/core/safetensors.h"
#include "engine/dataset/dataset.h"

/* What is written: arrays borrowed, shapes as above. */
typedef struct {
    size_t n_utterances;
    affect_dataset_sizes sizes;
    const int64_t *offsets;
    const float *mel;
    const float *pad_value;
    const float *motion; /* NULL, and missing too: none */
    const uint8_t *missing;
    const affect_json *features, *utterances, *quality, *rejected;
    uint64_t n_rejected;
} affect_shard_content;

affect_status affect_shard_write(const char *path, const affect_shard_content *content,
                                 affect_error *err);

typedef struct affect_shard affect_shard;

/* Maps the file and checks that it holds together; `sizes` is what it must have. */
affect_status affect_shard_open(affect_shard **shard, const char *path, affect_dataset_sizes sizes,
                                affect_error *err);
/* Reads all of it and compares with the digest of what was written: MALFORMED when it differs. A
 * shard without a digest is taken as it is. */
affect_status affect_shard_verify(const affect_shard *shard, affect_error *err);
void affect_shard_close(affect_shard *shard);
size_t affect_shard_n_utterances(const affect_shard *shard);
/* All borrowed until close. index < n_utterances. */
affect_utterance_features affect_shard_features(const affect_shard *shard, size_t index);
const char *affect_shard_utterance(const affect_shard *shard, size_t index); /* its id */
const affect_json *affect_shard_quality(const affect_shard *shard);          /* array */
const affect_json *affect_shard_rejected(const affect_shard *shard);         /* array */
uint64_t affect_shard_n_rejected(const affect_shard *shard);

#endif
