/* The feature extractor: configs, and one utterance or many from files and memory. */
#include "engine/modality/features.h"

#include "engine/core/file.h"
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

static void check_refused(const char *text, const char *pointer) {
    affect_feature_config config;
    affect_error err = {0};
    CHECK(parse(&config, text, &err) == AFFECT_STATUS_INVALID);
    CHECK_STRING(err.pointer, pointer);
}

static void test_config(void) {
    affect_feature_config config, again;
    CHECK_OK(affect_feature_config_parse(&config, NULL, "", err));
    affect_feature_sizes sizes = affect_feature_config_sizes(&config);
    CHECK(sizes.n_frames == 501 && sizes.n_mels == 128 && sizes.n_parts == 200);
    CHECK(sizes.n_columns == 189);
    CHECK_OK(parse(&config, "{\"preset\": \"mel-22k\"}", err));
    CHECK(config.mel.sample_rate_hz == 22050);
    CHECK(affect_feature_config_sizes(&config).n_frames == 690);
    CHECK_OK(parse(&config,
                   "{\"motion\": {\"compat\": \"reference8\", \"parts\": 50},"
                   " \"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 4}}",
                   err));
    CHECK(config.mel.sample_rate_hz == 22050 && config.mel.clip_seconds == 4);
    CHECK(config.motion.parts == 50 && config.motion.compat == AFFECT_MOTION_COMPAT_REFERENCE8);

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

static affect_features_input stored_input(void) {
    return (affect_features_input){.audio = {.path = WAV},
                                   .motion = {[AFFECT_MOCAP_FACE] = {.path = FACE},
                                              [AFFECT_MOCAP_HEAD] = {.path = HEAD},
                                              [AFFECT_MOCAP_HAND] = {.path = HAND}}};
}

static void test_extract(void) {
    affect_feature_extractor *extractor = make("{}");
    affect_features features;
    affect_features_input input = stored_input();
    CHECK_OK(affect_features_extract(extractor, &features, &input, NULL, err));
    const affect_audio_quality *audio = &features.audio.quality;
    CHECK(audio->present && !audio->truncated && !audio->silent && audio->sample_rate_hz == 16000);
    CHECK_NEAR(audio->seconds, 98925 / 16000.0, 1e-6);
    CHECK(features.audio.n_frames == (98925 + 1024 + 511) / 512);
    const affect_motion_quality *quality = features.motion.quality;
    CHECK(quality[AFFECT_MOCAP_FACE].n_rows == 90 && quality[AFFECT_MOCAP_HEAD].n_rows == 2003);
    CHECK(quality[AFFECT_MOCAP_HAND].n_rows == 431);

    float *mel = malloc(501 * 128 * sizeof *mel);
    affect_features_fill_mel(extractor, mel, &features.audio);
    size_t n = features.audio.n_frames * 128;
    CHECK(memcmp(mel, features.audio.mel, n * sizeof *mel) == 0);
    CHECK(mel[n] == features.audio.pad_value && mel[501 * 128 - 1] == features.audio.pad_value);

    /* The same from memory, and once more with the same object: equal to the bit. */
    float *motion = malloc(PARTS * 189 * sizeof *motion);
    memcpy(motion, features.motion.motion, PARTS * 189 * sizeof *motion);
    char *bytes[4];
    const char *paths[] = {FACE, HEAD, HAND, WAV};
    affect_source *sources[] = {&input.motion[0], &input.motion[1], &input.motion[2], &input.audio};
    for (int i = 0; i < 4; i++) {
        size_t size;
        CHECK_OK(affect_file_read(&bytes[i], &size, paths[i], 1 << 20, err));
        *sources[i] = (affect_source){.data = bytes[i], .size = size};
    }
    CHECK_OK(affect_features_extract(extractor, &features, &input, NULL, err));
    CHECK(memcmp(motion, features.motion.motion, PARTS * 189 * sizeof *motion) == 0);
    CHECK(memcmp(mel, features.audio.mel, n * sizeof *mel) == 0);
    for (int i = 0; i < 4; i++) free(bytes[i]);
    free(motion);
    free(mel);
    affect_feature_extractor_free(extractor);
}

static void test_absent_streams(void) {
    affect_feature_extractor *extractor = make("{}");
    affect_features features;
    affect_features_input input = stored_input();
    input.audio = (affect_source){0};
    input.motion[AFFECT_MOCAP_HAND] = (affect_source){0};
    CHECK_OK(affect_features_extract(extractor, &features, &input, NULL, err));
    CHECK(!features.audio.quality.present && features.audio.n_frames == 0);
    CHECK(!features.motion.quality[AFFECT_MOCAP_HAND].present);
    CHECK(features.motion.quality[AFFECT_MOCAP_HEAD].present);
    size_t n_missing = 0;
    for (size_t part = 0; part < PARTS; part++)
        for (size_t c = 171; c < 189; c++) n_missing += features.motion.missing[part * 189 + c];
    CHECK(n_missing == PARTS * 18);
    float *mel = malloc(501 * 128 * sizeof *mel);
    affect_features_fill_mel(extractor, mel, &features.audio);
    CHECK(mel[0] == 0 && mel[501 * 128 - 1] == 0);
    free(mel);

    input = (affect_features_input){0};
    CHECK(affect_features_extract(extractor, &features, &input, NULL, NULL) ==
          AFFECT_STATUS_INVALID);
    affect_feature_extractor_free(extractor);
}

static void check_failure(affect_features_input input, const char *word) {
    affect_feature_extractor *extractor = make("{}");
    affect_features features;
    affect_error failure = {0};
    CHECK(affect_features_extract(extractor, &features, &input, NULL, &failure) ==
          AFFECT_STATUS_MALFORMED);
    CHECK(strstr(failure.message, word) != NULL);
    if (!strstr(failure.message, word)) fprintf(stderr, "    \"%s\"\n", failure.message);
    CHECK(features.audio.quality.present == (strncmp(word, "mocap", 5) == 0));
    input = stored_input(); /* and the object is as good as before */
    CHECK_OK(affect_features_extract(extractor, &features, &input, NULL, err));
    affect_feature_extractor_free(extractor);
}

static void test_failures(void) {
    affect_features_input input = stored_input();
    input.motion[AFFECT_MOCAP_HEAD].path = HAND;
    check_failure(input, "mocap head: rows have 18 values (need 6");
    input = stored_input();
    input.motion[AFFECT_MOCAP_FACE] = (affect_source){.data = "RIFF\0\1\nWAVE", .size = 11};
    check_failure(input, "mocap face: no rows");
    input = stored_input();
    input.audio = (affect_source){.data = "hello", .size = 5};
    check_failure(input, "audio: cannot be read");
    input.audio.size = 0;
    check_failure(input, "audio: empty");
}

static void count_rejected(void *context, affect_mocap_kind kind, size_t line, const char *reason) {
    CHECK(kind == AFFECT_MOCAP_FACE && line == 0 && strstr(reason, "taken as missing"));
    ++*(int *)context;
}

/* A recording without a row is a stream that is missing, not a damaged one. */
static void test_headers_only(void) {
    static const char *const texts[] = {"", "\r\n\n", "Frame# Time LHD.pitch\nX Y Z\n", "Frame#"};
    affect_feature_extractor *extractor = make("{}");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        affect_features features;
        int n_heard = 0;
        const affect_features_listener listener = {.context = &n_heard, .rejected = count_rejected};
        affect_features_input input = stored_input();
        input.motion[AFFECT_MOCAP_FACE] =
            (affect_source){.data = texts[i], .size = strlen(texts[i])};
        CHECK_OK(affect_features_extract(extractor, &features, &input, &listener, err));
        const affect_motion_quality *face = &features.motion.quality[AFFECT_MOCAP_FACE];
        CHECK(n_heard == 1 && face->present && face->is_empty && face->n_rows == 0);
        CHECK(features.motion.missing[0] == 1 && features.motion.motion[0] == 0);
        CHECK(!features.motion.quality[AFFECT_MOCAP_HEAD].is_empty);
    }
    affect_feature_extractor_free(extractor);
}

