/* Predictions; see predict.h. */
#include "engine/predict/predict.h"

#include "engine/core/clock.h"
#include "engine/corpus/normalizer.h"
#include "engine/model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS 8

struct affect_predictor {
    affect_model *model;
    affect_backend *backend;
    affect_session *session;
    affect_feature_extractor *extractor;
    affect_normalizer normalizer;
    bool uses_audio, uses_motion;
    size_t n_inputs, n_classes;
    float *inputs[MAX_INPUTS];
    float *probabilities;
};

static const affect_architecture *architecture_of(const affect_predictor *predictor) {
    return affect_model_architecture(predictor->model);
}

static affect_status make_extractor(affect_predictor *predictor, affect_error *err) {
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
    return affect_feature_extractor_create(&predictor->extractor, &config, err);
}

static affect_status make_inputs(affect_predictor *predictor, affect_error *err) {
    const affect_architecture *architecture = architecture_of(predictor);
    predictor->n_inputs = affect_architecture_n_inputs(architecture);
    predictor->n_classes = affect_architecture_sizes(architecture).classes;
    if (predictor->n_inputs > MAX_INPUTS)
        return affect_fail(err, UNSUPPORTED, "%zu inputs (at most %d)", predictor->n_inputs,
                           MAX_INPUTS);
    predictor->probabilities = calloc(predictor->n_classes, sizeof *predictor->probabilities);
    bool complete = predictor->probabilities != NULL;
    for (size_t i = 0; i < predictor->n_inputs; i++) {
        const affect_input *input = affect_architecture_input(architecture, i);
        bool mel = strcmp(input->feature, "mel") == 0;
        predictor->uses_audio |= mel;
        predictor->uses_motion |= !mel;
        predictor->inputs[i] = calloc(affect_shape_count(input->shape), sizeof(float));
        complete = complete && predictor->inputs[i];
    }
    if (!complete) return affect_fail(err, NO_MEMORY, "no memory for a prediction");
    return AFFECT_STATUS_OK;
}

static affect_status open_all(affect_predictor *predictor, const char *model_path,
                              const char *device, int n_threads, affect_error *err) {
    AFFECT_TRY(affect_model_open(&predictor->model, model_path, err));
    AFFECT_TRY(make_inputs(predictor, err));
    AFFECT_TRY(make_extractor(predictor, err));
    if (affect_json_size(affect_model_metadata(predictor->model, "labels")) != predictor->n_classes)
        return affect_fail(err, MALFORMED, "%s: labels and classes differ", model_path);
    AFFECT_TRY(affect_normalizer_from_json(
        &predictor->normalizer, affect_model_metadata(predictor->model, "normalizer"), err));
    AFFECT_TRY(affect_backend_open(&predictor->backend, device, n_threads, err));
    affect_session_options options = {.max_batch = 1};
    AFFECT_TRY(affect_session_create(&predictor->session, predictor->backend,
                                     architecture_of(predictor), options, err));
    return affect_model_load(predictor->model, predictor->session, err);
}

affect_status affect_predictor_open(affect_predictor **predictor, const char *model_path,
                                    const char *device, int n_threads, affect_error *err) {
    affect_predictor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a predictor");
    affect_status status = open_all(made, model_path, device, n_threads, err);
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
    affect_feature_extractor_free(predictor->extractor);
    affect_model_close(predictor->model);
    for (size_t i = 0; i < predictor->n_inputs; i++) free(predictor->inputs[i]);
    free(predictor->probabilities);
    free(predictor);
}

static bool motion_is_absent(const affect_features_input *input) {
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++)
        if (!affect_source_is_absent(input->motion[k])) return false;
    return true;
}

static affect_status check_streams(const affect_predictor *predictor,
                                   const affect_features_input *input, affect_error *err) {
    bool audio = predictor->uses_audio && !affect_source_is_absent(input->audio);
    bool motion = predictor->uses_motion && !motion_is_absent(input);
    if (audio || motion) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "no stream that the model uses was given (it uses %s)",
                       !predictor->uses_motion  ? "audio"
                       : !predictor->uses_audio ? "mocap_face, mocap_head, mocap_hand"
                                                : "audio, mocap_face, mocap_head, mocap_hand");
}

