/* Reports of sweeps: cells are gathered run by run, in the order of the runs.
 *
 * A cell keeps for each seed one confusion matrix, summed over folds, and for each run its three
 * measures. A run's numbers are those of its result's "test" where it has a test part, else those
 * of the validation part at its best epoch, which chose that epoch and flatters. Predictions for
 * the bootstrap are read from predictions.jsonl in each run's folder; without it, or without the
 * dataset, there is no bootstrap. */
#include "engine/sweep/sweep_report.h"

#include "engine/core/file.h"
#include "engine/dataset/utterance_table.h"
#include "engine/evaluation/metrics.h"
#include "engine/sweep/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE     (1u << 20)
#define MAX_MANIFEST ((size_t)1 << 31)
#define N_MEASURES   3
#define STATS_SIZE   (2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES)
static const char *const measures[N_MEASURES] = {"accuracy", "recall_mean", "f1_macro"};

/* Mean and deviation (of a sample) of numbers that come one by one (Welford). */
typedef struct {
    double n, mean, squares;
} series;

static void add(series *s, double value) {
    double before = value - s->mean;
    s->n++;
    s->mean += before / s->n;
    s->squares += before * (value - s->mean);
}

static affect_json *mean_of(const series *s) {
    return s->n > 0 ? affect_json_new_number(s->mean) : affect_json_new_null();
}

static affect_json *deviation_of(const series *s) {
    return s->n > 1 ? affect_json_new_number(sqrt(s->squares / (s->n - 1)))
                    : affect_json_new_null();
}

typedef struct {
    const affect_json *spec;
    const char *metric;
    bool minimize;
    uint64_t seed;
    const affect_json *next; /* the first run of the cells to come */
    affect_json *manifest;   /* owned; NULL: no dataset */
    affect_utterance_table table;
} context;

/* ---- Predictions of a cell ---- */

typedef struct {
    int *labels, *predicted;
    size_t *utterances; /* of the table */
    size_t n, capacity;
    bool whole; /* every run of the cell had its predictions */
} predictions;

static void free_predictions(predictions *p) {
    free(p->labels);
    free(p->predicted);
    free(p->utterances);
}

static int find_class(const context *c, const char *name) {
    for (size_t k = 0; k < c->table.n_classes; k++)
        if (strcmp(c->table.classes[k], name) == 0) return (int)k;
    return -1;
}

/* The manifest lists utterances in the order of their ids. */
static bool find_utterance(size_t *index, const context *c, const char *id) {
    size_t low = 0, high = c->table.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(affect_json_get_string(c->table.rows[middle], "id", ""), id);
        if (order == 0) return *index = middle, true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool add_prediction(predictions *p, const context *c, const affect_json *line) {
    size_t index;
    int label = find_class(c, affect_json_get_string(line, "label", ""));
    int predicted = find_class(c, affect_json_get_string(line, "predicted", ""));
    if (label < 0 || predicted < 0 ||
        !find_utterance(&index, c, affect_json_get_string(line, "utterance", "")))
        return false;
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 1024;
        int *labels = realloc(p->labels, capacity * sizeof *labels);
        if (labels) p->labels = labels;
        int *others = realloc(p->predicted, capacity * sizeof *others);
        if (others) p->predicted = others;
        size_t *utterances = realloc(p->utterances, capacity * sizeof *utterances);
        if (utterances) p->utterances = utterances;
        if (!labels || !others || !utterances) return false;
        p->capacity = capacity;
    }
    p->labels[p->n] = label;
    p->predicted[p->n] = predicted;
    p->utterances[p->n++] = index;
    return true;
}

/* False: the file is not there, or holds something else. */
static bool read_predictions(predictions *p, const context *c, const char *folder) {
    char path[AFFECT_PATH_MAX];
    if (affect_path_join(path, NULL, folder, "predictions.jsonl") != AFFECT_STATUS_OK) return false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    bool good = true;
    while (good && (n = getline(&line, &size, file)) > 0) {
        affect_json *json = NULL;
        good = n < (ssize_t)MAX_LINE &&
               affect_json_parse(&json, line, (size_t)n, NULL) == AFFECT_STATUS_OK &&
               add_prediction(p, c, json);
        affect_json_free(json);
    }
    free(line);
    fclose(file);
    return good;
}

