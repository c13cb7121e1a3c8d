/* affectd: settings, one data folder, and the parts of the service in their order.
 *
 * The main thread only starts, waits for a signal, and stops: accept no more, end streams and
 * waiting requests, stop predictors and jobs (which keep their state and run again after the next
 * start), close the store. A second signal ends the process at once. */
#include "api/context.h"
#include "api/contract.h"
#include "api/counters.h"
#include "api/documents.h"
#include "api/jobs/feed.h"
#include "api/jobs/job_queue.h"
#include "api/log.h"
#include "api/models/model_registry.h"
#include "api/models/predictor.h"
#include "api/store/recover.h"
#include "api/store/shard_collection.h"
#include "api/store/store.h"
#include "engine/core/file.h"
#include "server/config.h"
#include "server/healthcheck.h"
#include "server/http.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    api_settings settings;
    api_context context;
    http_server *http;
    int lock;
} service;

static affect_status find_worker_binary(service *self, affect_error *err) {
    char *to = self->context.worker_binary;
    size_t size = sizeof self->context.worker_binary;
    if (*self->settings.worker_binary) {
        snprintf(to, size, "%s", self->settings.worker_binary);
    } else {
        ssize_t n = readlink("/proc/self/exe", to, size - sizeof "/affect");
        if (n < 0) return affect_error_errno(err, errno, "/proc/self/exe");
        to[n] = '\0';
        strcpy(strrchr(to, '/'), "/affect");
    }
    if (access(to, X_OK) != 0)
        return affect_fail(err, NOT_FOUND, "%s: the affect program is not there", to);
    return AFFECT_STATUS_OK;
}

/* Makes the folders, takes the lock, throws away what earlier requests left behind. */
static affect_status prepare_data(service *self, affect_error *err) {
    static const char *const folders[] = {"spool",    "staging", "datasets",
                                          "features", "jobs",    "models"};
    const char *data = self->settings.data;
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_directory_make(data, err));
    AFFECT_TRY(affect_path_join(path, err, data, "lock"));
    affect_status status = affect_file_lock(&self->lock, path, err);
    if (status != AFFECT_STATUS_OK)
        return affect_error_prefix(err, status, "%s",
                                   status == AFFECT_STATUS_CONFLICT
                                       ? "another affectd uses the data folder"
                                       : "the data folder cannot be written");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        AFFECT_TRY(affect_path_join(path, err, data, "%s", folders[i]));
        if (i < 2) AFFECT_TRY(affect_directory_remove(path, err)); /* spool, staging */
        AFFECT_TRY(affect_directory_make(path, err));
    }
    return AFFECT_STATUS_OK;
}

/* Paths become absolute, so that workers, which may run elsewhere, mean the same folder. */
static affect_status make_absolute(char *path, size_t size, affect_error *err) {
    if (!*path) return AFFECT_STATUS_OK;
    char *resolved = realpath(path, NULL);
    if (!resolved) return affect_error_errno(err, errno, "%s", path);
    bool fits = strlen(resolved) < size;
    if (fits) strcpy(path, resolved);
    free(resolved);
    return fits ? AFFECT_STATUS_OK : affect_fail(err, INVALID, "%s: path too long", path);
}

static affect_status start_jobs(service *self, affect_error *err) {
    const api_settings *s = &self->settings;
    api_job_queue_options options;
    api_job_queue_options_default(&options);
    options.data_dir = s->data;
    options.import_root = s->import_root;
    options.n_slots = (int)s->job_slots;
    options.max_queued = (int)s->job_queue;
    options.max_restarts = (int)s->job_max_restarts;
    options.n_kept = s->job_retention_count;
    options.kept_days = s->job_retention_days;
    options.worker.binary = self->context.worker_binary;
    options.worker.cancel_grace_s = s->job_cancel_grace_seconds;
    options.worker.drain_grace_s = 0.6 * s->drain_seconds;
    return api_job_queue_create(&self->context.jobs, self->context.store, self->context.feed,
                                self->context.models, &options, err);
}

