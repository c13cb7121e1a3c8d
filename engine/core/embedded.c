/* Look-up in the table of embedded files; see embedded.h. */
#include "engine/core/embedded.h"

#include <string.h>

const affect_embedded_file *affect_embedded_find(const char *name) {
    for (const affect_embedded_file *file = affect_embedded_files; file->name; file++)
        if (strcmp(file->name, name) == 0) return file;
    return NULL;
}
