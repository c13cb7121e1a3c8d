/* Files: whole and atomic writes that leave no litter, maps, folders, locks, odd kinds of files. */
#include "tests/engine/core/scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void check_content(const char *path, const char *want) {
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(affect_file_read(&data, &size, path, 1 << 20, err));
    CHECK(size == strlen(want));
    CHECK_STRING(data, want);
    free(data);
}

static void test_write_and_read(void) {
    struct stat info;
    CHECK_OK(affect_file_write(scratch_path("a"), "first", 5, err));
    check_content(scratch_path("a"), "first");
    CHECK_OK(affect_file_write(scratch_path("a"), "", 0, err));
    check_content(scratch_path("a"), "");
    CHECK(stat(scratch_path("a"), &info) == 0 && (info.st_mode & 0777) == 0644);
    CHECK(count_files(scratch) == 1);
    CHECK_OK(affect_file_write(scratch_path("a"), "12345", 5, err));
    char *data = NULL;
    size_t size = 0;
    CHECK(affect_file_read(&data, &size, scratch_path("a"), 4, NULL) == AFFECT_STATUS_TOO_LARGE);
    CHECK(affect_file_read(&data, &size, scratch_path("b"), 4, NULL) == AFFECT_STATUS_NOT_FOUND);
    CHECK(affect_file_read(&data, &size, scratch, 4, NULL) == AFFECT_STATUS_INVALID);
    CHECK(data == NULL);
}

static void test_a_writer_in_pieces(void) {
    affect_file_writer *writer = NULL;
    const char *path = scratch_path("pieces");
    static char big[200000], want[262144];
    memset(big, 'b', sizeof big);
    CHECK_OK(affect_file_writer_open(&writer, path, err));
    for (int i = 0; i < 20000; i++) affect_file_writer_append(writer, "ab", 2);
    affect_file_writer_append(writer, big, sizeof big);
    affect_file_writer_append(writer, "end", 3);
    CHECK(!affect_file_exists(path)); /* nothing under its name before the commit */
    CHECK_OK(affect_file_writer_commit(writer, err));
    affect_file_writer_free(writer);
    for (int i = 0; i < 20000; i++) memcpy(want + 2 * i, "ab", 2);
    memcpy(want + 40000, big, sizeof big);
    strcpy(want + 240000, "end");
    check_content(path, want);
}

static void test_what_is_not_committed_is_gone(void) {
    int n = count_files(scratch);
    CHECK_OK(affect_file_write(scratch_path("kept"), "old", 3, err));
    affect_file_writer *writer = NULL;
    CHECK_OK(affect_file_writer_open(&writer, scratch_path("kept"), err));
    affect_file_writer_append(writer, "new", 3);
    CHECK(count_files(scratch) == n + 2);
    affect_file_writer_free(writer);
    CHECK(count_files(scratch) == n + 1);
    check_content(scratch_path("kept"), "old");
}

static void test_failures_leave_nothing(void) {
    int n = count_files(scratch);
    CHECK(affect_file_write(scratch_path("no/such/folder"), "x", 1, NULL) ==
          AFFECT_STATUS_NOT_FOUND);
    CHECK_OK(affect_directory_make(scratch_path("folder/inside"), err));
    affect_error error = {0};
    CHECK(affect_file_write(scratch_path("folder"), "x", 1, &error) != AFFECT_STATUS_OK);
    CHECK(error.message[0] && count_files(scratch) == n + 1);
    CHECK_OK(affect_directory_remove(scratch_path("folder"), err));
}

static void test_maps(void) {
    affect_file_map map;
    CHECK_OK(affect_file_write(scratch_path("map"), "mapped", 6, err));
    CHECK_OK(affect_file_map_open(&map, scratch_path("map"), err));
    CHECK_OK(affect_file_write(scratch_path("map"), "replaced", 8, err));
    CHECK(map.size == 6 && memcmp(map.data, "mapped", 6) == 0); /* the old file lives on */
    affect_file_map_close(&map);
    CHECK_OK(affect_file_write(scratch_path("map"), "", 0, err));
    CHECK_OK(affect_file_map_open(&map, scratch_path("map"), err));
    CHECK(map.size == 0 && map.data != NULL);
    affect_file_map_close(&map);
    CHECK(affect_file_map_open(&map, "/dev/null", NULL) == AFFECT_STATUS_INVALID);
    CHECK(mkfifo(scratch_path("pipe"), 0600) == 0); /* opening it must not wait for a writer */
    CHECK(affect_file_map_open(&map, scratch_path("pipe"), NULL) == AFFECT_STATUS_INVALID);
}

static void test_folders(void) {
    CHECK_OK(affect_directory_make(scratch_path("d/e/f"), err));
    CHECK_OK(affect_directory_make(scratch_path("d/e/f"), err));
    CHECK_OK(affect_file_write(scratch_path("outside"), "kept", 4, err));
    CHECK_OK(affect_file_write(scratch_path("d/e/f/g"), "x", 1, err));
    CHECK(affect_directory_make(scratch_path("d/e/f/g/h"), NULL) != AFFECT_STATUS_OK);
    CHECK(symlink(scratch, scratch_path("d/link")) == 0);
    CHECK(symlink("../../outside", scratch_path("d/e/link")) == 0);
    CHECK_OK(affect_directory_remove(scratch_path("d"), err));
    CHECK(!affect_file_exists(scratch_path("d")));
    check_content(scratch_path("outside"), "kept");
    CHECK_OK(affect_directory_remove(scratch_path("d"), err));
}

static void test_paths(void) {
    char path[AFFECT_PATH_MAX], name[2 * AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, "a", "%s-%d", "b", 7));
    CHECK_STRING(path, "a/b-7");
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK(affect_path_join(path, NULL, "a", "%s", name) == AFFECT_STATUS_INVALID);
    name[AFFECT_PATH_MAX - 3] = '\0'; /* "a/" and 1021 more: 1023 bytes, the longest */
    CHECK_OK(affect_path_join(path, err, "a", "%s", name));
    CHECK(strlen(path) == AFFECT_PATH_MAX - 1);
    CHECK(affect_path_join(path, NULL, "ab", "%s", name) == AFFECT_STATUS_INVALID);
}

static void test_locks(void) {
    int fd = -1, second = -1;
    CHECK_OK(affect_file_lock(&fd, scratch_path("lock"), err));
    pid_t child = fork();
    if (child == 0)
        _exit(affect_file_lock(&second, scratch_path("lock"), NULL) == AFFECT_STATUS_CONFLICT);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 1);
    close(fd);
    CHECK_OK(affect_file_lock(&fd, scratch_path("lock"), err));
    close(fd);
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_write_and_read);
    TEST_RUN(test_a_writer_in_pieces);
    TEST_RUN(test_what_is_not_committed_is_gone);
    TEST_RUN(test_failures_leave_nothing);
    TEST_RUN(test_maps);
    TEST_RUN(test_folders);
    TEST_RUN(test_paths);
    TEST_RUN(test_locks);
    scratch_end();
    return TEST_END();
}
