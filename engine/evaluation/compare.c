/* Comparison of results; see compare.h. Both tables are sorted by utterance, so the common ones
 * come from one walk along both. */
#include "engine/evaluation/compare.h"

#include "engine/evaluation/interval.h"
#include "engine/evaluation/mcnemar.h"
#include "engine/evaluation/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const affect_compare_formats[] = {"json", "csv", "md", "latex", NULL};

static const char *const measures[] = {"accuracy", "recall_mean", "f1_macro"};
enum { N_MEASURES = 3 };
static const char *const groupings[] = {"speaker", "dialog"};
enum { N_GROUPINGS = 2 };

/* The utterances of two tables, by class of the first or behind those of the first. */
typedef struct {
    const affect_prediction_table *tables[2];
    const char *classes[AFFECT_MAX_CLASSES];
    size_t n_classes, n;
    int *numbers;                /* owned; what follows points into it */
    int *labels, *predicted[2];  /* (n) */
    int *groups[N_GROUPINGS];    /* (n), -1: not known */
    size_t n_known[N_GROUPINGS]; /* utterances whose group is known */
} pairing;

/* ---- Pairing ---- */

/* class_map[c]: the class of the second table in the numbering of both. */
static affect_status join_classes(pairing *p, int class_map[AFFECT_MAX_CLASSES],
                                  affect_error *err) {
    const affect_prediction_table *first = p->tables[0], *second = p->tables[1];
    for (; p->n_classes < first->n_classes; p->n_classes++)
        p->classes[p->n_classes] = first->classes[p->n_classes];
    for (size_t c = 0; c < second->n_classes; c++) {
        size_t k = 0;
        while (k < p->n_classes && strcmp(p->classes[k], second->classes[c]) != 0) k++;
        if (k == AFFECT_MAX_CLASSES)
            return affect_fail(err, INVALID, "together the results have over %d classes",
                               AFFECT_MAX_CLASSES);
        if (k == p->n_classes) p->classes[p->n_classes++] = second->classes[c];
        class_map[c] = (int)k;
    }
    return AFFECT_STATUS_OK;
}

static const char *group_of(const affect_prediction_row *row, int grouping) {
    return grouping == 0 ? row->speaker : row->dialog;
}

typedef struct {
    const char *name;
    size_t at; /* in the common utterances */
} named;

