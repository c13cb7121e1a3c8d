/* Lists in a query: "jobs=A,B". */
#ifndef AFFECT_HANDLERS_QUERY_LIST_H
#define AFFECT_HANDLERS_QUERY_LIST_H

#include "engine/core/status.h"

#include <stddef.h>

/* Items between commas, in one piece of memory that *text owns (free it, whatever is returned).
 * INVALID when an item is empty or there are not least..most of them; no query is an empty list.
 * `items` has room for `most`. */
affect_status api_query_list(char **text, const char **items, size_t *n, const char *name,
                             const char *value, size_t least, size_t most, affect_error *err);

#endif
