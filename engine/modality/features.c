/* Features; see features.h. */
#include "engine/modality/features.h"

#include "engine/modality/resample.h"
#include "engine/modality/sound_file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Read beyond the clip's end, so that its last samples are resampled as those of the whole sound.
 * The resampler's filter reaches far less. */
#define RESAMPLER_REACH_S 0.5

/* ---- Config ---- */

static const struct {
    const char *name;
    int64_t sample_rate_hz;
} presets[] = {{"mel-16k", 16000}, {"mel-22k", 22050}};

typedef struct {
    char preset[32];
    affect_json *mel, *motion;
} feature_document;

static const affect_field document_fields[] = {
    AFFECT_FIELD_STRING(feature_document, preset, "", "mel-16k or mel-22k"),
    AFFECT_FIELD_JSON(feature_document, mel, "fields of the mel spectrogram"),
    AFFECT_FIELD_JSON(feature_document, motion, "fields of the motion averages"), AFFECT_FIELD_END};

void affect_feature_config_default(affect_feature_config *config) {
    affect_fields_default(&config->mel, affect_mel_fields);
    affect_fields_default(&config->motion, affect_motion_fields);
}

static affect_status apply_preset(affect_feature_config *config, const char *name, const char *path,
                                  affect_error *err) {
    if (!name[0]) return AFFECT_STATUS_OK;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, name) != 0) continue;
        config->mel.sample_rate_hz = presets[i].sample_rate_hz;
        return AFFECT_STATUS_OK;
    }
    return affect_field_fail(err, path, "preset", "\"%s\" is not one of: mel-16k, mel-22k", name);
}

static affect_status parse_mel(affect_feature_config *config, const affect_json *json,
                               const char *path, affect_error *err) {
    AFFECT_TRY(affect_fields_parse(&config->mel, affect_mel_fields, json, path, err));
    return affect_mel_config_check(&config->mel, path, err);
}

static affect_status parse_document(affect_feature_config *config, const feature_document *document,
                                    const char *path, affect_error *err) {
    char mel_path[128], motion_path[128];
    snprintf(mel_path, sizeof mel_path, "%s/mel", path);
    snprintf(motion_path, sizeof motion_path, "%s/motion", path);
    affect_status status = apply_preset(config, document->preset, path, err);
    AFFECT_CHECK(status, err, parse_mel(config, document->mel, mel_path, err));
    AFFECT_CHECK(status, err,
                 affect_fields_parse(&config->motion, affect_motion_fields, document->motion,
                                     motion_path, err));
    return status;
}

affect_status affect_feature_config_parse(affect_feature_config *config, const affect_json *json,
                                          const char *path, affect_error *err) {
    affect_feature_config_default(config);
    feature_document document;
    affect_fields_default(&document, document_fields);
    affect_status status = affect_fields_parse(&document, document_fields, json, path, err);
    AFFECT_CHECK(status, err, parse_document(config, &document, path, err));
    affect_fields_free(&document, document_fields);
    return status;
}

affect_json *affect_feature_config_to_json(const affect_feature_config *config) {
    affect_json *json = affect_json_new_object();
    affect_fields_print(affect_json_set_object(json, "mel"), &config->mel, affect_mel_fields);
    affect_fields_print(affect_json_set_object(json, "motion"), &config->motion,
                        affect_motion_fields);
    return json;
}

char *affect_feature_config_text(const affect_feature_config *config) {
    affect_json *json = affect_feature_config_to_json(config);
    char *text = affect_json_canonical_text(json);
    affect_json_free(json);
    return text;
}

affect_feature_sizes affect_feature_config_sizes(const affect_feature_config *config) {
    return (affect_feature_sizes){.n_frames = affect_mel_n_frames(&config->mel),
                                  .n_mels = (size_t)config->mel.n_mels,
                                  .n_parts = (size_t)config->motion.parts,
                                  .n_columns = AFFECT_MOTION_COLUMNS};
}

