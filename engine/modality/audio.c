/* Sound as a modality; see audio.h. One state a thread: the decoded samples, the resampled ones,
 * and the transform with its plan; all grow to the longest sound and are used again. */
#include "engine/modality/audio.h"

#include "engine/modality/mel.h"
#include "engine/modality/resample.h"
#include "engine/modality/sound_file.h"

#include <stdlib.h>

/* Read beyond the clip's end. The resampler's filter reaches far less. */
#define RESAMPLER_REACH_S 0.5

_Static_assert(sizeof(affect_mel_config) <= AFFECT_FEATURE_OPTIONS_SIZE, "room for the options");
_Static_assert(sizeof(affect_audio_quality) <= sizeof(((affect_quality *)0)->record),
               "room for the record");

typedef struct {
    affect_mel_config config;
    affect_mel *mel;
    affect_sound sound;
    float *resampled; /* (capacity) */
    size_t capacity;
} audio_state;

/* ---- Options ---- */

static const char *const presets[] = {"mel-16k", "mel-22k", NULL};

static void use_preset(void *options, int preset) {
    static const int64_t rates_hz[] = {16000, 22050};
    ((affect_mel_config *)options)->sample_rate_hz = rates_hz[preset];
}

static affect_status check(const void *options, const char *path, affect_error *err) {
    return affect_mel_config_check(options, path, err);
}

static void get_sizes(size_t sizes[2], const void *options) {
    const affect_mel_config *config = options;
    sizes[0] = affect_mel_n_frames(config);
    sizes[1] = (size_t)config->n_mels;
}

/* ---- Reading ---- */

static void free_state(void *of) {
    audio_state *state = of;
    if (!state) return;
    affect_mel_free(state->mel);
    affect_sound_free(&state->sound);
    free(state->resampled);
    free(state);
}

static affect_status create_state(void **state, const void *options, const char *feature,
                                  affect_error *err) {
    audio_state *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", feature);
    made->config = *(const affect_mel_config *)options;
    affect_status status = affect_mel_create(&made->mel, &made->config, err);
    if (status == AFFECT_STATUS_OK)
        *state = made;
    else
        free_state(made);
    return status;
}

/* The sound at the options' rate; *samples borrowed from the state. */
static affect_status resample_sound(audio_state *state, const float **samples, size_t *n,
                                    affect_error *err) {
    const affect_sound *sound = &state->sound;
    int to_hz = (int)state->config.sample_rate_hz;
    *samples = sound->samples;
    *n = sound->n_samples;
    if (sound->sample_rate_hz == to_hz) return AFFECT_STATUS_OK;
    *n = affect_resample_length(sound->n_samples, sound->sample_rate_hz, to_hz);
    if (*n > state->capacity) {
        float *grown = realloc(state->resampled, *n * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for %zu samples", *n);
        state->resampled = grown;
        state->capacity = *n;
    }
    *samples = state->resampled;
    return affect_resample(state->resampled, sound->samples, sound->n_samples,
                           sound->sample_rate_hz, to_hz, err);
}

static affect_status compute(audio_state *state, affect_extracted *values,
                             const affect_stream_reading *reading, affect_error *err) {
    const affect_mel_config *config = &state->config;
    affect_sound *sound = &state->sound;
    AFFECT_TRY(affect_sound_read(sound, reading->source, *reading->windows,
                                 config->clip_seconds + RESAMPLER_REACH_S, err));
    const float *samples;
    size_t n;
    AFFECT_TRY(resample_sound(state, &samples, &n, err));
    affect_mel_clip clip = affect_mel_compute(state->mel, samples, n);
    values->n_rows = clip.n_frames;
    values->values = clip.values;
    values->pad_value = clip.pad_value;
    values->quality[0].present = true;
    *(affect_audio_quality *)values->quality[0].record = (affect_audio_quality){
        .truncated = sound->truncated || n > affect_mel_clip_samples(config),
        .silent = clip.silent,
        .faint = clip.faint,
        .seconds = sound->total_seconds,
        .sample_rate_hz = sound->sample_rate_hz,
        .n_channels = sound->n_channels,
    };
    return AFFECT_STATUS_OK;
}

static affect_status read_sound(void *state, affect_extracted *values,
                                const affect_stream_reading *reading, affect_error *err) {
    affect_status status = compute(state, values, reading, err);
    return status == AFFECT_STATUS_OK ? status : affect_error_prefix(err, status, "audio");
}

/* ---- Quality ---- */

static const affect_audio_quality *record_of(const affect_quality *quality) {
    return (const affect_audio_quality *)quality->record;
}

static affect_json *describe(const affect_quality *quality) {
    const affect_audio_quality *audio = record_of(quality);
    affect_json *json = affect_json_new_object();
    affect_json_set_bool(json, "present", quality->present);
    if (!quality->present) return json;
    affect_json_set_number(json, "seconds", audio->seconds);
    affect_json_set_number(json, "sample_rate", audio->sample_rate_hz);
    affect_json_set_number(json, "channels", audio->n_channels);
    affect_json_set_bool(json, "truncated", audio->truncated);
    affect_json_set_bool(json, "silent", audio->silent);
    affect_json_set_bool(json, "faint", audio->faint);
    return json;
}

static void warnings(const affect_quality *quality, void *context,
                     void (*warn)(void *context, const char *text)) {
    const affect_audio_quality *audio = record_of(quality);
    if (audio->silent) warn(context, "silent");
    if (audio->faint) warn(context, "almost silent: too faint for the features");
    if (audio->truncated) warn(context, "truncated: longer than the model's clip");
}

static bool has_data(const affect_quality *quality) {
    return quality->present;
}

static double seconds(const affect_quality *quality) {
    return record_of(quality)->seconds;
}

const affect_extraction affect_audio_extraction = {.fields = affect_mel_fields,
                                                   .presets = presets,
                                                   .use_preset = use_preset,
                                                   .check = check,
                                                   .sizes = get_sizes,
                                                   .create = create_state,
                                                   .free = free_state,
                                                   .read = read_sound,
                                                   .describe = describe,
                                                   .warnings = warnings,
                                                   .has_data = has_data,
                                                   .seconds = seconds};
