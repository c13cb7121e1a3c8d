/* A store of two shards and a manifest, made with plain formulas: for tests of what reads them. */
#ifndef AFFECT_TESTS_STORE_FIXTURE_H
#define AFFECT_TESTS_STORE_FIXTURE_H

#include "engine/core/file.h"
#include "engine/dataset/shard.h"
#include "tests/sizes.h"
#include "tests/test.h"

enum {
    FIXTURE_FRAMES = 10,
    FIXTURE_MELS = 4,
    FIXTURE_PARTS = 3,
    FIXTURE_COLUMNS = 189,
    FIXTURE_N = 3
};

#define FIXTURE_KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FIXTURE_KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const network_sizes fixture_sizes = {FIXTURE_FRAMES, FIXTURE_MELS, FIXTURE_PARTS,
                                            FIXTURE_COLUMNS, 0};
enum { FIXTURE_MEL, FIXTURE_MOTION }; /* its features */

/* Frames of utterance i of a shard. */
static inline size_t fixture_n_frames(size_t i) {
    return 4 * i; /* 0, 4, 8 */
}
static inline float fixture_mel(size_t shard, size_t i, size_t at) {
    return (float)shard + 0.25f * (float)i + 0.001f * (float)at;
}
/* Whole numbers around 1000 + column, so that sums in any order are exact. */
static inline float fixture_motion(size_t shard, size_t i, size_t part, size_t column) {
    if (column == 5) return 7; /* constant, as the face's origin marker */
    return 1000 + (float)column + (float)((31 * shard + 17 * i + 7 * part + 3 * column) % 11);
}
static inline uint8_t fixture_missing(size_t shard, size_t i, size_t part, size_t column) {
    if (column == 9) return 1; /* never there */
    return (shard + 2 * i + 3 * part + column) % 5 == 0;
}

static inline affect_json *fixture_json(const char *text) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    return json;
}

static inline void fixture_write_shard(const char *folder, size_t shard) {
    static float mel[FIXTURE_N * FIXTURE_FRAMES * FIXTURE_MELS];
    static float motion[FIXTURE_N * FIXTURE_PARTS * FIXTURE_COLUMNS];
    static uint8_t missing[FIXTURE_N * FIXTURE_PARTS * FIXTURE_COLUMNS];
    float pad[FIXTURE_N];
    int64_t offsets[FIXTURE_N + 1] = {0};
    for (size_t i = 0, at = 0; i < FIXTURE_N; i++) {
        size_t n = fixture_n_frames(i) * FIXTURE_MELS;
        for (size_t k = 0; k < n; k++)
            mel[(size_t)offsets[i] * FIXTURE_MELS + k] = fixture_mel(shard, i, k);
        offsets[i + 1] = offsets[i] + (int64_t)fixture_n_frames(i);
        pad[i] = 0.5f + (float)i;
        for (size_t part = 0; part < FIXTURE_PARTS; part++)
            for (size_t column = 0; column < FIXTURE_COLUMNS; column++, at++) {
                missing[at] = fixture_missing(shard, i, part, column);
                motion[at] = missing[at] ? 0 : fixture_motion(shard, i, part, column);
            }
    }
    affect_json *ids = fixture_json(shard ? "[\"b_F000\",\"b_F001\",\"b_F002\"]"
                                          : "[\"a_F000\",\"a_F001\",\"a_F002\"]");
    affect_json *quality = fixture_json("[{},{},{}]"), *none = fixture_json("[]");
    affect_json *features = fixture_json("{}");
    const affect_sizes sizes = sizes_of(fixture_sizes);
    const affect_shard_content content = {
        .n_utterances = FIXTURE_N,
        .sizes = &sizes,
        .values = {{.offsets = offsets, .values = mel, .pad_value = pad},
                   {.values = motion, .missing = missing}},
        .features = features,
        .utterances = ids,
        .quality = quality,
        .rejected = none};
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, folder, "store/%s.safetensors",
                              shard ? FIXTURE_KEY_B : FIXTURE_KEY_A));
    CHECK_OK(affect_shard_write(path, &content, err));
    affect_json_free(ids);
    affect_json_free(quality);
    affect_json_free(none);
    affect_json_free(features);
}

/* All four are texts. */
#define FIXTURE_UTTERANCE_OF(id, label, shard, index)                                              \
    "{\"id\":\"" id "\",\"label\":\"" label "\",\"raw_label\":\"exc\",\"shard\":" shard            \
    ",\"index\":" index ",\"dialog\":\"a\",\"session\":\"Ses01\",\"scenario\":\"impro01\","        \
    "\"speaker\":\"Ses01F\",\"wearer\":\"Ses01M\",\"own_motion\":false,\"improvised\":true,"       \
    "\"start\":1.5,\"end\":2.25,\"valence\":2.5,\"transcript\":\"Said.\","                         \
    "\"votes\":[{\"by\":\"E1\",\"labels\":[\"Neutral\"]}],\"streams\":[\"audio\",\"head\"]}"
#define FIXTURE_UTTERANCE(id, label, shard, index) FIXTURE_UTTERANCE_OF(id, label, #shard, #index)

/* Of six utterances in the shards, four are in the dataset. */
#define FIXTURE_ROWS                                                                               \
    FIXTURE_UTTERANCE("a_F000", "happy", 0, 0)                                                     \
    "," FIXTURE_UTTERANCE("a_F002", "sad", 0, 2) "," FIXTURE_UTTERANCE(                            \
        "b_F000", "sad", 1, 0) "," FIXTURE_UTTERANCE("b_F001", "happy", 1, 1)

#define FIXTURE_MANIFEST(rows)                                                                     \
    "{\"format\":\"affect-dataset\",\"version\":1,\"name\":\"small\",\"digest\":\"d\","            \
    "\"features\":{\"mel\":{}},\"labels\":{\"happy\":[\"exc\"],\"sad\":[\"sad\"]},"                \
    "\"sizes\":{\"frames\":10,\"mels\":4,\"parts\":3,\"columns\":189},"                            \
    "\"classes\":[\"happy\",\"sad\"],\"store\":\"../store\",\"report\":{\"utterances\":4},"        \
    "\"shards\":[\"" FIXTURE_KEY_A "\",\"" FIXTURE_KEY_B "\"],\"utterances\":[" rows "]}"

/* Writes FOLDER/dataset/dataset.json with this text. */
static inline void fixture_write_manifest(const char *folder, const char *text) {
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, folder, "dataset"));
    CHECK_OK(affect_directory_make(path, err));
    CHECK_OK(affect_path_join(path, err, folder, "dataset/dataset.json"));
    CHECK_OK(affect_file_write(path, text, strlen(text), err));
}

/* Makes all of it below `folder` and opens it. */
static inline affect_dataset *fixture_open(const char *folder) {
    char path[AFFECT_PATH_MAX];
    affect_dataset *dataset = NULL;
    CHECK_OK(affect_path_join(path, err, folder, "store"));
    CHECK_OK(affect_directory_make(path, err));
    fixture_write_shard(folder, 0);
    fixture_write_shard(folder, 1);
    fixture_write_manifest(folder, FIXTURE_MANIFEST(FIXTURE_ROWS));
    CHECK_OK(affect_path_join(path, err, folder, "dataset"));
    CHECK_OK(affect_dataset_open(&dataset, path, NULL, err));
    if (!dataset) exit(1);
    return dataset;
}

#endif
