/* `affect sweep`: a sweep from a shell, and the worker that reports on the server's sweeps.
 *
 * From a shell, runs are trained one after the other, each in OUTPUT/run-0000, -0001, ... with its
 * model, checkpoint and result.json. A run whose folder holds the result of the same specification
 * (by digest) is taken over, so a sweep that was stopped resumes where it stood; one that was cut
 * off in a run resumes that run from its checkpoint. The server trains runs as jobs of their own
 * and starts this command when all have ended: its specification then lists them ("runs").
 *
 * Either way the end is the report: report.json, table.csv, table.md and table.tex in the output
 * folder. */
#include "engine/sweep/sweep.h"
#include "engine/cli/command.h"
#include "engine/cli/worker.h"
#include "engine/core/clock.h"
#include "engine/sweep/sweep_report.h"
#include "engine/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_FILE "result.json"
#define MAX_RESULT  (64u << 20)

/* ---- The report ---- */

static affect_status write_text(const affect_buffer *text, const char *folder, const char *name,
                                affect_json *artifacts, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    if (text->failed) return affect_fail(err, NO_MEMORY, "no memory for %s", name);
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", name));
    AFFECT_TRY(affect_file_write(path, text->data, text->size, err));
    affect_json_append(artifacts, affect_json_new_string(name));
    return AFFECT_STATUS_OK;
}

static affect_status write_report(const affect_json *report, const char *folder,
                                  affect_json *artifacts, affect_error *err) {
    static const char *const tables[][2] = {
        {"csv", "table.csv"}, {"md", "table.md"}, {"latex", "table.tex"}};
    affect_buffer text = {0};
    affect_json_print_pretty(&text, report);
    affect_buffer_append(&text, "\n", 1);
    affect_status status = write_text(&text, folder, "report.json", artifacts, err);
    for (size_t i = 0; i < 3 && status == AFFECT_STATUS_OK; i++) {
        affect_buffer_clear(&text);
        status = affect_sweep_table(&text, report, tables[i][0], err);
        if (status == AFFECT_STATUS_OK)
            status = write_text(&text, folder, tables[i][1], artifacts, err);
    }
    affect_buffer_free(&text);
    return status;
}

/* The end event's result: the report without its points, which stand in the files. */
static affect_status report(affect_json **result, const affect_json *specification,
                            affect_error *err) {
    affect_json *made = NULL;
    const char *folder = affect_json_get_string(specification, "output", "");
    AFFECT_TRY(affect_directory_make(folder, err));
    AFFECT_TRY(affect_sweep_report(&made, specification, err));
    affect_json *artifacts = affect_json_new_array();
    affect_status status = write_report(made, folder, artifacts, err);
    affect_json_free(affect_json_detach(made, "points"));
    affect_json_set(made, "artifacts", artifacts);
    *result = made;
    AFFECT_TRY(status);
    const affect_json *runs = affect_json_get(made, "runs");
    double n = affect_json_get_number(runs, "total", 0);
    double n_done = affect_json_get_number(runs, "succeeded", 0);
    double n_missing = n - n_done - affect_json_get_number(runs, "early_terminated", 0) -
                       affect_json_get_number(runs, "time_budget", 0);
    if (n_done == 0) return affect_fail(err, CONFLICT, "none of %.0f runs succeeded", n);
    if (n_missing == 0) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT,
                       "%.0f of %.0f runs did not succeed: the report is of the others, a retry "
                       "runs only those",
                       n_missing, n);
}

/* ---- Runs from a shell ---- */

typedef struct {
    affect_job_events *events;
    size_t index, n;
    const char *metric;
    double began, best;
    bool minimize;
} shell_sweep;

static bool on_step(void *context, size_t step, size_t steps) {
    (void)context, (void)step, (void)steps;
    return !affect_job_cancelled();
}

static bool on_epoch(void *context, const affect_json *epoch, bool best) {
    const shell_sweep *s = context;
    affect_json *members = affect_json_copy(epoch);
    (void)best;
    affect_json_set_number(members, "run", (double)s->index);
    affect_job_events_emit(s->events, "epoch", members, NULL);
    return !affect_job_cancelled();
}

static bool should_continue(void *context) {
    (void)context;
    return !affect_job_cancelled();
}

/* The result of an earlier run with this digest. */
static bool read_result(affect_json **result, const char *folder, const char *digest) {
    char path[AFFECT_PATH_MAX];
    affect_json *stored = NULL;
    *result = NULL;
    if (affect_path_join(path, NULL, folder, RESULT_FILE) == AFFECT_STATUS_OK &&
        affect_json_read(&stored, path, MAX_RESULT, NULL) == AFFECT_STATUS_OK &&
        strcmp(affect_json_get_string(stored, "digest", ""), digest) == 0)
        *result = affect_json_detach(stored, "result");
    affect_json_free(stored);
    return *result != NULL;
}

