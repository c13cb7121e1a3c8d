/* `affect train`: the worker of train jobs, and training from a shell.
 *
 * A specification is a JSON file (--spec, as the server writes it) or made of flags; flags win. */
#include "engine/cli/command.h"
#include "engine/cli/worker.h"
#include "engine/train/trainer.h"

#include <math.h>
#include <stdio.h>

static void on_running(void *context, size_t n_training, size_t n_validation, size_t n_test) {
    affect_job_events_state(context, "running");
    affect_job_events_message(context, "log", "%zu utterances train, %zu validate, %zu test",
                              n_training, n_validation, n_test);
}

static bool on_step(void *context, size_t step, size_t steps) {
    affect_job_events_progress(context, "epoch", step, steps);
    return !affect_job_cancelled();
}

static bool on_epoch(void *context, const affect_json *report, bool best) {
    char text[256];
    snprintf(text, sizeof text,
             "epoch %.0f/%.0f  loss %.4f  accuracy %.4f  val_loss %.4f  val_accuracy %.4f  "
             "val_f1 %.4f  rate %g  %.1f s%s",
             affect_json_get_number(report, "epoch", 0),
             affect_json_get_number(report, "epochs", 0), affect_json_get_number(report, "loss", 0),
             affect_json_get_number(report, "accuracy", 0),
             affect_json_get_number(report, "val_loss", 0),
             affect_json_get_number(report, "val_accuracy", 0),
             affect_json_get_number(report, "val_f1_macro", 0),
             affect_json_get_number(report, "learning_rate", 0),
             affect_json_get_number(report, "seconds", 0), best ? "  *" : "");
    affect_job_events_emit(context, "epoch", affect_json_copy(report), text);
    return !affect_job_cancelled();
}

static void on_message(void *context, const char *level, const char *message) {
    affect_job_events_message(context, level, "%s", message);
}

static void on_plan(void *context, const affect_json *plan, const char *message) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "message", message);
    affect_json_set(members, "plan", affect_json_copy(plan));
    affect_job_events_emit(context, "log", members, message);
}

static bool should_continue(void *context) {
    (void)context;
    return !affect_job_cancelled();
}

static void on_checkpoint(void *context, const char *kind, int64_t epoch, size_t step) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "kind", kind);
    affect_json_set_number(members, "epoch", (double)epoch);
    if (step) affect_json_set_number(members, "step", (double)step);
    affect_job_events_emit(context, "checkpoint", members, NULL);
}

static affect_status run(affect_json **summary, const affect_json *document,
                         affect_job_events *events, affect_error *err) {
    affect_train_spec spec = {0};
    AFFECT_TRY(affect_train_spec_parse(&spec, document, err));
    affect_job_events_state(events, "preparing");
    affect_train_callbacks callbacks = {.context = events,
                                        .on_running = on_running,
                                        .on_step = on_step,
                                        .on_epoch = on_epoch,
                                        .on_checkpoint = on_checkpoint,
                                        .on_message = on_message,
                                        .on_plan = on_plan,
                                        .should_continue = should_continue};
    affect_train_result result;
    affect_status status = affect_train(&result, &spec, &callbacks, err);
    *summary = result.summary;
    affect_train_spec_free(&spec);
    return status;
}

/* What the flags say; NULL and -1: not given. */
typedef struct {
    affect_worker_flags worker;
    const char *dataset, *output, *architecture, *variables, *split, *training, *device, *precision;
    int64_t threads, epochs, seed, fold;
    int64_t memory_bytes;
    double checkpoint_seconds;
    bool resume, dry_run;
} train_flags;

/* --fold: of a split by name, or of an object. */
static affect_status set_fold(affect_json *specification, int64_t fold, affect_error *err) {
    affect_json *split = affect_json_get(specification, "split");
    if (fold < 0) return AFFECT_STATUS_OK;
    if (affect_json_is_string(split)) {
        affect_json *named = affect_json_new_object();
        affect_json_set(named, "kind", affect_json_copy(split));
        split = affect_json_set(specification, "split", named);
    }
    if (!affect_json_is_object(split))
        return affect_field_fail(err, "", "split", "--fold needs a split that has folds");
    affect_worker_set_integer(split, "fold", fold);
    return AFFECT_STATUS_OK;
}

