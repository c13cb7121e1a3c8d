/* Sweeps: a request becomes the runs of an experiment, each a train job of its own, and a report.
 *
 * The engine says which runs there are (engine/sweep); here each becomes a complete, checked
 * specification before anything is queued. What can differ between runs is checked once for each
 * difference: every point, every fold. Runs share the threads of one job: with max_concurrent_runs
 * of them at once each has that share. The worker of this type is the report's, started when all
 * runs have ended; a sweep whose runs have not all succeeded fails, with its report as result. */
#include "api/jobs/job_type.h"
#include "api/models/model_registry.h"
#include "api/schema.h"
#include "engine/core/parallel.h"
#include "engine/sweep/sweep.h"
#include "engine/train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_OF_NONE                                                                               \
    "run" /* a run's request names a model, as every train request; none is published */

/* A run's problem is that of the sweep's request: parameters where a point's values are wrong. */
static affect_status as_field_error(affect_error *err, affect_status status,
                                    const affect_error *error, const affect_json *run) {
    char pointer[sizeof error->pointer];
    affect_json *parameters = affect_json_get(run, "parameters");
    char *point = affect_json_size(parameters) ? affect_json_text(parameters) : NULL;
    if (strncmp(error->pointer, "/split", 6) == 0 || strncmp(error->pointer, "/model", 6) == 0)
        snprintf(pointer, sizeof pointer, "%s", error->pointer);
    else
        snprintf(pointer, sizeof pointer, "/base%.120s", error->pointer);
    affect_error_set(err, status, "%.250s%s%.200s", error->message, point ? " with " : "",
                     point ? point : "");
    free(point);
    return error->pointer[0] ? affect_error_at(err, status, pointer) : status;
}

static affect_status make_run(api_job_draft_run *made, const api_job_draft *sweep, affect_json *run,
                              bool checked, int64_t threads, affect_error *err) {
    const affect_sweep_config *config = sweep->request;
    affect_error error = {0};
    api_job_draft draft = {.context = sweep->context, .opened = sweep->opened, .checked = checked};
    affect_json *request = affect_json_detach(run, "request");
    made->run = affect_json_copy(run);
    made->request = affect_json_new_object();
    affect_json_set_string(made->request, "type", api_job_type_train.name);
    affect_json_set_string(made->request, "model", config->model[0] ? config->model : NAME_OF_NONE);
    for (const affect_json *m = affect_json_first(request); m; m = affect_json_next(m))
        affect_json_set(made->request, affect_json_name(m), affect_json_copy(m));
    affect_json_free(request);
    affect_status status = api_job_type_make(&draft, &api_job_type_train, made->request, &error);
    if (status != AFFECT_STATUS_OK) {
        api_job_draft_free(&draft);
        return as_field_error(err, status, &error, run);
    }
    snprintf(made->id, sizeof made->id, "%s", draft.id);
    made->spec = draft.spec;
    made->epochs = draft.epochs;
    int64_t rungs[AFFECT_ASHA_MAX_RUNGS];
    size_t n_rungs = config->early_terminate ? affect_asha_rungs(rungs, &config->asha_config) : 0;
    if (n_rungs && rungs[0] < draft.epochs)
        affect_json_set_number(made->spec, "pause_after_epoch", (double)rungs[0]);
    affect_json_set_number(made->spec, "threads", (double)threads);
    if (!config->reuse) return AFFECT_STATUS_OK;
    return affect_sweep_digest(made->digest, made->spec, affect_dataset_digest(sweep->opened), err);
}

static int64_t threads_of_run(const api_job_draft *draft, const affect_sweep_config *config) {
    int64_t threads = draft->context->settings->job_threads;
    if (threads == 0) threads = affect_parallel_n_cores();
    threads /= config->max_concurrent_runs;
    return threads > 0 ? threads : 1;
}

