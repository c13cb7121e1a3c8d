/* What the runs of a sweep come to: a table of points by split, and a sentence that heads it.
 *
 * The report is a function of the runs, taken in the order of their indices: the order in which
 * they finished changes nothing.
 *
 *   {"statement", "metric", "goal", "runs": {"total", "succeeded", ...}, "splits": [name],
 *    "points": [{"point", "parameters", "metric": mean over all of its runs or null,
 *                "splits": [cell or null]}],
 *    "differences": [{"splits": [a, b], "accuracy": [a - b], "interval": [low, high]}],
 *    "best": {"point", "run", "job"} | null, "best_job": text | null}
 *
 * A cell is a point under one split:
 *   {"split", "n_runs", "metric": {"mean", "deviation_over_folds", "deviation_over_seeds"},
 *    "part": that is reported, "selection", "utterances": of one repetition,
 *    "accuracy", "recall_mean", "f1_macro": of the confusion matrix pooled over folds, mean of
 * seeds, "mean_of_folds": {the three}, "deviation_over_seeds": {the three}, "training_accuracy",
 * "gap", "validation_accuracy", "intervals": {"accuracy": Wilson, "speaker": {...} | null,
 * "dialog": {...} | null}, "baselines": {name: accuracy}, "beats_baselines"}
 *
 * Wilson's interval is of the utterances of one repetition; the bootstrap draws whole speakers or
 * dialogs with all of their predictions of all seeds (interval.h). The difference of two splits is
 * that of the best point; its interval is Newcombe's hybrid of two Wilson intervals (Stat. Med.
 * 1998, method 10), for independent shares. */
#ifndef AFFECT_SWEEP_SWEEP_REPORT_H
#define AFFECT_SWEEP_SWEEP_REPORT_H

#include "engine/core/buffer.h"
#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/evaluation/interval.h"

/* spec: {"metric", "minimize", "seed", "points": [...], "dataset": a folder or "",
 * "runs": [{members of affect_sweep_runs but "request", and "job", "state", "reason",
 * "result", "folder"}]}. Runs that have not succeeded are counted and left out. *report owned. */
affect_status affect_sweep_report(affect_json **report, const affect_json *spec, affect_error *err);

/* The report's table as text for papers and spreadsheets: a row a point and split. Where a point is
 * a network of the paper, the figures printed there stand in the last columns. "csv", "md" or
 * "latex". */
affect_status affect_sweep_table(affect_buffer *text, const affect_json *report, const char *format,
                                 affect_error *err);

/* The interval of p1 - p2, p = n_right / n each. */
affect_interval affect_sweep_newcombe(size_t n_right1, size_t n1, size_t n_right2, size_t n2);

#endif
