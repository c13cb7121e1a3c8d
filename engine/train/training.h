/* The inside of a training: what trainer.c and training.c share. No other file includes this.
 *
 * training.c makes everything that a training holds (split, architecture, normaliser, session,
 * batch, metadata) and undoes it; trainer.c runs the epochs; checkpoint.c writes and reads the
 * files; training_evaluation.c evaluates a part and makes the result. */
#ifndef AFFECT_TRAIN_TRAINING_H
#define AFFECT_TRAIN_TRAINING_H

#include "engine/model/model_file.h"
#include "engine/train/batch.h"
#include "engine/train/memory_plan.h"
#include "engine/train/trainer.h"

#define AFFECT_MAX_STATS (2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES)

/* How far the epoch after the last finished one has come. All zero: not begun. */
typedef struct {
    size_t step;                    /* optimiser steps of it that are done */
    double stats[AFFECT_MAX_STATS]; /* their sums (see affect_loss_shape), when last looked at */
    double l2_rows;                 /* sum over their rows of the L2 penalty */
    double seconds;                 /* spent on them */
} affect_epoch_position;

/* Zero-initialise, set spec, config, callbacks and result, then begin. */
struct affect_training {
    const affect_train_spec *spec;
    const affect_training_config *config;
    const affect_train_callbacks *callbacks;
    affect_dataset *dataset;
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
    affect_batch *batch;
    affect_memory_plan plan;
    int n_threads;
    affect_normalizer normalizer;
    size_t n_classes;
    const char *classes[AFFECT_MAX_CLASSES];
    size_t *indices[AFFECT_PART_COUNT]; /* utterances of each part, ascending */
    size_t n[AFFECT_PART_COUNT];
    size_t *order, *permutation; /* of the training part, this epoch */
    affect_json *metadata;       /* of model files; "metrics" is of the last finished epoch */
    affect_model *checkpoint;    /* to resume from; NULL: from the start */
    affect_schedule schedule;
    affect_stopping stopping;
    uint64_t step; /* optimiser steps done, of all epochs */
    affect_epoch_position position;
    double epoch_began;       /* on the clock, less what the position says was spent before */
    double checkpointed_at;   /* when the last checkpoint was written */
    double synced_at;         /* when the session's totals were last read */
    double best;              /* monitored value, lower is better */
    affect_json *best_report; /* of the best epoch */
    affect_train_result *result;
};

/* Whether or not it succeeds, affect_training_end undoes it. */
affect_status affect_training_begin(affect_training *t, affect_error *err);
void affect_training_end(affect_training *t);
/* order (n of the training part) becomes the utterances of an epoch in their order: a function of
 * seed and epoch. scratch: as many. */
void affect_training_order(size_t *order, size_t *scratch, const affect_training *t, int64_t epoch);
/* Evaluates a part with the session's weights, in pieces of the batch's size, between which it may
 * be stopped (then CANCELLED, nothing kept). probabilities (utterances of the part, classes) or
 * NULL. */
affect_status affect_training_evaluate(affect_training *t, affect_metrics *metrics,
                                       float *probabilities, affect_part part, affect_error *err);
/* After the last epoch: evaluates the best one, writes the predictions and the temperature, and
 * makes result->summary. The session is gone afterwards. */
affect_status affect_training_finish(affect_training *t, affect_error *err);

#endif
