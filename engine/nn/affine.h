/* What conv1d, dense and attention share: a kernel, a bias, and the device's convolution.
 *
 * A dense layer is a convolution of length 1 (device/backend.h); only shapes and fields differ. */
#ifndef AFFECT_NN_AFFINE_H
#define AFFECT_NN_AFFINE_H

#include "engine/nn/layer.h"

enum { AFFECT_KERNEL, AFFECT_BIAS }; /* tensor slots */

/* The product of rows (inputs) with a kernel (inputs, outputs) as such a convolution. */
affect_conv1d_shape affect_affine_shape(size_t rows, size_t inputs, size_t outputs,
                                        affect_activation activation);
/* Registers "kernel" (Glorot uniform, penalty l2) and, with use_bias, "bias" (zeros), whose size is
 * the kernel's last. */
affect_status affect_affine_build(affect_layer *layer, affect_layer_builder *builder,
                                  affect_shape kernel, bool use_bias, double l2, affect_error *err);
void affect_affine_forward(const affect_layer *layer, const affect_layer_pass *pass,
                           affect_conv1d_shape shape);
void affect_affine_backward(const affect_layer *layer, const affect_layer_pass *pass,
                            affect_conv1d_shape shape);

#endif
