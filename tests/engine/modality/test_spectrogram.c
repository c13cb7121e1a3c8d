/* Spectrograms of every way (frames in lanes, frames in pairs) against the sum that defines them.
 */
#include "engine/modality/spectrogram.h"

#include "engine/core/random.h"
#include "tests/test.h"

#include <math.h>

enum { SAMPLES = 700, LARGEST = 4096 };

static float samples[SAMPLES];

/* |X[k]|^2 of frame t by definition. */
static double power_of(size_t n_fft, size_t hop, size_t win, size_t t, size_t k) {
    double re = 0, im = 0;
    size_t left = (n_fft - win) / 2;
    for (size_t i = 0; i < win; i++) {
        long at = (long)(t * hop + left + i) - (long)(n_fft / 2);
        if (at < 0 || at >= SAMPLES) continue;
        double window = 0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)win);
        double angle = 2 * M_PI * (double)(k * (left + i) % n_fft) / (double)n_fft;
        re += samples[at] * window * cos(angle);
        im -= samples[at] * window * sin(angle);
    }
    return re * re + im * im;
}

static void test_size(size_t n_fft, size_t hop, size_t win) {
    affect_spectrogram *s = NULL;
    CHECK_OK(affect_spectrogram_create(&s, n_fft, hop, win, 2, err));
    double worst = 0;
    size_t n_frames = SAMPLES / hop + 2, frame_step = n_frames / 20 + 1, bin_step = n_fft / 64 + 1;
    for (size_t first = 0; first < n_frames; first += AFFECT_SPECTROGRAM_BATCH) {
        const float *powers = affect_spectrogram_batch(s, samples, SAMPLES, first);
        for (size_t q = first % frame_step; q < AFFECT_SPECTROGRAM_BATCH; q += frame_step)
            for (size_t k = 0; k <= n_fft / 2; k += bin_step) {
                double want = power_of(n_fft, hop, win, first + q, k);
                double got = powers[k * AFFECT_SPECTROGRAM_BATCH + q];
                worst = fmax(worst, fabs(got - want) / (want + 1e-6));
            }
    }
    CHECK(worst < 1e-6);
    if (!(worst < 1e-6))
        fprintf(stderr, "n_fft %zu, hop %zu, window %zu: %g\n", n_fft, hop, win, worst);
    affect_spectrogram_free(s);
}

int main(void) {
    for (size_t i = 0; i < SAMPLES; i++)
        samples[i] = (float)affect_random_normal((affect_random_key){1, 2}, i);
    for (size_t n_fft = 16; n_fft <= LARGEST; n_fft *= 2) { /* in lanes */
        test_size(n_fft, n_fft / 4, n_fft);
        test_size(n_fft, n_fft / 2 - 1, n_fft - 3);
        test_size(n_fft, n_fft + 5, n_fft);
    }
    test_size(64, 1, 64);
    test_size(512, 160, 400);
    test_size(400, 160, 400); /* in pairs */
    test_size(600, 150, 512);
    test_size(6, 2, 5);
    test_size(2, 1, 2);
    return TEST_END();
}
