/* /v1/compare: results of jobs against the first of them, by the predictions that each has among
 * its files. Read and compared on a handler's thread, within a bound on each file. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/handlers/query_list.h"
#include "api/jobs/job_rows.h"
#include "engine/core/file.h"
#include "engine/evaluation/compare.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TABLE_BYTES ((size_t)16 << 20) /* some 200 000 utterances */

static affect_status read_table(affect_prediction_table *table, api_context *context,
                                const char *id, affect_error *err) {
    affect_json *body = NULL;
    char path[AFFECT_PATH_MAX];
    bool found = false;
    AFFECT_TRY(api_job_read_body(&body, context->store, id, err));
    const affect_json *files = affect_json_get(affect_json_get(body, "result"), "artifacts");
    for (const affect_json *f = affect_json_first(files); f && !found; f = affect_json_next(f))
        found = strcmp(affect_json_get_string(f, "name", ""), AFFECT_PREDICTIONS_TABLE) == 0;
    affect_status status =
        found ? affect_path_join(path, err, context->settings->data, "jobs/%s/%s",
                                 affect_json_get_string(body, "id", ""), AFFECT_PREDICTIONS_TABLE)
              : affect_fail(err, CONFLICT, "job %s (%s, %s) has no predictions to compare", id,
                            affect_json_get_string(body, "type", ""),
                            affect_json_get_string(body, "state", ""));
    affect_json_free(body);
    if (status != AFFECT_STATUS_OK) return status;
    affect_error why = {0};
    status = affect_prediction_table_read(table, path, MAX_TABLE_BYTES, &why);
    if (status == AFFECT_STATUS_OK) return status;
    if (status == AFFECT_STATUS_TOO_LARGE)
        return affect_fail(err, TOO_LARGE,
                           "job %s: its predictions take over %zu bytes (`affect compare` takes "
                           "them)",
                           id, MAX_TABLE_BYTES);
    /* Where files lie on the server's disk is not for clients. */
    if (status == AFFECT_STATUS_MALFORMED)
        return affect_fail(err, CONFLICT,
                           "job %s: its " AFFECT_PREDICTIONS_TABLE
                           " is of another version of affectd, or damaged",
                           id);
    return affect_error_set(err, status, "job %s: its predictions cannot be read", id);
}

static affect_status compare(affect_buffer *text, size_t format, api_request *request,
                             affect_error *err) {
    const char *ids[AFFECT_COMPARE_MAX];
    affect_prediction_table tables[AFFECT_COMPARE_MAX] = {0};
    affect_json *json = NULL;
    char *memory = NULL;
    size_t n = 0;
    affect_status status = api_query_list(&memory, ids, &n, "jobs", api_query(request, "jobs"), 2,
                                          AFFECT_COMPARE_MAX, err);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++)
        status = read_table(&tables[i], api_context_of(request), ids[i], err);
    if (status == AFFECT_STATUS_OK) status = affect_compare(&json, tables, ids, n, err);
    if (status == AFFECT_STATUS_OK) affect_compare_print(text, json, format);
    affect_json_free(json);
    for (size_t i = 0; i < n; i++) affect_prediction_table_free(&tables[i]);
    free(memory);
    return status;
}

void api_handle_compare(api_request *request) {
    static const char *const types[] = {"application/json", "text/csv; charset=utf-8",
                                        "text/markdown; charset=utf-8", "application/x-latex"};
    const char *name = api_query(request, "format");
    size_t format = 0;
    while (name && strcmp(affect_compare_formats[format], name) != 0) format++; /* one of them */
    affect_error error = {0};
    affect_buffer text = {0};
    if (compare(&text, format, request, &error) == AFFECT_STATUS_OK) {
        api_answer_buffer(request, 200, types[format], &text);
        return;
    }
    affect_buffer_free(&text);
    api_answer_error(request, &error);
}
