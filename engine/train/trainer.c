/* Training; see trainer.h. */
#include "engine/train/trainer.h"

#include "engine/core/clock.h"
#include "engine/train/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STATS (2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES)

/* ---- One epoch ---- */

static void shuffle(affect_training *t, int64_t epoch) {
    size_t n = t->n[AFFECT_PART_TRAINING];
    affect_random_key key = {(uint64_t)t->config->seed,
                             affect_random_stream("order", (uint64_t)epoch, 0)};
    affect_random_permutation(t->permutation, n, key);
    for (size_t i = 0; i < n; i++)
        t->order[i] = t->indices[AFFECT_PART_TRAINING][t->permutation[i]];
}

static affect_status one_step(affect_training *t, double *stats, double *l2_rows,
                              const size_t *indices, size_t rows, affect_error *err) {
    affect_session_batch batch = affect_batch_fill(t->batch, indices, rows);
    t->step++;
    batch.dropout =
        (affect_random_key){(uint64_t)t->config->seed, affect_random_stream("dropout", t->step, 0)};
    double l2 = 0;
    affect_adam_shape adam = {.learning_rate = t->schedule.learning_rate,
                              .beta_1 = t->config->beta_1,
                              .beta_2 = t->config->beta_2,
                              .epsilon = t->config->epsilon,
                              .step = t->step};
    AFFECT_TRY(affect_session_accumulate(t->session, stats, &batch, err));
    AFFECT_TRY(affect_session_step(t->session, &l2, &adam, err));
    *l2_rows += l2 * (double)rows;
    if (!isfinite(stats[0]) || !isfinite(l2))
        return affect_fail(err, DIVERGED, "step %llu: the loss is not a number (rate %g)",
                           (unsigned long long)t->step, t->schedule.learning_rate);
    return AFFECT_STATUS_OK;
}

static affect_status train_epoch(affect_training *t, affect_metrics *metrics, int64_t epoch,
                                 affect_error *err) {
    size_t n = t->n[AFFECT_PART_TRAINING], batch_size = (size_t)t->config->batch_size;
    size_t steps = (n + batch_size - 1) / batch_size;
    double stats[MAX_STATS] = {0}, l2_rows = 0;
    shuffle(t, epoch);
    for (size_t s = 0; s < steps; s++) {
        size_t begin_row = s * batch_size;
        size_t rows = n - begin_row < batch_size ? n - begin_row : batch_size;
        AFFECT_TRY(one_step(t, stats, &l2_rows, t->order + begin_row, rows, err));
        if (t->callbacks->on_step && !t->callbacks->on_step(t->callbacks->context, s + 1, steps))
            return affect_fail(err, CANCELLED, "stopped in epoch %lld", (long long)epoch);
    }
    affect_metrics_from_stats(metrics, stats, t->n_classes, l2_rows / (double)n);
    return AFFECT_STATUS_OK;
}

static affect_status evaluate_part(affect_training *t, affect_metrics *metrics, affect_part part,
                                   affect_error *err) {
    double stats[MAX_STATS] = {0}, l2 = 0;
    AFFECT_TRY(affect_batch_evaluate(stats, NULL, t->batch, t->session, t->indices[part],
                                     t->n[part], err));
    AFFECT_TRY(affect_session_l2(t->session, &l2, err));
    affect_metrics_from_stats(metrics, stats, t->n_classes, l2);
    if (!isfinite(metrics->loss))
        return affect_fail(err, DIVERGED, "the %s loss is not a number", affect_part_names[part]);
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

static void announce(affect_training *t, const char *kind, int64_t epoch) {
    if (t->callbacks->on_checkpoint)
        t->callbacks->on_checkpoint(t->callbacks->context, kind, epoch);
}

static affect_status save(affect_training *t, const char *file, bool checkpoint,
                          affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", file));
    return affect_model_save(path, t->session, t->metadata, checkpoint, err);
}

/* What a checkpoint says beside tensors: everything that the next epoch depends on. */
static affect_json *state_json(const affect_training *t, int64_t epoch) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "epoch", (double)epoch);
    affect_json_set_number(json, "step", (double)t->step);
    affect_json_set_bool(json, "stopped_early", t->result->stopped_early);
    affect_json *schedule = affect_json_set_object(json, "schedule");
    affect_json_set_number(schedule, "learning_rate", t->schedule.learning_rate);
    affect_json_set_number(schedule, "best", t->schedule.best); /* infinite: null */
    affect_json_set_number(schedule, "n_waiting", (double)t->schedule.n_waiting);
    affect_json_set_number(schedule, "n_cooling", (double)t->schedule.n_cooling);
    affect_json *stopping = affect_json_set_object(json, "stopping");
    affect_json_set_number(stopping, "best", t->stopping.best);
    affect_json_set_number(stopping, "n_waiting", (double)t->stopping.n_waiting);
    affect_json_set_number(json, "best", t->best);
    affect_json_set(json, "best_report", affect_json_copy(t->best_report));
    return json;
}

