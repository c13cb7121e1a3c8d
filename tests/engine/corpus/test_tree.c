/* Reading beneath a root, with openat2 and without it. Includes the source: the second way is
 * static.
 */
#include "engine/core/file.h"
#include "engine/corpus/tree.c"
#include "tests/test.h"

static char folder[] = "/tmp/test_tree_XXXXXX";
static affect_tree *tree;

static void write_file(const char *name, const char *text) {
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, folder, "%s", name));
    CHECK_OK(affect_file_write(path, text, strlen(text), err));
}

static void make_link(const char *target, const char *name) {
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, folder, "%s", name));
    CHECK(symlink(target, path) == 0);
}

static void make_everything(void) {
    char path[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, folder, "root/a/b"));
    CHECK_OK(affect_directory_make(path, err));
    write_file("secret", "secret");
    write_file("root/z", "last");
    write_file("root/a/b/file", "inside");
    write_file("root/.DS_Store", "x");
    write_file("root/._z", "x");
    make_link("a/b/file", "root/link_inside");
    make_link("../secret", "root/link_outside");
    make_link("/etc", "root/link_absolute");
    make_link("a", "root/link_folder");
    CHECK_OK(affect_path_join(path, err, folder, "root/pipe"));
    CHECK(mkfifo(path, 0600) == 0);
    CHECK_OK(affect_path_join(path, err, folder, "root"));
    CHECK_OK(affect_tree_open(&tree, path, NULL, err));
}

static void test_list(void) {
    static const char *const want[] = {
        "a", "link_absolute", "link_folder", "link_inside", "link_outside", "pipe", "z"};
    char **names = NULL;
    size_t n = 0;
    CHECK_OK(affect_tree_list(&names, &n, tree, ".", err));
    CHECK(n == sizeof want / sizeof *want);
    for (size_t i = 0; i < n && i < sizeof want / sizeof *want; i++)
        CHECK_STRING(names[i], want[i]);
    affect_tree_names_free(names, n);
    CHECK_OK(affect_tree_list(&names, &n, tree, "absent", err));
    CHECK(n == 0 && names == NULL);
    CHECK_OK(affect_tree_list(&names, &n, tree, "z", err)); /* a file has no names either */
    CHECK(n == 0);
}

static void test_read(void) {
    char *data = NULL;
    size_t size = 0;
    affect_error failure = {0};
    CHECK_OK(affect_tree_read(&data, &size, tree, "a/b/file", 6, err));
    CHECK(size == 6);
    CHECK_STRING(data, "inside");
    free(data);
    CHECK(affect_tree_read(&data, &size, tree, "a/b/file", 5, &failure) == AFFECT_STATUS_TOO_LARGE);
    CHECK(affect_tree_read(&data, &size, tree, "a/b/none", 5, &failure) == AFFECT_STATUS_NOT_FOUND);
    CHECK(affect_tree_has_file(tree, "z") && !affect_tree_has_file(tree, "a"));
}

static void test_what_leads_out(void) {
    static const char *const names[] = {"../secret", "a/../../secret", "link_outside",
                                        "link_absolute/passwd", "/etc/passwd"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        affect_error failure = {0};
        int fd = -1;
        CHECK(affect_tree_open_file(&fd, NULL, tree, names[i], &failure) != AFFECT_STATUS_OK);
        CHECK(open_walking(tree->fd, names[i], O_RDONLY | O_CLOEXEC) < 0);
    }
}

static void test_what_is_no_file(void) {
    affect_error failure = {0};
    int fd = -1;
    CHECK(affect_tree_open_file(&fd, NULL, tree, "pipe", &failure) == AFFECT_STATUS_INVALID);
    CHECK(affect_tree_open_file(&fd, NULL, tree, "a", &failure) == AFFECT_STATUS_INVALID);
    CHECK(strstr(failure.message, "regular") != NULL);
}

