/* How far a measured number may be off: intervals of 95 %.
 *
 * Wilson's score interval of a share (J. Am. Stat. Assoc. 1927): for utterances that are
 * independent of each other, which those of one speaker are not.
 *
 * The bootstrap by groups (Efron 1979; Davison and Hinkley 1997, 3.8): as many groups are drawn,
 * with replacement, as there are, every utterance of a drawn group counts, and the measure is
 * computed again; of all draws the percentiles 2.5 and 97.5 are the interval (between two draws
 * linearly, as numpy.percentile). Groups are speakers or dialogs: what would be another corpus'
 * sample. */
#ifndef AFFECT_EVALUATION_INTERVAL_H
#define AFFECT_EVALUATION_INTERVAL_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double low, high;
} affect_interval;

/* Of n_right in n; 0..1 when n is 0. */
affect_interval affect_interval_wilson(size_t n_right, size_t n);

/* [low, high]; owned. */
affect_json *affect_interval_to_json(affect_interval interval);

#define AFFECT_BOOTSTRAP_DRAWS 2000

typedef struct {
    size_t n_groups;
    affect_interval accuracy, uar, f1_macro; /* as metrics.h defines them */
} affect_bootstrap;

/* labels, predicted (n) are classes of n_classes, groups (n) numbers of 0..n_groups-1; -1: the
 * utterance is of no group, and a group of its own. `seed` chooses the draws. INVALID with fewer
 * than two groups; NO_MEMORY. */
affect_status affect_bootstrap_run(affect_bootstrap *result, const int *labels,
                                   const int *predicted, const int *groups, size_t n,
                                   size_t n_classes, size_t n_draws, uint64_t seed,
                                   affect_error *err);
/* The same of differences, second minus first, on the same draws for both (paired): what differs
 * between groups for both classifiers alike cancels. */
affect_status affect_bootstrap_difference(affect_bootstrap *result, const int *labels,
                                          const int *first, const int *second, const int *groups,
                                          size_t n, size_t n_classes, size_t n_draws, uint64_t seed,
                                          affect_error *err);

#endif
