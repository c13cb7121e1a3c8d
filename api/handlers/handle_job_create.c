/* POST /v1/jobs: a request becomes a job, or with ?dry_run=true what it would take; and
 * /v1/jobs/{job}/retry, the request of a job that failed or was cancelled once more.
 *
 * A body is checked whole before anything is queued: its fields by the table of its type
 * (job_type.h), what they hold by the type, with the engine's own parsers. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/dry_run.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_rows.h"
#include "api/jobs/job_spec_file.h"
#include "api/jobs/job_type.h"
#include "api/schema.h"
#include "engine/core/digest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "train or evaluate" */
static void list_types(char *text, size_t size, bool (*has)(const api_job_type *type)) {
    const api_job_type *type;
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; (type = api_job_type_at(i)); i++)
        if (has(type) && n < size)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n ? " or " : "", type->name);
}

static bool is_made_here(const api_job_type *type) {
    return type->make != NULL;
}

static bool has_dry_run(const api_job_type *type) {
    return type->has_dry_run;
}

static affect_status find_type(const api_job_type **type, const affect_json *body,
                               affect_error *err) {
    char known[200];
    const char *name = affect_json_get_string(body, "type", NULL);
    if (!affect_json_is_object(body)) return affect_fail(err, INVALID, "need a JSON object");
    if (!name) return affect_field_fail(err, "", "type", "is missing, or no string");
    *type = api_job_type_find(name);
    list_types(known, sizeof known, is_made_here);
    if (!*type) return affect_field_fail(err, "", "type", "\"%.40s\" (need %s)", name, known);
    if ((*type)->make) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", "type", "%s jobs are made by %s", name, (*type)->made_by);
}

/* "TrainRequest" of type train, ... */
void api_describe_job_create(affect_json *content) {
    const api_job_type *type;
    affect_json *schema =
        affect_json_set_object(affect_json_set_object(content, "application/json"), "schema");
    affect_json *list = affect_json_set_array(schema, "oneOf");
    for (size_t i = 0; (type = api_job_type_at(i)); i++) {
        char title[64];
        if (!type->make) continue;
        snprintf(title, sizeof title, "%c%sRequest", toupper((unsigned char)type->name[0]),
                 type->name + 1);
        affect_json_append(list, api_schema_of(type->fields, title));
    }
}

/* The runs as the queue takes them; *runs owned, all that it points to the draft's. */
static affect_status list_runs(api_job_new **runs, const api_job_draft *draft, affect_error *err) {
    *runs = calloc(draft->n_runs + 1, sizeof **runs);
    if (!*runs) return affect_fail(err, NO_MEMORY, "no memory for %zu runs", draft->n_runs);
    for (size_t i = 0; i < draft->n_runs; i++) {
        const api_job_draft_run *run = &draft->runs[i];
        (*runs)[i] = (api_job_new){.type = api_job_type_train.name,
                                   .id = run->id,
                                   .request = run->request,
                                   .spec = run->spec,
                                   .run = run->run,
                                   .run_digest = run->digest[0] ? run->digest : NULL,
                                   .dataset_id = draft->dataset.id,
                                   .epochs = run->epochs};
    }
    return AFFECT_STATUS_OK;
}

/* `retried`: the job that it repeats, or NULL. The key's digest is then that of the retry. */
static affect_status create(api_job_draft *draft, const affect_json *body, const char *retried,
                            const char *key, char id[API_ID_SIZE], affect_error *err) {
    const api_job_type *type = NULL;
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    bool existed;
    if (key && strlen(key) > 255)
        return affect_fail(err, INVALID, "Idempotency-Key is longer than 255 bytes");
    affect_json *retry = retried ? affect_json_new_object() : NULL;
    if (retry) affect_json_set_string(retry, "retry_of", retried);
    affect_status status = affect_digest_json(digest, retry ? retry : body, err);
    affect_json_free(retry);
    AFFECT_TRY(status);
    if (key) AFFECT_TRY(api_job_find(draft->context->jobs, key, digest, id, &existed, err));
    if (key && existed) return AFFECT_STATUS_OK;
    AFFECT_TRY(find_type(&type, body, err));
    AFFECT_TRY(api_job_type_make(draft, type, body, err));
    api_job_new *runs = NULL;
    AFFECT_TRY(list_runs(&runs, draft, err));
    const api_job_new job = {.type = type->name,
                             .id = draft->id,
                             .request = body,
                             .spec = draft->spec,
                             .retry_of = retried,
                             .dataset_id = draft->dataset.id,
                             .model = draft->model,
                             .epochs = draft->epochs,
                             .also = api_dataset_require,
                             .also_context = draft->dataset.id,
                             .runs = runs,
                             .n_runs = draft->n_runs,
                             .max_runs = draft->max_runs,
                             .idempotency_key = key,
                             .idempotency_digest = digest};
    status = api_job_create(draft->context->jobs, &job, id, &existed, err);
    free(runs);
    return status;
}

/* ?dry_run=true: answers what a training would take, and makes no job. */
static void answer_dry_run(api_request *request, const affect_json *body) {
    api_job_draft draft = {.context = api_context_of(request)};
    const api_job_type *type = NULL;
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    char known[200];
    affect_status status = find_type(&type, body, &error);
    if (status == AFFECT_STATUS_OK) status = api_job_type_make(&draft, type, body, &error);
    list_types(known, sizeof known, has_dry_run);
    if (status == AFFECT_STATUS_OK && !type->has_dry_run)
        status = affect_field_fail(&error, "", "type", "only %s jobs have a dry run", known);
    if (status == AFFECT_STATUS_OK) {
        const api_settings *settings = draft.context->settings;
        affect_json_set_bool(draft.spec, "dry_run", true);
        status =
            api_job_spec_resolve(draft.spec, type, settings->data, settings->import_root, &error);
    }
    if (status == AFFECT_STATUS_OK) {
        api_dry_run(request, draft.spec);
        return;
    }
    api_job_draft_free(&draft);
    api_answer_error(request, &error);
}

static void answer_creation(api_request *request, const affect_json *body, const char *retried) {
    api_job_draft draft = {.context = api_context_of(request)};
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    char id[API_ID_SIZE];
    const char *key = api_header(request, "Idempotency-Key");
    if (create(&draft, body, retried, key, id, &error) == AFFECT_STATUS_OK)
        api_answer_job(request, 202, id);
    else
        api_answer_error(request, &error);
    api_job_draft_free(&draft);
}

void api_handle_job_create(api_request *request) {
    const affect_json *body = api_body_json(request);
    if (!body) return;
    if (api_query_bool(request, "dry_run")) {
        answer_dry_run(request, body);
        return;
    }
    answer_creation(request, body, NULL);
}

/* The same request again, read and checked as if it came now: its dataset or model may be another
 * by now, or be gone. */
void api_handle_job_retry(api_request *request) {
    if (!api_body_is_empty(request)) return;
    affect_error error = {0};
    affect_json *job = NULL;
    const char *id = api_path_value(request, "job");
    if (api_job_read_body(&job, api_context_of(request)->store, id, &error) != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    const api_job_type *type = api_job_type_of(affect_json_get_string(job, "type", ""));
    const char *state = affect_json_get_string(job, "state", "");
    if (api_job_type_can_retry(type, api_job_state_find(state)))
        answer_creation(request, affect_json_get(job, "request"), id);
    else
        api_refuse_job_action(request, type, api_job_state_find(state), "retried");
    affect_json_free(job);
}
