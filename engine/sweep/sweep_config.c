/* Sweeps as requests give them: the field table and the checks between fields.
 *
 * Values of parameters are checked here only for their form; whether a point is a possible training
 * is decided where its train request is checked, by the same code as for a train job. */
#include "engine/sweep/sweep.h"

#include <math.h>
#include <string.h>

const char *const affect_sweep_metrics[] = {"val_recall_mean", "val_accuracy", "val_f1_macro",
                                            "val_loss", NULL};
static const char *const methods[] = {"grid", "random", NULL};
static const char *const goals[] = {"maximize", "minimize", NULL};

const affect_field affect_sweep_metric_fields[] = {
    AFFECT_FIELD_CHOICE(affect_sweep_metric, name, 0, affect_sweep_metrics,
                        "of the validation part, in the best epoch of a run"),
    AFFECT_FIELD_CHOICE(affect_sweep_metric, goal, 0, goals, "maximize or minimize"),
    AFFECT_FIELD_END};

const affect_field affect_sweep_fields[] = {
    AFFECT_FIELD_STRING(affect_sweep_config, type, "", "sweep", .required = true,
                        .schema = "{'enum':['sweep']}"),
    AFFECT_FIELD_STRING(affect_sweep_config, model, "",
                        "a model of which the best run becomes a version; empty: none"),
    AFFECT_FIELD_JSON(affect_sweep_config, base,
                      "a train request without type, split, model and training.seed",
                      .required = true, .schema = "{'type':'object'}"),
    AFFECT_FIELD_JSON(affect_sweep_config, split,
                      "what every point is tried under: a split, or a list of them; all folds of "
                      "each are run, unless it names one",
                      .schema = "{'oneOf':[{'type':'string'},{'type':'object'},{'type':'array',"
                                "'minItems':1,'maxItems':8,'items':{'oneOf':[{'type':'string'},"
                                "{'type':'object'}]}}]}"),
    AFFECT_FIELD_JSON(affect_sweep_config, seeds, "training.seed of the repetitions",
                      .schema = "{'type':'array','minItems':1,'maxItems':100,'uniqueItems':true,"
                                "'items':{'type':'integer','minimum':0}}"),
    AFFECT_FIELD_CHOICE(affect_sweep_config, method, AFFECT_SWEEP_GRID, methods,
                        "grid: all combinations; random: run_cap draws"),
    AFFECT_FIELD_INTEGER(affect_sweep_config, seed, 1, 0, 9007199254740991.0,
                         "of random draws and of bootstrap intervals"),
    AFFECT_FIELD_JSON(affect_sweep_config, metric, "what points are compared by",
                      .fields = affect_sweep_metric_fields),
    AFFECT_FIELD_JSON(affect_sweep_config, parameters,
                      "paths in the base, with value, values or a distribution",
                      .schema = "{'type':'object','additionalProperties':{'type':'object'}}"),
    AFFECT_FIELD_INTEGER(affect_sweep_config, run_cap, 64, 1, AFFECT_SWEEP_MAX_POINTS,
                         "the most points; folds and seeds are not counted"),
    AFFECT_FIELD_INTEGER(affect_sweep_config, max_concurrent_runs, 1, 1, 64,
                         "runs at once; they share the threads of one job"),
    AFFECT_FIELD_NUMBER(affect_sweep_config, time_budget_seconds, 0, 0, 1e9,
                        "after it no run is started; 0: none"),
    AFFECT_FIELD_JSON(affect_sweep_config, early_terminate,
                      "when runs of poor points end before their last epoch",
                      .fields = affect_asha_fields),
    AFFECT_FIELD_BOOL(affect_sweep_config, reuse, true,
                      "take over runs with the same specification that succeeded before"),
    AFFECT_FIELD_END};

