/* Taking away what a process that reads hostile bytes does not need (workers, predictors).
 *
 * After affect_confine this process and each thread that it starts have
 *   - no capability, in no set, and no way to gain one (bounding set, no_new_privs);
 *   - no network: a network namespace of its own where the system allows one (root, or a user
 *     namespace), and in any case no socket() that leaves this machine (on a CPU: none at all);
 *   - a system-call filter: on a CPU a list of what is allowed (files, memory, threads, time: no
 *     new process or program, no ptrace, mount, signal to others), on a GPU, whose driver calls
 *     what its version likes, a list of what is refused;
 *   - limits: open files, no core dump, and, except on a GPU, the address space.
 * What stays: the user, the files that it may open, the descriptors that are open.
 *
 * In a build with sanitizers the filter also allows what their run-time libraries do (ptrace of
 * the own threads at exit, a symboliser), and there is no limit of the address space. */
#ifndef AFFECT_CORE_CONFINE_H
#define AFFECT_CORE_CONFINE_H

#include "engine/core/status.h"

#include <stdbool.h>

typedef struct {
    bool gpu;           /* the CUDA driver will run in this process */
    bool maps_features; /* a feature store, which may exceed the memory, will be mapped */
} affect_confine_options;

/* To be called while this is the only thread, before anything hostile is read. UNSUPPORTED: the
 * kernel has no system-call filters (seccomp); all else holds. Other failures: the process is to
 * end. */
affect_status affect_confine(const affect_confine_options *options, affect_error *err);

/* Whether work on `device` ("cpu", "cuda", "cuda:N", "auto") may load the CUDA driver: false where
 * this machine shows no device of it. */
bool affect_confine_needs_gpu(const char *device);

#endif
