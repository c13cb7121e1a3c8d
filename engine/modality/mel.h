/* Mel spectrograms in decibels, as librosa 0.11 computes them, scaled for a network.
 *
 *   S[t, m] = sum_k filter[m, k] |STFT[t, k]|^power          librosa.feature.melspectrogram
 *   dB      = 10 log10(max(amin, S)) - 10 log10(max(amin, reference)),
 *             then at least its maximum - top_db              librosa.power_to_db
 *   value   = (dB + top_db) / top_db                          0 .. 1 with reference "max"
 *
 * of the clip: the samples, cut or zero-padded at the end to clip_seconds. Filters are
 * librosa.filters.mel's (float32, built in double). With reference "max" it is the clip's largest
 * S, so that nothing is shared between clips; with "one" it is 1 (the floor still follows the
 * clip's maximum, as in librosa). Only the frames that see a sample are computed,
 *   n_frames = min(1 + clip_samples / hop_length, ceil((n + n_fft / 2) / hop_length)),
 * all others would be exactly `pad_value`. (Of a quiet clip that is above the floor.)
 *
 * A silent clip (no S above amin) is all zeros, with pad_value 0, and marked `silent`. A `faint`
 * one has its maximum less than top_db / 2 above amin: its floor is cut off, so that with reference
 * "max" all its values lie between .5 and 1, nearly 1 where the maximum is just above amin.
 *
 * Results are frames by bands, the bands of a frame contiguous (librosa's is the transpose). An
 * affect_mel (plan, window, sparse filters, all buffers) belongs to one thread and allocates only
 * when created. Agreement with librosa: tests/engine/modality/test_mel.c. */
#ifndef AFFECT_MODALITY_MEL_H
#define AFFECT_MODALITY_MEL_H

#include "engine/core/fields.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AFFECT_MEL_REFERENCE_MAX, AFFECT_MEL_REFERENCE_ONE };
enum { AFFECT_MEL_SCALE_SLANEY, AFFECT_MEL_SCALE_HTK };
enum { AFFECT_MEL_NORM_SLANEY, AFFECT_MEL_NORM_NONE };

/* Each member is a row of affect_mel_fields: defaults, bounds and help stand there. */
typedef struct {
    int64_t sample_rate_hz;
    int64_t n_fft;
    int64_t hop_length;
    int64_t win_length; /* 0: n_fft */
    int64_t n_mels;
    double fmin_hz;
    double fmax_hz; /* 0: half the sample rate */
    double power;
    double top_db;
    double amin;
    int reference;
    int scale;
    int norm;
    double clip_seconds;
} affect_mel_config;

extern const affect_field affect_mel_fields[];

/* Checks between fields (win_length <= n_fft, fmin < fmax <= rate / 2, ...): INVALID with the
 * pointer path/field. */
affect_status affect_mel_config_check(const affect_mel_config *config, const char *path,
                                      affect_error *err);
/* clip_seconds in samples, rounded to the nearest. */
size_t affect_mel_clip_samples(const affect_mel_config *config);
/* Frames of a whole clip: 1 + clip_samples / hop_length. */
size_t affect_mel_n_frames(const affect_mel_config *config);

typedef struct {
    size_t n_frames;     /* computed frames, at least 1 for n >= 1 */
    const float *values; /* (n_frames, n_mels) scaled; borrowed until the next call or free */
    float pad_value;     /* scaled value of every later frame */
    bool silent;         /* no power above amin: all zeros */
    bool faint;          /* hardly any above it: values mean little */
} affect_mel_clip;

typedef struct affect_mel affect_mel;

/* Copies config. INVALID as affect_mel_config_check. */
affect_status affect_mel_create(affect_mel **mel, const affect_mel_config *config,
                                affect_error *err);
void affect_mel_free(affect_mel *mel);
const affect_mel_config *affect_mel_config_of(const affect_mel *mel);

/* The clip of n >= 1 finite samples at the config's rate; samples after clip_samples are ignored.
 */
affect_mel_clip affect_mel_compute(affect_mel *mel, const float *samples, size_t n);

/* The two steps before scaling, for tests and tools; values as in affect_mel_clip, with S or dB in
 * place of scaled values and pad_value. */
affect_mel_clip affect_mel_compute_power(affect_mel *mel, const float *samples, size_t n);
affect_mel_clip affect_mel_compute_decibels(affect_mel *mel, const float *samples, size_t n);

/* Row m of the filter bank: weights of bins *first .. *first + *count - 1 (may be 0); borrowed. */
const float *affect_mel_filter(const affect_mel *mel, size_t band, size_t *first, size_t *count);

#endif
