/* /v1/jobs, reading: one job, waiting for a change of its state, pages of jobs. */
#include "api/context.h"
#include "api/etag.h"
#include "api/handlers/handlers.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_rows.h"
#include "api/jobs/job_type.h"

#include <stdio.h>
#include <string.h>

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
    affect_json *body = NULL;
    if (api_job_read_body(&body, api_context_of(request)->store, id, &error) != AFFECT_STATUS_OK)
        api_answer_error(request, &error);
    else
        answer_body(request, status, id, body);
}

/* ---- Reading ---- */

/* 200, 304 when the client has this state already, 412 when it wants another. */
static void answer_job_now(api_request *request) {
    affect_error error = {0};
    affect_json *body = NULL;
    if (api_job_read_body(&body, api_context_of(request)->store, api_path_value(request, "job"),
                          &error) != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
        return;
    }
    char etag[API_ETAG_SIZE];
    etag_of(etag, body);
    api_condition condition = api_condition_of(request, etag);
    if (condition == API_CONDITION_HOLDS) {
        api_set_header(request, "ETag", "%s", etag);
        if (affect_json_get_bool(body, "terminal", false)) /* it changes with its rows alone */
            api_answer_document(request, AFFECT_STATUS_OK, body, NULL);
        else
            api_answer_json(request, 200, body);
        return;
    }
    affect_json_free(body);
    api_set_header(request, "ETag", "%s", etag);
    if (condition == API_CONDITION_UNCHANGED)
        api_answer_empty(request, 304);
    else
        api_answer_problem(request, "precondition_failed", "the job's ETag is %s", etag);
}

void api_handle_job(api_request *request) {
    int64_t wait = api_query_integer(request, "wait");
    const api_context *context = api_context_of(request);
    const char *id = api_path_value(request, "job");
    affect_json *body = NULL;
    if (wait > 0 && api_job_read_body(&body, context->store, id, NULL) == AFFECT_STATUS_OK) {
        int64_t state_number = (int64_t)affect_json_get_number(body, "state_number", 0);
        bool terminal = affect_json_get_bool(body, "terminal", false);
        char etag[API_ETAG_SIZE];
        etag_of(etag, body);
        affect_json_free(body);
        api_condition condition = api_condition_of(request, etag);
        bool known = condition == API_CONDITION_UNCHANGED ||
                     (condition == API_CONDITION_HOLDS && !api_header(request, "If-None-Match"));
        if (!terminal && known) {
            api_defer(request);
            api_feed_wait(context->feed, request, id, state_number, (double)wait, answer_job_now);
            return;
        }
    }
    answer_job_now(request);
}

static void answer_page(api_request *request, const char *parent) {
    api_job_page page = {.parent = parent,
                         .after = api_query(request, "after"),
                         .state = api_query(request, "state"),
                         .type = parent ? NULL : api_query(request, "type"),
                         .limit = api_query_integer(request, "limit")};
    if (page.type && !api_job_type_find(page.type)) {
        api_answer_problem(request, "invalid", "query type: \"%.40s\" is no type of a job",
                           page.type);
        return;
    }
    if (!page.after) page.after = "";
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = api_job_read_page(&json, api_context_of(request)->store, &page, &error);
    if (status == AFFECT_STATUS_OK && parent &&
        affect_json_size(affect_json_get(json, "data")) == 0) {
        affect_json *job = NULL; /* no run, or no such job */
        status = api_job_read_body(&job, api_context_of(request)->store, parent, &error);
        affect_json_free(job);
    }
    api_answer_result(request, status, json, &error);
}

void api_handle_job_list(api_request *request) {
    answer_page(request, NULL);
}

void api_handle_job_runs(api_request *request) {
    answer_page(request, api_path_value(request, "job"));
}
