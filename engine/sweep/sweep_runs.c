/* Runs of a sweep: every point under every split, fold and seed, each a whole train request.
 *
 * A split that names its fold is run on that fold alone; every other is run on all that it has for
 * this dataset. Folds are counted once a split, not once a point. */
#include "engine/core/cpu_level.h"
#include "engine/evaluation/split.h"
#include "engine/sweep/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Requests ---- */

/* Sets a dotted path; objects on the way are made where they are absent. */
static affect_status set_path(affect_json *request, const char *path, const affect_json *value,
                              affect_error *err) {
    char name[128];
    affect_json *object = request;
    for (const char *rest = path;;) {
        size_t n = strcspn(rest, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, rest);
        if (!rest[n]) {
            affect_json_set(object, name, affect_json_copy(value));
            return AFFECT_STATUS_OK;
        }
        affect_json *next = affect_json_get(object, name);
        if (!next) next = affect_json_set_object(object, name);
        if (!affect_json_is_object(next))
            return affect_field_fail(err, "/parameters", path, "%s of the base is no object", name);
        object = next;
        rest += n + 1;
    }
}

affect_status affect_sweep_request(affect_json **request, const affect_sweep_config *config,
                                   const affect_json *point, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    *request = affect_json_copy(config->base);
    if (!*request) return affect_fail(err, NO_MEMORY, "no memory for a request");
    for (const affect_json *p = affect_json_first(point); p && status == AFFECT_STATUS_OK;
         p = affect_json_next(p))
        status = set_path(*request, affect_json_name(p), p, err);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(*request);
        *request = NULL;
    }
    return status;
}

/* ---- Splits ---- */

typedef struct {
    affect_json *json; /* an object; owned */
    char name[64];
    size_t first, n_folds; /* the folds first..first + n - 1 are run */
    size_t n;
} planned_split;

static affect_status plan_split(planned_split *plan, const affect_json *given, const char *path,
                                affect_utterance_table *table, affect_error *err) {
    affect_split_config config;
    AFFECT_TRY(affect_split_config_parse(&config, given, path, err));
    affect_status status = affect_split_n_folds(&plan->n_folds, &config, table, err);
    snprintf(plan->name, sizeof plan->name, "%s", affect_split_kinds[config.kind].name);
    plan->json = affect_json_is_object(given) ? affect_json_copy(given) : affect_json_new_object();
    if (!affect_json_get(plan->json, "kind"))
        affect_json_set_string(plan->json, "kind", plan->name);
    bool named = affect_json_get(given, "fold") != NULL;
    plan->first = named ? (size_t)config.fold : 0;
    plan->n = named ? 1 : plan->n_folds;
    affect_split_config_free(&config);
    if (status == AFFECT_STATUS_OK && (!plan->json || plan->n_folds > AFFECT_SWEEP_MAX_RUNS))
        status = affect_field_fail(err, path, "", "%zu folds", plan->n_folds);
    if (status == AFFECT_STATUS_OK) return status;
    char pointer[sizeof err->pointer], below[sizeof err->pointer];
    /* affect_split_n_folds points below "/split"; of a list, the member is named. */
    if (err && strncmp(err->pointer, "/split", 6) == 0) {
        snprintf(below, sizeof below, "%s", err->pointer + 6);
        snprintf(pointer, sizeof pointer, "%.40s%.80s", path, below);
        return affect_error_at(err, status, pointer);
    }
    return status;
}

static affect_status plan_splits(planned_split *plans, size_t *n, const affect_json *split,
                                 affect_utterance_table *table, affect_error *err) {
    char path[40];
    affect_status status = AFFECT_STATUS_OK;
    *n = 0;
    if (!affect_json_is_array(split)) {
        *n = 1;
        return plan_split(plans, split, "/split", table, err);
    }
    for (const affect_json *s = affect_json_first(split); s; s = affect_json_next(s)) {
        snprintf(path, sizeof path, "/split/%zu", *n);
        AFFECT_CHECK(status, err, plan_split(&plans[(*n)++], s, path, table, err));
    }
    return status;
}

/* ---- Runs ---- */

