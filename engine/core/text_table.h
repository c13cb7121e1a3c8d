/* Tables for people and papers: CSV, Markdown (GitHub's) and LaTeX (a tabular, no package needed).
 *
 *   affect_text_table table;
 *   static const char *const names[] = {"model", "accuracy", NULL};
 *   affect_text_table_begin(&table, &buffer, AFFECT_TEXT_TABLE_MARKDOWN, names);
 *   affect_text_table_text(&table, "wide | deep");
 *   affect_text_table_number(&table, 0.71, 4);
 *   affect_text_table_end(&table);
 *
 * Cells come row by row, as many as there are names. Text is escaped for the format: in CSV by
 * affect_buffer_append_csv, in Markdown and LaTeX so that it shows as it is and can neither end its
 * cell nor begin a command, a link or HTML. */
#ifndef AFFECT_CORE_TEXT_TABLE_H
#define AFFECT_CORE_TEXT_TABLE_H

#include "engine/core/buffer.h"

typedef enum {
    AFFECT_TEXT_TABLE_CSV,
    AFFECT_TEXT_TABLE_MARKDOWN,
    AFFECT_TEXT_TABLE_LATEX,
    AFFECT_TEXT_TABLE_COUNT
} affect_text_table_format;

typedef struct {
    affect_buffer *buffer; /* borrowed */
    affect_text_table_format format;
    size_t n_columns, column;
} affect_text_table;

/* names end with NULL; at least one. */
void affect_text_table_begin(affect_text_table *table, affect_buffer *buffer,
                             affect_text_table_format format, const char *const *names);
void affect_text_table_text(affect_text_table *table, const char *text);
/* With `decimals` digits behind the point; in CSV with all that tell doubles apart. Not finite: an
 * empty cell in CSV, else a dash. */
void affect_text_table_number(affect_text_table *table, double number, int decimals);
void affect_text_table_end(affect_text_table *table);
/* Appends text as a cell would have it: for sentences beside a table. */
void affect_text_table_escape(affect_buffer *buffer, affect_text_table_format format,
                              const char *text);

#endif
