/* add: the sum of its inputs, all of one shape (Keras' Add). With "inputs" that go past some layers
 * it makes a residual connection. */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    char first[AFFECT_SHAPE_TEXT_SIZE], other[AFFECT_SHAPE_TEXT_SIZE];
    (void)builder;
    if (layer->n_inputs < 2)
        return affect_fail(err, INVALID, "has one input (needs \"inputs\", at least two)");
    for (size_t i = 1; i < layer->n_inputs; i++)
        if (!affect_shape_equal(layer->input, layer->inputs[i]))
            return affect_fail(err, SHAPE, "inputs of shapes %s and %s (need equal ones)",
                               affect_shape_text(first, layer->input),
                               affect_shape_text(other, layer->inputs[i]));
    layer->output = layer->input;
    return AFFECT_STATUS_OK;
}

static size_t count(const affect_layer *layer, const affect_layer_pass *pass) {
    return pass->n * affect_shape_count(layer->output);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_backend_ops *ops = pass->backend->ops;
    size_t n = count(layer, pass);
    ops->copy(pass->backend, pass->y, pass->many_x[0], n * sizeof *pass->y);
    for (size_t i = 1; i < layer->n_inputs; i++)
        ops->add(pass->backend, pass->y, pass->many_x[i], n);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    for (size_t i = 0; i < layer->n_inputs; i++)
        if (pass->many_d_x[i])
            pass->backend->ops->copy(pass->backend, pass->many_d_x[i], pass->d_y,
                                     count(layer, pass) * sizeof *pass->d_y);
}

const affect_layer_class affect_layer_add = {
    .type = "add",
    .fields = fields,
    .joins = true,
    .keeps_steps = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