affect_json *affect_audio_quality_to_json(const affect_audio_quality *quality) {
    affect_json *json = affect_json_new_object();
    affect_json_set_bool(json, "present", quality->present);
    if (!quality->present) return json;
    affect_json_set_number(json, "seconds", quality->seconds);
    affect_json_set_number(json, "sample_rate", quality->sample_rate_hz);
    affect_json_set_number(json, "channels", quality->n_channels);
    affect_json_set_bool(json, "truncated", quality->truncated);
    affect_json_set_bool(json, "silent", quality->silent);
    affect_json_set_bool(json, "faint", quality->faint);
    return json;
}

/* ---- Extractor ---- */

struct affect_feature_extractor {
    affect_feature_config config;
    affect_feature_sizes sizes;
    affect_mel *mel;
    affect_sound sound;
    float *resampled; /* (resampled_capacity) */
    size_t resampled_capacity;
    affect_segments **segments; /* (n_segments), made as needed */
    bool *overfull;             /* (n_segments) windows of a pass that were given up */
    size_t n_segments;
    affect_mocap_reader *reader; /* made as needed */
    float *motion;               /* (n_parts, n_columns), of affect_features_extract */
    uint8_t *missing;            /* the same */
};

affect_status affect_feature_extractor_create(affect_feature_extractor **extractor,
                                              const affect_feature_config *config,
                                              affect_error *err) {
    affect_feature_extractor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "features: no memory");
    made->config = *config;
    made->sizes = affect_feature_config_sizes(config);
    size_t n = made->sizes.n_parts * made->sizes.n_columns;
    made->motion = calloc(n, sizeof *made->motion);
    made->missing = calloc(n, sizeof *made->missing);
    affect_status status = affect_mel_create(&made->mel, &config->mel, err);
    if (status == AFFECT_STATUS_OK && (!made->motion || !made->missing))
        status =
            affect_fail(err, NO_MEMORY, "features: no memory for %zu parts", made->sizes.n_parts);
    if (status != AFFECT_STATUS_OK) {
        affect_feature_extractor_free(made);
        return status;
    }
    *extractor = made;
    return AFFECT_STATUS_OK;
}

void affect_feature_extractor_free(affect_feature_extractor *extractor) {
    if (!extractor) return;
    for (size_t i = 0; i < extractor->n_segments; i++) affect_segments_free(extractor->segments[i]);
    free(extractor->segments);
    free(extractor->overfull);
    affect_mocap_reader_free(extractor->reader);
    affect_mel_free(extractor->mel);
    affect_sound_free(&extractor->sound);
    free(extractor->resampled);
    free(extractor->motion);
    free(extractor->missing);
    free(extractor);
}

const affect_feature_config *
affect_feature_extractor_config(const affect_feature_extractor *extractor) {
    return &extractor->config;
}

/* ---- Sound ---- */

