/* Mel spectrograms against librosa 0.11 (tests/reference/make_librosa.py), and what the config says
 * of padding, silence and bounds. */
#include "engine/modality/mel.h"

#include "engine/modality/sound_file.h"
#include "tests/npy.h"
#include "tests/test.h"

static affect_mel_config default_config(void) {
    affect_mel_config config;
    affect_fields_default(&config, affect_mel_fields);
    return config;
}

static affect_mel *make(affect_mel_config config) {
    affect_mel *mel = NULL;
    CHECK_OK(affect_mel_create(&mel, &config, err));
    if (!mel) exit(1);
    return mel;
}

static affect_sound read_wav(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/librosa/%s_16k.wav", TEST_REFERENCE_DIR, name);
    affect_sound sound = {0};
    CHECK_OK(
        affect_sound_read(&sound, (affect_source){.path = path}, (affect_time_window){0}, 60, err));
    if (!sound.n_samples) exit(1);
    return sound;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* values (frames, bands) against librosa's (bands, frames): prints and checks largest and 99 %
 * difference. Frames after clip.n_frames are the pad value. */
static void compare(const char *name, affect_mel_clip clip, double unit, double most,
                    double usual) {
    char file[128];
    snprintf(file, sizeof file, "librosa/%s.npy", name);
    npy_array want = npy_read(file);
    size_t n_bands = want.rows, n_frames = want.columns, n = n_bands * n_frames;
    double *differences = malloc(n * sizeof *differences);
    for (size_t t = 0; t < n_frames; t++)
        for (size_t m = 0; m < n_bands; m++) {
            double got =
                (double)(t < clip.n_frames ? clip.values[t * n_bands + m] : clip.pad_value);
            differences[t * n_bands + m] = fabs(got - want.values[m * n_frames + t]) / unit;
        }
    qsort(differences, n, sizeof *differences, ascending);
    double largest = differences[n - 1], percent99 = differences[(size_t)(0.99 * (double)(n - 1))];
    fprintf(stderr, "  %-24s max %.2e, 99 %% %.2e\n", name, largest, percent99);
    CHECK(largest <= most);
    CHECK(percent99 <= usual);
    free(differences);
    free(want.values);
}

#define MAX_DB   5e-3
#define USUAL_DB 1e-4

static void test_16k(void) {
    static const char *const names[] = {"chirp", "noise", "speech"};
    for (size_t i = 0; i < 3; i++) {
        affect_sound sound = read_wav(names[i]);
        affect_mel_config config = default_config();
        config.clip_seconds = (double)sound.n_samples / 16000; /* as librosa sees it: no padding */
        affect_mel *mel = make(config);
        char name[64];
        snprintf(name, sizeof name, "%s_db", names[i]);
        affect_mel_clip clip = affect_mel_compute_decibels(mel, sound.samples, sound.n_samples);
        CHECK(clip.n_frames == 1 + sound.n_samples / 512);
        compare(name, clip, 1, MAX_DB, USUAL_DB);
        snprintf(name, sizeof name, "%s_mel", names[i]);
        clip = affect_mel_compute_power(mel, sound.samples, sound.n_samples);
        float most = 0;
        for (size_t k = 0; k < clip.n_frames * 128; k++) most = fmaxf(most, clip.values[k]);
        compare(name, clip, (double)most, 2e-6, 1e-6);
        affect_mel_free(mel);
        affect_sound_free(&sound);
    }
}

static void test_padded_16s(void) {
    static const char *const names[] = {"chirp", "speech"};
    affect_mel *mel = make(default_config());
    CHECK(affect_mel_n_frames(affect_mel_config_of(mel)) == 501);
    for (size_t i = 0; i < 2; i++) {
        affect_sound sound = read_wav(names[i]);
        char name[64];
        snprintf(name, sizeof name, "%s_pad16s_db", names[i]);
        compare(name, affect_mel_compute_decibels(mel, sound.samples, sound.n_samples), 1, MAX_DB,
                USUAL_DB);
        affect_sound_free(&sound);
    }
    affect_mel_free(mel);
}

static void test_22050(void) {
    static const char *const names[] = {"chirp", "noise", "speech"};
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "librosa/%s_y22050_soxrhq.npy", names[i]);
        npy_array resampled = npy_read(name);
        float *samples = malloc(resampled.rows * sizeof *samples);
        for (size_t k = 0; k < resampled.rows; k++) samples[k] = (float)resampled.values[k];
        affect_mel_config config = default_config();
        config.sample_rate_hz = 22050;
        config.clip_seconds = (double)resampled.rows / 22050;
        affect_mel *mel = make(config);
        snprintf(name, sizeof name, "%s_22050_db", names[i]);
        compare(name, affect_mel_compute_decibels(mel, samples, resampled.rows), 1, MAX_DB,
                USUAL_DB);
        affect_mel_free(mel);
        free(samples);
        free(resampled.values);
    }
    affect_mel_config config = default_config();
    config.sample_rate_hz = 22050;
    CHECK(affect_mel_n_frames(&config) == 690);
}