static void test_clip_and_resampling(void) {
    affect_feature_extractor *extractor = make("{\"mel\": {\"clip_seconds\": 2}}");
    affect_audio_features cut, audio;
    affect_time_window whole = {0}, window = {true, 1, 2.5};
    CHECK_OK(affect_features_read_audio(extractor, &cut, (affect_source){.path = WAV}, whole, err));
    CHECK(cut.quality.truncated && cut.n_frames == 63);
    CHECK_NEAR(cut.quality.seconds, 98925 / 16000.0, 1e-6);
    CHECK_OK(
        affect_features_read_audio(extractor, &audio, (affect_source){.path = WAV}, window, err));
    CHECK(!audio.quality.truncated && audio.n_frames == 49);
    CHECK_NEAR(audio.quality.seconds, 1.5, 1e-9);
    affect_feature_extractor_free(extractor);

    extractor = make("{\"preset\": \"mel-22k\"}");
    CHECK_OK(
        affect_features_read_audio(extractor, &audio, (affect_source){.path = FLAC}, whole, err));
    CHECK(audio.n_frames == (22050 + 1024 + 511) / 512 && audio.quality.sample_rate_hz == 16000);
    CHECK(!audio.quality.truncated);
    affect_feature_extractor_free(extractor);
}

/* A clip's end is resampled as the whole sound's, though only the clip is read. */
static void test_clip_end(void) {
    affect_feature_extractor *early =
        make("{\"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 2,"
             "\"reference\": \"one\"}}");
    affect_feature_extractor *late = make("{\"preset\": \"mel-22k\", \"mel\": {\"clip_seconds\": 6,"
                                          "\"reference\": \"one\"}}");
    affect_audio_features a, b;
    affect_time_window whole = {0};
    CHECK_OK(affect_features_read_audio(early, &a, (affect_source){.path = WAV}, whole, err));
    CHECK_OK(affect_features_read_audio(late, &b, (affect_source){.path = WAV}, whole, err));
    float worst = 0;
    for (size_t i = 0; i < 84 * 128; i++) /* frames that end before 2 s */
        if (a.mel[i] > 0.3f) worst = fmaxf(worst, fabsf(a.mel[i] - b.mel[i]));
    CHECK(worst < 1e-4f);
    affect_feature_extractor_free(early);
    affect_feature_extractor_free(late);
}