/* The sound at the model's rate; *samples borrowed from the extractor. */
static affect_status resample_sound(affect_feature_extractor *extractor, const float **samples,
                                    size_t *n, affect_error *err) {
    const affect_sound *sound = &extractor->sound;
    int to_hz = (int)extractor->config.mel.sample_rate_hz;
    *samples = sound->samples;
    *n = sound->n_samples;
    if (sound->sample_rate_hz == to_hz) return AFFECT_STATUS_OK;
    *n = affect_resample_length(sound->n_samples, sound->sample_rate_hz, to_hz);
    if (*n > extractor->resampled_capacity) {
        float *grown = realloc(extractor->resampled, *n * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for %zu samples", *n);
        extractor->resampled = grown;
        extractor->resampled_capacity = *n;
    }
    *samples = extractor->resampled;
    return affect_resample(extractor->resampled, sound->samples, sound->n_samples,
                           sound->sample_rate_hz, to_hz, err);
}

static affect_status read_audio(affect_feature_extractor *extractor, affect_audio_features *audio,
                                affect_source source, affect_time_window window,
                                affect_error *err) {
    const affect_mel_config *config = &extractor->config.mel;
    affect_sound *sound = &extractor->sound;
    AFFECT_TRY(
        affect_sound_read(sound, source, window, config->clip_seconds + RESAMPLER_REACH_S, err));
    const float *samples;
    size_t n;
    AFFECT_TRY(resample_sound(extractor, &samples, &n, err));
    affect_mel_clip clip = affect_mel_compute(extractor->mel, samples, n);
    audio->n_frames = clip.n_frames;
    audio->mel = clip.values;
    audio->pad_value = clip.pad_value;
    audio->quality = (affect_audio_quality){
        .present = true,
        .truncated = sound->truncated || n > affect_mel_clip_samples(config),
        .silent = clip.silent,
        .faint = clip.faint,
        .seconds = sound->total_seconds,
        .sample_rate_hz = sound->sample_rate_hz,
        .n_channels = sound->n_channels,
    };
    return AFFECT_STATUS_OK;
}

affect_status affect_features_read_audio(affect_feature_extractor *extractor,
                                         affect_audio_features *audio, affect_source source,
                                         affect_time_window window, affect_error *err) {
    *audio = (affect_audio_features){0};
    if (affect_source_is_absent(source)) return AFFECT_STATUS_OK;
    affect_status status = read_audio(extractor, audio, source, window, err);
    if (status == AFFECT_STATUS_OK) return status;
    *audio = (affect_audio_features){0};
    return affect_error_prefix(err, status, "audio");
}

void affect_features_fill_mel(const affect_feature_extractor *extractor, float *mel,
                              const affect_audio_features *audio) {
    size_t n_mels = extractor->sizes.n_mels;
    size_t n_computed = audio->n_frames * n_mels, n = extractor->sizes.n_frames * n_mels;
    if (n_computed) memcpy(mel, audio->mel, n_computed * sizeof *mel);
    for (size_t i = n_computed; i < n; i++) mel[i] = audio->pad_value;
}

/* ---- Motion ---- */

void affect_features_clear_motion(const affect_feature_extractor *extractor,
                                  affect_motion_features *motion) {
    affect_segments_clear(&extractor->config.motion, motion->motion, motion->missing);
    memset(motion->quality, 0, sizeof motion->quality);
}

/* One pass over one stream, for n windows. */
typedef struct {
    affect_feature_extractor *extractor;
    const affect_time_window *windows;
    size_t n;
    affect_mocap_kind kind;
    const affect_features_listener *listener;
} motion_pass;

static void on_rejected(void *context, size_t line, const char *reason) {
    const motion_pass *pass = context;
    if (pass->listener && pass->listener->rejected)
        pass->listener->rejected(pass->listener->context, pass->kind, line, reason);
}

static bool on_progress(void *context, size_t n_bytes) {
    const motion_pass *pass = context;
    if (!pass->listener || !pass->listener->progress) return true;
    return pass->listener->progress(pass->listener->context, n_bytes);
}

/* A window of too many rows is given up alone; when it is the only one, that is the result. */
static affect_status on_overfull(motion_pass *pass, size_t index, affect_status status,
                                 affect_error *err) {
    if (status != AFFECT_STATUS_TOO_LARGE || pass->n == 1) return status;
    char reason[96];
    snprintf(reason, sizeof reason, "window %g..%g s has more than %d rows",
             pass->windows[index].start_s, pass->windows[index].end_s, AFFECT_SEGMENTS_MAX_ROWS);
    pass->extractor->overfull[index] = true;
    on_rejected(pass, 0, reason);
    if (err) *err = (affect_error){0};
    return AFFECT_STATUS_OK;
}

static affect_status on_row(void *context, double time_s, const double *values, affect_error *err) {
    motion_pass *pass = context;
    for (size_t i = 0; i < pass->n; i++) {
        const affect_time_window *window = &pass->windows[i];
        bool outside = window->limited && (time_s < window->start_s || time_s >= window->end_s);
        if (outside || pass->extractor->overfull[i]) continue;
        affect_status status =
            affect_segments_add(pass->extractor->segments[i], time_s, values, err);
        if (status != AFFECT_STATUS_OK) AFFECT_TRY(on_overfull(pass, i, status, err));
    }
    return AFFECT_STATUS_OK;
}

/* As many segments as windows, begun. */
static affect_status begin_segments(affect_feature_extractor *extractor,
                                    const affect_time_window *windows, size_t n,
                                    affect_mocap_kind kind, affect_error *err) {
    if (n > extractor->n_segments) {
        affect_segments **grown = realloc(extractor->segments, n * sizeof(*grown));
        if (grown) extractor->segments = grown;
        bool *flags = realloc(extractor->overfull, n * sizeof *flags);
        if (flags) extractor->overfull = flags;
        if (!grown || !flags)
            return affect_fail(err, NO_MEMORY, "features: no memory for %zu windows", n);
        while (extractor->n_segments < n) {
            AFFECT_TRY(affect_segments_create(&grown[extractor->n_segments],
                                              &extractor->config.motion, err));
            extractor->n_segments++;
        }
    }
    for (size_t i = 0; i < n; i++) {
        affect_segments_begin(extractor->segments[i], kind, windows[i]);
        extractor->overfull[i] = false;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_features_read_motion(affect_feature_extractor *extractor,
                                          affect_motion_features *motion,
                                          const affect_time_window *windows, size_t n,
                                          affect_mocap_kind kind, affect_source source,
                                          const affect_features_listener *listener,
                                          affect_error *err) {
    if (affect_source_is_absent(source) || n == 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(begin_segments(extractor, windows, n, kind, err));
    motion_pass pass = {extractor, windows, n, kind, listener};
    affect_mocap_callbacks callbacks = {&pass, on_row, on_rejected, on_progress};
    if (!extractor->reader)
        AFFECT_TRY(affect_mocap_reader_create(&extractor->reader, kind, &callbacks, err));
    affect_mocap_reader_begin(extractor->reader, kind, &callbacks);
    affect_error failure = {0};
    affect_status status = affect_mocap_reader_read(extractor->reader, source, &failure);
    affect_mocap_counts counts = affect_mocap_reader_counts(extractor->reader);
    if (status == AFFECT_STATUS_MALFORMED && counts.is_empty) {
        on_rejected(&pass, 0, "no rows after the header: taken as missing");
        status = AFFECT_STATUS_OK;
    }
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        if (extractor->overfull[i]) continue;
        motion[i].quality[kind] =
            affect_segments_average(extractor->segments[i], motion[i].motion, motion[i].missing);
        motion[i].quality[kind].n_rejected = counts.n_rejected;
        motion[i].quality[kind].is_empty = counts.is_empty;
    }
    if (status != AFFECT_STATUS_OK && err) *err = failure;
    return status;
}

/* ---- One utterance ---- */

affect_status affect_features_extract(affect_feature_extractor *extractor,
                                      affect_features *features, const affect_features_input *input,
                                      const affect_features_listener *listener, affect_error *err) {
    *features = (affect_features){0};
    features->motion.motion = extractor->motion;
    features->motion.missing = extractor->missing;
    affect_features_clear_motion(extractor, &features->motion);
    bool present = !affect_source_is_absent(input->audio);
    for (int kind = 0; kind < AFFECT_MOCAP_KIND_COUNT; kind++)
        present |= !affect_source_is_absent(input->motion[kind]);
    if (!present) return affect_fail(err, INVALID, "no stream given: neither sound nor motion");
    AFFECT_TRY(affect_features_read_audio(extractor, &features->audio, input->audio,
                                          input->audio_window, err));
    for (int kind = 0; kind < AFFECT_MOCAP_KIND_COUNT; kind++)
        AFFECT_TRY(affect_features_read_motion(extractor, &features->motion, &input->motion_window,
                                               1, (affect_mocap_kind)kind, input->motion[kind],
                                               listener, err));
    return AFFECT_STATUS_OK;
}
