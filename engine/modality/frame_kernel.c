/* The arithmetic of mel spectrograms; see frame_kernel.h. Compiled once a level, with -O3 and
 * without fused multiply-adds; a vector is as wide as the level's registers, and a level with
 * narrower ones takes the lanes in several goes. */
#include "engine/modality/frame_kernel.h"

#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_LANES 8
#elif defined(__AVX2__)
#define VECTOR_LANES 4
#else
#define VECTOR_LANES 2
#endif

#define JOIN_(name, level) name##_##level
#define JOIN(name, level)  JOIN_(name, level)
#define INLINE             static inline __attribute__((always_inline))

typedef double vector __attribute__((vector_size(8 * VECTOR_LANES), may_alias));
typedef float narrow __attribute__((vector_size(4 * VECTOR_LANES), aligned(4), may_alias));

/* A complex number of each lane. */
typedef struct {
    vector re, im;
} number;

INLINE number add(number a, number b) {
    return (number){a.re + b.re, a.im + b.im};
}

INLINE number subtract(number a, number b) {
    return (number){a.re - b.re, a.im - b.im};
}

INLINE number times_minus_i(number a) {
    return (number){a.im, -a.re};
}

INLINE number times(number a, const double *w) {
    return (number){a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]};
}

/* ---- Butterflies: x[r] becomes sum over m of x[m] exp(-2 pi i m r / radix) ---- */

INLINE void butterfly_4(number *y, size_t step, number a, number b, number c, number d) {
    number s0 = add(a, c), s1 = subtract(a, c), s2 = add(b, d);
    number s3 = times_minus_i(subtract(b, d));
    y[0] = add(s0, s2);
    y[step] = add(s1, s3);
    y[2 * step] = subtract(s0, s2);
    y[3 * step] = subtract(s1, s3);
}

/* Times exp(-i pi / 4) and exp(-3 i pi / 4). */
INLINE number times_eighth(number a) {
    const double h = 0.70710678118654752440;
    return (number){(a.re + a.im) * h, (a.im - a.re) * h};
}

INLINE number times_three_eighths(number a) {
    const double h = 0.70710678118654752440;
    return (number){(a.im - a.re) * h, -((a.re + a.im) * h)};
}

INLINE void butterfly_8(number x[8]) {
    number y[8];
    butterfly_4(y, 2, add(x[0], x[4]), add(x[1], x[5]), add(x[2], x[6]), add(x[3], x[7]));
    butterfly_4(y + 1, 2, subtract(x[0], x[4]), times_eighth(subtract(x[1], x[5])),
                times_minus_i(subtract(x[2], x[6])), times_three_eighths(subtract(x[3], x[7])));
    for (int r = 0; r < 8; r++) x[r] = y[r];
}

INLINE void butterfly(number *x, size_t radix) {
    if (radix == 8) {
        butterfly_8(x);
    } else if (radix == 4) {
        butterfly_4(x, 1, x[0], x[1], x[2], x[3]);
    } else {
        number a = x[0];
        x[0] = add(a, x[1]);
        x[1] = subtract(a, x[1]);
    }
}

/* ---- Passes ---- */

/* One column of a pass over n numbers that begin at `to`. */
INLINE void end_column(number *to, size_t n_columns, number *x, size_t radix,
                       const double *twiddles) {
    butterfly(x, radix);
    to[0] = x[0];
    for (size_t r = 1; r < radix; r++)
        to[r * n_columns] = n_columns > 1 ? times(x[r], twiddles + 2 * (r - 1)) : x[r];
}

INLINE void pass(number *numbers, size_t n, size_t radix, const double *twiddles) {
    size_t n_columns = n / radix;
    for (size_t j = 0; j < n_columns; j++) {
        number x[8];
        for (size_t m = 0; m < radix; m++) x[m] = numbers[j + m * n_columns];
        end_column(numbers + j, n_columns, x, radix, twiddles + 2 * j * (radix - 1));
    }
}

static void transform(number *numbers, size_t n, const size_t *radix,
                      const double *const *twiddles) {
    if (n == 1) return;
    if (*radix == 8)
        pass(numbers, n, 8, *twiddles);
    else if (*radix == 4)
        pass(numbers, n, 4, *twiddles);
    else
        pass(numbers, n, 2, *twiddles);
    size_t part = n / *radix;
    for (size_t r = 0; part > 1 && r < *radix; r++)
        transform(numbers + r * part, part, radix + 1, twiddles + 1);
}

INLINE vector load_sample(const float *samples, const uint32_t *offsets, const double *window,
                          size_t i) {
    return __builtin_convertvector(*(const narrow *)(samples + offsets[i]), vector) * window[i];
}

/* The first pass takes its numbers from the samples. */
INLINE void first_pass(number *numbers, size_t n, size_t radix, const double *twiddles,
                       const float *samples, const uint32_t *offsets, const double *window) {
    size_t n_columns = n / radix;
    for (size_t j = 0; j < n_columns; j++) {
        number x[8];
        for (size_t m = 0; m < radix; m++) {
            size_t i = 2 * (j + m * n_columns);
            x[m].re = load_sample(samples, offsets, window, i);
            x[m].im = load_sample(samples, offsets, window, i + 1);
        }
        end_column(numbers + j, n_columns, x, radix, twiddles + 2 * j * (radix - 1));
    }
}

INLINE void store_power(float *powers, size_t k, number x, double scale) {
    *(narrow *)(powers + k * AFFECT_FRAME_LANES) =
        __builtin_convertvector((x.re * x.re + x.im * x.im) * scale, narrow);
}

