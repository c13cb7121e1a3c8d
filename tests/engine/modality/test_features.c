/* The feature extractor: configs, and one utterance or many from files and memory. */
#include "engine/modality/features.h"

#include "engine/core/file.h"
#include "engine/modality/audio.h"
#include "engine/modality/mel.h"
#include "engine/modality/motion.h"
#include "tests/test.h"

#define WAV   TEST_REFERENCE_DIR "/librosa/speech_16k.wav"
#define FLAC  TEST_REFERENCE_DIR "/librosa/chirp_1s.flac"
#define FACE  TEST_REFERENCE_DIR "/segments/face.txt"
#define HAND  TEST_REFERENCE_DIR "/segments/hand.txt"
#define HEAD  TEST_REFERENCE_DIR "/segments/head.txt"
#define PARTS 200

/* ---- Config ---- */

static affect_status parse(affect_feature_config *config, const char *text, affect_error *err) {
    affect_json *json = NULL;
    AFFECT_TRY(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = affect_feature_config_parse(config, json, "/features", err);
    affect_json_free(json);
    return status;
}

static affect_mel_config *mel_of(affect_feature_config *config) {
    return affect_feature_config_find(config, "mel");
}
static affect_motion_config *motion_of(affect_feature_config *config) {
    return affect_feature_config_find(config, "motion");
}

static void check_refused(const char *text, const char *pointer) {
    affect_feature_config config;
    affect_error err = {0};
    CHECK(parse(&config, text, &err) == AFFECT_STATUS_INVALID);
    CHECK_STRING(err.pointer, pointer);
}

static void test_config(void) {
    affect_feature_config config, again;
    CHECK_OK(affect_feature_config_parse(&config, NULL, "", err));
    affect_sizes sizes = affect_feature_config_sizes(&config);
    CHECK(sizes.n_features == 2);
    CHECK(affect_shape_equal(sizes.features[0].shape, (affect_shape){3, {501, 128, 1}}));
    CHECK(affect_shape_equal(sizes.features[1].shape, (affect_shape){2, {200, 189}}));
    CHECK_OK(parse(&config, "{\"preset\": \"mel-22k\"}", err));
    CHECK(mel_of(&config)->sample_rate_hz == 22050);
    CHECK(affect_feature_config_sizes(&config).features[0].shape.size[0] == 690);
    CHECK_OK(parse(&config,
                   "{\"motion\": {\"compat\": \"reference8\", \"parts\": 50},"
                   " \"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 4}}",
                   err));
    CHECK(mel_of(&config)->sample_rate_hz == 22050 && mel_of(&config)->clip_seconds == 4);
    CHECK(motion_of(&config)->parts == 50 &&
          motion_of(&config)->compat == AFFECT_MOTION_COMPAT_REFERENCE8);

    char *text = affect_feature_config_text(&config), *other;
    CHECK_OK(parse(&again, text, err));
    other = affect_feature_config_text(&again);
    CHECK_STRING(other, text);
    CHECK(strstr(text, "preset") == NULL && strstr(text, "\"clip_seconds\":4") != NULL);
    free(text);
    free(other);

    check_refused("{\"presets\": \"mel-16k\"}", "/features/presets");
    check_refused("{\"preset\": \"mel-44k\"}", "/features/preset");
    check_refused("{\"preset\": 16}", "/features/preset");
    check_refused("{\"mel\": {\"mels\": 64}}", "/features/mel/mels");
    check_refused("{\"mel\": {\"n_mels\": \"64\"}}", "/features/mel/n_mels");
    check_refused("{\"motion\": {\"parts\": 0}}", "/features/motion/parts");
    check_refused("{\"mel\": {\"fmax_hz\": 9000}}", "/features/mel/fmax_hz");
}

/* ---- One utterance ---- */

static affect_feature_extractor *make(const char *text) {
    affect_feature_config config;
    affect_feature_extractor *extractor = NULL;
    CHECK_OK(parse(&config, text, err));
    CHECK_OK(affect_feature_extractor_create(&extractor, &config, err));
    if (!extractor) exit(1);
    return extractor;
}

enum { MEL, MOTION }; /* features, and windows */

static affect_features_input stored_input(void) {
    affect_features_input input = {0};
    affect_features_input_set(&input, "audio", (affect_source){.path = WAV});
    affect_features_input_set(&input, "mocap_face", (affect_source){.path = FACE});
    affect_features_input_set(&input, "mocap_head", (affect_source){.path = HEAD});
    affect_features_input_set(&input, "mocap_hand", (affect_source){.path = HAND});
    return input;
}

static const affect_audio_quality *sound_of(const affect_extracted *features) {
    return (const affect_audio_quality *)features[MEL].quality[0].record;
}
static const affect_motion_quality *motion_record(const affect_extracted *features,
                                                  affect_mocap_kind kind) {
    return (const affect_motion_quality *)features[MOTION].quality[kind].record;
}

static void test_extract(void) {
    affect_feature_extractor *extractor = make("{}");
    affect_extracted features[AFFECT_MAX_FEATURES];
    affect_features_input input = stored_input();
    CHECK_OK(affect_features_extract(extractor, features, &input, NULL, err));
    const affect_audio_quality *audio = sound_of(features);
    CHECK(features[MEL].quality[0].present && !audio->truncated && !audio->silent);
    CHECK(audio->sample_rate_hz == 16000);
    CHECK_NEAR(audio->seconds, 98925 / 16000.0, 1e-6);
    CHECK(features[MEL].n_rows == (98925 + 1024 + 511) / 512);
    CHECK(motion_record(features, AFFECT_MOCAP_FACE)->n_rows == 90);
    CHECK(motion_record(features, AFFECT_MOCAP_HEAD)->n_rows == 2003);
    CHECK(motion_record(features, AFFECT_MOCAP_HAND)->n_rows == 431);

    float *mel = malloc(501 * 128 * sizeof *mel);
    affect_features_fill(extractor, MEL, mel, &features[MEL]);
    size_t n = features[MEL].n_rows * 128;
    CHECK(memcmp(mel, features[MEL].values, n * sizeof *mel) == 0);
    CHECK(mel[n] == features[MEL].pad_value && mel[501 * 128 - 1] == features[MEL].pad_value);

    /* The same from memory, and once more with the same object: equal to the bit. */
    float *motion = malloc(PARTS * 189 * sizeof *motion);
    memcpy(motion, features[MOTION].all, PARTS * 189 * sizeof *motion);
    char *bytes[4];
    for (size_t i = 0; i < 4; i++) {
        size_t size;
        CHECK_OK(affect_file_read(&bytes[i], &size, input.parts[i].source.path, 1 << 20, err));
        input.parts[i].source = (affect_source){.data = bytes[i], .size = size};
    }
    CHECK_OK(affect_features_extract(extractor, features, &input, NULL, err));
    CHECK(memcmp(motion, features[MOTION].all, PARTS * 189 * sizeof *motion) == 0);
    CHECK(memcmp(mel, features[MEL].values, n * sizeof *mel) == 0);
    for (int i = 0; i < 4; i++) free(bytes[i]);
    free(motion);
    free(mel);
    affect_feature_extractor_free(extractor);
}

static void test_absent_streams(void) {
    affect_feature_extractor *extractor = make("{}");
    affect_extracted features[AFFECT_MAX_FEATURES];
    affect_features_input input = stored_input();
    affect_features_input_set(&input, "audio", (affect_source){0});
    affect_features_input_set(&input, "mocap_hand", (affect_source){0});
    CHECK_OK(affect_features_extract(extractor, features, &input, NULL, err));
    CHECK(!features[MEL].quality[0].present && features[MEL].n_rows == 0);
    CHECK(!features[MOTION].quality[AFFECT_MOCAP_HAND].present);
    CHECK(features[MOTION].quality[AFFECT_MOCAP_HEAD].present);
    size_t n_missing = 0;
    for (size_t part = 0; part < PARTS; part++)
        for (size_t c = 171; c < 189; c++) n_missing += features[MOTION].missing[part * 189 + c];
    CHECK(n_missing == PARTS * 18);
    float *mel = malloc(501 * 128 * sizeof *mel);
    affect_features_fill(extractor, MEL, mel, &features[MEL]);
    CHECK(mel[0] == 0 && mel[501 * 128 - 1] == 0);
    free(mel);

    input = (affect_features_input){0};
    CHECK(affect_features_extract(extractor, features, &input, NULL, NULL) ==
          AFFECT_STATUS_INVALID);
    affect_feature_extractor_free(extractor);
}

static void check_failure(const char *part, affect_source source, const char *word) {
    affect_feature_extractor *extractor = make("{}");
    affect_extracted features[AFFECT_MAX_FEATURES];
    affect_features_input input = stored_input();
    affect_error failure = {0};
    affect_features_input_set(&input, part, source);
    CHECK(affect_features_extract(extractor, features, &input, NULL, &failure) ==
          AFFECT_STATUS_MALFORMED);
    CHECK(strstr(failure.message, word) != NULL);
    if (!strstr(failure.message, word)) fprintf(stderr, "    \"%s\"\n", failure.message);
    CHECK(features[MEL].quality[0].present == (strncmp(word, "mocap", 5) == 0));
    input = stored_input(); /* and the object is as good as before */
    CHECK_OK(affect_features_extract(extractor, features, &input, NULL, err));
    affect_feature_extractor_free(extractor);
}

static void test_failures(void) {
    check_failure("mocap_head", (affect_source){.path = HAND},
                  "mocap head: rows have 18 values (need 6");
    check_failure("mocap_face", (affect_source){.data = "RIFF\0\1\nWAVE", .size = 11},
                  "mocap face: no rows");
    check_failure("audio", (affect_source){.data = "hello", .size = 5}, "audio: cannot be read");
    check_failure("audio", (affect_source){.data = "hello", .size = 0}, "audio: empty");
}

static void count_rejected(void *context, const char *stream, size_t line, const char *reason) {
    CHECK(strcmp(stream, "face") == 0 && line == 0 && strstr(reason, "taken as missing"));
    ++*(int *)context;
}

/* A recording without a row is a stream that is missing, not a damaged one. */
static void test_headers_only(void) {
    static const char *const texts[] = {"", "\r\n\n", "Frame# Time LHD.pitch\nX Y Z\n", "Frame#"};
    affect_feature_extractor *extractor = make("{}");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        affect_extracted features[AFFECT_MAX_FEATURES];
        int n_told = 0;
        const affect_features_listener listener = {.context = &n_told, .rejected = count_rejected};
        affect_features_input input = stored_input();
        affect_features_input_set(&input, "mocap_face",
                                  (affect_source){.data = texts[i], .size = strlen(texts[i])});
        CHECK_OK(affect_features_extract(extractor, features, &input, &listener, err));
        const affect_motion_quality *face = motion_record(features, AFFECT_MOCAP_FACE);
        CHECK(n_told == 1 && face->present && face->is_empty && face->n_rows == 0);
        CHECK(features[MOTION].missing[0] == 1 && features[MOTION].all[0] == 0);
        CHECK(!motion_record(features, AFFECT_MOCAP_HEAD)->is_empty);
    }
    affect_feature_extractor_free(extractor);
}

