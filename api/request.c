/* A request from its headers to its end: target, queries, headers and parts; see request.h.
 *
 * Everything here only reads what the HTTP side filled in and answers nothing: response.c does. */
#include "api/request.h"

#include "engine/core/file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
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

api_request *api_request_create(api_context *context, const api_transport *transport) {
    api_request *request = calloc(1, sizeof *request);
    if (!request) return NULL;
    request->context = context;
    request->transport = transport;
    request->answer.fd = -1;
    return request;
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

void api_request_free(api_request *request) {
    if (!request) return;
    for (size_t i = 0; i < request->n_parts; i++) free_part(&request->parts[i]);
    for (size_t i = 0; i < API_MAX_PATH_VALUES; i++) free(request->path_values[i]);
    if (request->answer.fd >= 0) close(request->answer.fd);
    if (request->answer.stream.free) request->answer.stream.free(request->answer.stream.context);
    api_pairs_free(&request->answer.headers);
    affect_buffer_free(&request->answer.body);
    api_pairs_free(&request->queries);
    api_pairs_free(&request->headers);
    affect_json_free(request->json);
    free(request->parts);
    free(request->path);
    free(request);
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

static bool add_query(api_request *request, const char *text, size_t n) {
    const char *equals = memchr(text, '=', n);
    size_t name_size = equals ? (size_t)(equals - text) : n;
    char *name = decode(text, name_size, true);
    char *value = equals ? decode(equals + 1, n - name_size - 1, true) : strdup("");
    bool added = name && value && api_pairs_add(&request->queries, name, value);
    free(name);
    free(value);
    return added;
}

bool api_request_set_target(api_request *request, const char *target) {
    if (target[0] != '/') return false;
    size_t path_size = strcspn(target, "?");
    request->path = decode(target, path_size, false);
    if (!request->path) return false;
    const char *query = target + path_size;
    while (*query) { /* at '?' or '&' */
        query++;
        size_t n = strcspn(query, "&");
        if (n && request->queries.n == API_MAX_QUERIES) return false;
        if (n && !add_query(request, query, n)) return false;
        query += n;
    }
    return true;
}

/* ---- The request ---- */

api_context *api_context_of(const api_request *request) {
    return request->context;
}
const char *api_method(const api_request *request) {
    return request->method;
}
const char *api_path(const api_request *request) {
    return request->path;
}
const char *api_request_id(const api_request *request) {
    return request->id;
}
bool api_client_gone(const api_request *request) {
    return atomic_load(&request->client_gone);
}

const char *api_path_value(const api_request *request, const char *name) {
    for (size_t i = 0; i < request->n_path_values; i++)
        if (strlen(name) == request->path_name_sizes[i] &&
            memcmp(name, request->path_names[i], request->path_name_sizes[i]) == 0)
            return request->path_values[i];
    return NULL;
}

const char *api_query(const api_request *request, const char *name) {
    return api_pairs_find(&request->queries, name, false);
}

int64_t api_query_integer(const api_request *request, const char *name) {
    const char *text = api_query(request, name);
    return text ? strtoll(text, NULL, 10)
                : (int64_t)affect_fields_find(request->route->queries, name)->default_number;
}

bool api_query_bool(const api_request *request, const char *name) {
    const char *text = api_query(request, name);
    return text ? strcmp(text, "true") == 0
                : affect_fields_find(request->route->queries, name)->default_number != 0;
}

const char *api_header(const api_request *request, const char *name) {
    return api_pairs_find(&request->headers, name, true);
}

bool api_has_media_type(const api_request *request, const char *type) {
    const char *given = api_header(request, "Content-Type");
    size_t size = strlen(type);
    if (!given || strncasecmp(given, type, size) != 0) return false;
    given += size + strspn(given + size, " \t");
    return !*given || *given == ';';
}

bool api_accepts(const api_request *request, const char *content_type) {
    const char *accept = api_header(request, "Accept");
    return accept && strcasestr(accept, content_type);
}

size_t api_n_parts(const api_request *request) {
    return request->n_parts;
}
const api_part *api_part_at(const api_request *request, size_t index) {
    return index < request->n_parts ? &request->parts[index].part : NULL;
}
const api_part *api_part_find(const api_request *request, const char *name) {
    for (size_t i = 0; i < request->n_parts; i++)
        if (strcmp(request->parts[i].part.name, name) == 0) return &request->parts[i].part;
    return NULL;
}

affect_status api_part_keep(const api_part *part, const char *path, affect_error *err) {
    api_part_state *state = (api_part_state *)part; /* its first member */
    if (!part->path) return affect_file_write(path, part->data, part->size, err);
    AFFECT_TRY(affect_file_rename(part->path, path, err));
    state->kept = true;
    return AFFECT_STATUS_OK;
}