static void fill_inputs(affect_predictor *predictor, const affect_features *features) {
    affect_feature_sizes sizes =
        affect_feature_config_sizes(affect_feature_extractor_config(predictor->extractor));
    for (size_t i = 0; i < predictor->n_inputs; i++) {
        float *to = predictor->inputs[i];
        if (strcmp(affect_architecture_input(architecture_of(predictor), i)->feature, "mel") == 0) {
            affect_features_fill_mel(predictor->extractor, to, &features->audio);
            continue;
        }
        memcpy(to, features->motion.motion, sizes.n_parts * sizes.n_columns * sizeof *to);
        affect_normalizer_apply(&predictor->normalizer, to, features->motion.missing,
                                sizes.n_parts);
    }
}

static void warn(affect_json *warnings, const char *stream, const char *text) {
    char line[160];
    snprintf(line, sizeof line, "%s: %s", stream, text);
    affect_json_append(warnings, affect_json_new_string(line));
}

static void describe_audio(affect_json *result, affect_json *warnings,
                           const affect_audio_quality *quality) {
    affect_json_set(affect_json_get(result, "streams"), "audio",
                    affect_audio_quality_to_json(quality));
    if (!quality->present) warn(warnings, "audio", "absent: taken as missing");
    if (quality->silent) warn(warnings, "audio", "silent");
    if (quality->truncated) warn(warnings, "audio", "truncated: longer than the model's clip");
}

static void describe_motion(affect_json *result, affect_json *warnings, affect_mocap_kind kind,
                            const affect_motion_quality *quality) {
    const char *name = affect_mocap_kind_name(kind);
    affect_json_set(affect_json_get(result, "streams"), name,
                    affect_motion_quality_to_json(quality));
    if (!quality->present)
        warn(warnings, name, "absent: taken as missing");
    else if (quality->n_rows == 0)
        warn(warnings, name, "no rows in the window: taken as missing");
    else if (quality->missing >= 1)
        warn(warnings, name, "no finite value: taken as missing");
    if (quality->n_rejected > 0) {
        char text[80];
        snprintf(text, sizeof text, "%zu malformed rows were skipped", quality->n_rejected);
        warn(warnings, name, text);
    }
}

static affect_json *describe(const affect_predictor *predictor, const affect_features *features) {
    const affect_json *labels = affect_model_metadata(predictor->model, "labels");
    affect_json *result = affect_json_new_object();
    size_t best = 0;
    for (size_t c = 1; c < predictor->n_classes; c++)
        if (predictor->probabilities[c] > predictor->probabilities[best]) best = c;
    affect_json_set_string(result, "label", affect_json_string(affect_json_at(labels, best), "?"));
    affect_json *probabilities = affect_json_set_object(result, "probabilities");
    for (size_t c = 0; c < predictor->n_classes; c++)
        affect_json_set_number(probabilities, affect_json_string(affect_json_at(labels, c), "?"),
                               (double)predictor->probabilities[c]);
    affect_json_set_object(result, "streams");
    affect_json *warnings = affect_json_set_array(result, "warnings");
    if (predictor->uses_audio) describe_audio(result, warnings, &features->audio.quality);
    for (int k = 0; predictor->uses_motion && k < AFFECT_MOCAP_KIND_COUNT; k++)
        describe_motion(result, warnings, (affect_mocap_kind)k, &features->motion.quality[k]);
    return result;
}

affect_status affect_predictor_run(affect_predictor *predictor, affect_json **result,
                                   const affect_features_input *input, affect_error *err) {
    double started = affect_clock_seconds();
    affect_features_input used = *input;
    if (!predictor->uses_audio) used.audio = (affect_source){0};
    for (int k = 0; !predictor->uses_motion && k < AFFECT_MOCAP_KIND_COUNT; k++)
        used.motion[k] = (affect_source){0};
    AFFECT_TRY(check_streams(predictor, &used, err));
    affect_features features;
    AFFECT_TRY(affect_features_extract(predictor->extractor, &features, &used, NULL, err));
    fill_inputs(predictor, &features);
    double extracted = affect_clock_seconds();
    AFFECT_TRY(affect_session_predict(predictor->session, predictor->probabilities,
                                      (const float *const *)predictor->inputs, 1, err));
    for (size_t c = 0; c < predictor->n_classes; c++)
        if (!isfinite(predictor->probabilities[c]))
            return affect_fail(err, DIVERGED, "the model's answer is not a number");
    double ended = affect_clock_seconds();
    affect_json *made = describe(predictor, &features);
    affect_json *timings = affect_json_set_object(made, "timings_ms");
    affect_json_set_number(timings, "features", round((extracted - started) * 1e6) / 1e3);
    affect_json_set_number(timings, "network", round((ended - extracted) * 1e6) / 1e3);
    affect_json_set_number(timings, "total", round((ended - started) * 1e6) / 1e3);
    *result = made;
    return made ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for the answer");
}
