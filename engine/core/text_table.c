/* Tables as text; see text_table.h. A cell is written with what separates it from the one before;
 * the last of a row is followed by the row's end, so that nothing is kept but the column. */
#include "engine/core/text_table.h"

#include <math.h>
#include <string.h>

/* Markdown takes a backslash before any ASCII punctuation (CommonMark 2.4). */
static void escape_markdown(affect_buffer *buffer, const char *text) {
    for (const char *c = text; *c; c++) {
        if (strchr("\\|`*_[]<>#~&!$", *c)) affect_buffer_append(buffer, "\\", 1);
        affect_buffer_append(buffer, (unsigned char)*c < ' ' ? " " : c, 1);
    }
}

static void escape_latex(affect_buffer *buffer, const char *text) {
    static const char *const commands[][2] = {
        {"\\", "\\textbackslash{}"}, {"^", "\\textasciicircum{}"}, {"~", "\\textasciitilde{}"},
        {"<", "\\textless{}"},       {">", "\\textgreater{}"},     {"|", "\\textbar{}"},
        {"\"", "\\textquotedbl{}"}};
    for (const char *c = text; *c; c++) {
        size_t k = 0;
        while (k < sizeof commands / sizeof *commands && *commands[k][0] != *c) k++;
        if (k < sizeof commands / sizeof *commands) {
            affect_buffer_append_string(buffer, commands[k][1]);
            continue;
        }
        if (strchr("{}$&#%_", *c)) affect_buffer_append(buffer, "\\", 1);
        affect_buffer_append(buffer, (unsigned char)*c < ' ' ? " " : c, 1);
    }
}

void affect_text_table_escape(affect_buffer *buffer, affect_text_table_format format,
                              const char *text) {
    if (format == AFFECT_TEXT_TABLE_CSV)
        affect_buffer_append_csv(buffer, text);
    else if (format == AFFECT_TEXT_TABLE_MARKDOWN)
        escape_markdown(buffer, text);
    else
        escape_latex(buffer, text);
}

static void begin_cell(affect_text_table *table) {
    static const char *const first[] = {"", "| ", ""}, *const next[] = {",", " | ", " & "};
    affect_buffer_append_string(table->buffer, (table->column ? next : first)[(int)table->format]);
}

static void end_cell(affect_text_table *table) {
    static const char *const ends[] = {"\n", " |\n", " \\\\\n"};
    if (++table->column < table->n_columns) return;
    table->column = 0;
    affect_buffer_append_string(table->buffer, ends[table->format]);
}

void affect_text_table_text(affect_text_table *table, const char *text) {
    begin_cell(table);
    affect_text_table_escape(table->buffer, table->format, text);
    end_cell(table);
}

void affect_text_table_number(affect_text_table *table, double number, int decimals) {
    begin_cell(table);
    if (!isfinite(number))
        affect_buffer_append_string(table->buffer,
                                    table->format == AFFECT_TEXT_TABLE_CSV ? "" : "-");
    else if (table->format == AFFECT_TEXT_TABLE_CSV)
        affect_buffer_printf(table->buffer, "%.17g", number);
    else
        affect_buffer_printf(table->buffer, "%.*f", decimals, number);
    end_cell(table);
}

void affect_text_table_begin(affect_text_table *table, affect_buffer *buffer,
                             affect_text_table_format format, const char *const *names) {
    *table = (affect_text_table){.buffer = buffer, .format = format};
    while (names[table->n_columns]) table->n_columns++;
    if (format == AFFECT_TEXT_TABLE_LATEX) {
        affect_buffer_append_string(buffer, "\\begin{tabular}{");
        for (size_t i = 0; i < table->n_columns; i++) affect_buffer_append(buffer, "l", 1);
        affect_buffer_append_string(buffer, "}\n\\hline\n");
    }
    for (size_t i = 0; i < table->n_columns; i++) affect_text_table_text(table, names[i]);
    if (format == AFFECT_TEXT_TABLE_LATEX) affect_buffer_append_string(buffer, "\\hline\n");
    if (format != AFFECT_TEXT_TABLE_MARKDOWN) return;
    for (size_t i = 0; i < table->n_columns; i++) affect_buffer_append_string(buffer, "|---");
    affect_buffer_append_string(buffer, "|\n");
}

void affect_text_table_end(affect_text_table *table) {
    if (table->format == AFFECT_TEXT_TABLE_LATEX)
        affect_buffer_append_string(table->buffer, "\\hline\n\\end{tabular}\n");
}
