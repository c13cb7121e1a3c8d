/* Training: a dataset, an architecture and options become a version of a model.
 *
 * The request is checked by the engine's own parsers, and the architecture is built with the
 * dataset's sizes, so that what is accepted is what a worker can run. The best epoch's file becomes
 * a version of the model in the transaction that ends the job. The worker writes checkpoints: a
 * training is paused, and resumes after its worker was lost. */
#include "api/jobs/job_type.h"
#include "api/models/model_registry.h"
#include "api/schema.h"
#include "engine/device/backend.h"
#include "engine/model/architecture.h"
#include "engine/train/job_spec.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    char type[16], dataset[72], model[96], device[32];
    int precision;                                            /* affect_precision */
    affect_json *architecture, *variables, *split, *training; /* owned */
} train_request;

static void add_architecture_names(affect_json *schema) {
    affect_json *name = affect_json_at(affect_json_get(schema, "oneOf"), 0);
    affect_json *names = affect_json_set_array(name, "enum");
    char preset[64];
    for (size_t i = 0; affect_architecture_preset_name(preset, i); i++)
        affect_json_append(names, affect_json_new_string(preset));
}

/* Of the kinds, those that need no field beside their name. */
static void add_split_names(affect_json *schema) {
    affect_json *name = affect_json_at(affect_json_get(schema, "oneOf"), 0);
    affect_json *names = affect_json_set_array(name, "enum");
    for (const affect_split_kind *kind = affect_split_kinds; kind->name; kind++) {
        affect_split_config config;
        affect_json *json = affect_json_new_string(kind->name);
        if (affect_split_config_parse(&config, json, "", NULL) == AFFECT_STATUS_OK) {
            affect_json_append(names, affect_json_copy(json));
            affect_split_config_free(&config);
        }
        affect_json_free(json);
    }
}

