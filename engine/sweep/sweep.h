/* Sweeps: the trainings that an experiment is made of, from one request.
 *
 * A sweep varies parameters of a train request (points), holds parts of the dataset out (splits and
 * their folds) and repeats (seeds). A run is one training: point x split x fold x seed. This folder
 * knows which runs there are and what their results come to; it starts nothing: the server
 * (api/jobs) and `affect sweep` do.
 *
 *   {"type": "sweep", "model": the name to publish the best run under,
 *    "base": {a train request without type, split, model and training.seed},
 *    "split": NAME | object | list of them,            what every point is tried under
 *    "seeds": [1, 2, 3],                               training.seed of the repetitions
 *    "method": "grid" | "random",
 *    "metric": {"name": "val_recall_mean", "goal": "maximize"},
 *    "parameters": {"variables.dropout": {"values": [0, 0.3, 0.5]}, ...},
 *    "run_cap": 64, "max_concurrent_runs": 2, "reuse": true, "time_budget_seconds": 7200,
 *    "early_terminate": {"type": "asha", "grace_period": 5, "reduction_factor": 3, "max_t": 100}}
 *
 * The spelling of parameters is that of Weights & Biases' sweep configuration: a parameter has
 * "value", "values" (with "probabilities" for random), or a "distribution" with "min" and "max":
 * "uniform", "q_uniform" (rounded to multiples of "q", default 1), "int_uniform",
 * "log_uniform_values", "q_log_uniform_values". A name with dots is a path in the base
 * ("training.learning_rate"). Without parameters there is one point: a cross-validation. */
#ifndef AFFECT_SWEEP_SWEEP_H
#define AFFECT_SWEEP_SWEEP_H

#include "engine/core/digest.h"
#include "engine/core/fields.h"
#include "engine/dataset/utterance_table.h"
#include "engine/sweep/asha.h"

#define AFFECT_SWEEP_MAX_POINTS     2000 /* the paper's grid has 1536 */
#define AFFECT_SWEEP_MAX_RUNS       10000
#define AFFECT_SWEEP_MAX_SEEDS      100
#define AFFECT_SWEEP_MAX_PARAMETERS 32
#define AFFECT_SWEEP_MAX_SPLITS     8

typedef enum { AFFECT_SWEEP_GRID, AFFECT_SWEEP_RANDOM } affect_sweep_method;

/* What points are compared by. */
typedef struct {
    int name; /* index into affect_sweep_metrics */
    int goal; /* 0: maximize, 1: minimize */
} affect_sweep_metric;
/* Names of an epoch's report: "val_recall_mean", "val_accuracy", "val_f1_macro", "val_loss". */
extern const char *const affect_sweep_metrics[];

typedef struct {
    char type[16];                                           /* "sweep" */
    char model[96];                                          /* to publish the best run under */
    affect_json *base, *split, *seeds, *metric, *parameters; /* as given; owned; base required */
    int method;                                              /* affect_sweep_method */
    int64_t seed; /* of the draws of method random; also of bootstrap intervals */
    int64_t run_cap, max_concurrent_runs;
    double time_budget_seconds; /* after it no run is started; 0: none */
    bool reuse;
    affect_json *early_terminate; /* as given, into asha_config; NULL: none; owned */
    affect_sweep_metric metric_config;
    affect_asha_config asha_config;
} affect_sweep_config;
extern const affect_field affect_sweep_fields[];
extern const affect_field affect_sweep_metric_fields[];

/* Reads and checks all but what depends on the dataset. On failure nothing is owned; else
 * affect_sweep_config_free. */
affect_status affect_sweep_config_parse(affect_sweep_config *config, const affect_json *json,
                                        affect_error *err);
/* The same for a config whose fields were read already: what the table does not say. */
affect_status affect_sweep_config_check(affect_sweep_config *config, affect_error *err);
void affect_sweep_config_free(affect_sweep_config *config);

/* The points: *points becomes an array of objects {parameter: value}, owned. A grid varies the last
 * parameter fastest; one of more than run_cap points is INVALID at "/run_cap", with the count.
 * random draws run_cap points, or fewer where all that can be told apart are drawn, by Philox
 * (random.h) from `seed`. */
affect_status affect_sweep_points(affect_json **points, const affect_sweep_config *config,
                                  affect_error *err);

/* A train request without type and model: the base with a point's parameters. *request owned. */
affect_status affect_sweep_request(affect_json **request, const affect_sweep_config *config,
                                   const affect_json *point, affect_error *err);

/* The runs: *runs becomes an array, owned, of
 *   {"index", "point", "split": its name, "split_index", "fold", "n_folds", "seed",
 *    "parameters": {...}, "request": {a whole train request without type and model}}
 * by point, then split, fold and seed. INVALID when a split does not suit the dataset, at its
 * pointer, or when there are more than AFFECT_SWEEP_MAX_RUNS. `table` is the dataset's. */
affect_status affect_sweep_runs(affect_json **runs, const affect_sweep_config *config,
                                const affect_json *points, affect_utterance_table *table,
                                affect_error *err);

/* What identifies the bits of a run's result: its specification without the members that name a
 * job, the dataset's digest, the code version and the CPU level. Equal digests: equal results. */
affect_status affect_sweep_digest(char digest[AFFECT_DIGEST_TEXT_SIZE], const affect_json *spec,
                                  const char *dataset_digest, affect_error *err);

#endif
