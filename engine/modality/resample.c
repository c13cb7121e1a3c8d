/* Resampling; see resample.h. */
#include "engine/modality/resample.h"

#include <assert.h>
#include <soxr.h>
#include <stdint.h>
#include <string.h>

size_t affect_resample_length(size_t n, int from_hz, int to_hz) {
    assert(from_hz > 0 && to_hz > 0 && n < SIZE_MAX / (size_t)to_hz);
    return (n * (size_t)to_hz + (size_t)from_hz - 1) / (size_t)from_hz;
}

/* Feeds all of `in`, then flushes; *n_done of the n_out samples become known. */
static soxr_error_t process(soxr_t soxr, float *out, size_t *n_done, size_t n_out, const float *in,
                            size_t n) {
    size_t n_read = 0, written = 0;
    *n_done = 0;
    while (n_read < n && *n_done < n_out) {
        size_t taken = 0;
        soxr_error_t error = soxr_process(soxr, in + n_read, n - n_read, &taken, out + *n_done,
                                          n_out - *n_done, &written);
        if (error) return error;
        if (taken == 0 && written == 0) break;
        n_read += taken;
        *n_done += written;
    }
    do {
        soxr_error_t error =
            soxr_process(soxr, NULL, 0, NULL, out + *n_done, n_out - *n_done, &written);
        if (error) return error;
        *n_done += written;
    } while (written > 0 && *n_done < n_out);
    return NULL;
}

affect_status affect_resample(float *out, const float *in, size_t n, int from_hz, int to_hz,
                              affect_error *err) {
    size_t n_out = affect_resample_length(n, from_hz, to_hz);
    if (from_hz == to_hz) {
        memcpy(out, in, n * sizeof *out);
        return AFFECT_STATUS_OK;
    }
    soxr_error_t error = NULL;
    soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr_t soxr = soxr_create(from_hz, to_hz, 1, &error, &io, &quality, &runtime);
    if (!soxr || error) {
        soxr_delete(soxr);
        return affect_fail(err, INTERNAL, "resample: %s", error ? error : "no resampler");
    }
    size_t n_done = 0;
    error = process(soxr, out, &n_done, n_out, in, n);
    soxr_delete(soxr);
    if (error) return affect_fail(err, INTERNAL, "resample: %s", error);
    memset(out + n_done, 0, (n_out - n_done) * sizeof *out);
    return AFFECT_STATUS_OK;
}
