/* Predictions: from recordings of utterances to class probabilities.
 *
 * A predictor is a model file opened for answering: network with its weights on a device, feature
 * extractors of the model's own config (one a thread), normaliser and labels. Everything is made
 * when it is opened and grown by the first requests; later ones allocate nothing between bytes and
 * probabilities, but for what libsndfile (its handle of an open file) and, where a sound's rate is
 * not the model's, soxr allocate themselves (tests/engine/predict/test_steady_memory.c).
 *
 * Utterances are answered one or many at a time: streams are read by the threads side by side (an
 * utterance's sound and motion too), then the network runs once for all of them. An utterance's
 * probabilities are the same bits with any batch peers (tests/engine/predict/test_predict.c). A
 * predictor belongs to one thread.
 *
 * An answer as JSON, shared with the HTTP interface:
 *   {"label": "angry", "probabilities": {"angry": 0.71, ...}, (in the model's order)
 *    "temperature": 1.31, (with calibrated probabilities)
 *    "streams": {"audio": {...}, "face": {...}, "head": {...}, "hand": {...}}, (quality of each)
 *    "warnings": ["hand: absent: taken as missing"],
 *    "timings_ms": {"features": 2.1, "network": 17.9, "total": 20.0}} (of all in the batch) */
#ifndef AFFECT_PREDICT_PREDICT_H
#define AFFECT_PREDICT_PREDICT_H

#include "engine/device/backend.h"
#include "engine/modality/features.h"

#define AFFECT_PREDICTOR_MAX_BATCH 64

typedef struct affect_predictor affect_predictor;

typedef struct {
    const char *device; /* as affect_backend_open */
    affect_precision precision;
    int n_threads;    /* the same; 0: all cores */
    size_t max_batch; /* utterances at once: 1..AFFECT_PREDICTOR_MAX_BATCH */
} affect_predictor_options;

/* {"auto", AUTO, 0, 1} */
void affect_predictor_options_default(affect_predictor_options *options);

/* options NULL: the defaults. */
affect_status affect_predictor_open(affect_predictor **predictor, const char *model_path,
                                    const affect_predictor_options *options, affect_error *err);
void affect_predictor_close(affect_predictor *predictor);

/* One utterance's answer, in numbers. */
typedef struct {
    affect_status status;       /* not OK: `error` says why, the rest is not valid */
    affect_error error;         /* streams that cannot be read are named in its message */
    const float *probabilities; /* (n_classes); borrowed until the predictor's next run */
    affect_quality qualities[AFFECT_MAX_INPUT_STREAMS]; /* as affect_predictor_stream counts */
    double features_s, network_s;                       /* of the whole batch */
    double temperature; /* that scaled the probabilities; 0: none did */
} affect_prediction;

/* Answers n utterances (1..max_batch): predictions[i] is that of inputs[i]. Streams that are absent
 * count as missing, and so do those without a value in their window. That prediction is INVALID
 * when every stream that the model uses is, when a part is a named feature that the model does not
 * read, when a window is not 0 <= start < end, or when the sound, not cut by a window of its own,
 * is over half a second longer than the motion's window. Not OK, with no prediction valid, only
 * when the device failed. */
affect_status affect_predictor_run_batch(affect_predictor *predictor,
                                         affect_prediction *predictions,
                                         const affect_features_input *inputs, size_t n,
                                         affect_error *err);

/* Scales a prediction's probabilities by the model's temperature (evaluation/temperature.h), once.
 * INVALID when the model has none. */
affect_status affect_predictor_calibrate(affect_predictor *predictor, affect_prediction *prediction,
                                         affect_error *err);

/* The JSON above, of a prediction that is OK; owned, NULL without memory. */
affect_json *affect_prediction_to_json(const affect_predictor *predictor,
                                       const affect_prediction *prediction);

/* One utterance, as JSON: all of the above. *result is owned. */
affect_status affect_predictor_run(affect_predictor *predictor, affect_json **result,
                                   const affect_features_input *input, bool calibrated,
                                   affect_error *err);

/* The parts of which describe.c makes the JSON; borrowed. */
const affect_json *affect_predictor_labels(const affect_predictor *predictor);
/* Streams that the model reads, feature by feature; false beyond the last. */
typedef struct {
    affect_stream stream;
    const affect_modality *modality;
} affect_predictor_source;
bool affect_predictor_stream(affect_predictor_source *source, const affect_predictor *predictor,
                             size_t i);

#endif
