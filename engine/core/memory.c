/* Memory of this process; see memory.h. */
#include "engine/core/memory.h"

#include "engine/core/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t affect_memory_read_number(const char *path, const char *name) {
    char line[256];
    size_t number = SIZE_MAX, length = strlen(name);
    FILE *file = fopen(path, "re");
    if (!file) return SIZE_MAX;
    while (number == SIZE_MAX && fgets(line, sizeof line, file)) {
        char *end = NULL;
        if (strncmp(line, name, length) != 0) continue;
        unsigned long long value = strtoull(line + length, &end, 10);
        if (end != line + length) number = value;
    }
    fclose(file);
    return number;
}

size_t affect_memory_available(void) {
    size_t kib = affect_memory_read_number("/proc/meminfo", "MemAvailable:");
    size_t available = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
    size_t left = affect_cgroup_memory_left("");
    return left < available ? left : available;
}

size_t affect_memory_anonymous(void) {
    size_t kib = affect_memory_read_number("/proc/self/status", "RssAnon:");
    return kib == SIZE_MAX ? 0 : kib * 1024;
}
