/* Predictions; see predict.h.
 *
 * A batch is read stream by stream: item n i + k is the k-th stream of utterance i, in the order of
 * reading, and the pool's threads take contiguous ranges of the items. Features that are not ragged
 * go straight to their rows of the network's input, ragged ones by way of the thread's extractor.
 * Rows of utterances that failed are then closed up. */
#include "engine/predict/predict.h"

#include "engine/core/clock.h"
#include "engine/core/parallel.h"
#include "engine/dataset/normalizer.h"
#include "engine/evaluation/temperature.h"
#include "engine/model/model_file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS     8
#define MAX_STREAMS    AFFECT_MAX_INPUT_STREAMS
#define WINDOW_SLACK_S 0.5 /* that a recording may be longer than what it comes with */

/* A feature that the model reads. */
typedef struct {
    const affect_feature *feature; /* of the extractors' sizes */
    size_t index;                  /* in them */
    size_t input;                  /* the first that reads it */
    const affect_scaling *scaling; /* or NULL */
    uint8_t *missing;              /* not ragged: (max_batch, shape) */
} used_feature;

typedef struct {
    affect_stream stream;
    size_t feature; /* of the used ones */
    size_t index;   /* within it */
} used_stream;

/* One utterance while it is read. */
typedef struct {
    affect_source sources[MAX_STREAMS];
    affect_time_window windows[AFFECT_MAX_FEATURES]; /* of each used feature */
    affect_extracted extracted[AFFECT_MAX_FEATURES];
    affect_error errors[MAX_STREAMS];
} reading;

struct affect_predictor {
    affect_model *model;
    affect_backend *backend;
    affect_session *session;
    affect_parallel *pool;
    affect_feature_extractor **extractors; /* (n_threads) */
    int n_threads;
    affect_normalizer normalizer;
    used_feature features[AFFECT_MAX_FEATURES];
    used_stream streams[MAX_STREAMS];
    size_t n_features, n_streams;
    size_t n_inputs, n_classes, max_batch;
    size_t row_sizes[MAX_INPUTS];   /* values of an utterance */
    size_t sources[MAX_INPUTS];     /* the first input of the same feature */
    float *inputs[MAX_INPUTS];      /* (max_batch, row size) */
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

bool affect_predictor_stream(affect_predictor_source *source, const affect_predictor *predictor,
                             size_t i) {
    if (i >= predictor->n_streams) return false;
    const used_stream *stream = &predictor->streams[i];
    source->stream = stream->stream;
    source->modality = predictor->features[stream->feature].feature->modality;
    return true;
}

/* ---- Opening ---- */

static affect_status make_extractors(affect_predictor *predictor, affect_error *err) {
    affect_feature_config config;
    const affect_json *json = affect_model_metadata(predictor->model, "feature_config");
    if (!json) return affect_fail(err, MALFORMED, "the model file has no feature_config");
    AFFECT_TRY(affect_feature_config_parse(&config, json, "", err));
    predictor->n_threads = affect_parallel_n_threads(predictor->pool);
    predictor->extractors = calloc((size_t)predictor->n_threads, sizeof *predictor->extractors);
    if (!predictor->extractors) return affect_fail(err, NO_MEMORY, "no memory for extractors");
    for (int t = 0; t < predictor->n_threads; t++)
        AFFECT_TRY(affect_feature_extractor_create(&predictor->extractors[t], &config, err));
    return AFFECT_STATUS_OK;
}

/* Takes a feature that inputs read, the first of them `input`. */
static affect_status use_feature(affect_predictor *predictor, const affect_feature *feature,
                                 size_t index, size_t input, affect_error *err) {
    used_feature *to = &predictor->features[predictor->n_features];
    *to = (used_feature){.feature = feature,
                         .index = index,
                         .input = input,
                         .scaling = affect_normalizer_find(&predictor->normalizer, feature->name)};
    for (size_t s = 0; s < affect_feature_n_streams(feature); s++)
        predictor->streams[predictor->n_streams++] =
            (used_stream){affect_feature_stream(feature, s), predictor->n_features, s};
    predictor->n_features++;
    if (feature->modality->is_ragged) return AFFECT_STATUS_OK;
    to->missing = calloc(predictor->max_batch, affect_shape_count(feature->shape));
    return to->missing ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for a mask");
}

/* Features in the order of the config, whatever that of the inputs. */
static affect_status use_features(affect_predictor *predictor, affect_error *err) {
    const affect_architecture *architecture = architecture_of(predictor);
    const affect_sizes *sizes = affect_feature_extractor_sizes(predictor->extractors[0]);
    size_t n_found = 0;
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_feature *have = &sizes->features[f];
        size_t first = predictor->n_inputs;
        for (size_t i = predictor->n_inputs; i-- > 0;) {
            const affect_feature *need = &affect_architecture_input(architecture, i)->feature;
            if (strcmp(need->name, have->name) != 0) continue;
            n_found += affect_shape_equal(need->shape, have->shape);
            first = i;
        }
        for (size_t i = first; i < predictor->n_inputs; i++)
            if (!strcmp(affect_architecture_input(architecture, i)->feature.name, have->name))
                predictor->sources[i] = first;
        if (first < predictor->n_inputs) AFFECT_TRY(use_feature(predictor, have, f, first, err));
    }
    if (n_found == predictor->n_inputs) return AFFECT_STATUS_OK;
    return affect_fail(err, MALFORMED, "the model's feature_config does not fit its network");
}