static void read_sound(affect_feature_extractor *extractor, affect_extracted *sound,
                       const char *path, affect_time_window window) {
    const affect_stream_reading reading = {.source = {.path = path}, .windows = &window, .n = 1};
    *sound = (affect_extracted){0};
    CHECK_OK(affect_features_read(extractor, MEL, sound, &reading, err));
}

static void test_clip_and_resampling(void) {
    affect_feature_extractor *extractor = make("{\"mel\": {\"clip_seconds\": 2}}");
    affect_extracted cut, audio;
    affect_time_window whole = {0}, window = {true, 1, 2.5};
    read_sound(extractor, &cut, WAV, whole);
    CHECK(sound_of(&cut)->truncated && cut.n_rows == 63);
    CHECK_NEAR(sound_of(&cut)->seconds, 98925 / 16000.0, 1e-6);
    read_sound(extractor, &audio, WAV, window);
    CHECK(!sound_of(&audio)->truncated && audio.n_rows == 49);
    CHECK_NEAR(sound_of(&audio)->seconds, 1.5, 1e-9);
    affect_feature_extractor_free(extractor);

    extractor = make("{\"preset\": \"mel-22k\"}");
    read_sound(extractor, &audio, FLAC, whole);
    CHECK(audio.n_rows == (22050 + 1024 + 511) / 512);
    CHECK(sound_of(&audio)->sample_rate_hz == 16000 && !sound_of(&audio)->truncated);
    affect_feature_extractor_free(extractor);
}

