/* A layer for a test: "twice", its input doubled. */
#include "engine/nn/layer_registry.h"

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    (void)builder, (void)err;
    layer->output = layer->input;
    return AFFECT_STATUS_OK;
}

static void double_it(const affect_layer_pass *pass, affect_real *to, const affect_real *from,
                      size_t n) {
    pass->backend->ops->copy(pass->backend, to, from, n * sizeof *to);
    pass->backend->ops->add(pass->backend, to, from, n);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    double_it(pass, pass->y, pass->x, pass->n * affect_shape_count(layer->input));
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    if (pass->d_x)
        double_it(pass, pass->d_x, pass->d_y, pass->n * affect_shape_count(layer->input));
}

const affect_layer_class affect_layer_twice = {
    .type = "twice",
    .fields = fields,
    .can_fold = true,
    .keeps_steps = true,
    .is_rowwise = true,
    .build = build,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
