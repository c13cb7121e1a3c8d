/* Resampling of mono sound, as librosa 0.11's res_type="soxr_hq". The one home of soxr.
 *
 * soxr's HQ recipe (20 bit, linear phase), single precision, the whole signal at once. The output
 * has ceil(n ratio) samples: what soxr gives, cut or padded with zeros (librosa's fix=True). */
#ifndef AFFECT_MODALITY_RESAMPLE_H
#define AFFECT_MODALITY_RESAMPLE_H

#include "engine/core/status.h"

#include <stddef.h>

/* ceil(n to_hz / from_hz), in exact integers. Rates > 0. */
size_t affect_resample_length(size_t n, int from_hz, int to_hz);

/* Writes affect_resample_length(n, from_hz, to_hz) samples to `out`, which must not overlap `in`.
 * Equal rates copy. */
affect_status affect_resample(float *out, const float *in, size_t n, int from_hz, int to_hz,
                              affect_error *err);

#endif
