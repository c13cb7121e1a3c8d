/* The CPU engine is compiled once a level of vector instructions (core/cpu_level.h): the build sets
 * AFFECT_CPU_LEVEL to generic, avx2 or avx512, and each name below gets it as its ending, so that
 * all copies live in one program. Every function that engine/device/cpu/ files share stands
 * here; those of the table are named by AFFECT_CPU_OPERATION. */
#ifndef AFFECT_CPU_CPU_NAMES_H
#define AFFECT_CPU_CPU_NAMES_H

#define AFFECT_CPU_JOIN_(name, level) name##_##level
#define AFFECT_CPU_JOIN(name, level)  AFFECT_CPU_JOIN_(name, level)
#define AFFECT_CPU_AT_LEVEL(name)     AFFECT_CPU_JOIN(name, AFFECT_CPU_LEVEL)
#define AFFECT_CPU_TEXT_(level)       #level
#define AFFECT_CPU_TEXT(level)        AFFECT_CPU_TEXT_(level)
#define AFFECT_CPU_LEVEL_NAME         AFFECT_CPU_TEXT(AFFECT_CPU_LEVEL) /* "avx2" */

#define affect_cpu_open_level          AFFECT_CPU_AT_LEVEL(affect_cpu_open)
#define affect_cpu_run                 AFFECT_CPU_AT_LEVEL(affect_cpu_run)
#define affect_cpu_activation_gradient AFFECT_CPU_AT_LEVEL(affect_cpu_activation_gradient)
#define affect_cpu_activate            AFFECT_CPU_AT_LEVEL(affect_cpu_activate)
#define affect_cpu_pack                AFFECT_CPU_AT_LEVEL(affect_cpu_pack)
#define affect_cpu_packed_size         AFFECT_CPU_AT_LEVEL(affect_cpu_packed_size)
#define affect_cpu_multiply_rows       AFFECT_CPU_AT_LEVEL(affect_cpu_multiply_rows)
#define affect_cpu_add_outer           AFFECT_CPU_AT_LEVEL(affect_cpu_add_outer)
#define affect_cpu_combine             AFFECT_CPU_AT_LEVEL(affect_cpu_combine)

/* A function of the table: AFFECT_CPU_OPERATION(dropout) is affect_cpu_dropout_avx2. */
#define AFFECT_CPU_OPERATION(name) AFFECT_CPU_AT_LEVEL(affect_cpu_##name)

#endif