static affect_status check_base(const affect_json *base, affect_error *err) {
    static const char *const set_elsewhere[][2] = {
        {"type", "is that of the runs: train"},
        {"split", "belongs beside the base"},
        {"model", "belongs beside the base: runs publish none"}};
    if (!affect_json_is_object(base))
        return affect_field_fail(err, "", "base", "is a %s (need an object)",
                                 affect_json_type_name(base));
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < sizeof set_elsewhere / sizeof *set_elsewhere; i++)
        if (affect_json_get(base, set_elsewhere[i][0]))
            AFFECT_CHECK(
                status, err,
                affect_field_fail(err, "/base", set_elsewhere[i][0], "%s", set_elsewhere[i][1]));
    if (affect_json_get(affect_json_get(base, "training"), "seed"))
        AFFECT_CHECK(
            status, err,
            affect_field_fail(err, "/base", "training/seed", "seeds stand beside the base"));
    return status;
}

static affect_status check_seeds(const affect_json *seeds, affect_error *err) {
    if (!seeds) return AFFECT_STATUS_OK;
    size_t n = affect_json_size(seeds);
    if (!affect_json_is_array(seeds) || n < 1 || n > AFFECT_SWEEP_MAX_SEEDS)
        return affect_field_fail(err, "", "seeds", "need a list of 1..%d integers",
                                 AFFECT_SWEEP_MAX_SEEDS);
    for (const affect_json *s = affect_json_first(seeds); s; s = affect_json_next(s)) {
        double seed = affect_json_number(s, -1);
        if (!(seed >= 0 && seed <= 9007199254740991.0) || seed != floor(seed))
            return affect_field_fail(err, "", "seeds", "need integers of 0..2^53 - 1");
        for (const affect_json *other = affect_json_first(seeds); other != s;
             other = affect_json_next(other))
            if (affect_json_number(other, -1) == seed)
                return affect_field_fail(err, "", "seeds", "%.0f is there twice", seed);
    }
    return AFFECT_STATUS_OK;
}

static affect_status check_splits(const affect_json *split, affect_error *err) {
    size_t n = affect_json_size(split);
    if (!split || affect_json_is_string(split) || affect_json_is_object(split))
        return AFFECT_STATUS_OK;
    if (affect_json_is_array(split) && n >= 1 && n <= AFFECT_SWEEP_MAX_SPLITS)
        return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", "split", "need a name, an object or a list of 1..%d of them",
                             AFFECT_SWEEP_MAX_SPLITS);
}

affect_status affect_sweep_config_check(affect_sweep_config *config, affect_error *err) {
    affect_fields_default(&config->metric_config, affect_sweep_metric_fields);
    affect_status status = affect_fields_parse(&config->metric_config, affect_sweep_metric_fields,
                                               config->metric, "/metric", err);
    /* "val_loss" alone means that less is better. */
    if (!affect_json_get(config->metric, "goal") &&
        strcmp(affect_sweep_metrics[config->metric_config.name], "val_loss") == 0)
        config->metric_config.goal = 1;
    if (config->base) AFFECT_CHECK(status, err, check_base(config->base, err));
    AFFECT_CHECK(status, err, check_seeds(config->seeds, err));
    AFFECT_CHECK(status, err, check_splits(config->split, err));
    affect_fields_default(&config->asha_config, affect_asha_fields);
    if (config->early_terminate)
        AFFECT_CHECK(status, err,
                     affect_fields_parse(&config->asha_config, affect_asha_fields,
                                         config->early_terminate, "/early_terminate", err));
    return status;
}

affect_status affect_sweep_config_parse(affect_sweep_config *config, const affect_json *json,
                                        affect_error *err) {
    memset(config, 0, sizeof *config);
    affect_fields_default(config, affect_sweep_fields);
    affect_status status = affect_fields_parse(config, affect_sweep_fields, json, "", err);
    AFFECT_CHECK(status, err, affect_sweep_config_check(config, err));
    if (status != AFFECT_STATUS_OK) affect_sweep_config_free(config);
    return status;
}

void affect_sweep_config_free(affect_sweep_config *config) {
    affect_fields_free(config, affect_sweep_fields);
}
