/* What is asked of a job: /v1/jobs/{job}/cancel, /pause, /resume, and its removal. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_rows.h"
#include "api/jobs/job_type.h"

#include <string.h>

static const struct {
    api_job_action action;
    const char *name, *done;
} actions[] = {{API_JOB_CANCEL, "cancel", "cancelled"},
               {API_JOB_PAUSE, "pause", "paused"},
               {API_JOB_RESUME, "resume", "resumed"}};
enum { N_ACTIONS = sizeof actions / sizeof *actions };

void api_refuse_job_action(api_request *request, const api_job_type *type, api_job_state state,
                           const char *done) {
    affect_json *members = affect_json_new_object();
    affect_json *allowed = affect_json_set_array(members, "allowed");
    for (size_t i = 0; i < N_ACTIONS; i++) {
        api_job_state after = api_job_state_after(state, actions[i].action);
        bool changes = after != API_JOB_STATE_COUNT && after != state;
        if (changes && (type->pausable || actions[i].action == API_JOB_CANCEL))
            affect_json_append(allowed, affect_json_new_string(actions[i].name));
    }
    if (api_job_type_can_retry(type, state))
        affect_json_append(allowed, affect_json_new_string("retry"));
    const char *why = "";
    if (strcmp(done, "retried") == 0 && !type->make)
        why = " (what its type is made of is not in its request)";
    else if (!type->pausable && (strcmp(done, "paused") == 0 || strcmp(done, "resumed") == 0))
        why = " (jobs of its type are not paused and resumed)";
    api_answer_problem_with(request, "conflict", members, "the job is %s and cannot be %s%s",
                            api_job_state_name(state), done, why);
}

static const api_job_type *find_type(const api_request *request, const char *id) {
    affect_json *body = NULL;
    api_job_read_body(&body, api_context_of(request)->store, id, NULL);
    const api_job_type *type = api_job_type_of(affect_json_get_string(body, "type", ""));
    affect_json_free(body);
    return type;
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
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (actions[i].action == action) done = actions[i].done;
    api_refuse_job_action(request, find_type(request, id), state, done);
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

void api_handle_job_delete(api_request *request) {
    affect_error error = {0};
    api_job_state state = API_JOB_QUEUED;
    affect_status status = api_job_delete(api_context_of(request)->jobs,
                                          api_path_value(request, "job"), &state, &error);
    if (status == AFFECT_STATUS_OK) {
        api_answer_empty(request, 204);
    } else if (status == AFFECT_STATUS_CONFLICT) {
        affect_json *members = affect_json_new_object();
        affect_json *allowed = affect_json_set_array(members, "allowed");
        if (api_job_state_after(state, API_JOB_CANCEL) != state)
            affect_json_append(allowed, affect_json_new_string("cancel"));
        api_answer_problem_with(request, "conflict", members,
                                "the job is %s and cannot be deleted before it has ended",
                                api_job_state_name(state));
    } else {
        api_answer_error(request, &error);
    }
}
