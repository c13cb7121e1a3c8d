/* Variables of an architecture; see variables.h. */
#include "engine/model/variables.h"

#include <stdio.h>
#include <string.h>

enum { MAX_VARIABLES = 256 /* each "$name" looks through them */ };

static affect_status fail_at(affect_error *err, const char *pointer) {
    if (err) snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return AFFECT_STATUS_INVALID;
}

/* Names what a variable may not be. */
static affect_status check_variable(const affect_json *value, const affect_sizes *sizes,
                                    affect_error *err) {
    size_t size;
    const char *name = affect_json_name(value);
    const char *text = affect_json_string(value, "");
    char pointer[128];
    snprintf(pointer, sizeof pointer, "/variables/%.80s", name);
    if (affect_sizes_variable(&size, sizes, name)) {
        affect_fail(err, INVALID, "variables: %s is a size, which the data gives", name);
        return fail_at(err, pointer);
    }
    bool plain = affect_json_is_number(value) || affect_json_is_bool(value) ||
                 (affect_json_is_string(value) && text[0] != '$');
    if (plain) return AFFECT_STATUS_OK;
    affect_fail(err, INVALID, "variables: %.80s is neither a number, a boolean nor a plain string",
                name);
    return fail_at(err, pointer);
}

affect_status affect_variables_override(affect_json *document, const affect_json *overrides,
                                        const affect_sizes *sizes, affect_error *err) {
    affect_json *variables = affect_json_get(document, "variables");
    if (variables && !affect_json_is_object(variables)) {
        affect_fail(err, INVALID, "variables: is a %s (need an object)",
                    affect_json_type_name(variables));
        return fail_at(err, "/variables");
    }
    if (affect_json_size(variables) > MAX_VARIABLES) {
        affect_fail(err, INVALID, "variables: more than %d", MAX_VARIABLES);
        return fail_at(err, "/variables");
    }
    for (const affect_json *v = affect_json_first(overrides); v; v = affect_json_next(v)) {
        const char *name = affect_json_name(v);
        if (!name || !affect_json_get(variables, name)) {
            affect_fail(err, INVALID, "variables: the architecture has no variable \"%.80s\"",
                        name ? name : "");
            char pointer[128];
            snprintf(pointer, sizeof pointer, "/variables/%.80s", name ? name : "");
            return fail_at(err, pointer);
        }
        affect_json_free(affect_json_detach(variables, name));
        if (!affect_json_set(variables, name, affect_json_copy(v)))
            return affect_fail(err, NO_MEMORY, "no memory for variables");
    }
    for (const affect_json *v = affect_json_first(variables); v; v = affect_json_next(v))
        AFFECT_TRY(check_variable(v, sizes, err));
    return AFFECT_STATUS_OK;
}

typedef struct {
    const affect_json *variables;
    const affect_sizes *sizes;
    affect_error *err;
} resolver;

static affect_json *resolve(const resolver *r, const affect_json *json, const char *pointer);

static affect_json *look_up(const resolver *r, const char *name, const char *pointer) {
    char known[AFFECT_SIZES_NAMES_SIZE];
    size_t size;
    if (affect_sizes_variable(&size, r->sizes, name)) return affect_json_new_number((double)size);
    const affect_json *value = affect_json_get(r->variables, name);
    if (value) return affect_json_copy(value);
    affect_fail(r->err, INVALID,
                "variable \"$%.60s\" is unknown (neither in \"variables\" nor a size: %.300s)",
                name, affect_sizes_variables(known, r->sizes));
    fail_at(r->err, pointer);
    return NULL;
}

static affect_json *resolve_members(const resolver *r, const affect_json *json,
                                    const char *pointer) {
    bool is_object = affect_json_is_object(json);
    affect_json *to = is_object ? affect_json_new_object() : affect_json_new_array();
    size_t index = 0;
    for (const affect_json *m = affect_json_first(json); m; m = affect_json_next(m), index++) {
        char below[128];
        if (is_object)
            snprintf(below, sizeof below, "%.80s/%.40s", pointer, affect_json_name(m));
        else
            snprintf(below, sizeof below, "%.100s/%zu", pointer, index);
        affect_json *value = resolve(r, m, below);
        affect_json *set = !value      ? NULL
                           : is_object ? affect_json_add(to, affect_json_name(m), value)
                                       : affect_json_append(to, value);
        if (!set) {
            affect_json_free(to);
            return NULL;
        }
    }
    return to;
}

static affect_json *resolve(const resolver *r, const affect_json *json, const char *pointer) {
    const char *text = affect_json_string(json, "");
    if (text[0] == '$') return look_up(r, text + 1, pointer);
    if (affect_json_is_object(json) || affect_json_is_array(json))
        return resolve_members(r, json, pointer);
    return affect_json_copy(json);
}

affect_status affect_variables_resolve(affect_json **resolved, const affect_json *document,
                                       const affect_sizes *sizes, affect_error *err) {
    affect_error own = {0};
    resolver r = {affect_json_get(document, "variables"), sizes, err ? err : &own};
    r.err->status = AFFECT_STATUS_OK;
    *resolved = resolve(&r, document, "");
    if (*resolved) {
        affect_json_free(affect_json_detach(*resolved, "variables"));
        return AFFECT_STATUS_OK;
    }
    if (r.err->status == AFFECT_STATUS_INVALID) return AFFECT_STATUS_INVALID;
    return affect_fail(err, NO_MEMORY, "no memory for an architecture");
}