static affect_status make_inputs(affect_predictor *predictor, affect_error *err) {
    const affect_architecture *architecture = architecture_of(predictor);
    size_t n = predictor->max_batch, n_inputs = affect_architecture_n_inputs(architecture);
    predictor->n_classes = affect_architecture_sizes(architecture)->n_classes;
    if (n_inputs > MAX_INPUTS)
        return affect_fail(err, UNSUPPORTED, "%zu inputs (at most %d)", n_inputs, MAX_INPUTS);
    predictor->n_inputs = n_inputs;
    predictor->probabilities = calloc(n * predictor->n_classes, sizeof *predictor->probabilities);
    predictor->readings = calloc(n, sizeof *predictor->readings);
    bool complete = predictor->probabilities && predictor->readings;
    for (size_t i = 0; i < n_inputs; i++) {
        const affect_feature *feature = &affect_architecture_input(architecture, i)->feature;
        predictor->row_sizes[i] = affect_shape_count(feature->shape);
        predictor->inputs[i] = calloc(n * predictor->row_sizes[i], sizeof(float));
        complete = complete && predictor->inputs[i];
    }
    if (!complete) return affect_fail(err, NO_MEMORY, "no memory for %zu predictions", n);
    return use_features(predictor, err);
}

static affect_status open_all(affect_predictor *predictor, const char *model_path,
                              const affect_predictor_options *options, affect_error *err) {
    AFFECT_TRY(affect_model_open(&predictor->model, model_path, err));
    AFFECT_TRY(affect_parallel_create(&predictor->pool, options->n_threads, err));
    AFFECT_TRY(make_extractors(predictor, err));
    AFFECT_TRY(affect_normalizer_from_json(
        &predictor->normalizer, affect_architecture_sizes(architecture_of(predictor)),
        affect_model_metadata(predictor->model, "normalizer"), err));
    AFFECT_TRY(make_inputs(predictor, err));
    if (affect_json_size(affect_predictor_labels(predictor)) != predictor->n_classes)
        return affect_fail(err, MALFORMED, "%s: labels and classes differ", model_path);
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
    for (size_t f = 0; f < predictor->n_features; f++) free(predictor->features[f].missing);
    affect_normalizer_free(&predictor->normalizer);
    free(predictor->readings);
    free(predictor->probabilities);
    free(predictor);
}

/* ---- Features ---- */

static affect_status check_windows(const affect_features_input *input, affect_error *err) {
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        affect_time_window window = input->windows[i];
        if (!window.limited || (window.start_s >= 0 && window.end_s > window.start_s)) continue;
        return affect_fail(err, INVALID, "%s %g, %s %g: need 0 <= %s < %s", m->window[0],
                           window.start_s, m->window[1], window.end_s, m->window[0], m->window[1]);
    }
    return AFFECT_STATUS_OK;
}

/* "audio, mocap_face, ...": the parts that the model reads. */
static const char *used_parts(char text[400], const affect_predictor *predictor) {
    size_t used = 0;
    for (size_t s = 0; s < predictor->n_streams && used < 400; s++)
        used += (size_t)snprintf(text + used, 400 - used, "%s%s", s ? ", " : "",
                                 predictor->streams[s].stream.part);
    return text;
}

/* A part may be of a modality that the model does not use; of one that is named, the name is wrong.
 */
static affect_status check_parts(const affect_predictor *predictor,
                                 const affect_features_input *input, affect_error *err) {
    char parts[400];
    for (size_t p = 0; p < input->n_parts; p++) {
        const char *name = input->parts[p].name;
        const affect_modality *m = affect_modality_find(name);
        bool is_used = !m || !m->is_named || affect_source_is_absent(input->parts[p].source);
        for (size_t s = 0; s < predictor->n_streams && !is_used; s++)
            is_used = strcmp(predictor->streams[s].stream.part, name) == 0;
        if (!is_used)
            return affect_fail(err, INVALID, "%s: the model does not read it (it uses %s)", name,
                               used_parts(parts, predictor));
    }
    return AFFECT_STATUS_OK;
}