/* ---- Many windows in one pass ---- */

typedef struct {
    size_t n_rejected, n_bytes, stop_after;
} listener_record;

static void on_rejected(void *context, affect_mocap_kind kind, size_t line, const char *reason) {
    (void)kind, (void)line, (void)reason;
    ((listener_record *)context)->n_rejected++;
}

static bool on_progress(void *context, size_t n_bytes) {
    listener_record *seen = context;
    seen->n_bytes += n_bytes;
    return !seen->stop_after || seen->n_bytes < seen->stop_after;
}

static void test_windows(void) {
    affect_feature_extractor *extractor = make("{}");
    const affect_time_window windows[] = {
        {true, 0, 3}, {true, 2, 5.5}, {true, 100, 101}, {true, 5.5, 16}};
    affect_motion_features many[4];
    for (int i = 0; i < 4; i++) {
        many[i].motion = malloc(PARTS * 189 * sizeof(float));
        many[i].missing = malloc(PARTS * 189);
        affect_features_clear_motion(extractor, &many[i]);
    }
    listener_record seen = {0};
    affect_features_listener listener = {&seen, on_rejected, on_progress};
    affect_source head = {.path = HEAD};
    CHECK_OK(affect_features_read_motion(extractor, many, windows, 4, AFFECT_MOCAP_HEAD, head,
                                         &listener, err));
    CHECK(seen.n_bytes > 100000 && seen.n_rejected == 0);
    CHECK(many[2].quality[AFFECT_MOCAP_HEAD].present);
    CHECK(many[2].quality[AFFECT_MOCAP_HEAD].n_rows == 0);
    CHECK(many[2].quality[AFFECT_MOCAP_HEAD].missing == 1);
    CHECK(many[0].quality[AFFECT_MOCAP_HEAD].n_rows == 360); /* 0, 0.00834, ... 2.99406 */
    affect_feature_extractor *single = make("{}");
    for (int i = 0; i < 4; i++) { /* each as if it were alone */
        affect_features features;
        affect_features_input input = {.motion = {[AFFECT_MOCAP_HEAD] = head},
                                       .motion_window = windows[i]};
        CHECK_OK(affect_features_extract(single, &features, &input, NULL, err));
        CHECK(memcmp(features.motion.motion, many[i].motion, PARTS * 189 * sizeof(float)) == 0);
        CHECK(memcmp(features.motion.missing, many[i].missing, PARTS * 189) == 0);
    }
    seen.stop_after = 1;
    CHECK(affect_features_read_motion(extractor, many, windows, 4, AFFECT_MOCAP_HEAD, head,
                                      &listener, NULL) == AFFECT_STATUS_CANCELLED);
    for (int i = 0; i < 4; i++) free(many[i].motion), free(many[i].missing);
    affect_feature_extractor_free(extractor);
    affect_feature_extractor_free(single);
}

/* A window of too many rows ends alone among others, and with a clear error by itself. */
static void test_overfull_window(void) {
    size_t n_rows = AFFECT_SEGMENTS_MAX_ROWS + 10;
    char *text = malloc(n_rows * 32), *p = text;
    for (size_t i = 0; i < n_rows; i++) p += sprintf(p, "1 %zu 1 2 3 4 5 6\n", i);
    affect_source source = {.data = text, .size = (size_t)(p - text)};
    affect_feature_extractor *extractor = make("{\"motion\": {\"parts\": 2}}");
    const affect_time_window windows[] = {{true, 0, 1e9}, {true, 100, 200}};
    float motion[2][2 * 189];
    uint8_t missing[2][2 * 189];
    affect_motion_features both[2] = {{.motion = motion[0], .missing = missing[0]},
                                      {.motion = motion[1], .missing = missing[1]}};
    for (int i = 0; i < 2; i++) affect_features_clear_motion(extractor, &both[i]);
    listener_record seen = {0};
    affect_features_listener listener = {&seen, on_rejected, on_progress};
    CHECK_OK(affect_features_read_motion(extractor, both, windows, 2, AFFECT_MOCAP_HEAD, source,
                                         &listener, err));
    CHECK(seen.n_rejected == 1 && !both[0].quality[AFFECT_MOCAP_HEAD].present);
    CHECK(both[1].quality[AFFECT_MOCAP_HEAD].n_rows == 100 && motion[1][165] == 1);
    CHECK(affect_features_read_motion(extractor, both, windows, 1, AFFECT_MOCAP_HEAD, source,
                                      &listener, NULL) == AFFECT_STATUS_TOO_LARGE);
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
