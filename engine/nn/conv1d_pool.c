/* Merging conv1d and maxpool1d; see affect_layer_merge.
 *
 * The pooling layer runs both: its x is the convolution's, its y its own; the convolution becomes
 * the identity, and its tensors stay where they are. */
#include "engine/nn/conv1d_pool.h"

#include "engine/nn/affine.h"
#include "engine/nn/layer_registry.h"

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    (void)n_rows;
    affect_conv1d_shape shape = affect_conv1d_shape_of(layer->merged, n);
    return backend->ops->conv1d_pool_switches(backend, &shape);
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    (void)n_rows;
    affect_conv1d_shape shape = affect_conv1d_shape_of(layer->merged, n);
    return backend->ops->conv1d_pool_workspace(backend, &shape);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, uint32_t *switches) {
    const affect_layer *conv = layer->merged;
    affect_conv1d_shape shape = affect_conv1d_shape_of(conv, pass->n);
    pass->backend->ops->conv1d_pool_forward(
        pass->backend, pass->y, switches, pass->x, affect_layer_tensor(conv, pass, AFFECT_KERNEL),
        affect_layer_tensor(conv, pass, AFFECT_BIAS), pass->workspace, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, NULL);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_layer *conv = layer->merged;
    affect_conv1d_shape shape = affect_conv1d_shape_of(conv, pass->n);
    pass->backend->ops->conv1d_pool_backward(
        pass->backend, pass->d_x, affect_layer_gradient(conv, pass, AFFECT_KERNEL),
        affect_layer_gradient(conv, pass, AFFECT_BIAS), pass->d_y, pass->x, pass->y, pass->saved,
        affect_layer_tensor(conv, pass, AFFECT_KERNEL), pass->workspace, &shape);
}

static const affect_layer_class identity = {.can_fold = true, .is_rowwise = true};
static const affect_layer_class both = {
    .can_fold = true,
    .is_rowwise = true,
    .saved_size = saved_size,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};

void affect_layer_merge(affect_layer *first, affect_layer *second) {
    if (first->class != &affect_layer_conv1d || second->class != &affect_layer_maxpool1d) return;
    affect_conv1d_shape conv = affect_conv1d_shape_of(first, 1);
    affect_pool1d_shape pool = affect_maxpool1d_shape_of(second, 1);
    bool pairs = pool.pool_size == 2 && pool.stride == 2 && pool.pad_left == 0 &&
                 2 * pool.length_out <= pool.length;
    if (!pairs || conv.activation != AFFECT_ACTIVATION_RELU || first->fold != second->fold) return;
    first->runs = &identity;
    second->runs = &both;
    second->merged = first;
}
