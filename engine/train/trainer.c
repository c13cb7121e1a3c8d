/* Training; see trainer.h. */
#include "engine/train/trainer.h"

#include "engine/core/clock.h"
#include "engine/train/checkpoint.h"
#include "engine/train/epoch_log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROBE_STEPS = 4 };  /* of a dry run, after one that warms up */
#define PROBE_SECONDS 10.0 /* it takes about, at most */
#define SYNC_SECONDS  1.0  /* after so long the sums are looked at: has the loss diverged? */

/* ---- One epoch ---- */

/* Adds up the gradients of a batch, in pieces where it is too large for the memory. */
static affect_status accumulate(affect_training *t, const size_t *indices, size_t rows,
                                affect_error *err) {
    affect_random_key dropout = {(uint64_t)t->config->seed,
                                 affect_random_stream("dropout", t->step, 0)};
    for (size_t first = 0; first < rows; first += t->plan.micro_batch) {
        size_t n = rows - first < t->plan.micro_batch ? rows - first : t->plan.micro_batch;
        affect_session_batch batch = affect_batch_fill(t->batch, indices + first, n);
        batch.divisor = rows;
        batch.first = first;
        batch.dropout = dropout;
        AFFECT_TRY(affect_session_accumulate(t->session, &batch, err));
        if (first + n < rows) affect_batch_release(t->batch);
    }
    return AFFECT_STATUS_OK;
}

/* Enqueues a step: a device apart from the host may still be busy with the one before. */
static affect_status one_step(affect_training *t, const size_t *indices, size_t rows,
                              affect_error *err) {
    t->step++;
    affect_adam_shape adam = {.learning_rate = t->schedule.learning_rate,
                              .beta_1 = t->config->beta_1,
                              .beta_2 = t->config->beta_2,
                              .epsilon = t->config->epsilon,
                              .step = t->step};
    AFFECT_TRY(accumulate(t, indices, rows, err));
    AFFECT_TRY(affect_session_step(t->session, rows, &adam, err));
    affect_batch_release(t->batch);
    return AFFECT_STATUS_OK;
}

/* Waits for the steps under way and takes their sums into the position. */
static affect_status sync_totals(affect_training *t, affect_error *err) {
    double totals[AFFECT_MAX_STATS + 1];
    size_t n = affect_session_n_totals(t->session) - 1;
    AFFECT_TRY(affect_session_read_totals(totals, t->session, err));
    memcpy(t->position.stats, totals, n * sizeof *totals);
    t->position.l2_rows = totals[n];
    t->synced_at = affect_clock_seconds();
    if (isfinite(totals[0]) && isfinite(totals[n])) return AFFECT_STATUS_OK;
    return affect_fail(err, DIVERGED, "by step %llu the loss is not a number (rate %g)",
                       (unsigned long long)t->step, t->schedule.learning_rate);
}

static affect_status set_totals(affect_training *t, affect_error *err) {
    double totals[AFFECT_MAX_STATS + 1];
    size_t n = affect_session_n_totals(t->session) - 1;
    memcpy(totals, t->position.stats, n * sizeof *totals);
    totals[n] = t->position.l2_rows;
    t->synced_at = affect_clock_seconds();
    return affect_session_set_totals(t->session, totals, err);
}

/* The caller asked to stop in the middle of an epoch: what was done of it is kept. */
static affect_status stop(affect_training *t, affect_error *err) {
    t->position.seconds = affect_clock_seconds() - t->epoch_began;
    AFFECT_TRY(affect_checkpoint_save(t, err));
    return affect_fail(err, CANCELLED, "stopped in epoch %lld after %zu steps",
                       (long long)t->result->epochs_done + 1, t->position.step);
}

static affect_status save_when_due(affect_training *t, affect_error *err) {
    double now = affect_clock_seconds(), every = t->spec->checkpoint_seconds;
    if (every <= 0 || now - t->checkpointed_at < every) return AFFECT_STATUS_OK;
    AFFECT_TRY(sync_totals(t, err));
    t->position.seconds = now - t->epoch_began;
    return affect_checkpoint_save(t, err);
}

