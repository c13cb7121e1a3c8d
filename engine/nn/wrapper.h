/* What the two wrappers share. */
#ifndef AFFECT_NN_WRAPPER_H
#define AFFECT_NN_WRAPPER_H

#include "engine/nn/layer.h"

/* Checks that the wrapper's JSON is {"type", "layer": {...}} and nothing else, and gives the inner
 * layer's class and JSON (borrowed). Errors name branch and layer. */
affect_status affect_wrapper_open(const affect_layer_class **inner, const affect_json **json_inner,
                                  const affect_layer_builder *builder, const affect_json *json,
                                  const char *pointer, affect_error *err);
/* Fails at the inner layer: "branch.name: message". */
affect_status affect_wrapper_fail(affect_error *err, affect_status status,
                                  const affect_layer_builder *builder,
                                  const affect_json *json_inner, const char *pointer,
                                  const char *format, ...) __attribute__((format(printf, 6, 7)));

#endif
