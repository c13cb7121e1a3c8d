/* Results compared: each against the first, over the utterances that both have.
 *
 *   {"level": 0.95, "draws": 2000, "seed": 1, "first": {"name", "utterances"},
 *    "comparisons": [{"name", "utterances", "common", "only_first", "only_second",
 *                     "groups": {"speaker": n | null, "dialog": n | null},
 *                     "measures": {"accuracy" | "recall_mean" | "f1_macro":
 *                         {"first", "second", "difference", "speaker": [low, high] | null,
 *                          "dialog": [low, high] | null}},
 *                     "mcnemar": {"first_right", "second_right", "test": "exact" | "chi_squared",
 *                                 "statistic", "p_value"}}]}
 *
 * Differences are second minus first. Their intervals are those of interval.h's paired bootstrap,
 * by speaker and by dialog; null where fewer than two are known. first_right counts utterances that
 * only the first has right. Macro averages go over the classes of both results. */
#ifndef AFFECT_EVALUATION_COMPARE_H
#define AFFECT_EVALUATION_COMPARE_H

#include "engine/core/json.h"
#include "engine/core/text_table.h"
#include "engine/evaluation/predictions.h"

#define AFFECT_COMPARE_MAX  8 /* results */
#define AFFECT_COMPARE_SEED 1

extern const char *const affect_compare_formats[]; /* "json", "csv", "md", "latex", NULL */

/* Of n tables (2..AFFECT_COMPARE_MAX), each with its name; *json is owned. INVALID: another number,
 * no utterance in common, an utterance whose label differs, over AFFECT_MAX_CLASSES classes. */
affect_status affect_compare(affect_json **json, const affect_prediction_table *tables,
                             const char *const *names, size_t n, affect_error *err);
/* Appends a comparison in one of the formats, by its index. Text is escaped: text_table.h. */
void affect_compare_print(affect_buffer *buffer, const affect_json *json, size_t format);

#endif