static affect_status train_epoch(affect_training *t, affect_metrics *metrics, int64_t epoch,
                                 affect_error *err) {
    size_t n = t->n[AFFECT_PART_TRAINING], batch_size = (size_t)t->config->batch_size;
    size_t steps = (n + batch_size - 1) / batch_size, *done = &t->position.step;
    affect_training_order(t->order, t->permutation, t, epoch);
    AFFECT_TRY(set_totals(t, err));
    while (*done < steps) {
        size_t begin_row = *done * batch_size;
        size_t rows = n - begin_row < batch_size ? n - begin_row : batch_size;
        AFFECT_TRY(one_step(t, t->order + begin_row, rows, err));
        ++*done;
        if (affect_clock_seconds() - t->synced_at > SYNC_SECONDS) AFFECT_TRY(sync_totals(t, err));
        if (t->callbacks->on_step && !t->callbacks->on_step(t->callbacks->context, *done, steps)) {
            AFFECT_TRY(sync_totals(t, err));
            return stop(t, err);
        }
        if (*done < steps) AFFECT_TRY(save_when_due(t, err));
    }
    AFFECT_TRY(sync_totals(t, err));
    affect_metrics_from_stats(metrics, t->position.stats, t->n_classes,
                              t->position.l2_rows / (double)n);
    return AFFECT_STATUS_OK;
}

/* One epoch's numbers. */
typedef struct {
    int64_t epoch;
    affect_metrics training, validation;
    double learning_rate; /* the epoch was trained with */
    double seconds;
} epoch_numbers;

static affect_json *report_json(const affect_training *t, const epoch_numbers *numbers) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "epoch", (double)numbers->epoch);
    affect_json_set_number(json, "epochs", (double)t->config->epochs);
    affect_metrics_print(json, "", &numbers->training, t->classes);
    affect_metrics_print(json, "val_", &numbers->validation, t->classes);
    affect_json_set_number(json, "gap", numbers->training.accuracy - numbers->validation.accuracy);
    affect_json_set_number(json, "learning_rate", numbers->learning_rate);
    affect_json_set_number(json, "seconds", numbers->seconds);
    return json;
}

/* Less is better. */
static double monitored(int monitor, const affect_metrics *validation) {
    switch (monitor) {
    case AFFECT_MONITOR_VAL_ACCURACY:
        return -validation->accuracy;
    case AFFECT_MONITOR_VAL_UAR:
        return -validation->uar;
    case AFFECT_MONITOR_VAL_F1_MACRO:
        return -validation->f1_macro;
    default:
        return validation->loss;
    }
}

/* Ends the epoch: it is the last finished one, and maybe the best. The checkpoint is written before
 * the best epoch's file: what is missing of that after a kill can be made from the checkpoint. */
static affect_status save_epoch(affect_training *t, const epoch_numbers *numbers, bool *best,
                                affect_error *err) {
    double value = monitored(t->config->best, &numbers->validation);
    *best = value < t->best;
    affect_json_set(t->metadata, "metrics", report_json(t, numbers));
    t->result->epochs_done = numbers->epoch;
    t->position = (affect_epoch_position){0};
    if (*best) {
        t->best = value;
        t->result->best_epoch = numbers->epoch;
        affect_json_free(t->best_report);
        t->best_report = report_json(t, numbers);
    }
    if (t->spec->told_epochs >= 0)
        AFFECT_TRY(
            affect_epoch_log_append(t->spec->output, affect_json_get(t->metadata, "metrics"), err));
    AFFECT_TRY(affect_checkpoint_save(t, err));
    return *best ? affect_checkpoint_save_best(t, err) : AFFECT_STATUS_OK;
}

static affect_status report_epoch(const affect_training *t, const affect_json *report, bool best,
                                  affect_error *err) {
    if (!t->callbacks->on_epoch || t->callbacks->on_epoch(t->callbacks->context, report, best))
        return AFFECT_STATUS_OK;
    return affect_fail(err, CANCELLED, "stopped after epoch %lld",
                       (long long)t->result->epochs_done);
}