/* Keeps the epoch if it is the best, and the checkpoint of the last in any case. */
static affect_status keep(affect_training *t, const epoch_numbers *numbers, bool *best,
                          affect_error *err) {
    const affect_metrics *validation = &numbers->validation;
    bool by_accuracy = t->config->best == AFFECT_MONITOR_VAL_ACCURACY;
    double value = by_accuracy ? -validation->accuracy : validation->loss;
    *best = value < t->best;
    affect_json_set(t->metadata, "metrics", report_json(t, numbers));
    if (*best) {
        t->best = value;
        t->result->best_epoch = numbers->epoch;
        affect_json_free(t->best_report);
        t->best_report = report_json(t, numbers);
        AFFECT_TRY(save(t, AFFECT_BEST_FILE, false, err));
        announce(t, "best", numbers->epoch);
    }
    affect_json_set(t->metadata, "trainer", state_json(t, numbers->epoch));
    affect_status status = save(t, AFFECT_LAST_FILE, true, err);
    affect_json_free(affect_json_detach(t->metadata, "trainer"));
    if (status == AFFECT_STATUS_OK) announce(t, "last", numbers->epoch);
    return status;
}

static affect_status tell(const affect_training *t, const affect_json *report, bool best,
                          affect_error *err) {
    if (!t->callbacks->on_epoch || t->callbacks->on_epoch(t->callbacks->context, report, best))
        return AFFECT_STATUS_OK;
    return affect_fail(err, CANCELLED, "stopped after epoch %lld",
                       (long long)t->result->epochs_done);
}

static affect_status one_epoch(affect_training *t, int64_t epoch, affect_error *err) {
    double started = affect_clock_seconds();
    bool best;
    epoch_numbers numbers = {.epoch = epoch, .learning_rate = t->schedule.learning_rate};
    AFFECT_TRY(train_epoch(t, &numbers.training, epoch, err));
    AFFECT_TRY(evaluate_part(t, &numbers.validation, AFFECT_PART_VALIDATION, err));
    numbers.seconds = affect_clock_seconds() - started;
    double val_loss = numbers.validation.loss;
    affect_schedule_update(&t->schedule, &t->config->schedule_config, val_loss);
    t->result->stopped_early =
        affect_stopping_update(&t->stopping, &t->config->stopping_config, val_loss);
    AFFECT_TRY(keep(t, &numbers, &best, err));
    t->result->epochs_done = epoch;
    return tell(t, affect_json_get(t->metadata, "metrics"), best, err);
}

static affect_status run_epochs(affect_training *t, affect_error *err) {
    while (t->result->epochs_done < t->config->epochs && !t->result->stopped_early)
        AFFECT_TRY(one_epoch(t, t->result->epochs_done + 1, err));
    return AFFECT_STATUS_OK;
}

/* ---- Going on from a checkpoint ---- */

/* A checkpoint of another training must not be continued: what decides the curve has to be equal.
 */
static affect_status check_checkpoint(const affect_training *t, const affect_model *model,
                                      affect_error *err) {
    static const char *const deciding[] = {"training", "split", "dataset", "feature_config"};
    for (size_t i = 0; i < sizeof deciding / sizeof *deciding; i++) {
        char *ours = affect_json_canonical_text(affect_json_get(t->metadata, deciding[i]));
        char *theirs = affect_json_canonical_text(affect_model_metadata(model, deciding[i]));
        bool same = ours && theirs && strcmp(ours, theirs) == 0;
        free(ours);
        free(theirs);
        if (!same)
            return affect_fail(err, CONFLICT, "%s in %s is of another training (%s differs)",
                               AFFECT_LAST_FILE, t->spec->output, deciding[i]);
    }
    return AFFECT_STATUS_OK;
}

