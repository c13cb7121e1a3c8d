/* Lists in a query; see query_list.h. Commas become the ends of the items. */
#include "api/handlers/query_list.h"

#include <stdlib.h>
#include <string.h>

affect_status api_query_list(char **text, const char **items, size_t *n, const char *name,
                             const char *value, size_t least, size_t most, affect_error *err) {
    *n = 0;
    *text = strdup(value ? value : "");
    if (!*text) return affect_fail(err, NO_MEMORY, "no memory for query %s", name);
    for (char *rest = **text ? *text : NULL, *item; (item = strsep(&rest, ","));) {
        if (!*item) return affect_fail(err, INVALID, "query %s: an item is empty", name);
        if (*n == most) return affect_fail(err, INVALID, "query %s: more than %zu", name, most);
        items[(*n)++] = item;
    }
    if (*n >= least) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "query %s: %zu items (need %zu to %zu, joined by commas)",
                       name, *n, least, most);
}