/* From Z to |X|^2, two bins at a time. */
static void unfold(float *powers, const number *numbers, const affect_frame_tables *tables) {
    size_t n = tables->n_fft / 2;
    const vector zero = {0};
    number z = numbers[0];
    store_power(powers, 0, (number){z.re + z.im, zero}, 1);
    store_power(powers, n, (number){z.re - z.im, zero}, 1);
    store_power(powers, n / 2, numbers[tables->place[n / 2]], 1);
    for (size_t k = 1; k < n / 2; k++) {
        number a = numbers[tables->place[k]], b = numbers[tables->place[n - k]];
        number even = {a.re + b.re, a.im - b.im};
        number odd = times((number){a.im + b.im, b.re - a.re}, tables->unfold + 2 * k);
        store_power(powers, k, add(even, odd), 0.25);
        store_power(powers, n - k, subtract(even, odd), 0.25);
    }
}

static void powers_of_lanes(float *powers, number *numbers, const affect_frame_tables *tables,
                            const float *samples, const uint32_t *offsets, const double *window) {
    size_t n = tables->n_fft / 2, radix = tables->radix[0], part = n / radix;
    if (radix == 8)
        first_pass(numbers, n, 8, tables->twiddles[0], samples, offsets, window);
    else
        first_pass(numbers, n, 4, tables->twiddles[0], samples, offsets, window);
    for (size_t r = 0; r < radix; r++)
        transform(numbers + r * part, part, tables->radix + 1,
                  (const double *const *)tables->twiddles + 1);
    unfold(powers, numbers, tables);
}

static void frame_powers(float *powers, double *work, const affect_frame_tables *tables,
                         const float *samples, const uint32_t *offsets, const double *window) {
    for (size_t lane = 0; lane < AFFECT_FRAME_LANES; lane += VECTOR_LANES)
        powers_of_lanes(powers + lane, (number *)work, tables, samples + lane, offsets, window);
}

/* ---- Filters and decibels ---- */

typedef float lanes __attribute__((vector_size(4 * AFFECT_FRAME_LANES), may_alias));

/* Two sums that do not wait for each other: those of even and of odd bins. */
INLINE void weigh(lanes *sums, const lanes *powers, const float *weights, size_t n) {
    lanes even = {0}, odd = {0};
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        even += powers[i] * weights[i];
        odd += powers[i + 1] * weights[i + 1];
    }
    if (i < n) even += powers[i] * weights[i];
    *sums = even + odd;
}

static void frame_filter(float *values, const float *powers, const affect_mel_filter_row *rows,
                         size_t n_bands, const float *weights) {
    for (size_t band = 0; band < n_bands; band++) {
        const affect_mel_filter_row *row = &rows[band];
        lanes sums;
        weigh(&sums, (const lanes *)powers + row->first, weights + row->offset, row->count);
        for (size_t q = 0; q < AFFECT_FRAME_LANES; q++) values[q * n_bands + band] = sums[q];
    }
}

static float frame_largest(const float *values, size_t n) {
    enum { RUNS = 32 }; /* independent maxima: as many as hide their latency */
    float most[RUNS] = {0};
    size_t i = 0;
    for (; i + RUNS <= n; i += RUNS)
        for (size_t r = 0; r < RUNS; r++)
            most[r] = values[i + r] > most[r] ? values[i + r] : most[r];
    for (; i < n; i++) most[0] = values[i] > most[0] ? values[i] : most[0];
    for (size_t r = 1; r < RUNS; r++) most[0] = most[r] > most[0] ? most[r] : most[0];
    return most[0];
}

/* ln x = e ln 2 + 2 atanh((m - 1) / (m + 1)) with x = m 2^e, sqrt(1/2) <= m < sqrt(2): the series
 * of atanh to the 15th power, whose rest is below 1e-13. */
INLINE double logarithm(float x) {
    int32_t bits;
    float mantissa;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x3f800000 - 0x3f3504f3;
    int32_t exponent = (bits >> 23) - 127;
    bits = (bits & 0x007fffff) + 0x3f3504f3;
    memcpy(&mantissa, &bits, sizeof mantissa);
    double s = ((double)mantissa - 1) / ((double)mantissa + 1), t = s * s;
    double sum = 1 / 15.0;
    sum = sum * t + 1 / 13.0;
    sum = sum * t + 1 / 11.0;
    sum = sum * t + 1 / 9.0;
    sum = sum * t + 1 / 7.0;
    sum = sum * t + 1 / 5.0;
    sum = sum * t + 1 / 3.0;
    sum = sum * t + 1;
    return exponent * 0.69314718055994530942 + 2 * s * sum;
}

static void frame_decibels(float *values, size_t n, float least, const double range[4]) {
    const double reference = range[AFFECT_DB_REFERENCE], floor_db = range[AFFECT_DB_FLOOR];
    const double gain = range[AFFECT_DB_GAIN], offset = range[AFFECT_DB_OFFSET];
    for (size_t i = 0; i < n; i++) {
        float power = values[i] > least ? values[i] : least;
        double db = 4.3429448190325182765 * logarithm(power) - reference;
        values[i] = (float)((db > floor_db ? db : floor_db) * gain + offset);
    }
}

const affect_frame_kernel JOIN(affect_frame_kernel, AFFECT_CPU_LEVEL) = {
    frame_powers, frame_filter, frame_largest, frame_decibels};
