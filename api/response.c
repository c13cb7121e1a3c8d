/* Answers to a request; see api.h.
 *
 * An answer fills request->answer and calls the HTTP side's `answered`, once; from then on the
 * request belongs to the HTTP side. Problems are rows of problem.c's table. The functions at the
 * end read the request and answer it themselves where it is wrong. */
#include "api/request.h"

#include "api/etag.h"
#include "api/log.h"
#include "api/problem.h"
#include "engine/core/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void api_set_header(api_request *request, const char *name, const char *format, ...) {
    char value[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    value[strcspn(value, "\r\n")] = '\0';
    api_pairs_add(&request->answer.headers, name, value);
}

static void answered(api_request *request, api_answer_kind kind, int status) {
    request->answer.kind = kind;
    request->answer.status = status;
    request->transport->answered(request);
}

bool api_print_answer(affect_buffer *text, api_request *request, affect_json *json) {
    *text = (affect_buffer){0};
    affect_json_print(text, json);
    affect_buffer_append(text, "\n", 1);
    affect_json_free(json);
    if (!text->failed) return true;
    affect_buffer_free(text);
    api_answer_problem(request, "no_memory", "no memory for the answer");
    return false;
}

void api_answer_json(api_request *request, int status, affect_json *json) {
    affect_buffer text;
    if (api_print_answer(&text, request, json))
        api_answer_buffer(request, status, "application/json", &text);
}

void api_answer_result(api_request *request, affect_status status, affect_json *json,
                       const affect_error *error) {
    if (status == AFFECT_STATUS_OK)
        api_answer_json(request, 200, json);
    else
        api_answer_error(request, error);
}

void api_answer_buffer(api_request *request, int status, const char *content_type,
                       affect_buffer *buffer) {
    api_set_header(request, "Content-Type", "%s", content_type);
    request->answer.body = *buffer;
    *buffer = (affect_buffer){0};
    answered(request, API_ANSWER_BUFFER, status);
}

void api_answer_empty(api_request *request, int status) {
    answered(request, API_ANSWER_BUFFER, status);
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
static void choose_range(api_request *request, uint64_t size, const char *tag, int *status) {
    const char *range = api_header(request, "Range"), *only_of = api_header(request, "If-Range");
    uint64_t first = 0, last = 0;
    bool satisfiable = true;
    if (strcmp(request->method, "GET") != 0 || (only_of && strcmp(only_of, tag) != 0)) return;
    if (!range || !parse_range(range, size, &first, &last, &satisfiable)) return;
    if (!satisfiable) {
        api_set_header(request, "Content-Range", "bytes */%llu", (unsigned long long)size);
        *status = 416;
        return;
    }
    api_set_header(request, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)first,
                   (unsigned long long)last, (unsigned long long)size);
    request->answer.file_offset = first;
    request->answer.file_size = last - first + 1;
    *status = 206;
}

void api_answer_file(api_request *request, const char *path, const char *content_type,
                     const char *etag, const char *file_name) {
    int fd = -1, status = 200;
    size_t size = 0;
    affect_error error = {0};
    if (affect_file_open(&fd, &size, path, &error) != AFFECT_STATUS_OK) {
        api_log(API_LOG_ERROR, "a file cannot be served", "request_id", request->id, "reason",
                error.message, NULL);
        api_answer_problem(request, "internal", "the file is gone, or is no regular file");
        return;
    }
    char tag[128];
    snprintf(tag, sizeof tag, "\"%s\"", etag);
    api_condition condition = api_condition_of(request, tag);
    api_set_header(request, "ETag", "%s", tag);
    if (condition != API_CONDITION_HOLDS) {
        close(fd);
        if (condition == API_CONDITION_UNCHANGED)
            api_answer_empty(request, 304);
        else
            api_answer_problem(request, "precondition_failed", "the file's ETag is %s", tag);
        return;
    }
    api_set_header(request, "Accept-Ranges", "bytes");
    request->answer.fd = fd;
    request->answer.file_size = (uint64_t)size;
    choose_range(request, (uint64_t)size, tag, &status);
    if (status == 416) {
        api_answer_problem(request, "range_not_satisfiable", "the file has %lld bytes",
                           (long long)size);
        return;
    }
    api_set_header(request, "Content-Type", "%s", content_type);
    if (file_name)
        api_set_header(request, "Content-Disposition", "attachment; filename=\"%s\"", file_name);
    answered(request, API_ANSWER_FILE, status);
}

