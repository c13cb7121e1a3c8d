/* lstm: long short-term memory, gates i f c o, sigmoid and tanh (Keras' LSTM), in one direction or,
 * under `bidirectional`, in both.
 *
 * (steps, in) to (steps, directions units) with return_sequences, else (directions units): both
 * directions' outputs are concatenated. go_backwards is supported where Keras' result does not
 * depend on the order of its output: without return_sequences. */
#include "engine/nn/layer_registry.h"

#include <stdio.h>

typedef struct {
    int64_t units;
    bool return_sequences, use_bias, unit_forget_bias, go_backwards;
    double l2;
} lstm;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(lstm, units, 0, 1, AFFECT_MAX_LSTM_UNITS, "size of the state"),
    AFFECT_FIELD_BOOL(lstm, return_sequences, false, "the output of every step, not the last only"),
    AFFECT_FIELD_BOOL(lstm, use_bias, true, "add a bias per gate and unit"),
    AFFECT_FIELD_BOOL(lstm, unit_forget_bias, true, "the forget gate's bias starts at 1"),
    AFFECT_FIELD_BOOL(lstm, go_backwards, false, "walk the steps in reverse"),
    AFFECT_FIELD_NUMBER(lstm, l2, 0, 0, 1e6, "penalty on the input kernel's squares"),
    AFFECT_FIELD_END,
};

/* Slots of direction d: KERNEL + 3 d, ... */
enum { KERNEL, RECURRENT_KERNEL, BIAS, PER_DIRECTION };

static affect_status check(const affect_layer *layer, affect_error *err) {
    const lstm *o = layer->options;
    char text[AFFECT_SHAPE_TEXT_SIZE];
    if (!o->units) return affect_fail(err, INVALID, "units is missing (a size)");
    if (layer->input.rank != 2)
        return affect_fail(err, SHAPE, "needs an input (steps, features), has %s",
                           affect_shape_text(text, layer->input));
    if (o->go_backwards && layer->bidirectional)
        return affect_fail(err, UNSUPPORTED, "go_backwards inside bidirectional");
    if (o->go_backwards && o->return_sequences)
        return affect_fail(err, UNSUPPORTED, "go_backwards with return_sequences");
    return AFFECT_STATUS_OK;
}

static affect_status add_direction(affect_layer *layer, affect_layer_builder *builder,
                                   int direction, affect_error *err) {
    const lstm *o = layer->options;
    static const char *const prefixes[] = {"", "forward_", "backward_"};
    const char *prefix = prefixes[layer->bidirectional ? 1 + direction : 0];
    size_t units = (size_t)o->units, inputs = layer->input.size[1];
    int slot = PER_DIRECTION * direction;
    char name[32];
    snprintf(name, sizeof name, "%skernel", prefix);
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, slot + KERNEL, name,
                                       (affect_shape){2, {inputs, 4 * units}},
                                       AFFECT_INITIALIZER_GLOROT_UNIFORM, o->l2, err));
    snprintf(name, sizeof name, "%srecurrent_kernel", prefix);
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, slot + RECURRENT_KERNEL, name,
                                       (affect_shape){2, {units, 4 * units}},
                                       AFFECT_INITIALIZER_ORTHOGONAL, 0, err));
    if (!o->use_bias) return AFFECT_STATUS_OK;
    snprintf(name, sizeof name, "%sbias", prefix);
    return affect_layer_add_tensor(
        layer, builder, slot + BIAS, name, (affect_shape){1, {4 * units}},
        o->unit_forget_bias ? AFFECT_INITIALIZER_FORGET_ONE : AFFECT_INITIALIZER_ZEROS, 0, err);
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const lstm *o = layer->options;
    AFFECT_TRY(check(layer, err));
    size_t width = (size_t)o->units * (layer->bidirectional ? 2 : 1);
    if (o->return_sequences)
        layer->output = (affect_shape){2, {layer->input.size[0], width}};
    else
        layer->output = (affect_shape){1, {width}};
    for (int direction = 0; direction <= layer->bidirectional; direction++)
        AFFECT_TRY(add_direction(layer, builder, direction, err));
    return AFFECT_STATUS_OK;
}

static affect_lstm_shape shape_of(const affect_layer *layer, size_t n, size_t n_rows) {
    const lstm *o = layer->options;
    return (affect_lstm_shape){
        .batch = n,
        .steps = layer->input.size[0],
        .inputs = layer->input.size[1],
        .units = (size_t)o->units,
        .directions = layer->bidirectional ? 2 : 1,
        .reverse = o->go_backwards,
        .return_sequences = o->return_sequences,
        .n_rows = n_rows,
    };
}

static affect_lstm_shape pass_shape(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_lstm_shape shape = shape_of(layer, pass->n, pass->n_rows);
    shape.first = pass->first;
    shape.lengths = pass->lengths;
    return shape;
}

typedef affect_real *tensor_getter(const affect_layer *layer, const affect_layer_pass *pass,
                                   int slot);

static affect_lstm_parameters parameters_of(const affect_layer *layer,
                                            const affect_layer_pass *pass, tensor_getter *get) {
    affect_lstm_parameters parameters = {0};
    for (int d = 0; d <= layer->bidirectional; d++) {
        parameters.kernel[d] = get(layer, pass, PER_DIRECTION * d + KERNEL);
        parameters.recurrent_kernel[d] = get(layer, pass, PER_DIRECTION * d + RECURRENT_KERNEL);
        parameters.bias[d] = get(layer, pass, PER_DIRECTION * d + BIAS);
    }
    return parameters;
}

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    affect_lstm_shape shape = shape_of(layer, n, n_rows);
    return backend->ops->lstm_reserve(backend, &shape);
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    affect_lstm_shape shape = shape_of(layer, n, n_rows);
    return backend->ops->lstm_workspace(backend, &shape);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, void *reserve) {
    affect_lstm_shape shape = pass_shape(layer, pass);
    affect_lstm_parameters parameters = parameters_of(layer, pass, affect_layer_tensor);
    pass->backend->ops->lstm_forward(pass->backend, pass->y, reserve, pass->x, &parameters,
                                     pass->workspace, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, NULL);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_lstm_shape shape = pass_shape(layer, pass);
    affect_lstm_parameters parameters = parameters_of(layer, pass, affect_layer_tensor);
    affect_lstm_parameters gradients = parameters_of(layer, pass, affect_layer_gradient);
    pass->backend->ops->lstm_backward(pass->backend, pass->d_x, &gradients, pass->d_y, pass->x,
                                      pass->y, pass->saved, &parameters, pass->workspace, &shape);
}

const affect_layer_class affect_layer_lstm = {
    .type = "lstm",
    .fields = fields,
    .options_size = sizeof(lstm),
    .gates = "i f c o",
    .can_fold = true,
    .is_rowwise = true,
    .reads_deduplicated = true,
    .masks = true,
    .build = build,
    .saved_size = saved_size,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
