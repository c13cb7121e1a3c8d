/* Baselines that read the recordings' numbers: what a classifier of seconds reaches on the very
 * split of a network of hours.
 *
 *   lda_statistics   linear discriminant analysis (lda.h) of mean and deviation over time of each
 *                    column of each feature; where these are over AFFECT_LDA_MAX_FEATURES, of the
 *                    means alone
 *
 * Numbers that are missing, or a feature that an utterance lacks, are the mean of what trains.
 * Tables that see names alone are leakage.h's. */
#ifndef AFFECT_EVALUATION_BASELINE_H
#define AFFECT_EVALUATION_BASELINE_H

#include "engine/dataset/dataset.h"

typedef struct {
    const char *name;
    bool known; /* false: it cannot be made of this dataset and split */
    double accuracy, uar, f1_macro;
} affect_baseline;

/* trains, evaluated: (utterances of the dataset). Reads what trains twice, what is evaluated once;
 * memory does not grow with their numbers. Not known: a single class trains, nothing varies, too
 * many columns. NO_MEMORY. */
affect_status affect_baseline_lda(affect_baseline *baseline, const affect_dataset *dataset,
                                  const bool *trains, const bool *evaluated, affect_error *err);

/* Which statistics of a dataset's utterances there are: of each feature that some utterance has the
 * means over time of its columns, then the deviations (divisor n), these only of features with
 * several rows. */
typedef struct {
    const affect_dataset *dataset;    /* borrowed */
    bool has[AFFECT_MAX_FEATURES];    /* the feature's means */
    bool varies[AFFECT_MAX_FEATURES]; /* and deviations */
    size_t n;                         /* statistics an utterance */
} affect_statistics;

void affect_statistics_plan(affect_statistics *plan, const affect_dataset *dataset,
                            bool with_deviations);
/* Writes an utterance's statistics, NAN where it has no number. numbers holds 2 n: the second half
 * is scratch. */
void affect_statistics_compute(double *numbers, const affect_statistics *plan, size_t index);

#endif
