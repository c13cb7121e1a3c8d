/* Opens the CPU backend at the level that cpu_level.h chooses. Compiled once. */
#include "engine/device/cpu/cpu_open.h"

#include "engine/core/cpu_level.h"

static affect_cpu_opener *const openers[AFFECT_CPU_LEVEL_COUNT] = {
    [AFFECT_CPU_GENERIC] = affect_cpu_open_generic,
#ifdef __x86_64__
    [AFFECT_CPU_AVX2] = affect_cpu_open_avx2,
    [AFFECT_CPU_AVX512] = affect_cpu_open_avx512,
#endif
};

affect_status affect_cpu_backend_open(affect_backend **backend, int n_threads, affect_error *err) {
    affect_cpu_level level;
    AFFECT_TRY(affect_cpu_level_choose(&level, err));
    return openers[level](backend, n_threads, err);
}
