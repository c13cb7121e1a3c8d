/* Exchanges: request accessors and answers; see api.h and exchange.h. */
#include "api/exchange.h"

#include "api/etag.h"
#include "api/log.h"
#include "engine/core/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Pairs ---- */

bool api_pairs_add(api_pairs *pairs, const char *name, const char *value) {
    api_pair *items = realloc(pairs->items, (pairs->n + 1) * sizeof *items);
    if (!items) return false;
    pairs->items = items;
    api_pair pair = {strdup(name), strdup(value)};
    if (!pair.name || !pair.value) {
        free(pair.name);
        free(pair.value);
        return false;
    }
    items[pairs->n++] = pair;
    return true;
}

const char *api_pairs_find(const api_pairs *pairs, const char *name, bool ignore_case) {
    for (size_t i = 0; i < pairs->n; i++) {
        const char *have = pairs->items[i].name;
        if ((ignore_case ? strcasecmp(have, name) : strcmp(have, name)) == 0)
            return pairs->items[i].value;
    }
    return NULL;
}

void api_pairs_free(api_pairs *pairs) {
    for (size_t i = 0; i < pairs->n; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (api_pairs){0};
}

/* ---- Life ---- */

api_exchange *api_exchange_create(api_context *context, const api_transport *transport) {
    api_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) return NULL;
    exchange->context = context;
    exchange->transport = transport;
    exchange->answer.fd = -1;
    return exchange;
}

static void free_part(api_part_state *part) {
    if (part->fd >= 0) close(part->fd);
    if (part->path && !part->kept) unlink(part->path);
    affect_buffer_free(&part->memory);
    free(part->name);
    free(part->file_name);
    free(part->content_type);
    free(part->path);
}

void api_exchange_free(api_exchange *exchange) {
    if (!exchange) return;
    for (size_t i = 0; i < exchange->n_parts; i++) free_part(&exchange->parts[i]);
    for (size_t i = 0; i < API_MAX_PATH_VALUES; i++) free(exchange->path_values[i]);
    if (exchange->answer.fd >= 0) close(exchange->answer.fd);
    if (exchange->answer.stream.free) exchange->answer.stream.free(exchange->answer.stream.context);
    api_pairs_free(&exchange->answer.headers);
    affect_buffer_free(&exchange->answer.body);
    api_pairs_free(&exchange->queries);
    api_pairs_free(&exchange->headers);
    affect_json_free(exchange->json);
    free(exchange->parts);
    free(exchange->path);
    free(exchange);
}

