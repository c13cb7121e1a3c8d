/* exp, sigmoid and tanh that compilers can vectorise.
 *
 * float: Cephes' expf and tanhf (Moshier), written without branches or tables; at most 2 ulp from
 * the true value over the range where the result is normal (measured in tests). double, used for
 * gradient checks only: libm. */
#ifndef AFFECT_CPU_CPU_MATH_H
#define AFFECT_CPU_CPU_MATH_H

#include "engine/core/tensor.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef AFFECT_REAL_DOUBLE

static inline double affect_exp(double x) {
    return exp(x);
}
static inline double affect_tanh(double x) {
    return tanh(x);
}

#else

static inline float affect_exp(float x) {
    x = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float rounded = x * 1.44269504088896341f + magic, n = rounded - magic;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits; /* the low bits of `rounded` are n's: 2^n without a conversion, NaN or not */
    memcpy(&bits, &rounded, sizeof bits);
    bits = (bits << 23) + (127u << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

static inline float affect_tanh(float x) {
    float a = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float large = copysignf(1.0f - 2.0f / (affect_exp(2 * a) + 1.0f), x);
    return a < 0.625f ? small : large;
}

#endif

static inline affect_real affect_sigmoid(affect_real x) {
    return 1 / (1 + affect_exp(-x));
}

#endif