/* ---- Cells ---- */

/* At the run's best epoch. */
static double metric_of(const affect_json *run, const context *c) {
    const affect_json *metrics = affect_json_get(affect_json_get(run, "result"), "metrics");
    return affect_json_get_number(metrics, c->metric, NAN);
}

typedef struct {
    const char *split, *part, *selection; /* borrowed from the spec */
    double *stats;                        /* (n_seeds, STATS_SIZE) pooled over folds; owned */
    double seeds[AFFECT_SWEEP_MAX_SEEDS];
    size_t n_seeds, n_runs, n_classes;
    series metric, training, gap, validation, folds[N_MEASURES];
    series metric_of_seed[AFFECT_SWEEP_MAX_SEEDS];
    double baseline_n[32], baseline_right[32];
    const char *baseline_names[32];
    size_t n_baselines;
    predictions predictions;
} cell;

static size_t seed_of(cell *to, double seed) {
    size_t s = 0;
    while (s < to->n_seeds && to->seeds[s] != seed) s++;
    if (s == to->n_seeds && s < AFFECT_SWEEP_MAX_SEEDS) to->seeds[to->n_seeds++] = seed;
    return s;
}

/* The reported part's numbers: {"accuracy", ..., "confusion"}. */
static const affect_json *find_confusion(const affect_json *result, double values[N_MEASURES],
                                         const char **part) {
    const affect_json *test = affect_json_get(result, "test");
    const affect_json *numbers = test ? test : affect_json_get(result, "metrics");
    *part = test ? "test" : "validation";
    for (int m = 0; m < N_MEASURES; m++) {
        char name[32];
        snprintf(name, sizeof name, "%s%s", test ? "" : "val_", measures[m]);
        values[m] = affect_json_get_number(numbers, name, NAN);
    }
    return affect_json_get(numbers, test ? "confusion" : "val_confusion");
}

static void add_confusion(double *stats, const affect_json *confusion, size_t n_classes) {
    size_t k = 2;
    for (const affect_json *row = affect_json_first(confusion); row; row = affect_json_next(row))
        for (const affect_json *e = affect_json_first(row); e && k < 2 + n_classes * n_classes;
             e = affect_json_next(e), k++) {
            stats[k] += affect_json_number(e, 0);
            stats[1] += affect_json_number(e, 0);
        }
}

/* Pooled over folds: right answers of all over utterances of all. */
static void add_baselines(cell *to, const affect_json *baselines, double n) {
    for (const affect_json *b = affect_json_first(baselines); b; b = affect_json_next(b)) {
        size_t k = 0;
        if (!affect_json_is_object(b)) continue;
        while (k < to->n_baselines && strcmp(to->baseline_names[k], affect_json_name(b)) != 0) k++;
        if (k == sizeof to->baseline_n / sizeof *to->baseline_n) continue;
        if (k == to->n_baselines) to->baseline_names[to->n_baselines++] = affect_json_name(b);
        to->baseline_n[k] += n;
        to->baseline_right[k] += n * affect_json_get_number(b, "accuracy", 0);
    }
}

