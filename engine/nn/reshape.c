/* reshape: the same numbers in another shape (Keras' Reshape); one size may be -1: what is left.
 * Costs nothing: the output is the input. */
#include "engine/nn/layer_registry.h"

typedef struct {
    affect_json *target_shape;
} reshape;

static const affect_field fields[] = {
    AFFECT_FIELD_JSON(reshape, target_shape, "sizes of the output; one may be -1"),
    AFFECT_FIELD_END,
};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const reshape *o = layer->options;
    size_t count = affect_shape_count(layer->input), known = 1;
    int open = -1;
    (void)builder;
    layer->output.rank = 0;
    if (!affect_json_is_array(o->target_shape) || affect_json_size(o->target_shape) < 1 ||
        affect_json_size(o->target_shape) > 3)
        return affect_fail(err, INVALID, "target_shape needs 1..3 sizes");
    for (const affect_json *e = affect_json_first(o->target_shape); e; e = affect_json_next(e)) {
        double size = affect_json_number(e, 0);
        bool rest = size == -1 && open < 0;
        if (!rest && !(size >= 1 && size <= AFFECT_MAX_DIMENSION && size == (double)(size_t)size))
            return affect_fail(err, INVALID, "target_shape: sizes of 1..%d, or -1 once",
                               AFFECT_MAX_DIMENSION);
        if (rest) open = layer->output.rank;
        if (!rest) known *= (size_t)size;
        layer->output.size[layer->output.rank++] = rest ? 1 : (size_t)size;
    }
    if (open >= 0 && count % known == 0) layer->output.size[open] = count / known;
    if (affect_shape_count(layer->output) != count)
        return affect_fail(err, SHAPE, "target_shape does not hold the input's %zu numbers", count);
    return AFFECT_STATUS_OK;
}

const affect_layer_class affect_layer_reshape = {
    .type = "reshape",
    .fields = fields,
    .options_size = sizeof(reshape),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
};
