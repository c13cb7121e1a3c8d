/* conv1d: a convolution over the second last index, channels last (Keras' Conv1D).
 *
 * (length, channels) to (length_out, filters); kernel (kernel_size, channels, filters). */
#include "engine/nn/affine.h"
#include "engine/nn/conv1d_pool.h"
#include "engine/nn/layer_registry.h"

typedef struct {
    int64_t filters, kernel_size, strides;
    int padding, activation;
    bool use_bias;
    double l2;
} conv1d;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(conv1d, filters, 0, 1, AFFECT_MAX_DIMENSION, "channels of the output"),
    AFFECT_FIELD_INTEGER(conv1d, kernel_size, 0, 1, AFFECT_MAX_DIMENSION, "length of the window"),
    AFFECT_FIELD_INTEGER(conv1d, strides, 1, 1, AFFECT_MAX_DIMENSION, "step of the window"),
    AFFECT_FIELD_CHOICE(conv1d, padding, AFFECT_PADDING_VALID, affect_padding_names,
                        "what lies beyond the ends"),
    AFFECT_FIELD_CHOICE(conv1d, activation, AFFECT_ACTIVATION_LINEAR, affect_activation_names,
                        "applied to the sum"),
    AFFECT_FIELD_BOOL(conv1d, use_bias, true, "add a bias per filter"),
    AFFECT_FIELD_NUMBER(conv1d, l2, 0, 0, 1e6, "penalty on the kernel's squares"),
    AFFECT_FIELD_END,
};

affect_conv1d_shape affect_conv1d_shape_of(const affect_layer *layer, size_t n) {
    const conv1d *o = layer->options;
    affect_conv1d_shape shape = {
        .n = n,
        .length = layer->input.size[0],
        .channels = layer->input.size[1],
        .filters = (size_t)o->filters,
        .kernel_size = (size_t)o->kernel_size,
        .stride = (size_t)o->strides,
        .length_out = layer->output.size[0],
        .activation = (affect_activation)o->activation,
    };
    size_t length_out;
    affect_window(&length_out, &shape.pad_left, layer, "", shape.kernel_size, shape.stride,
                  (affect_padding)o->padding, NULL);
    return shape;
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const conv1d *o = layer->options;
    if (!o->filters) return affect_fail(err, INVALID, "filters is missing (a number of channels)");
    if (!o->kernel_size) return affect_fail(err, INVALID, "kernel_size is missing (a length)");
    size_t filters = (size_t)o->filters, size = (size_t)o->kernel_size, length, pad;
    AFFECT_TRY(affect_window(&length, &pad, layer, "kernel_size", size, (size_t)o->strides,
                             (affect_padding)o->padding, err));
    layer->output = (affect_shape){2, {length, filters}};
    return affect_affine_build(layer, builder,
                               (affect_shape){3, {size, layer->input.size[1], filters}},
                               o->use_bias, o->l2, err);
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    (void)n_rows;
    affect_conv1d_shape shape = affect_conv1d_shape_of(layer, n);
    return backend->ops->conv1d_workspace(backend, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_affine_forward(layer, pass, affect_conv1d_shape_of(layer, pass->n));
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_affine_backward(layer, pass, affect_conv1d_shape_of(layer, pass->n));
}

const affect_layer_class affect_layer_conv1d = {
    .type = "conv1d",
    .fields = fields,
    .options_size = sizeof(conv1d),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
