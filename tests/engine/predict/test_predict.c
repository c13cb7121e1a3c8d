/* Predictions: in a batch the same bits as alone, whatever stands beside; failures of one utterance
 * are its own. */
#include "tests/engine/predict/utterances.h"

enum { N = 6, N_CLASSES = 4 };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER
#endif
#ifdef UNDER_THREAD_SANITIZER
enum { BATCH_STEP = N - 1, PLACE_STEP = N };
#else
enum { BATCH_STEP = 1, PLACE_STEP = 1 };
#endif

static const char *const presets[] = {"paper-optimized", "paper-base", "audio-only", "motion-only"};

/* Lengths differ, and so does the padding; one is longer than the clip, one has another rate. */
static void make_utterances(utterance utterances[N]) {
    static const double seconds[N] = {1.5, 0.3, 2.6, 1.0, 2.0, 0.7};
    for (int i = 0; i < N; i++)
        make_utterance(&utterances[i], seconds[i], i == 3 ? 22050 : 16000, 40 + (uint64_t)i);
    affect_features_input_set(&utterances[4].input, motion_parts[AFFECT_MOCAP_HAND],
                              (affect_source){0});
    utterances[5].input.windows[MOTION_WINDOW] = (affect_time_window){true, 0.2, 0.5};
}

static void predict_alone(float alone[N][N_CLASSES], affect_predictor *predictor,
                          const utterance utterances[N]) {
    for (int i = 0; i < N; i++) {
        affect_prediction prediction;
        CHECK_OK(affect_predictor_run_batch(predictor, &prediction, &utterances[i].input, 1, err));
        CHECK(prediction.status == AFFECT_STATUS_OK);
        memcpy(alone[i], prediction.probabilities, sizeof alone[i]);
    }
}

static void check_batch(affect_predictor *predictor, const utterance utterances[N], size_t n,
                        size_t first, float alone[N][N_CLASSES]) {
    affect_features_input inputs[N];
    affect_prediction predictions[N];
    for (size_t i = 0; i < n; i++) inputs[i] = utterances[(first + i) % N].input;
    CHECK_OK(affect_predictor_run_batch(predictor, predictions, inputs, n, err));
    for (size_t i = 0; i < n; i++) {
        CHECK(predictions[i].status == AFFECT_STATUS_OK);
        CHECK(memcmp(predictions[i].probabilities, alone[(first + i) % N], sizeof alone[0]) == 0);
    }
}

/* Every batch size, every place in it, one thread or three. (ThreadSanitizer, which takes a hundred
 * times as long, sees what is shared between threads in the smallest and the largest batch.) */
static void test_same_bits_in_any_company(void) {
    utterance utterances[N];
    float alone[N][N_CLASSES], again[N][N_CLASSES];
    make_utterances(utterances);
    for (size_t p = 0; p < sizeof presets / sizeof *presets; p++) {
        make_model(scratch_path("model.safetensors"), presets[p], 2);
        for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
            affect_predictor *single =
                open_predictor(scratch_path("model.safetensors"), n_threads, 1);
            affect_predictor *many =
                open_predictor(scratch_path("model.safetensors"), n_threads, N);
            predict_alone(alone, single, utterances);
            for (size_t n = 1; n <= N; n += BATCH_STEP)
                for (size_t first = 0; first < N; first += n == N ? PLACE_STEP : 2)
                    check_batch(many, utterances, n, first, alone);
            predict_alone(again, many, utterances); /* nothing was left behind */
            CHECK(memcmp(again, alone, sizeof alone) == 0);
            affect_predictor_close(single);
            affect_predictor_close(many);
        }
    }
    CHECK(memcmp(alone[0], alone[1], sizeof alone[0]) != 0);
    for (int i = 0; i < N; i++) free_utterance(&utterances[i]);
}

