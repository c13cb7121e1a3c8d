/* Power spectrograms; see spectrogram.h.
 *
 * Two real frames are transformed as one complex one, which FFTW does faster than two real
 * transforms, in double: the share of one frame's rounding that its neighbour gets (1e-16) is then
 * far below any floor, and the result agrees with librosa, which transforms in double too. */
#include "engine/audio/spectrogram.h"

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

struct affect_spectrogram {
    size_t n_fft, hop_length, n_bins, stride;
    double power;
    double *window;        /* (n_fft) */
    fftw_complex *frames;  /* (PAIRS, stride): frame 2p is the real, 2p + 1 the imaginary part */
    fftw_complex *spectra; /* (PAIRS, stride) */
    float *powers;         /* (n_bins, BATCH) */
    fftw_plan plan;        /* frames -> spectra, all of a batch */
};

static pthread_mutex_t planner_lock = PTHREAD_MUTEX_INITIALIZER;

/* Periodic Hann: 0.5 - 0.5 cos(2 pi i / win_length), centred in n_fft. */
static void fill_window(double *window, size_t n_fft, size_t win_length) {
    size_t left = (n_fft - win_length) / 2;
    for (size_t i = 0; i < n_fft; i++) window[i] = 0;
    for (size_t i = 0; i < win_length; i++)
        window[left + i] = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)win_length);
}

static fftw_plan make_plan(affect_spectrogram *spectrogram) {
    int n = (int)spectrogram->n_fft, stride = (int)spectrogram->stride;
    pthread_mutex_lock(&planner_lock);
    fftw_plan plan =
        fftw_plan_many_dft(1, &n, PAIRS, spectrogram->frames, NULL, 1, stride, spectrogram->spectra,
                           NULL, 1, stride, FFTW_FORWARD, FFTW_ESTIMATE);
    pthread_mutex_unlock(&planner_lock);
    return plan;
}

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
    made->stride = n_fft + STRIDE_GAP;
    made->power = power;
    made->window = fftw_alloc_real(n_fft);
    made->frames = fftw_alloc_complex(PAIRS * made->stride);
    made->spectra = fftw_alloc_complex(PAIRS * made->stride);
    made->powers = malloc(BATCH * made->n_bins * sizeof *made->powers);
    if (made->window && made->frames && made->spectra && made->powers) made->plan = make_plan(made);
    if (!made->plan) {
        affect_spectrogram_free(made);
        return affect_fail(err, NO_MEMORY, "spectrogram: no memory for %zu bins", n_fft / 2 + 1);
    }
    fill_window(made->window, n_fft, win_length);
    *spectrogram = made;
    return AFFECT_STATUS_OK;
}

void affect_spectrogram_free(affect_spectrogram *spectrogram) {
    if (!spectrogram) return;
    pthread_mutex_lock(&planner_lock);
    if (spectrogram->plan) fftw_destroy_plan(spectrogram->plan);
    pthread_mutex_unlock(&planner_lock);
    fftw_free(spectrogram->window);
    fftw_free(spectrogram->frames);
    fftw_free(spectrogram->spectra);
    free(spectrogram->powers);
    free(spectrogram);
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
            const fftw_complex *z = spectrogram->spectra + pair * spectrogram->stride;
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

const float *affect_spectrogram_batch(affect_spectrogram *spectrogram, const float *samples,
                                      size_t n, size_t first_frame) {
    bool filled[BATCH];
    for (size_t q = 0; q < BATCH; q++) {
        double *frame = spectrogram->frames[q / 2 * spectrogram->stride] + q % 2;
        filled[q] = load_frame(spectrogram, frame, samples, n, first_frame + q);
    }
    fftw_execute(spectrogram->plan);
    store_powers(spectrogram);
    for (size_t q = 0; q < BATCH; q++)
        if (!filled[q]) clear_frame(spectrogram, q);
    if (spectrogram->power != 2) {
        float exponent = (float)(spectrogram->power / 2);
        for (size_t i = 0; i < spectrogram->n_bins * BATCH; i++)
            spectrogram->powers[i] = powf(spectrogram->powers[i], exponent);
    }
    return spectrogram->powers;
}
