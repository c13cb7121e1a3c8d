/* Confinement of this process; see confine.h.
 *
 * The order matters: a namespace may need the capabilities that are dropped next, and the filter
 * comes last because it refuses what the steps before it call. The filter is made by libseccomp
 * from names, so one list serves every architecture; a name that an architecture does not have is
 * passed over. What is not allowed fails with ENOSYS on a CPU: the C library then takes its
 * older way (clone3, whose flags lie in memory where a filter cannot see them, becomes clone,
 * which is allowed for threads only). */
#include "engine/core/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* names of mappings: glibc 2.39 and later */
#endif

#ifdef __s390__ /* the one whose clone takes its flags second */
#define CLONE_FLAGS_ARGUMENT 1
#else
#define CLONE_FLAGS_ARGUMENT 0
#endif

#define MAX_FILES        4096
#define ADDRESS_ROOM     (64ull << 30) /* beyond memory: stacks and arenas of threads, libraries */
#define ADDRESS_FEATURES (4ull << 40)  /* and where a feature store is mapped */

/* ---- Limits ---- */

static affect_status set_limit(int what, uint64_t most, const char *name, affect_error *err) {
    struct rlimit limit;
    if (getrlimit(what, &limit) != 0) return affect_error_errno(err, errno, "limit of %s", name);
    if (limit.rlim_max > most) limit.rlim_max = most;
    if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
    if (what == RLIMIT_NOFILE) limit.rlim_cur = limit.rlim_max;
    if (setrlimit(what, &limit) != 0) return affect_error_errno(err, errno, "limit of %s", name);
    return AFFECT_STATUS_OK;
}

static affect_status set_limits(const affect_confine_options *options, affect_error *err) {
    AFFECT_TRY(set_limit(RLIMIT_CORE, 0, "core dumps", err));
    AFFECT_TRY(set_limit(RLIMIT_NOFILE, MAX_FILES, "open files", err));
    if (options->gpu || SANITIZED || sizeof(void *) < 8) return AFFECT_STATUS_OK;
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t most = 2 * memory + (options->maps_features ? ADDRESS_FEATURES : ADDRESS_ROOM);
    return set_limit(RLIMIT_AS, most, "address space", err);
}

/* ---- Network ---- */

static bool write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return done;
}

/* A network namespace with nothing in it; for an ordinary user within a user namespace in which
 * the user keeps the own number. Where neither is allowed (many containers), the filter alone
 * refuses sockets. */
static void leave_network(bool gpu) {
    char map[64];
    unsigned user = geteuid(), group = getegid();
    if (unshare(CLONE_NEWNET) == 0 || gpu) return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return;
    snprintf(map, sizeof map, "%u %u 1", user, user);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1", group, group);
    write_text("/proc/self/gid_map", map);
}

/* ---- Capabilities ---- */

static affect_status drop_capabilities(affect_error *err) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    for (int i = 0; prctl(PR_CAPBSET_READ, i) >= 0; i++) prctl(PR_CAPBSET_DROP, i);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* Linux 4.3 */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_capset, &header, none) != 0)
        return affect_error_errno(err, errno, "dropping privileges");
    return AFFECT_STATUS_OK;
}

/* ---- System calls ---- */