/* openat2 follows links that stay inside, the walk follows none; both open what is plain. */
static void test_links_inside(void) {
    int fd = open_walking(tree->fd, "a/b/file", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    close(fd);
    fd = open_walking(tree->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    close(fd);
    CHECK(open_walking(tree->fd, "link_inside", O_RDONLY | O_CLOEXEC) < 0);
    CHECK(open_walking(tree->fd, "link_folder/b/file", O_RDONLY | O_CLOEXEC) < 0);
    CHECK(open_walking(tree->fd, "a//b", O_RDONLY | O_CLOEXEC) < 0);
    struct open_how how = {.flags = O_RDONLY};
    fd = (int)syscall(SYS_openat2, tree->fd, "z", &how, sizeof how);
    if (fd < 0) {
        fprintf(stderr, "  (no openat2 here: links inside are not followed)\n");
        return;
    }
    close(fd);
    CHECK(affect_tree_has_file(tree, "link_inside"));
    CHECK(affect_tree_has_file(tree, "link_folder/b/file"));
}

static void test_links_are_told(void) {
    CHECK(affect_tree_is_link(tree, "link_inside") && affect_tree_is_link(tree, "link_folder"));
    CHECK(affect_tree_is_link(tree, "link_absolute") && affect_tree_is_link(tree, "link_outside"));
    CHECK(!affect_tree_is_link(tree, "a") && !affect_tree_is_link(tree, "z"));
    CHECK(!affect_tree_is_link(tree, "absent") && !affect_tree_is_link(tree, "../secret"));
}

static void test_below(void) {
    affect_tree *below = NULL;
    affect_error failure = {0};
    CHECK_OK(affect_tree_open_below(&below, tree, "a", err));
    CHECK(affect_tree_has_file(below, "b/file") && !affect_tree_has_file(below, "../z"));
    affect_tree_close(below);
    CHECK(affect_tree_open_below(&below, tree, "link_absolute", &failure) != AFFECT_STATUS_OK);
    CHECK(affect_tree_open(&below, "/nowhere", NULL, &failure) == AFFECT_STATUS_NOT_FOUND);
    CHECK(affect_tree_open(&below, "/etc/passwd", NULL, &failure) == AFFECT_STATUS_INVALID);
}

/* A folder below the root, as a client names it: no link at all, and a sentence. */
static void test_open_below_a_root(void) {
    static const struct {
        const char *name, *text;
    } refused[] = {{"..", "leads out of the folder"},
                   {"a/../..", "leads out of the folder"},
                   {"/etc", "leads out of the folder"},
                   {"link_folder", "link_folder"},
                   {"link_absolute", "link_absolute"},
                   {"z", "not a folder"},
                   {"none", "No such file"}};
    char root[AFFECT_PATH_MAX];
    affect_tree *below = NULL;
    CHECK_OK(affect_path_join(root, err, folder, "root"));
    CHECK_OK(affect_tree_open(&below, root, "a/b", err));
    CHECK(affect_tree_has_file(below, "file"));
    affect_tree_close(below);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        affect_error failure = {0};
        CHECK(affect_tree_open(&below, root, refused[i].name, &failure) != AFFECT_STATUS_OK);
        CHECK(strstr(failure.message, refused[i].text) != NULL);
        CHECK(strstr(failure.message, "cross-device") == NULL);
        CHECK(open_walking(tree->fd, refused[i].name, O_RDONLY | O_DIRECTORY) < 0);
    }
}

static void test_large_files(void) {
    affect_error failure = {0};
    affect_tree *below = NULL;
    CHECK(affect_tree_has_file(tree, "a/b/file")); /* 6 bytes */
    affect_tree_limit_files(tree, 5);
    CHECK_OK(affect_tree_open_below(&below, tree, "a", err));
    int fd = -1;
    CHECK(affect_tree_open_file(&fd, NULL, below, "b/file", &failure) == AFFECT_STATUS_TOO_LARGE);
    affect_tree_limit_files(tree, 6);
    CHECK(affect_tree_has_file(tree, "a/b/file"));
    affect_tree_close(below);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    make_everything();
    TEST_RUN(test_list);
    TEST_RUN(test_read);
    TEST_RUN(test_what_leads_out);
    TEST_RUN(test_what_is_no_file);
    TEST_RUN(test_links_inside);
    TEST_RUN(test_links_are_told);
    TEST_RUN(test_below);
    TEST_RUN(test_open_below_a_root);
    TEST_RUN(test_large_files);
    affect_tree_close(tree);
    affect_directory_remove(folder, NULL);
    return TEST_END();
}