static affect_status one_epoch(affect_training *t, int64_t epoch, affect_error *err) {
    bool best;
    epoch_numbers numbers = {.epoch = epoch, .learning_rate = t->schedule.learning_rate};
    t->epoch_began = affect_clock_seconds() - t->position.seconds;
    AFFECT_TRY(train_epoch(t, &numbers.training, epoch, err));
    affect_status status =
        affect_training_evaluate(t, &numbers.validation, NULL, AFFECT_PART_VALIDATION, err);
    if (status == AFFECT_STATUS_CANCELLED) return stop(t, err);
    AFFECT_TRY(status);
    numbers.seconds = affect_clock_seconds() - t->epoch_began;
    double val_loss = numbers.validation.loss;
    affect_schedule_update(&t->schedule, &t->config->schedule_config, val_loss);
    t->result->stopped_early =
        affect_stopping_update(&t->stopping, &t->config->stopping_config,
                               monitored(t->config->stopping_config.monitor, &numbers.validation));
    AFFECT_TRY(save_epoch(t, &numbers, &best, err));
    return report_epoch(t, affect_json_get(t->metadata, "metrics"), best, err);
}

static affect_status run_epochs(affect_training *t, affect_error *err) {
    affect_train_result *r = t->result;
    while (r->epochs_done < t->config->epochs && !r->stopped_early && !r->paused) {
        if (r->epochs_done != t->spec->pause_after_epoch || r->epochs_done == 0)
            AFFECT_TRY(one_epoch(t, r->epochs_done + 1, err));
        r->paused = r->epochs_done == t->spec->pause_after_epoch && !r->stopped_early &&
                    r->epochs_done < t->config->epochs;
    }
    return AFFECT_STATUS_OK;
}

static void report_again(void *context, const affect_json *report) {
    const affect_training *t = context;
    if (t->callbacks->on_epoch) t->callbacks->on_epoch(t->callbacks->context, report, false);
}

/* Epochs that were lost on their way to who listens, and which one was best. */
static void report_lost(affect_training *t) {
    int64_t stored = t->spec->told_epochs;
    if (stored < 0 || stored + 1 >= t->result->epochs_done) return;
    int64_t n = affect_epoch_log_replay(t->spec->output, stored + 1, t->result->epochs_done - 1,
                                        report_again, t);
    if (n && t->callbacks->on_checkpoint)
        t->callbacks->on_checkpoint(t->callbacks->context, "best", t->result->best_epoch, 0);
}

/* Resumes from the folder's checkpoint, if there is one. Its last epoch is reported again: a reader
 * that listens may have been gone when it was done. */
static affect_status resume(affect_training *t, affect_error *err) {
    if (!t->checkpoint) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_checkpoint_restore(t, err));
    if (t->result->epochs_done == 0) return AFFECT_STATUS_OK;
    report_lost(t);
    return report_epoch(t, affect_json_get(t->metadata, "metrics"),
                        t->result->best_epoch == t->result->epochs_done, err);
}

/* ---- A dry run ---- */

/* Seconds that a training's epoch takes an utterance: of a few real steps after one that warms up,
 * or of that one when there are no others. */
static affect_status time_steps(double *seconds, affect_training *t, affect_error *err) {
    size_t n = t->n[AFFECT_PART_TRAINING], batch_size = t->plan.batch, timed_rows = 0;
    double timed = 0, began = affect_clock_seconds();
    affect_training_order(t->order, t->permutation, t, 1);
    for (size_t begin = 0, s = 0; begin < n && s <= PROBE_STEPS; begin += batch_size, s++) {
        size_t rows = n - begin < batch_size ? n - begin : batch_size;
        if (s == 1) timed = 0, timed_rows = 0;
        double before = affect_clock_seconds();
        AFFECT_TRY(one_step(t, t->order + begin, rows, err));
        AFFECT_TRY(sync_totals(t, err));
        double after = affect_clock_seconds();
        timed += after - before;
        timed_rows += rows;
        if (s > 0 && after - began > PROBE_SECONDS) break;
        if (t->callbacks->should_continue && !t->callbacks->should_continue(t->callbacks->context))
            return affect_fail(err, CANCELLED, "the probe was stopped");
    }
    *seconds = timed / (double)timed_rows;
    return AFFECT_STATUS_OK;
}

