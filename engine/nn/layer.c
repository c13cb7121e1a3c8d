/* Making layers from JSON, and what their files share; see layer.h. */
#include "engine/nn/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const affect_activation_names[] = {"linear", "relu", "tanh", "sigmoid", NULL};
const char *const affect_activation_names_all[] = {"linear",  "relu",    "tanh",
                                                   "sigmoid", "softmax", NULL};
const char *const affect_padding_names[] = {"valid", "same", NULL};

static affect_status fail_at(affect_error *err, const char *pointer, const char *member,
                             affect_status status, const char *format, const char *detail) {
    affect_error_set(err, status, format, detail); /* NOLINT: formats are this file's literals */
    if (err)
        snprintf(err->pointer, sizeof err->pointer, "%s%s%s", pointer, *member ? "/" : "", member);
    return status;
}

static bool is_name(const char *text) {
    if (!(*text >= 'a' && *text <= 'z')) return false;
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || *text == '_'))
            return false;
    return true;
}

static affect_status read_name(affect_layer *layer, const affect_layer_builder *builder,
                               const affect_json *json, const char *pointer, affect_error *err) {
    const char *name = affect_json_get_string(json, "name", NULL);
    const char *at = name ? "name" : "";
    char where[160];
    snprintf(where, sizeof where, "%.24s: %s layer at %.100s", builder->branch, layer->class->type,
             pointer);
    if (!name) return fail_at(err, pointer, at, AFFECT_STATUS_INVALID, "%s has no name", where);
    if (strlen(name) > AFFECT_LAYER_NAME_MAX)
        return fail_at(err, pointer, at, AFFECT_STATUS_INVALID,
                       "%s: name is longer than 40 characters", where);
    if (!is_name(name))
        return fail_at(err, pointer, at, AFFECT_STATUS_INVALID,
                       "%s: name does not have the form [a-z][a-z0-9_]*", where);
    snprintf(layer->name, sizeof layer->name, "%s", name);
    snprintf(layer->branch, sizeof layer->branch, "%s", builder->branch);
    return AFFECT_STATUS_OK;
}

static affect_status read_options(affect_layer *layer, const affect_json *json, const char *pointer,
                                  affect_error *err) {
    affect_json *fields = affect_json_copy(json);
    layer->options = calloc(1, layer->class->options_size ? layer->class->options_size : 1);
    affect_status status = AFFECT_STATUS_OK;
    if (!fields || !layer->options) {
        status = affect_fail(err, NO_MEMORY, "no memory for a layer");
    } else {
        affect_json_free(affect_json_detach(fields, "type"));
        affect_json_free(affect_json_detach(fields, "name"));
        affect_fields_default(layer->options, layer->class->fields);
        status = affect_fields_parse(layer->options, layer->class->fields, fields, pointer, err);
    }
    affect_json_free(fields);
    return status;
}

/* The output must be of a size we are willing to compute. */
static affect_status check_output(const affect_layer *layer, affect_error *err) {
    double count = (double)layer->fold;
    for (int i = 0; i < layer->output.rank; i++) count *= (double)layer->output.size[i];
    if (count > AFFECT_MAX_LAYER_OUTPUT)
        return affect_fail(err, TOO_LARGE, "makes %.0f numbers of one utterance (at most %d)",
                           count, AFFECT_MAX_LAYER_OUTPUT);
    return AFFECT_STATUS_OK;
}

/* Errors of a layer start with its name; those without a pointer get the layer's. */
static affect_status name_error(const affect_layer *layer, affect_status status,
                                const char *pointer, affect_error *err) {
    if (status == AFFECT_STATUS_OK) return status;
    if (err && !*err->pointer) snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return affect_error_prefix(err, status, "%s.%s", layer->branch, layer->name);
}

static affect_status find_class(const affect_layer_class **class, const affect_json *json,
                                const char *branch, const char *pointer, affect_error *err) {
    char known[400], text[600];
    const char *type = affect_json_get_string(json, "type", NULL);
    *class = type ? affect_layer_class_find(type) : NULL;
    if (*class) return AFFECT_STATUS_OK;
    affect_layer_class_names(known, sizeof known);
    const char *name = affect_json_get_string(json, "name", NULL);
    snprintf(text, sizeof text, "%.24s.%.40s: layer type \"%.40s\" is unknown (known: %s)", branch,
             name ? name : "?", type ? type : "", known);
    return fail_at(err, pointer, "type", AFFECT_STATUS_INVALID, "%s", text);
}

