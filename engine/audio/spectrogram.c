/* Power spectrograms; see spectrogram.h. */
#include "engine/audio/spectrogram.h"

#include <assert.h>
#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BATCH AFFECT_SPECTROGRAM_BATCH

struct affect_spectrogram {
    size_t n_fft, hop_length, n_bins;
    double power;
    float *window;          /* (n_fft) */
    float *frames;          /* (BATCH, n_fft) windowed samples */
    fftwf_complex *spectra; /* (BATCH, n_bins) */
    float *powers;          /* (n_bins, BATCH) */
    fftwf_plan plan;        /* frames -> spectra, all of a batch */
};

static pthread_mutex_t planner_lock = PTHREAD_MUTEX_INITIALIZER;

/* Periodic Hann: 0.5 - 0.5 cos(2 pi i / win_length), centred in n_fft. */
static void fill_window(float *window, size_t n_fft, size_t win_length) {
    size_t left = (n_fft - win_length) / 2;
    for (size_t i = 0; i < n_fft; i++) window[i] = 0;
    for (size_t i = 0; i < win_length; i++)
        window[left + i] = (float)(0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)win_length));
}

static fftwf_plan make_plan(affect_spectrogram *spectrogram) {
    int n = (int)spectrogram->n_fft;
    pthread_mutex_lock(&planner_lock);
    fftwf_plan plan = fftwf_plan_many_dft_r2c(
        1, &n, BATCH, spectrogram->frames, NULL, 1, n, spectrogram->spectra, NULL, 1,
        (int)spectrogram->n_bins, FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
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
    made->power = power;
    made->window = fftwf_alloc_real(n_fft);
    made->frames = fftwf_alloc_real(BATCH * n_fft);
    made->spectra = fftwf_alloc_complex(BATCH * made->n_bins);
    made->powers = fftwf_alloc_real(BATCH * made->n_bins);
    if (made->window && made->frames && made->spectra && made->powers) made->plan = make_plan(made);
    if (!made->plan) {
        affect_spectrogram_free(made);
        return affect_fail(err, NO_MEMORY, "spectrogram: no memory for %zu bins", made->n_bins);
    }
    fill_window(made->window, n_fft, win_length);
    *spectrogram = made;
    return AFFECT_STATUS_OK;
}

void affect_spectrogram_free(affect_spectrogram *spectrogram) {
    if (!spectrogram) return;
    pthread_mutex_lock(&planner_lock);
    if (spectrogram->plan) fftwf_destroy_plan(spectrogram->plan);
    pthread_mutex_unlock(&planner_lock);
    fftwf_free(spectrogram->window);
    fftwf_free(spectrogram->frames);
    fftwf_free(spectrogram->spectra);
    fftwf_free(spectrogram->powers);
    free(spectrogram);
}

/* The windowed samples of a frame, zeros outside of 0..n. */
static void load_frame(const affect_spectrogram *spectrogram, float *frame, const float *samples,
                       size_t n, size_t index) {
    const float *window = spectrogram->window;
    size_t n_fft = spectrogram->n_fft, half = n_fft / 2;
    size_t middle = index * spectrogram->hop_length;
    size_t begin = middle < half ? half - middle : 0;       /* first place with a sample */
    size_t end = n + half > middle ? n + half - middle : 0; /* after the last one */
    if (end > n_fft) end = n_fft;
    if (begin >= end) {
        memset(frame, 0, n_fft * sizeof *frame);
        return;
    }
    const float *from = samples + (middle + begin - half);
    memset(frame, 0, begin * sizeof *frame);
    for (size_t i = begin; i < end; i++) frame[i] = from[i - begin] * window[i];
    memset(frame + end, 0, (n_fft - end) * sizeof *frame);
}

/* Powers of one spectrum into column q. */
static void store_powers(affect_spectrogram *spectrogram, size_t q) {
    const float *spectrum = (const float *)(spectrogram->spectra + q * spectrogram->n_bins);
    float *powers = spectrogram->powers + q;
    for (size_t k = 0; k < spectrogram->n_bins; k++) {
        float re = spectrum[2 * k], im = spectrum[2 * k + 1];
        powers[k * BATCH] = re * re + im * im;
    }
}

const float *affect_spectrogram_batch(affect_spectrogram *spectrogram, const float *samples,
                                      size_t n, size_t first_frame) {
    for (size_t q = 0; q < BATCH; q++)
        load_frame(spectrogram, spectrogram->frames + q * spectrogram->n_fft, samples, n,
                   first_frame + q);
    fftwf_execute(spectrogram->plan);
    for (size_t q = 0; q < BATCH; q++) store_powers(spectrogram, q);
    if (spectrogram->power != 2) {
        float exponent = (float)(spectrogram->power / 2);
        for (size_t i = 0; i < spectrogram->n_bins * BATCH; i++)
            spectrogram->powers[i] = powf(spectrogram->powers[i], exponent);
    }
    return spectrogram->powers;
}
