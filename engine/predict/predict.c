/* Predictions; see predict.h.
 *
 * A batch is read stream by stream: item 4 i + s is stream s of utterance i, and the pool's threads
 * take contiguous ranges of the items. Motion goes straight to its row of the network's input,
 * sound by way of the thread's extractor. Rows of utterances that failed are then closed up. */
#include "engine/predict/predict.h"

#include "engine/core/clock.h"
#include "engine/core/parallel.h"
#include "engine/dataset/normalizer.h"
#include "engine/model/model_file.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS     8
#define WINDOW_SLACK_S 0.5 /* that a sound may be longer than the motion it comes with */

/* The order puts the two long ones, sound and face, into different halves. */
enum { STREAM_AUDIO, STREAM_HAND, STREAM_HEAD, STREAM_FACE, N_STREAMS };

/* One utterance while it is read. */
typedef struct {
    affect_features_input input; /* without the streams that the model does not use */
    affect_motion_features motion;
    uint8_t *missing; /* owned by the predictor */
    affect_error errors[N_STREAMS];
} reading;

struct affect_predictor {
    affect_model *model;
    affect_backend *backend;
    affect_session *session;
    affect_parallel *pool;
    affect_feature_extractor **extractors; /* (n_threads) */
    int n_threads;
    affect_feature_sizes sizes;
    affect_normalizer normalizer;
    bool uses_audio, uses_motion;
    size_t n_inputs, n_classes, max_batch;
    size_t row_sizes[MAX_INPUTS]; /* values of an utterance */
    bool is_mel[MAX_INPUTS];
    float *inputs[MAX_INPUTS];      /* (max_batch, row size) */
    float *motion;                  /* the first motion input, or NULL */
    size_t motion_size;             /* values of an utterance */
    uint8_t *missing;               /* (max_batch, motion_size) */
    float *probabilities;           /* (max_batch, n_classes) */
    reading *readings;              /* (max_batch) */
    affect_prediction *predictions; /* of the running batch; borrowed */
};

void affect_predictor_options_default(affect_predictor_options *options) {
    *options = (affect_predictor_options){
        .device = "auto", .precision = AFFECT_PRECISION_AUTO, .max_batch = 1};
}

static const affect_architecture *architecture_of(const affect_predictor *predictor) {
    return affect_model_architecture(predictor->model);
}

const affect_json *affect_predictor_labels(const affect_predictor *predictor) {
    return affect_model_metadata(predictor->model, "labels");
}

bool affect_predictor_uses_audio(const affect_predictor *predictor) {
    return predictor->uses_audio;
}

bool affect_predictor_uses_motion(const affect_predictor *predictor) {
    return predictor->uses_motion;
}

/* ---- Opening ---- */

static affect_status make_extractors(affect_predictor *predictor, affect_error *err) {
    affect_feature_config config;
    affect_feature_config_default(&config);
    const affect_json *json = affect_model_metadata(predictor->model, "feature_config");
    if (!json) return affect_fail(err, MALFORMED, "the model file has no feature_config");
    AFFECT_TRY(affect_feature_config_parse(&config, json, "", err));
    affect_feature_sizes have = affect_feature_config_sizes(&config);
    affect_sizes need = affect_architecture_sizes(architecture_of(predictor));
    bool fits =
        (!predictor->uses_audio || (have.n_frames == need.frames && have.n_mels == need.mels)) &&
        (!predictor->uses_motion || (have.n_parts == need.parts && have.n_columns == need.columns));
    if (!fits)
        return affect_fail(err, MALFORMED, "the model's feature_config does not fit its network");
    predictor->sizes = have;
    predictor->n_threads = affect_parallel_n_threads(predictor->pool);
    predictor->extractors = calloc((size_t)predictor->n_threads, sizeof *predictor->extractors);
    if (!predictor->extractors) return affect_fail(err, NO_MEMORY, "no memory for extractors");
    for (int t = 0; t < predictor->n_threads; t++)
        AFFECT_TRY(affect_feature_extractor_create(&predictor->extractors[t], &config, err));
    return AFFECT_STATUS_OK;
}

static void make_input(affect_predictor *predictor, size_t i) {
    const affect_input *input = affect_architecture_input(architecture_of(predictor), i);
    size_t size = affect_shape_count(input->shape);
    bool mel = strcmp(input->feature, "mel") == 0;
    predictor->row_sizes[i] = size;
    predictor->is_mel[i] = mel;
    predictor->inputs[i] = calloc(predictor->max_batch * size, sizeof(float));
    predictor->uses_audio |= mel;
    predictor->uses_motion |= !mel;
    if (mel || predictor->motion) return;
    predictor->motion = predictor->inputs[i];
    predictor->motion_size = size;
    predictor->missing = calloc(predictor->max_batch, size);
}

