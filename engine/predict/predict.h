/* Predictions: from recordings of one utterance to class probabilities.
 *
 * A predictor is a model file opened for answering: network with its weights on a device, feature
 * extractor of the model's own config, normaliser and labels. Everything is planned when it is
 * opened; a prediction reuses that memory. A predictor belongs to one thread.
 *
 * The answer is the JSON of facts shared with the HTTP interface:
 *   {"label": "angry", "probabilities": {"angry": 0.71, ...}, (in the model's order)
 *    "streams": {"audio": {...}, "face": {...}, "head": {...}, "hand": {...}}, (quality of each)
 *    "warnings": ["hand: absent: taken as missing"],
 *    "timings_ms": {"features": 2.1, "network": 17.9, "total": 20.0}} */
#ifndef AFFECT_PREDICT_PREDICT_H
#define AFFECT_PREDICT_PREDICT_H

#include "engine/corpus/features.h"

typedef struct affect_predictor affect_predictor;

/* device and n_threads as affect_backend_open. */
affect_status affect_predictor_open(affect_predictor **predictor, const char *model_path,
                                    const char *device, int n_threads, affect_error *err);
void affect_predictor_close(affect_predictor *predictor);

/* *result is owned. Streams that are absent count as missing, with a warning; when every stream
 * that the model uses is absent: INVALID. A stream that is given and cannot be read: the reader's
 * status, the message names the stream. */
affect_status affect_predictor_run(affect_predictor *predictor, affect_json **result,
                                   const affect_features_input *input, affect_error *err);

#endif
