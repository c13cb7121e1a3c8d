/* Checkpoints of a training; see checkpoint.h. */
#include "engine/train/checkpoint.h"

#include "engine/core/clock.h"
#include "engine/train/epoch_log.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void tell(const affect_training *t, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void tell(const affect_training *t, const char *level, const char *format, ...) {
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (t->callbacks->on_message) t->callbacks->on_message(t->callbacks->context, level, text);
}

/* ---- Writing ---- */

static affect_json *position_json(const affect_training *t) {
    const affect_epoch_position *position = &t->position;
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "step", (double)position->step);
    affect_json_set_number(json, "l2_rows", position->l2_rows);
    affect_json_set_number(json, "seconds", position->seconds);
    affect_json *stats = affect_json_set_array(json, "stats");
    for (size_t i = 0; i < 2 + t->n_classes * t->n_classes; i++)
        affect_json_append(stats, affect_json_new_number(position->stats[i]));
    return json;
}

/* Everything that what follows depends on, beside tensors. */
static affect_json *state_json(const affect_training *t) {
    affect_json *json = affect_json_new_object();
    affect_json_set_number(json, "epoch", (double)t->result->epochs_done);
    affect_json_set_number(json, "step", (double)t->step);
    affect_json_set(json, "position", position_json(t));
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
    if (t->best_report) affect_json_set(json, "best_report", affect_json_copy(t->best_report));
    return json;
}

static affect_status save(affect_training *t, const char *file, bool checkpoint,
                          affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", file));
    return affect_model_save(path, t->session, t->metadata, checkpoint, err);
}

static void announce(const affect_training *t, const char *kind) {
    if (t->callbacks->on_checkpoint)
        t->callbacks->on_checkpoint(t->callbacks->context, kind, t->result->epochs_done,
                                    t->position.step);
}

affect_status affect_checkpoint_save(affect_training *t, affect_error *err) {
    affect_json_set(t->metadata, "trainer", state_json(t));
    affect_status status = save(t, AFFECT_LAST_FILE, true, err);
    affect_json_free(affect_json_detach(t->metadata, "trainer"));
    t->checkpointed_at = affect_clock_seconds();
    if (status == AFFECT_STATUS_OK) announce(t, "last");
    return status;
}

affect_status affect_checkpoint_save_best(affect_training *t, affect_error *err) {
    AFFECT_TRY(save(t, AFFECT_BEST_FILE, false, err));
    announce(t, "best");
    return AFFECT_STATUS_OK;
}

void affect_checkpoint_remove(const char *folder) {
    static const char *const names[] = {AFFECT_LAST_FILE, AFFECT_EPOCH_LOG, AFFECT_EPOCH_LOG_OLD};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[AFFECT_PATH_MAX];
        if (affect_path_join(path, NULL, folder, "%s", names[i]) == AFFECT_STATUS_OK) unlink(path);
    }
}

/* ---- Finding ---- */

/* What a killed writer left beside the files. */
static void remove_asides(const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[AFFECT_PATH_MAX];
        if (strstr(entry->d_name, ".safetensors.aside-") &&
            affect_path_join(path, NULL, folder, "%s", entry->d_name) == AFFECT_STATUS_OK)
            unlink(path);
    }
    closedir(directory);
}

static bool same_json(const affect_json *a, const affect_json *b) {
    char *ours = affect_json_canonical_text(a), *theirs = affect_json_canonical_text(b);
    bool same = ours && theirs && strcmp(ours, theirs) == 0;
    free(ours);
    free(theirs);
    return same;
}

/* A whole number from 0 to `most`. */
static bool is_count(const affect_json *json, const char *name, double most) {
    double number = affect_json_get_number(json, name, -1);
    return number >= 0 && number <= most && number == floor(number);
}

static bool is_position(const affect_training *t, const affect_json *position) {
    const affect_json *stats = affect_json_get(position, "stats");
    double rows = (double)t->n[AFFECT_PART_TRAINING];
    bool good = affect_json_size(stats) == 2 + t->n_classes * t->n_classes &&
                is_count(position, "step", ceil(rows / (double)t->config->batch_size)) &&
                isfinite(affect_json_get_number(position, "l2_rows", NAN));
    for (const affect_json *e = affect_json_first(stats); e; e = affect_json_next(e))
        good = good && isfinite(affect_json_number(e, NAN));
    return good;
}

/* Whether the checkpoint's numbers are such as this program writes. */
static bool is_state(const affect_training *t) {
    const double largest = 9007199254740991.0, epochs = (double)t->config->epochs;
    const affect_json *state = affect_model_metadata(t->checkpoint, "trainer");
    const affect_json *engine = affect_model_metadata(t->checkpoint, "engine");
    const affect_json *schedule = affect_json_get(state, "schedule");
    const affect_json *stopping = affect_json_get(state, "stopping");
    const affect_json *report = affect_json_get(state, "best_report");
    return is_count(state, "epoch", epochs) && is_count(state, "step", largest) &&
           is_count(schedule, "n_waiting", largest) && is_count(schedule, "n_cooling", largest) &&
           affect_json_get_number(schedule, "learning_rate", -1) >= 0 &&
           is_count(stopping, "n_waiting", largest) &&
           (!report || is_count(report, "epoch", epochs)) && is_count(engine, "threads", 1024) &&
           is_count(engine, "rows_at_once", 65536) &&
           is_position(t, affect_json_get(state, "position"));
}

