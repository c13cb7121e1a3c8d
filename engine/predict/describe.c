/* A prediction as JSON: label, probabilities, quality of the streams, warnings, times. */
#include "engine/predict/predict.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    affect_json *lines;
    const char *stream;
} warning_list;

static void warn(void *context, const char *text) {
    const warning_list *warnings = context;
    char line[160];
    snprintf(line, sizeof line, "%s: %s", warnings->stream, text);
    affect_json_append(warnings->lines, affect_json_new_string(line));
}

static void describe_streams(affect_json *result, const affect_predictor *predictor,
                             const affect_prediction *prediction) {
    affect_json *streams = affect_json_set_object(result, "streams");
    warning_list warnings = {.lines = affect_json_set_array(result, "warnings")};
    affect_predictor_source source;
    for (size_t s = 0; affect_predictor_stream(&source, predictor, s); s++) {
        const affect_quality *quality = &prediction->qualities[s];
        warnings.stream = source.stream.name;
        affect_json_set(streams, warnings.stream, source.modality->extraction->describe(quality));
        if (quality->present)
            source.modality->extraction->warnings(quality, &warnings, warn);
        else
            warn(&warnings, "absent: taken as missing");
    }
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
    if (prediction->temperature > 0)
        affect_json_set_number(result, "temperature", prediction->temperature);
    describe_streams(result, predictor, prediction);
    affect_json *timings = affect_json_set_object(result, "timings_ms");
    set_milliseconds(timings, "features", prediction->features_s);
    set_milliseconds(timings, "network", prediction->network_s);
    set_milliseconds(timings, "total", prediction->features_s + prediction->network_s);
    return result;
}

affect_status affect_predictor_run(affect_predictor *predictor, affect_json **result,
                                   const affect_features_input *input, bool calibrated,
                                   affect_error *err) {
    affect_prediction prediction;
    AFFECT_TRY(affect_predictor_run_batch(predictor, &prediction, input, 1, err));
    if (prediction.status != AFFECT_STATUS_OK) {
        if (err) *err = prediction.error;
        return prediction.status;
    }
    if (calibrated) AFFECT_TRY(affect_predictor_calibrate(predictor, &prediction, err));
    *result = affect_prediction_to_json(predictor, &prediction);
    return *result ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for the answer");
}