static const affect_field fields[] = {
    AFFECT_FIELD_STRING(train_request, type, "", "train", .required = true,
                        .schema = "{'enum':['train']}"),
    AFFECT_FIELD_STRING(train_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_STRING(train_request, model, "", "the model to make a version of", .minimum = 1,
                        .required = true, .schema = API_NAME_SCHEMA),
    AFFECT_FIELD_JSON(train_request, architecture, "a preset's name or an object",
                      .schema = "{'oneOf':[{'type':'string'},{'type':'object'}]}",
                      .complete = add_architecture_names),
    AFFECT_FIELD_JSON(
        train_request, variables, "values of the architecture's variables",
        .schema = "{'type':'object','additionalProperties':{'type':['number','boolean','string'],"
                  "'pattern':'^[^$]|^$'}}"),
    AFFECT_FIELD_JSON(
        train_request, split, "which utterances train, validate, test; a name or an object",
        .fields = affect_split_fields, .schema = "{'type':'string'}", .complete = add_split_names),
    AFFECT_FIELD_JSON(train_request, training, "epochs, batch size, rate, ...",
                      .fields = affect_training_fields),
    AFFECT_FIELD_STRING(train_request, device, "", "cpu, cuda, cuda:N, auto; empty: the server's"),
    AFFECT_FIELD_CHOICE(train_request, precision, AFFECT_PRECISION_AUTO, affect_precision_names,
                        "fp32, tf32, bf16; auto: tf32 on a GPU, fp32 on a CPU"),
    AFFECT_FIELD_END};

/* ---- The request ---- */

/* Builds the graph with the dataset's sizes, so that a layer that does not fit is named now. */
static affect_status check_architecture(const api_job_draft *draft, const affect_json *document,
                                        const affect_dataset *dataset, affect_error *err) {
    affect_error error = {0};
    affect_architecture *architecture = NULL;
    affect_status status = affect_architecture_create(
        &architecture, document, ((const train_request *)draft->request)->variables,
        affect_dataset_sizes(dataset), &error);
    affect_architecture_free(architecture);
    if (status == AFFECT_STATUS_OK) return status;
    char pointer[sizeof error.pointer];
    bool variables = strncmp(error.pointer, "/variables", 10) == 0;
    snprintf(pointer, sizeof pointer, "%s%.100s", variables ? "" : "/architecture", error.pointer);
    affect_error_set(err, status, "%s", error.message);
    return affect_error_at(err, status, pointer);
}

static affect_status set_architecture(api_job_draft *draft, const affect_dataset *dataset,
                                      affect_error *err) {
    affect_json *named = NULL, *document = NULL;
    const affect_json *given = ((const train_request *)draft->request)->architecture;
    if (!given) given = named = affect_json_new_string("paper-optimized");
    affect_status status = affect_job_architecture(&document, given, err);
    affect_json_free(named);
    AFFECT_TRY(api_job_draft_as_field_error(err, status, "architecture"));
    affect_json_set(draft->spec, "architecture", document);
    return dataset ? check_architecture(draft, document, dataset, err) : AFFECT_STATUS_OK;
}

/* As far as the rest allows: an unknown dataset leaves what depends on it unchecked. */
static affect_status check(api_job_draft *draft, affect_error *err) {
    affect_train_spec spec;
    affect_dataset *opened = NULL, *dataset = draft->opened;
    if (!dataset && draft->dataset.id[0]) dataset = opened = api_job_draft_open_dataset(draft);
    if (draft->checked) dataset = NULL;
    affect_status status = affect_train_spec_parse(&spec, draft->spec, err);
    if (status == AFFECT_STATUS_OK) {
        draft->epochs = spec.training_config.epochs;
        if (dataset) status = affect_train_spec_check(&spec, dataset, err);
        affect_train_spec_free(&spec);
    }
    AFFECT_CHECK(status, err, set_architecture(draft, dataset, err));
    affect_dataset_close(opened);
    return status;
}

static void set_copy(affect_json *to, const char *name, const affect_json *value) {
    if (value) affect_json_set(to, name, affect_json_copy(value));
}

static affect_status check_model_name(const char *name, affect_error *err) {
    if (!name[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    return api_name_check(name, "/model", err);
}

static affect_status make(api_job_draft *draft, affect_error *err) {
    const train_request *r = draft->request;
    affect_status status = check_model_name(r->model, err);
    AFFECT_CHECK(status, err, api_job_draft_find_dataset(draft, r->dataset, err));
    AFFECT_CHECK(status, err,
                 api_job_draft_begin_spec(draft, "train", r->device, r->precision, err));
    if (!affect_fields_continue(status, err)) return status;
    snprintf(draft->model, sizeof draft->model, "%s", r->model);
    /* The folder is the job's own: a checkpoint in it is of a worker that was lost. */
    affect_json_set_bool(draft->spec, "resume", true);
    affect_json_set_string(draft->spec, "model", r->model);
    set_copy(draft->spec, "variables", r->variables);
    set_copy(draft->spec, "split", r->split);
    set_copy(draft->spec, "training", r->training);
    AFFECT_CHECK(status, err, check(draft, err));
    return status;
}

/* ---- The model ---- */

static affect_status prepare(api_job_product *product, affect_error *err) {
    const char *name = affect_json_get_string(product->result, "model_file", "best.safetensors");
    if (strchr(name, '/'))
        return affect_fail(err, INVALID, "the worker names a model file outside its folder");
    return api_job_product_read_model(product, product->folder, name, err);
}

static affect_status store(api_job_product *product, api_db *db, affect_error *err) {
    affect_json_free(affect_json_detach(product->result, "model_file"));
    affect_json_free(affect_json_detach(product->result, "model"));
    affect_json_free(affect_json_detach(product->result, "version"));
    return api_job_product_add_model(product, db, err);
}

static const char *const keys[] = {"dataset", "output", NULL};

const api_job_type api_job_type_train = {.name = "train",
                                         .fields = fields,
                                         .request_size = sizeof(train_request),
                                         .make = make,
                                         .keys = keys,
                                         .pausable = true,
                                         .has_curves = true,
                                         .has_dry_run = true,
                                         .has_artifacts = true,
                                         .has_report = true,
                                         .prepare = prepare,
                                         .store = store};
