/* Features: from recordings to the numbers that networks see. The one path of import and
 * prediction.
 *
 * Sound: read (mono), resampled to the model's rate, cut at clip_seconds, mel spectrogram in
 * scaled decibels (mel.h). Motion: each stream's text is parsed once and averaged for one or more
 * time windows (segments.h). A config says every choice; its canonical JSON is part of the address
 * under which results are stored.
 *
 *   {"preset": "mel-16k"}                                  the study's defaults
 *   {"preset": "mel-22k", "mel": {"clip_seconds": 4}}      a preset, then fields of your own
 *   {"mel": {...}, "motion": {"parts": 200, "compat": "none"}}
 *
 * A config is plain data. An extractor belongs to one thread; its buffers are reused from call to
 * call. */
#ifndef AFFECT_MODALITY_FEATURES_H
#define AFFECT_MODALITY_FEATURES_H

#include "engine/core/json.h"
#include "engine/core/source.h"
#include "engine/core/status.h"
#include "engine/modality/mel.h"
#include "engine/modality/mocap_text.h"
#include "engine/modality/segments.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    affect_mel_config mel;
    affect_motion_config motion;
} affect_feature_config;

/* Shapes that follow from a config: mel (n_frames, n_mels), motion (n_parts, n_columns). */
typedef struct {
    size_t n_frames, n_mels, n_parts, n_columns;
} affect_feature_sizes;

/* "mel-16k". */
void affect_feature_config_default(affect_feature_config *config);
/* Reads the object above over the defaults; NULL counts as {}. INVALID with the pointer
 * path/field for an unknown field or preset, a wrong type or a value out of bounds. */
affect_status affect_feature_config_parse(affect_feature_config *config, const affect_json *json,
                                          const char *path, affect_error *err);
/* The complete config, {"mel": {every field}, "motion": {every field}}: no preset, so that its
 * meaning never changes. Owned; NULL without memory. */
affect_json *affect_feature_config_to_json(const affect_feature_config *config);
/* The same as canonical text, for digests. Owned (free); NULL without memory. */
char *affect_feature_config_text(const affect_feature_config *config);
affect_feature_sizes affect_feature_config_sizes(const affect_feature_config *config);

typedef struct {
    bool present;       /* a source was given and read */
    bool truncated;     /* longer than clip_seconds: the rest was ignored */
    bool silent;        /* no power: the spectrogram is all zeros */
    bool faint;         /* hardly any power: the spectrogram is nearly all ones (mel.h) */
    double seconds;     /* of the whole source or window, not only of the clip */
    int sample_rate_hz; /* of the source */
    int n_channels;
} affect_audio_quality;

/* {"present", "seconds", "sample_rate", "channels", "truncated", "silent", "faint"}; owned. */
affect_json *affect_audio_quality_to_json(const affect_audio_quality *quality);

/* Sound of one utterance. */
typedef struct {
    size_t n_frames;  /* true length, at most sizes.n_frames; 0 when absent */
    const float *mel; /* (n_frames, n_mels); borrowed until the extractor's next sound */
    float pad_value;  /* of all frames after n_frames */
    affect_audio_quality quality;
} affect_audio_features;

/* Motion of one utterance, into memory of the caller. */
typedef struct {
    float *motion;    /* (n_parts, n_columns) means, 0 where missing */
    uint8_t *missing; /* (n_parts, n_columns) 1 where there was nothing to average */
    affect_motion_quality quality[AFFECT_MOCAP_KIND_COUNT];
} affect_motion_features;

/* What happens while motion is read; each may be NULL. */
typedef struct {
    void *context;
    /* A malformed row that was skipped; line from 1. */
    void (*rejected)(void *context, affect_mocap_kind kind, size_t line, const char *reason);
    /* After each block of n_bytes; false stops with CANCELLED. */
    bool (*progress)(void *context, size_t n_bytes);
} affect_features_listener;

typedef struct affect_feature_extractor affect_feature_extractor;

/* Copies config. INVALID as affect_feature_config_parse. */
affect_status affect_feature_extractor_create(affect_feature_extractor **extractor,
                                              const affect_feature_config *config,
                                              affect_error *err);
void affect_feature_extractor_free(affect_feature_extractor *extractor);
const affect_feature_config *
affect_feature_extractor_config(const affect_feature_extractor *extractor);

/* The window of the source (zero-initialised: all of it). An absent source gives n_frames 0. Fails
 * as affect_sound_read, with "audio: " before the reason. */
affect_status affect_features_read_audio(affect_feature_extractor *extractor,
                                         affect_audio_features *audio, affect_source source,
                                         affect_time_window window, affect_error *err);

/* Marks everything missing and absent. Sizes: the extractor's config. */
void affect_features_clear_motion(const affect_feature_extractor *extractor,
                                  affect_motion_features *motion);
/* One pass over one stream's source for `n` windows (they may overlap): fills that stream's columns
 * and quality of each motion[i], which affect_features_clear_motion has cleared. A window without
 * rows is no failure: its columns are missing and quality.n_rows is 0. On failure (MALFORMED: no
 * valid row, wrong columns; IO; CANCELLED; TOO_LARGE) the columns are left cleared. A source that
 * ends after its header is none either: the listener hears of it (line 0), the columns are missing,
 * and the quality says is_empty. */
affect_status affect_features_read_motion(affect_feature_extractor *extractor,
                                          affect_motion_features *motion,
                                          const affect_time_window *windows, size_t n,
                                          affect_mocap_kind kind, affect_source source,
                                          const affect_features_listener *listener,
                                          affect_error *err);

/* One utterance at once, as a prediction needs it. */
typedef struct {
    affect_source audio;
    affect_source motion[AFFECT_MOCAP_KIND_COUNT];  /* by affect_mocap_kind */
    affect_time_window motion_window, audio_window; /* for files of a whole dialog */
} affect_features_input;

typedef struct {
    affect_audio_features audio;
    affect_motion_features motion; /* memory of the extractor */
} affect_features;

/* All of *features is borrowed until the extractor's next call. Fails when any given stream cannot
 * be read (the message names it), or when all are absent: INVALID. Streams that are absent or all
 * missing are left to the caller to warn of: see the qualities. */
affect_status affect_features_extract(affect_feature_extractor *extractor,
                                      affect_features *features, const affect_features_input *input,
                                      const affect_features_listener *listener, affect_error *err);

/* Writes a whole clip as a network takes it: mel (sizes.n_frames, n_mels), the computed frames and
 * then pad_value. An absent sound is all zeros. */
void affect_features_fill_mel(const affect_feature_extractor *extractor, float *mel,
                              const affect_audio_features *audio);

#endif
