/* What the two wrappers share; see wrapper.h. */
#include "engine/nn/wrapper.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

affect_status affect_wrapper_fail(affect_error *err, affect_status status,
                                  const affect_layer_builder *builder,
                                  const affect_json *json_inner, const char *pointer,
                                  const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    affect_error_set(err, status, "%s.%.40s: %s", builder->branch,
                     affect_json_get_string(json_inner, "name", "?"), text);
    if (err) snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return status;
}

affect_status affect_wrapper_open(const affect_layer_class **inner, const affect_json **json_inner,
                                  const affect_layer_builder *builder, const affect_json *json,
                                  const char *pointer, affect_error *err) {
    const char *type = affect_json_get_string(json, "type", "");
    *json_inner = affect_json_get(json, "layer");
    if (!affect_json_is_object(*json_inner))
        return affect_wrapper_fail(err, AFFECT_STATUS_INVALID, builder, NULL, pointer,
                                   "%s holds no layer (need \"layer\": {...})", type);
    for (const affect_json *m = affect_json_first(json); m; m = affect_json_next(m)) {
        const char *name = affect_json_name(m);
        if (strcmp(name, "type") == 0 || strcmp(name, "layer") == 0) continue;
        return affect_wrapper_fail(err, AFFECT_STATUS_INVALID, builder, *json_inner, pointer,
                                   "%s: unknown field \"%.60s\" (known: type, layer; the name "
                                   "belongs to the layer it holds)",
                                   type, name);
    }
    const char *inner_type = affect_json_get_string(*json_inner, "type", "");
    *inner = affect_layer_class_find(inner_type);
    if (!*inner)
        return affect_wrapper_fail(err, AFFECT_STATUS_INVALID, builder, *json_inner, pointer,
                                   "%s around layer type \"%.40s\", which is unknown", type,
                                   inner_type);
    return AFFECT_STATUS_OK;
}