/* Allowed with any arguments. */
static const char *const allowed[] = {
    /* memory */
    "brk", "madvise", "membarrier", "memfd_create", "mincore", "mlock", "mmap", "mmap2", "mprotect",
    "mremap", "msync", "munlock", "munmap",
    /* descriptors */
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "fcntl", "fcntl64", "flock", "lseek",
    "_llseek", "pipe", "pipe2", "poll", "ppoll", "ppoll_time64", "pread64", "preadv", "preadv2",
    "pselect6", "pselect6_time64", "pwrite64", "pwritev", "pwritev2", "read", "readv", "select",
    "_newselect", "sendfile", "sendfile64", "write", "writev",
    /* of a socket that is open already: a predictor's */
    "getsockopt", "recvfrom", "recvmsg", "sendmsg", "sendto", "shutdown",
    /* files */
    "access", "chdir", "chmod", "copy_file_range", "creat", "faccessat", "faccessat2", "fadvise64",
    "fadvise64_64", "arm_fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat", "fdatasync",
    "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64",
    "getcwd", "getdents", "getdents64", "link", "linkat", "lstat", "lstat64", "mkdir", "mkdirat",
    "newfstatat", "open", "openat", "openat2", "readahead", "readlink", "readlinkat", "rename",
    "renameat", "renameat2", "rmdir", "stat", "stat64", "statfs", "statfs64", "statx", "symlink",
    "symlinkat", "sync_file_range", "syncfs", "truncate", "truncate64", "umask", "unlink",
    "unlinkat", "utimensat", "utimensat_time64",
    /* threads and signals of this process */
    "exit", "exit_group", "futex", "futex_time64", "futex_waitv", "get_robust_list",
    "get_thread_area", "getcpu", "gettid", "restart_syscall", "rseq", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "sched_getaffinity", "sched_yield", "set_robust_list",
    "set_thread_area", "set_tid_address", "sigaltstack", "sigreturn", "arch_prctl", "set_tls",
    /* time, and what this process is */
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom",
    "getresgid", "getresuid", "getrlimit", "getrusage", "gettimeofday", "getuid", "nanosleep",
    "sysinfo", "time", "times", "ugetrlimit", "uname"};

/* And where sanitizers are: stopping the own threads to look for leaks, a symboliser. */
static const char *const allowed_sanitized[] = {"clone",
                                                "execve",
                                                "ioctl",
                                                "kill",
                                                "personality",
                                                "prctl",
                                                "prlimit64",
                                                "process_vm_readv",
                                                "ptrace",
                                                "sched_getparam",
                                                "sched_getscheduler",
                                                "tgkill",
                                                "wait4",
                                                "waitid"};

/* Refused with any arguments where the CUDA driver runs: other processes, the system, and the
 * calls whose faults have been a way into the kernel. Sockets: see add_gpu_rules. */
static const char *const refused[] = {"acct",
                                      "add_key",
                                      "bpf",
                                      "chroot",
                                      "clock_adjtime",
                                      "clock_settime",
                                      "delete_module",
                                      "execve",
                                      "execveat",
                                      "fanotify_init",
                                      "finit_module",
                                      "fork",
                                      "fsconfig",
                                      "fsmount",
                                      "fsopen",
                                      "fspick",
                                      "init_module",
                                      "io_uring_enter",
                                      "io_uring_register",
                                      "io_uring_setup",
                                      "kcmp",
                                      "kexec_file_load",
                                      "kexec_load",
                                      "keyctl",
                                      "kill",
                                      "lookup_dcookie",
                                      "mknod",
                                      "mknodat",
                                      "mount",
                                      "mount_setattr",
                                      "move_mount",
                                      "name_to_handle_at",
                                      "nfsservctl",
                                      "open_by_handle_at",
                                      "open_tree",
                                      "perf_event_open",
                                      "pidfd_getfd",
                                      "pidfd_open",
                                      "pidfd_send_signal",
                                      "pivot_root",
                                      "process_madvise",
                                      "process_vm_readv",
                                      "process_vm_writev",
                                      "ptrace",
                                      "quotactl",
                                      "quotactl_fd",
                                      "reboot",
                                      "request_key",
                                      "setdomainname",
                                      "sethostname",
                                      "setns",
                                      "settimeofday",
                                      "swapoff",
                                      "swapon",
                                      "syslog",
                                      "tkill",
                                      "umount",
                                      "umount2",
                                      "unshare",
                                      "userfaultfd",
                                      "vfork",
                                      "vhangup"};

#define N(list) (sizeof(list) / sizeof *(list))

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n) {
    int e = 0;
    for (size_t i = 0; i < n && !e; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR) e = seccomp_rule_add_array(filter, action, number, 0, NULL);
    }
    return e;
}

/* A rule for calls whose argument `n` compares so: (argument & mask) == value for MASKED_EQ, where
 * a = mask and b = value; else argument OP a. */