static affect_status add_run(cell *to, const context *c, const affect_json *run,
                             affect_error *err) {
    double values[N_MEASURES];
    const affect_json *result = affect_json_get(run, "result");
    const affect_json *confusion = find_confusion(result, values, &to->part);
    size_t n_classes = affect_json_size(confusion);
    if (!n_classes || n_classes > AFFECT_MAX_CLASSES || (to->n_runs && n_classes != to->n_classes))
        return affect_fail(err, MALFORMED, "run %.0f has no result that can be counted",
                           affect_json_get_number(run, "index", 0));
    if (!to->stats) {
        to->stats = calloc(AFFECT_SWEEP_MAX_SEEDS * STATS_SIZE, sizeof *to->stats);
        to->predictions.whole = true;
    }
    if (!to->stats) return affect_fail(err, NO_MEMORY, "no memory for a report");
    size_t s = seed_of(to, affect_json_get_number(run, "seed", 1));
    if (s == AFFECT_SWEEP_MAX_SEEDS) return affect_fail(err, INVALID, "too many seeds");
    double *stats = to->stats + s * STATS_SIZE, before = stats[1];
    to->n_classes = n_classes;
    add_confusion(stats, confusion, n_classes);
    to->n_runs++;
    to->split = affect_json_get_string(run, "split", "");
    to->selection = affect_json_get_string(result, "selection", "");
    double metric = metric_of(run, c);
    if (!isnan(metric)) {
        add(&to->metric, metric);
        add(&to->metric_of_seed[s], metric);
    }
    const affect_json *metrics = affect_json_get(result, "metrics");
    double accuracy = affect_json_get_number(metrics, "accuracy", NAN);
    double validation = affect_json_get_number(metrics, "val_accuracy", NAN);
    if (!isnan(accuracy)) add(&to->training, accuracy);
    if (!isnan(validation)) add(&to->validation, validation);
    if (!isnan(accuracy - validation)) add(&to->gap, accuracy - validation);
    for (int m = 0; m < N_MEASURES; m++)
        if (!isnan(values[m])) add(&to->folds[m], values[m]);
    add_baselines(to, affect_json_get(result, "baselines"), stats[1] - before);
    if (to->predictions.whole)
        to->predictions.whole =
            c->manifest &&
            read_predictions(&to->predictions, c, affect_json_get_string(run, "folder", ""));
    return AFFECT_STATUS_OK;
}

static affect_json *interval_json(affect_interval interval) {
    affect_json *json = affect_json_new_array();
    affect_json_append(json, affect_json_new_number(interval.low));
    affect_json_append(json, affect_json_new_number(interval.high));
    return json;
}

static affect_status set_bootstrap(affect_json *to, const char *attribute, const cell *of,
                                   context *c, affect_error *err) {
    const predictions *p = &of->predictions;
    const affect_utterance_groups *groups = NULL;
    affect_bootstrap bootstrap;
    affect_error few = {0};
    affect_json_set(to, attribute, affect_json_new_null());
    if (!p->whole || p->n == 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_utterance_table_group(&groups, &c->table, attribute, err));
    if (groups->n < 2) return AFFECT_STATUS_OK;
    int *numbers = malloc(p->n * sizeof *numbers);
    if (!numbers) return affect_fail(err, NO_MEMORY, "no memory for a report");
    for (size_t i = 0; i < p->n; i++) numbers[i] = groups->of[p->utterances[i]];
    affect_status status =
        affect_bootstrap_run(&bootstrap, p->labels, p->predicted, numbers, p->n, c->table.n_classes,
                             AFFECT_BOOTSTRAP_DRAWS, c->seed, &few);
    free(numbers);
    if (status == AFFECT_STATUS_INVALID) return AFFECT_STATUS_OK; /* fewer than two groups */
    if (status != AFFECT_STATUS_OK) return affect_error_set(err, status, "%s", few.message);
    affect_json *json = affect_json_set_object(to, attribute);
    affect_json_set_number(json, "groups", (double)bootstrap.n_groups);
    affect_json_set(json, "accuracy", interval_json(bootstrap.accuracy));
    affect_json_set(json, "recall_mean", interval_json(bootstrap.uar));
    affect_json_set(json, "f1_macro", interval_json(bootstrap.f1_macro));
    return AFFECT_STATUS_OK;
}

static void set_baselines(affect_json *json, const cell *of, double accuracy) {
    affect_json *baselines = affect_json_set_object(json, "baselines");
    bool beats = true;
    for (size_t k = 0; k < of->n_baselines; k++) {
        double baseline = of->baseline_n[k] > 0 ? of->baseline_right[k] / of->baseline_n[k] : 0;
        affect_json_set_number(baselines, of->baseline_names[k], baseline);
        beats = beats && accuracy > baseline;
    }
    affect_json_set(json, "beats_baselines",
                    of->n_baselines ? affect_json_new_bool(beats) : affect_json_new_null());
}

