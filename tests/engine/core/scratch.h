/* A folder of a test's own, gone at its end; what lies in it. */
#ifndef AFFECT_TESTS_CORE_SCRATCH_H
#define AFFECT_TESTS_CORE_SCRATCH_H

#include "engine/core/file.h"
#include "tests/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch[AFFECT_PATH_MAX];

static inline void scratch_begin(void) {
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/affect-test-XXXXXX", base && *base ? base : "/tmp");
    CHECK(mkdtemp(scratch) != NULL);
}

static inline void scratch_end(void) {
    CHECK_OK(affect_directory_remove(scratch, err));
}

/* A path below it; valid until the fourth call after. */
static inline const char *scratch_path(const char *name) {
    static char paths[4][AFFECT_PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    CHECK_OK(affect_path_join(path, err, scratch, "%s", name));
    return path;
}

/* Files in a folder, "." and ".." apart; -1 when it cannot be read. */
static inline int count_files(const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) return -1;
    int n = 0;
    for (struct dirent *entry; (entry = readdir(directory));) n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

#endif