static affect_status start_predictors(service *self, affect_error *err) {
    const api_settings *s = &self->settings;
    char log_path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(log_path, err, s->data, "predictor.log"));
    api_predictor_options options;
    api_predictor_options_default(&options);
    options.binary = self->context.worker_binary;
    options.device = *s->predict_device ? s->predict_device : s->device;
    options.n_children = (int)s->predictors;
    options.n_threads = (int)s->predictor_threads;
    options.max_queued = (int)s->prediction_queue;
    options.max_batch = (int)s->prediction_max_batch;
    options.batch_window_s = s->prediction_batch_window_ms / 1e3;
    options.deadline_s = s->prediction_deadline_seconds;
    options.log_path = log_path;
    return api_predictor_create(&self->context.predictor, &options, err);
}

static affect_status write_port(const service *self, affect_error *err) {
    if (!*self->settings.port_file) return AFFECT_STATUS_OK;
    char text[16];
    int n = snprintf(text, sizeof text, "%d\n", http_server_port(self->http));
    return affect_file_write(self->settings.port_file, text, (size_t)n, err);
}

static affect_status start(service *self, affect_error *err) {
    api_settings *s = &self->settings;
    api_context *context = &self->context;
    char path[AFFECT_PATH_MAX];
    context->settings = s;
    context->started = affect_clock_seconds();
    affect_ulid_make(context->instance_id);
    AFFECT_TRY(find_worker_binary(self, err));
    AFFECT_TRY(prepare_data(self, err));
    AFFECT_TRY(make_absolute(s->data, sizeof s->data, err));
    AFFECT_TRY(make_absolute(s->import_root, sizeof s->import_root, err));
    context->metrics = api_metrics_create();
    if (!context->metrics) return affect_fail(err, NO_MEMORY, "no memory for counters");
    AFFECT_TRY(api_documents_create(&context->documents, err));
    AFFECT_TRY(api_contract_make(&context->contract, err));
    AFFECT_TRY(affect_path_join(path, err, s->data, "affectd.sqlite"));
    AFFECT_TRY(api_recover_needed(s->data, path, err));
    AFFECT_TRY(api_store_open(&context->store, path, err));
    AFFECT_TRY(api_feed_create(&context->feed, context->store, err));
    AFFECT_TRY(api_model_registry_create(&context->models, context->store, s->data, err));
    AFFECT_TRY(start_jobs(self, err));
    api_shards_collect(context->store, s->data);
    AFFECT_TRY(start_predictors(self, err));
    AFFECT_TRY(http_server_start(&self->http, context, err));
    return write_port(self, err);
}

static void stop(service *self) {
    api_context *context = &self->context;
    double until = affect_clock_seconds() + self->settings.drain_seconds;
    atomic_store(&context->draining, true);
    if (context->feed) api_feed_close(context->feed);
    if (context->predictor) api_predictor_stop(context->predictor);
    if (context->jobs) api_job_queue_stop(context->jobs);
    if (self->http) http_server_stop(self->http, until - 1 - affect_clock_seconds());
    api_predictor_free(context->predictor);
    api_job_queue_free(context->jobs);
    api_model_registry_free(context->models);
    api_feed_free(context->feed);
    api_store_close(context->store);
    api_metrics_free(context->metrics);
    api_documents_free(context->documents);
    affect_json_free(context->contract);
    if (self->lock >= 0) close(self->lock);
}

static void end_at_once(int number) {
    (void)number;
    _exit(1);
}

/* Blocks until SIGTERM or SIGINT; the next one ends the process. SIGHUP opens the log anew. */
static void wait_for_signal(const sigset_t *signals, const char *log_file) {
    int number = 0;
    while (sigwait(signals, &number) != 0 || number == SIGHUP) {
        affect_error err = {0};
        if (api_log_open(log_file, &err) != AFFECT_STATUS_OK)
            api_log(API_LOG_ERROR, "the log stays in the old file", "reason", err.message, NULL);
        else
            api_log(API_LOG_INFO, "the log was opened anew", NULL);
    }
    struct sigaction action = {.sa_handler = end_at_once};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    api_log(API_LOG_INFO, "stopping", "signal", strsignal(number), NULL);
}