static affect_status print_cell(affect_json *json, const cell *of, context *c, affect_error *err) {
    series pooled[N_MEASURES] = {{0}}, by_seed = {0}, utterances = {0};
    for (size_t s = 0; s < of->n_seeds; s++) {
        affect_metrics metrics;
        affect_metrics_from_stats(&metrics, of->stats + s * STATS_SIZE, of->n_classes, 0);
        add(&pooled[0], metrics.accuracy);
        add(&pooled[1], metrics.uar);
        add(&pooled[2], metrics.f1_macro);
        add(&utterances, (double)metrics.n_rows);
        if (of->metric_of_seed[s].n > 0) add(&by_seed, of->metric_of_seed[s].mean);
    }
    affect_json_set_string(json, "split", of->split);
    affect_json_set_number(json, "n_runs", (double)of->n_runs);
    affect_json *metric = affect_json_set_object(json, "metric");
    affect_json_set(metric, "mean", mean_of(&of->metric));
    affect_json_set(metric, "deviation", deviation_of(&of->metric));
    affect_json_set(metric, "deviation_over_seeds", deviation_of(&by_seed));
    affect_json_set_string(json, "part", of->part);
    affect_json_set_string(json, "selection", of->selection);
    affect_json_set_number(json, "utterances", utterances.mean);
    affect_json *folds = affect_json_new_object(), *seeds = affect_json_new_object();
    for (int m = 0; m < N_MEASURES; m++) {
        affect_json_set(json, measures[m], mean_of(&pooled[m]));
        affect_json_set(folds, measures[m], mean_of(&of->folds[m]));
        affect_json_set(seeds, measures[m], deviation_of(&pooled[m]));
    }
    affect_json_set(json, "mean_of_folds", folds);
    affect_json_set(json, "deviation_over_seeds", seeds);
    affect_json_set(json, "training_accuracy", mean_of(&of->training));
    affect_json_set(json, "validation_accuracy", mean_of(&of->validation));
    affect_json_set(json, "gap", mean_of(&of->gap));
    size_t n = (size_t)(utterances.mean + 0.5);
    affect_json *intervals = affect_json_set_object(json, "intervals");
    affect_json_set(
        intervals, "accuracy",
        interval_json(affect_interval_wilson((size_t)(pooled[0].mean * (double)n + 0.5), n)));
    AFFECT_TRY(set_bootstrap(intervals, "speaker", of, c, err));
    AFFECT_TRY(set_bootstrap(intervals, "dialog", of, c, err));
    set_baselines(json, of, pooled[0].mean);
    return AFFECT_STATUS_OK;
}

/* The cell of a point and split; null without a run that succeeded. */
static affect_status append_cell(affect_json *cells, context *c, double point, double split,
                                 series *metric, affect_error *err) {
    cell *of = calloc(1, sizeof *of);
    if (!of) return affect_fail(err, NO_MEMORY, "no memory for a report");
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *run; (run = c->next) && status == AFFECT_STATUS_OK;
         c->next = affect_json_next(run)) {
        if (affect_json_get_number(run, "point", 0) != point ||
            affect_json_get_number(run, "split_index", 0) != split)
            break; /* runs are in the order of points and splits */
        if (strcmp(affect_json_get_string(run, "state", ""), "succeeded") != 0) continue;
        status = add_run(of, c, run, err);
        double value = metric_of(run, c);
        if (!isnan(value)) add(metric, value);
    }
    if (status == AFFECT_STATUS_OK && of->n_runs)
        status = print_cell(affect_json_append(cells, affect_json_new_object()), of, c, err);
    else
        affect_json_append(cells, affect_json_new_null());
    free_predictions(&of->predictions);
    free(of->stats);
    free(of);
    return status;
}

/* ---- The best run ---- */

static bool is_better(const context *c, double value, double than) {
    return !isnan(value) && (isnan(than) || (c->minimize ? value < than : value > than));
}

/* Of the best point, the run with the best metric; the first of equals. */
static void set_best(affect_json *report, const context *c, double point) {
    const affect_json *best = NULL;
    double best_value = NAN;
    for (const affect_json *run = affect_json_first(affect_json_get(c->spec, "runs")); run;
         run = affect_json_next(run)) {
        double value = metric_of(run, c);
        if (affect_json_get_number(run, "point", 0) != point ||
            strcmp(affect_json_get_string(run, "state", ""), "succeeded") != 0 ||
            !is_better(c, value, best_value))
            continue;
        best = run;
        best_value = value;
    }
    affect_json_set_string(report, "best_job", affect_json_get_string(best, "job", NULL));
    if (!best) {
        affect_json_set(report, "best", affect_json_new_null());
        return;
    }
    affect_json *json = affect_json_set_object(report, "best");
    affect_json_set_number(json, "point", point);
    affect_json_set_number(json, "run", affect_json_get_number(best, "index", 0));
    affect_json_set_number(json, "value", best_value);
}

