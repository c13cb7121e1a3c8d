/* JSON documents on cJSON; see json.h.
 *
 * An affect_json is a cJSON node behind an opaque name: the casts of this file are the only place
 * that knows. The printer is ours: cJSON prints numbers with 15 or 17 digits and lets invalid UTF-8
 * pass; ours prints the shortest round-trip form, which digests rely on. */
#include "engine/core/json.h"

#include "engine/core/file.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

static cJSON *node(const affect_json *json) {
    return (cJSON *)json;
}
static affect_json *wrap(cJSON *item) {
    return (affect_json *)item;
}

/* Length of the UTF-8 sequence at text (1..4), or 0 when it is not valid (RFC 3629). */
static size_t utf8_length(const unsigned char *text) {
    if (text[0] < 0x80) return 1;
    size_t n = text[0] >= 0xC2 && text[0] <= 0xDF   ? 2
               : text[0] >= 0xE0 && text[0] <= 0xEF ? 3
               : text[0] >= 0xF0 && text[0] <= 0xF4 ? 4
                                                    : 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F) ||
        (text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))
        return 0;
    return n;
}

/* Bytes of the UTF-8 sequence at `text`, of which `size` may be read; 0 when it is not valid. */
static size_t bounded_utf8_length(const char *text, size_t size) {
    unsigned char start[5] = {0};
    memcpy(start, text, size < 4 ? size : 4);
    return utf8_length(start);
}

bool affect_json_is_plain_text(const char *text, size_t size) {
    for (size_t i = 0, n; i < size; i += n) {
        unsigned char c = (unsigned char)text[i];
        n = bounded_utf8_length(text + i, size - i);
        if (n == 0 || c < 0x20 || c == 0x7f) return false;
        if (c == 0xC2 && (unsigned char)text[i + 1] < 0xA0) return false;
    }
    return true;
}

/* Bytes of the number at `text` by RFC 8259's grammar (cJSON's is strtod's), or 0. */
static size_t number_length(const char *text, size_t size) {
    size_t i = size && text[0] == '-', begin = i;
#define DIGITS_FROM(start)                                                                         \
    for (begin = i = (start); i < size && text[i] >= '0' && text[i] <= '9'; i++) continue
    DIGITS_FROM(i);
    if (i == begin || (text[begin] == '0' && i > begin + 1)) return 0;
    if (i < size && text[i] == '.') {
        DIGITS_FROM(i + 1);
        if (i == begin) return 0;
    }
    if (i < size && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        DIGITS_FROM(i + (i < size && (text[i] == '+' || text[i] == '-')));
        if (i == begin) return 0;
    }
#undef DIGITS_FROM
    return i;
}