static affect_status time_evaluation(double *seconds, affect_training *t, affect_error *err) {
    size_t n = t->n[AFFECT_PART_VALIDATION];
    size_t rows = n < t->plan.micro_batch ? n : t->plan.micro_batch;
    double before = affect_clock_seconds();
    AFFECT_TRY(affect_batch_evaluate(NULL, t->batch, t->session, t->indices[AFFECT_PART_VALIDATION],
                                     rows, err));
    AFFECT_TRY(sync_totals(t, err));
    *seconds = (affect_clock_seconds() - before) / (double)rows;
    return AFFECT_STATUS_OK;
}

static affect_status probe(affect_json *json, affect_training *t, affect_error *err) {
    double step = 0, evaluation = 0;
    AFFECT_TRY(time_steps(&step, t, err));
    AFFECT_TRY(time_evaluation(&evaluation, t, err));
    double epoch = step * (double)t->n[AFFECT_PART_TRAINING] +
                   evaluation * (double)t->n[AFFECT_PART_VALIDATION];
    affect_json_set_number(json, "seconds_per_epoch", epoch);
    affect_json_set_number(json, "seconds", epoch * (double)t->config->epochs);
    return AFFECT_STATUS_OK;
}

/* What a training would take, as result->summary. */
static affect_status dry_run(affect_training *t, affect_error *err) {
    size_t largest = 0, n = t->n[AFFECT_PART_TRAINING];
    affect_json *json = t->result->summary = affect_json_new_object();
    AFFECT_TRY(affect_memory_plan_largest(&largest, t, &t->plan, err));
    affect_json_set_bool(json, "dry_run", true);
    affect_json_set_number(json, "parameters",
                           (double)(affect_architecture_n_trainable(t->architecture) +
                                    affect_architecture_n_statistics(t->architecture)));
    affect_json_set_number(json, "trainable_parameters",
                           (double)affect_architecture_n_trainable(t->architecture));
    affect_memory_plan_print(json, &t->plan);
    affect_json_set_number(json, "largest_batch", (double)largest);
    affect_json *parts = affect_json_set_object(json, "utterances");
    for (int p = 0; p < AFFECT_PART_COUNT; p++)
        affect_json_set_number(parts, affect_part_names[p], (double)t->n[p]);
    affect_json_set_number(json, "epochs", (double)t->config->epochs);
    affect_json_set_number(json, "steps_per_epoch",
                           (double)((n + t->plan.batch - 1) / t->plan.batch));
    affect_json_set(json, "engine", affect_json_copy(affect_json_get(t->metadata, "engine")));
    if (t->plan.fits) return probe(json, t, err);
    affect_json_set(json, "seconds_per_epoch", affect_json_new_null());
    affect_json_set(json, "seconds", affect_json_new_null());
    return AFFECT_STATUS_OK;
}

affect_status affect_train(affect_train_result *result, const affect_train_spec *spec,
                           const affect_train_callbacks *callbacks, affect_error *err) {
    *result = (affect_train_result){0};
    affect_training *t = calloc(1, sizeof *t);
    if (!t) return affect_fail(err, NO_MEMORY, "no memory to train");
    t->spec = spec;
    t->config = &spec->training_config;
    t->callbacks = callbacks;
    t->result = result;
    affect_status status = affect_training_begin(t, err);
    if (status != AFFECT_STATUS_OK) goto cleanup;
    if (callbacks->on_running)
        callbacks->on_running(callbacks->context, t->n[AFFECT_PART_TRAINING],
                              t->n[AFFECT_PART_VALIDATION], t->n[AFFECT_PART_TEST]);
    t->checkpointed_at = affect_clock_seconds();
    if (spec->dry_run) {
        status = dry_run(t, err);
        goto cleanup;
    }
    status = resume(t, err);
    if (status == AFFECT_STATUS_OK) status = run_epochs(t, err);
    if (status == AFFECT_STATUS_OK && result->paused) {
        result->summary = affect_json_new_object();
        affect_json_set_bool(result->summary, "paused", true);
        affect_json_set_number(result->summary, "epochs_done", (double)result->epochs_done);
    } else if (status == AFFECT_STATUS_OK) {
        status = affect_training_finish(t, err);
    }
cleanup:
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(result->summary);
        result->summary = NULL;
    }
    affect_training_end(t);
    free(t);
    return status;
}
