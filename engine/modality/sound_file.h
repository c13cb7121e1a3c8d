/* Sound files: any format, rate, width and channel count that libsndfile reads -> mono float.
 * The one home of libsndfile.
 *
 * Mono is the mean of the channels (librosa's to_mono). Integers are scaled to [-1, 1); floating
 * point samples are taken as they are, must be finite and within +-AFFECT_SOUND_MAX_AMPLITUDE. No
 * more than asked for is decoded or held, whatever the header announces: an hour of sound costs
 * what the limit costs. A file shorter than its header says is MALFORMED, not silently shorter
 * (a wav whose size field says "unknown", as a pipe writes it, is read to its end). */
#ifndef AFFECT_MODALITY_SOUND_FILE_H
#define AFFECT_MODALITY_SOUND_FILE_H

#include "engine/core/source.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_SOUND_MIN_RATE_HZ   1000
#define AFFECT_SOUND_MAX_RATE_HZ   384000
#define AFFECT_SOUND_MAX_CHANNELS  64
#define AFFECT_SOUND_MAX_SECONDS   3600.0 /* the largest limit of one read */
#define AFFECT_SOUND_MAX_AMPLITUDE 1e9f   /* keeps powers of spectra finite */

/* Zero-initialise; a sound can be read into again and again, its memory is reused. */
typedef struct {
    float *samples; /* (n_samples) mono; owned: affect_sound_free */
    size_t n_samples;
    size_t capacity;
    int sample_rate_hz, n_channels; /* as in the file */
    double total_seconds;           /* of the window, or of the file; all that was read when the
                                       header does not say */
    bool truncated;                 /* total_seconds is longer than what was read */
} affect_sound;

/* Reads the window, but at most limit_s seconds from its start (0 < limit_s <=
 * AFFECT_SOUND_MAX_SECONDS). MALFORMED: not a sound file, damaged, shorter than announced, no
 * samples (also: none in the window), samples that are not finite. UNSUPPORTED: rate or channels
 * outside the limits above. NOT_FOUND, IO. On failure `sound` holds no samples. */
affect_status affect_sound_read(affect_sound *sound, affect_source source,
                                affect_time_window window, double limit_s, affect_error *err);
void affect_sound_free(affect_sound *sound);

#endif
