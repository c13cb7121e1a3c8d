/* A prediction as JSON: label, probabilities, quality of the streams, warnings, times. */
#include "engine/predict/predict.h"

#include <math.h>
#include <stdio.h>

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
    if (quality->faint) warn(warnings, "audio", "almost silent: too faint for the features");
    if (quality->truncated) warn(warnings, "audio", "truncated: longer than the model's clip");
}

static void describe_motion(affect_json *result, affect_json *warnings, affect_mocap_kind kind,
                            const affect_motion_quality *quality) {
    const char *name = affect_mocap_kind_name(kind);
    affect_json_set(affect_json_get(result, "streams"), name,
                    affect_motion_quality_to_json(quality));
    if (!quality->present)
        warn(warnings, name, "absent: taken as missing");
    else if (quality->is_empty)
        warn(warnings, name, "no rows after the header: taken as missing");
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

static void describe_streams(affect_json *result, const affect_predictor *predictor,
                             const affect_prediction *prediction) {
    affect_json_set_object(result, "streams");
    affect_json *warnings = affect_json_set_array(result, "warnings");
    if (affect_predictor_uses_audio(predictor))
        describe_audio(result, warnings, &prediction->audio);
    if (!affect_predictor_uses_motion(predictor)) return;
    for (int k = 0; k < AFFECT_MOCAP_KIND_COUNT; k++)
        describe_motion(result, warnings, (affect_mocap_kind)k, &prediction->motion[k]);
}

static void set_milliseconds(affect_json *timings, const char *name, double seconds) {
    affect_json_set_number(timings, name, round(seconds * 1e6) / 1e3);
}

affect_json *affect_prediction_to_json(const affect_predictor *predictor,
                                       const affect_prediction *prediction) {
    const affect_json *labels = affect_predictor_labels(predictor);
    size_t n_classes = affect_json_size(labels), best = 0;
    affect_json *result = affect_json_new_object();
    for (size_t c = 1; c < n_classes; c++)
        if (prediction->probabilities[c] > prediction->probabilities[best]) best = c;
    affect_json_set_string(result, "label", affect_json_string(affect_json_at(labels, best), "?"));
    affect_json *probabilities = affect_json_set_object(result, "probabilities");
    for (size_t c = 0; c < n_classes; c++)
        affect_json_set_number(probabilities, affect_json_string(affect_json_at(labels, c), "?"),
                               (double)prediction->probabilities[c]);
    describe_streams(result, predictor, prediction);
    affect_json *timings = affect_json_set_object(result, "timings_ms");
    set_milliseconds(timings, "features", prediction->features_s);
    set_milliseconds(timings, "network", prediction->network_s);
    set_milliseconds(timings, "total", prediction->features_s + prediction->network_s);
    return result;
}

affect_status affect_predictor_run(affect_predictor *predictor, affect_json **result,
                                   const affect_features_input *input, affect_error *err) {
    affect_prediction prediction;
    AFFECT_TRY(affect_predictor_run_batch(predictor, &prediction, input, 1, err));
    if (prediction.status != AFFECT_STATUS_OK) {
        if (err) *err = prediction.error;
        return prediction.status;
    }
    *result = affect_prediction_to_json(predictor, &prediction);
    return *result ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for the answer");
}
