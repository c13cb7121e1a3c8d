/* concatenate: joins the branches along the last index (Keras' Concatenate, axis -1).
 *
 * The one layer with several inputs; the first of a fusion. */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    (void)builder;
    if (!layer->n_sources)
        return affect_fail(err, INVALID,
                           "has one input (only the first layer of a fusion of "
                           "several branches concatenates)");
    layer->output = layer->input;
    size_t *last = &layer->output.size[layer->output.rank - 1];
    *last = 0;
    for (size_t i = 0; i < layer->n_sources; i++) *last += layer->sources[i];
    return AFFECT_STATUS_OK;
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    size_t columns = layer->output.size[layer->output.rank - 1], at = 0;
    size_t rows = pass->n * (affect_shape_count(layer->output) / columns);
    for (size_t i = 0; i < layer->n_sources; at += layer->sources[i++])
        pass->backend->ops->copy_rows(pass->backend, pass->y + at, columns, pass->many_x[i],
                                      layer->sources[i], rows, layer->sources[i]);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    size_t columns = layer->output.size[layer->output.rank - 1], at = 0;
    size_t rows = pass->n * (affect_shape_count(layer->output) / columns);
    for (size_t i = 0; i < layer->n_sources; at += layer->sources[i++])
        pass->backend->ops->copy_rows(pass->backend, pass->many_d_x[i], layer->sources[i],
                                      pass->d_y + at, columns, rows, layer->sources[i]);
}

const affect_layer_class affect_layer_concatenate = {
    .type = "concatenate",
    .fields = fields,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