static int by_name(const void *a, const void *b) {
    const named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Numbers the groups in the order of their names. rows (n) are the first's common ones. */
static affect_status number_groups(pairing *p, int grouping, const affect_prediction_row **rows,
                                   affect_error *err) {
    named *names = malloc((p->n + 1) * sizeof *names);
    if (!names) return affect_fail(err, NO_MEMORY, "no memory to group %zu utterances", p->n);
    size_t n = 0;
    int number = -1;
    for (size_t i = 0; i < p->n; i++) {
        p->groups[grouping][i] = -1;
        if (*group_of(rows[i], grouping)) names[n++] = (named){group_of(rows[i], grouping), i};
    }
    qsort(names, n, sizeof *names, by_name);
    for (size_t k = 0; k < n; k++) {
        number += k == 0 || strcmp(names[k].name, names[k - 1].name) != 0;
        p->groups[grouping][names[k].at] = number;
    }
    p->n_known[grouping] = n;
    free(names);
    return AFFECT_STATUS_OK;
}

/* Fills labels and predicted with the common utterances; rows[i]: the first's. */
static affect_status walk(pairing *p, const affect_prediction_row **rows, const int *class_map,
                          affect_error *err) {
    const affect_prediction_table *first = p->tables[0], *second = p->tables[1];
    for (size_t i = 0, k = 0; i < first->n && k < second->n;) {
        const affect_prediction_row *a = &first->rows[i], *b = &second->rows[k];
        int order = strcmp(a->utterance, b->utterance);
        i += order <= 0;
        k += order >= 0;
        if (order) continue;
        if (class_map[b->label] != a->label)
            return affect_fail(err, INVALID,
                               "the utterance \"%.80s\" is labelled %.60s in one result and %.60s "
                               "in the other",
                               a->utterance, p->classes[a->label], second->classes[b->label]);
        rows[p->n] = a;
        p->labels[p->n] = a->label;
        p->predicted[0][p->n] = a->predicted;
        p->predicted[1][p->n++] = class_map[b->predicted];
    }
    return p->n ? AFFECT_STATUS_OK
                : affect_fail(err, INVALID, "the results have no utterance in common");
}

static affect_status pair(pairing *p, affect_error *err) {
    int class_map[AFFECT_MAX_CLASSES];
    size_t most = p->tables[0]->n < p->tables[1]->n ? p->tables[0]->n : p->tables[1]->n;
    AFFECT_TRY(join_classes(p, class_map, err));
    const affect_prediction_row **rows = malloc((most + 1) * sizeof(*rows));
    p->numbers = malloc((5 * most + 1) * sizeof *p->numbers);
    affect_status status = rows && p->numbers
                               ? AFFECT_STATUS_OK
                               : affect_fail(err, NO_MEMORY, "no memory for %zu pairs", most);
    if (status == AFFECT_STATUS_OK) {
        p->labels = p->numbers;
        for (int k = 0; k < 2; k++) {
            p->predicted[k] = p->numbers + (size_t)(1 + k) * most;
            p->groups[k] = p->numbers + (size_t)(3 + k) * most;
        }
        status = walk(p, rows, class_map, err);
    }
    for (int g = 0; g < N_GROUPINGS && status == AFFECT_STATUS_OK; g++)
        status = number_groups(p, g, rows, err);
    free((void *)rows);
    return status;
}

/* ---- Numbers ---- */

static void measure(double values[N_MEASURES], const pairing *p, int which) {
    affect_metrics metrics;
    affect_metrics_count(&metrics, p->labels, p->predicted[which], p->n, p->n_classes);
    values[0] = metrics.accuracy;
    values[1] = metrics.uar;
    values[2] = metrics.f1_macro;
}

/* intervals: of each measure; *n_groups 0: there is nothing to draw from. */
static affect_status draw(affect_interval intervals[N_MEASURES], size_t *n_groups, const pairing *p,
                          int grouping, affect_error *err) {
    affect_bootstrap bootstrap = {0};
    *n_groups = 0;
    if (p->n_known[grouping] == 0) return AFFECT_STATUS_OK;
    affect_status status = affect_bootstrap_difference(
        &bootstrap, p->labels, p->predicted[0], p->predicted[1], p->groups[grouping], p->n,
        p->n_classes, AFFECT_BOOTSTRAP_DRAWS, AFFECT_COMPARE_SEED, err);
    if (status == AFFECT_STATUS_INVALID) return AFFECT_STATUS_OK; /* a single group */
    *n_groups = bootstrap.n_groups;
    intervals[0] = bootstrap.accuracy;
    intervals[1] = bootstrap.uar;
    intervals[2] = bootstrap.f1_macro;
    return status;
}

static void print_mcnemar(affect_json *json, const pairing *p) {
    size_t only[2] = {0, 0};
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < 2; k++)
            only[k] += p->predicted[k][i] == p->labels[i] && p->predicted[!k][i] != p->labels[i];
    affect_mcnemar test = affect_mcnemar_test(only[0], only[1]);
    affect_json *object = affect_json_set_object(json, "mcnemar");
    affect_json_set_number(object, "first_right", (double)only[0]);
    affect_json_set_number(object, "second_right", (double)only[1]);
    affect_json_set_string(object, "test", test.exact ? "exact" : "chi_squared");
    affect_json_set_number(object, "statistic", test.statistic);
    affect_json_set_number(object, "p_value", test.p_value);
}

