/* maxpool1d: the maximum of each window over the second last index (Keras' MaxPooling1D).
 *
 * (length, channels) to (length_out, channels); strides default to pool_size. */
#include "engine/nn/conv1d_pool.h"
#include "engine/nn/layer_registry.h"

typedef struct {
    int64_t pool_size, strides; /* strides 0: as pool_size */
    int padding;
} maxpool1d;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(maxpool1d, pool_size, 2, 1, AFFECT_MAX_DIMENSION, "length of the window"),
    AFFECT_FIELD_INTEGER(maxpool1d, strides, 0, 1, AFFECT_MAX_DIMENSION,
                         "step of the window; pool_size when absent"),
    AFFECT_FIELD_CHOICE(maxpool1d, padding, AFFECT_PADDING_VALID, affect_padding_names,
                        "whether windows may reach beyond the ends"),
    AFFECT_FIELD_END,
};

affect_pool1d_shape affect_maxpool1d_shape_of(const affect_layer *layer, size_t n) {
    const maxpool1d *o = layer->options;
    affect_pool1d_shape shape = {
        .n = n,
        .length = layer->input.size[0],
        .channels = layer->input.size[1],
        .pool_size = (size_t)o->pool_size,
        .stride = (size_t)(o->strides ? o->strides : o->pool_size),
        .length_out = layer->output.size[0],
    };
    size_t length_out;
    affect_window(&length_out, &shape.pad_left, layer, "", shape.pool_size, shape.stride,
                  (affect_padding)o->padding, NULL);
    return shape;
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const maxpool1d *o = layer->options;
    size_t stride = (size_t)(o->strides ? o->strides : o->pool_size), length, pad;
    AFFECT_TRY(affect_window(&length, &pad, layer, "pool_size", (size_t)o->pool_size, stride,
                             (affect_padding)o->padding, err));
    layer->output = (affect_shape){2, {length, layer->input.size[1]}};
    (void)builder;
    return AFFECT_STATUS_OK;
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_pool1d_shape shape = affect_maxpool1d_shape_of(layer, pass->n);
    pass->backend->ops->pool1d_forward(pass->backend, pass->y, pass->x, &shape);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_pool1d_shape shape = affect_maxpool1d_shape_of(layer, pass->n);
    if (pass->d_x)
        pass->backend->ops->pool1d_backward(pass->backend, pass->d_x, pass->d_y, pass->x, pass->y,
                                            &shape);
}

const affect_layer_class affect_layer_maxpool1d = {
    .type = "maxpool1d",
    .fields = fields,
    .options_size = sizeof(maxpool1d),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