/* Every other value of a field, on the first second of the speech with 40 bands. */
static void test_options(void) {
    affect_sound sound = read_wav("speech");
    for (int option = 0; option < 6; option++) {
        affect_mel_config config = default_config();
        config.n_mels = 40;
        config.clip_seconds = 1;
        static const char *const names[] = {"htk",           "norm_none", "power_1",
                                            "reference_one", "top_db_30", "window"};
        if (option == 0) config.scale = AFFECT_MEL_SCALE_HTK;
        if (option == 1) config.norm = AFFECT_MEL_NORM_NONE;
        if (option == 2) config.power = 1;
        if (option == 3) config.reference = AFFECT_MEL_REFERENCE_ONE;
        if (option == 4) config.top_db = 30, config.amin = 1e-5;
        if (option == 5) {
            config.n_fft = 1024, config.hop_length = 160, config.win_length = 401;
            config.fmin_hz = 80, config.fmax_hz = 6000;
        }
        affect_mel *mel = make(config);
        char name[64];
        snprintf(name, sizeof name, "option_%s_db", names[option]);
        compare(name, affect_mel_compute_decibels(mel, sound.samples, sound.n_samples), 1, MAX_DB,
                USUAL_DB);
        affect_mel_free(mel);
    }
    affect_sound_free(&sound);
}

/* Frames that are not computed are what padding with zeros would give, to the bit. */
static void test_padding_is_exact(void) {
    affect_sound sound = read_wav("noise");
    affect_mel_config config = default_config();
    config.clip_seconds = 4;
    affect_mel *mel = make(config), *whole = make(config);
    float *padded = calloc(64000, sizeof *padded);
    static const size_t lengths[] = {1, 511, 1024, 1025, 20001, 32000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        memset(padded, 0, 64000 * sizeof *padded);
        for (size_t k = 0; k < n; k++) padded[k] = sound.samples[k] * 1e-4f; /* quiet */
        affect_mel_clip cut = affect_mel_compute(mel, padded, n);
        affect_mel_clip full = affect_mel_compute(whole, padded, 64000);
        CHECK(full.n_frames == 126 && cut.n_frames == (n + 1024 + 511) / 512);
        CHECK(memcmp(cut.values, full.values, cut.n_frames * 128 * sizeof(float)) == 0);
        size_t n_wrong = 0;
        for (size_t k = cut.n_frames * 128; k < full.n_frames * 128; k++)
            n_wrong += full.values[k] != cut.pad_value;
        CHECK(n_wrong == 0);
        CHECK(cut.pad_value == full.pad_value);
        if (n >= 20001) CHECK(cut.pad_value > 0.1f); /* the floor of a quiet clip lies lower */
    }
    free(padded);
    affect_mel_free(mel);
    affect_mel_free(whole);
    affect_sound_free(&sound);
}

static void test_scaling(void) {
    affect_sound sound = read_wav("speech");
    affect_mel *mel = make(default_config()), *raw = make(default_config());
    affect_mel_clip scaled = affect_mel_compute(mel, sound.samples, sound.n_samples);
    affect_mel_clip db = affect_mel_compute_decibels(raw, sound.samples, sound.n_samples);
    float least = 2, most = -1, worst = 0;
    for (size_t i = 0; i < scaled.n_frames * 128; i++) {
        least = fminf(least, scaled.values[i]);
        most = fmaxf(most, scaled.values[i]);
        worst = fmaxf(worst, fabsf(scaled.values[i] - (db.values[i] + 80) / 80));
    }
    CHECK(least == 0 && most == 1 && worst < 1e-6f);
    CHECK(scaled.pad_value == 0 && !scaled.silent);
    affect_mel_free(mel);
    affect_mel_free(raw);
    affect_sound_free(&sound);
}

