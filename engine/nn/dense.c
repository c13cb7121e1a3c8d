/* dense: a matrix product over the last index (Keras' Dense); a convolution of length 1.
 *
 * (..., in) to (..., units); kernel (in, units). The one layer with tensors that may end in
 * softmax. */
#include "engine/nn/affine.h"
#include "engine/nn/layer_registry.h"

typedef struct {
    int64_t units;
    int activation;
    bool use_bias;
    double l2;
} dense;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(dense, units, 0, 1, AFFECT_MAX_DIMENSION, "size of the output"),
    AFFECT_FIELD_CHOICE(dense, activation, AFFECT_ACTIVATION_LINEAR, affect_activation_names_all,
                        "applied to the sum"),
    AFFECT_FIELD_BOOL(dense, use_bias, true, "add a bias per unit"),
    AFFECT_FIELD_NUMBER(dense, l2, 0, 0, 1e6, "penalty on the kernel's squares"),
    AFFECT_FIELD_END,
};

static affect_conv1d_shape shape_of(const affect_layer *layer, size_t n) {
    const dense *o = layer->options;
    size_t inputs = layer->input.size[layer->input.rank - 1];
    return affect_affine_shape(n * (affect_shape_count(layer->input) / inputs), inputs,
                               (size_t)o->units, (affect_activation)o->activation);
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const dense *o = layer->options;
    if (!o->units) return affect_fail(err, INVALID, "units is missing (a size)");
    if (layer->input.rank < 1) return affect_fail(err, SHAPE, "has no input");
    size_t units = (size_t)o->units, inputs = layer->input.size[layer->input.rank - 1];
    layer->output = layer->input;
    layer->output.size[layer->output.rank - 1] = units;
    layer->softmax = o->activation == AFFECT_ACTIVATION_SOFTMAX;
    return affect_affine_build(layer, builder, (affect_shape){2, {inputs, units}}, o->use_bias,
                               o->l2, err);
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    (void)n_rows;
    affect_conv1d_shape shape = shape_of(layer, n);
    return backend->ops->conv1d_workspace(backend, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_affine_forward(layer, pass, shape_of(layer, pass->n));
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_affine_backward(layer, pass, shape_of(layer, pass->n));
}

const affect_layer_class affect_layer_dense = {
    .type = "dense",
    .fields = fields,
    .options_size = sizeof(dense),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
