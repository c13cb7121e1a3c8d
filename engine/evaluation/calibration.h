/* Whether probabilities mean what they say.
 *
 * Confidence is the largest probability, of the class that is predicted (of equals the first).
 *   NLL      mean of -log p of the true class (p at least 1e-12)
 *   Brier    mean over utterances of the sum over classes of (p - 1 or 0)^2 (Brier 1950): 0..2
 *   ECE      expected calibration error (Naeini et al. 2015): over 15 bins of equal width, of
 *            (low, high] confidence, the share of utterances times |accuracy - mean confidence|;
 *            adaptive: over 15 bins of equal numbers of utterances, by rising confidence (Nguyen
 *            and O'Connor 2015), of which the first n mod 15 have one more */
#ifndef AFFECT_EVALUATION_CALIBRATION_H
#define AFFECT_EVALUATION_CALIBRATION_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_CALIBRATION_BINS 15

typedef struct {
    size_t n;
    double confidence, accuracy; /* means; 0 where n is 0 */
} affect_calibration_bin;

typedef struct {
    double nll, brier, ece, ece_adaptive;
    affect_calibration_bin bins[AFFECT_CALIBRATION_BINS]; /* of equal width */
} affect_calibration;

/* probabilities (n, n_classes), labels (n); n at least 1. NO_MEMORY. */
affect_status affect_calibrate(affect_calibration *calibration, const float *probabilities,
                               const int *labels, size_t n, size_t n_classes, affect_error *err);
/* {"nll", "brier", "ece", "ece_adaptive", "bins": [{"n", "confidence", "accuracy"}]}; owned. */
affect_json *affect_calibration_to_json(const affect_calibration *calibration);
/* The reverse; false, and zeros, when it is of another form. */
bool affect_calibration_from_json(affect_calibration *calibration, const affect_json *json);

#endif
