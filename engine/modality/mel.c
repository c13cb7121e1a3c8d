/* Mel spectrograms; see mel.h.
 *
 * A filter touches few bins (2 to 40 of 1025), so only these are stored and summed. */
#include "engine/modality/mel.h"

#include "engine/modality/frame_kernel.h"
#include "engine/modality/spectrogram.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH      AFFECT_SPECTROGRAM_BATCH
#define MAX_VALUES ((size_t)1 << 24) /* of a clip: frames x bands; 64 MiB */

static const char *const references[] = {"max", "one", NULL};
static const char *const scales[] = {"slaney", "htk", NULL};
static const char *const norms[] = {"slaney", "none", NULL};

const affect_field affect_mel_fields[] = {
    AFFECT_FIELD_INTEGER(affect_mel_config, sample_rate_hz, 16000, 1000, 192000,
                         "rate that sound is resampled to"),
    AFFECT_FIELD_INTEGER(affect_mel_config, n_fft, 2048, 16, 32768, "samples of a frame, even"),
    AFFECT_FIELD_INTEGER(affect_mel_config, hop_length, 512, 1, 32768,
                         "samples from frame to frame"),
    AFFECT_FIELD_INTEGER(affect_mel_config, win_length, 0, 0, 32768,
                         "samples of the Hann window, at most n_fft; 0 = n_fft"),
    AFFECT_FIELD_INTEGER(affect_mel_config, n_mels, 128, 1, 512, "mel bands"),
    AFFECT_FIELD_NUMBER(affect_mel_config, fmin_hz, 0, 0, 96000, "lower edge of the first band"),
    AFFECT_FIELD_NUMBER(affect_mel_config, fmax_hz, 0, 0, 96000,
                        "upper edge of the last band; 0 = half the sample rate"),
    AFFECT_FIELD_NUMBER(affect_mel_config, power, 2, 1, 2, "exponent of the magnitude"),
    AFFECT_FIELD_NUMBER(affect_mel_config, top_db, 80, 1, 200,
                        "decibels from a clip's maximum to its floor"),
    AFFECT_FIELD_NUMBER(affect_mel_config, amin, 1e-10, 1e-30, 1, "least power"),
    AFFECT_FIELD_CHOICE(affect_mel_config, reference, AFFECT_MEL_REFERENCE_MAX, references,
                        "what 0 dB is: the clip's maximum, or one"),
    AFFECT_FIELD_CHOICE(affect_mel_config, scale, AFFECT_MEL_SCALE_SLANEY, scales, "mel scale"),
    AFFECT_FIELD_CHOICE(affect_mel_config, norm, AFFECT_MEL_NORM_SLANEY, norms,
                        "area of the filters: equal (slaney), or peaks of 1 (none)"),
    AFFECT_FIELD_NUMBER(affect_mel_config, clip_seconds, 16, 0.1, 600,
                        "seconds of sound that a network sees; longer is cut, shorter padded"),
    AFFECT_FIELD_END};

struct affect_mel {
    affect_mel_config config;
    size_t n_mels, hop_length, n_fft;
    affect_spectrogram *spectrogram;
    const affect_frame_kernel *kernel;
    affect_mel_filter_row *filters; /* (n_mels) */
    float *weights;                 /* of all filters, one after the other */
    float *values;                  /* (n_frames rounded up to a batch, n_mels) */
};

static double top_hz(const affect_mel_config *config) {
    return config->fmax_hz > 0 ? config->fmax_hz : (double)config->sample_rate_hz / 2;
}

affect_status affect_mel_config_check(const affect_mel_config *config, const char *path,
                                      affect_error *err) {
    if (config->n_fft % 2 != 0)
        return affect_field_fail(err, path, "n_fft", "%lld is odd (need an even number)",
                                 (long long)config->n_fft);
    if (config->win_length > config->n_fft)
        return affect_field_fail(err, path, "win_length", "%lld is over n_fft (%lld)",
                                 (long long)config->win_length, (long long)config->n_fft);
    if (top_hz(config) > (double)config->sample_rate_hz / 2)
        return affect_field_fail(err, path, "fmax_hz", "%g is over half the sample rate (%g)",
                                 config->fmax_hz, (double)config->sample_rate_hz / 2);
    if (config->fmin_hz >= top_hz(config))
        return affect_field_fail(err, path, "fmin_hz", "%g is not below fmax_hz (%g)",
                                 config->fmin_hz, top_hz(config));
    size_t n_values = affect_mel_n_frames(config) * (size_t)config->n_mels;
    if (n_values > MAX_VALUES)
        return affect_field_fail(err, path, "clip_seconds",
                                 "a clip of %g s has %zu values (allowed: %zu)",
                                 config->clip_seconds, n_values, MAX_VALUES);
    return AFFECT_STATUS_OK;
}