/* A clip's end is resampled as the whole sound's, though only the clip is read. */
static void test_clip_end(void) {
    affect_feature_extractor *early =
        make("{\"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 2,"
             "\"reference\": \"one\"}}");
    affect_feature_extractor *late = make("{\"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 6,"
                                          "\"reference\": \"one\"}}");
    affect_extracted a, b;
    read_sound(early, &a, WAV, (affect_time_window){0});
    read_sound(late, &b, WAV, (affect_time_window){0});
    float worst = 0;
    for (size_t i = 0; i < 84 * 128; i++) /* frames that end before 2 s */
        if (a.values[i] > 0.3f) worst = fmaxf(worst, fabsf(a.values[i] - b.values[i]));
    CHECK(worst < 1e-4f);
    affect_feature_extractor_free(early);
    affect_feature_extractor_free(late);
}

/* ---- Many windows in one pass ---- */

typedef struct {
    size_t n_rejected, n_bytes, stop_after;
} listener_record;

static void on_rejected(void *context, const char *stream, size_t line, const char *reason) {
    (void)stream, (void)line, (void)reason;
    ((listener_record *)context)->n_rejected++;
}

static bool on_progress(void *context, size_t n_bytes) {
    listener_record *seen = context;
    seen->n_bytes += n_bytes;
    return !seen->stop_after || seen->n_bytes < seen->stop_after;
}

