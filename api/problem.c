/* The table of problems and their JSON; see problem.h. */
#include "api/problem.h"

#include <stdio.h>
#include <string.h>

static const api_problem problems[] = {
    {"internal", 500, "Something failed that should not"},
    {"malformed", 400, "The request is malformed"},
    {"forbidden", 403, "This is not allowed"},
    {"not_found", 404, "There is no such thing"},
    {"method_not_allowed", 405, "The method is not allowed here"},
    {"conflict", 409, "The state of the resource forbids this"},
    {"name_taken", 409, "The name is taken"},
    {"in_use", 409, "The resource is in use"},
    {"length_required", 411, "A length is required"},
    {"precondition_failed", 412, "The precondition failed"},
    {"too_large", 413, "The body is too large"},
    {"unsupported_media_type", 415, "The media type is not accepted here"},
    {"range_not_satisfiable", 416, "The range lies outside the file"},
    {"misdirected", 421, "This server has another name"},
    {"invalid", 422, "The request is well-formed but wrong"},
    {"unsupported", 422, "This is not supported"},
    {"unreadable", 422, "The data cannot be read"},
    {"device_unavailable", 422, "The device is not available"},
    {"precondition_required", 428, "A precondition is required"},
    {"artifact_corrupt", 500, "A stored file is damaged"},
    {"no_memory", 500, "The server ran out of memory"},
    {"predictor_lost", 502, "The predictor ended while it worked on this"},
    {"busy", 503, "The server is full"},
    {"draining", 503, "The server is stopping"},
    {"not_ready", 503, "The server is not ready"},
    {"timeout", 503, "The answer took too long"},
    {"no_space", 507, "The disk is full"},
};

const api_problem *api_problem_find(const char *code) {
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        if (strcmp(problems[i].code, code) == 0) return &problems[i];
    return &problems[0];
}

const char *api_problem_title(int status) {
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        if (problems[i].status == status) return problems[i].title;
    return problems[0].title;
}

const api_problem *api_problem_of_status(affect_status status) {
    switch (status) {
    case AFFECT_STATUS_INVALID:
    case AFFECT_STATUS_SHAPE:
        return api_problem_find("invalid");
    case AFFECT_STATUS_MALFORMED:
        return api_problem_find("unreadable");
    case AFFECT_STATUS_NOT_FOUND:
        return api_problem_find("not_found");
    case AFFECT_STATUS_CONFLICT:
        return api_problem_find("conflict");
    case AFFECT_STATUS_UNSUPPORTED:
        return api_problem_find("unsupported");
    case AFFECT_STATUS_TOO_LARGE:
        return api_problem_find("too_large");
    case AFFECT_STATUS_NO_SPACE:
        return api_problem_find("no_space");
    case AFFECT_STATUS_ARTIFACT_CORRUPT:
        return api_problem_find("artifact_corrupt");
    case AFFECT_STATUS_NO_MEMORY:
        return api_problem_find("no_memory");
    case AFFECT_STATUS_DEVICE_UNAVAILABLE:
        return api_problem_find("device_unavailable");
    case AFFECT_STATUS_DEVICE_LOST:
        return api_problem_find("predictor_lost");
    case AFFECT_STATUS_BUSY:
        return api_problem_find("busy");
    case AFFECT_STATUS_CANCELLED:
        return api_problem_find("draining");
    case AFFECT_STATUS_TIMEOUT:
        return api_problem_find("timeout");
    default:
        return api_problem_find("internal");
    }
}

static void append_error(affect_json *errors, const char *pointer, const char *detail) {
    affect_json *row = affect_json_new_object();
    affect_json_set_string(row, "pointer", pointer);
    affect_json_set_string(row, "detail", detail);
    affect_json_append(errors, row);
}

affect_json *api_problem_errors(const affect_error *error) {
    const affect_field_errors *all = error->status == AFFECT_STATUS_INVALID ? error->fields : NULL;
    if (!*error->pointer && !(all && all->n)) return NULL;
    affect_json *members = affect_json_new_object();
    affect_json *errors = affect_json_set_array(members, "errors");
    if (all && all->n) {
        for (size_t i = 0; i < all->n; i++)
            append_error(errors, all->items[i].pointer, all->items[i].message);
    } else {
        append_error(errors, error->pointer, error->message);
    }
    return members;
}

void api_hide_folder(char *text, const char *folder) {
    size_t n = strlen(folder);
    if (!n || strcmp(folder, "/") == 0) return;
    for (char *at = text; (at = strstr(at, folder));)
        if (at[n] == '/')
            memmove(at, at + n + 1, strlen(at + n + 1) + 1);
        else
            at += n;
}

affect_json *api_problem_json(const api_problem *problem, const char *detail) {
    affect_json *json = affect_json_new_object();
    char type[96];
    snprintf(type, sizeof type, "urn:affectd:problem:%s", problem->code);
    affect_json_set_string(json, "type", type);
    affect_json_set_string(json, "title", problem->title);
    affect_json_set_number(json, "status", problem->status);
    affect_json_set_string(json, "detail", detail);
    affect_json_set_string(json, "code", problem->code);
    return json;
}

char *api_problem_text(int status) {
    static const struct {
        int status;
        const char *code, *detail;
    } refusals[] = {{413, "too_large", "the body is too large"},
                    {414, "malformed", "the target is too long"},
                    {431, "malformed", "the headers are too large"},
                    {505, "malformed", "this version of HTTP is not spoken here"},
                    {0, "malformed", "this is no request of HTTP"}};
    size_t i = 0;
    while (refusals[i].status && refusals[i].status != status) i++;
    affect_json *json = api_problem_json(api_problem_find(refusals[i].code), refusals[i].detail);
    affect_json_set_number(json, "status", status);
    char *text = affect_json_text(json);
    affect_json_free(json);
    return text;
}