static void restore_state(affect_training *t, const affect_json *state) {
    const affect_json *schedule = affect_json_get(state, "schedule");
    const affect_json *stopping = affect_json_get(state, "stopping");
    t->result->epochs_done = (int64_t)affect_json_get_number(state, "epoch", 0);
    t->result->stopped_early = affect_json_get_bool(state, "stopped_early", false);
    t->step = (uint64_t)affect_json_get_number(state, "step", 0);
    t->schedule.learning_rate = affect_json_get_number(schedule, "learning_rate", 0);
    t->schedule.best = affect_json_get_number(schedule, "best", INFINITY);
    t->schedule.n_waiting = (int64_t)affect_json_get_number(schedule, "n_waiting", 0);
    t->schedule.n_cooling = (int64_t)affect_json_get_number(schedule, "n_cooling", 0);
    t->stopping.best = affect_json_get_number(stopping, "best", INFINITY);
    t->stopping.n_waiting = (int64_t)affect_json_get_number(stopping, "n_waiting", 0);
    t->best = affect_json_get_number(state, "best", INFINITY);
    t->best_report = affect_json_copy(affect_json_get(state, "best_report"));
    t->result->best_epoch = (int64_t)affect_json_get_number(t->best_report, "epoch", 0);
}

/* Goes on from the folder's checkpoint, if there is one. Its last epoch is told again: whoever
 * listens may have been gone when it was done. */
static affect_status resume(affect_training *t, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_model *model = NULL;
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_LAST_FILE));
    if (!t->spec->resume || !affect_file_exists(path)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_model_open(&model, path, err));
    affect_status status = check_checkpoint(t, model, err);
    if (status == AFFECT_STATUS_OK) status = affect_model_load(model, t->session, err);
    if (status == AFFECT_STATUS_OK) {
        restore_state(t, affect_model_metadata(model, "trainer"));
        if (t->callbacks->on_message)
            t->callbacks->on_message(t->callbacks->context, "going on from the last checkpoint");
        status = tell(t, affect_model_metadata(model, "metrics"),
                      t->result->best_epoch == t->result->epochs_done, err);
    }
    affect_model_close(model);
    return status;
}

/* ---- After the last epoch ---- */

static affect_status test_best(affect_training *t, affect_metrics *metrics, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_model *model = NULL;
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_BEST_FILE));
    AFFECT_TRY(affect_model_open(&model, path, err));
    affect_status status = affect_model_load(model, t->session, err);
    if (status == AFFECT_STATUS_OK) status = evaluate_part(t, metrics, AFFECT_PART_TEST, err);
    affect_model_close(model);
    return status;
}

/* test is NULL without a test part. */
static affect_json *summarize(const affect_training *t, const affect_metrics *test) {
    const affect_train_result *result = t->result;
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "model_file", AFFECT_BEST_FILE);
    affect_json_set_number(json, "epochs_done", (double)result->epochs_done);
    affect_json_set_bool(json, "stopped_early", result->stopped_early);
    affect_json *best = affect_json_set_object(json, "best");
    affect_json_set_number(best, "epoch", (double)result->best_epoch);
    affect_json_set_number(best, "val_loss",
                           affect_json_get_number(t->best_report, "val_loss", NAN));
    affect_json_set_number(best, "val_accuracy",
                           affect_json_get_number(t->best_report, "val_accuracy", NAN));
    affect_json_set(json, "metrics", affect_json_copy(t->best_report));
    if (test) affect_metrics_print(affect_json_set_object(json, "test"), "", test, t->classes);
    /* The best epoch was chosen on the validation part: its numbers flatter. */
    affect_json_set_string(json, "selection", "optimistic");
    return json;
}

static affect_status finish(affect_training *t, affect_error *err) {
    affect_metrics test;
    bool has_test = t->n[AFFECT_PART_TEST] > 0;
    if (has_test) AFFECT_TRY(test_best(t, &test, err));
    t->result->summary = summarize(t, has_test ? &test : NULL);
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
    status = resume(t, err);
    if (status == AFFECT_STATUS_OK) status = run_epochs(t, err);
    if (status == AFFECT_STATUS_OK) status = finish(t, err);
cleanup:
    affect_training_end(t);
    free(t);
    return status;
}