static affect_status make_inputs(affect_predictor *predictor, affect_error *err) {
    size_t n = predictor->max_batch;
    predictor->n_inputs = affect_architecture_n_inputs(architecture_of(predictor));
    predictor->n_classes = affect_architecture_sizes(architecture_of(predictor)).classes;
    if (predictor->n_inputs > MAX_INPUTS)
        return affect_fail(err, UNSUPPORTED, "%zu inputs (at most %d)", predictor->n_inputs,
                           MAX_INPUTS);
    predictor->probabilities = calloc(n * predictor->n_classes, sizeof *predictor->probabilities);
    predictor->readings = calloc(n, sizeof *predictor->readings);
    bool complete = predictor->probabilities && predictor->readings;
    for (size_t i = 0; i < predictor->n_inputs; i++) {
        make_input(predictor, i);
        complete = complete && predictor->inputs[i];
    }
    if (predictor->uses_motion) complete = complete && predictor->missing;
    if (!complete) return affect_fail(err, NO_MEMORY, "no memory for %zu predictions", n);
    return AFFECT_STATUS_OK;
}

static affect_status open_all(affect_predictor *predictor, const char *model_path,
                              const affect_predictor_options *options, affect_error *err) {
    AFFECT_TRY(affect_model_open(&predictor->model, model_path, err));
    AFFECT_TRY(affect_parallel_create(&predictor->pool, options->n_threads, err));
    AFFECT_TRY(make_inputs(predictor, err));
    AFFECT_TRY(make_extractors(predictor, err));
    if (affect_json_size(affect_predictor_labels(predictor)) != predictor->n_classes)
        return affect_fail(err, MALFORMED, "%s: labels and classes differ", model_path);
    AFFECT_TRY(affect_normalizer_from_json(
        &predictor->normalizer, affect_model_metadata(predictor->model, "normalizer"), err));
    AFFECT_TRY(affect_backend_open(&predictor->backend,
                                   (affect_backend_options){.device = options->device,
                                                            .n_threads = options->n_threads,
                                                            .precision = options->precision},
                                   err));
    affect_session_options session = {.max_batch = predictor->max_batch};
    AFFECT_TRY(affect_session_create(&predictor->session, predictor->backend,
                                     architecture_of(predictor), session, err));
    return affect_model_load(predictor->model, predictor->session, err);
}

affect_status affect_predictor_open(affect_predictor **predictor, const char *model_path,
                                    const affect_predictor_options *options, affect_error *err) {
    affect_predictor_options defaults;
    affect_predictor_options_default(&defaults);
    if (!options) options = &defaults;
    if (options->max_batch < 1 || options->max_batch > AFFECT_PREDICTOR_MAX_BATCH)
        return affect_fail(err, INVALID, "%zu predictions at once (need 1..%d)", options->max_batch,
                           AFFECT_PREDICTOR_MAX_BATCH);
    affect_predictor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a predictor");
    made->max_batch = options->max_batch;
    affect_status status = open_all(made, model_path, options, err);
    if (status != AFFECT_STATUS_OK) {
        affect_predictor_close(made);
        return status;
    }
    *predictor = made;
    return AFFECT_STATUS_OK;
}

void affect_predictor_close(affect_predictor *predictor) {
    if (!predictor) return;
    affect_session_free(predictor->session);
    affect_backend_free(predictor->backend);
    for (int t = 0; predictor->extractors && t < predictor->n_threads; t++)
        affect_feature_extractor_free(predictor->extractors[t]);
    free(predictor->extractors);
    affect_parallel_free(predictor->pool);
    affect_model_close(predictor->model);
    for (size_t i = 0; i < predictor->n_inputs; i++) free(predictor->inputs[i]);
    free(predictor->missing);
    free(predictor->readings);
    free(predictor->probabilities);
    free(predictor);
}

/* ---- Features ---- */

static affect_status check_window(affect_time_window window, const char *prefix,
                                  affect_error *err) {
    if (!window.limited || (window.start_s >= 0 && window.end_s > window.start_s))
        return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "%sstart %g, %send %g: need 0 <= start < end", prefix,
                       window.start_s, prefix, window.end_s);
}

