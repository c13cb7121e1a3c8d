/* Resampling against librosa's soxr_hq, and its own promises. */
#include "engine/modality/resample.h"

#include "engine/modality/sound_file.h"
#include "tests/npy.h"
#include "tests/test.h"

static void test_against_librosa(void) {
    static const char *const names[] = {"chirp", "noise", "speech"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/librosa/%s_16k.wav", TEST_REFERENCE_DIR, names[i]);
        affect_sound sound = {0};
        CHECK_OK(affect_sound_read(&sound, (affect_source){.path = path}, (affect_time_window){0},
                                   60, err));
        snprintf(path, sizeof path, "librosa/%s_y22050_soxrhq.npy", names[i]);
        npy_array want = npy_read(path);
        size_t n = affect_resample_length(sound.n_samples, 16000, 22050);
        CHECK(n == want.rows);
        float *got = malloc(n * sizeof *got);
        CHECK_OK(affect_resample(got, sound.samples, sound.n_samples, 16000, 22050, err));
        double most = 0, squares = 0;
        for (size_t k = 0; k < n; k++) {
            double difference = fabs((double)got[k] - want.values[k]);
            most = fmax(most, difference);
            squares += difference * difference;
        }
        fprintf(stderr, "  %-8s our resampler minus librosa's: max %.2e, rms %.2e\n", names[i],
                most, sqrt(squares / (double)n));
        CHECK(most < 1e-5);
        free(got);
        free(want.values);
        affect_sound_free(&sound);
    }
}

static void test_lengths(void) {
    CHECK(affect_resample_length(0, 16000, 22050) == 0);
    CHECK(affect_resample_length(1, 48000, 16000) == 1);
    CHECK(affect_resample_length(3, 48000, 16000) == 1);
    CHECK(affect_resample_length(4, 48000, 16000) == 2);
    CHECK(affect_resample_length(16000, 16000, 22050) == 22050);
}

/* A tone keeps its frequency and size at every pair of rates, short inputs work, silence stays. */
static void test_tones(void) {
    static const int rates[][2] = {
        {44100, 16000}, {8000, 16000}, {48000, 22050}, {1000, 16000}, {192000, 16000}};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        int from = rates[i][0], to = rates[i][1];
        size_t n = (size_t)from, n_out = affect_resample_length(n, from, to);
        float *in = malloc(n * sizeof *in), *out = malloc(n_out * sizeof *out);
        for (size_t k = 0; k < n; k++) in[k] = (float)sin(2 * M_PI * 200 * (double)k / from);
        CHECK_OK(affect_resample(out, in, n, from, to, err));
        double worst = 0;
        for (size_t k = n_out / 4; k < 3 * n_out / 4; k++)
            worst = fmax(worst, fabs((double)out[k] - sin(2 * M_PI * 200 * (double)k / to)));
        CHECK(worst < 1e-4);
        free(in);
        free(out);
    }
    float three[3] = {0, 0, 0}, five[5] = {9, 9, 9, 9, 9};
    CHECK_OK(affect_resample(five, three, 3, 16000, 22050, err));
    CHECK(five[0] == 0 && five[4] == 0);
    float same[2] = {0.25f, -1}, copy[2];
    CHECK_OK(affect_resample(copy, same, 2, 16000, 16000, err));
    CHECK(copy[0] == 0.25f && copy[1] == -1);
}

int main(void) {
    TEST_RUN(test_against_librosa);
    TEST_RUN(test_lengths);
    TEST_RUN(test_tones);
    return TEST_END();
}
