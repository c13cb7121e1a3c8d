/* The copies of the CPU backend, one a level of vector instructions. */
#ifndef AFFECT_CPU_CPU_OPEN_H
#define AFFECT_CPU_CPU_OPEN_H

#include "engine/device/backend.h"

typedef affect_status affect_cpu_opener(affect_backend **backend, int n_threads, affect_error *err);

affect_cpu_opener affect_cpu_open_generic, affect_cpu_open_avx2, affect_cpu_open_avx512;

#endif
