/* Scaling of motion columns: z = (x - mean) / deviation, learnt from the training part only.
 *
 * Mean and deviation (population: divisor n) of a column are taken over all parts of the given
 * utterances that are not missing; a deviation under 1e-6 counts as 1 (the face's origin marker is
 * constant), a column without any value has mean 0 and deviation 1. After scaling, missing values
 * are 0: the mean. An absent stream therefore is all zeros. Plain data; const use is shared. */
#ifndef AFFECT_DATASET_NORMALIZER_H
#define AFFECT_DATASET_NORMALIZER_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/dataset/dataset.h"

#define AFFECT_NORMALIZER_COLUMNS 189

typedef struct {
    float mean[AFFECT_NORMALIZER_COLUMNS];
    float deviation[AFFECT_NORMALIZER_COLUMNS]; /* never 0 */
} affect_normalizer;

/* Learns from the utterances indices[0..n). Sums in double, in the order given. INVALID when n is
 * 0 or an index is outside. */
affect_status affect_normalizer_fit(affect_normalizer *normalizer, const affect_dataset *dataset,
                                    const size_t *indices, size_t n, affect_error *err);
/* motion (rows, 189) in place; missing (rows, 189), NULL for nothing missing. */
void affect_normalizer_apply(const affect_normalizer *normalizer, float *motion,
                             const uint8_t *missing, size_t rows);
/* {"mean": [189], "deviation": [189]}; owned; reads back to the same floats. NULL without memory.
 */
affect_json *affect_normalizer_to_json(const affect_normalizer *normalizer);
/* MALFORMED: wrong counts, a number that is not finite, a deviation <= 0. */
affect_status affect_normalizer_from_json(affect_normalizer *normalizer, const affect_json *json,
                                          affect_error *err);

#endif
