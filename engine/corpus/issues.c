/* Lists of what was wrong; see issues.h. */
#include "engine/corpus/issues.h"

#include <stdarg.h>
#include <stdio.h>

static affect_json *row_list(affect_issues *issues) {
    if (!issues->rows) issues->rows = affect_json_new_array();
    return issues->n_kept < AFFECT_ISSUES_KEPT ? issues->rows : NULL;
}

void affect_issues_add(affect_issues *issues, const char *file, uint64_t line, const char *format,
                       ...) {
    issues->n_all++;
    affect_json *rows = row_list(issues);
    if (!rows) return;
    char reason[400];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    affect_json *row = affect_json_append(rows, affect_json_new_object());
    affect_json_set_string(row, "file", file);
    affect_json_set_number(row, "line", (double)line);
    affect_json_set_string(row, "reason", reason);
    issues->n_kept++;
}

void affect_issues_join(affect_issues *issues, const affect_json *more, uint64_t n_more) {
    issues->n_all += n_more;
    for (const affect_json *row = affect_json_first(more); row; row = affect_json_next(row)) {
        affect_json *rows = row_list(issues);
        if (!rows) return;
        affect_json_append(rows, affect_json_copy(row));
        issues->n_kept++;
    }
}

void affect_issues_free(affect_issues *issues) {
    affect_json_free(issues->rows);
    *issues = (affect_issues){0};
}