/* Bad ones between good ones: each hears its own reason, the others their usual bits. */
static void test_failures_are_ones_own(void) {
    utterance utterances[N];
    float alone[N][N_CLASSES];
    affect_prediction predictions[N];
    affect_features_input inputs[N];
    make_utterances(utterances);
    make_model(scratch_path("model.safetensors"), "paper-optimized", 2);
    affect_predictor *predictor = open_predictor(scratch_path("model.safetensors"), 2, N);
    predict_alone(alone, predictor, utterances);
    for (int i = 0; i < N; i++) inputs[i] = utterances[i].input;
    inputs[0] = (affect_features_input){0};
    affect_features_input_set(&inputs[2], "audio", (affect_source){.data = "no sound", .size = 8});
    affect_features_input_set(&inputs[3], "mocap_face",
                              affect_features_input_find(&inputs[3], "mocap_head"));
    CHECK_OK(affect_predictor_run_batch(predictor, predictions, inputs, N, err));
    CHECK(predictions[0].status == AFFECT_STATUS_INVALID);
    CHECK(strstr(predictions[0].error.message, "no stream") != NULL);
    CHECK(predictions[2].status == AFFECT_STATUS_MALFORMED);
    CHECK(strncmp(predictions[2].error.message, "audio: ", 7) == 0);
    CHECK(predictions[3].status == AFFECT_STATUS_MALFORMED);
    CHECK(strstr(predictions[3].error.message, "face") != NULL);
    for (int i = 1; i < N; i += i == 1 ? 3 : 1) {
        CHECK(predictions[i].status == AFFECT_STATUS_OK);
        CHECK(memcmp(predictions[i].probabilities, alone[i], sizeof alone[i]) == 0);
    }
    CHECK(predictions[4].qualities[1].present); /* after the sound: the face */
    CHECK(!predictions[4].qualities[3].present);
    for (int i = 0; i < N; i++) inputs[i] = (affect_features_input){0};
    CHECK_OK(affect_predictor_run_batch(predictor, predictions, inputs, N, err));
    CHECK(predictions[5].status == AFFECT_STATUS_INVALID);
    affect_predictor_close(predictor);
    for (int i = 0; i < N; i++) free_utterance(&utterances[i]);
}

static void test_answer(void) {
    utterance u;
    affect_json *answer = NULL;
    make_utterance(&u, 1, 16000, 5);
    make_model(scratch_path("model.safetensors"), "paper-optimized", 2);
    affect_predictor *predictor = open_predictor(scratch_path("model.safetensors"), 1, 1);
    affect_features_input_set(&u.input, motion_parts[AFFECT_MOCAP_HAND], (affect_source){0});
    CHECK_OK(affect_predictor_run(predictor, &answer, &u.input, false, err));
    const affect_json *probabilities = affect_json_get(answer, "probabilities");
    double sum = 0;
    for (const affect_json *p = affect_json_first(probabilities); p; p = affect_json_next(p))
        sum += affect_json_number(p, 0);
    CHECK_NEAR(sum, 1, 1e-6);
    CHECK(affect_json_size(probabilities) == N_CLASSES);
    CHECK(affect_json_size(affect_json_get(answer, "streams")) == 4);
    CHECK_STRING(affect_json_string(affect_json_at(affect_json_get(answer, "warnings"), 0), ""),
                 "hand: absent: taken as missing");
    affect_json_free(answer);
    affect_predictor_close(predictor);
    free_utterance(&u);
}

static affect_status predict_one(affect_predictor *predictor, const affect_features_input *input,
                                 affect_prediction *prediction) {
    CHECK_OK(affect_predictor_run_batch(predictor, prediction, input, 1, err));
    return prediction->status;
}

static double seconds_of_sound(const affect_prediction *prediction) {
    return ((const affect_audio_quality *)prediction->qualities[0].record)->seconds;
}

/* Files of a whole dialog: the sound has a window of its own, and both windows are the bits of the
 * files cut beforehand. */