void api_defer(api_request *request) {
    (void)request; /* a request without an answer simply stays open */
}

void api_answer_stream(api_request *request, int status, const api_stream *stream) {
    api_set_header(request, "Content-Type", "%s", stream->content_type);
    request->answer.stream = *stream;
    answered(request, API_ANSWER_STREAM, status);
}

void api_stream_wake(api_request *request) {
    request->transport->wake(request);
}

/* ---- Problems ---- */

/* Where folders of this machine lie is its operator's business alone. */
static void hide_folders(char *text, const api_context *context) {
    if (!context) return;
    api_hide_folder(text, context->settings->data);
    api_hide_folder(text, context->settings->import_root);
}

static void answer_problem(api_request *request, const api_problem *problem, const char *message,
                           affect_json *members) {
    char detail[600];
    snprintf(detail, sizeof detail, "%s", message);
    hide_folders(detail, request->context);
    affect_json *json = api_problem_json(problem, detail);
    affect_json_set_string(json, "instance", request->path ? request->path : "");
    affect_json_set_string(json, "request_id", request->id);
    for (affect_json *m = affect_json_first(members); m; m = affect_json_next(m))
        affect_json_set(json, affect_json_name(m), affect_json_copy(m));
    affect_json_free(members);
    if (problem->status == 503) api_set_header(request, "Retry-After", "1");
    affect_buffer text = {0};
    affect_json_print(&text, json);
    affect_buffer_append(&text, "\n", 1);
    affect_json_free(json);
    if (text.failed) affect_buffer_free(&text); /* the status alone must do */
    api_answer_buffer(request, problem->status, "application/problem+json", &text);
}

void api_answer_problem(api_request *request, const char *code, const char *format, ...) {
    char detail[600];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    answer_problem(request, api_problem_find(code), detail, NULL);
}

void api_answer_problem_with(api_request *request, const char *code, affect_json *members,
                             const char *format, ...) {
    char detail[600];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    answer_problem(request, api_problem_find(code), detail, members);
}

void api_answer_error(api_request *request, const affect_error *error) {
    const api_problem *problem = api_problem_of_status(error->status);
    if (problem->status == 500)
        api_log(API_LOG_ERROR, "internal error", "request_id", request->id, "detail",
                error->message, NULL);
    affect_json *members = api_problem_errors(error);
    const affect_json *first = affect_json_at(affect_json_get(members, "errors"), 0);
    answer_problem(request, problem, affect_json_get_string(first, "detail", error->message),
                   members);
}

/* ---- Reads that answer when the request is wrong ---- */

bool api_body_is_empty(api_request *request) {
    if (request->body_kind == API_BODY_NONE) return true;
    const affect_json *json = api_body_json(request);
    if (!json) return false;
    if (affect_json_is_object(json) && affect_json_size(json) == 0) return true;
    api_answer_problem(request, "invalid", "this takes no body, or {}");
    return false;
}

const affect_json *api_body_json(api_request *request) {
    if (request->json) return request->json;
    const api_part *part = api_part_at(request, 0);
    if (request->body_kind == API_BODY_NONE) {
        api_answer_problem(request, "malformed", "the body is missing (need JSON)");
        return NULL;
    }
    if (request->body_kind != API_BODY_JSON || !part || !part->data) {
        api_answer_problem(request, "unsupported_media_type",
                           "need a JSON body with Content-Type: application/json");
        return NULL;
    }
    affect_error error = {0};
    if (affect_json_parse(&request->json, part->data, part->size, &error) != AFFECT_STATUS_OK) {
        api_answer_problem(request, "malformed", "%s", error.message);
        return NULL;
    }
    return request->json;
}
