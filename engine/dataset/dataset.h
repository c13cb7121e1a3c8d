/* A dataset: what an import made, opened for training, evaluation and inspection.
 *
 * On disk a dataset is a folder with one file, dataset.json (the manifest): name, feature config,
 * label map, classes, one small object an utterance, the import's report, and a digest of the
 * whole. The numbers lie in the feature store, a folder of safetensors files ("shards"), one a
 * dialog, each named by the SHA-256 of its inputs and the feature config (shard.h): several
 * datasets share them, and they are never computed twice.
 *
 * An open dataset is immutable and shared: shards are memory-mapped, every function below that
 * takes a const dataset may be called from any thread at any time. Everything it returns is
 * borrowed until affect_dataset_close.
 *
 * Its utterances are those whose label maps to a class and which have numbers of some modality; all
 * others are listed in the report with a reason. They stand in the byte order of their ids whatever
 * the number of threads that imported them, so an index means the same utterance after a second
 * import.
 */
#ifndef AFFECT_DATASET_DATASET_H
#define AFFECT_DATASET_DATASET_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/modality/modality.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *id; /* "Ses01F_impro01_M003" */
    /* NULL where the corpus does not tell: */
    const char *dialog;     /* "Ses01F_impro01" */
    const char *session;    /* "Ses01" */
    const char *scenario;   /* "impro01", "script01_1" */
    const char *speaker;    /* who speaks: "Ses01M" (session + letter of the last field) */
    const char *wearer;     /* who wears the markers: "Ses01F" (letter of the dialog) */
    const char *raw_label;  /* as in the corpus: "exc" */
    const char *transcript; /* UTF-8, or NULL */
    int label;              /* index into the classes */
    bool own_motion;        /* speaker == wearer: the motion is the speaker's own */
    bool improvised;        /* else scripted, or unknown */
    double start_s, end_s;  /* in the dialog */
    double valence, activation, dominance; /* 1..5; 0 when not given */
    const affect_json *votes;              /* array of {"by","labels"}, or NULL */
    const affect_json *attributes;         /* array of {"by","val","act","dom"}, or NULL */
    const affect_json *columns;            /* {"gender": "F", ...}: other texts; NULL: none */
    const affect_json *streams;            /* array of those that it has: ["audio", "face"] */
} affect_utterance;

/* What the store holds of one feature of an utterance: pointers into the map. */
typedef struct {
    size_t n_rows;          /* of numbers; 0 when it is missing */
    const float *values;    /* (n_rows, row size); raw: scaling is normalizer.h's */
    float pad_value;        /* what fills the rows after n_rows, where the feature is ragged */
    const uint8_t *missing; /* (n_rows, row size) 1 where there was nothing; NULL: ragged */
} affect_feature_values;

typedef struct affect_dataset affect_dataset;

/* Opens DIR/dataset.json and maps its shards from `store`. NOT_FOUND names an absent shard,
 * MALFORMED a manifest or shard that does not hold together. store NULL: the folder that the
 * manifest names ("store", relative to DIR or absolute). */
affect_status affect_dataset_open(affect_dataset **dataset, const char *directory,
                                  const char *store, affect_error *err);
/* Reads every shard and compares it with the digest of what was written; before results are made of
 * it. MALFORMED names the shard. */
affect_status affect_dataset_verify(const affect_dataset *dataset, affect_error *err);
void affect_dataset_close(affect_dataset *dataset);

const char *affect_dataset_name(const affect_dataset *dataset);
/* 64 hexadecimal digits over config, classes and every utterance and shard; the same for the same
 * corpus and options wherever it lies. Models carry it. */
const char *affect_dataset_digest(const affect_dataset *dataset);
/* Its features, by which the functions below count them, and the number of classes. */
const affect_sizes *affect_dataset_sizes(const affect_dataset *dataset);
/* dataset.json as it was read, for what looks at it by name (utterance_table.h). */
const affect_json *affect_dataset_manifest(const affect_dataset *dataset);
/* The complete feature config as JSON (features.h reads it). */
const affect_json *affect_dataset_features_json(const affect_dataset *dataset);
/* {"happy": ["hap", "exc"], ...} */
const affect_json *affect_dataset_label_map(const affect_dataset *dataset);
/* Counts, dropped utterances, rejected rows: see import.h. */
const affect_json *affect_dataset_report(const affect_dataset *dataset);

size_t affect_dataset_n_classes(const affect_dataset *dataset);
const char *affect_dataset_class(const affect_dataset *dataset, size_t index);
size_t affect_dataset_n_utterances(const affect_dataset *dataset);
const affect_utterance *affect_dataset_utterance(const affect_dataset *dataset, size_t index);
/* The utterance of that id; false when there is none. */
bool affect_dataset_find(const affect_dataset *dataset, size_t *index, const char *id);
affect_feature_values affect_dataset_values(const affect_dataset *dataset, size_t feature,
                                            size_t index);
/* Writes a feature of utterance `index` as a network takes it, before scaling: values (its shape),
 * padded where it is ragged and 0 where it is missing; missing (the same shape) or NULL: 1 where
 * there is no number. */
void affect_dataset_fill(const affect_dataset *dataset, float *values, uint8_t *missing,
                         size_t feature, size_t index);

#endif
