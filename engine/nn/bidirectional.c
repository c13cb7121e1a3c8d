/* bidirectional: an lstm in both directions, outputs concatenated (Keras' Bidirectional, merge mode
 * "concat"). Its tensors are the lstm's, twice: forward_kernel, ..., backward_bias. */
#include "engine/nn/layer_registry.h"
#include "engine/nn/wrapper.h"

#include <stdio.h>

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_status wrap(affect_layer **layer, affect_layer_builder *builder,
                          const affect_json *json, affect_shape input, const char *pointer,
                          affect_error *err) {
    const affect_layer_class *class = NULL;
    const affect_json *inner = NULL;
    char inner_pointer[128];
    snprintf(inner_pointer, sizeof inner_pointer, "%.110s/layer", pointer);
    AFFECT_TRY(affect_wrapper_open(&class, &inner, builder, json, pointer, err));
    if (class != &affect_layer_lstm)
        return affect_wrapper_fail(err, AFFECT_STATUS_INVALID, builder, inner, inner_pointer,
                                   "%s inside bidirectional (only lstm)", class->type);
    builder->bidirectional = true;
    affect_status status = affect_layer_create(layer, builder, inner, input, inner_pointer, err);
    builder->bidirectional = false;
    return status;
}

const affect_layer_class affect_layer_bidirectional = {
    .type = "bidirectional",
    .fields = fields,
    .can_fold = true,
    .wrap = wrap,
};
