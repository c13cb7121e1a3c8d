/* Trials: several training runs (seeds, folds, hyperparameters) side by side in one process.
 *
 * Each trial is a training of its own (trainer.h) on a thread of its own: its device is opened for
 * that thread, so that on a GPU each trial has its own stream and the device runs their kernels at
 * once. A trial's recurrence fills a tenth of a large GPU: trials of one device share it, and the
 * memory that is free when they begin in equal parts. On a CPU each trial has a share of the
 * threads. The numbers of a trial are those it has alone with as many threads. */
#ifndef AFFECT_TRAIN_TRIALS_H
#define AFFECT_TRAIN_TRIALS_H

#include "engine/train/trainer.h"

enum { AFFECT_MAX_TRIALS_AT_ONCE = 64 };

typedef struct {
    const affect_train_spec *spec;           /* borrowed; outputs must differ */
    const affect_train_callbacks *callbacks; /* called on the trial's own thread */
    affect_train_result result;              /* filled; summary owned by the caller */
    affect_status status;                    /* filled, with the error where it is not OK */
    affect_error error;
} affect_trial;

/* Runs all n trials, at most micro_batch (1 .. AFFECT_MAX_TRIALS_AT_ONCE) at a time, in their
 * order. A trial that fails or is cancelled does not stop the others. Fails itself only when no
 * thread could be started. */
affect_status affect_trials_run(affect_trial *trials, size_t n, size_t micro_batch,
                                affect_error *err);

#endif
