/* `affect import`: the worker of import jobs, and importing from a shell.
 *
 * A specification is a JSON file (--spec, as the server writes it) or made of flags; flags win. */
#include "engine/corpus/import.h"
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/train/job_event.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_SPEC_BYTES (16u << 20)

static void on_progress(void *context, const char *stage, size_t done, size_t total) {
    if (done == 0 && strcmp(stage, "import") == 0) affect_job_events_state(context, "running");
    affect_job_events_progress(context, stage, done, total);
}

static void on_warning(void *context, const char *message) {
    affect_job_events_message(context, "warning", "%s", message);
}

static bool is_cancelled(void *context) {
    (void)context;
    return affect_job_cancelled();
}

static affect_status run(affect_json **result, const affect_json *document,
                         affect_job_events *events, affect_error *err) {
    affect_import_options options;
    const affect_import_callbacks callbacks = {.context = events,
                                               .progress = on_progress,
                                               .warning = on_warning,
                                               .cancelled = is_cancelled};
    affect_status status = affect_import_options_parse(&options, document, err);
    if (status == AFFECT_STATUS_OK) {
        affect_job_events_state(events, "preparing");
        status = affect_import_run(result, &options, &callbacks, err);
    }
    affect_import_options_free(&options);
    return status;
}

typedef struct {
    const char *source, *spec, *store, *output, *name, *features, *labels;
    int64_t threads;
} flags_given;

/* A JSON object, or the name of a file that holds one; for features also a preset's name. */
static affect_status set_json(affect_json *document, const char *name, const char *text,
                              affect_error *err) {
    if (!text) return AFFECT_STATUS_OK;
    affect_json *value = NULL;
    size_t length = strlen(text);
    affect_status status = AFFECT_STATUS_OK;
    if (length > 5 && strcmp(text + length - 5, ".json") == 0) {
        status = affect_json_read(&value, text, MAX_SPEC_BYTES, err);
    } else if (*text == '{' || strcmp(name, "features") != 0) {
        status = affect_json_parse(&value, text, length, err);
    } else {
        value = affect_json_new_object();
        affect_json_set_string(value, "preset", text);
    }
    if (status != AFFECT_STATUS_OK) return affect_error_prefix(err, status, "--%s", name);
    affect_json_set(document, name, value);
    return AFFECT_STATUS_OK;
}

static affect_status set_source(affect_json *document, const char *source, affect_error *err) {
    struct stat info;
    if (!source) return AFFECT_STATUS_OK;
    if (stat(source, &info) != 0) return affect_fail(err, NOT_FOUND, "%s: not found", source);
    affect_json *object = affect_json_set_object(document, "source");
    affect_json_set_string(object, S_ISDIR(info.st_mode) ? "path" : "archive", source);
    return AFFECT_STATUS_OK;
}

static affect_status make_document(affect_json **document, const flags_given *given,
                                   affect_error *err) {
    if (given->spec)
        AFFECT_TRY(affect_json_read(document, given->spec, MAX_SPEC_BYTES, err));
    else
        *document = affect_json_new_object();
    affect_json *made = *document;
    if (given->store) affect_json_set_string(made, "store", given->store);
    if (given->output) affect_json_set_string(made, "output", given->output);
    if (given->name) affect_json_set_string(made, "name", given->name);
    if (given->threads >= 0) affect_json_set_number(made, "threads", (double)given->threads);
    AFFECT_TRY(set_source(made, given->source, err));
    AFFECT_TRY(set_json(made, "features", given->features, err));
    return set_json(made, "labels", given->labels, err);
}

static void print_result(const affect_json *result) {
    affect_buffer text = {0};
    affect_json_print_pretty(&text, result);
    if (!text.failed) printf("%s\n", affect_buffer_string(&text));
    affect_buffer_free(&text);
}

int affect_command_import(int argc, char **argv) {
    flags_given given = {.threads = -1};
    bool lines = false, supervised = false;
    const affect_flag flags[] = {
        {"store", 0, AFFECT_FLAG_STRING, &given.store, "DIR", "folder of the feature store"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR", "folder of the dataset"},
        {"name", 'n', AFFECT_FLAG_STRING, &given.name, "NAME", "of the dataset"},
        {"features", 0, AFFECT_FLAG_STRING, &given.features, "JSON|FILE|PRESET",
         "as {\"preset\": \"mel-16k\", \"mel\": {\"clip_seconds\": 4}}"},
        {"labels", 0, AFFECT_FLAG_STRING, &given.labels, "JSON|FILE",
         "as {\"happy\": [\"hap\", \"exc\"], \"sad\": [\"sad\"]}"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &given.threads, "N", "0: all cores"},
        {"spec", 0, AFFECT_FLAG_STRING, &given.spec, "FILE", "job specification, JSON"},
        {"events", 0, AFFECT_FLAG_BOOL, &lines, NULL, "print JSON lines to stdout"},
        {"supervised", 0, AFFECT_FLAG_BOOL, &supervised, NULL,
         "stop when stdin ends (the server's workers)"},
        {0}};
    const affect_usage usage = {
        "import", "[SOURCE]",
        "Imports an IEMOCAP tree or an archive of one (tar, tar.gz, tar.zst, zip).", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, &given.source, 1, &n);
    if (code >= 0) return code;

    affect_error err = {0};
    affect_json *document = NULL, *result = NULL;
    affect_job_events *events = affect_job_events_create(lines ? stdout : NULL);
    if (!events) return AFFECT_EXIT_FAILED;
    affect_job_events_hello(events);
    affect_status status = affect_job_supervise(supervised, &err);
    if (status == AFFECT_STATUS_OK) status = make_document(&document, &given, &err);
    if (status == AFFECT_STATUS_OK) status = run(&result, document, events, &err);
    if (!lines && result) print_result(result);
    affect_job_events_end(events, status, &err, result);
    affect_job_events_free(events);
    affect_json_free(document);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : AFFECT_EXIT_FAILED;
}
