/* Child processes; see child.h. */
#include "api/jobs/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

affect_status api_child_binary(char path[AFFECT_PATH_MAX], affect_error *err) {
    char self[AFFECT_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return affect_error_errno(err, errno, "/proc/self/exe");
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    return affect_path_join(path, err, self, "affect");
}

/* What passes: names, and prefixes of names (those that end with an underscore). */
static const char *const passed[] = {
    "PATH",         "HOME",         "LANG",
    "LC_",          "TZ",           "LD_LIBRARY_PATH", /* of any program */
    "AFFECT_CPU",   "AFFECT_CUDA_", "CUDA_",
    "NVIDIA_",      "CUBLAS_",      "GLIBC_TUNABLES",
    "MALLOC_",      "ASAN_OPTIONS", "LSAN_OPTIONS",
    "TSAN_OPTIONS", "UBSAN_OPTIONS"};

static bool passes(const char *variable) {
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        size_t length = strlen(passed[i]);
        if (strncmp(variable, passed[i], length) != 0) continue;
        if (passed[i][length - 1] == '_' || variable[length] == '=') return true;
    }
    return false;
}

/* What passes of our environment; the array is owned, its texts are not. */
static char **filter_environment(void) {
    size_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **list = malloc((n + 1) * sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < n; i++)
        if (passes(environ[i])) list[kept++] = environ[i];
    list[kept] = NULL;
    return list;
}

static int set_attributes(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawnattr_setsigmask(attributes, &none);
    if (!e) e = posix_spawnattr_setsigdefault(attributes, &all);
    if (!e) e = posix_spawnattr_setpgroup(attributes, 0);
    if (!e)
        e = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                     POSIX_SPAWN_SETPGROUP);
    return e;
}

affect_status api_child_spawn(pid_t *pid, const char *binary, const char *const *argv,
                              const int *fds, size_t n_fds, affect_error *err) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    int e = set_attributes(&attributes);
    for (size_t i = 0; i < n_fds && !e; i++) {
        assert(fds[i] >= 3);
        e = posix_spawn_file_actions_adddup2(&actions, fds[i], (int)i);
    }
    char **environment = filter_environment();
    if (!environment) e = ENOMEM;
    if (!e) e = posix_spawn(pid, binary, &actions, &attributes, (char *const *)argv, environment);
    free(environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return e ? affect_error_errno(err, e, "starting %s", binary) : AFFECT_STATUS_OK;
}

affect_status api_child_pipe(int ends[2], affect_error *err) {
    if (pipe2(ends, O_CLOEXEC) == 0) return AFFECT_STATUS_OK;
    ends[0] = ends[1] = -1;
    return affect_error_errno(err, errno, "pipe");
}

void api_child_close(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}
