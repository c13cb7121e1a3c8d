/* Sound files: formats made here byte by byte, a stored flac, and files that lie. */
#include "engine/modality/sound_file.h"

#include "engine/core/file.h"
#include "tests/test.h"

#include <stdint.h>
#include <unistd.h>

typedef struct {
    unsigned char *bytes;
    size_t size;
} file_bytes;

static void put(unsigned char *to, uint32_t value, int n) {
    for (int i = 0; i < n; i++) to[i] = (unsigned char)(value >> (8 * i));
}

/* A wav of format 1 (integers) or 3 (floats) around `size` bytes of samples; owned. */
static file_bytes make_wav(int format, int channels, uint32_t rate, int bits, const void *data,
                           size_t size) {
    file_bytes wav = {malloc(44 + size), 44 + size};
    unsigned char *to = wav.bytes;
    memcpy(to, "RIFF....WAVEfmt ", 16);
    put(to + 4, (uint32_t)(36 + size), 4);
    put(to + 16, 16, 4);
    put(to + 20, (uint32_t)format, 2);
    put(to + 22, (uint32_t)channels, 2);
    put(to + 24, rate, 4);
    put(to + 28, rate * (uint32_t)(channels * bits / 8), 4);
    put(to + 32, (uint32_t)(channels * bits / 8), 2);
    put(to + 34, (uint32_t)bits, 2);
    memcpy(to + 36, "data", 4);
    put(to + 40, (uint32_t)size, 4);
    if (size) memcpy(to + 44, data, size);
    return wav;
}

static affect_status read_bytes(affect_sound *sound, const void *bytes, size_t size, double limit_s,
                                affect_error *err) {
    affect_source source = {.data = bytes, .size = size};
    return affect_sound_read(sound, source, (affect_time_window){0}, limit_s, err);
}

static void test_widths_and_channels(void) {
    affect_sound sound = {0};
    const int16_t stereo[] = {16384, 0, -16384, -16384, 32767, -32768};
    file_bytes wav = make_wav(1, 2, 44100, 16, stereo, sizeof stereo);
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.n_samples == 3 && sound.sample_rate_hz == 44100 && sound.n_channels == 2);
    CHECK(!sound.truncated);
    CHECK_NEAR(sound.total_seconds, 3 / 44100.0, 1e-12);
    CHECK(sound.samples[0] == 0.25f && sound.samples[1] == -0.5f);
    CHECK_NEAR(sound.samples[2], -0.5 / 32768, 1e-9);
    free(wav.bytes);

    const unsigned char eight[] = {128, 192, 0};
    wav = make_wav(1, 1, 8000, 8, eight, 3);
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.n_samples == 3 && sound.samples[0] == 0 && sound.samples[1] == 0.5f &&
          sound.samples[2] == -1);
    free(wav.bytes);

    const unsigned char deep[] = {0, 0, 0x40, 0, 0, 0xc0};
    wav = make_wav(1, 1, 48000, 24, deep, 6);
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.n_samples == 2 && sound.samples[0] == 0.5f && sound.samples[1] == -0.5f);
    free(wav.bytes);

    const float floats[] = {0.1f, -3.5f, 0, 1e-9f, 2, 6};
    wav = make_wav(3, 3, 16000, 32, floats, sizeof floats);
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.n_samples == 2 && sound.n_channels == 3);
    CHECK_NEAR(sound.samples[0], (0.1 - 3.5) / 3, 1e-6);
    CHECK_NEAR(sound.samples[1], 8.0 / 3, 1e-6);
    free(wav.bytes);
    affect_sound_free(&sound);
}

static void check_failure(const void *bytes, size_t size, affect_status want, const char *word) {
    affect_sound sound = {0};
    affect_error err = {0};
    affect_status status = read_bytes(&sound, bytes, size, 16, &err);
    CHECK(status == want);
    CHECK(strstr(err.message, word) != NULL);
    if (status != want || !strstr(err.message, word))
        fprintf(stderr, "    %s: \"%s\" (want \"%s\")\n", affect_status_name(status), err.message,
                word);
    CHECK(sound.n_samples == 0);
    affect_sound_free(&sound);
}

