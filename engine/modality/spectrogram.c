/* Power spectrograms; see spectrogram.h.
 *
 * All in double, as librosa transforms. Where n_fft is a power of two, eight neighbouring frames
 * are transformed side by side, a frame in each lane of a vector (frame_kernel.h): the samples of a
 * batch are first arranged so that those of neighbouring frames are neighbours. Other sizes go
 * through FFTW, two real frames as one complex one: the share of one frame's rounding that its
 * neighbour gets (1e-16) is far below any floor. */
#include "engine/modality/spectrogram.h"

#include "engine/modality/frame_kernel.h"

#include <assert.h>
#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BATCH      AFFECT_SPECTROGRAM_BATCH
#define PAIRS      (BATCH / 2)
#define STRIDE_GAP 8 /* keeps the spectra of a batch out of the same lines of the cache */

/* Frames in lanes. Sample r + c hop of the batch (r < n_rows) is arranged[r width + c]. */
typedef struct {
    const affect_frame_kernel *kernel; /* NULL: FFTW transforms */
    affect_frame_tables tables;
    size_t n_rows, n_columns, width;
    float *arranged;
    uint32_t *offsets; /* (n_fft) of a frame's samples in `arranged` */
    double *work;      /* (n_fft, BATCH) */
} lane_transform;

/* Frames in pairs: 2p is the real, 2p + 1 the imaginary part. */
typedef struct {
    size_t stride;
    fftw_complex *frames, *spectra; /* (PAIRS, stride) */
    fftw_plan plan;                 /* frames -> spectra, all of a batch */
} pair_transform;

struct affect_spectrogram {
    size_t n_fft, hop_length, n_bins;
    double power;
    double *window; /* (n_fft) */
    float *powers;  /* (n_bins, BATCH) */
    lane_transform lanes;
    pair_transform pairs;
};

_Static_assert(BATCH == AFFECT_FRAME_LANES, "a batch is a vector of frames");

/* Periodic Hann: 0.5 - 0.5 cos(2 pi i / win_length), centred in n_fft. */
static void fill_window(double *window, size_t n_fft, size_t win_length) {
    size_t left = (n_fft - win_length) / 2;
    for (size_t i = 0; i < n_fft; i++) window[i] = 0;
    for (size_t i = 0; i < win_length; i++)
        window[left + i] = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)win_length);
}

/* Memory for whole vectors, or NULL. */
static void *allocate(size_t count, size_t size) {
    return aligned_alloc(64, (count * size + 63) / 64 * 64);
}

/* ---- Frames in lanes ---- */

static affect_status create_lanes(affect_spectrogram *s, affect_error *err) {
    lane_transform *lanes = &s->lanes;
    AFFECT_TRY(affect_frame_tables_make(&lanes->tables, s->n_fft, err));
    lanes->n_rows = s->hop_length < s->n_fft ? s->hop_length : s->n_fft;
    lanes->n_columns = BATCH + (s->n_fft - 1) / s->hop_length;
    lanes->width = (lanes->n_columns + 15) / 16 * 16;
    lanes->arranged = allocate(lanes->n_rows * lanes->width, sizeof *lanes->arranged);
    lanes->offsets = allocate(s->n_fft, sizeof *lanes->offsets);
    lanes->work = allocate(s->n_fft * BATCH, sizeof *lanes->work);
    if (!lanes->arranged || !lanes->offsets || !lanes->work)
        return affect_fail(err, NO_MEMORY, "spectrogram: no memory for frames of %zu", s->n_fft);
    for (size_t i = 0; i < s->n_fft; i++)
        lanes->offsets[i] = (uint32_t)(i % s->hop_length * lanes->width + i / s->hop_length);
    return affect_frame_kernel_choose(&lanes->kernel, err);
}

static void clear_lanes(lane_transform *lanes) {
    affect_frame_tables_clear(&lanes->tables);
    free(lanes->arranged);
    free(lanes->offsets);
    free(lanes->work);
}

