/* dropout: in training, sets a share of the numbers to zero and divides the rest by what is left
 * (Keras' Dropout); in inference, nothing.
 *
 * The mask is a function of (seed, step's stream, layer's index, element), so that backward draws
 * the same one again and nothing is stored. */
#include "engine/nn/layer_registry.h"

typedef struct {
    double rate;
} dropout;

static const affect_field fields[] = {
    AFFECT_FIELD_NUMBER(dropout, rate, -1, 0, 0.999, "share set to zero"),
    AFFECT_FIELD_END,
};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const dropout *o = layer->options;
    if (o->rate < 0) return affect_fail(err, INVALID, "rate is missing (0..0.999)");
    layer->output = layer->input;
    (void)builder;
    return AFFECT_STATUS_OK;
}

static affect_dropout_shape shape_of(const affect_layer *layer, const affect_layer_pass *pass) {
    const dropout *o = layer->options;
    return (affect_dropout_shape){
        .n = pass->n * affect_shape_count(layer->input),
        .rate = o->rate,
        .key = {pass->dropout.seed,
                affect_random_stream("dropout", pass->dropout.stream, layer->index)},
        .first = pass->first_utterance * layer->fold * affect_shape_count(layer->input),
    };
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_dropout_shape shape = shape_of(layer, pass);
    pass->backend->ops->dropout(pass->backend, pass->y, pass->x, &shape);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_dropout_shape shape = shape_of(layer, pass);
    if (pass->d_x) pass->backend->ops->dropout(pass->backend, pass->d_x, pass->d_y, &shape);
}

const affect_layer_class affect_layer_dropout = {
    .type = "dropout",
    .fields = fields,
    .options_size = sizeof(dropout),
    .can_fold = true,
    .keeps_steps = true,
    .build = build,
    .forward = forward,
    .backward = backward,
};
