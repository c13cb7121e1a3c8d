/* /v1/jobs: creating train and evaluate jobs, reading, waiting, cancelling, pausing.
 *
 * A body is checked whole before anything is queued: its fields by a table here, split, training
 * and architecture by the engine's own parsers, so that what is accepted is what a worker can run.
 * An architecture is a preset's name, found among the embedded ones only, or an inline object. */
#include "api/context.h"
#include "api/etag.h"
#include "api/handlers/handlers.h"
#include "api/jobs/devices.h"
#include "api/jobs/dry_run.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_rows.h"
#include "api/schema.h"
#include "api/store/dataset_registry.h"
#include "engine/core/digest.h"
#include "engine/dataset/dataset.h"
#include "engine/device/backend.h"
#include "engine/model/architecture.h"
#include "engine/train/job_spec.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a client asks for. */
typedef struct {
    char type[16], dataset[72], model[96], device[32];
    int part, precision;                                      /* of their tables' names */
    affect_json *architecture, *variables, *split, *training; /* owned */
} job_request;

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

static const affect_field train_request_fields[] = {
    AFFECT_FIELD_STRING(job_request, type, "", "train", .required = true,
                        .schema = "{'enum':['train']}"),
    AFFECT_FIELD_STRING(job_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_STRING(job_request, model, "", "the model to make a version of", .minimum = 1,
                        .required = true, .schema = API_NAME_SCHEMA),
    AFFECT_FIELD_JSON(job_request, architecture, "a preset's name or an object",
                      .schema = "{'oneOf':[{'type':'string'},{'type':'object'}]}"),
    AFFECT_FIELD_JSON(job_request, variables, "values of the architecture's variables",
                      .schema = "{'type':'object','additionalProperties':{'type':'number'}}"),
    AFFECT_FIELD_JSON(
        job_request, split, "which utterances train, validate, test; a name or an object",
        .fields = affect_split_fields, .schema = "{'type':'string'}", .complete = add_split_names),
    AFFECT_FIELD_JSON(job_request, training, "epochs, batch size, rate, ...",
                      .fields = affect_training_fields),
    AFFECT_FIELD_STRING(job_request, device, "", "cpu, cuda, cuda:N, auto; empty: the server's"),
    AFFECT_FIELD_CHOICE(job_request, precision, AFFECT_PRECISION_AUTO, affect_precision_names,
                        "fp32, tf32, bf16; auto: tf32 on a GPU, fp32 on a CPU"),
    AFFECT_FIELD_END};

static const affect_field evaluate_request_fields[] = {
    AFFECT_FIELD_STRING(job_request, type, "", "evaluate", .required = true,
                        .schema = "{'enum':['evaluate']}"),
    AFFECT_FIELD_STRING(job_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_STRING(job_request, model, "", "name or name:version", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_CHOICE(job_request, part, AFFECT_PART_VALIDATION, affect_evaluate_parts,
                        "a part of the model's own split, or all"),
    AFFECT_FIELD_STRING(job_request, device, "", "as for train"),
    AFFECT_FIELD_CHOICE(job_request, precision, AFFECT_PRECISION_AUTO, affect_precision_names,
                        "as for train"),
    AFFECT_FIELD_END};

void api_describe_job_create(affect_json *content) {
    affect_json *schema =
        affect_json_set_object(affect_json_set_object(content, "application/json"), "schema");
    affect_json *list = affect_json_set_array(schema, "oneOf");
    affect_json_append(list, api_schema_of(train_request_fields, "TrainRequest"));
    affect_json_append(list, api_schema_of(evaluate_request_fields, "EvaluateRequest"));
}

/* One creation on its way. */
typedef struct {
    const api_context *context;
    job_request request;
    char job_id[API_ID_SIZE];
    api_dataset dataset;
    char model[96];      /* train: name; evaluate: name:version */
    int64_t epochs;      /* train */
    affect_json *spec;   /* owned */
    char data[PATH_MAX]; /* the data folder, absolute */
} creation;

/* ---- Answers ---- */

typedef struct {
    const char *id;
    affect_json *body;
} job_question;

static affect_status read_job(api_db *db, void *context, affect_error *err) {
    job_question *q = context;
    return api_job_body(&q->body, db, q->id, err);
}

static void etag_of(char etag[API_ETAG_SIZE], const affect_json *body) {
    api_job_etag(etag, (int64_t)affect_json_get_number(body, "state_number", 0));
}

static void answer_body(api_request *request, int status, const char *id, affect_json *body) {
    char etag[API_ETAG_SIZE];
    etag_of(etag, body);
    api_set_header(request, "ETag", "%s", etag);
    if (status == 202) api_set_header(request, "Location", "/v1/jobs/%s", id);
    api_answer_json(request, status, body);
}

void api_answer_job(api_request *request, int status, const char *id) {
    affect_error error = {0};
    job_question q = {.id = id};
    if (api_store_read(api_context_of(request)->store, read_job, &q, &error) != AFFECT_STATUS_OK)
        api_answer_error(request, &error);
    else
        answer_body(request, status, id, q.body);
}

/* ---- Creating ---- */

/* A thing that the body names and that is not there is the body's fault: 422 with its pointer. */
static affect_status blame(affect_error *err, affect_status status, const char *field) {
    if (status != AFFECT_STATUS_NOT_FOUND) return status;
    char message[300];
    snprintf(message, sizeof message, "%.290s", err->message);
    return affect_field_fail(err, "", field, "%s", message);
}

static affect_status find_dataset(creation *c, affect_error *err) {
    if (!c->request.dataset[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    affect_status status =
        api_dataset_find(&c->dataset, c->context->store, c->request.dataset, err);
    AFFECT_TRY(blame(err, status, "dataset"));
    if (strcmp(c->dataset.state, "ready") == 0) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT, "dataset %s is %s (need ready)", c->dataset.name,
                       c->dataset.state);
}

/* A GPU that a job names is there, and a CPU is asked for no precision that it does not have. */
static affect_status check_device(const creation *c, const char *device, affect_error *err) {
    int precision = c->request.precision;
    AFFECT_TRY(api_devices_check(device, c->context, err));
    if (strcmp(device, "cpu") != 0 || precision == AFFECT_PRECISION_FP32 ||
        precision == AFFECT_PRECISION_AUTO)
        return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", "precision", "%s: a CPU computes in fp32",
                             affect_precision_names[precision]);
}

static affect_status begin_spec(creation *c, const char *type, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    const api_settings *settings = c->context->settings;
    if (!realpath(settings->data, c->data)) return affect_error_errno(err, errno, "data folder");
    c->spec = affect_json_new_object();
    affect_json_set_string(c->spec, "type", type);
    affect_json_set_string(c->spec, "job", c->job_id);
    AFFECT_TRY(affect_path_join(path, err, c->data, "datasets/%s", c->dataset.id));
    affect_json_set_string(c->spec, "dataset", path);
    AFFECT_TRY(affect_path_join(path, err, c->data, "jobs/%s", c->job_id));
    affect_json_set_string(c->spec, "output", path);
    const char *device = *c->request.device ? c->request.device : settings->device;
    AFFECT_TRY(check_device(c, device, err));
    affect_json_set_string(c->spec, "device", device);
    affect_json_set_string(c->spec, "precision", affect_precision_names[c->request.precision]);
    affect_json_set_number(c->spec, "threads", (double)settings->job_threads);
    /* The folder is the job's own: a checkpoint in it is of a worker that was lost. */
    if (strcmp(type, "train") == 0) affect_json_set_bool(c->spec, "resume", true);
    return AFFECT_STATUS_OK;
}

static void set_copy(affect_json *to, const char *name, const affect_json *value) {
    if (value) affect_json_set(to, name, affect_json_copy(value));
}

/* The dataset that a job names; NULL: it cannot be opened, which is the worker's to report. */
static affect_dataset *open_dataset(const creation *c) {
    affect_dataset *dataset = NULL;
    const char *folder = affect_json_get_string(c->spec, "dataset", NULL);
    if (folder) affect_dataset_open(&dataset, folder, NULL, NULL);
    return dataset;
}

/* Builds the graph with the dataset's sizes, so that a layer that does not fit is named now. */
static affect_status check_architecture(const creation *c, const affect_json *document,
                                        const affect_dataset *dataset, affect_error *err) {
    affect_error error = {0};
    affect_architecture *architecture = NULL;
    affect_status status = affect_architecture_create(&architecture, document, c->request.variables,
                                                      affect_dataset_sizes(dataset), &error);
    affect_architecture_free(architecture);
    if (status == AFFECT_STATUS_OK) return status;
    char pointer[sizeof error.pointer];
    bool variables = strncmp(error.pointer, "/variables", 10) == 0;
    snprintf(pointer, sizeof pointer, "%s%.100s", variables ? "" : "/architecture", error.pointer);
    affect_error_set(err, status, "%s", error.message);
    return affect_error_at(err, status, pointer);
}

static affect_status set_architecture(creation *c, const affect_dataset *dataset,
                                      affect_error *err) {
    affect_json *named = NULL, *document = NULL;
    const affect_json *given = c->request.architecture;
    if (!given) given = named = affect_json_new_string("paper-optimized");
    affect_status status = affect_job_architecture(&document, given, err);
    affect_json_free(named);
    AFFECT_TRY(blame(err, status, "architecture"));
    affect_json_set(c->spec, "architecture", document);
    return dataset ? check_architecture(c, document, dataset, err) : AFFECT_STATUS_OK;
}

static affect_status check_model_name(const char *name, affect_error *err) {
    if (!name[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    return api_name_check(name, "/model", err);
}

/* As far as the rest allows: an unknown dataset leaves what depends on it unchecked. */
static affect_status check_train(creation *c, affect_error *err) {
    affect_train_spec spec;
    affect_dataset *dataset = c->dataset.id[0] ? open_dataset(c) : NULL;
    affect_status status = affect_train_spec_parse(&spec, c->spec, err);
    if (status == AFFECT_STATUS_OK) {
        c->epochs = spec.training_config.epochs;
        if (dataset) status = affect_train_spec_check(&spec, dataset, err);
        affect_train_spec_free(&spec);
    }
    AFFECT_CHECK(status, err, set_architecture(c, dataset, err));
    affect_dataset_close(dataset);
    return status;
}

static affect_status make_train(creation *c, affect_error *err) {
    const job_request *r = &c->request;
    affect_status status = check_model_name(r->model, err);
    AFFECT_CHECK(status, err, find_dataset(c, err));
    AFFECT_CHECK(status, err, begin_spec(c, "train", err));
    if (!affect_fields_continue(status, err)) return status;
    snprintf(c->model, sizeof c->model, "%s", r->model);
    affect_json_set_string(c->spec, "model", r->model);
    set_copy(c->spec, "variables", r->variables);
    set_copy(c->spec, "split", r->split);
    set_copy(c->spec, "training", r->training);
    AFFECT_CHECK(status, err, check_train(c, err));
    return status;
}

static affect_status find_model(creation *c, api_model_version *version, affect_error *err) {
    if (!c->request.model[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    affect_status status = api_model_resolve(c->context->models, c->request.model, version, err);
    if (status == AFFECT_STATUS_OK) AFFECT_TRY(api_model_verify(c->context->models, version, err));
    return blame(err, status, "model");
}

/* A model evaluates datasets whose classes it knows. */
static affect_status check_labels(const creation *c, const api_model_version *version,
                                  affect_error *err) {
    affect_json *metadata = NULL;
    affect_dataset *dataset = open_dataset(c);
    affect_status status = AFFECT_STATUS_OK;
    if (dataset)
        status = api_model_version_get(c->context->models, &metadata, version->name,
                                       version->version, err);
    const affect_json *labels = affect_json_get(metadata, "labels");
    for (size_t i = 0; dataset && labels && i < affect_dataset_n_classes(dataset); i++) {
        const char *class = affect_dataset_class(dataset, i);
        const affect_json *e = affect_json_first(labels);
        while (e && strcmp(affect_json_string(e, ""), class) != 0) e = affect_json_next(e);
        if (!e)
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, "", "dataset",
                                           "has the class \"%s\", which the model does not know",
                                           class));
    }
    affect_json_free(metadata);
    affect_dataset_close(dataset);
    return status;
}

static affect_status make_evaluate(creation *c, affect_error *err) {
    const job_request *r = &c->request;
    api_model_version version;
    char path[PATH_MAX];
    affect_status status = find_model(c, &version, err);
    AFFECT_CHECK(status, err, find_dataset(c, err));
    AFFECT_CHECK(status, err, begin_spec(c, "evaluate", err));
    if (status != AFFECT_STATUS_OK) return status;
    if (!realpath(version.path, path)) return affect_error_errno(err, errno, "the model's file");
    snprintf(c->model, sizeof c->model, "%s:%lld", version.name, (long long)version.version);
    affect_json_set_string(c->spec, "model", path);
    affect_json_set_string(c->spec, "part", affect_evaluate_parts[r->part]);
    affect_evaluate_spec spec;
    AFFECT_TRY(affect_evaluate_spec_parse(&spec, c->spec, err));
    return check_labels(c, &version, err);
}

static affect_status make(creation *c, const affect_json *body, affect_error *err) {
    job_request *r = &c->request;
    const char *type = affect_json_get_string(body, "type", NULL);
    if (!affect_json_is_object(body)) return affect_fail(err, INVALID, "need a JSON object");
    if (!type) return affect_field_fail(err, "", "type", "is missing, or no string");
    bool train = strcmp(type, "train") == 0;
    if (strcmp(type, "import") == 0)
        return affect_field_fail(err, "", "type", "imports are made by POST /v1/datasets");
    if (!train && strcmp(type, "evaluate") != 0)
        return affect_field_fail(err, "", "type", "\"%.40s\" (need train or evaluate)", type);
    const affect_field *fields = train ? train_request_fields : evaluate_request_fields;
    affect_fields_default(r, fields);
    affect_status status = affect_fields_parse(r, fields, body, "", err);
    api_job_id_make(c->job_id);
    AFFECT_CHECK(status, err, train ? make_train(c, err) : make_evaluate(c, err));
    return status;
}

static affect_status digest_of(char digest[AFFECT_DIGEST_TEXT_SIZE], const affect_json *body,
                               affect_error *err) {
    char *text = affect_json_canonical_text(body);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for a digest");
    affect_digest state;
    affect_digest_begin(&state);
    affect_digest_update(&state, text, strlen(text));
    affect_digest_end(&state, digest);
    free(text);
    return AFFECT_STATUS_OK;
}

static affect_status create(creation *c, const affect_json *body, const char *key,
                            char id[API_ID_SIZE], affect_error *err) {
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    bool existed;
    if (key && strlen(key) > 255)
        return affect_fail(err, INVALID, "Idempotency-Key is longer than 255 bytes");
    AFFECT_TRY(digest_of(digest, body, err));
    if (key) AFFECT_TRY(api_job_find(c->context->jobs, key, digest, id, &existed, err));
    if (key && existed) return AFFECT_STATUS_OK;
    AFFECT_TRY(make(c, body, err));
    const api_job_new job = {.type = c->request.type,
                             .id = c->job_id,
                             .request = body,
                             .spec = c->spec,
                             .dataset_id = c->dataset.id,
                             .model = c->model,
                             .epochs = c->epochs,
                             .also = api_dataset_require,
                             .also_context = c->dataset.id,
                             .idempotency_key = key,
                             .idempotency_digest = digest};
    return api_job_create(c->context->jobs, &job, id, &existed, err);
}

/* ?dry_run=true: answers what a training would take, and makes no job. */
static void answer_dry_run(api_request *request, const affect_json *body) {
    creation c = {.context = api_context_of(request)};
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    affect_status status = make(&c, body, &error);
    if (status == AFFECT_STATUS_OK && strcmp(c.request.type, "train") != 0)
        status = affect_field_fail(&error, "", "type", "only train jobs have a dry run");
    affect_fields_free(&c.request, train_request_fields);
    if (status == AFFECT_STATUS_OK) {
        affect_json_set_bool(c.spec, "dry_run", true);
        api_dry_run(request, c.spec);
        return;
    }
    affect_json_free(c.spec);
    api_answer_error(request, &error);
}

void api_handle_job_create(api_request *request) {
    const affect_json *body = api_body_json(request);
    if (!body) return;
    if (api_query_bool(request, "dry_run")) {
        answer_dry_run(request, body);
        return;
    }
    creation c = {.context = api_context_of(request)};
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    char id[API_ID_SIZE];
    if (create(&c, body, api_header(request, "Idempotency-Key"), id, &error) == AFFECT_STATUS_OK)
        api_answer_job(request, 202, id);
    else
        api_answer_error(request, &error);
    affect_fields_free(&c.request, train_request_fields);
    affect_json_free(c.spec);
}

/* ---- Reading ---- */

/* 200, 304 when the client has this state already, 412 when it wants another. */
static void answer_job_now(api_request *request) {
    affect_error error = {0};
    job_question q = {.id = api_path_value(request, "job")};
    if (api_store_read(api_context_of(request)->store, read_job, &q, &error) != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    char etag[API_ETAG_SIZE];
    etag_of(etag, q.body);
    api_condition condition = api_condition_of(request, etag);
    if (condition == API_CONDITION_HOLDS) {
        api_set_header(request, "ETag", "%s", etag);
        if (affect_json_get_bool(q.body, "terminal", false)) /* it changes with its rows alone */
            api_answer_document(request, AFFECT_STATUS_OK, q.body, NULL);
        else
            api_answer_json(request, 200, q.body);
        return;
    }
    affect_json_free(q.body);
    api_set_header(request, "ETag", "%s", etag);
    if (condition == API_CONDITION_UNCHANGED)
        api_answer_empty(request, 304);
    else
        api_answer_problem(request, "precondition_failed", "the job's ETag is %s", etag);
}

void api_handle_job(api_request *request) {
    int64_t wait = api_query_integer(request, "wait");
    const api_context *context = api_context_of(request);
    job_question q = {.id = api_path_value(request, "job")};
    if (wait > 0 && api_store_read(context->store, read_job, &q, NULL) == AFFECT_STATUS_OK) {
        int64_t state_number = (int64_t)affect_json_get_number(q.body, "state_number", 0);
        bool terminal = affect_json_get_bool(q.body, "terminal", false);
        char etag[API_ETAG_SIZE];
        etag_of(etag, q.body);
        affect_json_free(q.body);
        api_condition condition = api_condition_of(request, etag);
        bool known = condition == API_CONDITION_UNCHANGED ||
                     (condition == API_CONDITION_HOLDS && !api_header(request, "If-None-Match"));
        if (!terminal && known) {
            api_defer(request);
            api_feed_wait(context->feed, request, q.id, state_number, (double)wait, answer_job_now);
            return;
        }
    }
    answer_job_now(request);
}

typedef struct {
    api_job_page page;
    affect_json *json;
} list_question;

static affect_status read_jobs(api_db *db, void *context, affect_error *err) {
    list_question *q = context;
    bool more = false;
    q->json = affect_json_new_object();
    affect_json *data = affect_json_set_array(q->json, "data");
    AFFECT_TRY(api_job_bodies(data, &more, db, &q->page, err));
    affect_json_set_bool(q->json, "more", more);
    return AFFECT_STATUS_OK;
}

void api_handle_job_list(api_request *request) {
    list_question q = {.page = {.before = api_query(request, "after"),
                                .state = api_query(request, "state"),
                                .type = api_query(request, "type")}};
    q.page.limit = api_query_integer(request, "limit");
    if (!q.page.before) q.page.before = "";
    affect_error error = {0};
    if (api_store_read(api_context_of(request)->store, read_jobs, &q, &error) == AFFECT_STATUS_OK) {
        api_answer_json(request, 200, q.json);
        return;
    }
    affect_json_free(q.json);
    api_answer_error(request, &error);
}

/* ---- Cancelling, pausing, resuming ---- */

static const struct {
    api_job_action action;
    const char *name, *done;
} askable[] = {{API_JOB_CANCEL, "cancel", "cancelled"},
               {API_JOB_PAUSE, "pause", "paused"},
               {API_JOB_RESUME, "resume", "resumed"}};
enum { N_ASKABLE = sizeof askable / sizeof *askable };

/* 409 with what is allowed instead. */
static void refuse(api_request *request, api_job_state state, bool pausable, const char *done) {
    affect_json *members = affect_json_new_object();
    affect_json *allowed = affect_json_set_array(members, "allowed");
    for (size_t i = 0; i < N_ASKABLE; i++) {
        api_job_state after = api_job_state_after(state, askable[i].action);
        bool changes = after != API_JOB_STATE_COUNT && after != state;
        if (changes && (pausable || askable[i].action == API_JOB_CANCEL))
            affect_json_append(allowed, affect_json_new_string(askable[i].name));
    }
    api_answer_problem_with(request, "conflict", members, "the job is %s and cannot be %s%s",
                            api_job_state_name(state), done,
                            pausable ? "" : " (only train jobs are paused and resumed)");
}

static bool is_train(const api_request *request, const char *id) {
    job_question q = {.id = id};
    if (api_store_read(api_context_of(request)->store, read_job, &q, NULL) != AFFECT_STATUS_OK)
        return false;
    bool train = strcmp(affect_json_get_string(q.body, "type", ""), "train") == 0;
    affect_json_free(q.body);
    return train;
}

static void ask(api_request *request, api_job_action action) {
    if (!api_body_is_empty(request)) return;
    const char *id = api_path_value(request, "job"), *done = "";
    affect_error error = {0};
    api_ask_outcome outcome = API_ASK_DONE;
    api_job_state state = API_JOB_QUEUED;
    if (api_job_ask(api_context_of(request)->jobs, id, action, request, &outcome, &state, &error) !=
        AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    if (outcome == API_ASK_CHANGED) {
        api_answer_problem(request, "precondition_failed", "the job is %s: its state has changed",
                           api_job_state_name(state));
        return;
    }
    if (outcome != API_ASK_REFUSED) {
        api_answer_job(request, outcome == API_ASK_ACCEPTED ? 202 : 200, id);
        return;
    }
    for (size_t i = 0; i < N_ASKABLE; i++)
        if (askable[i].action == action) done = askable[i].done;
    refuse(request, state, is_train(request, id), done);
}

void api_handle_job_cancel(api_request *request) {
    ask(request, API_JOB_CANCEL);
}

void api_handle_job_pause(api_request *request) {
    ask(request, API_JOB_PAUSE);
}

void api_handle_job_resume(api_request *request) {
    ask(request, API_JOB_RESUME);
}