static int serve(service *self) {
    affect_error err = {0};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* every thread inherits it */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored by a parent, it would let no child be waited for */
    if (!api_log_set_level(self->settings.log_level)) {
        fprintf(stderr, "affectd: log_level: unknown word \"%s\"\n", self->settings.log_level);
        return 2;
    }
    affect_status status = api_log_open(self->settings.log_file, &err);
    if (status == AFFECT_STATUS_OK) status = start(self, &err);
    if (status == AFFECT_STATUS_OK) {
        char port[16];
        snprintf(port, sizeof port, "%d", http_server_port(self->http));
        api_log(API_LOG_INFO, "listening", "listen", self->settings.listen, "port", port, "data",
                self->settings.data, "version", AFFECT_VERSION, NULL);
        wait_for_signal(&signals, self->settings.log_file);
    } else {
        fprintf(stderr, "affectd: %s\n", err.message);
    }
    stop(self);
    if (status == AFFECT_STATUS_OK) api_log(API_LOG_INFO, "stopped", NULL);
    return status == AFFECT_STATUS_OK ? 0 : 1;
}

/* `affectd recover`: the database anew from the folders. */
static int recover(service *self) {
    char path[AFFECT_PATH_MAX];
    affect_error err = {0};
    api_recovered found = {0};
    const char *data = self->settings.data;
    affect_status status = affect_path_join(path, &err, data, "affectd.sqlite");
    if (status == AFFECT_STATUS_OK && !affect_file_exists(data))
        status = affect_fail(&err, NOT_FOUND, "%s: there is no such data folder", data);
    if (status == AFFECT_STATUS_OK) status = prepare_data(self, &err);
    if (status == AFFECT_STATUS_OK && api_recover_needed(data, path, &err) == AFFECT_STATUS_OK)
        status = affect_fail(&err, CONFLICT,
                             "%s: the database is there, or there is nothing to "
                             "make it from: nothing was done",
                             data);
    if (status == AFFECT_STATUS_OK) status = api_store_open(&self->context.store, path, &err);
    if (status == AFFECT_STATUS_OK) status = api_recover(&found, self->context.store, data, &err);
    api_store_close(self->context.store);
    if (self->lock >= 0) close(self->lock);
    if (status == AFFECT_STATUS_OK)
        printf("recovered %zu datasets and %zu model versions; %zu could not be read\n",
               found.n_datasets, found.n_versions, found.n_skipped);
    else
        fprintf(stderr, "affectd: %s\n", err.message);
    return status == AFFECT_STATUS_OK ? 0 : 1;
}

/* The contract as text: the build keeps it beside the programs. */
static int print_contract(void) {
    affect_error err = {0};
    affect_json *contract = NULL;
    affect_buffer text = {0};
    affect_status status = api_contract_make(&contract, &err);
    affect_json_print_pretty(&text, contract);
    if (status == AFFECT_STATUS_OK)
        printf("%s\n", affect_buffer_string(&text));
    else
        fprintf(stderr, "affectd: %s\n", err.message);
    affect_buffer_free(&text);
    affect_json_free(contract);
    return status == AFFECT_STATUS_OK ? 0 : 1;
}

int main(int argc, char **argv) {
    static service self = {.lock = -1};
    config_command command;
    affect_error err = {0};
    affect_file_hold_standard();
    if (config_load(&self.settings, &command, argc, argv, &err) != AFFECT_STATUS_OK) {
        fprintf(stderr, "affectd: %s\n", err.message);
        return 2;
    }
    if (command.help) {
        config_print_help();
        return 0;
    }
    if (command.version) {
        printf("affectd %s\n", AFFECT_VERSION);
        return 0;
    }
    if (command.contract) return print_contract();
    if (command.healthcheck) return healthcheck_run(&self.settings);
    if (command.recover) return recover(&self);
    return serve(&self);
}
