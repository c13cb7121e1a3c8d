/* Memory of this process; see memory.h. */
#include "engine/core/memory.h"

#include "engine/core/cgroup.h"
#include "engine/core/file.h"

#include <stdint.h>

size_t affect_memory_available(void) {
    size_t kib = affect_file_find_number("/proc/meminfo", "MemAvailable:");
    size_t available = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
    size_t left = affect_cgroup_memory_left("");
    return left < available ? left : available;
}

size_t affect_memory_anonymous(void) {
    size_t kib = affect_file_find_number("/proc/self/status", "RssAnon:");
    return kib == SIZE_MAX ? 0 : kib * 1024;
}