static void test_windows(void) {
    utterance u;
    affect_prediction prediction;
    float whole[N_CLASSES];
    make_utterance(&u, 3, 16000, 5);
    make_model(scratch_path("model.safetensors"), "paper-optimized", 2);
    affect_predictor *predictor = open_predictor(scratch_path("model.safetensors"), 1, 1);
    affect_features_input input = u.input;
    input.windows[AUDIO_WINDOW] = (affect_time_window){true, 1, 2};
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_OK);
    CHECK_NEAR(seconds_of_sound(&prediction), 1, 1e-9);
    memcpy(whole, prediction.probabilities, sizeof whole);
    input.windows[AUDIO_WINDOW].end_s = HUGE_VAL;
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_OK);
    CHECK_NEAR(seconds_of_sound(&prediction), 2, 1e-9);
    CHECK(memcmp(whole, prediction.probabilities, sizeof whole) != 0);

    input = u.input; /* the sound of the dialog beside an utterance's motion */
    input.windows[MOTION_WINDOW] = (affect_time_window){true, 1, 2};
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    CHECK(strstr(prediction.error.message, "audio_start") != NULL);
    input.windows[MOTION_WINDOW].end_s = HUGE_VAL; /* open: 2 s of rows */
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    input.windows[MOTION_WINDOW].start_s = 0.4;
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_OK);
    input.windows[MOTION_WINDOW] = input.windows[AUDIO_WINDOW] = (affect_time_window){true, 1, 2};
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_OK);

    static const affect_time_window wrong[] = {
        {true, -1, 1}, {true, 2, 2}, {true, 2, 1}, {true, NAN, 1}, {true, 0, NAN}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        input.windows[AUDIO_WINDOW] = wrong[i];
        CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    }
    input.windows[AUDIO_WINDOW] = (affect_time_window){true, 1e300, HUGE_VAL};
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_MALFORMED);
    affect_predictor_close(predictor);
    free_utterance(&u);
}

/* No label comes from nothing. */
static void test_motion_without_a_value(void) {
    utterance u;
    affect_prediction prediction;
    make_utterance(&u, 1, 16000, 5);
    make_model(scratch_path("model.safetensors"), "paper-optimized", 2);
    affect_predictor *predictor = open_predictor(scratch_path("model.safetensors"), 1, 1);
    affect_features_input input = u.input;
    input.windows[MOTION_WINDOW] = (affect_time_window){true, 100, 200};
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_OK); /* the sound is there */
    affect_features_input_set(&input, "audio", (affect_source){0});
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    CHECK(strstr(prediction.error.message, "no stream has a value in its window") != NULL);
    input = (affect_features_input){0};
    affect_features_input_set(&input, motion_parts[AFFECT_MOCAP_HEAD],
                              (affect_source){.data = "Frame# Time\n", .size = 12});
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    affect_features_input_set(&input, motion_parts[AFFECT_MOCAP_HEAD],
                              (affect_source){.data = "1 0 NaN NaN NaN NaN NaN NaN\n", .size = 28});
    CHECK(predict_one(predictor, &input, &prediction) == AFFECT_STATUS_INVALID);
    affect_predictor_close(predictor);
    free_utterance(&u);
}

static void test_options(void) {
    affect_predictor *predictor = NULL;
    affect_predictor_options options = {
        .device = "cpu", .n_threads = 1, .max_batch = AFFECT_PREDICTOR_MAX_BATCH + 1};
    affect_error error = {0};
    CHECK(affect_predictor_open(&predictor, "model", &options, &error) == AFFECT_STATUS_INVALID);
    CHECK(predictor == NULL && strstr(error.message, "1..64") != NULL);
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_same_bits_in_any_company);
    TEST_RUN(test_failures_are_ones_own);
    TEST_RUN(test_answer);
    TEST_RUN(test_windows);
    TEST_RUN(test_motion_without_a_value);
    TEST_RUN(test_options);
    scratch_end();
    return TEST_END();
}
