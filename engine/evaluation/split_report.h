/* What a result says of its split: name, fold, subset, sizes, audit, baselines, and whether the
 * accuracy is more than the strongest of them reaches.
 *
 *   "split": {"name", "fold"?, "held_out"?: [names], "utterances": {part: n}, "warnings": [texts]},
 *   "subset": {...} | null, "audit": {...} | null, "baselines": {...} | null,
 *   "beats_baselines": true | false | null, "statement": sentence */
#ifndef AFFECT_EVALUATION_SPLIT_REPORT_H
#define AFFECT_EVALUATION_SPLIT_REPORT_H

#include "engine/dataset/dataset.h"
#include "engine/evaluation/leakage.h"
#include "engine/evaluation/split.h"

/* All borrowed. */
typedef struct {
    const affect_json
        *split; /* as models carry it: a printed config, "utterances": {part: [ids]} */
    const affect_json *manifest; /* of the dataset */
    const affect_dataset
        *dataset;           /* for baselines that read its numbers (baseline.h); NULL: none */
    const size_t *training; /* (n_training) utterances of the manifest; may be none */
    size_t n_training;
    const size_t *evaluated; /* (n_evaluated) */
    size_t n_evaluated;
    const char *part; /* that is evaluated: "test" */
    double accuracy;  /* of the model on it */
} affect_split_report_input;

/* Adds the members above to `result`. Where nothing of the manifest trains (another dataset),
 * audit, baselines and beats_baselines are null. */
affect_status affect_split_report(affect_json *result, const affect_split_report_input *input,
                                  affect_error *err);
/* At most 20 names of the groups of `by` that have marked utterances, appended to an array. */
affect_status affect_split_report_groups(affect_json *names, affect_utterance_table *table,
                                         const char *by, const bool *marked, affect_error *err);
/* "no utterance of class sad trains", appended to an array; `verb`: "trains". */
void affect_split_report_classes(affect_json *warnings, const affect_utterance_table *table,
                                 const bool *marked, const char *verb);

#endif
