/* Dry runs. A detached thread runs the worker, answers the request last of all and then needs
 * nothing of the server any more. A process that the kernel does not let die (a driver hangs) is
 * left behind by it; until that is gone there is no other dry run. */
#include "api/jobs/dry_run.h"

#include "engine/core/child.h"
#include "engine/core/file.h"
#include "engine/train/job_event.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OUTPUT = 1 << 20 };

static atomic_flag running = ATOMIC_FLAG_INIT;
static affect_child child; /* belongs to the thread that has set the flag */

typedef struct {
    api_request *request;
    affect_json *spec; /* owned */
} dry_run;

static affect_status should_continue(void *context, affect_error *err) {
    const api_request *request = context;
    if (atomic_load(&api_context_of(request)->draining))
        return affect_fail(err, CANCELLED, "the server is stopping");
    if (api_client_gone(request)) return affect_fail(err, CANCELLED, "the client left");
    return AFFECT_STATUS_OK;
}

static affect_status run_worker(affect_buffer *output, const dry_run *d, const char *spec,
                                affect_error *err) {
    const api_context *context = api_context_of(d->request);
    const char *type = affect_json_get_string(d->spec, "type", "");
    double deadline_s = context->settings->dry_run_deadline_seconds;
    const char *argv[] = {context->worker_binary, type, "--spec", spec, "--events",
                          "--supervised",         NULL};
    const affect_child_run_options options = {.program = context->worker_binary,
                                              .argv = argv,
                                              .deadline_s = deadline_s,
                                              .max_output = MAX_OUTPUT,
                                              .proceed = should_continue,
                                              .context = d->request};
    affect_status status = affect_child_run(&child, output, &options, err);
    return status == AFFECT_STATUS_TIMEOUT
               ? affect_fail(err, TIMEOUT, "the dry run took over %g s", deadline_s)
               : status;
}

/* The first line must be the handshake, the last the end, with the result in it. */
static affect_status read_result(affect_json **result, const affect_buffer *output,
                                 affect_error *err) {
    affect_json *first = NULL, *end = NULL;
    const char *text = affect_buffer_string(output), *line = text;
    size_t size = output->size;
    if (size && text[size - 1] == '\n') size--;
    affect_json_parse(&first, text, strcspn(text, "\n"), NULL);
    affect_status status = affect_child_check_handshake(first, AFFECT_JOB_PROTOCOL, err);
    affect_json_free(first);
    if (status != AFFECT_STATUS_OK)
        return affect_fail(err, INTERNAL, "the dry run's worker did not begin as it must");
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n') line = text + i + 1;
    affect_json_parse(&end, line, (size_t)(text + size - line), NULL);
    if (strcmp(affect_json_get_string(end, "event", ""), "end") != 0) {
        status = affect_fail(err, INTERNAL, "the dry run's worker ended without a result");
    } else if (strcmp(affect_json_get_string(end, "state", ""), "succeeded") == 0) {
        *result = affect_json_detach(end, "result");
    } else {
        status = affect_fail(
            err, INVALID, "%.300s",
            affect_json_get_string(affect_json_get(end, "error"), "message", "no reason given"));
    }
    affect_json_free(end);
    return status;
}

static affect_status run(affect_json **result, const dry_run *d, affect_error *err) {
    const api_context *context = api_context_of(d->request);
    char path[AFFECT_PATH_MAX], ulid[AFFECT_ULID_SIZE];
    affect_buffer output = {0};
    affect_ulid_make(ulid);
    AFFECT_TRY(affect_path_join(path, err, context->settings->data, "staging/%s.json", ulid));
    char *text = affect_json_text(d->spec);
    affect_status status = text ? affect_file_write(path, text, strlen(text), err)
                                : affect_fail(err, NO_MEMORY, "no memory for a dry run");
    free(text);
    if (status == AFFECT_STATUS_OK) status = run_worker(&output, d, path, err);
    if (status == AFFECT_STATUS_OK) status = read_result(result, &output, err);
    affect_buffer_free(&output);
    unlink(path);
    return status;
}

static void *run_thread(void *context) {
    dry_run d = *(dry_run *)context;
    free(context);
    affect_error error = {0};
    affect_json *result = NULL;
    affect_status status = run(&result, &d, &error);
    affect_json_free(d.spec);
    atomic_flag_clear(&running);
    api_answer_result(d.request, status, result, &error);
    return NULL;
}

static affect_status begin(api_request *request, affect_json *spec, affect_error *err) {
    if (atomic_flag_test_and_set(&running))
        return affect_fail(err, BUSY, "another dry run is running");
    if (!affect_child_reap(&child)) {
        atomic_flag_clear(&running);
        return affect_fail(err, BUSY, "the worker of an earlier dry run still hangs");
    }
    dry_run *d = malloc(sizeof *d);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (d) *d = (dry_run){request, spec};
    int e = d ? pthread_create(&thread, &detached, run_thread, d) : ENOMEM;
    pthread_attr_destroy(&detached);
    if (!e) return AFFECT_STATUS_OK;
    free(d);
    atomic_flag_clear(&running);
    return affect_error_errno(err, e, "starting a dry run");
}

void api_dry_run(api_request *request, affect_json *spec) {
    affect_error error = {0};
    api_defer(request);
    if (begin(request, spec, &error) == AFFECT_STATUS_OK) return;
    affect_json_free(spec);
    api_answer_error(request, &error);
}
