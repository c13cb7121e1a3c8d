/* Archives: within small limits, every entry selected; nothing lands outside the folder, and no
 * more than the limits allow. */
#include "engine/corpus/archive.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* No leading slash, no part that is empty, "." or "..". */
static bool is_clean(const char *name) {
    for (const char *part = name;; part += strcspn(part, "/") + 1) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n <= 2 && strspn(part, ".") >= n)) return false;
        if (!part[n]) return true;
    }
}

static bool select_all(void *context, const char *name, char path[AFFECT_PATH_MAX]) {
    FUZZ_CHECK(is_clean(name));
    snprintf(path, AFFECT_PATH_MAX, "folder/%u", ++*(unsigned *)context);
    return *(unsigned *)context % 5 != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64], staging[AFFECT_PATH_MAX];
    unsigned n_selected = 0;
    affect_archive_counts counts = {0};
    affect_archive_limits limits = affect_archive_limits_default();
    limits.entries = 32;
    limits.file_bytes = 1 << 18;
    limits.total_bytes = limits.read_bytes = 1 << 20;
    const affect_archive_callbacks callbacks = {.context = &n_selected, .select = select_all};
    FUZZ_CHECK(affect_path_join(staging, NULL, fuzz_folder(), "staging") == AFFECT_STATUS_OK);
    FUZZ_CHECK(affect_directory_make(staging, NULL) == AFFECT_STATUS_OK);
    int fd = fuzz_file(path, data, size);
    affect_archive_unpack(&counts, path, staging, &limits, &callbacks, NULL);
    close(fd);
    FUZZ_CHECK(counts.n_files <= limits.entries);
    FUZZ_CHECK(counts.n_bytes <= limits.total_bytes + (1 << 18));
    FUZZ_CHECK(affect_directory_remove(staging, NULL) == AFFECT_STATUS_OK);
    return 0;
}
