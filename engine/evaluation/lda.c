/* Linear discriminant analysis; see lda.h.
 *
 * One matrix holds the sum of x x^T over all rows, its lower triangle; the covariance within
 * classes is what remains of it without n_k mean_k mean_k^T of each class. Columns are scaled, so
 * little cancels. Rows are added by the batch, so that a row of the matrix stays in the cache while
 * the batch passes over it. The system is solved by Cholesky's decomposition, in place: a few
 * hundred columns take milliseconds, and no library is loaded for it (OpenBLAS would start threads
 * in processes that confine themselves, and its bits are the processor's: device/cpu/cpu_gemm.c).
 */
#include "engine/evaluation/lda.h"

#include "engine/dataset/label_map.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { BATCH = 32 };

struct affect_lda {
    size_t p, n_classes, n_rows, n_batch;
    double *numbers;                /* owns all that follows */
    double *n_known, *mean, *scale; /* (p); scale: sums of squares until the first add */
    double *gram;                   /* (p, p) lower triangle; then its decomposition */
    double *batch;                  /* (BATCH, p) scaled rows that gram lacks */
    double *class_mean;             /* (n_classes, p), sums until solved */
    double *coef;                   /* (n_classes, p) */
    double *x;                      /* (p) a scaled row */
    double intercept[AFFECT_MAX_CLASSES];
    size_t n_of_class[AFFECT_MAX_CLASSES];
    bool is_scaled;
};

affect_status affect_lda_create(affect_lda **lda, size_t n_features, size_t n_classes,
                                affect_error *err) {
    size_t p = n_features;
    assert(p >= 1 && p <= AFFECT_LDA_MAX_FEATURES && n_classes <= AFFECT_MAX_CLASSES);
    affect_lda *made = calloc(1, sizeof *made);
    if (made) made->numbers = calloc(p * (p + 4 + BATCH + 2 * n_classes), sizeof(double));
    if (!made || !made->numbers) {
        free(made);
        return affect_fail(err, NO_MEMORY, "no memory for a covariance of %zu columns", p);
    }
    made->p = p;
    made->n_classes = n_classes;
    made->gram = made->numbers;
    made->n_known = made->gram + p * p;
    made->mean = made->n_known + p;
    made->scale = made->mean + p;
    made->x = made->scale + p;
    made->batch = made->x + p;
    made->class_mean = made->batch + BATCH * p;
    made->coef = made->class_mean + n_classes * p;
    *lda = made;
    return AFFECT_STATUS_OK;
}

void affect_lda_free(affect_lda *lda) {
    if (!lda) return;
    free(lda->numbers);
    free(lda);
}

/* ---- Scaling ---- */

/* Running mean and sum of squares (Welford 1962). */
void affect_lda_scale(affect_lda *lda, const double *x) {
    assert(!lda->is_scaled);
    for (size_t j = 0; j < lda->p; j++) {
        if (isnan(x[j])) continue;
        double from_mean = x[j] - lda->mean[j];
        lda->n_known[j]++;
        lda->mean[j] += from_mean / lda->n_known[j];
        lda->scale[j] += from_mean * (x[j] - lda->mean[j]);
    }
}

/* Sums of squares become deviations; what is constant but for rounding keeps its scale, as in
 * scikit-learn. */
static void finish_scale(affect_lda *lda) {
    for (size_t j = 0; j < lda->p; j++) {
        double n = lda->n_known[j], variance = n > 0 ? lda->scale[j] / n : 0;
        double rounding = n * lda->mean[j] * DBL_EPSILON;
        bool constant = variance <= n * DBL_EPSILON * variance + rounding * rounding;
        lda->scale[j] = constant ? 1 : sqrt(variance);
    }
    lda->is_scaled = true;
}

static void scale_row(const affect_lda *lda, double *to, const double *x) {
    for (size_t j = 0; j < lda->p; j++)
        to[j] = isnan(x[j]) ? 0 : (x[j] - lda->mean[j]) / lda->scale[j];
}

/* ---- Sums ---- */

/* Four rows of the batch at once: a number of the matrix is read and written once for them. Rows
 * beyond the last are zeros. */
static void add_batch(affect_lda *lda) {
    size_t p = lda->p;
    for (size_t k = lda->n_batch * p; k < BATCH * p; k++) lda->batch[k] = 0;
    for (size_t i = 0; i < p; i++) {
        double *restrict to = lda->gram + i * p;
        for (size_t r = 0; r < lda->n_batch; r += 4) {
            const double *a = lda->batch + r * p, *b = a + p, *c = b + p, *d = c + p;
            double ai = a[i], bi = b[i], ci = c[i], di = d[i];
            for (size_t j = 0; j <= i; j++)
                to[j] += (ai * a[j] + bi * b[j]) + (ci * c[j] + di * d[j]);
        }
    }
    lda->n_batch = 0;
}

