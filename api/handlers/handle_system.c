/* Whether the server lives, is ready, and what it is: /livez, /readyz, /metrics, /v1/system, ... */
#include "api/counters.h"
#include "api/handlers/handlers.h"
#include "api/jobs/devices.h"
#include "api/jobs/feed.h"
#include "api/jobs/job_queue.h"
#include "api/models/model_registry.h"
#include "api/models/predictor.h"
#include "api/request.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void api_handle_index(api_request *request) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "name", "affectd");
    affect_json_set_string(json, "version", AFFECT_VERSION);
    affect_json *links = affect_json_set_object(json, "links");
    affect_json_set_string(links, "architectures", "/v1/architectures");
    affect_json_set_string(links, "contract", "/openapi.json");
    affect_json_set_string(links, "datasets", "/v1/datasets");
    affect_json_set_string(links, "jobs", "/v1/jobs");
    affect_json_set_string(links, "models", "/v1/models");
    affect_json_set_string(links, "system", "/v1/system");
    api_answer_json(request, 200, json);
}

void api_handle_live(api_request *request) {
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "status", "ok");
    api_answer_json(request, 200, json);
}

void api_handle_ready(api_request *request) {
    api_context *context = api_context_of(request);
    if (!api_predictor_ready(context->predictor)) {
        api_answer_problem(request, "not_ready", "no predictor is up");
        return;
    }
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "status", "ready");
    affect_json *damaged = api_model_damaged(context->models);
    if (affect_json_size(damaged))
        affect_json_set(json, "damaged_artifacts", damaged);
    else
        affect_json_free(damaged);
    api_answer_json(request, 200, json);
}

void api_handle_verify(api_request *request) {
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = api_model_verify_all(api_context_of(request)->models, &json, &error);
    api_answer_result(request, status, json, &error);
}

static size_t resident_bytes(void) {
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%zu %zu", &total, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t open_descriptors(void) {
    size_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) return 0;
    while (readdir(folder)) n++;
    closedir(folder);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder's own */
}

/* Sizes of batches, as a histogram of Prometheus. */
static void print_batches(affect_buffer *text, const api_predictor_counts *counts) {
    static const char name[] = "affectd_prediction_batch_size";
    uint64_t n = 0;
    api_metrics_head(text, name, "histogram", "Predictions computed at once.");
    for (int i = 0; i < API_PREDICTOR_BUCKETS; i++) {
        n += counts->batches[i];
        affect_buffer_printf(text, "%s_bucket{le=\"%d\"} %llu\n", name, 1 << i,
                             (unsigned long long)n);
    }
    affect_buffer_printf(text, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %llu\n%s_count %llu\n", name,
                         (unsigned long long)n, name, (unsigned long long)counts->n_predictions,
                         name, (unsigned long long)n);
}

static void print_predictor(affect_buffer *text, api_predictor *predictor) {
    api_predictor_counts counts;
    api_predictor_count(predictor, &counts);
    api_metrics_gauge(text, "affectd_predictors_ready", "Predictor processes that are up.",
                      counts.n_ready);
    api_metrics_gauge(text, "affectd_predictors_busy", "Predictor processes at work.",
                      counts.n_busy);
    api_metrics_gauge(text, "affectd_predictions_queued", "Predictions that wait.",
                      counts.n_queued);
    print_batches(text, &counts);
    api_metrics_counter(text, "affectd_prediction_wait_seconds_total", "Waits for a batch, summed.",
                        counts.wait_s);
    api_metrics_counter(text, "affectd_predictions_expired_total", "Ended by their deadline.",
                        (double)counts.n_expired);
    api_metrics_counter(text, "affectd_predictions_left_total",
                        "Dropped, as their client had left.", (double)counts.n_left);
    api_metrics_counter(text, "affectd_predictions_lost_total", "Ended with their predictor.",
                        (double)counts.n_lost);
    api_metrics_counter(text, "affectd_predictions_refused_total", "Refused by a full queue.",
                        (double)counts.n_refused);
}

void api_handle_metrics_text(api_request *request) {
    api_context *context = api_context_of(request);
    affect_buffer text = {0};
    int n_queued = 0, n_active = 0, n_slots = 0;
    api_job_queue_count(context->jobs, &n_queued, &n_active, &n_slots);
    api_metrics_print(&text, context->metrics);
    api_metrics_gauge(&text, "affectd_jobs_queued", "Jobs that wait for a slot.", n_queued);
    api_metrics_gauge(&text, "affectd_jobs_active", "Jobs that have a worker.", n_active);
    api_metrics_gauge(&text, "affectd_job_slots", "Jobs that may run at once.", n_slots);
    api_metrics_gauge(&text, "affectd_event_readers", "Open streams of events.",
                      api_feed_readers(context->feed));
    api_metrics_gauge(&text, "affectd_jobs_blocked",
                      "Queued jobs whose earlier worker has not ended.",
                      api_job_queue_n_blocked(context->jobs));
    print_predictor(&text, context->predictor);
    api_metrics_gauge(&text, "process_resident_memory_bytes", "Resident memory.",
                      (double)resident_bytes());
    api_metrics_gauge(&text, "process_open_fds", "Open descriptors.", (double)open_descriptors());
    api_metrics_gauge(&text, "affectd_uptime_seconds", "Since the start.",
                      affect_clock_seconds() - context->started);
    api_answer_buffer(request, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

void api_handle_openapi(api_request *request) {
    affect_json *contract = affect_json_copy(api_context_of(request)->contract);
    api_answer_document(request, AFFECT_STATUS_OK, contract, NULL);
}

void api_handle_system(api_request *request) {
    api_context *context = api_context_of(request);
    affect_json *json = affect_json_new_object(), *devices = NULL;
    affect_error error = {0};
    if (api_devices(&devices, context, &error) != AFFECT_STATUS_OK) {
        affect_json_free(json);
        api_answer_error(request, &error);
        return;
    }
    affect_json_set_string(json, "version", AFFECT_VERSION);
    affect_json_set_string(json, "instance", context->instance_id);
    affect_json_set_number(json, "uptime_seconds", affect_clock_seconds() - context->started);
    affect_json_set_string(json, "device", context->settings->device);
    affect_json_set(json, "devices", affect_json_detach(devices, "devices"));
    affect_json_set(json, "cuda_unavailable", affect_json_detach(devices, "cuda_unavailable"));
    affect_json_free(devices);
    /* Where things lie on the server's disk is for its operator alone to know. */
    affect_json *settings = affect_json_set_object(json, "settings");
    affect_fields_print(settings, context->settings, api_settings_fields);
    static const char *const hidden[] = {"data", "import_root", "worker_binary", "port_file"};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        affect_json_free(affect_json_detach(settings, hidden[i]));
    affect_json_set_bool(json, "import_root", *context->settings->import_root != '\0');
    api_answer_json(request, 200, json);
}
