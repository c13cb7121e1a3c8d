/* A disk that fills up in the middle of a write: NO_SPACE, the old content stays, nothing is left
 * over. On a tmpfs of 64 KiB in a mount namespace of our own: skipped where that is not allowed. */
#include "tests/engine/core/scratch.h"

#include <sched.h>
#include <sys/mount.h>

static char data[1 << 20];

static void test_full_disk(void) {
    affect_error error = {0};
    const char *path = scratch_path("file");
    CHECK_OK(affect_file_write(path, "old", 3, err));
    CHECK(affect_file_write(path, data, sizeof data, &error) == AFFECT_STATUS_NO_SPACE);
    CHECK(strstr(error.message, path) != NULL);
    char *content = NULL;
    size_t size = 0;
    CHECK_OK(affect_file_read(&content, &size, path, 100, err));
    CHECK_STRING(content, "old");
    free(content);
    CHECK(count_files(scratch) == 1);
    CHECK_OK(affect_file_write(path, data, 1000, err)); /* there is room again */
}

/* Many small appends, as a safetensors file is written: the first failure sticks. */
static void test_full_in_pieces(void) {
    affect_file_writer *writer = NULL;
    CHECK_OK(affect_file_writer_open(&writer, scratch_path("pieces"), err));
    for (size_t i = 0; i < sizeof data; i += 512) affect_file_writer_append(writer, data, 512);
    CHECK(affect_file_writer_commit(writer, NULL) == AFFECT_STATUS_NO_SPACE);
    affect_file_writer_free(writer);
    CHECK(!affect_file_exists(scratch_path("pieces")) && count_files(scratch) == 1);
}

int main(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        TEST_SKIP("a mount namespace of our own needs root");
    scratch_begin();
    if (mount("tmpfs", scratch, "tmpfs", 0, "size=64k") != 0) {
        scratch_end();
        TEST_SKIP("no tmpfs may be mounted here");
    }
    TEST_RUN(test_full_disk);
    TEST_RUN(test_full_in_pieces);
    umount(scratch);
    scratch_end();
    return TEST_END();
}
