/* Splits by name: which utterances train, which validate, which are tested once.
 *
 * The field is a name ("session-out") or an object with that name as its kind; each kind is a row
 * of affect_split_kinds (split_config.c):
 *
 *   {"kind": "random", "validation": 0.2, "test": 0, "stratified": true, "seed": 1}
 *   {"kind": "speakers", "validation": ["Ses05F"], "test": ["Ses05M"]}
 *   {"kind": "group-out", "by": "speaker", "folds": "all" | 5, "fold": 0, "validation": ...}
 *   {"kind": "given", "validation": ...}    the corpus' own column "split"
 *   paper-random: random 80:20; session-out, speaker-out, dialog-disjoint, script-disjoint,
 *   improvised-only: group-out with their own defaults
 *
 * random: sizes are ceil(share * n) (ceil(0.2 * 5521) = 1105 is the paper's), test drawn first;
 * with stratified each class keeps its share, by largest remainder. speakers: named true speakers
 * validate or are tested, all others train. group-out: the utterances of fold `fold` (from 0, the
 * default) are tested; "all" makes each group a fold, in the order of names (scikit-learn's
 * LeaveOneGroupOut), a number makes that many folds of about equal size, groups by falling size
 * into the lightest (GroupKFold). `subset` filters before anything is drawn: all of its conditions
 * hold.
 *
 * group-out, and given where the corpus has none, draw a validation part inside the training part;
 * random takes the last three forms too:
 *
 *   0.1                                       that share of its utterances, each class alike
 *   {"by": "speaker", "groups": 1}            so many groups
 *   {"by": "dialog", "share": 0.1}            groups with at least that share of its utterances
 *   {"by": "speaker", "within": "session"}    all groups that share a session with the tested part,
 *                                             where that leaves some to train; else one group
 *
 * A split is a function of its config and the utterances alone: of their order only where
 * utterances (not groups) are drawn, and a dataset has one order, that of ids. */
#ifndef AFFECT_EVALUATION_SPLIT_H
#define AFFECT_EVALUATION_SPLIT_H

#include "engine/core/fields.h"
#include "engine/dataset/utterance_table.h"

typedef enum {
    AFFECT_PART_TRAINING,
    AFFECT_PART_VALIDATION,
    AFFECT_PART_TEST,
    AFFECT_PART_COUNT,
    AFFECT_PART_NONE = AFFECT_PART_COUNT /* not in the subset */
} affect_part;

/* "training", "validation", "test", then NULL. */
extern const char *const affect_part_names[];

typedef enum {
    AFFECT_SPLIT_RANDOM,
    AFFECT_SPLIT_SPEAKERS,
    AFFECT_SPLIT_GROUP_OUT,
    AFFECT_SPLIT_GIVEN
} affect_split_method;

#define AFFECT_MAX_SPLIT_SPEAKERS 64
#define AFFECT_MAX_SPLIT_FOLDS    1000
#define AFFECT_MAX_CONDITIONS     16 /* of a subset */
#define AFFECT_MAX_WANTED         64 /* texts of one */

/* A row of the table of kinds. */
typedef struct {
    const char *name;
    affect_split_method method;
    const char *fields;     /* that it takes beside kind, one blank between them */
    const char *by;         /* group-out: NULL: the field says it */
    int64_t folds;          /* group-out: 0 is all; else at most so many */
    const char *validation; /* JSON of the default, or NULL */
    const char *subset;     /* JSON of conditions that always hold, or NULL */
    const char *help;       /* one sentence */
} affect_split_kind;
extern const affect_split_kind affect_split_kinds[]; /* ended by a row without name */

/* How a validation part is drawn inside the training part. */
typedef struct {
    char by[AFFECT_ATTRIBUTE_SIZE];     /* groups of it; empty: utterances */
    char within[AFFECT_ATTRIBUTE_SIZE]; /* empty: anywhere */
    int64_t groups;                     /* 0: by share */
    double share;
} affect_split_validation;

typedef struct {
    /* The fields. */
    int kind; /* row of affect_split_kinds */
    bool stratified;
    int64_t seed, fold;
    char by[AFFECT_ATTRIBUTE_SIZE];
    affect_json *folds, *validation, *test, *subset; /* as given, or the kind's own; owned */
    /* What they come to. */
    affect_split_method method;
    double validation_share, test_share; /* random */
    int64_t n_folds;                     /* group-out: 0: each group is one */
    bool fewer_folds;                    /* where there are fewer groups */
    bool draws_validation;               /* inside the training part, as follows */
    affect_split_validation drawn;
} affect_split_config;

extern const affect_field affect_split_fields[];
/* Reads and checks a split: a name, or an object; NULL json is the default (random, 0.2, no test,
 * stratified, seed 1). `path` is its JSON pointer. The config is owned: affect_split_config_free.
 */
affect_status affect_split_config_parse(affect_split_config *config, const affect_json *json,
                                        const char *path, affect_error *err);
/* Adds the members that read back as the same config. */
void affect_split_config_print(affect_json *json, const affect_split_config *config);
void affect_split_config_free(affect_split_config *config);

/* parts[i] becomes the part of utterance i (an affect_part). INVALID, with the pointer below
 * "/split", says what the corpus lacks: the attribute, a second group, a named speaker, the fold,
 * or utterances for training or validation. A class that a part lacks is no error. */
affect_status affect_split_make(uint8_t *parts, const affect_split_config *config,
                                affect_utterance_table *table, affect_error *err);
/* How many folds there are: 1 but for group-out. Fails as affect_split_make, whatever `fold`. */
affect_status affect_split_n_folds(size_t *n_folds, const affect_split_config *config,
                                   affect_utterance_table *table, affect_error *err);

#endif
