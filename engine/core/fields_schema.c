/* Field tables as JSON Schema; see fields.h.
 *
 * Each row becomes a property. What a row cannot hold (alternatives, patterns, sizes of arrays) is
 * in its `schema`, written beside the code that checks it. A string's bytes are counted, the
 * schema's maxLength counts characters: it is a bound that no shorter text exceeds in ASCII. */
#include "engine/core/fields.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The members of a row's `schema`; ' stands for ". */
static affect_json *parse_schema(const char *text) {
    affect_json *json = NULL;
    char *quoted = strdup(text);
    for (char *c = quoted; c && *c; c++)
        if (*c == '\'') *c = '"';
    affect_status status =
        quoted ? affect_json_parse(&json, quoted, strlen(quoted), NULL) : AFFECT_STATUS_NO_MEMORY;
    assert(status != AFFECT_STATUS_MALFORMED);
    (void)status;
    free(quoted);
    return json;
}

static affect_json *nested_schema(const affect_field *table,
                                  const char *(*name_of)(const affect_field *table)) {
    const char *name = name_of ? name_of(table) : NULL;
    if (!name) return affect_fields_schema(table, name_of);
    affect_json *reference = affect_json_new_object();
    char text[128];
    snprintf(text, sizeof text, "#/components/schemas/%s", name);
    affect_json_set_string(reference, "$ref", text);
    return reference;
}

/* An object by its table, another shape by its schema, or one of the two. */
static affect_json *json_schema(const affect_field *field,
                                const char *(*name_of)(const affect_field *table)) {
    affect_json *own = field->schema ? parse_schema(field->schema) : NULL;
    if (!field->fields) return own ? own : affect_json_new_object();
    affect_json *object = nested_schema(field->fields, name_of);
    if (!own) return object;
    if (affect_json_get(own, "oneOf")) {
        affect_json_append(affect_json_get(own, "oneOf"), object);
        return own;
    }
    affect_json *either = affect_json_new_object(), *list = affect_json_set_array(either, "oneOf");
    affect_json_append(list, own);
    affect_json_append(list, object);
    return either;
}

static void add_bounds(affect_json *schema, const affect_field *field) {
    affect_json_set_number(schema, "minimum", field->minimum);
    affect_json_set_number(schema, "maximum", field->maximum);
    /* A default out of bounds stands for "not given". */
    if (field->default_number >= field->minimum && field->default_number <= field->maximum)
        affect_json_set_number(schema, "default", field->default_number);
}

static void add_type(affect_json *schema, const affect_field *field) {
    switch (field->kind) {
    case AFFECT_FIELD_KIND_BOOL:
        affect_json_set_string(schema, "type", "boolean");
        affect_json_set_bool(schema, "default", field->default_number != 0);
        break;
    case AFFECT_FIELD_KIND_INTEGER:
        affect_json_set_string(schema, "type", "integer");
        add_bounds(schema, field);
        break;
    case AFFECT_FIELD_KIND_NUMBER:
        affect_json_set_string(schema, "type", "number");
        add_bounds(schema, field);
        break;
    case AFFECT_FIELD_KIND_STRING:
        affect_json_set_string(schema, "type", "string");
        if (field->minimum > 0) affect_json_set_number(schema, "minLength", field->minimum);
        if (field->size > 0) affect_json_set_number(schema, "maxLength", (double)field->size - 1);
        if (field->default_string && *field->default_string)
            affect_json_set_string(schema, "default", field->default_string);
        break;
    case AFFECT_FIELD_KIND_CHOICE: {
        affect_json_set_string(schema, "type", "string");
        affect_json *names = affect_json_set_array(schema, "enum");
        for (int i = 0; field->choices[i]; i++)
            affect_json_append(names, affect_json_new_string(field->choices[i]));
        affect_json_set_string(schema, "default", field->choices[(int)field->default_number]);
        break;
    }
    case AFFECT_FIELD_KIND_JSON:
        break;
    }
}

affect_json *affect_field_schema(const affect_field *field,
                                 const char *(*name_of)(const affect_field *table)) {
    affect_json *schema;
    if (field->kind == AFFECT_FIELD_KIND_JSON) {
        schema = json_schema(field, name_of);
    } else {
        schema = affect_json_new_object();
        add_type(schema, field);
        affect_json *more = field->schema ? parse_schema(field->schema) : NULL;
        for (const affect_json *m = affect_json_first(more); m; m = affect_json_next(m))
            affect_json_set(schema, affect_json_name(m), affect_json_copy(m));
        affect_json_free(more);
        if (field->required) affect_json_free(affect_json_detach(schema, "default"));
    }
    affect_json_set_string(schema, "description", field->help);
    if (field->complete) field->complete(schema);
    return schema;
}

affect_json *affect_fields_schema(const affect_field *table,
                                  const char *(*name_of)(const affect_field *table)) {
    affect_json *schema = affect_json_new_object();
    affect_json_set_string(schema, "type", "object");
    affect_json *properties = affect_json_set_object(schema, "properties"), *required = NULL;
    for (const affect_field *field = table; field->name; field++) {
        affect_json_set(properties, field->name, affect_field_schema(field, name_of));
        if (!field->required) continue;
        if (!required) required = affect_json_set_array(schema, "required");
        affect_json_append(required, affect_json_new_string(field->name));
    }
    affect_json_set_bool(schema, "additionalProperties", false);
    return schema;
}