static int add_rule(scmp_filter_ctx filter, uint32_t action, int call, unsigned n,
                    enum scmp_compare op, uint64_t a, uint64_t b) {
    const struct scmp_arg_cmp argument = {n, op, a, b};
    return seccomp_rule_add_array(filter, action, call, 1, &argument);
}

static int add_cpu_rules(scmp_filter_ctx filter) {
    static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS,
                                  PR_SET_VMA};
    const uint32_t yes = SCMP_ACT_ALLOW;
    int e = add_names(filter, yes, allowed, N(allowed));
    if (SANITIZED) return e ? e : add_names(filter, yes, allowed_sanitized, N(allowed_sanitized));
    for (size_t i = 0; i < N(options) && !e; i++)
        e = add_rule(filter, yes, SCMP_SYS(prctl), 0, SCMP_CMP_EQ, (uint32_t)options[i], 0);
    if (!e) /* threads only */
        e = add_rule(filter, yes, SCMP_SYS(clone), CLONE_FLAGS_ARGUMENT, SCMP_CMP_MASKED_EQ,
                     CLONE_THREAD, CLONE_THREAD);
    if (!e) /* isatty */
        e = add_rule(filter, yes, SCMP_SYS(ioctl), 1, SCMP_CMP_MASKED_EQ, UINT32_MAX, TCGETS);
    if (!e) /* limits of this process, which cannot be raised */
        e = add_rule(filter, yes, SCMP_SYS(prlimit64), 0, SCMP_CMP_EQ, 0, 0);
    if (!e) /* signals to threads of this process, as raise and abort send them */
        e = add_rule(filter, yes, SCMP_SYS(tgkill), 0, SCMP_CMP_EQ, (uint64_t)getpid(), 0);
    return e;
}

/* Sockets of this machine only: the driver listens on one of its own, without which it gives up
 * (cudaErrorOperatingSystem). Threads and signals as above. */
static int add_gpu_rules(scmp_filter_ctx filter) {
    const uint32_t no = SCMP_ACT_ERRNO(EPERM);
    int e = add_names(filter, no, refused, N(refused));
    if (!e) e = add_rule(filter, no, SCMP_SYS(socket), 0, SCMP_CMP_NE, AF_UNIX, 0);
    if (!e) e = add_rule(filter, no, SCMP_SYS(tgkill), 0, SCMP_CMP_NE, (uint64_t)getpid(), 0);
    if (!e) e = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
    if (!e)
        e = add_rule(filter, no, SCMP_SYS(clone), CLONE_FLAGS_ARGUMENT, SCMP_CMP_MASKED_EQ,
                     CLONE_THREAD, 0);
    return e;
}

static affect_status load_filter(bool gpu, affect_error *err) {
    scmp_filter_ctx filter = seccomp_init(gpu ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOSYS));
    if (!filter) return affect_fail(err, NO_MEMORY, "no memory for a system-call filter");
    int e = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, SANITIZED); /* they have a thread */
    if (!e) e = gpu ? add_gpu_rules(filter) : add_cpu_rules(filter);
    affect_status status = AFFECT_STATUS_OK;
    if (e) {
        status = affect_error_errno(err, -e, "making the system-call filter");
    } else if ((e = seccomp_load(filter)) != 0) {
        status =
            affect_fail(err, UNSUPPORTED, "no system-call filter on this kernel: %s", strerror(-e));
    }
    seccomp_release(filter);
    return status;
}

affect_status affect_confine(const affect_confine_options *options, affect_error *err) {
    AFFECT_TRY(set_limits(options, err));
    leave_network(options->gpu);
    AFFECT_TRY(drop_capabilities(err));
    return load_filter(options->gpu, err);
}

bool affect_confine_needs_gpu(const char *device) {
    static const char *const nodes[] = {"/dev/nvidiactl", "/dev/dxg", "/dev/nvgpu",
                                        "/dev/nvhost-gpu"};
    if (strcmp(device, "cpu") == 0) return false;
    for (size_t i = 0; i < N(nodes); i++)
        if (access(nodes[i], F_OK) == 0) return true;
    return false;
}