/* One column: the samples from `begin` (which counts from n_fft / 2 samples before the first),
 * zeros outside of 0..n. */
static void arrange_column(const lane_transform *lanes, float *column, const float *samples,
                           size_t n, size_t begin, size_t half) {
    size_t width = lanes->width, n_rows = lanes->n_rows;
    size_t from = begin < half ? half - begin : 0;       /* first row with a sample */
    size_t to = n + half > begin ? n + half - begin : 0; /* after the last one */
    if (to > n_rows) to = n_rows;
    if (from > to) from = to;
    for (size_t r = 0; r < from; r++) column[r * width] = 0;
    for (size_t r = from; r < to; r++) column[r * width] = samples[begin + r - half];
    for (size_t r = to; r < n_rows; r++) column[r * width] = 0;
}

static void run_lanes(affect_spectrogram *s, const float *samples, size_t n, size_t first_frame) {
    const lane_transform *lanes = &s->lanes;
    for (size_t c = 0; c < lanes->n_columns; c++)
        arrange_column(lanes, lanes->arranged + c, samples, n, (first_frame + c) * s->hop_length,
                       s->n_fft / 2);
    lanes->kernel->powers(s->powers, lanes->work, &lanes->tables, lanes->arranged, lanes->offsets,
                          s->window);
}

/* ---- Frames in pairs, by FFTW ---- */

static pthread_mutex_t planner_lock = PTHREAD_MUTEX_INITIALIZER;

static affect_status create_pairs(affect_spectrogram *s, affect_error *err) {
    pair_transform *pairs = &s->pairs;
    int n = (int)s->n_fft, stride = (int)s->n_fft + STRIDE_GAP;
    pairs->stride = (size_t)stride;
    pairs->frames = fftw_alloc_complex(PAIRS * pairs->stride);
    pairs->spectra = fftw_alloc_complex(PAIRS * pairs->stride);
    if (pairs->frames && pairs->spectra) {
        pthread_mutex_lock(&planner_lock);
        pairs->plan =
            fftw_plan_many_dft(1, &n, PAIRS, pairs->frames, NULL, 1, stride, pairs->spectra, NULL,
                               1, stride, FFTW_FORWARD, FFTW_ESTIMATE);
        pthread_mutex_unlock(&planner_lock);
    }
    if (pairs->plan) return AFFECT_STATUS_OK;
    return affect_fail(err, NO_MEMORY, "spectrogram: no memory for frames of %zu", s->n_fft);
}

static void clear_pairs(pair_transform *pairs) {
    pthread_mutex_lock(&planner_lock);
    if (pairs->plan) fftw_destroy_plan(pairs->plan);
    pthread_mutex_unlock(&planner_lock);
    fftw_free(pairs->frames);
    fftw_free(pairs->spectra);
}

/* Writes the windowed samples of a frame to every second double of `frame`, zeros outside of 0..n;
 * false when no sample lies in it. */
static bool load_frame(const affect_spectrogram *spectrogram, double *frame, const float *samples,
                       size_t n, size_t index) {
    const double *window = spectrogram->window;
    size_t n_fft = spectrogram->n_fft, half = n_fft / 2;
    size_t middle = index * spectrogram->hop_length;
    size_t begin = middle < half ? half - middle : 0;       /* first place with a sample */
    size_t end = n + half > middle ? n + half - middle : 0; /* after the last one */
    if (end > n_fft) end = n_fft;
    if (begin > end) begin = end;
    const float *from = begin < end ? samples + (middle + begin - half) : samples;
    for (size_t i = 0; i < begin; i++) frame[2 * i] = 0;
    for (size_t i = begin; i < end; i++) frame[2 * i] = (double)from[i - begin] * window[i];
    for (size_t i = end; i < n_fft; i++) frame[2 * i] = 0;
    return begin < end;
}

/* The powers of all frames. Of Z = DFT(a + i b) with real a and b,
 * DFT(a)[k] = (Z[k] + conj Z[N - k]) / 2 and DFT(b)[k] = (Z[k] - conj Z[N - k]) / 2i. */