static affect_status check(const affect_training *t, affect_error *err) {
    static const char *const deciding[] = {"training", "split", "dataset", "feature_config",
                                           "architecture"};
    for (size_t i = 0; i < sizeof deciding / sizeof *deciding; i++) {
        const affect_json *ours = strcmp(deciding[i], "architecture") == 0
                                      ? affect_architecture_document(t->architecture)
                                      : affect_json_get(t->metadata, deciding[i]);
        if (!same_json(ours, affect_model_metadata(t->checkpoint, deciding[i])))
            return affect_fail(err, CONFLICT, "%s in %s is of another training (%s differs)",
                               AFFECT_LAST_FILE, t->spec->output, deciding[i]);
    }
    if (is_state(t)) return AFFECT_STATUS_OK;
    return affect_fail(err, MALFORMED, "%s in %s is no checkpoint of this program",
                       AFFECT_LAST_FILE, t->spec->output);
}

affect_status affect_checkpoint_find(affect_training *t, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_LAST_FILE));
    if (t->spec->dry_run) return AFFECT_STATUS_OK;
    remove_asides(t->spec->output);
    if (!t->spec->resume || !affect_file_exists(path)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_model_open(&t->checkpoint, path, err));
    return check(t, err);
}

int64_t affect_checkpoint_engine_number(const affect_training *t, const char *name,
                                        int64_t fallback) {
    if (!t->checkpoint) return fallback;
    return (int64_t)affect_json_get_number(affect_model_metadata(t->checkpoint, "engine"), name,
                                           (double)fallback);
}

/* ---- Restoring ---- */

static void restore_position(affect_epoch_position *position, const affect_json *json) {
    size_t i = 0;
    const affect_json *stats = affect_json_get(json, "stats");
    position->step = (size_t)affect_json_get_number(json, "step", 0);
    position->l2_rows = affect_json_get_number(json, "l2_rows", 0);
    position->seconds = affect_json_get_number(json, "seconds", 0);
    for (const affect_json *e = affect_json_first(stats); e; e = affect_json_next(e))
        position->stats[i++] = affect_json_number(e, 0);
}

static void restore_state(affect_training *t, const affect_json *state) {
    const affect_json *schedule = affect_json_get(state, "schedule");
    const affect_json *stopping = affect_json_get(state, "stopping");
    t->result->epochs_done = (int64_t)affect_json_get_number(state, "epoch", 0);
    t->result->stopped_early = affect_json_get_bool(state, "stopped_early", false);
    t->step = (uint64_t)affect_json_get_number(state, "step", 0);
    restore_position(&t->position, affect_json_get(state, "position"));
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

static void warn_of_other_engine(const affect_training *t) {
    const affect_json *ours = affect_json_get(t->metadata, "engine");
    const affect_json *theirs = affect_model_metadata(t->checkpoint, "engine");
    if (same_json(ours, theirs)) return;
    char *now = affect_json_text(ours), *before = affect_json_text(theirs);
    tell(t, "warning",
         "going on with %s where the checkpoint was made with %s: the curve continues, but its "
         "last bits may differ from an undisturbed training's",
         now ? now : "?", before ? before : "?");
    free(now);
    free(before);
}

/* Whether the model file at `path` is of the best epoch. Its report says so, seconds and all: an
 * epoch's number alone would do for a file of a training that had the folder before. */
static affect_status is_best(bool *best, const affect_training *t, const char *path,
                             affect_error *err) {
    affect_model *model = NULL;
    *best = false;
    if (!affect_file_exists(path)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_model_open(&model, path, err));
    *best = same_json(t->best_report, affect_model_metadata(model, "metrics"));
    affect_model_close(model);
    return AFFECT_STATUS_OK;
}

static affect_status mend_best(affect_training *t, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    bool best;
    if (t->result->best_epoch == 0) return AFFECT_STATUS_OK;
    bool can_be_made = t->result->best_epoch == t->result->epochs_done && t->position.step == 0;
    AFFECT_TRY(affect_path_join(path, err, t->spec->output, "%s", AFFECT_BEST_FILE));
    affect_status status = is_best(&best, t, path, err);
    if (status == AFFECT_STATUS_OK && best) return status;
    if (can_be_made) return affect_checkpoint_save_best(t, err);
    AFFECT_TRY(status);
    return affect_fail(err, CONFLICT, "%s is not of epoch %lld, the checkpoint's best", path,
                       (long long)t->result->best_epoch);
}

affect_status affect_checkpoint_restore(affect_training *t, affect_error *err) {
    AFFECT_TRY(affect_model_load(t->checkpoint, t->session, err));
    restore_state(t, affect_model_metadata(t->checkpoint, "trainer"));
    const affect_json *metrics = affect_model_metadata(t->checkpoint, "metrics");
    if (metrics) affect_json_set(t->metadata, "metrics", affect_json_copy(metrics));
    tell(t, "log", "going on from the last checkpoint: epoch %lld, step %zu",
         (long long)t->result->epochs_done + 1, t->position.step);
    warn_of_other_engine(t);
    affect_model_close(t->checkpoint);
    t->checkpoint = NULL;
    return mend_best(t, err);
}