static affect_status write_result(const affect_json *result, const char *folder, const char *digest,
                                  affect_error *err) {
    affect_json *stored = affect_json_new_object();
    affect_buffer text = {0};
    char path[AFFECT_PATH_MAX];
    affect_json_set_string(stored, "digest", digest);
    affect_json_set(stored, "result", affect_json_copy(result));
    affect_json_print(&text, stored);
    affect_json_free(stored);
    affect_status status = affect_path_join(path, err, folder, RESULT_FILE);
    if (status == AFFECT_STATUS_OK && text.failed)
        status = affect_fail(err, NO_MEMORY, "no memory for a result");
    if (status == AFFECT_STATUS_OK) status = affect_file_write(path, text.data, text.size, err);
    affect_buffer_free(&text);
    return status;
}

static affect_status train(affect_json **result, const affect_json *document, shell_sweep *s,
                           affect_error *err) {
    affect_train_spec spec;
    affect_train_result trained;
    AFFECT_TRY(affect_train_spec_parse(&spec, document, err));
    const affect_train_callbacks callbacks = {
        .context = s, .on_step = on_step, .on_epoch = on_epoch, .should_continue = should_continue};
    affect_status status = affect_train(&trained, &spec, &callbacks, err);
    *result = trained.summary;
    affect_train_spec_free(&spec);
    return status;
}

static void show_run(shell_sweep *s, const affect_json *run, const char *state) {
    char text[400], left[64] = "";
    const affect_json *metrics = affect_json_get(affect_json_get(run, "result"), "metrics");
    double value = affect_json_get_number(metrics, s->metric, NAN);
    double seconds = affect_clock_seconds() - s->began;
    if (!isnan(value) && (isnan(s->best) || (s->minimize ? value < s->best : value > s->best)))
        s->best = value;
    if (s->index + 1 < s->n)
        snprintf(left, sizeof left, ", about %.0f s left",
                 seconds / (double)(s->index + 1) * (double)(s->n - s->index - 1));
    char *parameters = affect_json_text(affect_json_get(run, "parameters"));
    snprintf(text, sizeof text, "run %zu of %zu %s: %s %s seed %.0f  %s %.4f (best %.4f)%s",
             s->index + 1, s->n, state, parameters ? parameters : "",
             affect_json_get_string(run, "split", ""), affect_json_get_number(run, "seed", 0),
             s->metric, value, s->best, left);
    free(parameters);
    affect_json *members = affect_json_new_object();
    affect_json_set_number(members, "run", (double)s->index);
    affect_json_set_string(members, "state", state);
    affect_job_events_emit(s->events, "run", members, text);
}

/* Trains it, or takes over what is there; run["result"] and run["state"] say what came of it. */
static affect_status do_run(affect_json *run, const affect_json *specification,
                            const char *dataset_digest, bool reuse, shell_sweep *s,
                            affect_error *err) {
    char folder[AFFECT_PATH_MAX], digest[AFFECT_DIGEST_TEXT_SIZE];
    affect_error error = {0};
    affect_json *result = NULL;
    affect_json *document = affect_json_detach(run, "request");
    AFFECT_TRY(affect_path_join(folder, err, affect_json_get_string(specification, "output", ""),
                                "run-%04zu", s->index));
    AFFECT_TRY(affect_directory_make(folder, err));
    affect_json_set_string(document, "type", "train");
    affect_json_set_string(document, "output", folder);
    affect_json_set(document, "dataset",
                    affect_json_copy(affect_json_get(specification, "dataset")));
    affect_json_set_bool(document, "resume", true);
    affect_status status = affect_sweep_digest(digest, document, dataset_digest, err);
    bool taken = status == AFFECT_STATUS_OK && reuse && read_result(&result, folder, digest);
    if (status == AFFECT_STATUS_OK && !taken) {
        status = train(&result, document, s, &error);
        if (status == AFFECT_STATUS_OK) status = write_result(result, folder, digest, &error);
    }
    affect_json_free(document);
    affect_json_set_string(run, "folder", folder);
    affect_json_set_string(run, "state", status == AFFECT_STATUS_OK ? "succeeded" : "failed");
    affect_json_set(run, "result", result);
    if (status == AFFECT_STATUS_OK) {
        show_run(s, run, taken ? "taken over" : "done");
    } else if (status != AFFECT_STATUS_CANCELLED) {
        affect_job_events_message(s->events, "warning", "run %zu failed: %s", s->index,
                                  error.message);
        return AFFECT_STATUS_OK; /* the others count */
    }
    return status == AFFECT_STATUS_OK
               ? status
               : affect_fail(err, CANCELLED, "stopped in run %zu of %zu", s->index + 1, s->n);
}

