/* What was wrong in the data, named: file, line, reason. All are counted, the first are kept.
 *
 * Belongs to one thread; workers fill lists of their own, which are joined in a fixed order, so
 * that a report does not depend on the number of threads. */
#ifndef AFFECT_CORPUS_ISSUES_H
#define AFFECT_CORPUS_ISSUES_H

#include "engine/core/json.h"

#include <stddef.h>
#include <stdint.h>

#define AFFECT_ISSUES_KEPT 1000

typedef struct {
    affect_json *rows; /* owned: [{"file", "line", "reason"}], at most AFFECT_ISSUES_KEPT */
    uint64_t n_kept, n_all;
} affect_issues;

/* line 0: the file as a whole. Accepts a zero-initialised list. Without memory only counts. */
void affect_issues_add(affect_issues *issues, const char *file, uint64_t line, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));
/* Appends `more` and counts it. Borrows `more`. */
void affect_issues_join(affect_issues *issues, const affect_json *more, uint64_t n_more);
void affect_issues_free(affect_issues *issues);

#endif
