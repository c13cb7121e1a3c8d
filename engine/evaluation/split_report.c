/* The split in a result; see split_report.h. Everything is counted again from the utterances that
 * trained and were evaluated, so that a model's file and another import of its corpus are enough.
 */
#include "engine/evaluation/split_report.h"

#include "engine/evaluation/baseline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMES 20

affect_status affect_split_report_groups(affect_json *names, affect_utterance_table *table,
                                         const char *by, const bool *marked, affect_error *err) {
    const affect_utterance_groups *groups;
    AFFECT_TRY(affect_utterance_table_group(&groups, table, by, err));
    bool *found = calloc(groups->n + 1, sizeof *found);
    if (!found) return affect_fail(err, NO_MEMORY, "no memory for %zu groups", groups->n);
    for (size_t i = 0; i < table->n; i++)
        if (marked[i] && groups->of[i] >= 0) found[groups->of[i]] = true;
    size_t n = 0;
    for (size_t g = 0; g < groups->n && n < MAX_NAMES; g++) {
        if (!found[g]) continue;
        affect_json_append(names, affect_json_new_string(groups->names[g]));
        n++;
    }
    free(found);
    return AFFECT_STATUS_OK;
}

void affect_split_report_classes(affect_json *warnings, const affect_utterance_table *table,
                                 const bool *marked, const char *verb) {
    for (size_t c = 0; c < table->n_classes; c++) {
        size_t n = 0;
        char text[160];
        for (size_t i = 0; i < table->n; i++) n += marked[i] && table->labels[i] == (int)c;
        if (n) continue;
        snprintf(text, sizeof text, "no utterance of class %.60s %s", table->classes[c], verb);
        affect_json_append(warnings, affect_json_new_string(text));
    }
}

/* The attribute whose groups the split holds out, or NULL. */
static const char *held_out_by(const affect_json *split) {
    const char *name = affect_json_get_string(split, "kind", "");
    for (const affect_split_kind *kind = affect_split_kinds; kind->name; kind++)
        if (strcmp(kind->name, name) == 0)
            return kind->by ? kind->by : affect_json_get_string(split, "by", NULL);
    return NULL;
}

/* A report in the making. */
typedef struct {
    const affect_split_report_input *input;
    affect_utterance_table table;
    bool *trains, *evaluated; /* (utterances) */
} report;

static affect_status print_split(affect_json *result, report *r, affect_error *err) {
    const affect_split_report_input *input = r->input;
    const affect_json *split = input->split, *subset = affect_json_get(split, "subset");
    const char *by = held_out_by(split);
    affect_json *json = affect_json_set_object(result, "split");
    affect_json_set_string(json, "name", affect_json_get_string(split, "kind", "random"));
    if (by) {
        affect_json_set_number(json, "fold", affect_json_get_number(split, "fold", 0));
        affect_json *names = affect_json_set_array(json, "held_out");
        if (strcmp(input->part, affect_part_names[AFFECT_PART_TEST]) == 0)
            AFFECT_TRY(affect_split_report_groups(names, &r->table, by, r->evaluated, err));
    }
    affect_json *sizes = affect_json_set_object(json, "utterances");
    const affect_json *parts = affect_json_get(split, "utterances");
    for (int p = 0; p < AFFECT_PART_COUNT; p++)
        affect_json_set_number(
            sizes, affect_part_names[p],
            (double)affect_json_size(affect_json_get(parts, affect_part_names[p])));
    affect_json *warnings = affect_json_set_array(json, "warnings");
    if (input->n_training) affect_split_report_classes(warnings, &r->table, r->trains, "trains");
    affect_split_report_classes(warnings, &r->table, r->evaluated, "is evaluated");
    affect_json_set(result, "subset", subset ? affect_json_copy(subset) : affect_json_new_null());
    return AFFECT_STATUS_OK;
}

static void print_unknown(affect_json *result) {
    affect_json_set(result, "audit", affect_json_new_null());
    affect_json_set(result, "baselines", affect_json_new_null());
    affect_json_set(result, "beats_baselines", affect_json_new_null());
    affect_json_set_string(
        result, "statement",
        "no utterance of this dataset trained the model: there is no baseline to "
        "compare with");
}

/* Adds what the dataset's numbers reach to "baselines"; *name and *best become those of the
 * strongest baseline. */
static affect_status add_baseline(affect_json *result, const char **name, double *best,
                                  const report *r, affect_error *err) {
    affect_baseline lda = {.name = "lda_statistics"};
    if (r->input->dataset)
        AFFECT_TRY(affect_baseline_lda(&lda, r->input->dataset, r->trains, r->evaluated, err));
    affect_json *baselines = affect_json_get(result, "baselines");
    if (!lda.known) {
        affect_json_set(baselines, lda.name, affect_json_new_null());
        return AFFECT_STATUS_OK;
    }
    affect_json *json = affect_json_set_object(baselines, lda.name);
    affect_json_set_number(json, "accuracy", lda.accuracy);
    affect_json_set_number(json, "recall_mean", lda.uar);
    affect_json_set_number(json, "f1_macro", lda.f1_macro);
    if (lda.accuracy > *best) {
        *best = lda.accuracy;
        *name = lda.name;
    }
    return AFFECT_STATUS_OK;
}

static void print_verdict(affect_json *result, const affect_split_report_input *input,
                          const char *name, double best) {
    char text[300];
    bool beats = input->accuracy > best;
    const char *of = strcmp(input->part, "all") == 0 ? "utterances" : "part";
    snprintf(text, sizeof text,
             beats ? "accuracy %.4f on the %.20s %s beats the strongest baseline, %s (%.4f)"
                   : "accuracy %.4f on the %.20s %s does not beat the strongest baseline: %s "
                     "reaches %.4f",
             input->accuracy, input->part, of, name, best);
    affect_json_set_bool(result, "beats_baselines", beats);
    affect_json_set_string(result, "statement", text);
}

static affect_status begin(report *r, affect_error *err) {
    AFFECT_TRY(affect_utterance_table_make(&r->table, r->input->manifest, err));
    r->trains = calloc(r->table.n + 1, sizeof *r->trains);
    r->evaluated = calloc(r->table.n + 1, sizeof *r->evaluated);
    if (!r->trains || !r->evaluated)
        return affect_fail(err, NO_MEMORY, "no memory to audit %zu utterances", r->table.n);
    for (size_t i = 0; i < r->input->n_training; i++) r->trains[r->input->training[i]] = true;
    for (size_t i = 0; i < r->input->n_evaluated; i++) r->evaluated[r->input->evaluated[i]] = true;
    return AFFECT_STATUS_OK;
}

affect_status affect_split_report(affect_json *result, const affect_split_report_input *input,
                                  affect_error *err) {
    report r = {.input = input};
    affect_leakage audit;
    affect_status status = begin(&r, err);
    if (status == AFFECT_STATUS_OK) status = print_split(result, &r, err);
    if (status == AFFECT_STATUS_OK && input->n_training)
        status = affect_leakage_audit(&audit, &r.table, r.trains, r.evaluated, err);
    if (status == AFFECT_STATUS_OK && input->n_training) {
        affect_leakage_print(result, &audit);
        const char *name = affect_lookup_names[audit.strongest];
        double best = audit.lookups[audit.strongest].accuracy;
        status = add_baseline(result, &name, &best, &r, err);
        print_verdict(result, input, name, best);
    } else if (status == AFFECT_STATUS_OK) {
        print_unknown(result);
    }
    affect_utterance_table_free(&r.table);
    free(r.trains);
    free(r.evaluated);
    return status;
}
