/* JSON documents: reading, building, printing. The one home of cJSON.
 *
 * An affect_json is a node of a tree. Trees are built or parsed, asked, printed and freed; a node
 * belongs to one thread at a time. Getters on a missing (NULL) or differently typed node return the
 * stated fallback, so that chains need no checks; code that must refuse a wrong type goes through
 * field tables (fields.h), which do. Numbers are doubles and print with the fewest digits that read
 * back to the same double; NaN and infinities print as null. */
#ifndef AFFECT_CORE_JSON_H
#define AFFECT_CORE_JSON_H

#include "engine/core/buffer.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct affect_json affect_json;

/* Parses exactly one UTF-8 document of `size` bytes (trailing blanks allowed, nothing else; depth
 * at most 64; duplicate keys refused; \u0000 in strings refused). *json is owned. MALFORMED with
 * the byte offset. */
affect_status affect_json_parse(affect_json **json, const char *text, size_t size,
                                affect_error *err);
/* The same from a file of at most `max_size` bytes (TOO_LARGE). */
affect_status affect_json_read(affect_json **json, const char *path, size_t max_size,
                               affect_error *err);
void affect_json_free(affect_json *json);               /* a root only; NULL allowed */
affect_json *affect_json_copy(const affect_json *json); /* deep; owned; NULL without memory */

/* Questions. */
bool affect_json_is_object(const affect_json *json);
bool affect_json_is_array(const affect_json *json);
bool affect_json_is_string(const affect_json *json);
bool affect_json_is_number(const affect_json *json);
bool affect_json_is_bool(const affect_json *json);
bool affect_json_is_null(const affect_json *json);
const char *affect_json_type_name(const affect_json *json); /* "object", ..., "nothing" for NULL */

/* A member of an object (exact name), borrowed from it; NULL when absent or not an object. */
affect_json *affect_json_get(const affect_json *json, const char *name);
const char *affect_json_get_string(const affect_json *json, const char *name, const char *fallback);
double affect_json_get_number(const affect_json *json, const char *name, double fallback);
bool affect_json_get_bool(const affect_json *json, const char *name, bool fallback);

/* The value of this node. */
const char *affect_json_string(const affect_json *json, const char *fallback); /* borrowed */
double affect_json_number(const affect_json *json, double fallback);
bool affect_json_bool(const affect_json *json, bool fallback);

/* Elements of an array, or members of an object, in order:
 *   for (const affect_json *e = affect_json_first(a); e; e = affect_json_next(e)) ... */
size_t affect_json_size(const affect_json *json);
affect_json *affect_json_first(const affect_json *json);
affect_json *affect_json_next(const affect_json *json);
affect_json *affect_json_at(const affect_json *json, size_t index); /* linear; NULL outside */
const char *affect_json_name(const affect_json *json); /* of a member; NULL otherwise; borrowed */

/* Building. New nodes are owned until added; `set`, `add` and `append` take ownership of `value`
 * (also when they fail) and return it, borrowed. NULL without memory: every function accepts a NULL
 * parent or value and does nothing, so one check at the end (affect_json_print fails on NULL) is
 * enough where the document must be whole or absent; a single member that found no
 * memory is not reported. */
affect_json *affect_json_new_object(void);
affect_json *affect_json_new_array(void);
affect_json *affect_json_new_string(const char *text); /* NULL text makes null */
affect_json *affect_json_new_number(double number);
affect_json *affect_json_new_bool(bool value);
affect_json *affect_json_new_null(void);
affect_json *affect_json_set(affect_json *object, const char *name, affect_json *value);
/* The same for a name that the object does not have: nothing is looked for. */
affect_json *affect_json_add(affect_json *object, const char *name, affect_json *value);
affect_json *affect_json_append(affect_json *array, affect_json *value);
void affect_json_set_string(affect_json *object, const char *name, const char *text);
void affect_json_set_number(affect_json *object, const char *name, double number);
void affect_json_set_bool(affect_json *object, const char *name, bool value);
affect_json *affect_json_set_object(affect_json *object, const char *name);
affect_json *affect_json_set_array(affect_json *object, const char *name);
/* Takes a member out of its object; owned by the caller, NULL when absent. */
affect_json *affect_json_detach(affect_json *object, const char *name);
/* Brings an array's elements into order, in place. False, unchanged, without memory. */
bool affect_json_sort(affect_json *array,
                      int (*compare)(const affect_json *a, const affect_json *b));

/* Appends the text, without blanks, or with two blanks of indentation a level. */
void affect_json_print(affect_buffer *buffer, const affect_json *json);
void affect_json_print_pretty(affect_buffer *buffer, const affect_json *json);
/* The compact text, owned (free); NULL without memory or for a NULL node. */
char *affect_json_text(const affect_json *json);
/* Compact text with members sorted by name at every level: the form that digests are made of. */
char *affect_json_canonical_text(const affect_json *json);
/* Whether the bytes are UTF-8 without control characters (C0, DEL, C1): a label, a name, a path. */
bool affect_json_is_plain_text(const char *text, size_t size);
/* Appends `text` as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void affect_json_print_string(affect_buffer *buffer, const char *text);

#endif