static const affect_motion_quality *head_of(const affect_extracted *motion) {
    return (const affect_motion_quality *)motion->quality[AFFECT_MOCAP_HEAD].record;
}

static void test_windows(void) {
    affect_feature_extractor *extractor = make("{}");
    const affect_time_window windows[] = {
        {true, 0, 3}, {true, 2, 5.5}, {true, 100, 101}, {true, 5.5, 16}};
    affect_extracted many[4] = {0};
    for (int i = 0; i < 4; i++) {
        many[i].all = malloc(PARTS * 189 * sizeof(float));
        many[i].missing = malloc(PARTS * 189);
        affect_features_clear(extractor, MOTION, &many[i]);
    }
    listener_record seen = {0};
    affect_features_listener listener = {&seen, on_rejected, on_progress};
    affect_source head = {.path = HEAD};
    const affect_stream_reading reading = {.stream = AFFECT_MOCAP_HEAD,
                                           .source = head,
                                           .windows = windows,
                                           .n = 4,
                                           .listener = &listener};
    CHECK_OK(affect_features_read(extractor, MOTION, many, &reading, err));
    CHECK(seen.n_bytes > 100000 && seen.n_rejected == 0);
    CHECK(many[2].quality[AFFECT_MOCAP_HEAD].present);
    CHECK(head_of(&many[2])->n_rows == 0 && head_of(&many[2])->missing == 1);
    CHECK(head_of(&many[0])->n_rows == 360); /* 0, 0.00834, ... 2.99406 */
    affect_feature_extractor *single = make("{}");
    for (int i = 0; i < 4; i++) { /* each as if it were alone */
        affect_extracted features[AFFECT_MAX_FEATURES];
        affect_features_input input = {0};
        affect_features_input_set(&input, "mocap_head", head);
        input.windows[MOTION] = windows[i];
        CHECK_OK(affect_features_extract(single, features, &input, NULL, err));
        CHECK(memcmp(features[MOTION].all, many[i].all, PARTS * 189 * sizeof(float)) == 0);
        CHECK(memcmp(features[MOTION].missing, many[i].missing, PARTS * 189) == 0);
    }
    seen.stop_after = 1;
    CHECK(affect_features_read(extractor, MOTION, many, &reading, NULL) == AFFECT_STATUS_CANCELLED);
    for (int i = 0; i < 4; i++) free(many[i].all), free(many[i].missing);
    affect_feature_extractor_free(extractor);
    affect_feature_extractor_free(single);
}

/* A window of too many rows ends alone among others, and with a clear error by itself. */
static void test_overfull_window(void) {
    size_t n_rows = AFFECT_SEGMENTS_MAX_ROWS + 10;
    char *text = malloc(n_rows * 32), *p = text;
    for (size_t i = 0; i < n_rows; i++) p += sprintf(p, "1 %zu 1 2 3 4 5 6\n", i);
    affect_feature_extractor *extractor = make("{\"motion\": {\"parts\": 2}}");
    const affect_time_window windows[] = {{true, 0, 1e9}, {true, 100, 200}};
    float motion[2][2 * 189];
    uint8_t missing[2][2 * 189];
    affect_extracted both[2] = {{.all = motion[0], .missing = missing[0]},
                                {.all = motion[1], .missing = missing[1]}};
    for (int i = 0; i < 2; i++) affect_features_clear(extractor, MOTION, &both[i]);
    listener_record seen = {0};
    affect_features_listener listener = {&seen, on_rejected, on_progress};
    affect_stream_reading reading = {.stream = AFFECT_MOCAP_HEAD,
                                     .source = {.data = text, .size = (size_t)(p - text)},
                                     .windows = windows,
                                     .n = 2,
                                     .listener = &listener};
    CHECK_OK(affect_features_read(extractor, MOTION, both, &reading, err));
    CHECK(seen.n_rejected == 1 && !both[0].quality[AFFECT_MOCAP_HEAD].present);
    CHECK(head_of(&both[1])->n_rows == 100 && motion[1][165] == 1);
    reading.n = 1;
    CHECK(affect_features_read(extractor, MOTION, both, &reading, NULL) == AFFECT_STATUS_TOO_LARGE);
    affect_feature_extractor_free(extractor);
    free(text);
}

int main(void) {
    TEST_RUN(test_config);
    TEST_RUN(test_extract);
    TEST_RUN(test_absent_streams);
    TEST_RUN(test_failures);
    TEST_RUN(test_headers_only);
    TEST_RUN(test_clip_and_resampling);
    TEST_RUN(test_clip_end);
    TEST_RUN(test_windows);
    TEST_RUN(test_overfull_window);
    return TEST_END();
}
