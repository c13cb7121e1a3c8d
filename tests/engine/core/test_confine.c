/* A confined process tries what it must not be able to do, and what its work needs. Each case runs
 * in a child of its own, since nobody gets out again. */
#include "engine/core/confine.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__ /* which allows no thread after a fork */
#define HAS_THREADS 0
#else
#define HAS_THREADS 1
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static bool has_filter = true;

/* Whether `probe` holds in a confined child. */
static bool holds(bool (*probe)(void), affect_confine_options options) {
    pid_t pid = fork();
    if (pid == 0) {
        affect_error err = {0};
        affect_status status = affect_confine(&options, &err);
        if (status != AFFECT_STATUS_OK) fprintf(stderr, "    %s\n", err.message);
        if (status == AFFECT_STATUS_UNSUPPORTED) _exit(77);
        _exit(status == AFFECT_STATUS_OK && probe() ? 0 : 1);
    }
    int how = 0;
    waitpid(pid, &how, 0);
    if (WIFEXITED(how) && WEXITSTATUS(how) == 77) has_filter = false;
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

/* ---- What must fail ---- */

static bool no_sockets(void) {
    const int families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (int type = SOCK_STREAM; type <= SOCK_RAW; type++)
            if (socket(families[i], type, 0) >= 0) return false;
    return true;
}

static bool no_file_sockets(void) {
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static bool no_programs(void) {
    char *const arguments[] = {(char[]){"true"}, NULL}, *const environment[] = {NULL};
    execve("/bin/true", arguments, environment);
    return errno == ENOSYS || errno == EPERM;
}

static bool no_processes(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    return pid < 0 && syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

static bool no_tracing(void) {
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 &&
           ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0;
}

static bool no_signals_to_others(void) {
    return kill(getppid(), 0) < 0 && syscall(SYS_tgkill, getppid(), getppid(), 0) < 0 &&
           syscall(SYS_tkill, getppid(), 0) < 0;
}

static bool no_system(void) {
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 && chroot("/") < 0 &&
           unshare(CLONE_NEWUSER) < 0 && unshare(CLONE_NEWNS) < 0 &&
           syscall(SYS_bpf, 0, NULL, 0) < 0 && syscall(SYS_keyctl, 0, 0, 0, 0, 0) < 0 &&
           syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) < 0 &&
           syscall(SYS_userfaultfd, 0) < 0 && syscall(SYS_io_uring_setup, 1, NULL) < 0 &&
           syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0) < 0;
}

static bool refused(int call) { /* by name, rather than by what it would find at its arguments */
    return syscall(call, 0, 0, 0, 0, 0) < 0 && (errno == ENOSYS || errno == EPERM);
}

static bool all_refused(void) {
    return refused(SYS_bpf) && refused(SYS_keyctl) && refused(SYS_perf_event_open) &&
           refused(SYS_userfaultfd) && refused(SYS_io_uring_setup) && refused(SYS_ptrace) &&
           refused(SYS_mount) && refused(SYS_setns) && refused(SYS_open_by_handle_at);
}

static bool no_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
    char line[256];
    size_t n = 0;
    if (syscall(SYS_capget, &header, sets) == 0) return false; /* the filter is there too */
    FILE *file = fopen("/proc/self/status", "re");
    bool good = file != NULL;
    while (good && fgets(line, sizeof line, file)) {
        unsigned long long set;
        int value;
        /* The bounding set of an ordinary user cannot be lowered; no_new_privs makes it idle. */
        if (sscanf(line, "CapBnd: %llx", &set) == 1) n++, good = set == 0 || geteuid() != 0;
        if (sscanf(line, "CapInh: %llx", &set) == 1) n++, good = set == 0;
        if (sscanf(line, "CapPrm: %llx", &set) == 1) n++, good = set == 0;
        if (sscanf(line, "CapEff: %llx", &set) == 1) n++, good = set == 0;
        if (sscanf(line, "CapAmb: %llx", &set) == 1) n++, good = set == 0;
        if (sscanf(line, "NoNewPrivs: %d", &value) == 1) n++, good = value == 1;
        if (sscanf(line, "Seccomp: %d", &value) == 1) n++, good = value == 2;
    }
    if (file) fclose(file);
    return good && n == 7;
}

