/* `affect evaluate`: a model on a part of its split, from a shell or as a worker (--spec). */
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/train/evaluation.h"
#include "engine/train/job_event.h"

#include <string.h>

#define MAX_SPEC_BYTES (1u << 20)

static bool keep_going(void *context, size_t done, size_t total) {
    affect_job_events_progress(context, "evaluate", done, total);
    return !affect_job_cancelled();
}

static affect_status run(affect_json **summary, const affect_json *document,
                         affect_job_events *events, affect_error *err) {
    affect_evaluate_spec spec;
    AFFECT_TRY(affect_evaluate_spec_parse(&spec, document, err));
    affect_job_events_state(events, "running");
    affect_evaluation evaluation;
    AFFECT_TRY(affect_evaluate(&evaluation, &spec, keep_going, events, err));
    *summary = evaluation.summary;
    return AFFECT_STATUS_OK;
}

static void show(const affect_json *summary) {
    affect_json *copy = affect_json_copy(summary);
    affect_json_free(affect_json_detach(copy, "predictions"));
    affect_buffer text = {0};
    affect_json_print_pretty(&text, copy);
    if (!text.failed) printf("%s\n", text.data);
    affect_buffer_free(&text);
    affect_json_free(copy);
}

int affect_command_evaluate(int argc, char **argv) {
    const char *spec = NULL, *model = NULL, *dataset = NULL, *part = NULL, *device = NULL;
    int64_t threads = -1;
    bool lines = false, supervised = false;
    const affect_flag flags[] = {
        {"spec", 0, AFFECT_FLAG_STRING, &spec, "FILE", "job specification, JSON"},
        {"model", 'm', AFFECT_FLAG_STRING, &model, "FILE", "a model file"},
        {"dataset", 'd', AFFECT_FLAG_STRING, &dataset, "DIR", "a dataset's folder"},
        {"part", 'p', AFFECT_FLAG_STRING, &part, "NAME", "training, validation, test or all"},
        {"device", 0, AFFECT_FLAG_STRING, &device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &threads, "N", "0: all cores"},
        {"events", 0, AFFECT_FLAG_BOOL, &lines, NULL, "print JSON lines to stdout"},
        {"supervised", 0, AFFECT_FLAG_BOOL, &supervised, NULL,
         "stop when stdin ends (the server's workers)"},
        {0}};
    const affect_usage usage = {"evaluate", "", "Evaluates a model on a dataset.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;

    affect_error err = {0};
    affect_json *document = NULL, *summary = NULL;
    affect_job_events *events = affect_job_events_create(lines ? stdout : NULL);
    if (!events) return AFFECT_EXIT_FAILED;
    affect_job_events_hello(events);
    affect_status status = affect_job_supervise(supervised, &err);
    if (status == AFFECT_STATUS_OK && spec)
        status = affect_json_read(&document, spec, MAX_SPEC_BYTES, &err);
    if (!document) document = affect_json_new_object();
    if (model) affect_json_set_string(document, "model", model);
    if (dataset) affect_json_set_string(document, "dataset", dataset);
    if (part) affect_json_set_string(document, "part", part);
    if (device) affect_json_set_string(document, "device", device);
    if (threads >= 0) affect_json_set_number(document, "threads", (double)threads);
    if (status == AFFECT_STATUS_OK) status = run(&summary, document, events, &err);
    if (!lines && summary) show(summary);
    affect_job_events_end(events, status, &err, summary);
    affect_job_events_free(events);
    affect_json_free(document);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : AFFECT_EXIT_FAILED;
}
