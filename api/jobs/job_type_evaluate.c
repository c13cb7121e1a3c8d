/* Evaluation: a version of a model on a part of a dataset whose classes it knows.
 *
 * Its results are numbers in the end event and a file of predictions, an artifact. */
#include "api/jobs/job_type.h"
#include "api/models/model_registry.h"
#include "engine/device/backend.h"
#include "engine/train/job_spec.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    char type[16], dataset[72], model[96], device[32];
    int part, precision; /* of affect_evaluate_parts; affect_precision */
} evaluate_request;

static const affect_field fields[] = {
    AFFECT_FIELD_STRING(evaluate_request, type, "", "evaluate", .required = true,
                        .schema = "{'enum':['evaluate']}"),
    AFFECT_FIELD_STRING(evaluate_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_STRING(evaluate_request, model, "", "name or name:version", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_CHOICE(evaluate_request, part, AFFECT_PART_VALIDATION, affect_evaluate_parts,
                        "a part of the model's own split, or all"),
    AFFECT_FIELD_STRING(evaluate_request, device, "", "as for train"),
    AFFECT_FIELD_CHOICE(evaluate_request, precision, AFFECT_PRECISION_AUTO, affect_precision_names,
                        "as for train"),
    AFFECT_FIELD_END};

static affect_status find_model(const api_job_draft *draft, api_model_version *version,
                                affect_error *err) {
    struct api_model_registry *models = draft->context->models;
    const evaluate_request *r = draft->request;
    if (!r->model[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    affect_status status = api_model_resolve(models, r->model, version, err);
    if (status == AFFECT_STATUS_OK) AFFECT_TRY(api_model_verify(models, version, err));
    return api_job_draft_as_field_error(err, status, "model");
}

static bool has_label(const affect_json *labels, const char *class) {
    const affect_json *e = affect_json_first(labels);
    while (e && strcmp(affect_json_string(e, ""), class) != 0) e = affect_json_next(e);
    return e != NULL;
}

static affect_status check_labels(const api_job_draft *draft, const api_model_version *version,
                                  affect_error *err) {
    affect_json *metadata = NULL;
    affect_dataset *dataset = api_job_draft_open_dataset(draft);
    affect_status status = AFFECT_STATUS_OK;
    if (dataset)
        status = api_model_version_get(draft->context->models, &metadata, version->name,
                                       version->version, err);
    const affect_json *labels = affect_json_get(metadata, "labels");
    for (size_t i = 0; dataset && labels && i < affect_dataset_n_classes(dataset); i++) {
        const char *class = affect_dataset_class(dataset, i);
        if (!has_label(labels, class))
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, "", "dataset",
                                           "has the class \"%s\", which the model does not know",
                                           class));
    }
    affect_json_free(metadata);
    affect_dataset_close(dataset);
    return status;
}

static affect_status make(api_job_draft *draft, affect_error *err) {
    api_model_version version;
    char key[API_MODEL_KEY_SIZE];
    const evaluate_request *r = draft->request;
    affect_status status = find_model(draft, &version, err);
    AFFECT_CHECK(status, err, api_job_draft_find_dataset(draft, r->dataset, err));
    AFFECT_CHECK(status, err,
                 api_job_draft_begin_spec(draft, "evaluate", r->device, r->precision, err));
    if (status != AFFECT_STATUS_OK) return status;
    snprintf(draft->model, sizeof draft->model, "%s:%lld", version.name,
             (long long)version.version);
    api_model_key(key, version.name, version.version);
    affect_json_set_string(draft->spec, "model", key);
    affect_json_set_string(draft->spec, "part", affect_evaluate_parts[r->part]);
    affect_evaluate_spec spec;
    AFFECT_TRY(affect_evaluate_spec_parse(&spec, draft->spec, err));
    return check_labels(draft, &version, err);
}

static const char *const keys[] = {"dataset", "output", "model", NULL};

extern const api_job_type api_job_type_evaluate;
const api_job_type api_job_type_evaluate = {.name = "evaluate",
                                            .fields = fields,
                                            .request_size = sizeof(evaluate_request),
                                            .make = make,
                                            .keys = keys,
                                            .has_artifacts = true,
                                            .has_report = true};
