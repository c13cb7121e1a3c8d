/* max_pooling2d: the maximum of each window of an image (Keras' MaxPooling2D): (height, width,
 * channels) to (height_out, width_out, channels); strides default to pool_size. */
#include "engine/nn/image_window.h"
#include "engine/nn/layer_registry.h"

typedef struct {
    affect_json *pool_size, *strides;
    int padding;
} max_pooling2d;

static const affect_field fields[] = {
    AFFECT_FIELD_JSON(max_pooling2d, pool_size, "size of the window, or [height, width]; 2"),
    AFFECT_FIELD_JSON(max_pooling2d, strides, "step of the window; pool_size when absent"),
    AFFECT_FIELD_CHOICE(max_pooling2d, padding, AFFECT_PADDING_VALID, affect_padding_names,
                        "whether windows may reach beyond the edges"),
    AFFECT_FIELD_END,
};

static affect_status shape_of(affect_window2d_shape *shape, const affect_layer *layer,
                              affect_error *err) {
    const max_pooling2d *o = layer->options;
    size_t window[2], stride[2];
    AFFECT_TRY(affect_image_pair(window, o->pool_size, "pool_size", 2, err));
    if (o->strides)
        AFFECT_TRY(affect_image_pair(stride, o->strides, "strides", 1, err));
    else
        stride[0] = window[0], stride[1] = window[1];
    return affect_image_window(shape, layer, "pool_size", window, stride,
                               (affect_padding)o->padding, err);
}

static affect_window2d_shape pass_shape(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_window2d_shape shape = {0};
    shape_of(&shape, layer, NULL); /* was checked by build */
    shape.n = pass->n;
    return shape;
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    affect_window2d_shape shape;
    (void)builder;
    AFFECT_TRY(shape_of(&shape, layer, err));
    layer->output = (affect_shape){3, {shape.height_out, shape.width_out, shape.channels}};
    return AFFECT_STATUS_OK;
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_window2d_shape shape = pass_shape(layer, pass);
    pass->backend->ops->pool2d_forward(pass->backend, pass->y, pass->x, &shape);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_window2d_shape shape = pass_shape(layer, pass);
    if (pass->d_x)
        pass->backend->ops->pool2d_backward(pass->backend, pass->d_x, pass->d_y, pass->x, pass->y,
                                            &shape);
}

const affect_layer_class affect_layer_max_pooling2d = {
    .type = "max_pooling2d",
    .fields = fields,
    .options_size = sizeof(max_pooling2d),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