size_t affect_mel_clip_samples(const affect_mel_config *config) {
    return (size_t)llround(config->clip_seconds * (double)config->sample_rate_hz);
}

size_t affect_mel_n_frames(const affect_mel_config *config) {
    return 1 + affect_mel_clip_samples(config) / (size_t)config->hop_length;
}

/* Slaney's scale (Auditory Toolbox): linear to 1 kHz, 27 steps a factor of 6.4 above. */
#define SLANEY_HZ_PER_MEL (200.0 / 3)
#define SLANEY_LOG_STEP   (log(6.4) / 27)

static double hz_to_mel(double hz, int scale) {
    if (scale == AFFECT_MEL_SCALE_HTK) return 2595 * log10(1 + hz / 700);
    if (hz < 1000) return hz / SLANEY_HZ_PER_MEL;
    return 1000 / SLANEY_HZ_PER_MEL + log(hz / 1000) / SLANEY_LOG_STEP;
}

static double mel_to_hz(double mel, int scale) {
    if (scale == AFFECT_MEL_SCALE_HTK) return 700 * (pow(10, mel / 2595) - 1);
    double break_mel = 1000 / SLANEY_HZ_PER_MEL;
    if (mel < break_mel) return mel * SLANEY_HZ_PER_MEL;
    return 1000 * exp(SLANEY_LOG_STEP * (mel - break_mel));
}

/* Weight of a bin at `hz` in the triangle over edges[0..2], as float32 twice: librosa stores the
 * triangle in float32 before it scales by the norm. */
static float triangle(const double edges[3], double hz, double norm) {
    double rising = (hz - edges[0]) / (edges[1] - edges[0]);
    double falling = (edges[2] - hz) / (edges[2] - edges[1]);
    float weight = (float)fmax(0, fmin(rising, falling));
    return (float)((double)weight * norm);
}

/* Fills filter `band` and its weights; returns the weights used. */
static size_t build_filter(affect_mel *mel, size_t band, size_t offset) {
    const affect_mel_config *config = &mel->config;
    double low = hz_to_mel(config->fmin_hz, config->scale);
    double high = hz_to_mel(top_hz(config), config->scale);
    double edges[3];
    for (size_t i = 0; i < 3; i++)
        edges[i] = mel_to_hz(low + (high - low) * (double)(band + i) / (double)(mel->n_mels + 1),
                             config->scale);
    double norm = config->norm == AFFECT_MEL_NORM_SLANEY ? 2 / (edges[2] - edges[0]) : 1;
    affect_mel_filter_row *filter = &mel->filters[band];
    *filter = (affect_mel_filter_row){.offset = offset};
    for (size_t k = 0; k <= mel->n_fft / 2; k++) {
        double hz = (double)k * (double)config->sample_rate_hz / (double)mel->n_fft;
        float weight = triangle(edges, hz, norm);
        if (!(weight > 0)) continue;
        if (filter->count == 0) filter->first = k;
        filter->count = k - filter->first + 1;
        mel->weights[offset + k - filter->first] = weight;
    }
    return filter->count;
}

