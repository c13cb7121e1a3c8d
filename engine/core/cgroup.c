/* Control groups; see cgroup.h.
 *
 * /proc/self/cgroup has a line for each hierarchy: "0::/path" of version 2, "4:cpu,cpuacct:/path"
 * of version 1. In a container the path may be that of the host, and then is not below the mount:
 * going up from it ends at the mount's own folder, which is the container's group. */
#include "engine/core/cgroup.h"

#include "engine/core/file.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef void visitor(void *least, int version, const char *folder);

/* Whether the comma-separated list has the controller. */
static bool has_controller(const char *list, const char *end, const char *controller) {
    size_t length = strlen(controller);
    while (list < end) {
        size_t n = strcspn(list, ",:");
        if (n == length && memcmp(list, controller, n) == 0) return true;
        list += n + 1;
    }
    return false;
}

/* The group and those above it, to the mount. */
static void visit_groups(const char *mount, const char *group, int version, visitor *visit,
                         void *least) {
    char path[AFFECT_PATH_MAX], folder[AFFECT_PATH_MAX];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(group, "\n"), group);
    for (;;) {
        if (affect_path_join(folder, NULL, mount, "%s", path) == AFFECT_STATUS_OK)
            visit(least, version, folder);
        char *slash = strrchr(path, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

static void visit_all(const char *root, const char *controller, visitor *visit, void *least) {
    char line[AFFECT_PATH_MAX], mount[AFFECT_PATH_MAX];
    FILE *file = NULL;
    if (affect_path_join(mount, NULL, root, "proc/self/cgroup") == AFFECT_STATUS_OK)
        file = fopen(mount, "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group) continue;
        bool unified = group == list + 1;
        if (!unified && !has_controller(list + 1, group, controller)) continue;
        snprintf(mount, sizeof mount, "%.900s/sys/fs/cgroup%s%s", root, unified ? "" : "/",
                 unified ? "" : controller);
        visit_groups(mount, group + 1, unified ? 2 : 1, visit, least);
    }
    if (file) fclose(file);
}

static size_t number_in(const char *folder, const char *file, const char *name) {
    char path[AFFECT_PATH_MAX];
    if (affect_path_join(path, NULL, folder, "%s", file) != AFFECT_STATUS_OK) return SIZE_MAX;
    return affect_file_find_number(path, name);
}

static void least_memory(void *least, int version, const char *folder) {
    bool unified = version == 2;
    size_t limit = number_in(folder, unified ? "memory.max" : "memory.limit_in_bytes", "");
    size_t usage = number_in(folder, unified ? "memory.current" : "memory.usage_in_bytes", "");
    size_t cache =
        number_in(folder, "memory.stat", unified ? "inactive_file " : "total_inactive_file ");
    if (limit == SIZE_MAX || usage == SIZE_MAX) return; /* "max" */
    if (cache != SIZE_MAX && cache < usage) usage -= cache;
    size_t left = limit > usage ? limit - usage : 0;
    if (left < *(size_t *)least) *(size_t *)least = left;
}

size_t affect_cgroup_memory_left(const char *root) {
    size_t least = SIZE_MAX;
    visit_all(root, "memory", least_memory, &least);
    return least;
}

/* "200000 100000" or "max 100000". */
static bool read_quota(const char *folder, int64_t *quota_us, int64_t *period_us) {
    char path[AFFECT_PATH_MAX];
    if (affect_path_join(path, NULL, folder, "cpu.max") != AFFECT_STATUS_OK) return false;
    FILE *file = fopen(path, "re");
    bool found = file && fscanf(file, "%" SCNd64 " %" SCNd64, quota_us, period_us) == 2;
    if (file) fclose(file);
    return found;
}

static void least_cores(void *least, int version, const char *folder) {
    int64_t quota_us = 0, period_us = 0;
    if (version == 1) {
        size_t quota = number_in(folder, "cpu.cfs_quota_us", ""); /* -1: none */
        size_t period = number_in(folder, "cpu.cfs_period_us", "");
        if (quota > INT64_MAX || period > INT64_MAX) return;
        quota_us = (int64_t)quota;
        period_us = (int64_t)period;
    } else if (!read_quota(folder, &quota_us, &period_us)) {
        return;
    }
    if (quota_us <= 0 || period_us <= 0) return;
    int64_t cores = quota_us / period_us + (quota_us % period_us != 0);
    if (cores < *(int *)least) *(int *)least = (int)cores;
}

int affect_cgroup_n_cores(const char *root) {
    int least = INT_MAX;
    visit_all(root, "cpu", least_cores, &least);
    return least;
}
