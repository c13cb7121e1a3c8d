/* Field tables: one row holds a field's name, type, bounds, choices and help; parsing, defaults,
 * printing and documentation follow from it.
 *
 *   typedef struct { double learning_rate; int batch_size; } training;
 *   static const affect_field training_fields[] = {
 *       AFFECT_FIELD_NUMBER(training, learning_rate, 1e-3, 0, 1, "step size of Adam"),
 *       AFFECT_FIELD_INTEGER(training, batch_size, 48, 1, 4096, "utterances a step"),
 *       AFFECT_FIELD_END};
 *
 * A default is written once, in the table. An unknown field, a wrong type or a value out of bounds
 * is INVALID; err->pointer names it ("/training/batch_size"). A caller that sets err->fields gets
 * all of a document's wrong fields at once:
 *
 *   affect_field_errors wrong = {0};
 *   affect_error error = {.fields = &wrong};
 *   AFFECT_CHECK(status, &error, affect_fields_parse(&c, training_fields, json, "/training",
 * &error)); AFFECT_CHECK(status, &error, check_between_fields(&c, &error)); */
#ifndef AFFECT_CORE_FIELDS_H
#define AFFECT_CORE_FIELDS_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <limits.h>
#include <stdint.h>

typedef enum {
    AFFECT_FIELD_KIND_BOOL,    /* bool */
    AFFECT_FIELD_KIND_INTEGER, /* int64_t */
    AFFECT_FIELD_KIND_NUMBER,  /* double */
    AFFECT_FIELD_KIND_STRING,  /* char[size], NUL-terminated; longer is INVALID */
    AFFECT_FIELD_KIND_CHOICE,  /* int: index into choices */
    AFFECT_FIELD_KIND_JSON     /* affect_json *: the subtree, copied, owned by the struct; NULL if
                                  absent */
} affect_field_kind;

typedef struct affect_field {
    const char *name; /* in JSON, the same as the member's; NULL ends a table */
    affect_field_kind kind;
    size_t offset, size;               /* of the member in the struct */
    double default_number;             /* bool, integer, number, choice */
    const char *default_string;        /* string */
    double minimum, maximum;           /* integer, number: inclusive; string: minimum is of bytes */
    const char *const *choices;        /* choice: names, ended by NULL */
    const char *help;                  /* one sentence for people */
    bool required;                     /* affect_fields_parse refuses an object without it */
    const struct affect_field *fields; /* JSON: the table that an object in it is read by */
    /* What code beside the table checks, as JSON Schema with ' for ": of a JSON field the whole
     * schema (beside the object of `fields`, where there is one), of others members to add. */
    const char *schema;
    /* Adds what follows from another table: names of its rows, their options. */
    void (*complete)(struct affect_json *schema);
} affect_field;

/* Each row may end with members by name: AFFECT_FIELD_JSON(job, split, "...", .required = true). */
#define AFFECT_FIELD_MEMBER(type, member)                                                          \
    .name = #member, .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define AFFECT_FIELD_BOOL(type, member, value, text, ...)                                          \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_BOOL,                         \
                                           .default_number = (value), .help = (text), __VA_ARGS__  \
    }
#define AFFECT_FIELD_INTEGER(type, member, value, low, high, text, ...)                            \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_INTEGER,                      \
                                           .default_number = (value), .minimum = (low),            \
                                           .maximum = (high), .help = (text), __VA_ARGS__          \
    }
#define AFFECT_FIELD_NUMBER(type, member, value, low, high, text, ...)                             \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_NUMBER,                       \
                                           .default_number = (value), .minimum = (low),            \
                                           .maximum = (high), .help = (text), __VA_ARGS__          \
    }
#define AFFECT_FIELD_STRING(type, member, value, text, ...)                                        \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_STRING,                       \
                                           .default_string = (value), .help = (text), __VA_ARGS__  \
    }
#define AFFECT_FIELD_CHOICE(type, member, value, names, text, ...)                                 \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_CHOICE,                       \
                                           .default_number = (value), .choices = (names),          \
                                           .help = (text), __VA_ARGS__                             \
    }
#define AFFECT_FIELD_JSON(type, member, text, ...)                                                 \
    {                                                                                              \
        AFFECT_FIELD_MEMBER(type, member), .kind = AFFECT_FIELD_KIND_JSON, .help = (text),         \
                                           __VA_ARGS__                                             \
    }
#define AFFECT_FIELD_END                                                                           \
    { .name = NULL }

/* Sets every field of the table to its default (JSON fields to NULL). */
void affect_fields_default(void *object, const affect_field *table);
/* Reads an object's members into the struct; fields that the JSON lacks keep what they have, so
 * call affect_fields_default first. `path` is the JSON pointer of the object itself ("" for the
 * root). NULL json counts as {}. JSON fields are owned by the struct: affect_fields_free. */
affect_status affect_fields_parse(void *object, const affect_field *table, const affect_json *json,
                                  const char *path, affect_error *err);
/* One field from text, as a flag or an environment variable gives it. INVALID as above. */
affect_status affect_fields_parse_text(void *object, const affect_field *field, const char *text,
                                       affect_error *err);
/* The row of that name, or NULL. */
const affect_field *affect_fields_find(const affect_field *table, const char *name);
/* All fields, in the table's order, as members of `json` (an object). Absent JSON fields are left
 * out. */
void affect_fields_print(affect_json *json, const void *object, const affect_field *table);
/* The table as a JSON Schema (draft 2020-12): a closed object with the rows' types, bounds,
 * choices, defaults and help. `name_of` (NULL: none) names the tables that stand in
 * components/schemas: where a row's `fields` has a name it is a reference. Owned. */
affect_json *affect_fields_schema(const affect_field *table,
                                  const char *(*name_of)(const affect_field *table));
/* The same for one row. */
affect_json *affect_field_schema(const affect_field *field,
                                 const char *(*name_of)(const affect_field *table));
/* Frees JSON fields and sets them to NULL. */
void affect_fields_free(void *object, const affect_field *table);
/* One of several checks of a document: runs `call` unless an earlier one failed in a way that ends
 * them (anything but INVALID with err->fields); `status` stays that of the first failure. */
#define AFFECT_CHECK(status, err, call)                                                            \
    do {                                                                                           \
        if (affect_fields_continue((status), (err)))                                               \
            (status) = affect_fields_first((status), (call), (err));                               \
    } while (0)
static inline bool affect_fields_continue(affect_status status, const affect_error *err) {
    return status == AFFECT_STATUS_OK || (status == AFFECT_STATUS_INVALID && err && err->fields);
}
static inline affect_status affect_fields_first(affect_status first, affect_status next,
                                                affect_error *err) {
    if (first == AFFECT_STATUS_OK) return next;
    if (err) err->status = first;
    return first;
}

/* Fails with INVALID and the pointer path/name set (name is escaped, RFC 6901), or path alone when
 * name is "": for checks between fields. */
affect_status affect_field_fail(affect_error *err, const char *path, const char *name,
                                const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