/* ---- Differences between splits ---- */

affect_interval affect_sweep_newcombe(size_t n_right1, size_t n1, size_t n_right2, size_t n2) {
    affect_interval one = affect_interval_wilson(n_right1, n1);
    affect_interval two = affect_interval_wilson(n_right2, n2);
    double p1 = n1 ? (double)n_right1 / (double)n1 : 0, p2 = n2 ? (double)n_right2 / (double)n2 : 0;
    return (affect_interval){p1 - p2 - hypot(p1 - one.low, two.high - p2),
                             p1 - p2 + hypot(one.high - p1, p2 - two.low)};
}

static void add_difference(affect_json *list, const affect_json *a, const affect_json *b) {
    double n1 = affect_json_get_number(a, "utterances", 0);
    double n2 = affect_json_get_number(b, "utterances", 0);
    double p1 = affect_json_get_number(a, "accuracy", 0);
    double p2 = affect_json_get_number(b, "accuracy", 0);
    affect_json *json = affect_json_append(list, affect_json_new_object());
    affect_json *names = affect_json_set_array(json, "splits");
    affect_json_append(names, affect_json_new_string(affect_json_get_string(a, "split", "")));
    affect_json_append(names, affect_json_new_string(affect_json_get_string(b, "split", "")));
    affect_json_set_number(json, "accuracy", p1 - p2);
    affect_json_set(
        json, "interval",
        interval_json(affect_sweep_newcombe((size_t)(p1 * n1 + 0.5), (size_t)(n1 + 0.5),
                                            (size_t)(p2 * n2 + 0.5), (size_t)(n2 + 0.5))));
}

/* ---- Sentences ---- */

static void set_statement(affect_json *report, const affect_json *cells) {
    char text[600];
    const affect_json *first = affect_json_first(affect_json_get(report, "differences"));
    const affect_json *cell0 = affect_json_first(cells);
    if (first) {
        const affect_json *interval = affect_json_get(first, "interval");
        const char *a = affect_json_string(affect_json_at(affect_json_get(first, "splits"), 0), "");
        const char *b = affect_json_string(affect_json_at(affect_json_get(first, "splits"), 1), "");
        double difference = 100 * affect_json_get_number(first, "accuracy", 0);
        double low = 100 * affect_json_number(affect_json_at(interval, 0), 0);
        double high = 100 * affect_json_number(affect_json_at(interval, 1), 0);
        if (low <= 0 && high >= 0)
            snprintf(
                text, sizeof text,
                "%s and %s agree within their interval: %+.1f points of accuracy (%.1f to %.1f)", a,
                b, difference, low, high);
        else
            snprintf(text, sizeof text,
                     "%s reports %.1f points more accuracy than %s with the same training "
                     "(interval %.1f to %.1f)",
                     difference > 0 ? a : b, fabs(difference), difference > 0 ? b : a,
                     difference > 0 ? low : -high, difference > 0 ? high : -low);
    } else if (affect_json_is_object(cell0)) {
        const affect_json *beats = affect_json_get(cell0, "beats_baselines");
        double accuracy = 100 * affect_json_get_number(cell0, "accuracy", 0);
        const char *split = affect_json_get_string(cell0, "split", "");
        if (affect_json_is_bool(beats) && !affect_json_bool(beats, true)) {
            const char *strongest = "";
            double most = -1;
            for (const affect_json *e = affect_json_first(affect_json_get(cell0, "baselines")); e;
                 e = affect_json_next(e))
                if (affect_json_number(e, 0) > most) {
                    most = affect_json_number(e, 0);
                    strongest = affect_json_name(e);
                }
            snprintf(text, sizeof text,
                     "accuracy %.1f %% on %s does not beat its strongest baseline: %s, %.1f %%",
                     accuracy, split, strongest, 100 * most);
        } else {
            snprintf(text, sizeof text, "accuracy %.1f %% on %s, above each of its baselines",
                     accuracy, split);
        }
    } else {
        snprintf(text, sizeof text, "no run has succeeded");
    }
    affect_json_set_string(report, "statement", text);
}

/* ---- The report ---- */

