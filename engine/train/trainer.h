/* Training: from a specification and a dataset to a model file, epoch by epoch.
 *
 * affect_train opens the dataset, makes the split, learns the normaliser from the training part,
 * draws the initial weights, and runs the epochs: shuffled batches (a short last one is kept),
 * Adam, validation, learning rate and stopping by the validation loss. Training metrics are running
 * means over the epoch with dropout on, as Keras prints them; validation uses moving statistics and
 * no dropout. The test part steers nothing: it is evaluated once, with the best epoch's weights,
 * after the last epoch.
 *
 * Files in the output folder: best.safetensors (a model file: the best epoch so far) and
 * last.safetensors (a checkpoint; checkpoint.h), written after each epoch, when it is stopped, and
 * every spec->checkpoint_seconds in between. With spec->resume a training resumes from that
 * checkpoint, also in the middle of an epoch; random numbers depend only on seed, epoch and step,
 * so the rest of the curve and the final weights are bit for bit those of an undisturbed run. The
 * library never prints: all goes through callbacks; a callback that returns false stops with
 * CANCELLED, the checkpoint written. */
#ifndef AFFECT_TRAIN_TRAINER_H
#define AFFECT_TRAIN_TRAINER_H

#include "engine/evaluation/metrics.h"
#include "engine/train/job_spec.h"

#define AFFECT_BEST_FILE "best.safetensors"
#define AFFECT_LAST_FILE "last.safetensors"

typedef struct {
    void *context;
    /* Each may be NULL. bool: false stops. */
    void (*on_running)(void *context, size_t n_training, size_t n_validation, size_t n_test);
    bool (*on_step)(void *context, size_t step, size_t steps); /* of this epoch */
    /* report: {"epoch", "epochs", "loss", ..., "val_loss", ..., "gap", "learning_rate", "seconds"},
     * borrowed; gap is training accuracy minus validation accuracy. best: the best epoch so far. */
    bool (*on_epoch)(void *context, const affect_json *report, bool best);
    /* kind: "best" or "last". epoch: the last finished one; step: those done of the next. */
    void (*on_checkpoint)(void *context, const char *kind, int64_t epoch, size_t step);
    void (*on_message)(void *context, const char *level,
                       const char *message); /* "log", "warning" */
    /* What affect_memory_plan_print says, and "anonymous_bytes_before"; borrowed. */
    void (*on_plan)(void *context, const affect_json *plan, const char *message);
    bool (*should_continue)(void *context); /* asked between batches of an evaluation */
} affect_train_callbacks;

typedef struct {
    int64_t epochs_done, best_epoch;
    bool stopped_early;
    bool paused;          /* at spec->pause_after_epoch; the summary says so and nothing else */
    affect_json *summary; /* for an end event: model_file, best, metrics, test, selection; owned */
} affect_train_result;

/* With spec->dry_run nothing is written, and the summary says what a training would take: the
 * memory plan (memory_plan.h), "parameters", "largest_batch", and "seconds_per_epoch" as a few real
 * steps show it.
 *
 * result->summary is owned by the caller (affect_json_free), NULL on failure. DIVERGED when a loss
 * is not a number, CANCELLED when a callback said so (files of finished epochs stay). */
affect_status affect_train(affect_train_result *result, const affect_train_spec *spec,
                           const affect_train_callbacks *callbacks, affect_error *err);

/* Removes what only a resume needs from a training's folder: the last checkpoint and the log of
 * epochs. */
void affect_checkpoint_remove(const char *folder);

#endif