/* What of the input the model uses; INVALID when nothing is left. */
static affect_status choose_streams(const affect_predictor *predictor, affect_features_input *used,
                                    const affect_features_input *input, affect_error *err) {
    *used = *input;
    AFFECT_TRY(check_window(input->motion_window, "", err));
    AFFECT_TRY(check_window(input->audio_window, "audio_", err));
    if (!predictor->uses_audio) used->audio = (affect_source){0};
    bool present = !affect_source_is_absent(used->audio);
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++) {
        if (!predictor->uses_motion) used->motion[k] = (affect_source){0};
        present |= !affect_source_is_absent(used->motion[k]);
    }
    if (present) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "no stream that the model uses was given (it uses %s)",
                       !predictor->uses_motion  ? "audio"
                       : !predictor->uses_audio ? "mocap_face, mocap_head, mocap_hand"
                                                : "audio, mocap_face, mocap_head, mocap_hand");
}

static void begin_utterance(affect_predictor *predictor, size_t i,
                            const affect_features_input *input) {
    reading *r = &predictor->readings[i];
    affect_prediction *prediction = &predictor->predictions[i];
    *prediction = (affect_prediction){0};
    memset(r->errors, 0, sizeof r->errors);
    if (predictor->motion) {
        r->motion.motion = predictor->motion + i * predictor->motion_size;
        r->motion.missing = predictor->missing + i * predictor->motion_size;
        affect_features_clear_motion(predictor->extractors[0], &r->motion);
    }
    choose_streams(predictor, &r->input, input, &prediction->error);
}

static affect_status read_sound(affect_predictor *predictor, size_t i, int thread,
                                affect_error *err) {
    affect_feature_extractor *extractor = predictor->extractors[thread];
    affect_audio_features audio;
    const affect_features_input *input = &predictor->readings[i].input;
    AFFECT_TRY(
        affect_features_read_audio(extractor, &audio, input->audio, input->audio_window, err));
    predictor->predictions[i].audio = audio.quality;
    for (size_t k = 0; k < predictor->n_inputs; k++)
        if (predictor->is_mel[k])
            affect_features_fill_mel(extractor, predictor->inputs[k] + i * predictor->row_sizes[k],
                                     &audio);
    return AFFECT_STATUS_OK;
}

static affect_status read_stream(affect_predictor *predictor, size_t i, int stream, int thread,
                                 affect_error *err) {
    static const affect_mocap_kind kinds[N_STREAMS] = {[STREAM_HAND] = AFFECT_MOCAP_HAND,
                                                       [STREAM_HEAD] = AFFECT_MOCAP_HEAD,
                                                       [STREAM_FACE] = AFFECT_MOCAP_FACE};
    reading *r = &predictor->readings[i];
    if (stream == STREAM_AUDIO) return read_sound(predictor, i, thread, err);
    if (!predictor->uses_motion) return AFFECT_STATUS_OK;
    return affect_features_read_motion(predictor->extractors[thread], &r->motion,
                                       &r->input.motion_window, 1, kinds[stream],
                                       r->input.motion[kinds[stream]], NULL, err);
}

/* Items of one thread. Streams of an utterance write apart: other columns, other qualities. */
static void read_items(void *context, size_t begin, size_t end, int thread) {
    affect_predictor *predictor = context;
    for (size_t item = begin; item < end; item++) {
        size_t i = item / N_STREAMS;
        int stream = (int)(item % N_STREAMS);
        if (predictor->predictions[i].error.status != AFFECT_STATUS_OK) continue;
        read_stream(predictor, i, stream, thread, &predictor->readings[i].errors[stream]);
    }
}

static bool has_data(const affect_motion_quality *quality) {
    return quality->n_rows > 0 && quality->missing < 1;
}

/* Seconds of the motion's window; where its end is open, of the rows in it. */
static double window_seconds(const reading *r) {
    affect_time_window window = r->input.motion_window;
    double seconds = 0;
    if (isfinite(window.end_s)) return window.end_s - window.start_s;
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++)
        if (r->motion.quality[k].seconds > seconds) seconds = r->motion.quality[k].seconds;
    return seconds > 0 ? seconds : HUGE_VAL;
}

/* A label needs something to come from, and the streams must be of one utterance: a recording much
 * longer than the motion's window is that of the dialog, uncut. */