static void test_silence(void) {
    affect_mel *mel = make(default_config());
    float *zeros = calloc(16000, sizeof *zeros);
    affect_mel_clip clip = affect_mel_compute(mel, zeros, 16000);
    CHECK(clip.silent && clip.pad_value == 0);
    float sum = 0;
    for (size_t i = 0; i < clip.n_frames * 128; i++) sum += fabsf(clip.values[i]);
    CHECK(sum == 0);
    for (float peak = 1e-8f; peak < 0.5f; peak *= 10) { /* from below amin to ordinary */
        zeros[8000] = peak;
        clip = affect_mel_compute(mel, zeros, 16000);
        CHECK(!(clip.silent && clip.faint));
        CHECK(clip.silent || clip.faint == (clip.pad_value > 0.5f));
    }
    CHECK(!clip.faint);
    zeros[8000] = 1; /* and the object forgets: the next clip is not silent */
    CHECK(!affect_mel_compute(mel, zeros, 16000).silent);
    free(zeros);
    affect_mel_free(mel);
}

/* Loud or constant input stays finite, samples after the clip are ignored. */
static void test_extremes(void) {
    affect_mel_config config = default_config();
    config.clip_seconds = 0.5;
    affect_mel *mel = make(config), *other = make(config);
    float *samples = malloc(16000 * sizeof *samples);
    for (size_t i = 0; i < 16000; i++) samples[i] = i < 8000 ? 1e9f * (float)(i % 3) : 7;
    affect_mel_clip a = affect_mel_compute(mel, samples, 16000);
    affect_mel_clip b = affect_mel_compute(other, samples, 8000);
    CHECK(a.n_frames == 16 && b.n_frames == 16);
    CHECK(memcmp(a.values, b.values, a.n_frames * 128 * sizeof(float)) == 0);
    size_t n_bad = 0;
    for (size_t i = 0; i < a.n_frames * 128; i++)
        n_bad += !(a.values[i] >= 0 && a.values[i] <= 1.00001f);
    CHECK(n_bad == 0);
    free(samples);
    affect_mel_free(mel);
    affect_mel_free(other);
}

static void test_config_errors(void) {
    static const struct {
        const char *json, *pointer;
    } cases[] = {
        {"{\"n_mels\": 0}", "/mel/n_mels"},
        {"{\"n_mels\": 1e9}", "/mel/n_mels"},
        {"{\"n_fft\": 2047}", "/mel/n_fft"},
        {"{\"win_length\": 4096}", "/mel/win_length"},
        {"{\"fmax_hz\": 8001}", "/mel/fmax_hz"},
        {"{\"fmin_hz\": 8000}", "/mel/fmin_hz"},
        {"{\"reference\": \"maximum\"}", "/mel/reference"},
        {"{\"clip_seconds\": 600, \"hop_length\": 1}", "/mel/clip_seconds"},
        {"{\"window\": \"hann\"}", "/mel/window"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_json *json = NULL;
        affect_error err = {0};
        CHECK(affect_json_parse(&json, cases[i].json, strlen(cases[i].json), &err) == 0);
        affect_mel_config config = default_config();
        affect_status status = affect_fields_parse(&config, affect_mel_fields, json, "/mel", &err);
        if (status == AFFECT_STATUS_OK) status = affect_mel_config_check(&config, "/mel", &err);
        CHECK(status == AFFECT_STATUS_INVALID);
        CHECK_STRING(err.pointer, cases[i].pointer);
        affect_json_free(json);
    }
}

static void test_filters(void) {
    affect_mel *mel = make(default_config());
    size_t first, count, n = 0;
    for (size_t m = 0; m < 128; m++) {
        const float *weights = affect_mel_filter(mel, m, &first, &count);
        CHECK(count >= 1 && first + count <= 1025);
        for (size_t i = 0; i < count; i++) n += weights[i] > 0;
    }
    CHECK(n > 1500 && n <= 2050);
    affect_mel_free(mel);
}

int main(void) {
    TEST_RUN(test_16k);
    TEST_RUN(test_padded_16s);
    TEST_RUN(test_22050);
    TEST_RUN(test_options);
    TEST_RUN(test_padding_is_exact);
    TEST_RUN(test_scaling);
    TEST_RUN(test_silence);
    TEST_RUN(test_extremes);
    TEST_RUN(test_config_errors);
    TEST_RUN(test_filters);
    return TEST_END();
}