static affect_json *make_run(const affect_json *request, const planned_split *split, size_t fold,
                             double seed) {
    affect_json *run = affect_json_new_object();
    affect_json_set_string(run, "split", split->name);
    if (split->n_folds > 1) {
        affect_json_set_number(run, "fold", (double)fold);
        affect_json_set_number(run, "n_folds", (double)split->n_folds);
    }
    affect_json_set_number(run, "seed", seed);
    affect_json *own = affect_json_add(run, "request", affect_json_copy(request));
    affect_json *own_split = affect_json_set(own, "split", affect_json_copy(split->json));
    if (split->n_folds > 1) affect_json_set_number(own_split, "fold", (double)fold);
    affect_json *training = affect_json_get(own, "training");
    if (!training) training = affect_json_set_object(own, "training");
    affect_json_set_number(training, "seed", seed);
    return run;
}

typedef struct {
    affect_json *runs;
    const affect_json *seeds;
    const planned_split *splits;
    size_t n_splits, index;
} run_list;

static void add_point(run_list *list, const affect_json *request, const affect_json *point,
                      size_t point_index) {
    for (size_t s = 0; s < list->n_splits; s++)
        for (size_t f = 0; f < list->splits[s].n; f++)
            for (const affect_json *e = affect_json_first(list->seeds); e;
                 e = affect_json_next(e)) {
                affect_json *run = make_run(request, &list->splits[s], list->splits[s].first + f,
                                            affect_json_number(e, 1));
                affect_json_set_number(run, "index", (double)list->index++);
                affect_json_set_number(run, "point", (double)point_index);
                affect_json_set_number(run, "split_index", (double)s);
                affect_json_set(run, "parameters", affect_json_copy(point));
                affect_json_append(list->runs, run);
            }
}

static affect_status make_runs(run_list *list, const affect_sweep_config *config,
                               const affect_json *points, affect_error *err) {
    size_t per_point = 0, p = 0;
    for (size_t s = 0; s < list->n_splits; s++)
        per_point += list->splits[s].n * affect_json_size(list->seeds);
    if (per_point * affect_json_size(points) > AFFECT_SWEEP_MAX_RUNS)
        return affect_field_fail(err, "", "parameters",
                                 "%zu points of %zu runs each (at most %d runs)",
                                 affect_json_size(points), per_point, AFFECT_SWEEP_MAX_RUNS);
    for (const affect_json *point = affect_json_first(points); point;
         point = affect_json_next(point), p++) {
        affect_json *request = NULL;
        AFFECT_TRY(affect_sweep_request(&request, config, point, err));
        if (affect_json_get(request, "training") &&
            !affect_json_is_object(affect_json_get(request, "training"))) {
            affect_json_free(request);
            return affect_field_fail(err, "/base", "training", "need an object");
        }
        add_point(list, request, point, p);
        affect_json_free(request);
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_sweep_runs(affect_json **runs, const affect_sweep_config *config,
                                const affect_json *points, affect_utterance_table *table,
                                affect_error *err) {
    planned_split splits[AFFECT_SWEEP_MAX_SPLITS] = {0};
    affect_json *one_seed = affect_json_new_array();
    affect_json_append(one_seed, affect_json_new_number(1));
    run_list list = {.runs = affect_json_new_array(),
                     .seeds = config->seeds ? config->seeds : one_seed,
                     .splits = splits};
    affect_status status = plan_splits(splits, &list.n_splits, config->split, table, err);
    AFFECT_CHECK(status, err, make_runs(&list, config, points, err));
    for (size_t s = 0; s < list.n_splits; s++) affect_json_free(splits[s].json);
    affect_json_free(one_seed);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(list.runs);
        list.runs = NULL;
    }
    *runs = list.runs;
    return status;
}

/* ---- Digests ---- */

affect_status affect_sweep_digest(char digest[AFFECT_DIGEST_TEXT_SIZE], const affect_json *spec,
                                  const char *dataset_digest, affect_error *err) {
    static const char *const of_the_job[] = {"job",          "output",           "dataset",
                                             "model",        "told_epochs",      "resume",
                                             "memory_bytes", "pause_after_epoch"};
    affect_cpu_level level;
    AFFECT_TRY(affect_cpu_level_choose(&level, err));
    affect_json *whole = affect_json_new_object();
    affect_json *own = affect_json_set(whole, "spec", affect_json_copy(spec));
    for (size_t i = 0; i < sizeof of_the_job / sizeof *of_the_job; i++)
        affect_json_free(affect_json_detach(own, of_the_job[i]));
    affect_json_set_string(whole, "dataset", dataset_digest);
    affect_json_set_string(whole, "code_version", AFFECT_VERSION);
    affect_json_set_string(whole, "cpu", affect_cpu_level_names[level]);
    affect_status status = affect_digest_json(digest, whole, err);
    affect_json_free(whole);
    return status;
}
