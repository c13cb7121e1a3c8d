/* flatten: the same numbers as one row (Keras' Flatten). Costs nothing: the output is the input. */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    (void)builder, (void)err;
    layer->output = (affect_shape){1, {affect_shape_count(layer->input)}};
    return AFFECT_STATUS_OK;
}

const affect_layer_class affect_layer_flatten = {
    .type = "flatten",
    .fields = fields,
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
};
