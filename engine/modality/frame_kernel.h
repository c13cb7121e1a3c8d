/* The arithmetic of mel spectrograms, eight neighbouring frames at a time.
 *
 * A lane is a frame: every operation below works on all lanes alike and none looks across them, so
 * a frame's numbers are the same whatever stands beside it. frame_kernel.c is compiled once a level
 * of vector instructions (core/cpu_level.h), without fused multiply-adds: the bits are the same on
 * every level.
 *
 * Frames of n_fft (a power of two, 16 or more) real samples x are transformed as n_fft / 2 complex
 * numbers x[2i] + i x[2i + 1], decimated in frequency with radix 8 and 4, depth first: after one
 * pass over all, the parts fit into the first-level cache. The results stay in digit-reversed
 * order; `place` says where each lies. Then X is unfolded (Sorensen et al. 1987):
 *   2 X[k] = (Z[k] + conj Z[M - k]) - i W^k (Z[k] - conj Z[M - k]),  W = exp(-2 pi i / n_fft),
 * M = n_fft / 2. Twiddle factors are computed in long double. */
#ifndef AFFECT_MODALITY_FRAME_KERNEL_H
#define AFFECT_MODALITY_FRAME_KERNEL_H

#include "engine/core/status.h"

#include <stddef.h>
#include <stdint.h>

#define AFFECT_FRAME_LANES  8
#define AFFECT_FRAME_PASSES 8
#define AFFECT_FRAME_MIN    16
#define AFFECT_FRAME_MAX    32768

/* Tables of one size; plain data, shared. */
typedef struct {
    size_t n_fft;
    size_t radix[AFFECT_FRAME_PASSES];     /* of each pass, 0 after the last */
    double *twiddles[AFFECT_FRAME_PASSES]; /* (n / radix, radix - 1, re im) of a pass over n */
    double *unfold;                        /* (n_fft / 4, re im): W^k */
    uint32_t *place;                       /* (n_fft / 2): where bin k's number lies */
} affect_frame_tables;

/* Whether n_fft is one of the sizes above. */
int affect_frame_tables_can(size_t n_fft);
affect_status affect_frame_tables_make(affect_frame_tables *tables, size_t n_fft,
                                       affect_error *err);
void affect_frame_tables_clear(affect_frame_tables *tables);

/* Band m of a filter bank sums weights[offset + i] * power[first + i]. */
typedef struct {
    size_t first, count, offset;
} affect_mel_filter_row;

typedef struct {
    /* powers (n_fft / 2 + 1, LANES) = |X|^2 of the frames whose sample i is
     * samples[offsets[i] + lane] * window[i]. work: n_fft * LANES doubles, 64-byte aligned. */
    void (*powers)(float *powers, double *work, const affect_frame_tables *tables,
                   const float *samples, const uint32_t *offsets, const double *window);
    /* values (LANES, n_bands): all bands of powers (.., LANES), 32-byte aligned. */
    void (*filter)(float *values, const float *powers, const affect_mel_filter_row *rows,
                   size_t n_bands, const float *weights);
    /* The largest of n, at least 0. */
    float (*largest)(const float *values, size_t n);
    /* v = max(10 log10 max(v, least) - reference, floor) * gain + offset in place; least > 0 and
     * normal, v finite. The logarithm is within 1e-12 before it is rounded to float. */
    void (*decibels)(float *values, size_t n, float least, const double range[4]);
} affect_frame_kernel;

/* range of `decibels`. */
enum { AFFECT_DB_REFERENCE, AFFECT_DB_FLOOR, AFFECT_DB_GAIN, AFFECT_DB_OFFSET };

extern const affect_frame_kernel affect_frame_kernel_generic;
#ifdef __x86_64__
extern const affect_frame_kernel affect_frame_kernel_avx2, affect_frame_kernel_avx512;
#endif

/* The one for this machine, as cpu_level.h chooses (and AFFECT_CPU forces). */
affect_status affect_frame_kernel_choose(const affect_frame_kernel **kernel, affect_error *err);

#endif
