/* A written store and manifest, read back; and manifests and shards that do not hold together. */
#include "engine/dataset/dataset.h"
#include "tests/engine/dataset/store_fixture.h"

#include <unistd.h>

static char folder[] = "/tmp/test_dataset_XXXXXX";
static affect_dataset *dataset;

static void test_head(void) {
    CHECK_STRING(affect_dataset_name(dataset), "small");
    CHECK_STRING(affect_dataset_digest(dataset), "d");
    const affect_sizes *sizes = affect_dataset_sizes(dataset);
    CHECK(sizes->n_features == 2 && sizes->n_classes == 2);
    CHECK_STRING(sizes->features[FIXTURE_MEL].name, "mel");
    CHECK(affect_shape_equal(sizes->features[FIXTURE_MEL].shape,
                             (affect_shape){3, {FIXTURE_FRAMES, FIXTURE_MELS, 1}}));
    CHECK(affect_shape_equal(sizes->features[FIXTURE_MOTION].shape,
                             (affect_shape){2, {FIXTURE_PARTS, FIXTURE_COLUMNS}}));
    CHECK(affect_dataset_n_classes(dataset) == 2);
    CHECK_STRING(affect_dataset_class(dataset, 0), "happy");
    CHECK_STRING(affect_dataset_class(dataset, 1), "sad");
    CHECK(affect_json_get(affect_dataset_features_json(dataset), "mel") != NULL);
    CHECK(affect_json_size(affect_dataset_label_map(dataset)) == 2);
    CHECK(affect_json_get_number(affect_dataset_report(dataset), "utterances", 0) == 4);
}

static void test_utterances(void) {
    CHECK(affect_dataset_n_utterances(dataset) == 4);
    const affect_utterance *u = affect_dataset_utterance(dataset, 1);
    CHECK_STRING(u->id, "a_F002");
    CHECK_STRING(u->speaker, "Ses01F");
    CHECK_STRING(u->wearer, "Ses01M");
    CHECK_STRING(u->raw_label, "exc");
    CHECK_STRING(u->transcript, "Said.");
    CHECK(u->label == 1 && !u->own_motion && u->improvised);
    CHECK(u->start_s == 1.5 && u->end_s == 2.25 && u->valence == 2.5 && u->dominance == 0);
    CHECK(affect_json_size(u->streams) == 2);
    CHECK_STRING(affect_json_string(affect_json_at(u->streams, 1), ""), "head");
    CHECK(affect_json_size(u->votes) == 1);
    size_t index = 99;
    CHECK(affect_dataset_find(dataset, &index, "b_F001") && index == 3);
    CHECK(!affect_dataset_find(dataset, &index, "a_F001") && index == 3);
}

static void test_features(void) {
    static const struct { size_t shard, index; } places[] = {{0, 0}, {0, 2}, {1, 0}, {1, 1}};
    float mel[FIXTURE_FRAMES * FIXTURE_MELS + 1];
    float motion[FIXTURE_PARTS * FIXTURE_COLUMNS + 1];
    uint8_t missing[FIXTURE_PARTS * FIXTURE_COLUMNS + 1];
    for (size_t u = 0; u < 4; u++) {
        size_t s = places[u].shard, i = places[u].index, n = fixture_n_frames(i), wrong = 0;
        CHECK(affect_dataset_values(dataset, FIXTURE_MEL, u).n_rows == n);
        mel[FIXTURE_FRAMES * FIXTURE_MELS] = motion[FIXTURE_PARTS * FIXTURE_COLUMNS] = -77;
        missing[FIXTURE_PARTS * FIXTURE_COLUMNS] = 77; /* guards */
        affect_dataset_fill(dataset, mel, NULL, FIXTURE_MEL, u);
        for (size_t k = 0; k < FIXTURE_FRAMES * FIXTURE_MELS; k++)
            wrong += mel[k] != (k < n * FIXTURE_MELS ? fixture_mel(s, i, k) : 0.5f + (float)i);
        affect_dataset_fill(dataset, motion, missing, FIXTURE_MOTION, u);
        for (size_t k = 0; k < FIXTURE_PARTS * FIXTURE_COLUMNS; k++) {
            size_t part = k / FIXTURE_COLUMNS, column = k % FIXTURE_COLUMNS;
            uint8_t gone = fixture_missing(s, i, part, column);
            wrong +=
                missing[k] != gone || motion[k] != (gone ? 0 : fixture_motion(s, i, part, column));
        }
        CHECK(wrong == 0);
        CHECK(mel[FIXTURE_FRAMES * FIXTURE_MELS] == -77);
        CHECK(motion[FIXTURE_PARTS * FIXTURE_COLUMNS] == -77);
        CHECK(missing[FIXTURE_PARTS * FIXTURE_COLUMNS] == 77);
        affect_dataset_fill(dataset, motion, NULL, FIXTURE_MOTION, u); /* without a mask */
    }
}

static void check_broken(const char *manifest, affect_status want, const char *text) {
    char path[AFFECT_PATH_MAX];
    affect_dataset *broken = NULL;
    affect_error failure = {0};
    fixture_write_manifest(folder, manifest);
    CHECK_OK(affect_path_join(path, err, folder, "dataset"));
    CHECK(affect_dataset_open(&broken, path, NULL, &failure) == want && !broken);
    CHECK(strstr(failure.message, text) != NULL);
    if (!strstr(failure.message, text)) fprintf(stderr, "    got \"%s\"\n", failure.message);
}