static void test_failures(void) {
    int16_t ramp[1000];
    for (int i = 0; i < 1000; i++) ramp[i] = (int16_t)i;
    file_bytes wav = make_wav(1, 1, 16000, 16, ramp, sizeof ramp);
    check_failure(wav.bytes, wav.size - 1000, AFFECT_STATUS_MALFORMED, "truncated");
    check_failure(wav.bytes, 44, AFFECT_STATUS_MALFORMED, "truncated");
    check_failure(wav.bytes, 30, AFFECT_STATUS_MALFORMED, "truncated");
    check_failure(wav.bytes, 8, AFFECT_STATUS_MALFORMED, "cannot be read as a sound file");
    check_failure("", 0, AFFECT_STATUS_MALFORMED, "empty");
    put(wav.bytes + 24, 0, 4);
    check_failure(wav.bytes, wav.size, AFFECT_STATUS_MALFORMED, "cannot be read as a sound file");
    put(wav.bytes + 24, 2000000000, 4);
    check_failure(wav.bytes, wav.size, AFFECT_STATUS_UNSUPPORTED, "samples a second");
    free(wav.bytes);

    wav = make_wav(1, 1, 16000, 16, NULL, 0);
    check_failure(wav.bytes, wav.size, AFFECT_STATUS_MALFORMED, "no samples");
    free(wav.bytes);
    wav = make_wav(1, 500, 16000, 16, ramp, sizeof ramp);
    check_failure(wav.bytes, wav.size, AFFECT_STATUS_UNSUPPORTED, "channels");
    free(wav.bytes);
    const float bad[][2] = {{0, NAN}, {INFINITY, 0}, {0, -1e30f}};
    for (int i = 0; i < 3; i++) {
        wav = make_wav(3, 1, 16000, 32, bad[i], sizeof bad[i]);
        check_failure(wav.bytes, wav.size, AFFECT_STATUS_MALFORMED, "not a finite number");
        free(wav.bytes);
    }
    const char *text = "This is a text that someone has named speech.wav, as people do.\n";
    check_failure(text, strlen(text), AFFECT_STATUS_MALFORMED, "cannot be read as a sound file");
    unsigned char noise[4096];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (unsigned char)(i * i * 31 >> 3);
    check_failure(noise, sizeof noise, AFFECT_STATUS_MALFORMED, "cannot be read as a sound file");
}

/* A pipe's wav does not know its size; what is there counts. */
static void test_unknown_size(void) {
    int16_t ramp[1600] = {1, 2, 3};
    file_bytes wav = make_wav(1, 1, 16000, 16, ramp, sizeof ramp);
    put(wav.bytes + 4, 0xffffffff, 4);
    put(wav.bytes + 40, 0xffffffff, 4);
    affect_sound sound = {0};
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.n_samples == 1600 && !sound.truncated);
    free(wav.bytes);
    affect_sound_free(&sound);
}