/* ---- The target ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Percent-decodes text[0..n); NULL when malformed or without memory. */
static char *decode(const char *text, size_t n, bool plus_is_blank) {
    char *to = malloc(n + 1), *end = to;
    for (size_t i = 0; to && i < n; i++) {
        char c = text[i];
        if (c == '%') {
            bool whole = n - i > 2;
            int high = whole ? hex_digit(text[i + 1]) : -1;
            int low = whole ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                free(to);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if ((unsigned char)c < 0x20 || c == 0x7F) {
            free(to);
            return NULL;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        *end++ = c;
    }
    if (to) *end = '\0';
    return to;
}

static bool add_query(api_exchange *exchange, const char *text, size_t n) {
    const char *equals = memchr(text, '=', n);
    size_t name_size = equals ? (size_t)(equals - text) : n;
    char *name = decode(text, name_size, true);
    char *value = equals ? decode(equals + 1, n - name_size - 1, true) : strdup("");
    bool added = name && value && api_pairs_add(&exchange->queries, name, value);
    free(name);
    free(value);
    return added;
}

bool api_exchange_set_target(api_exchange *exchange, const char *target) {
    if (target[0] != '/') return false;
    size_t path_size = strcspn(target, "?");
    exchange->path = decode(target, path_size, false);
    if (!exchange->path) return false;
    const char *query = target + path_size;
    while (*query) { /* at '?' or '&' */
        query++;
        size_t n = strcspn(query, "&");
        if (n && exchange->queries.n == API_MAX_QUERIES) return false;
        if (n && !add_query(exchange, query, n)) return false;
        query += n;
    }
    return true;
}

/* ---- The request ---- */

api_context *api_context_of(const api_exchange *exchange) {
    return exchange->context;
}
const char *api_method(const api_exchange *exchange) {
    return exchange->method;
}
const char *api_path(const api_exchange *exchange) {
    return exchange->path;
}
const char *api_request_id(const api_exchange *exchange) {
    return exchange->request_id;
}
bool api_client_gone(const api_exchange *exchange) {
    return atomic_load(&exchange->client_gone);
}

const char *api_path_value(const api_exchange *exchange, const char *name) {
    for (size_t i = 0; i < exchange->n_path_values; i++)
        if (strlen(name) == exchange->path_name_sizes[i] &&
            memcmp(name, exchange->path_names[i], exchange->path_name_sizes[i]) == 0)
            return exchange->path_values[i];
    return NULL;
}

const char *api_query(const api_exchange *exchange, const char *name) {
    return api_pairs_find(&exchange->queries, name, false);
}

bool api_query_integer(api_exchange *exchange, const char *name, int64_t minimum, int64_t maximum,
                       int64_t fallback, int64_t *value) {
    const char *text = api_query(exchange, name);
    *value = fallback;
    if (!text) return true;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool begins = isdigit((unsigned char)*text) || *text == '-'; /* strtoll takes blanks and '+' */
    if (!begins || *end || errno || number < minimum || number > maximum) {
        api_answer_problem(exchange, "invalid", "query %s: need an integer in %lld..%lld", name,
                           (long long)minimum, (long long)maximum);
        return false;
    }
    *value = number;
    return true;
}

const char *api_header(const api_exchange *exchange, const char *name) {
    return api_pairs_find(&exchange->headers, name, true);
}

bool api_has_media_type(const api_exchange *exchange, const char *type) {
    const char *given = api_header(exchange, "Content-Type");
    size_t size = strlen(type);
    if (!given || strncasecmp(given, type, size) != 0) return false;
    given += size + strspn(given + size, " \t");
    return !*given || *given == ';';
}

bool api_accepts(const api_exchange *exchange, const char *content_type) {
    const char *accept = api_header(exchange, "Accept");
    return accept && strcasestr(accept, content_type);
}

size_t api_n_parts(const api_exchange *exchange) {
    return exchange->n_parts;
}
const api_part *api_part_at(const api_exchange *exchange, size_t index) {
    return index < exchange->n_parts ? &exchange->parts[index].part : NULL;
}
const api_part *api_part_find(const api_exchange *exchange, const char *name) {
    for (size_t i = 0; i < exchange->n_parts; i++)
        if (strcmp(exchange->parts[i].part.name, name) == 0) return &exchange->parts[i].part;
    return NULL;
}

affect_status api_part_keep(const api_part *part, const char *path, affect_error *err) {
    api_part_state *state = (api_part_state *)part; /* its first member */
    if (!part->path) return affect_file_write(path, part->data, part->size, err);
    AFFECT_TRY(affect_file_rename(part->path, path, err));
    state->kept = true;
    return AFFECT_STATUS_OK;
}

bool api_body_is_empty(api_exchange *exchange) {
    if (exchange->body_kind == API_BODY_NONE) return true;
    const affect_json *json = api_body_json(exchange);
    if (!json) return false;
    if (affect_json_is_object(json) && affect_json_size(json) == 0) return true;
    api_answer_problem(exchange, "invalid", "this takes no body, or {}");
    return false;
}

const affect_json *api_body_json(api_exchange *exchange) {
    if (exchange->json) return exchange->json;
    const api_part *part = api_part_at(exchange, 0);
    if (exchange->body_kind == API_BODY_NONE) {
        api_answer_problem(exchange, "malformed", "the body is missing (need JSON)");
        return NULL;
    }
    if (exchange->body_kind != API_BODY_JSON || !part || !part->data) {
        api_answer_problem(exchange, "unsupported_media_type",
                           "need a JSON body with Content-Type: application/json");
        return NULL;
    }
    affect_error error = {0};
    if (affect_json_parse(&exchange->json, part->data, part->size, &error) != AFFECT_STATUS_OK) {
        api_answer_problem(exchange, "malformed", "%s", error.message);
        return NULL;
    }
    return exchange->json;
}

/* ---- Answers ---- */

void api_set_header(api_exchange *exchange, const char *name, const char *format, ...) {
    char value[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    value[strcspn(value, "\r\n")] = '\0';
    api_pairs_add(&exchange->answer.headers, name, value);
}

static void answered(api_exchange *exchange, api_answer_kind kind, int status) {
    exchange->answer.kind = kind;
    exchange->answer.status = status;
    exchange->transport->answered(exchange);
}

void api_answer_json(api_exchange *exchange, int status, affect_json *json) {
    affect_buffer text = {0};
    affect_json_print(&text, json);
    affect_buffer_append(&text, "\n", 1);
    affect_json_free(json);
    if (text.failed) {
        affect_buffer_free(&text);
        api_answer_problem(exchange, "no_memory", "no memory for the answer");
        return;
    }
    api_answer_buffer(exchange, status, "application/json", &text);
}

void api_answer_result(api_exchange *exchange, affect_status status, affect_json *json,
                       const affect_error *error) {
    if (status == AFFECT_STATUS_OK)
        api_answer_json(exchange, 200, json);
    else
        api_answer_error(exchange, error);
}

void api_answer_buffer(api_exchange *exchange, int status, const char *content_type,
                       affect_buffer *buffer) {
    api_set_header(exchange, "Content-Type", "%s", content_type);
    exchange->answer.body = *buffer;
    *buffer = (affect_buffer){0};
    answered(exchange, API_ANSWER_BUFFER, status);
}

void api_answer_empty(api_exchange *exchange, int status) {
    answered(exchange, API_ANSWER_BUFFER, status);
}

/* Reads digits, saturating; false when there are none. (scanf would take blanks and signs.) */
static bool read_number(const char **text, uint64_t *number) {
    const char *begin = *text;
    for (*number = 0; isdigit((unsigned char)**text); ++*text) {
        uint64_t digit = (uint64_t)(**text - '0');
        *number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *number * 10 + digit;
    }
    return *text > begin;
}

/* "bytes=a-b", "bytes=a-" or "bytes=-n" within size; false when it is something else (then the
 * whole file is sent, as RFC 9110 allows), *satisfiable false when it lies outside. */
static bool parse_range(const char *text, uint64_t size, uint64_t *first, uint64_t *last,
                        bool *satisfiable) {
    if (strncasecmp(text, "bytes=", 6) != 0) return false;
    text += 6;
    uint64_t a = 0, b = 0;
    bool begins = read_number(&text, &a);
    if (*text++ != '-') return false;
    bool ends = read_number(&text, &b);
    if (*text || (!begins && !ends) || (begins && ends && b < a)) return false;
    *last = size ? size - 1 : 0;
    if (begins) {
        *first = a;
        if (ends && b < *last) *last = b;
        *satisfiable = a < size;
    } else {
        *first = b < size ? size - b : 0;
        *satisfiable = b > 0 && size > 0;
    }
    return true;
}

/* tag: the file's ETag as sent. A range is defined for GET only (RFC 9110, section 14.2). */
static void choose_range(api_exchange *exchange, uint64_t size, const char *tag, int *status) {
    const char *range = api_header(exchange, "Range"), *only_of = api_header(exchange, "If-Range");
    uint64_t first = 0, last = 0;
    bool satisfiable = true;
    if (strcmp(exchange->method, "GET") != 0 || (only_of && strcmp(only_of, tag) != 0)) return;
    if (!range || !parse_range(range, size, &first, &last, &satisfiable)) return;
    if (!satisfiable) {
        api_set_header(exchange, "Content-Range", "bytes */%llu", (unsigned long long)size);
        *status = 416;
        return;
    }
    api_set_header(exchange, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)first,
                   (unsigned long long)last, (unsigned long long)size);
    exchange->answer.file_offset = first;
    exchange->answer.file_size = last - first + 1;
    *status = 206;
}

void api_answer_file(api_exchange *exchange, const char *path, const char *content_type,
                     const char *etag, const char *file_name) {
    int fd = -1, status = 200;
    size_t size = 0;
    affect_error error = {0};
    if (affect_file_open(&fd, &size, path, &error) != AFFECT_STATUS_OK) {
        api_log(API_LOG_ERROR, "a file cannot be served", "request_id", exchange->request_id,
                "reason", error.message, NULL);
        api_answer_problem(exchange, "internal", "the file is gone, or is no regular file");
        return;
    }
    char tag[128];
    snprintf(tag, sizeof tag, "\"%s\"", etag);
    api_condition condition = api_condition_of(exchange, tag);
    api_set_header(exchange, "ETag", "%s", tag);
    if (condition != API_CONDITION_HOLDS) {
        close(fd);
        if (condition == API_CONDITION_UNCHANGED)
            api_answer_empty(exchange, 304);
        else
            api_answer_problem(exchange, "precondition_failed", "the file's ETag is %s", tag);
        return;
    }
    api_set_header(exchange, "Accept-Ranges", "bytes");
    exchange->answer.fd = fd;
    exchange->answer.file_size = (uint64_t)size;
    choose_range(exchange, (uint64_t)size, tag, &status);
    if (status == 416) {
        api_answer_problem(exchange, "range_not_satisfiable", "the file has %lld bytes",
                           (long long)size);
        return;
    }
    api_set_header(exchange, "Content-Type", "%s", content_type);
    if (file_name)
        api_set_header(exchange, "Content-Disposition", "attachment; filename=\"%s\"", file_name);
    answered(exchange, API_ANSWER_FILE, status);
}

void api_defer(api_exchange *exchange) {
    (void)exchange; /* an exchange without an answer simply stays open */
}

void api_answer_stream(api_exchange *exchange, int status, const api_stream *stream) {
    api_set_header(exchange, "Content-Type", "%s", stream->content_type);
    exchange->answer.stream = *stream;
    answered(exchange, API_ANSWER_STREAM, status);
}

void api_stream_wake(api_exchange *exchange) {
    exchange->transport->wake(exchange);
}