static affect_status print_pair(affect_json *json, const pairing *p, affect_error *err) {
    double values[2][N_MEASURES];
    affect_interval intervals[N_GROUPINGS][N_MEASURES];
    size_t n_groups[N_GROUPINGS];
    for (int k = 0; k < 2; k++) measure(values[k], p, k);
    for (int g = 0; g < N_GROUPINGS; g++) AFFECT_TRY(draw(intervals[g], &n_groups[g], p, g, err));
    affect_json_set_number(json, "common", (double)p->n);
    affect_json_set_number(json, "only_first", (double)(p->tables[0]->n - p->n));
    affect_json_set_number(json, "only_second", (double)(p->tables[1]->n - p->n));
    affect_json *groups = affect_json_set_object(json, "groups");
    for (int g = 0; g < N_GROUPINGS; g++)
        affect_json_set(groups, groupings[g],
                        n_groups[g] ? affect_json_new_number((double)n_groups[g])
                                    : affect_json_new_null());
    affect_json *all = affect_json_set_object(json, "measures");
    for (int m = 0; m < N_MEASURES; m++) {
        affect_json *one = affect_json_set_object(all, measures[m]);
        affect_json_set_number(one, "first", values[0][m]);
        affect_json_set_number(one, "second", values[1][m]);
        affect_json_set_number(one, "difference", values[1][m] - values[0][m]);
        for (int g = 0; g < N_GROUPINGS; g++)
            affect_json_set(one, groupings[g],
                            n_groups[g] ? affect_interval_to_json(intervals[g][m])
                                        : affect_json_new_null());
    }
    print_mcnemar(json, p);
    return AFFECT_STATUS_OK;
}

affect_status affect_compare(affect_json **json, const affect_prediction_table *tables,
                             const char *const *names, size_t n, affect_error *err) {
    if (n < 2 || n > AFFECT_COMPARE_MAX)
        return affect_fail(err, INVALID, "%zu results to compare (need 2..%d)", n,
                           AFFECT_COMPARE_MAX);
    affect_json *made = affect_json_new_object();
    affect_json_set_number(made, "level", 0.95);
    affect_json_set_number(made, "draws", AFFECT_BOOTSTRAP_DRAWS);
    affect_json_set_number(made, "seed", AFFECT_COMPARE_SEED);
    affect_json *first = affect_json_set_object(made, "first");
    affect_json_set_string(first, "name", names[0]);
    affect_json_set_number(first, "utterances", (double)tables[0].n);
    affect_json *rows = affect_json_set_array(made, "comparisons");
    affect_status status = AFFECT_STATUS_OK;
    for (size_t k = 1; k < n && status == AFFECT_STATUS_OK; k++) {
        pairing p = {.tables = {&tables[0], &tables[k]}};
        affect_json *row = affect_json_append(rows, affect_json_new_object());
        affect_json_set_string(row, "name", names[k]);
        affect_json_set_number(row, "utterances", (double)tables[k].n);
        status = pair(&p, err);
        if (status == AFFECT_STATUS_OK) status = print_pair(row, &p, err);
        if (status == AFFECT_STATUS_INVALID)
            status = affect_error_prefix(err, status, "%s and %s", names[0], names[k]);
        free(p.numbers);
    }
    if (status == AFFECT_STATUS_OK)
        *json = made;
    else
        affect_json_free(made);
    return status;
}

/* ---- Tables ---- */

/* Numbers of an array of two, NAN for null. */
static affect_interval interval_of(const affect_json *json) {
    return (affect_interval){affect_json_number(affect_json_at(json, 0), NAN),
                             affect_json_number(affect_json_at(json, 1), NAN)};
}

static void put_interval(affect_text_table *table, const affect_json *json) {
    char text[64];
    affect_interval interval = interval_of(json);
    if (table->format == AFFECT_TEXT_TABLE_CSV || isnan(interval.low)) {
        affect_text_table_number(table, interval.low, 4);
        if (table->format == AFFECT_TEXT_TABLE_CSV)
            affect_text_table_number(table, interval.high, 4);
        return;
    }
    snprintf(text, sizeof text, "%.4f to %.4f", interval.low, interval.high);
    affect_text_table_text(table, text);
}