affect_status affect_mel_create(affect_mel **mel, const affect_mel_config *config,
                                affect_error *err) {
    AFFECT_TRY(affect_mel_config_check(config, "", err));
    affect_mel *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "mel: no memory");
    made->config = *config;
    made->n_mels = (size_t)config->n_mels;
    made->n_fft = (size_t)config->n_fft;
    made->hop_length = (size_t)config->hop_length;
    size_t win_length = config->win_length ? (size_t)config->win_length : made->n_fft;
    size_t n_rows = (affect_mel_n_frames(config) + BATCH - 1) / BATCH * BATCH;
    affect_status status = affect_frame_kernel_choose(&made->kernel, err);
    if (status != AFFECT_STATUS_OK) goto fail;
    status = affect_spectrogram_create(&made->spectrogram, made->n_fft, made->hop_length,
                                       win_length, config->power, err);
    if (status != AFFECT_STATUS_OK) goto fail;
    made->filters = calloc(made->n_mels, sizeof *made->filters);
    /* A bin lies under at most two neighbouring triangles. */
    made->weights = calloc(2 * (made->n_fft / 2 + 1), sizeof *made->weights);
    made->values = calloc(n_rows * made->n_mels, sizeof *made->values);
    if (!made->filters || !made->weights || !made->values) {
        status = affect_fail(err, NO_MEMORY, "mel: no memory for %zu frames", n_rows);
        goto fail;
    }
    size_t n_weights = 0;
    for (size_t band = 0; band < made->n_mels; band++)
        n_weights += build_filter(made, band, n_weights);
    assert(n_weights <= 2 * (made->n_fft / 2 + 1));
    *mel = made;
    return AFFECT_STATUS_OK;
fail:
    affect_mel_free(made);
    return status;
}

void affect_mel_free(affect_mel *mel) {
    if (!mel) return;
    affect_spectrogram_free(mel->spectrogram);
    free(mel->filters);
    free(mel->weights);
    free(mel->values);
    free(mel);
}

const affect_mel_config *affect_mel_config_of(const affect_mel *mel) {
    return &mel->config;
}

const float *affect_mel_filter(const affect_mel *mel, size_t band, size_t *first, size_t *count) {
    assert(band < mel->n_mels);
    *first = mel->filters[band].first;
    *count = mel->filters[band].count;
    return mel->weights + mel->filters[band].offset;
}

affect_mel_clip affect_mel_compute_power(affect_mel *mel, const float *samples, size_t n) {
    assert(n >= 1);
    size_t clip_samples = affect_mel_clip_samples(&mel->config);
    if (n > clip_samples) n = clip_samples;
    size_t n_frames = affect_mel_n_frames(&mel->config);
    size_t n_seeing = (n + mel->n_fft / 2 + mel->hop_length - 1) / mel->hop_length;
    if (n_frames > n_seeing) n_frames = n_seeing;
    for (size_t t = 0; t < n_frames; t += BATCH)
        mel->kernel->filter(mel->values + t * mel->n_mels,
                            affect_spectrogram_batch(mel->spectrogram, samples, n, t), mel->filters,
                            mel->n_mels, mel->weights);
    return (affect_mel_clip){.n_frames = n_frames, .values = mel->values};
}

/* Turns power into max(dB, floor) * gain + offset; silent clips become zeros. */
static affect_mel_clip scale_clip(affect_mel *mel, affect_mel_clip clip, double gain,
                                  double offset) {
    const affect_mel_config *config = &mel->config;
    size_t n = clip.n_frames * mel->n_mels;
    float amin = (float)config->amin, most = mel->kernel->largest(mel->values, n);
    if (most <= amin) {
        memset(mel->values, 0, n * sizeof *mel->values);
        clip.silent = true;
        return clip;
    }
    double loudest = 10 * log10((double)most);
    clip.faint = loudest - 10 * log10((double)amin) < config->top_db / 2;
    double reference = config->reference == AFFECT_MEL_REFERENCE_MAX ? loudest : 0;
    const double range[] = {[AFFECT_DB_REFERENCE] = reference,
                            [AFFECT_DB_FLOOR] = loudest - reference - config->top_db,
                            [AFFECT_DB_GAIN] = gain,
                            [AFFECT_DB_OFFSET] = offset};
    mel->kernel->decibels(mel->values, n, amin, range);
    clip.pad_value = amin;
    mel->kernel->decibels(&clip.pad_value, 1, amin, range);
    return clip;
}

affect_mel_clip affect_mel_compute_decibels(affect_mel *mel, const float *samples, size_t n) {
    return scale_clip(mel, affect_mel_compute_power(mel, samples, n), 1, 0);
}

affect_mel_clip affect_mel_compute(affect_mel *mel, const float *samples, size_t n) {
    double gain = 1 / mel->config.top_db;
    return scale_clip(mel, affect_mel_compute_power(mel, samples, n), gain, 1);
}
