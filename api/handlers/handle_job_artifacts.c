/* The files that a job made: /v1/jobs/{job}/artifacts, /artifacts/{name}, and a sweep's /table.
 *
 * A job's result names its files with size and digest; nothing else of the job's folder is served.
 * A file's digest is its ETag. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/job_rows.h"
#include "engine/core/file.h"

#include <stdio.h>
#include <string.h>

/* The job's body; *files is borrowed from it, NULL when there are none. */
static affect_status read_files(affect_json **body, const affect_json **files, api_request *request,
                                affect_error *err) {
    affect_status status = api_job_read_body(body, api_context_of(request)->store,
                                             api_path_value(request, "job"), err);
    *files = affect_json_get(affect_json_get(*body, "result"), "artifacts");
    return status;
}

static const char *content_type_of(const char *name) {
    const char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".jsonl") == 0) return "application/x-ndjson";
    if (dot && strcmp(dot, ".csv") == 0) return "text/csv; charset=utf-8";
    if (dot && strcmp(dot, ".md") == 0) return "text/markdown; charset=utf-8";
    if (dot && strcmp(dot, ".tex") == 0) return "application/x-tex";
    return "application/octet-stream";
}

void api_handle_job_artifacts(api_request *request) {
    affect_error error = {0};
    affect_json *body = NULL, *answer = affect_json_new_object();
    const affect_json *files = NULL;
    affect_json *data = affect_json_set_array(answer, "data");
    affect_status status = read_files(&body, &files, request, &error);
    for (const affect_json *f = affect_json_first(files); f; f = affect_json_next(f)) {
        char link[256];
        const char *name = affect_json_get_string(f, "name", "");
        affect_json *row = affect_json_append(data, affect_json_copy(f));
        affect_json_set_string(row, "content_type", content_type_of(name));
        snprintf(link, sizeof link, "/v1/jobs/%s/artifacts/%s", api_path_value(request, "job"),
                 name);
        affect_json_set_string(affect_json_set_object(row, "links"), "self", link);
    }
    affect_json_free(body);
    api_answer_document(request, status, answer, &error);
}

static void answer_file(api_request *request, const char *name, const char *content_type) {
    affect_error error = {0};
    affect_json *body = NULL;
    const affect_json *files = NULL, *found = NULL;
    const char *id = api_path_value(request, "job");
    char path[AFFECT_PATH_MAX];
    affect_status status = read_files(&body, &files, request, &error);
    for (const affect_json *f = affect_json_first(files); f; f = affect_json_next(f))
        if (strcmp(affect_json_get_string(f, "name", ""), name) == 0) found = f;
    if (status == AFFECT_STATUS_OK && !found)
        status = affect_fail(&error, NOT_FOUND, "job %s has no artifact \"%.60s\"", id, name);
    if (status == AFFECT_STATUS_OK)
        status = affect_path_join(path, &error, api_context_of(request)->settings->data,
                                  "jobs/%s/%s", id, name);
    if (status == AFFECT_STATUS_OK)
        api_answer_file(request, path, content_type, affect_json_get_string(found, "sha256", ""),
                        name);
    else
        api_answer_error(request, &error);
    affect_json_free(body);
}

void api_handle_job_artifact(api_request *request) {
    const char *name = api_path_value(request, "name");
    answer_file(request, name, content_type_of(name));
}

void api_handle_job_table(api_request *request) {
    static const char *const files[][2] = {
        {"json", "report.json"}, {"csv", "table.csv"}, {"md", "table.md"}, {"latex", "table.tex"}};
    const char *format = api_query(request, "format");
    size_t f = 0;
    while (format && f + 1 < sizeof files / sizeof *files && strcmp(files[f][0], format) != 0) f++;
    answer_file(request, files[f][1], f == 0 ? "application/json" : content_type_of(files[f][1]));
}