/* What of the input the model uses; INVALID when nothing is left. */
static affect_status choose_streams(const affect_predictor *predictor, reading *r,
                                    const affect_features_input *input, affect_error *err) {
    char parts[400];
    bool present = false;
    AFFECT_TRY(check_windows(input, err));
    AFFECT_TRY(check_parts(predictor, input, err));
    for (size_t f = 0; f < predictor->n_features; f++)
        r->windows[f] =
            input->windows[affect_modality_index(predictor->features[f].feature->modality)];
    for (size_t s = 0; s < predictor->n_streams; s++) {
        r->sources[s] = affect_features_input_find(input, predictor->streams[s].stream.part);
        present = present || !affect_source_is_absent(r->sources[s]);
    }
    if (present) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "no stream that the model uses was given (it uses %s)",
                       used_parts(parts, predictor));
}

static float *row_of(const affect_predictor *predictor, const used_feature *used, size_t i) {
    return predictor->inputs[used->input] + i * predictor->row_sizes[used->input];
}

static void begin_utterance(affect_predictor *predictor, size_t i,
                            const affect_features_input *input) {
    reading *r = &predictor->readings[i];
    affect_prediction *prediction = &predictor->predictions[i];
    *prediction = (affect_prediction){0};
    memset(r->errors, 0, sizeof r->errors);
    for (size_t f = 0; f < predictor->n_features; f++) {
        const used_feature *used = &predictor->features[f];
        r->extracted[f] = (affect_extracted){0};
        if (used->missing) {
            r->extracted[f].all = row_of(predictor, used, i);
            r->extracted[f].missing = used->missing + i * predictor->row_sizes[used->input];
        }
        affect_features_clear(predictor->extractors[0], used->index, &r->extracted[f]);
    }
    choose_streams(predictor, r, input, &prediction->error);
}

static affect_status read_stream(affect_predictor *predictor, size_t i, size_t s, int thread,
                                 affect_error *err) {
    reading *r = &predictor->readings[i];
    size_t f = predictor->streams[s].feature;
    const used_feature *used = &predictor->features[f];
    affect_feature_extractor *extractor = predictor->extractors[thread];
    const affect_stream_reading from = {.stream = predictor->streams[s].index,
                                        .source = r->sources[s],
                                        .windows = &r->windows[f],
                                        .n = 1};
    AFFECT_TRY(affect_features_read(extractor, used->index, &r->extracted[f], &from, err));
    if (used->feature->modality->is_ragged)
        affect_features_fill(extractor, used->index, row_of(predictor, used, i), &r->extracted[f]);
    return AFFECT_STATUS_OK;
}

/* Items of one thread. Streams of an utterance write apart: other columns, other qualities. The
 * first stream and then the others from behind: the two long ones, sound and face, are the first
 * two, and come into different halves. */
static void read_items(void *context, size_t begin, size_t end, int thread) {
    affect_predictor *predictor = context;
    size_t n = predictor->n_streams;
    for (size_t item = begin; item < end; item++) {
        size_t i = item / n, s = (n - item % n) % n;
        if (predictor->predictions[i].error.status != AFFECT_STATUS_OK) continue;
        read_stream(predictor, i, s, thread, &predictor->readings[i].errors[s]);
    }
}

static const affect_quality *quality_of(const affect_predictor *predictor, size_t i, size_t s) {
    const used_stream *stream = &predictor->streams[s];
    return &predictor->readings[i].extracted[stream->feature].quality[stream->index];
}

static const affect_extraction *extraction_of(const affect_predictor *predictor, size_t s) {
    return predictor->features[predictor->streams[s].feature].feature->modality->extraction;
}

/* Seconds of a feature's window; where its end is open, of its longest stream in it. */
static double window_seconds(const affect_predictor *predictor, size_t i, size_t f) {
    affect_time_window window = predictor->readings[i].windows[f];
    double longest = 0;
    if (isfinite(window.end_s)) return window.end_s - window.start_s;
    for (size_t s = 0; s < predictor->n_streams; s++) {
        if (predictor->streams[s].feature != f) continue;
        double seconds = extraction_of(predictor, s)->seconds(quality_of(predictor, i, s));
        if (seconds > longest) longest = seconds;
    }
    return longest > 0 ? longest : HUGE_VAL;
}

/* The streams must be of one utterance: a recording much longer than the window of another feature
 * is that of the dialog, uncut. */
