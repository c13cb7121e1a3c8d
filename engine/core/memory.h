/* How much memory this process has, and how much it may still take. Linux' files under /proc and
 * /sys/fs/cgroup are read on each call; any thread. */
#ifndef AFFECT_CORE_MEMORY_H
#define AFFECT_CORE_MEMORY_H

#include <stddef.h>

/* Bytes that this process may still take: the least of what the machine can give without swapping
 * (MemAvailable) and of what each control group above it (version 2 or 1) allows beyond what it
 * uses, file caches not counted. SIZE_MAX when unknown. */
size_t affect_memory_available(void);
/* Bytes of anonymous memory (heap, stacks) that this process has touched; 0 when unknown. */
size_t affect_memory_anonymous(void);

#endif
