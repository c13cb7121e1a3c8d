/* /v1/architectures: the presets that a job's "architecture" may name.
 *
 * Shapes and numbers of parameters depend on the data; those here are for the default features and
 * the paper's four classes. All of it is embedded, so an answer is one of documents.h. */
#include "api/api.h"
#include "api/handlers/handlers.h"
#include "engine/modality/features.h"
#include "engine/model/architecture.h"

#define N_CLASSES 4

static affect_sizes default_sizes(void) {
    affect_feature_config config;
    affect_feature_config_default(&config);
    affect_sizes sizes = affect_feature_config_sizes(&config);
    sizes.n_classes = N_CLASSES;
    return sizes;
}

static affect_json *to_json(const affect_architecture *architecture, const char *name,
                            bool with_document) {
    const affect_json *document = affect_architecture_document(architecture);
    const affect_json *variables = affect_json_get(document, "variables");
    const char *description = affect_json_get_string(document, "description", NULL);
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "name", name);
    if (description) affect_json_set_string(json, "description", description);
    affect_json_set(json, "variables",
                    variables ? affect_json_copy(variables) : affect_json_new_object());
    affect_json_set(json, "sizes", affect_sizes_to_json(affect_architecture_sizes(architecture)));
    affect_architecture_describe(json, architecture);
    if (with_document) affect_json_set(json, "architecture", affect_json_copy(document));
    return json;
}

/* *json owned. NOT_FOUND when no preset has that name. */
static affect_status describe_preset(affect_json **json, const char *name, bool with_document,
                                     affect_error *err) {
    affect_json *document = NULL;
    affect_architecture *architecture = NULL;
    affect_sizes sizes = default_sizes();
    AFFECT_TRY(affect_architecture_preset(&document, name, err));
    affect_status status = affect_architecture_create(&architecture, document, NULL, &sizes, err);
    if (status == AFFECT_STATUS_OK) *json = to_json(architecture, name, with_document);
    affect_architecture_free(architecture);
    affect_json_free(document);
    return status;
}

void api_handle_architecture_list(api_request *request) {
    affect_error error = {0};
    affect_status status = AFFECT_STATUS_OK;
    affect_json *json = affect_json_new_object(), *list = affect_json_set_array(json, "data");
    char name[64];
    for (size_t i = 0; status == AFFECT_STATUS_OK && affect_architecture_preset_name(name, i);
         i++) {
        affect_json *preset = NULL;
        status = describe_preset(&preset, name, false, &error);
        if (preset) affect_json_append(list, preset);
    }
    api_answer_document(request, status, json, &error);
}

void api_handle_architecture(api_request *request) {
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = describe_preset(&json, api_path_value(request, "name"), true, &error);
    api_answer_document(request, status, json, &error);
}