static affect_status check_streams(const affect_predictor *predictor, size_t i, affect_error *err) {
    const reading *r = &predictor->readings[i];
    const affect_audio_quality *audio = &predictor->predictions[i].audio;
    bool any = audio->present;
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++) any |= has_data(&r->motion.quality[k]);
    if (!any)
        return affect_fail(err, INVALID,
                           "nothing to classify: the motion has no values%s, and there is no sound",
                           r->input.motion_window.limited ? " between start and end" : "");
    if (!audio->present || !r->input.motion_window.limited || r->input.audio_window.limited)
        return AFFECT_STATUS_OK;
    double window_s = window_seconds(r);
    if (audio->seconds <= window_s + WINDOW_SLACK_S) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID,
                       "audio: has %.2f s where start and end leave %.2f s of the motion (cut a "
                       "recording of the whole dialog with audio_start and audio_end)",
                       audio->seconds, window_s);
}

/* After the streams: the first error, in the order that users name them, or a normalised row. */
static affect_status end_utterance(affect_predictor *predictor, size_t i) {
    static const int order[N_STREAMS] = {STREAM_AUDIO, STREAM_FACE, STREAM_HEAD, STREAM_HAND};
    reading *r = &predictor->readings[i];
    affect_prediction *prediction = &predictor->predictions[i];
    for (int s = 0; s < N_STREAMS && prediction->error.status == AFFECT_STATUS_OK; s++)
        if (r->errors[order[s]].status != AFFECT_STATUS_OK) prediction->error = r->errors[order[s]];
    if (prediction->error.status == AFFECT_STATUS_OK)
        check_streams(predictor, i, &prediction->error);
    prediction->status = prediction->error.status;
    if (prediction->status != AFFECT_STATUS_OK || !predictor->motion) return prediction->status;
    memcpy(prediction->motion, r->motion.quality, sizeof prediction->motion);
    affect_normalizer_apply(&predictor->normalizer, r->motion.motion, r->motion.missing,
                            predictor->sizes.n_parts);
    return AFFECT_STATUS_OK;
}

/* Moves utterance i's rows to place `row`, and copies motion to any further input that takes it. */
static void place_rows(affect_predictor *predictor, size_t row, size_t i) {
    for (size_t k = 0; k < predictor->n_inputs; k++) {
        size_t size = predictor->row_sizes[k];
        const float *from = (predictor->is_mel[k] ? predictor->inputs[k] : predictor->motion);
        float *to = predictor->inputs[k] + row * size;
        if (to != from + i * size) memmove(to, from + i * size, size * sizeof *to);
    }
}

/* Features of all; the number of utterances that the network is to see, in the first rows. */
static size_t read_batch(affect_predictor *predictor, const affect_features_input *inputs,
                         size_t n) {
    size_t n_rows = 0;
    for (size_t i = 0; i < n; i++) begin_utterance(predictor, i, &inputs[i]);
    affect_parallel_for(predictor->pool, n * N_STREAMS, read_items, predictor);
    for (size_t i = 0; i < n; i++)
        if (end_utterance(predictor, i) == AFFECT_STATUS_OK) place_rows(predictor, n_rows++, i);
    return n_rows;
}

/* ---- Running ---- */

static void hand_out(affect_predictor *predictor, size_t n, double features_s, double network_s) {
    const float *row = predictor->probabilities;
    for (size_t i = 0; i < n; i++) {
        affect_prediction *prediction = &predictor->predictions[i];
        if (prediction->status != AFFECT_STATUS_OK) continue;
        prediction->probabilities = row;
        prediction->features_s = features_s;
        prediction->network_s = network_s;
        bool finite = true;
        for (size_t c = 0; c < predictor->n_classes; c++) finite &= isfinite(row[c]) != 0;
        if (!finite)
            prediction->status =
                affect_fail(&prediction->error, DIVERGED, "the model's answer is not a number");
        row += predictor->n_classes;
    }
}

affect_status affect_predictor_run_batch(affect_predictor *predictor,
                                         affect_prediction *predictions,
                                         const affect_features_input *inputs, size_t n,
                                         affect_error *err) {
    assert(n >= 1 && n <= predictor->max_batch);
    double started = affect_clock_seconds();
    predictor->predictions = predictions;
    size_t n_rows = read_batch(predictor, inputs, n);
    double extracted = affect_clock_seconds();
    if (n_rows > 0)
        AFFECT_TRY(affect_session_predict(predictor->session, predictor->probabilities,
                                          (const float *const *)predictor->inputs, n_rows, err));
    hand_out(predictor, n, extracted - started, affect_clock_seconds() - extracted);
    return AFFECT_STATUS_OK;
}