static affect_status fill(affect_json *specification, const void *flags, affect_error *err) {
    const train_flags *given = flags;
    affect_worker_set_string(specification, "dataset", given->dataset);
    affect_worker_set_string(specification, "output", given->output);
    affect_worker_set_string(specification, "device", given->device);
    affect_worker_set_string(specification, "precision", given->precision);
    affect_worker_set_integer(specification, "threads", given->threads);
    affect_worker_set_integer(specification, "memory_bytes", given->memory_bytes);
    if (given->dry_run) affect_json_set_bool(specification, "dry_run", true);
    if (given->resume) affect_json_set_bool(specification, "resume", true);
    if (!isnan(given->checkpoint_seconds))
        affect_json_set_number(specification, "checkpoint_seconds", given->checkpoint_seconds);
    AFFECT_TRY(affect_worker_set_json(specification, "architecture", given->architecture, err));
    AFFECT_TRY(affect_worker_set_json(specification, "variables", given->variables, err));
    AFFECT_TRY(affect_worker_set_json(specification, "split", given->split, err));
    AFFECT_TRY(set_fold(specification, given->fold, err));
    AFFECT_TRY(affect_worker_set_json(specification, "training", given->training, err));
    if (given->epochs < 0 && given->seed < 0) return AFFECT_STATUS_OK;
    affect_json *training = affect_json_get(specification, "training");
    if (!training) training = affect_json_set_object(specification, "training");
    if (!affect_json_is_object(training))
        return affect_field_fail(err, "", "training", "is a %s (need an object)",
                                 affect_json_type_name(training));
    affect_worker_set_integer(training, "epochs", given->epochs);
    affect_worker_set_integer(training, "seed", given->seed);
    return AFFECT_STATUS_OK;
}

int affect_command_train(int argc, char **argv) {
    train_flags given = {.threads = -1,
                         .epochs = -1,
                         .seed = -1,
                         .fold = -1,
                         .memory_bytes = -1,
                         .checkpoint_seconds = NAN};
    const affect_flag flags[] = {
        {"dataset", 'd', AFFECT_FLAG_STRING, &given.dataset, "DIR", "a dataset's folder"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR", "where model files go"},
        {"architecture", 'a', AFFECT_FLAG_STRING, &given.architecture, "NAME|FILE",
         "a preset (default paper-optimized) or a JSON file"},
        {"variables", 0, AFFECT_FLAG_STRING, &given.variables, "JSON",
         "values of the architecture's variables"},
        {"split", 0, AFFECT_FLAG_STRING, &given.split, "NAME|JSON",
         "session-out, speaker-out, ..., or {\"kind\": \"random\", \"validation\": 0.2}"},
        {"fold", 0, AFFECT_FLAG_INTEGER, &given.fold, "N",
         "which fold of the split is tested, from 0"},
        {"training", 0, AFFECT_FLAG_STRING, &given.training, "JSON",
         "as {\"epochs\": 100, \"batch_size\": 48}"},
        {"epochs", 'e', AFFECT_FLAG_INTEGER, &given.epochs, "N", "training.epochs"},
        {"seed", 's', AFFECT_FLAG_LARGE, &given.seed, "N", "training.seed"},
        {"device", 0, AFFECT_FLAG_STRING, &given.device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"precision", 0, AFFECT_FLAG_STRING, &given.precision, "NAME",
         "fp32, tf32, bf16 or auto: tf32 on a GPU, fp32 on a CPU"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &given.threads, "N", "0: all cores"},
        {"resume", 0, AFFECT_FLAG_BOOL, &given.resume, NULL,
         "resume from the output folder's checkpoint, if it has one"},
        {"dry-run", 0, AFFECT_FLAG_BOOL, &given.dry_run, NULL,
         "train nothing: print memory, largest batch, seconds an epoch"},
        {"memory-bytes", 0, AFFECT_FLAG_LARGE, &given.memory_bytes, "N",
         "that it may take (default: nine tenths of what is available)"},
        {"checkpoint-seconds", 0, AFFECT_FLAG_NUMBER, &given.checkpoint_seconds, "S",
         "also keep a checkpoint this often within an epoch (default 60; 0: only at its end)"},
        AFFECT_WORKER_FLAGS(given.worker),
        {0}};
    const affect_usage usage = {"train", "", "Trains a network on an imported dataset.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;
    const affect_worker worker = {
        .fill = fill, .run = run, .show = given.dry_run ? affect_worker_show : NULL};
    return affect_worker_main(&worker, &given.worker, &given);
}
