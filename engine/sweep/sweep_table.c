/* Tables of sweeps as CSV, Markdown and LaTeX.
 *
 * One list of columns makes all three; a cell is a text that each format escapes for itself. The
 * paper's own figures are those of its Table 1 for the two networks that this project has as
 * presets: base and optimised, motion + audio, accuracy and validation accuracy of a random 80:20
 * split. */
#include "engine/sweep/sweep_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CELL = 512 };

static const struct {
    const char *architecture;
    double training_accuracy, validation_accuracy, f1;
} paper[] = {{"paper-base", .9966, .6986, .69}, {"paper-optimized", .8413, .7367, .73}};

typedef enum { CSV, MARKDOWN, LATEX } table_format;

/* ---- Escaping ---- */

static void append_markdown(affect_buffer *text, const char *cell) {
    for (; *cell; cell++) {
        if (strchr("|\\`*_<>[]", *cell)) affect_buffer_append(text, "\\", 1);
        affect_buffer_append(text, *cell == '\n' || *cell == '\r' ? " " : cell, 1);
    }
}

static void append_latex(affect_buffer *text, const char *cell) {
    static const struct {
        char byte;
        const char *text;
    } special[] = {{'\\', "\\textbackslash{}"},
                   {'~', "\\textasciitilde{}"},
                   {'^', "\\textasciicircum{}"},
                   {'&', "\\&"},
                   {'%', "\\%"},
                   {'$', "\\$"},
                   {'#', "\\#"},
                   {'_', "\\_"},
                   {'{', "\\{"},
                   {'}', "\\}"},
                   {'"', "''"}};
    for (; *cell; cell++) {
        size_t i = 0, n = sizeof special / sizeof *special;
        while (i < n && special[i].byte != *cell) i++;
        if (i < n)
            affect_buffer_append_string(text, special[i].text);
        else
            affect_buffer_append(text, *cell == '\n' || *cell == '\r' ? " " : cell, 1);
    }
}

static void append_cell(affect_buffer *text, table_format format, const char *cell, bool first) {
    static const char *const between[] = {",", " | ", " & "};
    if (!first) affect_buffer_append_string(text, between[format]);
    if (format == CSV) affect_buffer_append_csv(text, cell);
    if (format == MARKDOWN) append_markdown(text, cell);
    if (format == LATEX) append_latex(text, cell);
}

static void begin_row(affect_buffer *text, table_format format) {
    if (format == MARKDOWN) affect_buffer_append_string(text, "| ");
}

static void end_row(affect_buffer *text, table_format format) {
    static const char *const ends[] = {"\n", " |\n", " \\\\\n"};
    affect_buffer_append_string(text, ends[format]);
}

/* ---- Cells ---- */

static void print_number(char cell[MAX_CELL], const affect_json *number) {
    cell[0] = '\0';
    if (affect_json_is_number(number))
        snprintf(cell, MAX_CELL, "%.4f", affect_json_number(number, 0));
}

static void print_interval(char cell[MAX_CELL], const affect_json *interval) {
    cell[0] = '\0';
    if (affect_json_size(interval) == 2)
        snprintf(cell, MAX_CELL, "%.4f to %.4f", affect_json_number(affect_json_at(interval, 0), 0),
                 affect_json_number(affect_json_at(interval, 1), 0));
}

static void print_value(char cell[MAX_CELL], const affect_json *value) {
    affect_buffer text = {0};
    if (affect_json_is_string(value))
        affect_buffer_append_string(&text, affect_json_string(value, ""));
    else
        affect_json_print(&text, value);
    const char *string = affect_buffer_string(&text);
    snprintf(cell, MAX_CELL, "%s", string ? string : "");
    affect_buffer_free(&text);
}

static double strongest(const affect_json *baselines, const char **name) {
    double most = NAN;
    *name = "";
    for (const affect_json *b = affect_json_first(baselines); b; b = affect_json_next(b))
        if (isnan(most) || affect_json_number(b, 0) > most) {
            most = affect_json_number(b, 0);
            *name = affect_json_name(b);
        }
    return most;
}

/* Column k of a cell of the report, behind the parameters; false behind the last. Without a cell:
 * its heading. */