static affect_status run_all(affect_json *specification, const affect_sweep_config *config,
                             affect_job_events *events, affect_error *err) {
    affect_dataset *dataset = NULL;
    affect_utterance_table table;
    affect_json *points = NULL, *runs = NULL;
    AFFECT_TRY(affect_dataset_open(&dataset, affect_json_get_string(specification, "dataset", ""),
                                   NULL, err));
    affect_status status =
        affect_utterance_table_make(&table, affect_dataset_manifest(dataset), err);
    if (status != AFFECT_STATUS_OK) {
        affect_dataset_close(dataset);
        return status;
    }
    status = affect_sweep_points(&points, config, err);
    if (status == AFFECT_STATUS_OK) status = affect_sweep_runs(&runs, config, points, &table, err);
    affect_json_set(specification, "points", points);
    affect_json_set(specification, "runs", runs);
    shell_sweep s = {.events = events,
                     .n = affect_json_size(runs),
                     .metric = affect_sweep_metrics[config->metric_config.name],
                     .minimize = config->metric_config.goal == 1,
                     .began = affect_clock_seconds(),
                     .best = NAN};
    for (affect_json *run = affect_json_first(runs); run && status == AFFECT_STATUS_OK;
         run = affect_json_next(run), s.index++)
        status = do_run(run, specification, affect_dataset_digest(dataset), config->reuse, &s, err);
    affect_utterance_table_free(&table);
    affect_dataset_close(dataset);
    return status;
}

static affect_status sweep(affect_json **result, const affect_json *document,
                           affect_job_events *events, affect_error *err) {
    affect_sweep_config config;
    affect_json *request = affect_json_copy(document);
    const char *base = affect_json_get_string(affect_json_get(request, "base"), "dataset", "");
    affect_json *specification = affect_json_new_object();
    affect_json *dataset = affect_json_detach(request, "dataset");
    affect_json *output = affect_json_detach(request, "output");
    affect_json_set(specification, "output", output);
    if (dataset)
        affect_json_set(specification, "dataset", dataset);
    else
        affect_json_set_string(specification, "dataset", base);
    affect_status status = affect_sweep_config_parse(&config, request, err);
    affect_json_free(request);
    if (status == AFFECT_STATUS_OK) {
        affect_json_set_string(specification, "metric",
                               affect_sweep_metrics[config.metric_config.name]);
        affect_json_set_bool(specification, "minimize", config.metric_config.goal == 1);
        affect_json_set_number(specification, "seed", (double)config.seed);
        if (!affect_json_string(output, "")[0])
            status = affect_field_fail(err, "", "output", "is missing");
        if (config.early_terminate)
            status = affect_field_fail(err, "", "early_terminate",
                                       "is for sweeps of a server: runs here go one by one");
        if (status == AFFECT_STATUS_OK) status = run_all(specification, &config, events, err);
        if (status == AFFECT_STATUS_OK) status = report(result, specification, err);
        affect_sweep_config_free(&config);
    }
    affect_json_free(specification);
    return status;
}

static affect_status run(affect_json **result, const affect_json *specification,
                         affect_job_events *events, affect_error *err) {
    affect_job_events_state(events, "running");
    return affect_json_get(specification, "runs") ? report(result, specification, err)
                                                  : sweep(result, specification, events, err);
}

typedef struct {
    affect_worker_flags worker;
    const char *dataset, *output;
} sweep_flags;

static affect_status fill(affect_json *specification, const void *flags, affect_error *err) {
    const sweep_flags *given = flags;
    (void)err;
    if (!affect_json_get(specification, "type"))
        affect_json_set_string(specification, "type", "sweep");
    affect_worker_set_string(specification, "dataset", given->dataset);
    affect_worker_set_string(specification, "output", given->output);
    return AFFECT_STATUS_OK;
}

int affect_command_sweep(int argc, char **argv) {
    sweep_flags given = {0};
    const affect_flag flags[] = {
        {"dataset", 'd', AFFECT_FLAG_STRING, &given.dataset, "DIR",
         "a dataset's folder (default: base.dataset)"},
        {"output", 'o', AFFECT_FLAG_STRING, &given.output, "DIR",
         "where runs and the report go; what is finished there is taken over"},
        AFFECT_WORKER_FLAGS(given.worker),
        {0}};
    const affect_usage usage = {
        "sweep", "", "Trains every point, fold and seed of a sweep (--spec) and reports on them.",
        flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;
    const affect_worker worker = {.fill = fill, .run = run, .show = affect_worker_show};
    return affect_worker_main(&worker, &given.worker, &given);
}
