/* Field tables; see fields.h. */
#include "engine/core/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *member(void *object, const affect_field *field) {
    return (char *)object + field->offset;
}

static void set_number(void *object, const affect_field *field, double number) {
    void *to = member(object, field);
    switch (field->kind) {
    case AFFECT_FIELD_KIND_BOOL:
        *(bool *)to = number != 0;
        break;
    case AFFECT_FIELD_KIND_INTEGER:
        *(int64_t *)to = (int64_t)number;
        break;
    case AFFECT_FIELD_KIND_NUMBER:
        *(double *)to = number;
        break;
    case AFFECT_FIELD_KIND_CHOICE:
        *(int *)to = (int)number;
        break;
    default:
        break;
    }
}

void affect_fields_default(void *object, const affect_field *table) {
    for (const affect_field *field = table; field->name; field++) {
        if (field->kind == AFFECT_FIELD_KIND_JSON)
            *(affect_json **)member(object, field) = NULL;
        else if (field->kind == AFFECT_FIELD_KIND_STRING)
            snprintf(member(object, field), field->size, "%s",
                     field->default_string ? field->default_string : "");
        else
            set_number(object, field, field->default_number);
    }
}

affect_status affect_field_fail(affect_error *err, const char *path, const char *name,
                                const char *format, ...) {
    char text[sizeof err->message];
    char pointer[sizeof err->pointer];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int used = snprintf(pointer, sizeof pointer, "%s%s", path, *name ? "/" : "");
    for (const char *c = name; *c && used >= 0 && (size_t)used + 3 < sizeof pointer; c++) {
        if (*c == '~' || *c == '/') pointer[used++] = '~';
        pointer[used++] = *c == '~' ? '0' : *c == '/' ? '1' : *c;
        pointer[used] = '\0';
    }
    affect_fail(err, INVALID, "%.100s%s%.400s", name, *name ? ": " : "", text);
    return affect_error_at(err, AFFECT_STATUS_INVALID, pointer);
}

static affect_status check_number(const affect_field *field, double number, const char *path,
                                  affect_error *err) {
    if (field->kind == AFFECT_FIELD_KIND_INTEGER && number != floor(number))
        return affect_field_fail(err, path, field->name, "%g is not an integer", number);
    if (!(number >= field->minimum && number <= field->maximum))
        return affect_field_fail(err, path, field->name, "%.15g is out of bounds (%.15g..%.15g)",
                                 number, field->minimum, field->maximum);
    return AFFECT_STATUS_OK;
}

static affect_status set_string(void *object, const affect_field *field, const char *text,
                                const char *path, affect_error *err) {
    if (field->kind == AFFECT_FIELD_KIND_STRING) {
        if (strlen(text) >= field->size)
            return affect_field_fail(err, path, field->name, "longer than %zu bytes",
                                     field->size - 1);
        if ((double)strlen(text) < field->minimum)
            return affect_field_fail(err, path, field->name, "is empty");
        strcpy(member(object, field), text);
        return AFFECT_STATUS_OK;
    }
    char allowed[256] = "";
    for (int i = 0; field->choices[i]; i++) {
        if (strcmp(field->choices[i], text) == 0) {
            *(int *)member(object, field) = i;
            return AFFECT_STATUS_OK;
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s", i ? ", " : "", field->choices[i]);
    }
    return affect_field_fail(err, path, field->name, "\"%.80s\" is not one of: %s", text, allowed);
}

static affect_status wrong_type(const affect_field *field, const affect_json *json,
                                const char *path, affect_error *err) {
    static const char *const wanted[] = {"a boolean", "an integer", "a number",
                                         "a string",  "a string",   "a value"};
    return affect_field_fail(err, path, field->name, "is a %s (need %s)",
                             affect_json_type_name(json), wanted[field->kind]);
}

static affect_status set_json(void *object, const affect_field *field, const affect_json *json,
                              affect_error *err) {
    affect_json **to = member(object, field);
    affect_json *copy = affect_json_copy(json);
    if (!copy) return affect_fail(err, NO_MEMORY, "%s: no memory", field->name);
    affect_json_free(*to);
    *to = copy;
    return AFFECT_STATUS_OK;
}

static affect_status parse_field(void *object, const affect_field *field, const affect_json *json,
                                 const char *path, affect_error *err) {
    switch (field->kind) {
    case AFFECT_FIELD_KIND_BOOL:
        if (!affect_json_is_bool(json)) break;
        *(bool *)member(object, field) = affect_json_bool(json, false);
        return AFFECT_STATUS_OK;
    case AFFECT_FIELD_KIND_INTEGER:
    case AFFECT_FIELD_KIND_NUMBER:
        if (!affect_json_is_number(json)) break;
        AFFECT_TRY(check_number(field, affect_json_number(json, 0), path, err));
        set_number(object, field, affect_json_number(json, 0));
        return AFFECT_STATUS_OK;
    case AFFECT_FIELD_KIND_STRING:
    case AFFECT_FIELD_KIND_CHOICE:
        if (!affect_json_is_string(json)) break;
        return set_string(object, field, affect_json_string(json, ""), path, err);
    case AFFECT_FIELD_KIND_JSON:
        return set_json(object, field, json, err);
    }
    return wrong_type(field, json, path, err);
}

const affect_field *affect_fields_find(const affect_field *table, const char *name) {
    for (const affect_field *field = table; field->name; field++)
        if (strcmp(field->name, name) == 0) return field;
    return NULL;
}

static affect_status fail_unknown(const affect_field *table, const char *name, const char *path,
                                  affect_error *err) {
    char known[300] = "";
    for (const affect_field *field = table; field->name; field++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", field->name);
    }
    char shown[64];
    snprintf(shown, sizeof shown, "%s", name);
    return affect_field_fail(err, path, shown, "unknown field (known: %s)", known);
}

affect_status affect_fields_parse(void *object, const affect_field *table, const affect_json *json,
                                  const char *path, affect_error *err) {
    if (!json) return AFFECT_STATUS_OK;
    if (!affect_json_is_object(json)) {
        affect_fail(err, INVALID, "%s: is a %s (need an object)", *path ? path : "document",
                    affect_json_type_name(json));
        return affect_error_at(err, AFFECT_STATUS_INVALID, path);
    }
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *item = affect_json_first(json); item; item = affect_json_next(item)) {
        const affect_field *field = affect_fields_find(table, affect_json_name(item));
        AFFECT_CHECK(status, err,
                     field ? parse_field(object, field, item, path, err)
                           : fail_unknown(table, affect_json_name(item), path, err));
    }
    for (const affect_field *field = table; field->name; field++)
        if (field->required && !affect_json_get(json, field->name))
            AFFECT_CHECK(status, err, affect_field_fail(err, path, field->name, "is missing"));
    return status;
}