static bool print_column(char cell[MAX_CELL], size_t k, const affect_json *of,
                         const char *architecture) {
    static const char *const numbers[][2] = {{"training_accuracy", "training accuracy"},
                                             {"validation_accuracy", "validation accuracy"},
                                             {"gap", "gap"},
                                             {"accuracy", "accuracy (WA)"}};
    static const char *const more[][2] = {{"recall_mean", "mean recall (UA)"},
                                          {"f1_macro", "macro F1"}};
    const affect_json *intervals = affect_json_get(of, "intervals");
    const char *name;
    double most;
    size_t p = 0, n_paper = sizeof paper / sizeof *paper;
    while (p < n_paper && strcmp(paper[p].architecture, architecture) != 0) p++;
    cell[0] = '\0';
    switch (k) {
    case 0:
        snprintf(cell, MAX_CELL, "%s", of ? affect_json_get_string(of, "split", "") : "split");
        break;
    case 1:
        if (of)
            snprintf(cell, MAX_CELL, "%.0f", affect_json_get_number(of, "n_runs", 0));
        else
            snprintf(cell, MAX_CELL, "runs");
        break;
    case 2:
        if (of)
            print_number(cell, affect_json_get(affect_json_get(of, "metric"), "mean"));
        else
            snprintf(cell, MAX_CELL, "metric");
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        if (of)
            print_number(cell, affect_json_get(of, numbers[k - 3][0]));
        else
            snprintf(cell, MAX_CELL, "%s", numbers[k - 3][1]);
        break;
    case 7:
        if (of)
            print_interval(cell, affect_json_get(intervals, "accuracy"));
        else
            snprintf(cell, MAX_CELL, "95 %% (Wilson)");
        break;
    case 8:
    case 9:
        if (of)
            print_number(cell, affect_json_get(of, more[k - 8][0]));
        else
            snprintf(cell, MAX_CELL, "%s", more[k - 8][1]);
        break;
    case 10:
        if (of)
            print_interval(cell,
                           affect_json_get(affect_json_get(intervals, "speaker"), "recall_mean"));
        else
            snprintf(cell, MAX_CELL, "UA 95 %% (bootstrap by speaker)");
        break;
    case 11:
        if (!of) {
            snprintf(cell, MAX_CELL, "strongest baseline");
            break;
        }
        most = strongest(affect_json_get(of, "baselines"), &name);
        if (!isnan(most)) snprintf(cell, MAX_CELL, "%.4f (%s)", most, name);
        break;
    case 12:
        if (!of)
            snprintf(cell, MAX_CELL, "paper: training, validation accuracy, F1");
        else if (p < n_paper)
            snprintf(cell, MAX_CELL, "%.4f, %.4f, %.2f", paper[p].training_accuracy,
                     paper[p].validation_accuracy, paper[p].f1);
        break;
    default:
        return false;
    }
    return true;
}

static void append_row(affect_buffer *text, table_format format, const affect_json *names,
                       const affect_json *point, const affect_json *of) {
    char cell[MAX_CELL];
    const affect_json *parameters = affect_json_get(point, "parameters");
    const char *architecture = affect_json_get_string(parameters, "architecture", "");
    bool first = true;
    begin_row(text, format);
    for (const affect_json *n = affect_json_first(names); n;
         n = affect_json_next(n), first = false) {
        if (of)
            print_value(cell, affect_json_get(parameters, affect_json_name(n)));
        else
            snprintf(cell, sizeof cell, "%s", affect_json_name(n));
        append_cell(text, format, cell, first);
    }
    for (size_t k = 0; print_column(cell, k, of, architecture); k++, first = false)
        append_cell(text, format, cell, first);
    end_row(text, format);
}

affect_status affect_sweep_table(affect_buffer *text, const affect_json *report, const char *format,
                                 affect_error *err) {
    static const char *const formats[] = {"csv", "md", "latex"};
    size_t f = 0;
    while (f < 3 && strcmp(formats[f], format) != 0) f++;
    if (f == 3)
        return affect_fail(err, INVALID, "format \"%.20s\" (need csv, md or latex)", format);
    table_format as = (table_format)f;
    const affect_json *points = affect_json_get(report, "points");
    const affect_json *names = affect_json_get(affect_json_first(points), "parameters");
    const char *statement = affect_json_get_string(report, "statement", "");
    size_t n_columns = affect_json_size(names) + 13;
    if (as == MARKDOWN) {
        append_markdown(text, statement);
        affect_buffer_append_string(text, "\n\n");
    }
    if (as == LATEX) {
        affect_buffer_append_string(text, "% ");
        append_latex(text, statement);
        affect_buffer_append_string(text, "\n\\begin{tabular}{");
        for (size_t k = 0; k < n_columns; k++) affect_buffer_append(text, "l", 1);
        affect_buffer_append_string(text, "}\n\\hline\n");
    }
    append_row(text, as, names, NULL, NULL);
    if (as == LATEX) affect_buffer_append_string(text, "\\hline\n");
    if (as == MARKDOWN) {
        for (size_t k = 0; k < n_columns; k++) affect_buffer_append_string(text, "|---");
        affect_buffer_append_string(text, "|\n");
    }
    for (const affect_json *point = affect_json_first(points); point;
         point = affect_json_next(point))
        for (const affect_json *of = affect_json_first(affect_json_get(point, "splits")); of;
             of = affect_json_next(of))
            if (affect_json_is_object(of)) append_row(text, as, names, point, of);
    if (as == LATEX) affect_buffer_append_string(text, "\\hline\n\\end{tabular}\n");
    return text->failed ? affect_fail(err, NO_MEMORY, "no memory for a table") : AFFECT_STATUS_OK;
}
