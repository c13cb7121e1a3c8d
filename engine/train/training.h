/* The inside of a training: what trainer.c and training.c share. Nobody else includes this.
 *
 * training.c makes everything that a training holds (split, architecture, normaliser, session,
 * batch, metadata) and undoes it; trainer.c runs the epochs, keeps the best, resumes and ends. */
#ifndef AFFECT_TRAIN_TRAINING_H
#define AFFECT_TRAIN_TRAINING_H

#include "engine/model/model_file.h"
#include "engine/train/batch.h"
#include "engine/train/trainer.h"

/* Zero-initialise, set spec, config, callbacks and result, then begin. */
typedef struct {
    const affect_train_spec *spec;
    const affect_training_config *config;
    const affect_train_callbacks *callbacks;
    affect_dataset *dataset;
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
    affect_batch *batch;
    affect_normalizer normalizer;
    size_t n_classes;
    const char *classes[AFFECT_MAX_CLASSES];
    size_t *indices[AFFECT_PART_COUNT]; /* utterances of each part, ascending */
    size_t n[AFFECT_PART_COUNT];
    size_t *order, *permutation; /* of the training part, this epoch */
    affect_json *metadata;       /* of model files; "metrics" changes with each epoch */
    affect_schedule schedule;
    affect_stopping stopping;
    uint64_t step;            /* optimiser steps done */
    double best;              /* monitored value, lower is better */
    affect_json *best_report; /* of the best epoch */
    affect_train_result *result;
} affect_training;

/* Whether or not it succeeds, affect_training_end undoes it. */
affect_status affect_training_begin(affect_training *t, affect_error *err);
void affect_training_end(affect_training *t);

#endif
