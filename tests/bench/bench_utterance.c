/* Times what one prediction is made of, in one process, warm: the mel spectrogram of a clip (one
 * thread), its motion text (one thread), and the whole from bytes to probabilities.
 *
 *   cmake --build build --target bench_utterance && build/bench/bench_utterance FOLDER SECONDS
 *     [REPEATS]
 *
 * Writes the utterance (16 kHz, 16-bit; face, head and hand at 120 rows a second) and a model with
 * random weights for clips of 16 s into FOLDER, for the peer to read: utt.wav, utt_face.txt, ...
 * Prints one JSON object: medians and 99th percentiles in seconds. */
#include "engine/core/clock.h"
#include "tests/engine/predict/utterances.h"
#include "tests/test.h"

enum { MAX_REPEATS = 60, WARM_UP = 5 };

static const char *const kinds[] = {
    [AFFECT_MOCAP_FACE] = "face", [AFFECT_MOCAP_HEAD] = "head", [AFFECT_MOCAP_HAND] = "hand"};

typedef struct {
    affect_feature_extractor *extractor;
    affect_predictor *predictor;
    const utterance *utterance;
} timed;

static void run_mel(const timed *t) {
    static const affect_time_window whole;
    affect_extracted audio = {0};
    const affect_stream_reading reading = {
        .source = affect_features_input_find(&t->utterance->input, "audio"),
        .windows = &whole,
        .n = 1};
    CHECK_OK(affect_features_read(t->extractor, 0, &audio, &reading, err));
}

static void run_motion(const timed *t) {
    affect_features_input input = t->utterance->input;
    affect_extracted features[AFFECT_MAX_FEATURES];
    affect_features_input_set(&input, "audio", (affect_source){0});
    CHECK_OK(affect_features_extract(t->extractor, features, &input, NULL, err));
}

static void run_prediction(const timed *t) {
    affect_prediction prediction;
    CHECK_OK(affect_predictor_run_batch(t->predictor, &prediction, &t->utterance->input, 1, err));
    CHECK(prediction.status == AFFECT_STATUS_OK);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_one(const char *name, void (*run)(const timed *t), const timed *t, int repeats) {
    double seconds[MAX_REPEATS];
    for (int i = repeats > WARM_UP ? -WARM_UP : 0; i < repeats; i++) {
        double started = affect_clock_seconds();
        run(t);
        if (i >= 0) seconds[i] = affect_clock_seconds() - started;
    }
    qsort(seconds, (size_t)repeats, sizeof *seconds, ascending);
    printf("\"%s\": {\"seconds\": %.6f, \"least\": %.6f, \"p99\": %.6f}, ", name,
           seconds[repeats / 2], seconds[0], seconds[repeats - 1]);
}

static void write_file(const char *folder, const char *name, affect_buffer content) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(content.data, 1, content.size, file) == content.size);
    if (file) fclose(file);
}

int main(int argc, char **argv) {
    char path[512], name[64];
    double seconds = argc >= 3 ? atof(argv[2]) : 0;
    int repeats = argc == 4 ? atoi(argv[3]) : MAX_REPEATS;
    if (!(seconds > 0 && seconds <= 16) || repeats < 1 || repeats > MAX_REPEATS) {
        fprintf(stderr, "usage: bench_utterance FOLDER SECONDS (up to 16) [REPEATS] (up to 60)\n");
        return 2;
    }
    utterance u;
    size_t motion_bytes = 0;
    affect_feature_config config;
    timed t = {.utterance = &u};
    make_utterance(&u, seconds, 16000, 1);
    write_file(argv[1], "utt.wav", u.wav);
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++) {
        snprintf(name, sizeof name, "utt_%s.txt", kinds[k]);
        write_file(argv[1], name, u.motion[k]);
        motion_bytes += u.motion[k].size;
    }
    affect_feature_config_default(&config);
    snprintf(path, sizeof path, "%s/model.safetensors", argv[1]);
    make_model(path, "paper-optimized",
               ((affect_mel_config *)affect_feature_config_find(&config, "mel"))->clip_seconds);
    CHECK_OK(affect_feature_extractor_create(&t.extractor, &config, err));
    t.predictor = open_predictor(path, 0, 1);
    printf("{");
    time_one("mel", run_mel, &t, repeats);
    time_one("motion", run_motion, &t, repeats);
    time_one("prediction", run_prediction, &t, repeats);
    printf("\"motion_bytes\": %zu}\n", motion_bytes);
    affect_predictor_close(t.predictor);
    affect_feature_extractor_free(t.extractor);
    free_utterance(&u);
    return TEST_END();
}