affect_status affect_layer_create_joining(affect_layer **layer, affect_layer_builder *builder,
                                          const affect_json *json, const affect_shape *inputs,
                                          size_t n_inputs, const char *pointer, affect_error *err) {
    const affect_layer_class *class = NULL;
    AFFECT_TRY(find_class(&class, json, builder->branch, pointer, err));
    if (n_inputs > 1 && !class->joins) {
        char text[160];
        snprintf(text, sizeof text,
                 "%.24s: a %s reads one input, not %zu (add and concatenate join)", builder->branch,
                 class->type, n_inputs);
        return fail_at(err, pointer, "", AFFECT_STATUS_INVALID, "%s", text);
    }
    if (class->wrap) return class->wrap(layer, builder, json, inputs[0], pointer, err);
    if (builder->n_layers >= AFFECT_MAX_LAYERS)
        return fail_at(err, pointer, "", AFFECT_STATUS_TOO_LARGE,
                       "%s: more than 256 layers in the architecture", builder->branch);
    affect_layer *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a layer");
    made->class = class;
    made->runs = class;
    made->input = inputs[0];
    made->fold = 1;
    made->index = builder->n_layers;
    made->bidirectional = builder->bidirectional;
    made->n_inputs = n_inputs;
    memcpy(made->inputs, inputs, n_inputs * sizeof *inputs);
    affect_status status = read_name(made, builder, json, pointer, err);
    if (status == AFFECT_STATUS_OK) {
        status = read_options(made, json, pointer, err);
        if (status == AFFECT_STATUS_OK) status = class->build(made, builder, err);
        if (status == AFFECT_STATUS_OK) status = check_output(made, err);
        status = name_error(made, status, pointer, err);
    }
    if (status != AFFECT_STATUS_OK) {
        affect_layer_free(made);
        return status;
    }
    made->outside = made->output;
    builder->n_layers++;
    *layer = made;
    return AFFECT_STATUS_OK;
}

affect_status affect_layer_create(affect_layer **layer, affect_layer_builder *builder,
                                  const affect_json *json, affect_shape input, const char *pointer,
                                  affect_error *err) {
    return affect_layer_create_joining(layer, builder, json, &input, 1, pointer, err);
}

void affect_layer_free(affect_layer *layer) {
    if (!layer) return;
    if (layer->options) affect_fields_free(layer->options, layer->class->fields);
    free(layer->options);
    free(layer);
}

static affect_status grow(affect_layer_builder *builder, affect_error *err) {
    if (builder->n_parameters < builder->capacity) return AFFECT_STATUS_OK;
    size_t capacity = builder->capacity ? 2 * builder->capacity : 64;
    affect_parameter *more = realloc(builder->parameters, capacity * sizeof *more);
    if (!more) return affect_fail(err, NO_MEMORY, "no memory for the list of tensors");
    builder->parameters = more;
    builder->capacity = capacity;
    return AFFECT_STATUS_OK;
}

static affect_status add(affect_layer *layer, affect_layer_builder *builder, int slot,
                         const affect_parameter *parameter, const char *name, affect_error *err) {
    double count = 1;
    for (int i = 0; i < parameter->shape.rank; i++) count *= (double)parameter->shape.size[i];
    size_t *total = parameter->trainable ? &builder->n_trainable : &builder->n_statistics;
    if (count + (double)*total > AFFECT_MAX_TRAINABLE)
        return affect_fail(err, TOO_LARGE, "%s brings the network to %.0f parameters (at most %d)",
                           name, count + (double)*total, AFFECT_MAX_TRAINABLE);
    AFFECT_TRY(grow(builder, err));
    affect_parameter *to = &builder->parameters[builder->n_parameters++];
    *to = *parameter;
    to->offset = *total;
    snprintf(to->name, sizeof to->name, "%s.%s.%s", layer->branch, layer->name, name);
    layer->tensors[slot].present = true;
    layer->tensors[slot].trainable = parameter->trainable;
    layer->tensors[slot].offset = *total;
    layer->n_numbers += (size_t)count;
    *total += (size_t)count;
    return AFFECT_STATUS_OK;
}

affect_status affect_layer_add_tensor(affect_layer *layer, affect_layer_builder *builder, int slot,
                                      const char *name, affect_shape shape,
                                      affect_initializer initializer, double l2,
                                      affect_error *err) {
    affect_parameter parameter = {
        .shape = shape, .trainable = true, .initializer = initializer, .l2 = l2};
    return add(layer, builder, slot, &parameter, name, err);
}

affect_status affect_layer_add_statistic(affect_layer *layer, affect_layer_builder *builder,
                                         int slot, const char *name, affect_shape shape,
                                         affect_initializer initializer, affect_error *err) {
    affect_parameter parameter = {.shape = shape, .initializer = initializer};
    return add(layer, builder, slot, &parameter, name, err);
}

affect_real *affect_layer_tensor(const affect_layer *layer, const affect_layer_pass *pass,
                                 int slot) {
    if (!layer->tensors[slot].present) return NULL;
    affect_real *block = layer->tensors[slot].trainable ? pass->parameters : pass->statistics;
    return block + layer->tensors[slot].offset;
}

affect_real *affect_layer_gradient(const affect_layer *layer, const affect_layer_pass *pass,
                                   int slot) {
    return layer->tensors[slot].present ? pass->gradients + layer->tensors[slot].offset : NULL;
}

affect_status affect_window(size_t *length_out, size_t *pad_left, const affect_layer *layer,
                            const char *what, size_t size, size_t stride, affect_padding padding,
                            affect_error *err) {
    char text[AFFECT_SHAPE_TEXT_SIZE];
    affect_shape_text(text, layer->input);
    if (layer->input.rank != 2)
        return affect_fail(err, SHAPE, "needs an input (length, channels), has %s", text);
    size_t length = layer->input.size[0];
    *pad_left = 0;
    if (padding == AFFECT_PADDING_SAME) { /* as TensorFlow pads */
        *length_out = (length + stride - 1) / stride;
        size_t covered = (*length_out - 1) * stride + size;
        *pad_left = covered > length ? (covered - length) / 2 : 0;
        return AFFECT_STATUS_OK;
    }
    if (size > length)
        return affect_fail(err, SHAPE, "%s %zu is longer than its input %s", what, size, text);
    *length_out = (length - size) / stride + 1;
    return AFFECT_STATUS_OK;
}