static void store_powers(affect_spectrogram *spectrogram) {
    size_t n_fft = spectrogram->n_fft;
    for (size_t k = 0; k < spectrogram->n_bins; k++) {
        size_t mirror = k ? n_fft - k : 0;
        float *powers = spectrogram->powers + k * BATCH;
        for (size_t pair = 0; pair < PAIRS; pair++) {
            const fftw_complex *z = spectrogram->pairs.spectra + pair * spectrogram->pairs.stride;
            double sum_re = z[k][0] + z[mirror][0], sum_im = z[k][1] + z[mirror][1];
            double gap_re = z[k][0] - z[mirror][0], gap_im = z[k][1] - z[mirror][1];
            powers[2 * pair] = (float)(0.25 * (sum_re * sum_re + gap_im * gap_im));
            powers[2 * pair + 1] = (float)(0.25 * (sum_im * sum_im + gap_re * gap_re));
        }
    }
}

/* A frame of zeros has no power, whatever rounding its neighbour left there. */
static void clear_frame(affect_spectrogram *spectrogram, size_t q) {
    for (size_t k = 0; k < spectrogram->n_bins; k++) spectrogram->powers[k * BATCH + q] = 0;
}

static void run_pairs(affect_spectrogram *s, const float *samples, size_t n, size_t first_frame) {
    bool filled[BATCH];
    for (size_t q = 0; q < BATCH; q++) {
        double *frame = s->pairs.frames[q / 2 * s->pairs.stride] + q % 2;
        filled[q] = load_frame(s, frame, samples, n, first_frame + q);
    }
    fftw_execute(s->pairs.plan);
    store_powers(s);
    for (size_t q = 0; q < BATCH; q++)
        if (!filled[q]) clear_frame(s, q);
}

/* ---- Both ---- */

affect_status affect_spectrogram_create(affect_spectrogram **spectrogram, size_t n_fft,
                                        size_t hop_length, size_t win_length, double power,
                                        affect_error *err) {
    assert(n_fft >= 2 && n_fft % 2 == 0 && win_length >= 1 && win_length <= n_fft);
    assert(hop_length >= 1);
    affect_spectrogram *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "spectrogram: no memory");
    made->n_fft = n_fft;
    made->hop_length = hop_length;
    made->n_bins = n_fft / 2 + 1;
    made->power = power;
    made->window = allocate(n_fft, sizeof *made->window);
    made->powers = allocate(BATCH * made->n_bins, sizeof *made->powers);
    affect_status status = AFFECT_STATUS_OK;
    if (!made->window || !made->powers)
        status = affect_fail(err, NO_MEMORY, "spectrogram: no memory for %zu bins", made->n_bins);
    if (status == AFFECT_STATUS_OK)
        status = affect_frame_tables_can(n_fft) ? create_lanes(made, err) : create_pairs(made, err);
    if (status != AFFECT_STATUS_OK) {
        affect_spectrogram_free(made);
        return status;
    }
    fill_window(made->window, n_fft, win_length);
    *spectrogram = made;
    return AFFECT_STATUS_OK;
}

void affect_spectrogram_free(affect_spectrogram *spectrogram) {
    if (!spectrogram) return;
    clear_lanes(&spectrogram->lanes);
    clear_pairs(&spectrogram->pairs);
    free(spectrogram->window);
    free(spectrogram->powers);
    free(spectrogram);
}

const float *affect_spectrogram_batch(affect_spectrogram *spectrogram, const float *samples,
                                      size_t n, size_t first_frame) {
    if (spectrogram->lanes.kernel)
        run_lanes(spectrogram, samples, n, first_frame);
    else
        run_pairs(spectrogram, samples, n, first_frame);
    if (spectrogram->power != 2) {
        float exponent = (float)(spectrogram->power / 2);
        for (size_t i = 0; i < spectrogram->n_bins * BATCH; i++)
            spectrogram->powers[i] = powf(spectrogram->powers[i], exponent);
    }
    return spectrogram->powers;
}