void affect_lda_add(affect_lda *lda, const double *x, int label) {
    if (!lda->is_scaled) finish_scale(lda);
    double *row = lda->batch + lda->n_batch * lda->p;
    double *sum = lda->class_mean + (size_t)label * lda->p;
    scale_row(lda, row, x);
    for (size_t j = 0; j < lda->p; j++) sum[j] += row[j];
    lda->n_of_class[label]++;
    lda->n_rows++;
    if (++lda->n_batch == BATCH) add_batch(lda);
}

/* ---- Solving ---- */

/* Four sums side by side: their additions need not wait for each other. */
static double dot(const double *a, const double *b, size_t n) {
    double sums[4] = {0};
    size_t k = 0;
    for (; k + 4 <= n; k += 4)
        for (size_t s = 0; s < 4; s++) sums[s] += a[k + s] * b[k + s];
    for (; k < n; k++) sums[0] += a[k] * b[k];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* The sum of products becomes the shrunk covariance within classes. */
static double make_covariance(affect_lda *lda, double shrinkage) {
    size_t p = lda->p;
    double n = (double)lda->n_rows, trace = 0;
    for (size_t c = 0; c < lda->n_classes; c++) {
        double *mean = lda->class_mean + c * p, n_of = (double)lda->n_of_class[c];
        if (n_of == 0) continue;
        for (size_t j = 0; j < p; j++) mean[j] /= n_of;
        for (size_t i = 0; i < p; i++)
            for (size_t j = 0; j <= i; j++) lda->gram[i * p + j] -= n_of * mean[i] * mean[j];
    }
    for (size_t i = 0; i < p; i++) trace += lda->gram[i * p + i] / n;
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) lda->gram[i * p + j] *= (1 - shrinkage) / n;
        lda->gram[i * p + i] += shrinkage * trace / (double)p;
    }
    return trace;
}

/* L of S = L L^T in place of S; false where S is not positive definite. */
static bool decompose(double *matrix, size_t p) {
    for (size_t i = 0; i < p; i++) {
        double *row = matrix + i * p;
        for (size_t j = 0; j < i; j++)
            row[j] = (row[j] - dot(row, matrix + j * p, j)) / matrix[j * p + j];
        double rest = row[i] - dot(row, row, i);
        if (!(rest > 0)) return false;
        row[i] = sqrt(rest);
    }
    return true;
}

/* x becomes the solution of L L^T x = x. */
static void substitute(double *x, const double *matrix, size_t p) {
    for (size_t i = 0; i < p; i++) x[i] = (x[i] - dot(matrix + i * p, x, i)) / matrix[i * p + i];
    for (size_t i = p; i-- > 0;) {
        x[i] /= matrix[i * p + i];
        for (size_t j = 0; j < i; j++) x[j] -= matrix[i * p + j] * x[i];
    }
}

affect_status affect_lda_solve(affect_lda *lda, double shrinkage, affect_error *err) {
    size_t p = lda->p, n_there = 0;
    for (size_t c = 0; c < lda->n_classes; c++) n_there += lda->n_of_class[c] > 0;
    if (n_there < 2)
        return affect_fail(err, INVALID, "discriminant analysis: %zu classes (need two)", n_there);
    if (lda->n_batch) add_batch(lda);
    double trace = make_covariance(lda, shrinkage);
    /* Of rows that are alike within each class only rounding remains. */
    if (!(trace > (double)p * (double)lda->n_rows * DBL_EPSILON) || !decompose(lda->gram, p))
        return affect_fail(err, INVALID,
                           "discriminant analysis: nothing varies within the classes");
    for (size_t c = 0; c < lda->n_classes; c++) {
        const double *mean = lda->class_mean + c * p;
        double *coef = lda->coef + c * p;
        for (size_t j = 0; j < p; j++) coef[j] = mean[j];
        substitute(coef, lda->gram, p);
        lda->intercept[c] =
            lda->n_of_class[c]
                ? log((double)lda->n_of_class[c] / (double)lda->n_rows) - dot(mean, coef, p) / 2
                : -INFINITY;
    }
    return AFFECT_STATUS_OK;
}

void affect_lda_score(affect_lda *lda, double *scores, const double *x) {
    scale_row(lda, lda->x, x);
    for (size_t c = 0; c < lda->n_classes; c++)
        scores[c] = dot(lda->x, lda->coef + c * lda->p, lda->p) + lda->intercept[c];
}

int affect_lda_predict(affect_lda *lda, const double *x) {
    double scores[AFFECT_MAX_CLASSES];
    int best = 0;
    affect_lda_score(lda, scores, x);
    for (size_t c = 1; c < lda->n_classes; c++)
        if (scores[c] > scores[best]) best = (int)c;
    return best;
}
