/* /v1/models: what was trained, version by version, and the files themselves. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/models/model_registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_handle_model_list(api_exchange *exchange) {
    int64_t limit;
    if (!api_query_integer(exchange, "limit", 1, 1000, 100, &limit)) return;
    const char *after = api_query(exchange, "after");
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status =
        api_model_list(api_context_of(exchange)->models, &json, limit, after ? after : "", &error);
    api_answer_document(exchange, status, json, &error);
}

void api_handle_model(api_exchange *exchange) {
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = api_model_get(api_context_of(exchange)->models, &json,
                                         api_path_value(exchange, "model"), &error);
    api_answer_document(exchange, status, json, &error);
}

/* "name:version" from the path. NOT_FOUND when the version is no number. */
static affect_status find_version(api_model_version *version, api_exchange *exchange,
                                  affect_error *err) {
    char reference[128];
    const char *name = api_path_value(exchange, "model");
    const char *number = api_path_value(exchange, "version");
    if (strlen(name) > 64 || strlen(number) > 18 || number[strspn(number, "0123456789")] ||
        !number[strspn(number, "0")])
        return affect_fail(err, NOT_FOUND, "no version \"%.20s\" of model \"%.64s\"", number, name);
    snprintf(reference, sizeof reference, "%s:%s", name, number);
    return api_model_resolve(api_context_of(exchange)->models, reference, version, err);
}

static void answer_deletion(api_exchange *exchange, affect_status status,
                            const affect_error *error) {
    if (status == AFFECT_STATUS_OK)
        api_answer_empty(exchange, 204);
    else if (status == AFFECT_STATUS_CONFLICT)
        api_answer_problem(exchange, "in_use", "%s", error->message);
    else
        api_answer_error(exchange, error);
}

void api_handle_model_delete(api_exchange *exchange) {
    affect_error error = {0};
    const char *name = api_path_value(exchange, "model");
    answer_deletion(exchange, api_model_delete(api_context_of(exchange)->models, name, 0, &error),
                    &error);
}

void api_handle_model_version_delete(api_exchange *exchange) {
    affect_error error = {0};
    api_model_version version;
    affect_status status = find_version(&version, exchange, &error);
    if (status == AFFECT_STATUS_OK)
        status = api_model_delete(api_context_of(exchange)->models, version.name, version.version,
                                  &error);
    answer_deletion(exchange, status, &error);
}

void api_handle_model_version(api_exchange *exchange) {
    affect_error error = {0};
    affect_json *json = NULL;
    api_model_version version;
    affect_status status = find_version(&version, exchange, &error);
    if (status == AFFECT_STATUS_OK)
        status = api_model_version_get(api_context_of(exchange)->models, &json, version.name,
                                       version.version, &error);
    api_answer_document(exchange, status, json, &error);
}

void api_handle_model_artifact(api_exchange *exchange) {
    const char *format = api_query(exchange, "format");
    if (format && strcmp(format, "safetensors") != 0) {
        api_answer_problem(exchange, "invalid", "query format: need safetensors");
        return;
    }
    affect_error error = {0};
    api_model_version version;
    if (find_version(&version, exchange, &error) != AFFECT_STATUS_OK) {
        api_answer_error(exchange, &error);
        return;
    }
    if (api_model_verify(api_context_of(exchange)->models, &version, &error) != AFFECT_STATUS_OK) {
        api_answer_error(exchange, &error);
        return;
    }
    char file_name[128];
    snprintf(file_name, sizeof file_name, "%s-%lld.safetensors", version.name,
             (long long)version.version);
    api_answer_file(exchange, version.path, "application/octet-stream", version.digest, file_name);
}
