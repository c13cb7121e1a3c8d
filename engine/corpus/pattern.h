/* Regular expressions of users over names of files. The one home of PCRE2.
 *
 * Perl's syntax, UTF-8. Matching is bounded (steps, depth and heap), so that no expression keeps a
 * worker busy for ever; only workers and the command line compile one, never the server. Named
 * groups are what is read out of a name. Belongs to one thread. */
#ifndef AFFECT_CORPUS_PATTERN_H
#define AFFECT_CORPUS_PATTERN_H

#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_PATTERN_MAX_BYTES 1000 /* of an expression */
#define AFFECT_PATTERN_MAX_GROUP 1000 /* bytes of what a group matched; more is cut off */

typedef struct affect_pattern affect_pattern;

/* INVALID with PCRE2's message and the offset when it is no expression. */
affect_status affect_pattern_create(affect_pattern **pattern, const char *expression,
                                    affect_error *err);
void affect_pattern_free(affect_pattern *pattern);

/* Whether text matches. INVALID when that takes more steps or memory than are allowed. */
affect_status affect_pattern_match(bool *matches, affect_pattern *pattern, const char *text,
                                   affect_error *err);
/* The named groups, by index, and what each matched last: "" where it took no part. Borrowed until
 * the next match. */
size_t affect_pattern_n_groups(const affect_pattern *pattern);
const char *affect_pattern_group_name(const affect_pattern *pattern, size_t index);
const char *affect_pattern_group(affect_pattern *pattern, size_t index);

#endif
