/* Splits: which utterances train, which validate, which are tested once.
 *
 *   {"kind": "random", "validation": 0.2, "test": 0, "stratified": true, "seed": 1}
 *   {"kind": "speakers", "validation": ["Ses05F"], "test": ["Ses05M"]}
 *
 * random: sizes are ceil(share * n) (ceil(0.2 * 5521) = 1105 is the study's), test drawn first;
 * with stratified each class keeps its share, by largest remainder. speakers: named true speakers
 * (session and last letter of the utterance) validate or are tested, everybody else trains. A split
 * is a function of its config and the list of utterances alone. */
#ifndef AFFECT_EVALUATION_SPLIT_H
#define AFFECT_EVALUATION_SPLIT_H

#include "engine/core/fields.h"

typedef enum {
    AFFECT_PART_TRAINING,
    AFFECT_PART_VALIDATION,
    AFFECT_PART_TEST,
    AFFECT_PART_COUNT
} affect_part;

/* "training", "validation", "test", then NULL. */
extern const char *const affect_part_names[];

typedef enum { AFFECT_SPLIT_RANDOM, AFFECT_SPLIT_SPEAKERS } affect_split_kind;

#define AFFECT_MAX_SPLIT_SPEAKERS 64

typedef struct {
    int kind; /* affect_split_kind */
    bool stratified;
    int64_t seed;
    double validation_share, test_share; /* random */
    affect_json *validation, *test;      /* as given: a share or an array of speakers; owned */
} affect_split_config;

/* Reads and checks a split; NULL json is the default (random, 0.2, no test, stratified, seed 1).
 * `path` is its JSON pointer. The config is owned: affect_split_config_free. */
affect_status affect_split_config_parse(affect_split_config *config, const affect_json *json,
                                        const char *path, affect_error *err);
void affect_split_config_print(affect_json *json, const affect_split_config *config);
void affect_split_config_free(affect_split_config *config);

/* parts[i] becomes the part of utterance i (an affect_part). labels in 0..n_classes-1. INVALID when
 * a named speaker does not occur or is named twice ("/split/test/0" of a job's specification), or
 * when training or validation would be empty. */
affect_status affect_split_make(uint8_t *parts, const affect_split_config *config, size_t n,
                                const int *labels, size_t n_classes, const char *const *speakers,
                                affect_error *err);

#endif