static void test_broken_manifests(void) {
    check_broken("{}", AFFECT_STATUS_MALFORMED, "not the manifest");
    check_broken("{\"format\":\"affect-dataset\",\"version\":2}", AFFECT_STATUS_UNSUPPORTED,
                 "version 2");
    check_broken("{\"format\":", AFFECT_STATUS_MALFORMED, "syntax");
    check_broken(FIXTURE_MANIFEST(FIXTURE_UTTERANCE("a_F000", "angry", 0, 0)),
                 AFFECT_STATUS_MALFORMED, "unknown label");
    check_broken(FIXTURE_MANIFEST(FIXTURE_UTTERANCE("a_F000", "sad", 2, 0)),
                 AFFECT_STATUS_MALFORMED, "names no shard");
    check_broken(FIXTURE_MANIFEST(FIXTURE_UTTERANCE("a_F000", "sad", 0, 3)),
                 AFFECT_STATUS_MALFORMED, "not in its shard");
    check_broken(FIXTURE_MANIFEST(FIXTURE_UTTERANCE("a_F001", "sad", 0, 0)),
                 AFFECT_STATUS_MALFORMED, "not in its shard");
    check_broken(FIXTURE_MANIFEST(FIXTURE_UTTERANCE("b_F000", "sad", 1, 0) "," FIXTURE_UTTERANCE(
                     "a_F000", "sad", 0, 0)),
                 AFFECT_STATUS_MALFORMED, "order");
    check_broken("{\"format\":\"affect-dataset\",\"version\":1,\"classes\":[\"a\"],\"store\":\"x\","
                 "\"sizes\":{\"frames\":10,\"mels\":4,\"parts\":3,\"columns\":189},"
                 "\"shards\":[\"../../etc/passwd\"]}",
                 AFFECT_STATUS_MALFORMED, "not a digest");
}

/* A changed byte that leaves the file well-formed: opened, and found by verifying. */
static void test_changed_shards(void) {
    char path[AFFECT_PATH_MAX], where[AFFECT_PATH_MAX], *data = NULL;
    size_t size = 0;
    affect_error failure = {0};
    CHECK_OK(affect_path_join(path, err, folder, "store/%s.safetensors", FIXTURE_KEY_A));
    CHECK_OK(affect_path_join(where, err, folder, "dataset"));
    CHECK_OK(affect_file_read(&data, &size, path, 1 << 24, err));
    for (size_t back = 1; back < 6000 && back < size / 2; back += 997) {
        affect_dataset *changed = NULL;
        data[size - back] ^= 1;
        CHECK_OK(affect_file_write(path, data, size, err));
        CHECK_OK(affect_dataset_open(&changed, where, NULL, err));
        CHECK(affect_dataset_verify(changed, &failure) == AFFECT_STATUS_MALFORMED);
        CHECK(strstr(failure.message, "damaged") != NULL);
        affect_dataset_close(changed);
        data[size - back] ^= 1;
    }
    CHECK_OK(affect_file_write(path, data, size, err));
    affect_dataset *again = NULL;
    CHECK_OK(affect_dataset_open(&again, where, NULL, err));
    CHECK_OK(affect_dataset_verify(again, err));
    affect_dataset_close(again);
    free(data);
}

static void test_broken_shards(void) {
    char path[AFFECT_PATH_MAX], *data = NULL;
    size_t size = 0;
    affect_shard *shard = NULL;
    affect_error failure = {0};
    const affect_sizes right = sizes_of(fixture_sizes);
    affect_sizes other = right;
    CHECK_OK(affect_path_join(path, err, folder, "store/%s.safetensors", FIXTURE_KEY_A));
    other.features[FIXTURE_MOTION].shape.size[0] = 4;
    CHECK(affect_shard_open(&shard, path, &other, &failure) == AFFECT_STATUS_SHAPE && !shard);
    other = right;
    other.features[FIXTURE_MEL].shape.size[0] = 7; /* the third utterance has 8 */
    CHECK(affect_shard_open(&shard, path, &other, &failure) == AFFECT_STATUS_MALFORMED && !shard);
    CHECK_OK(affect_file_read(&data, &size, path, 1 << 24, err));
    for (size_t cut = 0; cut < size; cut += 1 + size / 60) { /* truncated anywhere */
        CHECK_OK(affect_file_write(path, data, cut, err));
        CHECK(affect_shard_open(&shard, path, &right, &failure) == AFFECT_STATUS_MALFORMED);
    }
    free(data);
    unlink(path);
    check_broken(FIXTURE_MANIFEST(FIXTURE_ROWS), AFFECT_STATUS_NOT_FOUND, FIXTURE_KEY_A);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    dataset = fixture_open(folder);
    TEST_RUN(test_head);
    TEST_RUN(test_utterances);
    TEST_RUN(test_features);
    TEST_RUN(test_changed_shards);
    affect_dataset_close(dataset);
    TEST_RUN(test_broken_manifests);
    TEST_RUN(test_broken_shards);
    affect_directory_remove(folder, NULL);
    return TEST_END();
}
