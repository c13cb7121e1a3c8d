/* Adam on the CPU, in Keras' form (device/backend.h, affect_adam_shape). */
#include "engine/device/cpu/cpu_backend.h"

#include <math.h>

typedef struct {
    affect_real *parameters, *m, *v;
    const affect_real *gradients;
    affect_real rate, one_minus_beta_1, one_minus_beta_2, epsilon;
} adam_call;

#ifdef AFFECT_REAL_DOUBLE
#define square_root sqrt
#else
#define square_root sqrtf
#endif

static void step_range(affect_real *restrict p, affect_real *restrict m, affect_real *restrict v,
                       const affect_real *restrict g, size_t n, const adam_call *call) {
    affect_real rate = call->rate, a = call->one_minus_beta_1, b = call->one_minus_beta_2;
    affect_real epsilon = call->epsilon;
    for (size_t i = 0; i < n; i++) {
        m[i] += (g[i] - m[i]) * a;
        v[i] += (g[i] * g[i] - v[i]) * b;
        p[i] -= rate * m[i] / (square_root(v[i]) + epsilon);
    }
}

static void step_task(void *context, size_t begin, size_t end, int thread) {
    (void)thread;
    const adam_call *call = context;
    step_range(call->parameters + begin, call->m + begin, call->v + begin, call->gradients + begin,
               end - begin, call);
}

void AFFECT_CPU_OPERATION(adam_step)(affect_backend *backend, affect_real *parameters,
                                     affect_real *m, affect_real *v, const affect_real *gradients,
                                     const affect_adam_shape *shape) {
    if (!affect_cpu_ready(backend)) return;
    double t = (double)shape->step;
    double rate =
        shape->learning_rate * sqrt(1 - pow(shape->beta_2, t)) / (1 - pow(shape->beta_1, t));
    adam_call call = {parameters,
                      m,
                      v,
                      gradients,
                      (affect_real)rate,
                      (affect_real)(1 - shape->beta_1),
                      (affect_real)(1 - shape->beta_2),
                      (affect_real)shape->epsilon};
    affect_cpu_run(backend, shape->n, step_task, &call);
}
