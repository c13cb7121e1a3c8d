/* Features: from recordings to the numbers that networks see. The one path of import and
 * prediction.
 *
 * A config says every choice of every feature; its canonical JSON is part of the address under
 * which results are stored:
 *
 *   {"preset": "mel-16k"}                                  the paper's defaults
 *   {"preset": "mel-22k", "mel": {"clip_seconds": 4}}      a preset, then fields of your own
 *   {"mel": {...}, "motion": {"parts": 200, "compat": "none"}}
 *   {"embedding": {"wav2vec2": {"size": 768}}}             arrays of the user, by name
 *
 * What is done with each is in the file of its extraction: audio.c (sound: read as mono, resampled
 * to the model's rate, cut at clip_seconds, mel spectrogram in scaled decibels: mel.h), motion.c
 * (each stream's text is parsed once and averaged for one or more time windows: segments.h),
 * embedding.c.
 *
 * A config is plain data. An extractor belongs to one thread; its buffers are reused from call to
 * call. */
#ifndef AFFECT_MODALITY_FEATURES_H
#define AFFECT_MODALITY_FEATURES_H

#include "engine/core/fields.h"
#include "engine/core/json.h"
#include "engine/core/source.h"
#include "engine/core/status.h"
#include "engine/modality/modality.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Config ---- */

#define AFFECT_FEATURE_OPTIONS_SIZE 160

/* The options of one feature: a struct of its extraction, read by its field table. */
typedef struct {
    char name[AFFECT_FEATURE_NAME_SIZE];
    const affect_modality *modality;
    _Alignas(8) unsigned char options[AFFECT_FEATURE_OPTIONS_SIZE];
} affect_feature_options;

typedef struct {
    size_t n;
    affect_feature_options features[AFFECT_MAX_FEATURES];
} affect_feature_config;

/* "mel-16k": the features that are not named. */
void affect_feature_config_default(affect_feature_config *config);
/* Adds what such an object may be to a JSON Schema. */
void affect_feature_config_describe(affect_json *schema);
/* Reads the object above over the defaults; NULL counts as {}. INVALID with the pointer
 * path/field for an unknown field or preset, a wrong type or a value out of bounds. */
affect_status affect_feature_config_parse(affect_feature_config *config, const affect_json *json,
                                          const char *path, affect_error *err);
/* The options of that feature, borrowed; NULL without it. */
void *affect_feature_config_find(affect_feature_config *config, const char *feature);
/* The complete config, {"mel": {every field}, "motion": {every field}}: no preset, so that its
 * meaning never changes. Owned; NULL without memory. */
affect_json *affect_feature_config_to_json(const affect_feature_config *config);
/* The same as canonical text, for digests. Owned (free); NULL without memory. */
char *affect_feature_config_text(const affect_feature_config *config);
/* Its features, in the same order; n_classes is 0. */
affect_sizes affect_feature_config_sizes(const affect_feature_config *config);

/* ---- What an extraction makes ---- */

/* How good a stream of an utterance is. */
typedef struct {
    bool present;                         /* a source was given and read */
    _Alignas(8) unsigned char record[56]; /* a struct of the extraction */
} affect_quality;

/* One feature of one utterance. */
typedef struct {
    size_t n_rows;       /* ragged: rows that there are; 0: absent */
    const float *values; /* ragged: (n_rows, row size), borrowed until the feature's next read */
    float pad_value;     /* ragged: of all rows after n_rows */
    float *all;          /* else: memory of the caller, the shape; 0 where missing */
    uint8_t *missing;    /* else: the same; 1 where there was nothing to average */
    affect_quality quality[AFFECT_MODALITY_MAX_STREAMS];
} affect_extracted;

/* What happens while a stream is read; each may be NULL. */
typedef struct {
    void *context;
    /* A malformed row that was skipped; line from 1, 0: all of it. */
    void (*rejected)(void *context, const char *stream, size_t line, const char *reason);
    /* After each block of n_bytes; false stops with CANCELLED. */
    bool (*progress)(void *context, size_t n_bytes);
} affect_features_listener;

/* One stream to be read, for n utterances at once (ragged: 1) that are parts of it. */
typedef struct {
    size_t stream; /* of the feature */
    affect_source source;
    const affect_time_window *windows; /* (n), which may overlap; zero: all of it */
    size_t n;
    const char *utterance; /* its id, where a file holds several; NULL: not known */
    const affect_features_listener *listener; /* or NULL */
} affect_stream_reading;