static bool limits(void) {
    struct rlimit core, files, space;
    return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 &&
           getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur <= 4096 &&
           getrlimit(RLIMIT_AS, &space) == 0 && (SANITIZED || space.rlim_cur != RLIM_INFINITY) &&
           (SANITIZED || mmap(NULL, (size_t)1 << 46, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED);
}

/* ---- What must work ---- */

static void *write_file(void *done) {
    FILE *file = tmpfile();
    *(bool *)done = file && fputs("text", file) >= 0 && fclose(file) == 0;
    return NULL;
}

static bool works(void) {
    bool thread_done = !HAS_THREADS, done = false;
    pthread_t thread;
    if (HAS_THREADS && pthread_create(&thread, NULL, write_file, &thread_done) == 0)
        pthread_join(thread, NULL);
    write_file(&done);
    void *memory = malloc((size_t)64 << 20);
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC), ends[2];
    bool good = memory && fd >= 0 && pipe(ends) == 0 && write(ends[1], "x", 1) == 1 &&
                sysconf(_SC_NPROCESSORS_ONLN) >= 1;
    free(memory);
    return good && done && thread_done;
}

/* As the CUDA driver listens, whose other end is another of its processes. */
static bool listens(void) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    const sa_family_t unnamed = AF_UNIX; /* the kernel chooses an abstract name */
    return fd >= 0 &&
           bind(fd, (const struct sockaddr *)(const void *)&unnamed, sizeof unnamed) == 0 &&
           listen(fd, 1) == 0;
}

static bool aborts(void) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR1, &ignore, NULL);
    return raise(SIGUSR1) == 0;
}

static void test_nothing_dangerous_works(void) {
    const affect_confine_options cpu = {0};
    if (!holds(works, cpu) && !has_filter) TEST_SKIP("this kernel has no system-call filters");
    CHECK(holds(works, cpu));
    CHECK(holds(aborts, cpu));
    CHECK(holds(no_sockets, cpu));
    CHECK(holds(no_file_sockets, cpu));
    CHECK(holds(no_system, cpu));
    CHECK(holds(no_capabilities, cpu));
    CHECK(holds(limits, cpu));
    CHECK(holds(limits, (affect_confine_options){.maps_features = true}));
    if (SANITIZED) return; /* their libraries call these */
    CHECK(holds(all_refused, cpu));
    CHECK(holds(no_programs, cpu));
    CHECK(holds(no_processes, cpu));
    CHECK(holds(no_tracing, cpu));
    CHECK(holds(no_signals_to_others, cpu));
}

/* With the driver of a GPU the list is shorter: sockets of this machine are left. */
static void test_gpu(void) {
    const affect_confine_options gpu = {.gpu = true};
    CHECK(holds(works, gpu));
    CHECK(holds(listens, gpu));
    CHECK(holds(aborts, gpu));
    CHECK(holds(no_sockets, gpu));
    CHECK(holds(no_system, gpu));
    CHECK(holds(all_refused, gpu));
    CHECK(holds(no_programs, gpu));
    CHECK(holds(no_processes, gpu));
    CHECK(holds(no_tracing, gpu));
    CHECK(holds(no_signals_to_others, gpu));
}

static bool network_is_empty(void) {
    char line[512];
    int n = 0;
    FILE *file = fopen("/proc/net/dev", "re");
    while (file && fgets(line, sizeof line, file)) n += strchr(line, ':') && !strstr(line, " lo:");
    if (file) fclose(file);
    return file && n == 0;
}

/* Where namespaces are allowed: asked for in a child, as it is done. */
static bool may_unshare(void) {
    pid_t pid = fork();
    if (pid == 0) _exit(unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0);
    int how = 0;
    waitpid(pid, &how, 0);
    return how == 0;
}

static void test_network_namespace(void) {
    if (may_unshare()) CHECK(holds(network_is_empty, (affect_confine_options){0}));
}

static void test_needs_gpu(void) {
    CHECK(!affect_confine_needs_gpu("cpu"));
    CHECK(affect_confine_needs_gpu("auto") == affect_confine_needs_gpu("cuda:0"));
}

/* The same as an ordinary user, who cannot lower the bounding set. */
static void test_ordinary_user(void) {
    if (geteuid() != 0) return;
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
        test_nothing_dangerous_works();
        test_gpu();
        test_network_namespace();
        _exit(test_n_failed != 0);
    }
    int how = 0;
    waitpid(pid, &how, 0);
    CHECK(how == 0);
}

int main(void) {
    TEST_RUN(test_nothing_dangerous_works);
    TEST_RUN(test_gpu);
    TEST_RUN(test_network_namespace);
    TEST_RUN(test_ordinary_user);
    TEST_RUN(test_needs_gpu);
    return TEST_END();
}
