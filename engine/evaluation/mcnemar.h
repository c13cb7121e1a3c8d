/* McNemar's test (Psychometrika 1947): whether two classifiers err alike on the same utterances.
 *
 * Only pairs count in which one is right and the other wrong. Below 25 of them the p-value is
 * exact, two-sided, of the binomial distribution; else of chi-squared with one degree of freedom,
 * with Edwards' continuity correction: (|b - c| - 1)^2 / (b + c), 0 where b = c (as in R). The
 * statistic is min(b, c) of the exact test. It takes utterances for independent, which those of one
 * speaker are not: the bootstrap by groups stands beside it. */
#ifndef AFFECT_EVALUATION_MCNEMAR_H
#define AFFECT_EVALUATION_MCNEMAR_H

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_MCNEMAR_EXACT_BELOW 25 /* discordant pairs */

typedef struct {
    bool exact;
    double statistic, p_value;
} affect_mcnemar;

/* Of the numbers of pairs that only the first and that only the second has right. */
affect_mcnemar affect_mcnemar_test(size_t only_first, size_t only_second);

#endif
