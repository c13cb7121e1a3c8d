/* The CPU engine is compiled once a level of vector instructions (core/cpu_level.h): the build sets
 * AFFECT_CPU_LEVEL to generic, avx2 or avx512, and each name below gets it as its ending, so that
 * all copies live in one program. Every function that engine/device/cpu/ files share stands
 * here. */
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

/* Operations of the table. */
#define affect_cpu_conv1d_workspace      AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_workspace)
#define affect_cpu_conv1d_forward        AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_forward)
#define affect_cpu_conv1d_backward       AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_backward)
#define affect_cpu_conv1d_pool_switches  AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_pool_switches)
#define affect_cpu_conv1d_pool_workspace AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_pool_workspace)
#define affect_cpu_conv1d_pool_forward   AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_pool_forward)
#define affect_cpu_conv1d_pool_backward  AFFECT_CPU_AT_LEVEL(affect_cpu_conv1d_pool_backward)
#define affect_cpu_pool1d_forward        AFFECT_CPU_AT_LEVEL(affect_cpu_pool1d_forward)
#define affect_cpu_pool1d_backward       AFFECT_CPU_AT_LEVEL(affect_cpu_pool1d_backward)
#define affect_cpu_batch_norm_forward    AFFECT_CPU_AT_LEVEL(affect_cpu_batch_norm_forward)
#define affect_cpu_batch_norm_infer      AFFECT_CPU_AT_LEVEL(affect_cpu_batch_norm_infer)
#define affect_cpu_batch_norm_backward   AFFECT_CPU_AT_LEVEL(affect_cpu_batch_norm_backward)
#define affect_cpu_dropout               AFFECT_CPU_AT_LEVEL(affect_cpu_dropout)
#define affect_cpu_activation_forward    AFFECT_CPU_AT_LEVEL(affect_cpu_activation_forward)
#define affect_cpu_activation_backward   AFFECT_CPU_AT_LEVEL(affect_cpu_activation_backward)
#define affect_cpu_copy_rows             AFFECT_CPU_AT_LEVEL(affect_cpu_copy_rows)
#define affect_cpu_add                   AFFECT_CPU_AT_LEVEL(affect_cpu_add)
#define affect_cpu_layer_norm_forward    AFFECT_CPU_AT_LEVEL(affect_cpu_layer_norm_forward)
#define affect_cpu_layer_norm_backward   AFFECT_CPU_AT_LEVEL(affect_cpu_layer_norm_backward)
#define affect_cpu_window2d_forward      AFFECT_CPU_AT_LEVEL(affect_cpu_window2d_forward)
#define affect_cpu_window2d_backward     AFFECT_CPU_AT_LEVEL(affect_cpu_window2d_backward)
#define affect_cpu_pool2d_forward        AFFECT_CPU_AT_LEVEL(affect_cpu_pool2d_forward)
#define affect_cpu_pool2d_backward       AFFECT_CPU_AT_LEVEL(affect_cpu_pool2d_backward)
#define affect_cpu_pool_steps_forward    AFFECT_CPU_AT_LEVEL(affect_cpu_pool_steps_forward)
#define affect_cpu_pool_steps_backward   AFFECT_CPU_AT_LEVEL(affect_cpu_pool_steps_backward)
#define affect_cpu_lstm_reserve          AFFECT_CPU_AT_LEVEL(affect_cpu_lstm_reserve)
#define affect_cpu_lstm_workspace        AFFECT_CPU_AT_LEVEL(affect_cpu_lstm_workspace)
#define affect_cpu_lstm_forward          AFFECT_CPU_AT_LEVEL(affect_cpu_lstm_forward)
#define affect_cpu_lstm_backward         AFFECT_CPU_AT_LEVEL(affect_cpu_lstm_backward)
#define affect_cpu_cross_entropy         AFFECT_CPU_AT_LEVEL(affect_cpu_cross_entropy)
#define affect_cpu_l2_penalty            AFFECT_CPU_AT_LEVEL(affect_cpu_l2_penalty)
#define affect_cpu_adam_step             AFFECT_CPU_AT_LEVEL(affect_cpu_adam_step)

#endif
