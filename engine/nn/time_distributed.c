/* time_distributed: applies a layer to each frame (Keras' TimeDistributed).
 *
 * (frames, ...) to (frames, ...): the frames are folded into the rows, so the inner layer runs as
 * it is on batch * frames rows. That is the same for every layer that treats rows alike;
 * batch_norm does not, and is refused. */
#include "engine/nn/layer_registry.h"
#include "engine/nn/wrapper.h"

#include <stdio.h>
#include <string.h>

static const affect_field fields[] = {AFFECT_FIELD_END};

static affect_shape without_frames(affect_shape shape) {
    affect_shape rest = {.rank = shape.rank - 1};
    memcpy(rest.size, shape.size + 1, (size_t)rest.rank * sizeof *rest.size);
    return rest;
}

static affect_status wrap(affect_layer **layer, affect_layer_builder *builder,
                          const affect_json *json, affect_shape input, const char *pointer,
                          affect_error *err) {
    const affect_layer_class *class = NULL;
    const affect_json *inner = NULL;
    char text[AFFECT_SHAPE_TEXT_SIZE], inner_pointer[128];
    snprintf(inner_pointer, sizeof inner_pointer, "%.110s/layer", pointer);
    AFFECT_TRY(affect_wrapper_open(&class, &inner, builder, json, pointer, err));
    if (!class->can_fold)
        return affect_wrapper_fail(err, AFFECT_STATUS_UNSUPPORTED, builder, inner, inner_pointer,
                                   "%s inside time_distributed (batch_norm: leave the wrapper out, "
                                   "it normalises over batch and frames)",
                                   class->type);
    if (input.rank < 2)
        return affect_wrapper_fail(err, AFFECT_STATUS_SHAPE, builder, inner, pointer,
                                   "time_distributed needs an input (frames, ...), has %s",
                                   affect_shape_text(text, input));
    affect_layer *made = NULL;
    AFFECT_TRY(
        affect_layer_create(&made, builder, inner, without_frames(input), inner_pointer, err));
    made->fold = input.size[0];
    made->outside = (affect_shape){.rank = made->output.rank + 1, .size = {input.size[0]}};
    memcpy(made->outside.size + 1, made->output.size,
           (size_t)made->output.rank * sizeof *made->output.size);
    if ((double)made->fold * (double)affect_shape_count(made->output) > AFFECT_MAX_LAYER_OUTPUT) {
        affect_layer_free(made);
        return affect_wrapper_fail(err, AFFECT_STATUS_TOO_LARGE, builder, inner, pointer,
                                   "makes more than %d numbers of one utterance",
                                   AFFECT_MAX_LAYER_OUTPUT);
    }
    *layer = made;
    return AFFECT_STATUS_OK;
}

const affect_layer_class affect_layer_time_distributed = {
    .type = "time_distributed",
    .fields = fields,
    .wrap = wrap,
};
