/* Linear discriminant analysis: a classifier of Gaussians that share one covariance (Fisher 1936;
 * Hastie, Tibshirani and Friedman 2009, 4.3), the strongest cheap baseline on a few hundred
 * numbers an utterance.
 *
 * It is scikit-learn's StandardScaler, then SimpleImputer, then LinearDiscriminantAnalysis(
 * solver="lsqr", shrinkage=s): each column is scaled by mean and deviation of what trains, numbers
 * that are missing (NAN) are the mean; the classes' covariances, each shrunk to
 * (1 - s) C + s tr(C) / p I (Ledoit and Wolf 2004), are weighted by the classes' shares, which are
 * the priors too; the score of class k is
 *
 *   x . coef_k + intercept_k,  coef_k = S^-1 mean_k,
 *   intercept_k = log(prior_k) - mean_k . coef_k / 2
 *
 *   affect_lda_create(&lda, n_features, n_classes, err);
 *   for each x that trains: affect_lda_scale(lda, x);
 *   for each x that trains: affect_lda_add(lda, x, label);
 *   affect_lda_solve(lda, AFFECT_LDA_SHRINKAGE, err);
 *   affect_lda_score(lda, scores, x);
 *
 * Rows come one by one, twice: memory is n_features^2 numbers however many there are. One thread,
 * sums in the order of the rows: the same rows give the same bits on any machine. */
#ifndef AFFECT_EVALUATION_LDA_H
#define AFFECT_EVALUATION_LDA_H

#include "engine/core/status.h"

#include <stddef.h>

#define AFFECT_LDA_SHRINKAGE    0.1
#define AFFECT_LDA_MAX_FEATURES 2048

typedef struct affect_lda affect_lda;

/* n_features in 1..AFFECT_LDA_MAX_FEATURES, n_classes in 1..AFFECT_MAX_CLASSES (label_map.h). */
affect_status affect_lda_create(affect_lda **lda, size_t n_features, size_t n_classes,
                                affect_error *err);
void affect_lda_free(affect_lda *lda); /* NULL allowed */

/* x (n_features), NAN where missing; first all rows for their scale, then all again. */
void affect_lda_scale(affect_lda *lda, const double *x);
void affect_lda_add(affect_lda *lda, const double *x, int label);
/* INVALID: fewer than two classes have rows, or nothing varies within them. Once. */
affect_status affect_lda_solve(affect_lda *lda, double shrinkage, affect_error *err);
/* scores (n_classes); -INFINITY of a class without rows. */
void affect_lda_score(affect_lda *lda, double *scores, const double *x);
/* The class of the highest score; of equals the first. */
int affect_lda_predict(affect_lda *lda, const double *x);

#endif
