/* What the control groups of this process (Linux cgroups, versions 2 and 1) leave it: a container's
 * memory and processors. The group that /proc/self/cgroup names and those above it are read on each
 * call; any thread.
 *
 * `root` stands for "/": "" outside tests, which bring a tree of their own. */
#ifndef AFFECT_CORE_CGROUP_H
#define AFFECT_CORE_CGROUP_H

#include <stddef.h>

/* The least that a group's limit leaves above what it uses, file caches not counted, in bytes;
 * SIZE_MAX without a limit. */
size_t affect_cgroup_memory_left(const char *root);
/* The least quota of processor time (cpu.max; cfs_quota_us and cfs_period_us) in processors,
 * rounded up; INT_MAX without one. */
int affect_cgroup_n_cores(const char *root);

#endif
