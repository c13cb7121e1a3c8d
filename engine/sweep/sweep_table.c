/* Tables of sweeps as CSV, Markdown and LaTeX (engine/core/text_table.h): a row a point and split.
 *
 * The first columns are the parameters, by their names; the others stand in one list. The paper's
 * own figures are those of its Table 1 for the two networks that this project has as presets: base
 * and optimised, motion + audio, of a random 80:20 split. */
#include "engine/core/text_table.h"
#include "engine/sweep/sweep.h"
#include "engine/sweep/sweep_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CELL = 512 };

static const struct {
    const char *architecture;
    double training_accuracy, validation_accuracy, f1;
} paper[] = {{"paper-base", .9966, .6986, .69}, {"paper-optimized", .8413, .7367, .73}};

static const char *const columns[] = {"split",
                                      "runs",
                                      "metric",
                                      "training accuracy",
                                      "validation accuracy",
                                      "gap",
                                      "accuracy (WA)",
                                      "95 % (Wilson)",
                                      "mean recall (UA)",
                                      "macro F1",
                                      "UA 95 % (bootstrap by speaker)",
                                      "strongest baseline",
                                      "paper: training, validation accuracy, F1"};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static void add_number(affect_text_table *table, const affect_json *of, const char *name) {
    affect_text_table_number(table, affect_json_get_number(of, name, NAN), 4);
}

static void add_interval(affect_text_table *table, const affect_json *interval) {
    char cell[64] = "";
    if (affect_json_size(interval) == 2)
        snprintf(cell, sizeof cell, "%.4f to %.4f",
                 affect_json_number(affect_json_at(interval, 0), 0),
                 affect_json_number(affect_json_at(interval, 1), 0));
    affect_text_table_text(table, cell);
}

/* A parameter's value: a text as it is, anything else as JSON. */
static void add_value(affect_text_table *table, const affect_json *value) {
    affect_buffer text = {0};
    if (!affect_json_is_string(value)) affect_json_print(&text, value);
    const char *printed = affect_buffer_string(&text);
    affect_text_table_text(table, affect_json_string(value, printed ? printed : ""));
    affect_buffer_free(&text);
}

static void add_strongest(affect_text_table *table, const affect_json *baselines) {
    char cell[MAX_CELL] = "";
    double most = NAN;
    for (const affect_json *b = affect_json_first(baselines); b; b = affect_json_next(b))
        if (isnan(most) || affect_json_number(b, 0) > most) {
            most = affect_json_number(b, 0);
            snprintf(cell, sizeof cell, "%.4f (%s)", most, affect_json_name(b));
        }
    affect_text_table_text(table, cell);
}

static void add_paper(affect_text_table *table, const char *architecture) {
    char cell[64] = "";
    for (size_t p = 0; p < sizeof paper / sizeof *paper; p++)
        if (strcmp(paper[p].architecture, architecture) == 0)
            snprintf(cell, sizeof cell, "%.4f, %.4f, %.2f", paper[p].training_accuracy,
                     paper[p].validation_accuracy, paper[p].f1);
    affect_text_table_text(table, cell);
}

static void add_row(affect_text_table *table, const affect_json *parameters,
                    const affect_json *cell) {
    const affect_json *intervals = affect_json_get(cell, "intervals");
    for (const affect_json *p = affect_json_first(parameters); p; p = affect_json_next(p))
        add_value(table, p);
    affect_text_table_text(table, affect_json_get_string(cell, "split", ""));
    affect_text_table_number(table, affect_json_get_number(cell, "n_runs", 0), 0);
    add_number(table, affect_json_get(cell, "metric"), "mean");
    add_number(table, cell, "training_accuracy");
    add_number(table, cell, "validation_accuracy");
    add_number(table, cell, "gap");
    add_number(table, cell, "accuracy");
    add_interval(table, affect_json_get(intervals, "accuracy"));
    add_number(table, cell, "recall_mean");
    add_number(table, cell, "f1_macro");
    add_interval(table, affect_json_get(affect_json_get(intervals, "speaker"), "recall_mean"));
    add_strongest(table, affect_json_get(cell, "baselines"));
    add_paper(table, affect_json_get_string(parameters, "architecture", ""));
}

affect_status affect_sweep_table(affect_buffer *text, const affect_json *report, const char *format,
                                 affect_error *err) {
    static const char *const formats[AFFECT_TEXT_TABLE_COUNT] = {"csv", "md", "latex"};
    int as = 0;
    while (as < AFFECT_TEXT_TABLE_COUNT && strcmp(formats[as], format) != 0) as++;
    if (as == AFFECT_TEXT_TABLE_COUNT)
        return affect_fail(err, INVALID, "format \"%.20s\" (need csv, md or latex)", format);
    const affect_json *points = affect_json_get(report, "points");
    const affect_json *parameters = affect_json_get(affect_json_first(points), "parameters");
    const char *names[AFFECT_SWEEP_MAX_PARAMETERS + N_COLUMNS + 1];
    size_t n = 0;
    for (const affect_json *p = affect_json_first(parameters); p && n < AFFECT_SWEEP_MAX_PARAMETERS;
         p = affect_json_next(p))
        names[n++] = affect_json_name(p);
    memcpy(names + n, columns, sizeof columns);
    names[n + N_COLUMNS] = NULL;
    if (as != AFFECT_TEXT_TABLE_CSV) {
        affect_buffer_append_string(text, as == AFFECT_TEXT_TABLE_LATEX ? "% " : "");
        affect_text_table_escape(text, (affect_text_table_format)as,
                                 affect_json_get_string(report, "statement", ""));
        affect_buffer_append_string(text, as == AFFECT_TEXT_TABLE_LATEX ? "\n" : "\n\n");
    }
    affect_text_table table;
    affect_text_table_begin(&table, text, (affect_text_table_format)as, names);
    for (const affect_json *point = affect_json_first(points); point;
         point = affect_json_next(point))
        for (const affect_json *cell = affect_json_first(affect_json_get(point, "splits")); cell;
             cell = affect_json_next(cell))
            if (affect_json_is_object(cell))
                add_row(&table, affect_json_get(point, "parameters"), cell);
    affect_text_table_end(&table);
    return text->failed ? affect_fail(err, NO_MEMORY, "no memory for a table") : AFFECT_STATUS_OK;
}