static void count_states(affect_json *report, const affect_json *runs) {
    static const char *const reasons[] = {"reused", "early_terminated", "time_budget"};
    affect_json *counts = affect_json_set_object(report, "runs");
    affect_json_set_number(counts, "total", (double)affect_json_size(runs));
    for (const affect_json *run = affect_json_first(runs); run; run = affect_json_next(run)) {
        const char *state = affect_json_get_string(run, "state", "unknown");
        affect_json_set_number(counts, state, 1 + affect_json_get_number(counts, state, 0));
        for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
            if (strcmp(affect_json_get_string(run, "reason", ""), reasons[i]) == 0)
                affect_json_set_number(counts, reasons[i],
                                       1 + affect_json_get_number(counts, reasons[i], 0));
    }
}

static size_t list_splits(affect_json *report, const affect_json *runs) {
    affect_json *names = affect_json_set_array(report, "splits");
    size_t n = 0;
    for (const affect_json *run = affect_json_first(runs); run; run = affect_json_next(run))
        if (affect_json_get_number(run, "split_index", 0) == (double)n) {
            affect_json_append(names,
                               affect_json_new_string(affect_json_get_string(run, "split", "")));
            n++;
        }
    return n;
}

static affect_status fill(affect_json *report, context *c, affect_error *err) {
    const affect_json *runs = affect_json_get(c->spec, "runs"), *best_cells = NULL;
    double best = NAN, best_point = 0, p = 0;
    affect_json_set_string(report, "statement", "");
    affect_json_set_string(report, "metric", c->metric);
    affect_json_set_string(report, "goal", c->minimize ? "minimize" : "maximize");
    count_states(report, runs);
    size_t n_splits = list_splits(report, runs);
    c->next = affect_json_first(runs);
    affect_json *points = affect_json_set_array(report, "points");
    for (const affect_json *point = affect_json_first(affect_json_get(c->spec, "points")); point;
         point = affect_json_next(point), p++) {
        series metric = {0};
        affect_json *json = affect_json_append(points, affect_json_new_object());
        affect_json_set_number(json, "point", p);
        affect_json_set(json, "parameters", affect_json_copy(point));
        affect_json *cells = affect_json_new_array();
        for (size_t s = 0; s < n_splits; s++) {
            affect_status status = append_cell(cells, c, p, (double)s, &metric, err);
            if (status == AFFECT_STATUS_OK) continue;
            affect_json_free(cells);
            return status;
        }
        affect_json_set(json, "metric", mean_of(&metric));
        affect_json_set(json, "splits", cells);
        if (metric.n > 0 && is_better(c, metric.mean, best)) {
            best = metric.mean;
            best_point = p;
            best_cells = cells;
        }
    }
    affect_json *differences = affect_json_set_array(report, "differences");
    const affect_json *first = affect_json_first(best_cells);
    for (const affect_json *other = affect_json_next(first); other; other = affect_json_next(other))
        if (affect_json_is_object(first) && affect_json_is_object(other))
            add_difference(differences, first, other);
    set_statement(report, best_cells);
    set_best(report, c, best_point);
    return AFFECT_STATUS_OK;
}

affect_status affect_sweep_report(affect_json **report, const affect_json *spec,
                                  affect_error *err) {
    context c = {.spec = spec,
                 .metric = affect_json_get_string(spec, "metric", affect_sweep_metrics[0]),
                 .minimize = affect_json_get_bool(spec, "minimize", false),
                 .seed = (uint64_t)affect_json_get_number(spec, "seed", 1)};
    const char *dataset = affect_json_get_string(spec, "dataset", "");
    char path[AFFECT_PATH_MAX];
    *report = affect_json_new_object();
    affect_status status = AFFECT_STATUS_OK;
    if (dataset[0]) {
        status = affect_path_join(path, err, dataset, "dataset.json");
        if (status == AFFECT_STATUS_OK)
            status = affect_json_read(&c.manifest, path, MAX_MANIFEST, err);
        if (status == AFFECT_STATUS_OK)
            status = affect_utterance_table_make(&c.table, c.manifest, err);
    }
    if (status == AFFECT_STATUS_OK) status = fill(*report, &c, err);
    if (c.table.rows) affect_utterance_table_free(&c.table);
    affect_json_free(c.manifest);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(*report);
        *report = NULL;
    }
    return status;
}