static affect_status make_runs(api_job_draft *draft, const affect_json *runs, affect_error *err) {
    const affect_sweep_config *config = draft->request;
    int64_t threads = threads_of_run(draft, config);
    double last_point = -1, last_split = -1, last_fold = -1;
    affect_status status = AFFECT_STATUS_OK;
    draft->runs = calloc(affect_json_size(runs) + 1, sizeof *draft->runs);
    if (!draft->runs) return affect_fail(err, NO_MEMORY, "no memory for runs");
    for (affect_json *run = affect_json_first(runs); run; run = affect_json_next(run)) {
        double point = affect_json_get_number(run, "point", 0);
        double split = affect_json_get_number(run, "split_index", 0);
        double fold = affect_json_get_number(run, "fold", 0);
        bool new_split = point != last_point || split != last_split;
        bool differs = new_split || (point == 0 && fold != last_fold);
        last_point = point, last_split = split, last_fold = fold;
        status = make_run(&draft->runs[draft->n_runs++], draft, run, !differs, threads, err);
        if (status != AFFECT_STATUS_OK) return status; /* the first wrong point says enough */
    }
    return status;
}

static affect_status plan(api_job_draft *draft, affect_error *err) {
    const affect_sweep_config *config = draft->request;
    affect_utterance_table table;
    affect_json *points = NULL, *runs = NULL;
    AFFECT_TRY(affect_utterance_table_make(&table, affect_dataset_manifest(draft->opened), err));
    affect_status status = affect_sweep_points(&points, config, err);
    if (status == AFFECT_STATUS_OK) status = affect_sweep_runs(&runs, config, points, &table, err);
    affect_utterance_table_free(&table);
    if (status == AFFECT_STATUS_OK) status = make_runs(draft, runs, err);
    affect_json_free(runs);
    affect_json_set(draft->spec, "points", points);
    return status;
}

static affect_status make(api_job_draft *draft, affect_error *err) {
    affect_sweep_config *config = draft->request;
    const affect_json *base = config->base;
    affect_status status = affect_sweep_config_check(config, err);
    if (config->model[0]) AFFECT_CHECK(status, err, api_name_check(config->model, "/model", err));
    const char *dataset = affect_json_get_string(base, "dataset", "");
    if (affect_json_is_object(base) && !dataset[0])
        AFFECT_CHECK(status, err, affect_field_fail(err, "/base", "dataset", "is missing"));
    AFFECT_TRY(status);
    status = api_job_draft_find_dataset(draft, dataset, err);
    if (status == AFFECT_STATUS_INVALID && err) affect_error_at(err, status, "/base/dataset");
    AFFECT_TRY(status);
    AFFECT_TRY(api_job_draft_begin_spec(draft, config->type, "cpu", 0, err));
    snprintf(draft->model, sizeof draft->model, "%s", config->model);
    draft->max_runs = config->max_concurrent_runs;
    affect_json_set_string(draft->spec, "metric", affect_sweep_metrics[config->metric_config.name]);
    affect_json_set_bool(draft->spec, "minimize", config->metric_config.goal == 1);
    affect_json_set_number(draft->spec, "seed", (double)config->seed);
    affect_json_set_number(draft->spec, "time_budget_seconds", config->time_budget_seconds);
    if (config->early_terminate)
        affect_fields_print(affect_json_set_object(draft->spec, "early_terminate"),
                            &config->asha_config, affect_asha_fields);
    draft->opened = api_job_draft_open_dataset(draft);
    if (!draft->opened)
        return affect_fail(err, CONFLICT, "dataset %s cannot be opened", draft->dataset.name);
    status = plan(draft, err);
    affect_dataset_close(draft->opened);
    draft->opened = NULL;
    return status;
}

/* ---- The best run's model ---- */

static affect_status prepare(api_job_product *product, affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    const char *best = affect_json_get_string(product->result, "best_job", NULL);
    if (!product->model[0]) return AFFECT_STATUS_OK;
    if (!best || strchr(best, '/'))
        return affect_fail(err, INVALID, "no run has a model that could be published");
    AFFECT_TRY(affect_path_join(folder, err, product->data_dir, "jobs/%s", best));
    return api_job_product_read_model(product, folder, AFFECT_BEST_FILE, err);
}

static const char *const keys[] = {"dataset", "output", NULL};

extern const api_job_type api_job_type_sweep;
const api_job_type api_job_type_sweep = {.name = "sweep",
                                         .fields = affect_sweep_fields,
                                         .request_size = sizeof(affect_sweep_config),
                                         .make = make,
                                         .keys = keys,
                                         .pausable = true,
                                         .has_runs = true,
                                         .has_artifacts = true,
                                         .prepare = prepare,
                                         .store = api_job_product_add_model};
