/* Evaluation: a model file on a part of its own split, or on a whole dataset.
 *
 * The model file says all that is needed: feature config, normaliser, labels, and which utterances
 * trained, validated and tested it. A dataset with other features, or with a class that the model
 * does not know, is refused. Parts are matched by utterance id, so a dataset imported anew serves.
 * With an output folder, what it predicts for each utterance is written there (predictions.h). */
#ifndef AFFECT_TRAIN_EVALUATION_H
#define AFFECT_TRAIN_EVALUATION_H

#include "engine/evaluation/metrics.h"
#include "engine/train/job_spec.h"

typedef struct {
    affect_metrics metrics;
    affect_json *summary; /* {"part", "utterances", "metrics": {...}, "dataset": {...},
                             "selection"?, "artifacts": [names of files in the output folder]}
                             "temperature" and the other members of report.h; owned by the caller */
} affect_evaluation;

/* `keep_going` (may be NULL) is asked between batches; false: CANCELLED. */
affect_status affect_evaluate(affect_evaluation *evaluation, const affect_evaluate_spec *spec,
                              bool (*keep_going)(void *context, size_t done, size_t total),
                              void *context, affect_error *err);

#endif