/* An hour: only the limit is decoded and held. */
static void test_limit(void) {
    size_t n = 3600 * 2000;
    unsigned char *hour = malloc(n);
    for (size_t i = 0; i < n; i++) hour[i] = (unsigned char)(i * 7);
    file_bytes wav = make_wav(1, 1, 2000, 8, hour, n);
    affect_sound sound = {0};
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 16, err));
    CHECK(sound.truncated && sound.n_samples == 32000);
    CHECK_NEAR(sound.total_seconds, 3600, 1e-9);
    CHECK(sound.capacity <= 32000);
    CHECK_OK(read_bytes(&sound, wav.bytes, wav.size, 3600, err));
    CHECK(!sound.truncated && sound.n_samples == n);

    affect_source source = {.data = wav.bytes, .size = wav.size};
    affect_time_window window = {true, 100, 102.5};
    CHECK_OK(affect_sound_read(&sound, source, window, 16, err));
    CHECK(sound.n_samples == 5000 && !sound.truncated);
    CHECK_NEAR(sound.samples[0], (hour[200000] - 128) / 128.0, 1e-7);
    CHECK_NEAR(sound.total_seconds, 2.5, 1e-9);
    window = (affect_time_window){true, 3590, 3700};
    CHECK_OK(affect_sound_read(&sound, source, window, 4, err));
    CHECK(sound.n_samples == 8000 && sound.truncated);
    CHECK_NEAR(sound.total_seconds, 10, 1e-9);
    window = (affect_time_window){true, 3598, INFINITY}; /* open */
    CHECK_OK(affect_sound_read(&sound, source, window, 4, err));
    CHECK_NEAR(sound.total_seconds, 2, 1e-9);
    const affect_time_window bad[] = {
        {true, 3600, 3700}, {true, 5, 5}, {true, -1, 5}, {true, NAN, 5}, {true, 1e300, INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(affect_sound_read(&sound, source, bad[i], 4, NULL) != AFFECT_STATUS_OK);
    free(hour);
    free(wav.bytes);
    affect_sound_free(&sound);
}

static void test_paths(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/affect_test_sound_%d.wav", (int)getpid());
    const int16_t samples[] = {0, 8192, -8192};
    file_bytes wav = make_wav(1, 1, 16000, 16, samples, sizeof samples);
    CHECK_OK(affect_file_write(path, wav.bytes, wav.size, err));
    affect_sound sound = {0};
    affect_source source = {.path = path};
    CHECK_OK(affect_sound_read(&sound, source, (affect_time_window){0}, 16, err));
    CHECK(sound.n_samples == 3 && sound.samples[1] == 0.25f);
    unlink(path);
    CHECK(affect_sound_read(&sound, source, (affect_time_window){0}, 16, NULL) ==
          AFFECT_STATUS_NOT_FOUND);
    source.path = "/tmp";
    CHECK(affect_sound_read(&sound, source, (affect_time_window){0}, 16, NULL) ==
          AFFECT_STATUS_INVALID);
    free(wav.bytes);
    affect_sound_free(&sound);
}

static void test_flac(void) {
    char *flac = NULL;
    size_t size = 0;
    CHECK_OK(
        affect_file_read(&flac, &size, TEST_REFERENCE_DIR "/librosa/chirp_1s.flac", 1 << 20, err));
    affect_sound sound = {0}, wav = {0};
    CHECK_OK(read_bytes(&sound, flac, size, 16, err));
    affect_source source = {.path = TEST_REFERENCE_DIR "/librosa/chirp_16k.wav"};
    CHECK_OK(affect_sound_read(&wav, source, (affect_time_window){0}, 1, err));
    CHECK(sound.n_samples == 16000 && wav.n_samples == 16000 && wav.truncated);
    CHECK(memcmp(sound.samples, wav.samples, 16000 * sizeof(float)) == 0);
    check_failure(flac, size / 2, AFFECT_STATUS_MALFORMED, "truncated or damaged");
    affect_sound_free(&sound);
    affect_sound_free(&wav);
    free(flac);
}

/* Every byte of a header set to other values, and every length: never a crash, a hang or a big
 * allocation. */
static void test_hostile_headers(void) {
    int16_t ramp[64] = {5, 6, 7};
    file_bytes wav = make_wav(1, 1, 16000, 16, ramp, sizeof ramp);
    affect_sound sound = {0};
    size_t n_read = 0;
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < 44; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            unsigned char kept = wav.bytes[i];
            wav.bytes[i] = values[k];
            n_read += read_bytes(&sound, wav.bytes, wav.size, 16, NULL) == AFFECT_STATUS_OK;
            wav.bytes[i] = kept;
        }
    for (size_t size = 0; size < wav.size; size++)
        CHECK(read_bytes(&sound, wav.bytes, size, 16, NULL) != AFFECT_STATUS_OK);
    CHECK(n_read > 0 && sound.capacity < 1 << 20);
    affect_sound_free(&sound);
    free(wav.bytes);
}

int main(void) {
    TEST_RUN(test_widths_and_channels);
    TEST_RUN(test_failures);
    TEST_RUN(test_unknown_size);
    TEST_RUN(test_limit);
    TEST_RUN(test_paths);
    TEST_RUN(test_flac);
    TEST_RUN(test_hostile_headers);
    return TEST_END();
}
