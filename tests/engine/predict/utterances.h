/* A model file with random weights and made-up utterances, all from counters: what the tests and
 * the benchmark of engine/predict share. */
#ifndef AFFECT_TESTS_UTTERANCES_H
#define AFFECT_TESTS_UTTERANCES_H

#include "engine/core/buffer.h"
#include "engine/core/random.h"
#include "engine/modality/audio.h"
#include "engine/modality/mel.h"
#include "engine/modality/mocap_text.h"
#include "engine/modality/motion.h"
#include "engine/model/model_file.h"
#include "engine/predict/predict.h"
#include "tests/engine/core/scratch.h"

#include <math.h>

/* The metadata that a predictor reads. */
static inline affect_json *model_metadata(const affect_feature_config *config) {
    affect_json *metadata = affect_json_new_object();
    affect_json *labels = affect_json_set_array(metadata, "labels");
    static const char *const names[] = {"angry", "happy", "neutral", "sad"};
    for (int i = 0; i < 4; i++) affect_json_append(labels, affect_json_new_string(names[i]));
    affect_json_set(metadata, "feature_config", affect_feature_config_to_json(config));
    affect_json *motion =
        affect_json_set_object(affect_json_set_object(metadata, "normalizer"), "motion");
    affect_json *mean = affect_json_set_array(motion, "mean");
    affect_json *deviation = affect_json_set_array(motion, "deviation");
    for (int i = 0; i < AFFECT_MOTION_COLUMNS; i++) {
        affect_json_append(mean, affect_json_new_number(0));
        affect_json_append(deviation, affect_json_new_number(50));
    }
    return metadata;
}

/* Writes the preset's network at its full size, for clips of so many seconds. */
static inline void make_model(const char *path, const char *preset, double clip_seconds) {
    affect_feature_config config;
    affect_feature_config_default(&config);
    ((affect_mel_config *)affect_feature_config_find(&config, "mel"))->clip_seconds = clip_seconds;
    affect_sizes sizes = affect_feature_config_sizes(&config);
    sizes.n_classes = 4;
    affect_json *document = NULL, *metadata = model_metadata(&config);
    affect_architecture *architecture = NULL;
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    CHECK_OK(affect_architecture_preset(&document, preset, err));
    CHECK_OK(affect_architecture_create(&architecture, document, NULL, &sizes, err));
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    affect_session_options options = {.max_batch = 1};
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK_OK(affect_session_initialize(session, 3, err));
    CHECK_OK(affect_model_save(path, session, metadata, false, err));
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
    affect_json_free(document);
    affect_json_free(metadata);
}

static inline void put_number(affect_buffer *wav, uint32_t value, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes; i++)
        affect_buffer_append(wav, &(char){(char)(value >> 8 * i)}, 1);
}

/* 16-bit mono wav: a few partials with a slow envelope, and noise. */
static inline void make_wav(affect_buffer *wav, int rate_hz, double seconds, uint64_t seed) {
    uint32_t n = (uint32_t)(seconds * rate_hz);
    affect_buffer_append_string(wav, "RIFF");
    put_number(wav, 36 + 2 * n, 4);
    affect_buffer_append_string(wav, "WAVEfmt ");
    put_number(wav, 16, 4);
    put_number(wav, 1, 2);
    put_number(wav, 1, 2);
    put_number(wav, (uint32_t)rate_hz, 4);
    put_number(wav, (uint32_t)rate_hz * 2, 4);
    put_number(wav, 2, 2);
    put_number(wav, 16, 2);
    affect_buffer_append_string(wav, "data");
    put_number(wav, 2 * n, 4);
    affect_random_key key = {seed, 1};
    double pitch = 100 + 20 * (double)(seed % 10);
    for (uint32_t i = 0; i < n; i++) {
        double t = (double)i / rate_hz, value = 0;
        for (int k = 1; k <= 5; k++) value += sin(2 * M_PI * pitch * k * t) / k;
        value *= 0.1 + 0.1 * sin(2 * M_PI * 3 * t);
        value += 0.02 * ((double)affect_random_uniform(key, i) - 0.5);
        put_number(wav, (uint32_t)(int32_t)lround(value * 32767), 2);
    }
}

/* IEMOCAP's text at 120 rows a second; every 50th value is missing. */
static inline void make_motion(affect_buffer *text, affect_mocap_kind kind, double seconds,
                               uint64_t seed) {
    size_t n_columns = affect_mocap_n_columns(kind);
    affect_random_key key = {seed, 2 + (uint64_t)kind};
    affect_buffer_append_string(text, "Frame# Time values\n");
    for (size_t row = 0; row < (size_t)(seconds * 120); row++) {
        affect_buffer_printf(text, "%zu %.5f", row + 1, (double)row / 120);
        for (size_t c = 0; c < n_columns; c++) {
            size_t at = row * n_columns + c;
            double value = 400 * ((double)affect_random_uniform(key, at) - 0.5);
            if (at % 50 == 7)
                affect_buffer_append_string(text, " NaN");
            else
                affect_buffer_printf(text, " %.5f", value);
        }
        affect_buffer_append_string(text, "\n");
    }
}

static const char *const motion_parts[AFFECT_MOCAP_KIND_COUNT] = {
    [AFFECT_MOCAP_FACE] = "mocap_face",
    [AFFECT_MOCAP_HEAD] = "mocap_head",
    [AFFECT_MOCAP_HAND] = "mocap_hand"};
enum { AUDIO_WINDOW, MOTION_WINDOW }; /* of affect_features_input */

/* An utterance's files in memory. */
typedef struct {
    affect_buffer wav, motion[AFFECT_MOCAP_KIND_COUNT];
    affect_features_input input; /* borrows them */
} utterance;

static inline void make_utterance(utterance *u, double seconds, int rate_hz, uint64_t seed) {
    *u = (utterance){0};
    make_wav(&u->wav, rate_hz, seconds, seed);
    affect_features_input_set(&u->input, "audio",
                              (affect_source){.data = u->wav.data, .size = u->wav.size});
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++) {
        make_motion(&u->motion[k], (affect_mocap_kind)k, seconds, seed);
        affect_features_input_set(
            &u->input, motion_parts[k],
            (affect_source){.data = u->motion[k].data, .size = u->motion[k].size});
    }
}

static inline void free_utterance(utterance *u) {
    affect_buffer_free(&u->wav);
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++) affect_buffer_free(&u->motion[k]);
}

static inline affect_predictor *open_predictor(const char *path, int n_threads, size_t max_batch) {
    affect_predictor *predictor = NULL;
    affect_predictor_options options = {
        .device = "cpu", .n_threads = n_threads, .max_batch = max_batch};
    CHECK_OK(affect_predictor_open(&predictor, path, &options, err));
    return predictor;
}

#endif
