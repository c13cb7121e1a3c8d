/* Tables of the frame transform, and the choice of a level; see frame_kernel.h. Compiled once. */
#include "engine/modality/frame_kernel.h"

#include "engine/core/cpu_level.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI_L 3.14159265358979323846264338327950288L

affect_status affect_frame_kernel_choose(const affect_frame_kernel **kernel, affect_error *err) {
    static const affect_frame_kernel *const kernels[AFFECT_CPU_LEVEL_COUNT] = {
        [AFFECT_CPU_GENERIC] = &affect_frame_kernel_generic,
#ifdef __x86_64__
        [AFFECT_CPU_AVX2] = &affect_frame_kernel_avx2,
        [AFFECT_CPU_AVX512] = &affect_frame_kernel_avx512,
#endif
    };
    affect_cpu_level level;
    AFFECT_TRY(affect_cpu_level_choose(&level, err));
    *kernel = kernels[level];
    return AFFECT_STATUS_OK;
}

int affect_frame_tables_can(size_t n_fft) {
    return n_fft >= AFFECT_FRAME_MIN && n_fft <= AFFECT_FRAME_MAX && (n_fft & (n_fft - 1)) == 0;
}

/* Radix 8 while it leaves 8 or 4; 16 is 4 by 4, 2 is left to itself. */
static size_t radix_of(size_t n) {
    return n == 16 || n == 4 ? 4 : n == 2 ? 2 : 8;
}

/* exp(-2 pi i k / n), re and im. */
static void root(double *to, size_t k, size_t n) {
    long double angle = -2 * PI_L * (long double)(k % n) / (long double)n;
    to[0] = (double)cosl(angle);
    to[1] = (double)sinl(angle);
}

static double *make_twiddles(size_t n, size_t radix) {
    size_t n_columns = n / radix, row = 2 * (radix - 1);
    double *twiddles = malloc(n_columns * row * sizeof *twiddles);
    for (size_t j = 0; twiddles && j < n_columns; j++)
        for (size_t r = 1; r < radix; r++) root(twiddles + j * row + 2 * (r - 1), j * r, n);
    return twiddles;
}

/* After a pass of radix R, part r of n / R numbers holds the bins k with k mod R = r. */
static uint32_t place_of(const affect_frame_tables *tables, size_t k) {
    size_t place = 0, n = tables->n_fft / 2;
    for (int pass = 0; tables->radix[pass]; pass++) {
        n /= tables->radix[pass];
        place += k % tables->radix[pass] * n;
        k /= tables->radix[pass];
    }
    return (uint32_t)place;
}

affect_status affect_frame_tables_make(affect_frame_tables *tables, size_t n_fft,
                                       affect_error *err) {
    size_t n_complex = n_fft / 2, n_passes = 0;
    *tables = (affect_frame_tables){.n_fft = n_fft};
    tables->unfold = malloc(n_fft / 4 * 2 * sizeof *tables->unfold);
    tables->place = malloc(n_complex * sizeof *tables->place);
    int complete = tables->unfold && tables->place;
    for (size_t n = n_complex; n > 1; n /= tables->radix[n_passes++]) {
        tables->radix[n_passes] = radix_of(n);
        tables->twiddles[n_passes] = make_twiddles(n, tables->radix[n_passes]);
        complete = complete && tables->twiddles[n_passes];
    }
    if (!complete) {
        affect_frame_tables_clear(tables);
        return affect_fail(err, NO_MEMORY, "no memory for the tables of %zu samples", n_fft);
    }
    for (size_t k = 0; k < n_fft / 4; k++) root(tables->unfold + 2 * k, k, n_fft);
    for (size_t k = 0; k < n_complex; k++) tables->place[k] = place_of(tables, k);
    return AFFECT_STATUS_OK;
}

void affect_frame_tables_clear(affect_frame_tables *tables) {
    for (int pass = 0; pass < AFFECT_FRAME_PASSES; pass++) free(tables->twiddles[pass]);
    free(tables->unfold);
    free(tables->place);
    memset(tables, 0, sizeof *tables);
}
