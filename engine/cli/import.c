/* `affect import`: the worker of import jobs, and importing from a shell.
 *
 * A specification is a JSON file (--spec, as the server writes it) or made of flags; flags win. */
#include "engine/corpus/import.h"
#include "engine/cli/command.h"
#include "engine/cli/worker.h"

#include <string.h>
#include <sys/stat.h>

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
    affect_worker_flags worker;
    const char *source, *layout, *options, *store, *output, *name, *features, *labels;
    int64_t threads;
} import_flags;

static affect_status set_source(affect_json *specification, const char *source, affect_error *err) {
    struct stat info;
    if (!source) return AFFECT_STATUS_OK;
    if (stat(source, &info) != 0) return affect_fail(err, NOT_FOUND, "%s: not found", source);
    affect_json *object = affect_json_set_object(specification, "source");
    affect_json_set_string(object, S_ISDIR(info.st_mode) ? "path" : "archive", source);
    return AFFECT_STATUS_OK;
}

static affect_status fill(affect_json *specification, const void *flags, affect_error *err) {
    const import_flags *given = flags;
    affect_worker_set_string(specification, "store", given->store);
    affect_worker_set_string(specification, "output", given->output);
    affect_worker_set_string(specification, "name", given->name);
    affect_worker_set_string(specification, "layout", given->layout);
    AFFECT_TRY(affect_worker_set_json(specification, "options", given->options, err));
    affect_worker_set_integer(specification, "threads", given->threads);
    AFFECT_TRY(set_source(specification, given->source, err));
    AFFECT_TRY(affect_worker_set_json(specification, "labels", given->labels, err));
    AFFECT_TRY(affect_worker_set_json(specification, "features", given->features, err));
    /* A word is the name of a preset. */
    const char *preset =
        given->features ? affect_json_get_string(specification, "features", NULL) : NULL;
    if (!preset) return AFFECT_STATUS_OK;
    affect_json *features = affect_json_new_object();
    affect_json_set_string(features, "preset", preset);
    affect_json_set(specification, "features", features);
    return AFFECT_STATUS_OK;
}

int affect_command_import(int argc, char **argv) {
    import_flags given = {.threads = -1};
    const affect_flag flags[] = {
        {"layout", 'l', AFFECT_FLAG_STRING, &given.layout, "NAME", "iemocap, folders or table"},
        {"options", 0, AFFECT_FLAG_STRING, &given.options, "JSON|FILE",
         "of the layout, as {\"pattern\": \"ravdess\"} or {\"columns\": \"meld\"}"},
        {"store", 0, AFFECT_FLAG_STRING, &given.store, "DIR", "folder of the feature store"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR", "folder of the dataset"},
        {"name", 'n', AFFECT_FLAG_STRING, &given.name, "NAME", "of the dataset"},
        {"features", 0, AFFECT_FLAG_STRING, &given.features, "JSON|FILE|PRESET",
         "as {\"preset\": \"mel-16k\", \"mel\": {\"clip_seconds\": 4}}"},
        {"labels", 0, AFFECT_FLAG_STRING, &given.labels, "JSON|FILE",
         "as {\"happy\": [\"hap\", \"exc\"], \"sad\": [\"sad\"]}; null: every label"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &given.threads, "N", "0: all cores"},
        AFFECT_WORKER_FLAGS(given.worker),
        {0}};
    const affect_usage usage = {
        "import", "[SOURCE]",
        "Imports a corpus: a folder, or an archive of one (tar, tar.gz, tar.zst, zip).", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, &given.source, 1, &n);
    if (code >= 0) return code;
    const affect_worker worker = {
        .reads_recordings = true, .fill = fill, .run = run, .show = affect_worker_show};
    return affect_worker_main(&worker, &given.worker, &given);
}
