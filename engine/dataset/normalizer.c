/* Scaling of motion columns; see normalizer.h. */
#include "engine/dataset/normalizer.h"

#include <math.h>
#include <string.h>

#define COLUMNS       AFFECT_NORMALIZER_COLUMNS
#define MIN_DEVIATION 1e-6

/* Running mean and sum of squared differences of each column (Welford 1962): one pass over the
 * store, and no cancellation where the mean is large against the deviation, as marker positions
 * are. */
typedef struct {
    double n[COLUMNS], mean[COLUMNS], squares[COLUMNS];
} column_sums;

static void add_rows(column_sums *sums, const float *motion, const uint8_t *missing, size_t rows) {
    for (size_t i = 0; i < rows * COLUMNS; i++) {
        if (missing[i]) continue;
        size_t c = i % COLUMNS;
        double from_mean = motion[i] - sums->mean[c];
        sums->n[c]++;
        sums->mean[c] += from_mean / sums->n[c];
        sums->squares[c] += from_mean * (motion[i] - sums->mean[c]);
    }
}

affect_status affect_normalizer_fit(affect_normalizer *normalizer, const affect_dataset *dataset,
                                    const size_t *indices, size_t n, affect_error *err) {
    affect_dataset_sizes sizes = affect_dataset_sizes_of(dataset);
    if (sizes.columns != COLUMNS)
        return affect_fail(err, SHAPE, "normaliser: %zu motion columns (need %d)", sizes.columns,
                           COLUMNS);
    if (n == 0) return affect_fail(err, INVALID, "normaliser: no utterances to learn from");
    column_sums sums = {0};
    for (size_t i = 0; i < n; i++) {
        if (indices[i] >= affect_dataset_n_utterances(dataset))
            return affect_fail(err, INVALID, "normaliser: no utterance %zu", indices[i]);
        affect_utterance_features from = affect_dataset_features(dataset, indices[i]);
        if (from.motion) add_rows(&sums, from.motion, from.missing, sizes.parts);
    }
    for (size_t c = 0; c < COLUMNS; c++) {
        double deviation = sums.n[c] ? sqrt(sums.squares[c] / sums.n[c]) : 1;
        normalizer->mean[c] = (float)sums.mean[c];
        normalizer->deviation[c] = deviation < MIN_DEVIATION ? 1 : (float)deviation;
    }
    return AFFECT_STATUS_OK;
}

void affect_normalizer_apply(const affect_normalizer *normalizer, float *motion,
                             const uint8_t *missing, size_t rows) {
    for (size_t row = 0; row < rows; row++, motion += COLUMNS) {
        for (size_t c = 0; c < COLUMNS; c++)
            motion[c] = (motion[c] - normalizer->mean[c]) / normalizer->deviation[c];
        if (!missing) continue;
        for (size_t c = 0; c < COLUMNS; c++)
            if (missing[row * COLUMNS + c]) motion[c] = 0;
    }
}

static affect_json *numbers_to_json(const float *numbers) {
    affect_json *array = affect_json_new_array();
    for (size_t c = 0; c < COLUMNS; c++)
        affect_json_append(array, affect_json_new_number(numbers[c]));
    return array;
}

affect_json *affect_normalizer_to_json(const affect_normalizer *normalizer) {
    affect_json *json = affect_json_new_object();
    affect_json_set(json, "mean", numbers_to_json(normalizer->mean));
    affect_json_set(json, "deviation", numbers_to_json(normalizer->deviation));
    return json;
}

static affect_status numbers_from_json(float *numbers, const affect_json *json, const char *name,
                                       double minimum, affect_error *err) {
    const affect_json *array = affect_json_get(json, name);
    if (!affect_json_is_array(array) || affect_json_size(array) != COLUMNS)
        return affect_fail(err, MALFORMED, "normaliser: \"%s\" is not an array of %d numbers", name,
                           COLUMNS);
    size_t c = 0;
    for (const affect_json *item = affect_json_first(array); item; item = affect_json_next(item)) {
        float number = (float)affect_json_number(item, NAN);
        if (!isfinite(number) || number <= minimum)
            return affect_fail(err, MALFORMED, "normaliser: %s %zu is not a number%s", name, c,
                               minimum >= 0 ? " above 0" : "");
        numbers[c++] = number;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_normalizer_from_json(affect_normalizer *normalizer, const affect_json *json,
                                          affect_error *err) {
    AFFECT_TRY(numbers_from_json(normalizer->mean, json, "mean", -INFINITY, err));
    return numbers_from_json(normalizer->deviation, json, "deviation", 0, err);
}
