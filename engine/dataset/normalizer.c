/* Scaling of columns; see normalizer.h.
 *
 * Moments are running means and sums of squared differences (Welford, Technometrics 1962): one pass
 * over the store, and no cancellation where the mean is large against the deviation, as positions
 * of markers are. */
#include "engine/dataset/normalizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_DEVIATION 1e-6

static affect_status add_scaling(affect_scaling **scaling, affect_normalizer *normalizer,
                                 const affect_feature *feature, affect_error *err) {
    size_t n = feature->shape.size[feature->shape.rank - 1];
    affect_scaling *to = &normalizer->scalings[normalizer->n];
    *to = (affect_scaling){.n_columns = n, .mean = calloc(2 * n, sizeof *to->mean)};
    if (!to->mean) return affect_fail(err, NO_MEMORY, "normaliser: no memory for %zu columns", n);
    to->deviation = to->mean + n;
    strcpy(to->feature, feature->name);
    normalizer->n++;
    *scaling = to;
    return AFFECT_STATUS_OK;
}

void affect_normalizer_free(affect_normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->n; i++) free(normalizer->scalings[i].mean);
    *normalizer = (affect_normalizer){0};
}

const affect_scaling *affect_normalizer_find(const affect_normalizer *normalizer,
                                             const char *feature) {
    for (size_t i = 0; i < normalizer->n; i++)
        if (strcmp(normalizer->scalings[i].feature, feature) == 0) return &normalizer->scalings[i];
    return NULL;
}

/* ---- Learning ---- */

typedef struct {
    size_t n_columns;
    double *n, *mean, *squares; /* (n_columns); n owns all three */
} column_sums;

static void add_rows(column_sums *sums, const float *values, const uint8_t *missing, size_t rows) {
    for (size_t i = 0; i < rows * sums->n_columns; i++) {
        if (missing && missing[i]) continue;
        size_t c = i % sums->n_columns;
        double from_mean = values[i] - sums->mean[c];
        sums->n[c]++;
        sums->mean[c] += from_mean / sums->n[c];
        sums->squares[c] += from_mean * (values[i] - sums->mean[c]);
    }
}

static affect_status fit_feature(affect_scaling *scaling, const affect_dataset *dataset,
                                 size_t feature, const size_t *indices, size_t n,
                                 affect_error *err) {
    size_t n_columns = scaling->n_columns;
    column_sums sums = {.n_columns = n_columns, .n = calloc(3 * n_columns, sizeof *sums.n)};
    if (!sums.n) return affect_fail(err, NO_MEMORY, "normaliser: no memory");
    sums.mean = sums.n + n_columns;
    sums.squares = sums.mean + n_columns;
    for (size_t i = 0; i < n; i++) {
        affect_feature_values from = affect_dataset_values(dataset, feature, indices[i]);
        add_rows(&sums, from.values, from.missing, from.n_rows);
    }
    for (size_t c = 0; c < n_columns; c++) {
        double deviation = sums.n[c] ? sqrt(sums.squares[c] / sums.n[c]) : 1;
        scaling->mean[c] = (float)sums.mean[c];
        scaling->deviation[c] = deviation < MIN_DEVIATION ? 1 : (float)deviation;
    }
    free(sums.n);
    return AFFECT_STATUS_OK;
}

affect_status affect_normalizer_fit(affect_normalizer *normalizer, const affect_dataset *dataset,
                                    const size_t *indices, size_t n, affect_error *err) {
    const affect_sizes *sizes = affect_dataset_sizes(dataset);
    *normalizer = (affect_normalizer){0};
    if (n == 0) return affect_fail(err, INVALID, "normaliser: no utterances to learn from");
    for (size_t i = 0; i < n; i++)
        if (indices[i] >= affect_dataset_n_utterances(dataset))
            return affect_fail(err, INVALID, "normaliser: no utterance %zu", indices[i]);
    for (size_t f = 0; f < sizes->n_features; f++) {
        affect_scaling *scaling = NULL;
        if (!sizes->features[f].modality->is_normalised) continue;
        AFFECT_TRY(add_scaling(&scaling, normalizer, &sizes->features[f], err));
        AFFECT_TRY(fit_feature(scaling, dataset, f, indices, n, err));
    }
    return AFFECT_STATUS_OK;
}

void affect_scaling_apply(const affect_scaling *scaling, float *values, const uint8_t *missing,
                          size_t rows) {
    if (!scaling) return;
    size_t n = scaling->n_columns;
    for (size_t row = 0; row < rows; row++, values += n) {
        for (size_t c = 0; c < n; c++)
            values[c] = (values[c] - scaling->mean[c]) / scaling->deviation[c];
        if (!missing) continue;
        for (size_t c = 0; c < n; c++)
            if (missing[row * n + c]) values[c] = 0;
    }
}

/* ---- JSON ---- */

static affect_json *numbers_to_json(const float *numbers, size_t n) {
    affect_json *array = affect_json_new_array();
    for (size_t c = 0; c < n; c++) affect_json_append(array, affect_json_new_number(numbers[c]));
    return array;
}

affect_json *affect_normalizer_to_json(const affect_normalizer *normalizer) {
    affect_json *json = affect_json_new_object();
    for (size_t i = 0; i < normalizer->n; i++) {
        const affect_scaling *scaling = &normalizer->scalings[i];
        affect_json *one = affect_json_set_object(json, scaling->feature);
        affect_json_set(one, "mean", numbers_to_json(scaling->mean, scaling->n_columns));
        affect_json_set(one, "deviation", numbers_to_json(scaling->deviation, scaling->n_columns));
    }
    return json;
}

static affect_status numbers_from_json(float *numbers, size_t n, const affect_json *json,
                                       const char *name, double minimum, affect_error *err) {
    const affect_json *array = affect_json_get(json, name);
    if (!affect_json_is_array(array) || affect_json_size(array) != n)
        return affect_fail(err, MALFORMED, "normaliser: \"%s\" is not an array of %zu numbers",
                           name, n);
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

affect_status affect_normalizer_from_json(affect_normalizer *normalizer, const affect_sizes *sizes,
                                          const affect_json *json, affect_error *err) {
    bool is_old = affect_json_is_array(affect_json_get(json, "mean"));
    *normalizer = (affect_normalizer){0};
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_feature *feature = &sizes->features[f];
        affect_scaling *scaling = NULL;
        if (!feature->modality->is_normalised) continue;
        const affect_json *one = is_old ? json : affect_json_get(json, feature->name);
        AFFECT_TRY(add_scaling(&scaling, normalizer, feature, err));
        AFFECT_TRY(
            numbers_from_json(scaling->mean, scaling->n_columns, one, "mean", -INFINITY, err));
        AFFECT_TRY(
            numbers_from_json(scaling->deviation, scaling->n_columns, one, "deviation", 0, err));
    }
    return AFFECT_STATUS_OK;
}
