/* Temperature scaling (Guo et al., ICML 2017): one number that makes probabilities mean more nearly
 * what they say, fitted on utterances that did not train the model.
 *
 * softmax(z / T) for logits z, of which log p differs only by a number per utterance: the softmax
 * of log(p) / T is the same. p counts as FLT_MIN at least, as no logarithm is known of 0. The order
 * of the classes, and so the prediction, does not change. T > 1 is for a model that is too sure. */
#ifndef AFFECT_EVALUATION_TEMPERATURE_H
#define AFFECT_EVALUATION_TEMPERATURE_H

#include "engine/core/status.h"

#include <stddef.h>

#define AFFECT_TEMPERATURE_MIN 0.05
#define AFFECT_TEMPERATURE_MAX 20.0

/* The temperature of least mean -log p of the labels, within the bounds; 1 where all are alike.
 * probabilities (n, n_classes), labels (n), n at least 1. NO_MEMORY. */
affect_status affect_temperature_fit(double *temperature, const float *probabilities,
                                     const int *labels, size_t n, size_t n_classes,
                                     affect_error *err);
/* scaled (n, n_classes) may be `probabilities`. */
void affect_temperature_apply(float *scaled, const float *probabilities, size_t n, size_t n_classes,
                              double temperature);

#endif
