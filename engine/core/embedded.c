/* Look-up in the table of embedded files; see embedded.h. */
#include "engine/core/embedded.h"

#include <stdio.h>
#include <string.h>

const affect_embedded_file *affect_embedded_find(const char *name) {
    for (const affect_embedded_file *file = affect_embedded_files; file->name; file++)
        if (strcmp(file->name, name) == 0) return file;
    return NULL;
}

bool affect_embedded_preset_name(char name[64], const char *folder, size_t i) {
    size_t before = strlen(folder), around = before + strlen("/.json");
    for (const affect_embedded_file *file = affect_embedded_files; file->name; file++) {
        if (strncmp(file->name, folder, before) != 0 || file->name[before] != '/' || i-- > 0)
            continue;
        snprintf(name, 64, "%.*s", (int)(strlen(file->name) - around), file->name + before + 1);
        return true;
    }
    return false;
}

const affect_embedded_file *affect_embedded_preset(const char *folder, const char *name,
                                                   char *known, size_t size) {
    char path[160], other[64];
    int length = snprintf(path, sizeof path, "%s/%s.json", folder, name);
    const affect_embedded_file *file =
        length < (int)sizeof path ? affect_embedded_find(path) : NULL;
    if (file) return file;
    size_t used = 0;
    *known = '\0';
    for (size_t i = 0; used < size && affect_embedded_preset_name(other, folder, i); i++)
        used += (size_t)snprintf(known + used, size - used, "%s%s", i ? ", " : "", other);
    return NULL;
}
