/* Which vector instructions the CPU engine uses: one of a few levels.
 *
 * Kernels are compiled once a level; the best that this machine can run is chosen when a backend is
 * opened. Results are equal bit for bit on one level, and equal up to rounding between levels, so
 * the level is recorded with a training. The environment variable AFFECT_CPU forces one: to repeat
 * on a new machine what an older one computed, or to test. */
#ifndef AFFECT_CORE_CPU_LEVEL_H
#define AFFECT_CORE_CPU_LEVEL_H

#include "engine/core/status.h"

typedef enum {
    AFFECT_CPU_GENERIC, /* what every x86-64 (or other) processor has */
    AFFECT_CPU_AVX2,    /* x86-64-v3: AVX2 and FMA */
    AFFECT_CPU_AVX512,  /* x86-64-v4: AVX-512 F, BW, CD, DQ, VL */
    AFFECT_CPU_LEVEL_COUNT
} affect_cpu_level;

/* "generic", "avx2", "avx512". */
extern const char *const affect_cpu_level_names[AFFECT_CPU_LEVEL_COUNT];

/* The best level of this machine. */
affect_cpu_level affect_cpu_level_best(void);
/* The level to use: AFFECT_CPU where it is set, else the best. INVALID when AFFECT_CPU is not a
 * name, DEVICE_UNAVAILABLE when this machine cannot run it. */
affect_status affect_cpu_level_choose(affect_cpu_level *level, affect_error *err);

#endif
