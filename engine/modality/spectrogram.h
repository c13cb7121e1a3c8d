/* Power spectrograms by the short-time Fourier transform. The one home of FFTW.
 *
 * Convention: librosa.stft(center=True, pad_mode="constant", window="hann"): the signal stands in
 * an endless row of zeros, frame t covers the n_fft samples around sample t hop_length, the window
 * is the periodic Hann window of win_length samples, centred in n_fft and zero outside.
 *
 * Frames are transformed AFFECT_SPECTROGRAM_BATCH at a time, and their powers are stored with the
 * frame as the last index, so that all later loops run over neighbouring frames. FFTW's plans are
 * made with FFTW_ESTIMATE (the others depend on timing, and so would the last bits of a result);
 * its planner is not thread-safe and is called under one lock. An affect_spectrogram belongs to one
 * thread and allocates only when created. */
#ifndef AFFECT_MODALITY_SPECTROGRAM_H
#define AFFECT_MODALITY_SPECTROGRAM_H

#include "engine/core/status.h"

#include <stddef.h>

#define AFFECT_SPECTROGRAM_BATCH 8

typedef struct affect_spectrogram affect_spectrogram;

/* n_fft even, 1 <= win_length <= n_fft, hop_length >= 1; `power` is the exponent of the magnitude
 * (2: power, 1: magnitude). */
affect_status affect_spectrogram_create(affect_spectrogram **spectrogram, size_t n_fft,
                                        size_t hop_length, size_t win_length, double power,
                                        affect_error *err);
void affect_spectrogram_free(affect_spectrogram *spectrogram);

/* |STFT|^power of frames first_frame .. first_frame + BATCH - 1 of the n samples:
 * (n_fft / 2 + 1, BATCH); borrowed until the next call or free. */
const float *affect_spectrogram_batch(affect_spectrogram *spectrogram, const float *samples,
                                      size_t n, size_t first_frame);

#endif
