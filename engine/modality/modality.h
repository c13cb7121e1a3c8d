/* Modalities: what a network can read of an utterance, as a table.
 *
 * A row says all that the rest of the program must know: the name, the streams that its numbers
 * come from (files of a corpus, parts of a prediction request), the shape, how it is stored, padded
 * and normalised, and the extraction (features.h) that makes numbers of recordings. Datasets,
 * shards, batches, sessions, model files, predictors, the shell and the HTTP interface loop over
 * the table and name no modality.
 *
 * A feature is a modality as a configuration sizes it: "mel", "motion". Of a modality that is named
 * there may be several features, "embedding:wav2vec2". A dataset has features in the order of the
 * table, then of their names.
 *
 * A feature's numbers of one utterance have a shape whose first size counts rows: (rows, ...);
 * where the shape has one size only, there is one row. Ragged features keep the rows that an
 * utterance has, and are padded to the shape; in a corpus they come from an utterance's own file,
 * or are cut from the dialog's. Others have all rows always, and say of each number whether it is
 * missing; they come from the dialog's file, read once for all its utterances, or else from an
 * utterance's own.
 *
 * To add a modality: a file with its extraction, and a row in modality.c. */
#ifndef AFFECT_MODALITY_MODALITY_H
#define AFFECT_MODALITY_MODALITY_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/core/tensor.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_FEATURE_NAME_PATTERN "^[a-z][a-z0-9_]{0,23}$" /* of what follows "embedding:" */
#define AFFECT_FEATURE_NAME_SIZE    48 /* "embedding:" and a name of up to 24 characters */
#define AFFECT_MAX_FEATURES         8  /* of a dataset */
#define AFFECT_MAX_MODALITIES       8
#define AFFECT_MODALITY_MAX_STREAMS 3
#define AFFECT_MAX_INPUT_STREAMS    12 /* of a dataset */

/* Where numbers come from: a file of an utterance or of a dialog. */
typedef struct {
    const char *name;   /* in reports and answers: "face" */
    const char *part;   /* of a prediction request: "mocap_face" */
    const char *column; /* of a corpus' table: "motion_face" */
    const char *flag;   /* of `affect predict`: "face" */
    const char *help;   /* of the flag */
} affect_stream;

/* What a report counts: utterances whose quality record of a stream has `member` true, or equal to
 * `value` where that is given. */
typedef struct {
    const char *member, *value;
    const char *warning; /* "utterances are silent" */
} affect_quality_count;

typedef struct affect_modality {
    const char *name;
    bool is_named;             /* features are NAME:name, with one stream each, called the same */
    const char *size_names[2]; /* of the shape, in "sizes" and as variables of architectures */
    size_t default_sizes[2];   /* for `affect inspect --init`, and what its flags say of them */
    const char *size_help[2];
    bool has_channel;            /* the shape ends in 1: (frames, mels, 1) */
    bool first_size_is_optional; /* 0: the shape is the second size alone */
    bool is_ragged;
    bool is_normalised;     /* each column of the last size scaled by the training part's moments */
    const char *tensors[3]; /* of a shard: ragged: offsets, values, pad_value; else values, missing;
                               of a named one endings: NAME:name + ".offsets" */
    const affect_stream *streams;
    size_t n_streams;
    bool must_be_readable;  /* an utterance whose file cannot be read is left out */
    bool must_be_present;   /* and so is one without a file */
    const char *window[2];  /* parts of a request that cut it in time, or NULL */
    bool is_utterance_long; /* uncut, it lasts as long as what is cut of other streams */
    const char *hours;      /* a report's sum of seconds, or NULL */
    const affect_quality_count *counts;         /* of a report, ended by NULL; NULL: none */
    const struct affect_extraction *extraction; /* NULL in builds that read no recordings */
} affect_modality;

/* Row i, NULL beyond the last; and the index of a row. */
const affect_modality *affect_modality_at(size_t i);
size_t affect_modality_index(const affect_modality *modality);
/* The modality of a feature's name ("mel", "embedding:x"); NULL when it is none: an unknown
 * modality, a name where there can be none, or one that is not [a-z][a-z0-9_]* of up to 24
 * characters. */
const affect_modality *affect_modality_find(const char *feature);
/* "mel, motion, embedding:NAME": for messages. */
#define AFFECT_MODALITY_NAMES_SIZE 160
const char *affect_modality_names(char names[AFFECT_MODALITY_NAMES_SIZE]);
/* Whether a quality record (JSON) tells of numbers, not only of a file. */
bool affect_quality_has_data(const affect_json *quality);

/* ---- Features and sizes ---- */

typedef struct {
    char name[AFFECT_FEATURE_NAME_SIZE];
    const affect_modality *modality;
    affect_shape shape; /* of one utterance */
} affect_feature;

/* The shape that a modality has with these two sizes. */
affect_shape affect_modality_shape(const affect_modality *modality, size_t first, size_t second);
/* Rows of a shape, and numbers a row. */
size_t affect_feature_n_rows(const affect_feature *feature);
size_t affect_feature_row_size(const affect_feature *feature);
/* Stream i of n; its names live as long as the feature. */
size_t affect_feature_n_streams(const affect_feature *feature);
affect_stream affect_feature_stream(const affect_feature *feature, size_t i);
/* Name of tensor i of modality->tensors. */
const char *affect_feature_tensor(char name[AFFECT_FEATURE_NAME_SIZE + 16],
                                  const affect_feature *feature, size_t i);

/* All sizes that the data fixes. */
typedef struct {
    size_t n_features;
    affect_feature features[AFFECT_MAX_FEATURES];
    size_t n_classes; /* 0 where it is not known */
} affect_sizes;

/* Appends a feature of a known name. INVALID: a name that is no feature's, a size of 0, too many.
 */
affect_status affect_sizes_add(affect_sizes *sizes, const char *name, size_t first, size_t second,
                               affect_error *err);
/* The feature of that name, or NULL. */
const affect_feature *affect_sizes_find(const affect_sizes *sizes, const char *name);
/* The number that "$name" stands for in an architecture: a size ("frames"), that of a named feature
 * ("wav2vec2_size"), or "classes". False without it; the sizes of a modality that the data lacks
 * are 0. */
bool affect_sizes_variable(size_t *value, const affect_sizes *sizes, const char *name);
/* "frames, mels, ..., classes": for messages. */
#define AFFECT_SIZES_NAMES_SIZE 600
const char *affect_sizes_variables(char names[AFFECT_SIZES_NAMES_SIZE], const affect_sizes *sizes);
/* {"frames", "mels", "parts", "columns", "embedding": {"wav2vec2": {"frames", "size"}}, "classes"};
 * sizes of modalities that are absent are 0, classes is left out where it is 0. Owned. */
affect_json *affect_sizes_to_json(const affect_sizes *sizes);
/* INVALID with the pointer path/member. */
affect_status affect_sizes_from_json(affect_sizes *sizes, const affect_json *json, const char *path,
                                     affect_error *err);

#endif
