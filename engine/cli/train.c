/* `affect train`: the worker of train jobs, and training from a shell.
 *
 * A specification is a JSON file (--spec, as the server writes it) or made of flags; flags win. */
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/train/job_event.h"
#include "engine/train/trainer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SPEC_BYTES (16u << 20)

static void on_running(void *context, size_t n_training, size_t n_validation, size_t n_test) {
    affect_job_events_state(context, "running");
    affect_job_events_message(context, "log", "%zu utterances train, %zu validate, %zu test",
                              n_training, n_validation, n_test);
}

static bool on_step(void *context, size_t step, size_t steps) {
    affect_job_events_progress(context, "epoch", step, steps);
    return !affect_job_cancelled();
}

static bool on_epoch(void *context, const affect_epoch_report *report) {
    char text[256];
    snprintf(text, sizeof text,
             "epoch %lld/%lld  loss %.4f  accuracy %.4f  val_loss %.4f  val_accuracy %.4f  "
             "val_f1 %.4f  rate %g  %.1f s%s",
             (long long)report->epoch, (long long)report->epochs, report->training.loss,
             report->training.accuracy, report->validation.loss, report->validation.accuracy,
             report->validation.f1_macro, report->learning_rate, report->seconds,
             report->best ? "  *" : "");
    affect_job_events_emit(context, "epoch", affect_epoch_report_json(report), text);
    return !affect_job_cancelled();
}

static void on_checkpoint(void *context, const char *kind, int64_t epoch) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "kind", kind);
    affect_json_set_number(members, "epoch", (double)epoch);
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
                                        .on_checkpoint = on_checkpoint};
    affect_train_result result;
    affect_status status = affect_train(&result, &spec, &callbacks, err);
    *summary = result.summary;
    affect_train_spec_free(&spec);
    return status;
}

/* The spec file, if any, with what the flags say laid over it. */
typedef struct {
    const char *spec, *dataset, *output, *architecture, *variables, *split, *training, *device;
    int64_t threads, epochs, seed;
} options;

/* A JSON text as a member; a word that is no JSON (a preset's name) as a string. A name of a file
 * that exists is read: `--architecture my.json`. */
static affect_status set_json(affect_json *document, const char *name, const char *text,
                              affect_error *err) {
    if (!text) return AFFECT_STATUS_OK;
    affect_json *value = NULL;
    size_t length = strlen(text);
    if (length > 5 && strcmp(text + length - 5, ".json") == 0)
        AFFECT_TRY(affect_json_read(&value, text, MAX_SPEC_BYTES, err));
    else if (*text == '{')
        AFFECT_TRY(affect_json_parse(&value, text, length, err));
    else
        value = affect_json_new_string(text);
    affect_json_set(document, name, value);
    return AFFECT_STATUS_OK;
}

static affect_status make_document(affect_json **document, const options *given,
                                   affect_error *err) {
    if (given->spec)
        AFFECT_TRY(affect_json_read(document, given->spec, MAX_SPEC_BYTES, err));
    else
        *document = affect_json_new_object();
    affect_json *made = *document;
    if (given->dataset) affect_json_set_string(made, "dataset", given->dataset);
    if (given->output) affect_json_set_string(made, "output", given->output);
    if (given->device) affect_json_set_string(made, "device", given->device);
    if (given->threads >= 0) affect_json_set_number(made, "threads", (double)given->threads);
    AFFECT_TRY(set_json(made, "architecture", given->architecture, err));
    AFFECT_TRY(set_json(made, "variables", given->variables, err));
    AFFECT_TRY(set_json(made, "split", given->split, err));
    AFFECT_TRY(set_json(made, "training", given->training, err));
    if (given->epochs < 0 && given->seed < 0) return AFFECT_STATUS_OK;
    affect_json *training = affect_json_get(made, "training");
    if (!training) training = affect_json_set_object(made, "training");
    if (given->epochs >= 0) affect_json_set_number(training, "epochs", (double)given->epochs);
    if (given->seed >= 0) affect_json_set_number(training, "seed", (double)given->seed);
    return AFFECT_STATUS_OK;
}

int affect_command_train(int argc, char **argv) {
    options given = {.threads = -1, .epochs = -1, .seed = -1};
    bool lines = false, supervised = false;
    const affect_flag flags[] = {
        {"spec", 0, AFFECT_FLAG_STRING, &given.spec, "FILE", "job specification, JSON"},
        {"dataset", 'd', AFFECT_FLAG_STRING, &given.dataset, "DIR", "a dataset's folder"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR", "where model files go"},
        {"architecture", 'a', AFFECT_FLAG_STRING, &given.architecture, "NAME|FILE",
         "a preset (default paper-optimized) or a JSON file"},
        {"variables", 0, AFFECT_FLAG_STRING, &given.variables, "JSON",
         "values of the architecture's variables"},
        {"split", 0, AFFECT_FLAG_STRING, &given.split, "JSON",
         "as {\"kind\": \"random\", \"validation\": 0.2}"},
        {"training", 0, AFFECT_FLAG_STRING, &given.training, "JSON",
         "as {\"epochs\": 100, \"batch_size\": 48}"},
        {"epochs", 'e', AFFECT_FLAG_INTEGER, &given.epochs, "N", "training.epochs"},
        {"seed", 's', AFFECT_FLAG_INTEGER, &given.seed, "N", "training.seed"},
        {"device", 0, AFFECT_FLAG_STRING, &given.device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &given.threads, "N", "0: all cores"},
        {"events", 0, AFFECT_FLAG_BOOL, &lines, NULL, "print JSON lines to stdout"},
        {"supervised", 0, AFFECT_FLAG_BOOL, &supervised, NULL,
         "stop when stdin ends (the server's workers)"},
        {0}};
    const affect_usage usage = {"train", "", "Trains a network on an imported dataset.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;

    affect_error err = {0};
    affect_json *document = NULL, *summary = NULL;
    affect_job_events *events = affect_job_events_create(lines ? stdout : NULL);
    if (!events) return AFFECT_EXIT_FAILED;
    affect_job_events_hello(events);
    affect_status status = affect_job_supervise(supervised, &err);
    if (status == AFFECT_STATUS_OK) status = make_document(&document, &given, &err);
    if (status == AFFECT_STATUS_OK) status = run(&summary, document, events, &err);
    affect_job_events_end(events, status, &err, summary);
    affect_job_events_free(events);
    affect_json_free(document);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : AFFECT_EXIT_FAILED;
}
