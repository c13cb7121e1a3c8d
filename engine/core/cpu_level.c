/* Levels of vector instructions; see cpu_level.h. */
#include "engine/core/cpu_level.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *const affect_cpu_level_names[AFFECT_CPU_LEVEL_COUNT] = {"generic", "avx2", "avx512"};

affect_cpu_level affect_cpu_level_best(void) {
#ifdef __x86_64__
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    if (avx2 && avx512) return AFFECT_CPU_AVX512;
    if (avx2) return AFFECT_CPU_AVX2;
#endif
    return AFFECT_CPU_GENERIC;
}

affect_status affect_cpu_level_choose(affect_cpu_level *level, affect_error *err) {
    const char *forced = getenv("AFFECT_CPU");
    *level = affect_cpu_level_best();
    if (!forced || !*forced) return AFFECT_STATUS_OK;
    for (int i = 0; i < AFFECT_CPU_LEVEL_COUNT; i++) {
        if (strcmp(forced, affect_cpu_level_names[i]) != 0) continue;
        if (i > (int)*level)
            return affect_fail(err, DEVICE_UNAVAILABLE,
                               "AFFECT_CPU=%s: this processor reaches only %s", forced,
                               affect_cpu_level_names[*level]);
        *level = (affect_cpu_level)i;
        return AFFECT_STATUS_OK;
    }
    return affect_fail(err, INVALID, "AFFECT_CPU=%.40s: unknown (generic, avx2, avx512)", forced);
}
