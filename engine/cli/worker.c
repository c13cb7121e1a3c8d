/* What train, evaluate and import share; see worker.h. */
#include "engine/cli/worker.h"

#include "engine/cli/command.h"

#include <string.h>

#define MAX_SPEC_BYTES (64u << 20) /* of 10 000 runs of a sweep, each with its result */

/* The server's workers do without all that their job does not need. */
static affect_status confine(const affect_worker *worker, const affect_json *specification,
                             affect_error *err) {
    const char *device = affect_json_get_string(specification, "device", "auto");
    const affect_confine_options options = {.gpu = !worker->reads_recordings &&
                                                   affect_confine_needs_gpu(device),
                                            .maps_features = !worker->reads_recordings};
    return affect_command_confine(&options, err);
}

static affect_status run(affect_json **result, const affect_worker *worker,
                         const affect_worker_flags *given, const void *flags,
                         affect_job_events *events, affect_error *err) {
    affect_json *specification = NULL;
    if (given->spec)
        AFFECT_TRY(affect_json_read(&specification, given->spec, MAX_SPEC_BYTES, err));
    else
        specification = affect_json_new_object();
    affect_status status = AFFECT_STATUS_OK;
    if (!affect_json_is_object(specification))
        status = affect_fail(err, INVALID, "--spec: the file holds a %s (need an object)",
                             affect_json_type_name(specification));
    if (status == AFFECT_STATUS_OK) status = worker->fill(specification, flags, err);
    if (status == AFFECT_STATUS_OK && given->supervised)
        status = confine(worker, specification, err);
    if (status == AFFECT_STATUS_OK) status = affect_job_supervise(given->supervised, err);
    if (status == AFFECT_STATUS_OK) status = worker->run(result, specification, events, err);
    affect_json_free(specification);
    return status;
}

int affect_worker_main(const affect_worker *worker, const affect_worker_flags *given,
                       const void *flags) {
    affect_error err = {0};
    affect_json *result = NULL;
    affect_job_events *events = affect_job_events_create(given->events ? stdout : NULL);
    if (!events) return AFFECT_EXIT_FAILED;
    affect_job_events_handshake(events);
    affect_status status = run(&result, worker, given, flags, events, &err);
    if (!given->events && result && worker->show) worker->show(result);
    affect_job_events_end(events, status, &err, result);
    affect_job_events_free(events);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : AFFECT_EXIT_FAILED;
}

affect_status affect_worker_set_json(affect_json *specification, const char *name, const char *text,
                                     affect_error *err) {
    if (!text) return AFFECT_STATUS_OK;
    affect_json *value = NULL;
    affect_status status = AFFECT_STATUS_OK;
    size_t length = strlen(text);
    if (length > 5 && strcmp(text + length - 5, ".json") == 0)
        status = affect_json_read(&value, text, MAX_SPEC_BYTES, err);
    else if (*text == '{')
        status = affect_json_parse(&value, text, length, err);
    else
        value = affect_json_new_string(text);
    if (status != AFFECT_STATUS_OK) return affect_error_prefix(err, status, "--%s", name);
    affect_json_set(specification, name, value);
    return AFFECT_STATUS_OK;
}

void affect_worker_set_string(affect_json *specification, const char *name, const char *text) {
    if (text) affect_json_set_string(specification, name, text);
}

void affect_worker_set_integer(affect_json *specification, const char *name, int64_t number) {
    if (number >= 0) affect_json_set_number(specification, name, (double)number);
}

void affect_worker_show(const affect_json *result) {
    affect_buffer text = {0};
    affect_json_print_pretty(&text, result);
    if (!text.failed) printf("%s\n", affect_buffer_string(&text));
    affect_buffer_free(&text);
}
