/* Cross-entropy and the L2 penalty on the CPU. */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>

#define SMALLEST_PROBABILITY 1e-7 /* Keras' epsilon */

void AFFECT_CPU_OPERATION(cross_entropy)(affect_backend *backend, affect_real *d_logits,
                                         double *stats, const affect_real *probabilities,
                                         const int32_t *labels, const affect_real *weights,
                                         const affect_loss_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    size_t n = shape->classes;
    for (size_t r = 0; r < shape->batch; r++) {
        const affect_real *p = probabilities + r * n;
        size_t label = (size_t)labels[r], predicted = 0;
        double weight = weights ? (double)weights[r] : 1, true_p = (double)p[label];
        for (size_t c = 1; c < n; c++)
            if (p[c] > p[predicted]) predicted = c;
        /* Written so that NaN stays NaN. */
        stats[0] += weight * -log(true_p < SMALLEST_PROBABILITY ? SMALLEST_PROBABILITY : true_p);
        stats[1] += 1;
        stats[2 + label * n + predicted] += 1;
        for (size_t c = 0; d_logits && c < n; c++)
            d_logits[r * n + c] =
                (affect_real)(weight * ((double)p[c] - (c == label)) / shape->divisor);
    }
}

static void add_scaled(affect_real *restrict d_w, const affect_real *restrict w, size_t n,
                       affect_real scale) {
    for (size_t i = 0; i < n; i++) d_w[i] += scale * w[i];
}

void AFFECT_CPU_OPERATION(l2_penalty)(affect_backend *backend, double *total, affect_real *d_w,
                                      const affect_real *w, size_t n, double scale, double weight) {
    if (!affect_cpu_ready(backend)) return;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i] * (double)w[i];
    total[0] += weight * scale * sum;
    if (d_w) add_scaled(d_w, w, n, (affect_real)(2 * scale));
}
