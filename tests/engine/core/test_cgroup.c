/* Limits of containers, read from made-up trees of /proc and /sys. */
#include "engine/core/cgroup.h"
#include "engine/core/parallel.h"
#include "tests/engine/core/scratch.h"

#include <libgen.h>
#include <limits.h>
#include <stdint.h>

static char tree[AFFECT_PATH_MAX];

/* A file of the tree; `name` without its first slash. */
static void put(const char *name, const char *text) {
    char path[AFFECT_PATH_MAX], folder[AFFECT_PATH_MAX];
    CHECK_OK(affect_path_join(path, err, tree, "%s", name));
    strcpy(folder, path);
    CHECK_OK(affect_directory_make(dirname(folder), err));
    CHECK_OK(affect_file_write(path, text, strlen(text), err));
}

static void begin_tree(const char *name, const char *groups) {
    strcpy(tree, scratch_path(name));
    put("proc/self/cgroup", groups);
}

static void test_version_2(void) {
    begin_tree("v2", "0::/box/inner\n");
    CHECK(affect_cgroup_n_cores(tree) == INT_MAX);
    put("sys/fs/cgroup/box/inner/cpu.max", "max 100000\n");
    CHECK(affect_cgroup_n_cores(tree) == INT_MAX);
    put("sys/fs/cgroup/box/cpu.max", "200000 100000\n"); /* --cpus=2, of the group above */
    CHECK(affect_cgroup_n_cores(tree) == 2);
    put("sys/fs/cgroup/box/inner/cpu.max", "150000 100000\n"); /* rounded up */
    CHECK(affect_cgroup_n_cores(tree) == 2);
    put("sys/fs/cgroup/box/inner/cpu.max", "5000 100000\n");
    CHECK(affect_cgroup_n_cores(tree) == 1);
    put("sys/fs/cgroup/box/inner/cpu.max", "nonsense\n");
    CHECK(affect_cgroup_n_cores(tree) == 2);
    put("sys/fs/cgroup/box/inner/cpu.max", "0 0\n");
    CHECK(affect_cgroup_n_cores(tree) == 2);
}

static void test_version_1(void) {
    begin_tree("v1", "12:memory:/docker/abc\n5:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n");
    CHECK(affect_cgroup_n_cores(tree) == INT_MAX);
    put("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
    CHECK(affect_cgroup_n_cores(tree) == INT_MAX);
    /* In a container the mount is the group itself, whatever path the host has for it. */
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "350000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(affect_cgroup_n_cores(tree) == 4);
    begin_tree("v1-cpuset", "7:cpuset:/a\n8:cpuacct:/a\n"); /* no list has "cpu" */
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    CHECK(affect_cgroup_n_cores(tree) == INT_MAX);
}

static void test_memory(void) {
    begin_tree("memory-v2", "0::/box\n");
    put("sys/fs/cgroup/box/memory.max", "max\n");
    put("sys/fs/cgroup/box/memory.current", "300\n");
    CHECK(affect_cgroup_memory_left(tree) == SIZE_MAX);
    put("sys/fs/cgroup/box/memory.max", "1000\n");
    CHECK(affect_cgroup_memory_left(tree) == 700);
    put("sys/fs/cgroup/box/memory.stat", "anon 200\ninactive_file 100\n");
    CHECK(affect_cgroup_memory_left(tree) == 800);
    put("sys/fs/cgroup/memory.max", "500\n");
    put("sys/fs/cgroup/memory.current", "900\n");
    CHECK(affect_cgroup_memory_left(tree) == 0);
    begin_tree("memory-v1", "3:memory:/a/b\n");
    put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n");
    put("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "400\n");
    put("sys/fs/cgroup/memory/a/memory.stat", "inactive_file 399\ntotal_inactive_file 50\n");
    CHECK(affect_cgroup_memory_left(tree) == 650);
}

static void test_no_groups(void) {
    CHECK(affect_cgroup_n_cores("/nowhere/at/all") == INT_MAX);
    CHECK(affect_cgroup_memory_left("/nowhere/at/all") == SIZE_MAX);
    CHECK(affect_parallel_n_cores() >= 1);
    CHECK(affect_parallel_n_cores() <= affect_cgroup_n_cores(""));
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_version_2);
    TEST_RUN(test_version_1);
    TEST_RUN(test_memory);
    TEST_RUN(test_no_groups);
    scratch_end();
    return TEST_END();
}
