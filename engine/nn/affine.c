/* What conv1d, dense and attention share; see affine.h. */
#include "engine/nn/affine.h"

affect_conv1d_shape affect_affine_shape(size_t rows, size_t inputs, size_t outputs,
                                        affect_activation activation) {
    return (affect_conv1d_shape){.n = rows,
                                 .length = 1,
                                 .channels = inputs,
                                 .filters = outputs,
                                 .kernel_size = 1,
                                 .stride = 1,
                                 .length_out = 1,
                                 .activation = activation};
}

affect_status affect_affine_build(affect_layer *layer, affect_layer_builder *builder,
                                  affect_shape kernel, bool use_bias, double l2,
                                  affect_error *err) {
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, AFFECT_KERNEL, "kernel", kernel,
                                       AFFECT_INITIALIZER_GLOROT_UNIFORM, l2, err));
    if (!use_bias) return AFFECT_STATUS_OK;
    affect_shape bias = {1, {kernel.size[kernel.rank - 1]}};
    return affect_layer_add_tensor(layer, builder, AFFECT_BIAS, "bias", bias,
                                   AFFECT_INITIALIZER_ZEROS, 0, err);
}

void affect_affine_forward(const affect_layer *layer, const affect_layer_pass *pass,
                           affect_conv1d_shape shape) {
    pass->backend->ops->conv1d_forward(
        pass->backend, pass->y, pass->x, affect_layer_tensor(layer, pass, AFFECT_KERNEL),
        affect_layer_tensor(layer, pass, AFFECT_BIAS), pass->workspace, &shape);
}

void affect_affine_backward(const affect_layer *layer, const affect_layer_pass *pass,
                            affect_conv1d_shape shape) {
    pass->backend->ops->conv1d_backward(
        pass->backend, pass->d_x, affect_layer_gradient(layer, pass, AFFECT_KERNEL),
        affect_layer_gradient(layer, pass, AFFECT_BIAS), pass->d_y, pass->x, pass->y,
        affect_layer_tensor(layer, pass, AFFECT_KERNEL), pass->workspace, &shape);
}
