/* Intervals; see interval.h. A draw needs only how often each group was drawn: the confusion matrix
 * of a draw is that of the utterances, each counted as often as its group. */
#include "engine/evaluation/interval.h"

#include "engine/core/random.h"
#include "engine/dataset/label_map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define Z 1.959963984540054 /* of 95 %, two-sided */

affect_interval affect_interval_wilson(size_t n_right, size_t n) {
    if (n == 0) return (affect_interval){0, 1};
    double all = (double)n, share = (double)n_right / all;
    double middle = (share + Z * Z / (2 * all)) / (1 + Z * Z / all);
    double half = Z / (1 + Z * Z / all) * sqrt(share * (1 - share) / all + Z * Z / (4 * all * all));
    /* At the ends the formula is exact but for rounding. */
    return (affect_interval){n_right == 0 ? 0 : middle - half, n_right == n ? 1 : middle + half};
}

affect_json *affect_interval_to_json(affect_interval interval) {
    affect_json *json = affect_json_new_array();
    affect_json_append(json, affect_json_new_number(interval.low));
    affect_json_append(json, affect_json_new_number(interval.high));
    return json;
}

/* One draw's confusion: of each class how many are right, there, and predicted. */
typedef struct {
    double right[AFFECT_MAX_CLASSES], n_true[AFFECT_MAX_CLASSES], n_predicted[AFFECT_MAX_CLASSES];
} class_counts;

typedef struct {
    double accuracy, uar, f1_macro;
} measures;

static measures measure(const class_counts *counts, size_t n_classes) {
    measures m = {0};
    double n = 0, n_right = 0, n_occurring = 0;
    for (size_t c = 0; c < n_classes; c++) {
        double both = counts->n_true[c] + counts->n_predicted[c];
        n += counts->n_true[c];
        n_right += counts->right[c];
        n_occurring += counts->n_true[c] > 0;
        if (counts->n_true[c] > 0) m.uar += counts->right[c] / counts->n_true[c];
        if (both > 0) m.f1_macro += 2 * counts->right[c] / both / (double)n_classes;
    }
    m.accuracy = n > 0 ? n_right / n : 0;
    if (n_occurring > 0) m.uar /= n_occurring;
    return m;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, as numpy.percentile's default. */
static double percentile(const double *sorted, size_t n, double percent) {
    double at = percent / 100 * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

static affect_interval interval_of(double *values, size_t n) {
    qsort(values, n, sizeof *values, ascending);
    return (affect_interval){percentile(values, n, 2.5), percentile(values, n, 97.5)};
}

/* Of one draw, in which group g of the utterances counts times[g] times. */
static measures measure_draw(const int *labels, const int *predicted, const size_t *group,
                             const uint32_t *times, size_t n, size_t n_classes) {
    class_counts counts = {0};
    for (size_t i = 0; i < n; i++) {
        double weight = times[group[i]];
        counts.n_true[labels[i]] += weight;
        counts.n_predicted[predicted[i]] += weight;
        if (labels[i] == predicted[i]) counts.right[labels[i]] += weight;
    }
    return measure(&counts, n_classes);
}

/* first NULL: of the second's own measures. */
static affect_status draw(affect_bootstrap *result, const int *labels, const int *first,
                          const int *second, const int *groups, size_t n, size_t n_classes,
                          size_t n_draws, uint64_t seed, affect_error *err) {
    size_t n_groups = 0, n_named = 0;
    size_t *group = malloc((n + 1) * sizeof *group); /* of each utterance, in 0..n_groups-1 */
    int *number = NULL;                              /* of each name that occurs */
    double *draws = malloc(3 * n_draws * sizeof *draws);
    uint32_t *times = NULL; /* that each group was drawn */
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < n; i++)
        if (groups[i] >= 0 && (size_t)groups[i] >= n_named) n_named = (size_t)groups[i] + 1;
    number = malloc((n_named + 1) * sizeof *number);
    if (!group || !draws || !number) {
        status = affect_fail(err, NO_MEMORY, "no memory for %zu draws", n_draws);
        goto cleanup;
    }
    for (size_t g = 0; g < n_named; g++) number[g] = -1;
    for (size_t i = 0; i < n; i++) {
        if (groups[i] < 0) {
            group[i] = n_groups++;
            continue;
        }
        if (number[groups[i]] < 0) number[groups[i]] = (int)n_groups++;
        group[i] = (size_t)number[groups[i]];
    }
    if (n_groups < 2) {
        status = affect_fail(err, INVALID, "%zu groups (need two to draw from)", n_groups);
        goto cleanup;
    }
    times = malloc(n_groups * sizeof *times);
    if (!times) {
        status = affect_fail(err, NO_MEMORY, "no memory for %zu groups", n_groups);
        goto cleanup;
    }
    for (size_t d = 0; d < n_draws; d++) {
        const affect_random_key key = {seed, affect_random_stream("bootstrap", d, 0)};
        measures of_first = {0}, of_second;
        memset(times, 0, n_groups * sizeof *times);
        for (size_t g = 0; g < n_groups; g++)
            times[(size_t)(affect_random_uniform(key, g) * (double)n_groups)]++;
        if (first) of_first = measure_draw(labels, first, group, times, n, n_classes);
        of_second = measure_draw(labels, second, group, times, n, n_classes);
        draws[d] = of_second.accuracy - of_first.accuracy;
        draws[n_draws + d] = of_second.uar - of_first.uar;
        draws[2 * n_draws + d] = of_second.f1_macro - of_first.f1_macro;
    }
    *result = (affect_bootstrap){.n_groups = n_groups,
                                 .accuracy = interval_of(draws, n_draws),
                                 .uar = interval_of(draws + n_draws, n_draws),
                                 .f1_macro = interval_of(draws + 2 * n_draws, n_draws)};
cleanup:
    free(group);
    free(number);
    free(draws);
    free(times);
    return status;
}

affect_status affect_bootstrap_run(affect_bootstrap *result, const int *labels,
                                   const int *predicted, const int *groups, size_t n,
                                   size_t n_classes, size_t n_draws, uint64_t seed,
                                   affect_error *err) {
    return draw(result, labels, NULL, predicted, groups, n, n_classes, n_draws, seed, err);
}

affect_status affect_bootstrap_difference(affect_bootstrap *result, const int *labels,
                                          const int *first, const int *second, const int *groups,
                                          size_t n, size_t n_classes, size_t n_draws, uint64_t seed,
                                          affect_error *err) {
    return draw(result, labels, first, second, groups, n, n_classes, n_draws, seed, err);
}
