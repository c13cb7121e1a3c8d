/* Temperature scaling; see temperature.h.
 *
 * In b = 1 / T the mean negative log-likelihood is convex: its derivative is the mean of
 * E[z] - z_label, its second one the mean of Var[z], both under softmax(b z). So Newton's method is
 * kept inside a bracket whose ends have slopes of different signs, halved where a step would leave
 * it. Everything is computed in double, in the order of the utterances. */
#include "engine/evaluation/temperature.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_STEPS = 200 };

/* The first two derivatives of the mean negative log-likelihood at b. */
static void derive(double *slope, double *curvature, const double *z, const int *labels, size_t n,
                   size_t n_classes, double b) {
    *slope = *curvature = 0;
    for (size_t i = 0; i < n; i++, z += n_classes) {
        double largest = z[0], sum = 0, first = 0, second = 0;
        for (size_t c = 1; c < n_classes; c++) largest = fmax(largest, z[c]);
        for (size_t c = 0; c < n_classes; c++) {
            double weight = exp(b * (z[c] - largest));
            sum += weight;
            first += weight * z[c];
            second += weight * z[c] * z[c];
        }
        first /= sum;
        *slope += first - z[labels[i]];
        *curvature += fmax(second / sum - first * first, 0);
    }
    *slope /= (double)n;
    *curvature /= (double)n;
}

affect_status affect_temperature_fit(double *temperature, const float *probabilities,
                                     const int *labels, size_t n, size_t n_classes,
                                     affect_error *err) {
    double low = 1 / AFFECT_TEMPERATURE_MAX, high = 1 / AFFECT_TEMPERATURE_MIN, b = 1;
    double slope, curvature, *z = malloc((n * n_classes + 1) * sizeof *z);
    if (!z) return affect_fail(err, NO_MEMORY, "no memory to fit a temperature to %zu", n);
    for (size_t i = 0; i < n * n_classes; i++) z[i] = log(fmax(probabilities[i], FLT_MIN));
    for (int step = 0; step < MAX_STEPS; step++) {
        derive(&slope, &curvature, z, labels, n, n_classes, b);
        if (slope == 0) break;
        if (slope > 0)
            high = b;
        else
            low = b;
        double next = b - slope / curvature;
        if (!(next > low && next < high)) next = (low + high) / 2;
        double moved = fabs(next - b);
        b = next;
        if (moved <= 1e-12 * b) break;
    }
    free(z);
    *temperature = 1 / b;
    return AFFECT_STATUS_OK;
}

void affect_temperature_apply(float *scaled, const float *probabilities, size_t n, size_t n_classes,
                              double temperature) {
    for (size_t i = 0; i < n; i++, scaled += n_classes, probabilities += n_classes) {
        double largest = 0, sum = 0;
        for (size_t c = 0; c < n_classes; c++) largest = fmax(largest, probabilities[c]);
        largest = log(fmax(largest, FLT_MIN));
        for (size_t c = 0; c < n_classes; c++) {
            double weight = exp((log(fmax(probabilities[c], FLT_MIN)) - largest) / temperature);
            sum += weight;
            scaled[c] = (float)weight;
        }
        for (size_t c = 0; c < n_classes; c++) scaled[c] = (float)(scaled[c] / sum);
    }
}