static void put_row(affect_text_table *table, const affect_json *json, const affect_json *row,
                    const char *name) {
    const affect_json *measure_json = affect_json_get(affect_json_get(row, "measures"), name);
    const affect_json *test = affect_json_get(row, "mcnemar");
    affect_text_table_text(table,
                           affect_json_get_string(affect_json_get(json, "first"), "name", ""));
    affect_text_table_text(table, affect_json_get_string(row, "name", ""));
    static const char *const counts[] = {"common", "only_first", "only_second"};
    for (int k = 0; k < (table->format == AFFECT_TEXT_TABLE_CSV ? 3 : 1); k++)
        affect_text_table_number(table, affect_json_get_number(row, counts[k], NAN), 0);
    affect_text_table_text(table, name);
    affect_text_table_number(table, affect_json_get_number(measure_json, "first", NAN), 4);
    affect_text_table_number(table, affect_json_get_number(measure_json, "second", NAN), 4);
    affect_text_table_number(table, affect_json_get_number(measure_json, "difference", NAN), 4);
    for (int g = 0; g < N_GROUPINGS; g++)
        put_interval(table, affect_json_get(measure_json, groupings[g]));
    if (table->format == AFFECT_TEXT_TABLE_CSV) {
        affect_text_table_number(table, affect_json_get_number(test, "first_right", NAN), 0);
        affect_text_table_number(table, affect_json_get_number(test, "second_right", NAN), 0);
        affect_text_table_text(table, affect_json_get_string(test, "test", ""));
    }
    affect_text_table_number(table, affect_json_get_number(test, "p_value", NAN), 4);
}

/* What a table's columns leave out, a sentence a line. */
static void print_notes(affect_buffer *buffer, const affect_json *json,
                        affect_text_table_format format) {
    const char *before = format == AFFECT_TEXT_TABLE_LATEX ? "% " : "\n";
    const char *first = affect_json_get_string(affect_json_get(json, "first"), "name", "");
    affect_buffer_printf(buffer,
                         "%sDifferences are second minus first; intervals of 95 %s, percentiles of "
                         "%.0f paired bootstrap draws (seed %.0f).\n",
                         before, format == AFFECT_TEXT_TABLE_LATEX ? "percent" : "%",
                         affect_json_get_number(json, "draws", 0),
                         affect_json_get_number(json, "seed", 0));
    const affect_json *rows = affect_json_get(json, "comparisons");
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row)) {
        const affect_json *test = affect_json_get(row, "mcnemar");
        const char *name = affect_json_get_string(row, "name", "");
        affect_buffer_append_string(buffer, before);
        affect_text_table_escape(buffer, format, name);
        affect_buffer_printf(buffer, ": %.0f utterances in common, %.0f only in ",
                             affect_json_get_number(row, "common", 0),
                             affect_json_get_number(row, "only_first", 0));
        affect_text_table_escape(buffer, format, first);
        affect_buffer_printf(buffer, ", %.0f only in ",
                             affect_json_get_number(row, "only_second", 0));
        affect_text_table_escape(buffer, format, name);
        affect_buffer_printf(
            buffer, ". McNemar, %s: %.0f right by the first alone, %.0f by the second alone.\n",
            strcmp(affect_json_get_string(test, "test", ""), "exact") == 0
                ? "exact binomial"
                : "chi-squared with continuity correction",
            affect_json_get_number(test, "first_right", 0),
            affect_json_get_number(test, "second_right", 0));
    }
}

void affect_compare_print(affect_buffer *buffer, const affect_json *json, size_t format) {
    static const char *const wide[] = {
        "first",       "second",       "common",       "only_first",   "only_second",  "measure",
        "value_first", "value_second", "difference",   "speaker_low",  "speaker_high", "dialog_low",
        "dialog_high", "first_right",  "second_right", "mcnemar_test", "mcnemar_p",    NULL};
    static const char *const narrow[] = {
        "first",          "second",          "utterances", "measure",
        "value of first", "value of second", "difference", "by speaker",
        "by dialog",      "McNemar p",       NULL};
    if (format == 0) {
        affect_json_print_pretty(buffer, json);
        affect_buffer_append_string(buffer, "\n");
        return;
    }
    affect_text_table_format as = (affect_text_table_format)(format - 1);
    affect_text_table table;
    affect_text_table_begin(&table, buffer, as, as == AFFECT_TEXT_TABLE_CSV ? wide : narrow);
    const affect_json *rows = affect_json_get(json, "comparisons");
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row))
        for (int m = 0; m < N_MEASURES; m++) put_row(&table, json, row, measures[m]);
    affect_text_table_end(&table);
    if (as != AFFECT_TEXT_TABLE_CSV) print_notes(buffer, json, as);
}
