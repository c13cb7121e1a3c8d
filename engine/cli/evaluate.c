/* `affect evaluate`: a model on a part of its split, from a shell or as a worker (--spec). */
#include "engine/cli/command.h"
#include "engine/cli/worker.h"
#include "engine/train/evaluation.h"

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

typedef struct {
    affect_worker_flags worker;
    const char *model, *dataset, *part, *output, *device, *precision;
    int64_t threads;
} evaluate_flags;

static affect_status fill(affect_json *specification, const void *flags, affect_error *err) {
    (void)err;
    const evaluate_flags *given = flags;
    affect_worker_set_string(specification, "model", given->model);
    affect_worker_set_string(specification, "dataset", given->dataset);
    affect_worker_set_string(specification, "part", given->part);
    affect_worker_set_string(specification, "output", given->output);
    affect_worker_set_string(specification, "device", given->device);
    affect_worker_set_string(specification, "precision", given->precision);
    affect_worker_set_integer(specification, "threads", given->threads);
    return AFFECT_STATUS_OK;
}

int affect_command_evaluate(int argc, char **argv) {
    evaluate_flags given = {.threads = -1};
    const affect_flag flags[] = {
        {"model", 'm', AFFECT_FLAG_STRING, &given.model, "FILE", "a model file"},
        {"dataset", 'd', AFFECT_FLAG_STRING, &given.dataset, "DIR", "a dataset's folder"},
        {"part", 'p', AFFECT_FLAG_STRING, &given.part, "NAME", "training, validation, test or all"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR",
         "folder for predictions.jsonl and predictions.csv, a row an utterance"},
        {"device", 0, AFFECT_FLAG_STRING, &given.device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"precision", 0, AFFECT_FLAG_STRING, &given.precision, "NAME",
         "fp32, tf32, bf16 or auto: tf32 on a GPU, fp32 on a CPU"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &given.threads, "N", "0: all cores"},
        AFFECT_WORKER_FLAGS(given.worker),
        {0}};
    const affect_usage usage = {"evaluate", "", "Evaluates a model on a dataset.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;
    const affect_worker worker = {.fill = fill, .run = run, .show = affect_worker_show};
    return affect_worker_main(&worker, &given.worker, &given);
}
