/* /v1/models: what was trained, version by version, and the files themselves. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/models/model_registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_handle_model_list(api_request *request) {
    int64_t limit = api_query_integer(request, "limit");
    const char *after = api_query(request, "after");
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status =
        api_model_list(api_context_of(request)->models, &json, limit, after ? after : "", &error);
    api_answer_document(request, status, json, &error);
}

void api_handle_model(api_request *request) {
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = api_model_get(api_context_of(request)->models, &json,
                                         api_path_value(request, "model"), &error);
    api_answer_document(request, status, json, &error);
}

/* "name:version" from the path. NOT_FOUND when the version is not a number, or no model can have
 * the name. */
static affect_status find_version(api_model_version *version, api_request *request,
                                  affect_error *err) {
    char reference[128];
    const char *name = api_path_value(request, "model");
    const char *number = api_path_value(request, "version");
    if (api_name_check(name, "", NULL) != AFFECT_STATUS_OK || strlen(number) > 18 ||
        number[strspn(number, "0123456789")] || !number[strspn(number, "0")])
        return affect_fail(err, NOT_FOUND, "no version \"%.20s\" of model \"%.64s\"", number, name);
    snprintf(reference, sizeof reference, "%s:%s", name, number);
    return api_model_resolve(api_context_of(request)->models, reference, version, err);
}

static void answer_deletion(api_request *request, affect_status status, const affect_error *error) {
    if (status == AFFECT_STATUS_OK)
        api_answer_empty(request, 204);
    else if (status == AFFECT_STATUS_CONFLICT)
        api_answer_problem(request, "in_use", "%s", error->message);
    else
        api_answer_error(request, error);
}

void api_handle_model_delete(api_request *request) {
    affect_error error = {0};
    const char *name = api_path_value(request, "model");
    answer_deletion(request, api_model_delete(api_context_of(request)->models, name, 0, &error),
                    &error);
}

void api_handle_model_version_delete(api_request *request) {
    affect_error error = {0};
    api_model_version version;
    affect_status status = find_version(&version, request, &error);
    if (status == AFFECT_STATUS_OK)
        status = api_model_delete(api_context_of(request)->models, version.name, version.version,
                                  &error);
    answer_deletion(request, status, &error);
}

void api_handle_model_version(api_request *request) {
    affect_error error = {0};
    affect_json *json = NULL;
    api_model_version version;
    affect_status status = find_version(&version, request, &error);
    if (status == AFFECT_STATUS_OK)
        status = api_model_version_get(api_context_of(request)->models, &json, version.name,
                                       version.version, &error);
    api_answer_document(request, status, json, &error);
}

void api_handle_model_artifact(api_request *request) {
    affect_error error = {0};
    api_model_version version;
    if (find_version(&version, request, &error) != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    if (api_model_verify(api_context_of(request)->models, &version, &error) != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    char file_name[128];
    snprintf(file_name, sizeof file_name, "%s-%lld.safetensors", version.name,
             (long long)version.version);
    api_answer_file(request, version.path, "application/octet-stream", version.digest, file_name);
}
