/* concatenate: joins its inputs along the last index (Keras' Concatenate, axis -1). */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static size_t last_of(affect_shape shape) {
    return shape.size[shape.rank - 1];
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    char first[AFFECT_SHAPE_TEXT_SIZE], other[AFFECT_SHAPE_TEXT_SIZE];
    (void)builder;
    if (layer->n_inputs < 2)
        return affect_fail(err, INVALID,
                           "has one input (give it \"inputs\", or make it the first layer of a "
                           "fusion of several branches)");
    layer->output = layer->input;
    for (size_t i = 1; i < layer->n_inputs; i++) {
        affect_shape a = layer->input, b = layer->inputs[i];
        if (a.rank > 0 && b.rank == a.rank) b.size[b.rank - 1] = last_of(a);
        if (!affect_shape_equal(a, b))
            return affect_fail(
                err, SHAPE, "inputs of shapes %s and %s (may differ in the last size only)",
                affect_shape_text(first, a), affect_shape_text(other, layer->inputs[i]));
        layer->output.size[a.rank - 1] += last_of(layer->inputs[i]);
    }
    return AFFECT_STATUS_OK;
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    size_t columns = last_of(layer->output), at = 0;
    size_t rows = pass->n * (affect_shape_count(layer->output) / columns);
    for (size_t i = 0; i < layer->n_inputs; at += last_of(layer->inputs[i++]))
        pass->backend->ops->copy_rows(pass->backend, pass->y + at, columns, pass->many_x[i],
                                      last_of(layer->inputs[i]), rows, last_of(layer->inputs[i]));
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    size_t columns = last_of(layer->output), at = 0;
    size_t rows = pass->n * (affect_shape_count(layer->output) / columns);
    for (size_t i = 0; i < layer->n_inputs; at += last_of(layer->inputs[i++]))
        if (pass->many_d_x[i])
            pass->backend->ops->copy_rows(pass->backend, pass->many_d_x[i],
                                          last_of(layer->inputs[i]), pass->d_y + at, columns, rows,
                                          last_of(layer->inputs[i]));
}

const affect_layer_class affect_layer_concatenate = {
    .type = "concatenate",
    .fields = fields,
    .joins = true,
    .keeps_steps = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
