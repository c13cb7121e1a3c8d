/* Memory of this process; see memory.h. */
#include "engine/core/memory.h"

#include "engine/core/file.h"

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

/* One version of control groups: where its tree is mounted and what its files are called. */
typedef struct {
    const char *line; /* of /proc/self/cgroup, up to the group's path */
    const char *root, *limit, *usage, *cache;
} version;

static const version versions[] = {
    {"0::/", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "},
    {":memory:/", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file "},
};

static size_t left_in(const version *v, const char *group) {
    char path[AFFECT_PATH_MAX];
    size_t limit = SIZE_MAX, usage = SIZE_MAX, cache = SIZE_MAX;
    if (affect_path_join(path, NULL, v->root, "%s/%s", group, v->limit) == AFFECT_STATUS_OK)
        limit = affect_memory_read_number(path, "");
    if (affect_path_join(path, NULL, v->root, "%s/%s", group, v->usage) == AFFECT_STATUS_OK)
        usage = affect_memory_read_number(path, "");
    if (affect_path_join(path, NULL, v->root, "%s/memory.stat", group) == AFFECT_STATUS_OK)
        cache = affect_memory_read_number(path, v->cache);
    if (limit == SIZE_MAX || usage == SIZE_MAX) return SIZE_MAX; /* "max" */
    if (cache != SIZE_MAX && cache < usage) usage -= cache;
    return limit > usage ? limit - usage : 0;
}

/* The least that the group of this line and those above it leave. */
static size_t left_in_groups(const version *v, const char *line) {
    char group[AFFECT_PATH_MAX];
    size_t left = SIZE_MAX;
    const char *at = strstr(line, v->line);
    if (!at) return SIZE_MAX;
    at += strlen(v->line) - 1;
    snprintf(group, sizeof group, "%.*s", (int)strcspn(at, "\n"), at);
    for (;;) {
        size_t here = left_in(v, group);
        if (here < left) left = here;
        char *slash = strrchr(group, '/');
        if (!slash || !group[1]) return left;
        slash[slash == group] = '\0'; /* "/a" becomes "/" */
    }
}

/* The least of all groups that this process is in. */
static size_t left_in_all(void) {
    char line[AFFECT_PATH_MAX];
    size_t left = SIZE_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
            size_t here = left_in_groups(&versions[i], line);
            if (here < left) left = here;
        }
    if (file) fclose(file);
    return left;
}

size_t affect_memory_available(void) {
    size_t kib = affect_memory_read_number("/proc/meminfo", "MemAvailable:");
    size_t available = kib == SIZE_MAX ? SIZE_MAX : kib * 1024, left = left_in_all();
    return left < available ? left : available;
}

size_t affect_memory_anonymous(void) {
    size_t kib = affect_memory_read_number("/proc/self/status", "RssAnon:");
    return kib == SIZE_MAX ? 0 : kib * 1024;
}