/* A modality's way from bytes to numbers. `options` is the struct that `fields` describes. */
typedef struct affect_extraction {
    const affect_field *fields;
    /* Names that set some of the options, ended by NULL, and what each sets; or NULL. */
    const char *const *presets;
    void (*use_preset)(void *options, int preset);
    /* Checks between fields; NULL: none. */
    affect_status (*check)(const void *options, const char *path, affect_error *err);
    /* The two sizes of the shape. */
    void (*sizes)(size_t sizes[2], const void *options);
    /* What one thread needs, for a feature of that name (borrowed). */
    affect_status (*create)(void **state, const void *options, const char *feature,
                            affect_error *err);
    void (*free)(void *state);
    /* Marks everything missing; not of ragged ones. */
    void (*clear)(const void *options, float *all, uint8_t *missing);
    /* As affect_features_read. */
    affect_status (*read)(void *state, affect_extracted *values,
                          const affect_stream_reading *reading, affect_error *err);
    /* The quality record: {"present", ...}, owned; and what is to be told of it, to `warn`. */
    affect_json *(*describe)(const affect_quality *quality);
    void (*warnings)(const affect_quality *quality, void *context,
                     void (*warn)(void *context, const char *text));
    /* Whether there are numbers, and how long the stream or its window is (0: not known). */
    bool (*has_data)(const affect_quality *quality);
    double (*seconds)(const affect_quality *quality);
} affect_extraction;

/* ---- Extractor ---- */

typedef struct affect_feature_extractor affect_feature_extractor;

/* Copies config. INVALID as affect_feature_config_parse. */
affect_status affect_feature_extractor_create(affect_feature_extractor **extractor,
                                              const affect_feature_config *config,
                                              affect_error *err);
void affect_feature_extractor_free(affect_feature_extractor *extractor);
/* The features of its config, in their order; borrowed. */
const affect_sizes *affect_feature_extractor_sizes(const affect_feature_extractor *extractor);

/* An absent feature: *values with all and missing (the caller's) cleared, no rows, no quality. */
void affect_features_clear(const affect_feature_extractor *extractor, size_t feature,
                           affect_extracted *values);
/* One pass over one stream's source: fills values[0..n), which affect_features_clear has cleared,
 * with what the stream gives (its columns, its quality). An absent source leaves them. A window
 * without rows is no failure: its columns are missing. On failure (MALFORMED: not what it should
 * be; IO; CANCELLED; TOO_LARGE), which names the stream, they are left cleared. */
affect_status affect_features_read(affect_feature_extractor *extractor, size_t feature,
                                   affect_extracted *values, const affect_stream_reading *reading,
                                   affect_error *err);
/* Writes a ragged feature as a network takes it: its rows and then pad_value. An absent one is all
 * zeros. */
void affect_features_fill(const affect_feature_extractor *extractor, size_t feature, float *to,
                          const affect_extracted *values);

/* ---- One utterance ---- */

/* Sources by the names of their parts ("audio", "mocap_face"), which are borrowed, and for files of
 * a whole dialog the windows of each modality, in the table's order. Zero-initialise. */
typedef struct {
    size_t n_parts;
    struct {
        const char *name;
        affect_source source;
    } parts[AFFECT_MAX_INPUT_STREAMS];
    affect_time_window windows[AFFECT_MAX_MODALITIES];
} affect_features_input;

/* Sets or adds a part; false: too many. */
bool affect_features_input_set(affect_features_input *input, const char *part,
                               affect_source source);
/* The source of that part; absent without one. */
affect_source affect_features_input_find(const affect_features_input *input, const char *part);

/* All of values (one a feature) is borrowed until the extractor's next call. Fails when any given
 * stream cannot be read (the message names it), or when all are absent: INVALID. Streams that are
 * absent or all missing are left to the caller to warn of: see the qualities. */
affect_status affect_features_extract(affect_feature_extractor *extractor,
                                      affect_extracted values[AFFECT_MAX_FEATURES],
                                      const affect_features_input *input,
                                      const affect_features_listener *listener, affect_error *err);

#endif