affect_status affect_fields_parse_text(void *object, const affect_field *field, const char *text,
                                       affect_error *err) {
    char *end = NULL;
    switch (field->kind) {
    case AFFECT_FIELD_KIND_BOOL: {
        bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
        if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
            return affect_field_fail(err, "", field->name, "\"%.80s\" is not true or false", text);
        *(bool *)member(object, field) = yes;
        return AFFECT_STATUS_OK;
    }
    case AFFECT_FIELD_KIND_INTEGER:
    case AFFECT_FIELD_KIND_NUMBER: {
        double number = strtod(text, &end);
        if (end == text || *end)
            return affect_field_fail(err, "", field->name, "\"%.80s\" is not a number", text);
        AFFECT_TRY(check_number(field, number, "", err));
        set_number(object, field, number);
        return AFFECT_STATUS_OK;
    }
    case AFFECT_FIELD_KIND_STRING:
    case AFFECT_FIELD_KIND_CHOICE:
        return set_string(object, field, text, "", err);
    case AFFECT_FIELD_KIND_JSON:
        break;
    }
    affect_json *json = NULL;
    AFFECT_TRY(affect_json_parse(&json, text, strlen(text), err));
    affect_status status = set_json(object, field, json, err);
    affect_json_free(json);
    return status;
}

static affect_json *field_value(const void *object, const affect_field *field) {
    const void *from = (const char *)object + field->offset;
    switch (field->kind) {
    case AFFECT_FIELD_KIND_BOOL:
        return affect_json_new_bool(*(const bool *)from);
    case AFFECT_FIELD_KIND_INTEGER:
        return affect_json_new_number((double)*(const int64_t *)from);
    case AFFECT_FIELD_KIND_NUMBER:
        return affect_json_new_number(*(const double *)from);
    case AFFECT_FIELD_KIND_STRING:
        return affect_json_new_string(from);
    case AFFECT_FIELD_KIND_CHOICE:
        return affect_json_new_string(field->choices[*(const int *)from]);
    case AFFECT_FIELD_KIND_JSON:
        break;
    }
    const affect_json *json = *(affect_json *const *)from;
    return json ? affect_json_copy(json) : NULL;
}

void affect_fields_print(affect_json *json, const void *object, const affect_field *table) {
    for (const affect_field *field = table; field->name; field++)
        affect_json_set(json, field->name, field_value(object, field));
}

void affect_fields_free(void *object, const affect_field *table) {
    for (const affect_field *field = table; field->name; field++) {
        if (field->kind != AFFECT_FIELD_KIND_JSON) continue;
        affect_json **json = member(object, field);
        affect_json_free(*json);
        *json = NULL;
    }
}
