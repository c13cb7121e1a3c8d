/* Scaling of columns: z = (x - mean) / deviation, learnt from the training part only, of every
 * feature whose modality asks for it (modality.h).
 *
 * Mean and deviation (population: divisor n) of a column are taken over all rows of the given
 * utterances that are not missing; a deviation under 1e-6 counts as 1 (the face's origin marker is
 * constant), a column without any value has mean 0 and deviation 1. After scaling, missing values
 * are 0: the mean. An absent stream therefore is all zeros, and so is padding. const use is shared.
 */
#ifndef AFFECT_DATASET_NORMALIZER_H
#define AFFECT_DATASET_NORMALIZER_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/dataset/dataset.h"

/* Of one feature. */
typedef struct {
    char feature[AFFECT_FEATURE_NAME_SIZE];
    size_t n_columns;
    float *mean;      /* (n_columns) */
    float *deviation; /* (n_columns), never 0; in one piece with mean */
} affect_scaling;

/* Zero-initialise; owns what it points to. */
typedef struct {
    size_t n;
    affect_scaling scalings[AFFECT_MAX_FEATURES];
} affect_normalizer;

/* Learns from the utterances indices[0..n). Sums in double, in the order given. INVALID when n is
 * 0 or an index is outside, NO_MEMORY; the normaliser is then to be freed all the same. */
affect_status affect_normalizer_fit(affect_normalizer *normalizer, const affect_dataset *dataset,
                                    const size_t *indices, size_t n, affect_error *err);
void affect_normalizer_free(affect_normalizer *normalizer);
/* Of that feature; NULL: it is not scaled. */
const affect_scaling *affect_normalizer_find(const affect_normalizer *normalizer,
                                             const char *feature);
/* values (rows, n_columns) in place; missing (the same), NULL for nothing missing. scaling NULL:
 * left as they are. */
void affect_scaling_apply(const affect_scaling *scaling, float *values, const uint8_t *missing,
                          size_t rows);
/* {"motion": {"mean": [189], "deviation": [189]}, ...}; owned; reads back to the same floats. NULL
 * without memory. */
affect_json *affect_normalizer_to_json(const affect_normalizer *normalizer);
/* Of the scaled features of `sizes`. Model files of before there were several have {"mean",
 * "deviation"} alone, of motion. MALFORMED: one is absent, wrong counts, a number that is not
 * finite, a deviation <= 0. To be freed in any case. */
affect_status affect_normalizer_from_json(affect_normalizer *normalizer, const affect_sizes *sizes,
                                          const affect_json *json, affect_error *err);

#endif