/* The string that begins after text[*at - 1]: *at goes to its closing quote. */
static affect_status check_string(size_t *at, const char *text, size_t size, affect_error *err) {
    size_t i = *at, n;
    for (; i < size && text[i] != '"'; i += n) {
        n = bounded_utf8_length(text + i, size - i);
        if ((unsigned char)text[i] < 0x20)
            return affect_fail(err, MALFORMED, "JSON: control byte in a string at offset %zu", i);
        if (n == 0) return affect_fail(err, MALFORMED, "JSON: not UTF-8 at offset %zu", i);
        if (text[i] != '\\') continue;
        if (size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
            return affect_fail(err, MALFORMED, "JSON: \\u0000 at offset %zu", i);
        n = 2;
    }
    *at = i;
    return AFFECT_STATUS_OK;
}

/* What cJSON lets pass or does in a way that is not ours: it limits recursion at 1000 levels, cuts
 * strings at a NUL, skips a byte order mark, takes control bytes and bytes that are not UTF-8 in
 * strings, and "01" or "1." as numbers. */
static affect_status check_text(const char *text, size_t size, affect_error *err) {
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '\0') return affect_fail(err, MALFORMED, "JSON: NUL byte at offset %zu", i);
        if ((unsigned char)c >= 0x80)
            return affect_fail(err, MALFORMED, "JSON: no value at offset %zu", i);
        if (c == '"') {
            i++;
            AFFECT_TRY(check_string(&i, text, size, err));
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t n = number_length(text + i, size - i);
            if (n == 0) return affect_fail(err, MALFORMED, "JSON: no number at offset %zu", i);
            i += n - 1;
        } else if ((c == '{' || c == '[') && ++depth > MAX_DEPTH) {
            return affect_fail(err, MALFORMED, "JSON: nested deeper than %d at offset %zu",
                               MAX_DEPTH, i);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return AFFECT_STATUS_OK;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name that an object has twice, into *name: sorted, because the headers of files, like bodies,
 * may have a great many members. */
static affect_status find_duplicate(const char **name, const cJSON *object, affect_error *err) {
    size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
    if (n < 2) return AFFECT_STATUS_OK;
    const char **names = malloc(n * sizeof *names);
    if (!names) return affect_fail(err, NO_MEMORY, "JSON: no memory for %zu names", n);
    for (const cJSON *child = object->child; child; child = child->next) names[i++] = child->string;
    qsort(names, n, sizeof *names, compare_texts);
    for (i = 1; i < n && !*name; i++)
        if (strcmp(names[i - 1], names[i]) == 0) *name = names[i];
    free(names);
    return AFFECT_STATUS_OK;
}

static affect_status check_names(const cJSON *item, affect_error *err) {
    const char *name = NULL;
    if (cJSON_IsObject(item)) AFFECT_TRY(find_duplicate(&name, item, err));
    if (name) return affect_fail(err, MALFORMED, "JSON: \"%s\" given twice", name);
    for (const cJSON *child = item->child; child; child = child->next)
        if (child->child) AFFECT_TRY(check_names(child, err));
    return AFFECT_STATUS_OK;
}

affect_status affect_json_parse(affect_json **json, const char *text, size_t size,
                                affect_error *err) {
    AFFECT_TRY(check_text(text, size, err));
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, false);
    if (!root)
        return affect_fail(err, MALFORMED, "JSON: syntax error at offset %zu",
                           (size_t)(end - text));
    for (size_t i = (size_t)(end - text); i < size; i++) {
        if (strchr(" \t\r\n", text[i])) continue;
        cJSON_Delete(root);
        return affect_fail(err, MALFORMED, "JSON: text after the document at offset %zu", i);
    }
    affect_status status = check_names(root, err);
    if (status != AFFECT_STATUS_OK) {
        cJSON_Delete(root);
        return status;
    }
    *json = wrap(root);
    return AFFECT_STATUS_OK;
}

affect_status affect_json_read(affect_json **json, const char *path, size_t max_size,
                               affect_error *err) {
    char *text = NULL;
    size_t size = 0;
    AFFECT_TRY(affect_file_read(&text, &size, path, max_size, err));
    affect_status status = affect_json_parse(json, text, size, err);
    free(text);
    return status == AFFECT_STATUS_OK ? status : affect_error_prefix(err, status, "%s", path);
}

void affect_json_free(affect_json *json) {
    cJSON_Delete(node(json));
}
affect_json *affect_json_copy(const affect_json *json) {
    return json ? wrap(cJSON_Duplicate(node(json), true)) : NULL;
}

bool affect_json_is_object(const affect_json *json) {
    return cJSON_IsObject(node(json));
}
bool affect_json_is_array(const affect_json *json) {
    return cJSON_IsArray(node(json));
}
bool affect_json_is_string(const affect_json *json) {
    return cJSON_IsString(node(json));
}
bool affect_json_is_number(const affect_json *json) {
    return cJSON_IsNumber(node(json));
}
bool affect_json_is_bool(const affect_json *json) {
    return cJSON_IsBool(node(json));
}
bool affect_json_is_null(const affect_json *json) {
    return cJSON_IsNull(node(json));
}

const char *affect_json_type_name(const affect_json *json) {
    if (!json) return "nothing";
    if (affect_json_is_object(json)) return "object";
    if (affect_json_is_array(json)) return "array";
    if (affect_json_is_string(json)) return "string";
    if (affect_json_is_number(json)) return "number";
    if (affect_json_is_bool(json)) return "boolean";
    return "null";
}

affect_json *affect_json_get(const affect_json *json, const char *name) {
    return affect_json_is_object(json) ? wrap(cJSON_GetObjectItemCaseSensitive(node(json), name))
                                       : NULL;
}
const char *affect_json_get_string(const affect_json *json, const char *name,
                                   const char *fallback) {
    return affect_json_string(affect_json_get(json, name), fallback);
}
double affect_json_get_number(const affect_json *json, const char *name, double fallback) {
    return affect_json_number(affect_json_get(json, name), fallback);
}
bool affect_json_get_bool(const affect_json *json, const char *name, bool fallback) {
    return affect_json_bool(affect_json_get(json, name), fallback);
}

const char *affect_json_string(const affect_json *json, const char *fallback) {
    return affect_json_is_string(json) ? node(json)->valuestring : fallback;
}
double affect_json_number(const affect_json *json, double fallback) {
    return affect_json_is_number(json) ? node(json)->valuedouble : fallback;
}
bool affect_json_bool(const affect_json *json, bool fallback) {
    return affect_json_is_bool(json) ? cJSON_IsTrue(node(json)) : fallback;
}

size_t affect_json_size(const affect_json *json) {
    return json ? (size_t)cJSON_GetArraySize(node(json)) : 0;
}
affect_json *affect_json_first(const affect_json *json) {
    return affect_json_is_array(json) || affect_json_is_object(json) ? wrap(node(json)->child)
                                                                     : NULL;
}
affect_json *affect_json_next(const affect_json *json) {
    return json ? wrap(node(json)->next) : NULL;
}
affect_json *affect_json_at(const affect_json *json, size_t index) {
    affect_json *child = affect_json_first(json);
    while (child && index--) child = affect_json_next(child);
    return child;
}
const char *affect_json_name(const affect_json *json) {
    return json ? node(json)->string : NULL;
}

affect_json *affect_json_new_object(void) {
    return wrap(cJSON_CreateObject());
}
affect_json *affect_json_new_array(void) {
    return wrap(cJSON_CreateArray());
}
affect_json *affect_json_new_string(const char *text) {
    return wrap(text ? cJSON_CreateString(text) : cJSON_CreateNull());
}
affect_json *affect_json_new_number(double number) {
    return wrap(cJSON_CreateNumber(number));
}
affect_json *affect_json_new_bool(bool value) {
    return wrap(cJSON_CreateBool(value));
}
affect_json *affect_json_new_null(void) {
    return wrap(cJSON_CreateNull());
}

affect_json *affect_json_set(affect_json *object, const char *name, affect_json *value) {
    if (object && value) cJSON_DeleteItemFromObjectCaseSensitive(node(object), name);
    return affect_json_add(object, name, value);
}
affect_json *affect_json_add(affect_json *object, const char *name, affect_json *value) {
    if (!object || !value) {
        cJSON_Delete(node(value));
        return NULL;
    }
    assert(affect_json_is_object(object));
    if (cJSON_AddItemToObject(node(object), name, node(value))) return value;
    cJSON_Delete(node(value));
    return NULL;
}
affect_json *affect_json_append(affect_json *array, affect_json *value) {
    if (!array || !value) {
        cJSON_Delete(node(value));
        return NULL;
    }
    assert(affect_json_is_array(array));
    cJSON *item = node(value);
    if (item->string && !(item->type & cJSON_StringIsConst)) cJSON_free(item->string);
    item->string = NULL; /* of an object that it was detached from: elements have no names */
    item->type &= ~cJSON_StringIsConst;
    cJSON_AddItemToArray(node(array), item);
    return value;
}

typedef struct {
    cJSON *element;
    int (*compare)(const affect_json *a, const affect_json *b);
    size_t place; /* equal elements keep their order */
} sorted_element;

static int compare_elements(const void *a, const void *b) {
    const sorted_element *x = a, *y = b;
    int order = x->compare((const affect_json *)x->element, (const affect_json *)y->element);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

bool affect_json_sort(affect_json *array,
                      int (*compare)(const affect_json *a, const affect_json *b)) {
    size_t n = affect_json_size(array), i = 0;
    if (n < 2) return true;
    sorted_element *elements = malloc(n * sizeof *elements);
    if (!elements) return false;
    for (cJSON *e = node(array)->child; e; e = e->next, i++)
        elements[i] = (sorted_element){e, compare, i};
    qsort(elements, n, sizeof *elements, compare_elements);
    for (i = 0; i < n; i++) {
        elements[i].element->next = i + 1 < n ? elements[i + 1].element : NULL;
        elements[i].element->prev = elements[i ? i - 1 : n - 1].element; /* the first's: the last */
    }
    node(array)->child = elements[0].element;
    free(elements);
    return true;
}

void affect_json_set_string(affect_json *object, const char *name, const char *text) {
    affect_json_set(object, name, affect_json_new_string(text));
}
void affect_json_set_number(affect_json *object, const char *name, double number) {
    affect_json_set(object, name, affect_json_new_number(number));
}
void affect_json_set_bool(affect_json *object, const char *name, bool value) {
    affect_json_set(object, name, affect_json_new_bool(value));
}
affect_json *affect_json_set_object(affect_json *object, const char *name) {
    return affect_json_set(object, name, affect_json_new_object());
}
affect_json *affect_json_set_array(affect_json *object, const char *name) {
    return affect_json_set(object, name, affect_json_new_array());
}
affect_json *affect_json_detach(affect_json *object, const char *name) {
    return wrap(cJSON_DetachItemFromObjectCaseSensitive(node(object), name));
}

void affect_json_print_string(affect_buffer *buffer, const char *text) {
    static const char short_escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    affect_buffer_append(buffer, "\"", 1);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const char *escape = NULL;
        for (const char *e = short_escapes; *e; e += 2)
            if ((unsigned char)*e == *c) escape = e;
        size_t n = utf8_length(c);
        if (escape) {
            affect_buffer_append(buffer, "\\", 1);
            affect_buffer_append(buffer, escape + 1, 1);
        } else if (*c < 0x20 || *c == 0x7F) {
            affect_buffer_printf(buffer, "\\u%04x", *c);
        } else if (n == 0) {
            affect_buffer_append_string(buffer, "\xEF\xBF\xBD");
        } else {
            affect_buffer_append(buffer, c, n);
        }
        c += n ? n : 1;
    }
    affect_buffer_append(buffer, "\"", 1);
}

static void print_number(affect_buffer *buffer, double number) {
    if (!isfinite(number)) {
        affect_buffer_append_string(buffer, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    affect_buffer_append_string(buffer, text);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(cJSON *const *)a)->string, (*(cJSON *const *)b)->string);
}

typedef struct {
    affect_buffer *buffer;
    bool pretty;
    bool sorted;
} printer;

static void print_node(const printer *to, const cJSON *item, int depth);

static void print_line(const printer *to, int depth) {
    if (to->pretty) affect_buffer_printf(to->buffer, "\n%*s", 2 * depth, "");
}

static void print_child(const printer *to, const cJSON *child, bool first, int depth) {
    if (!first) affect_buffer_append(to->buffer, ",", 1);
    print_line(to, depth + 1);
    if (child->string) {
        affect_json_print_string(to->buffer, child->string);
        affect_buffer_append_string(to->buffer, to->pretty ? ": " : ":");
    }
    print_node(to, child, depth + 1);
}

static void print_sorted(const printer *to, const cJSON *object, int depth) {
    size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
    const cJSON **members = malloc(n * sizeof *members);
    if (!members) {
        to->buffer->failed = true;
        return;
    }
    for (const cJSON *child = object->child; child; child = child->next) members[i++] = child;
    qsort(members, n, sizeof *members, compare_names);
    for (i = 0; i < n; i++) print_child(to, members[i], i == 0, depth);
    free(members);
}

static void print_node(const printer *to, const cJSON *item, int depth) {
    if (cJSON_IsString(item)) {
        affect_json_print_string(to->buffer, item->valuestring);
    } else if (cJSON_IsNumber(item)) {
        print_number(to->buffer, item->valuedouble);
    } else if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
        bool object = cJSON_IsObject(item);
        affect_buffer_append(to->buffer, object ? "{" : "[", 1);
        if (object && to->sorted && item->child)
            print_sorted(to, item, depth);
        else
            for (const cJSON *child = item->child; child; child = child->next)
                print_child(to, child, child == item->child, depth);
        if (item->child) print_line(to, depth);
        affect_buffer_append(to->buffer, object ? "}" : "]", 1);
    } else {
        affect_buffer_append_string(to->buffer, cJSON_IsTrue(item)    ? "true"
                                                : cJSON_IsFalse(item) ? "false"
                                                                      : "null");
    }
}

void affect_json_print(affect_buffer *buffer, const affect_json *json) {
    if (json)
        print_node(&(printer){.buffer = buffer}, node(json), 0);
    else
        buffer->failed = true;
}

void affect_json_print_pretty(affect_buffer *buffer, const affect_json *json) {
    if (json)
        print_node(&(printer){.buffer = buffer, .pretty = true}, node(json), 0);
    else
        buffer->failed = true;
}

char *affect_json_text(const affect_json *json) {
    affect_buffer buffer = {0};
    affect_json_print(&buffer, json);
    return affect_buffer_take(&buffer);
}

char *affect_json_canonical_text(const affect_json *json) {
    affect_buffer buffer = {0};
    if (!json) return NULL;
    print_node(&(printer){.buffer = &buffer, .sorted = true}, node(json), 0);
    return affect_buffer_take(&buffer);
}
