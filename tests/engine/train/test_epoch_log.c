/* The log of epochs: replayed in order, across its two files, past half lines and epochs done
 * twice. */
#include "engine/train/epoch_log.h"

#include "engine/core/file.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

static int64_t told[20000], n_told;

static void take(void *context, const affect_json *report) {
    (void)context;
    told[n_told++] = (int64_t)affect_json_get_number(report, "epoch", 0);
}

static void add(const char *folder, int64_t epoch) {
    char pad[200];
    memset(pad, 'x', sizeof pad - 1);
    pad[sizeof pad - 1] = '\0';
    affect_json *report = affect_json_new_object();
    affect_json_set_number(report, "epoch", (double)epoch);
    affect_json_set_string(report, "pad", pad);
    CHECK_OK(affect_epoch_log_append(folder, report, err));
    affect_json_free(report);
}

static int64_t replay(const char *folder, int64_t first, int64_t last) {
    n_told = 0;
    int64_t n = affect_epoch_log_replay(folder, first, last, take, NULL);
    CHECK(n == n_told);
    for (int64_t i = 0; i < n; i++) CHECK(told[i] == first + i);
    return n;
}

int main(void) {
    char folder[] = "/tmp/epoch-log-XXXXXX", path[AFFECT_PATH_MAX];
    CHECK(mkdtemp(folder) != NULL);
    CHECK(replay(folder, 1, 10) == 0);
    for (int64_t e = 1; e <= 5; e++) add(folder, e);
    CHECK(replay(folder, 1, 5) == 5 && replay(folder, 3, 4) == 2 && replay(folder, 6, 9) == 0);
    CHECK_OK(affect_path_join(path, err, folder, AFFECT_EPOCH_LOG));
    FILE *file = fopen(path, "a");
    CHECK(file != NULL);
    fputs("\n{\"epoch\":6,\"pa", file); /* a kill */
    fclose(file);
    for (int64_t e = 5; e <= 7; e++) add(folder, e); /* done again */
    CHECK(replay(folder, 1, 7) == 7);
    for (int64_t e = 8; e <= 12000; e++) add(folder, e);
    CHECK(replay(folder, 11000, 12000) == 1001);
    CHECK(replay(folder, 1, 12000) == 0); /* the oldest are gone */
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