static affect_status check_length(const affect_predictor *predictor, size_t i, size_t s,
                                  affect_error *err) {
    const reading *r = &predictor->readings[i];
    size_t own = predictor->streams[s].feature;
    const affect_modality *m = predictor->features[own].feature->modality;
    const affect_quality *quality = quality_of(predictor, i, s);
    if (!m->is_utterance_long || !quality->present || r->windows[own].limited)
        return AFFECT_STATUS_OK;
    double seconds = extraction_of(predictor, s)->seconds(quality);
    for (size_t f = 0; f < predictor->n_features; f++) {
        const affect_feature *other = predictor->features[f].feature;
        if (f == own || !r->windows[f].limited) continue;
        double window_s = window_seconds(predictor, i, f);
        if (seconds <= window_s + WINDOW_SLACK_S) continue;
        return affect_fail(err, INVALID,
                           "%s: has %.2f s where %s and %s leave %.2f s of the %s (cut a "
                           "recording of the whole dialog with %s and %s)",
                           predictor->streams[s].stream.part, seconds, other->modality->window[0],
                           other->modality->window[1], window_s, other->name, m->window[0],
                           m->window[1]);
    }
    return AFFECT_STATUS_OK;
}

/* A label needs something to come from. */
static affect_status check_streams(const affect_predictor *predictor, size_t i, affect_error *err) {
    bool any = false, limited = false;
    for (size_t s = 0; s < predictor->n_streams; s++)
        any |= extraction_of(predictor, s)->has_data(quality_of(predictor, i, s));
    for (size_t f = 0; f < predictor->n_features; f++)
        limited |= predictor->readings[i].windows[f].limited;
    if (!any)
        return affect_fail(err, INVALID, "nothing to classify: no stream has a value%s",
                           limited ? " in its window" : "");
    for (size_t s = 0; s < predictor->n_streams; s++)
        AFFECT_TRY(check_length(predictor, i, s, err));
    return AFFECT_STATUS_OK;
}

/* After the streams: the first error, in the order that users name them, or a normalised row. */
static affect_status end_utterance(affect_predictor *predictor, size_t i) {
    reading *r = &predictor->readings[i];
    affect_prediction *prediction = &predictor->predictions[i];
    for (size_t s = 0; s < predictor->n_streams; s++)
        if (prediction->error.status == AFFECT_STATUS_OK) prediction->error = r->errors[s];
    if (prediction->error.status == AFFECT_STATUS_OK)
        check_streams(predictor, i, &prediction->error);
    prediction->status = prediction->error.status;
    if (prediction->status != AFFECT_STATUS_OK) return prediction->status;
    for (size_t s = 0; s < predictor->n_streams; s++)
        prediction->qualities[s] = *quality_of(predictor, i, s);
    for (size_t f = 0; f < predictor->n_features; f++) {
        const used_feature *used = &predictor->features[f];
        bool is_ragged = used->feature->modality->is_ragged;
        affect_scaling_apply(used->scaling, row_of(predictor, used, i), r->extracted[f].missing,
                             is_ragged ? r->extracted[f].n_rows
                                       : affect_feature_n_rows(used->feature));
    }
    return AFFECT_STATUS_OK;
}

/* Moves utterance i's rows to place `row`, also of further inputs that read the same. */
static void place_rows(affect_predictor *predictor, size_t row, size_t i) {
    for (size_t k = 0; k < predictor->n_inputs; k++) {
        size_t size = predictor->row_sizes[k];
        const float *from = predictor->inputs[predictor->sources[k]] + i * size;
        float *to = predictor->inputs[k] + row * size;
        if (to != from) memmove(to, from, size * sizeof *to);
    }
}

/* Features of all; the number of utterances that the network is to see, in the first rows. */
static size_t read_batch(affect_predictor *predictor, const affect_features_input *inputs,
                         size_t n) {
    size_t n_rows = 0;
    for (size_t i = 0; i < n; i++) begin_utterance(predictor, i, &inputs[i]);
    affect_parallel_for(predictor->pool, n * predictor->n_streams, read_items, predictor);
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
        prediction->temperature = 0;
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

affect_status affect_predictor_calibrate(affect_predictor *predictor, affect_prediction *prediction,
                                         affect_error *err) {
    double temperature =
        affect_json_number(affect_model_metadata(predictor->model, "temperature"), 0);
    if (!(temperature > 0))
        return affect_fail(err, INVALID,
                           "calibrated: the model has no temperature; it was trained by an older "
                           "version");
    float *row = predictor->probabilities + (prediction->probabilities - predictor->probabilities);
    affect_temperature_apply(row, row, 1, predictor->n_classes, temperature);
    prediction->temperature = temperature;
    return AFFECT_STATUS_OK;
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
