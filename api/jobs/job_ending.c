/* How a job ends; see job_ending.h. */
#include "api/jobs/job_ending.h"

#include "api/jobs/job_type.h"
#include "api/problem.h"
#include "engine/core/digest.h"
#include "engine/train/job_event.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const api_job_base *base;
    const api_worker_exit *how;
    bool draining;
    affect_json *result, *error; /* owned */
    const api_job_type *type;    /* of a job that succeeded, as the next ones */
    api_job_product product;
    char folder[AFFECT_PATH_MAX];
    char reason[32];
    api_job_action action;
} ending;

static void set_failure(ending *e, const char *reason, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void set_failure(ending *e, const char *reason, const char *code, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    api_hide_folder(text, e->base->data_dir);
    e->action = strcmp(reason, "no_space") == 0 ? API_JOB_HOLD : API_JOB_FAIL;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    affect_json_free(e->error);
    e->error = affect_json_new_object();
    affect_json_set_string(e->error, "code", code);
    affect_json_set_string(e->error, "message", text);
}

/* The worker is gone and said no end. */
static void classify_exit(ending *e) {
    const api_worker_exit *how = e->how;
    if (e->draining) {
        e->action = API_JOB_LOSE;
        snprintf(e->reason, sizeof e->reason, "drain");
    } else if (how->problem) {
        set_failure(e, "crash", "protocol", "%s", how->problem);
    } else if (how->out_of_memory) {
        set_failure(e, "oom", "no_memory",
                    "the worker was killed because the machine ran out of memory");
    } else if (how->signal == SIGKILL && !how->killed_by_us) {
        e->action = API_JOB_LOSE;
        snprintf(e->reason, sizeof e->reason, "worker_lost");
    } else if (how->signal) {
        set_failure(e, "crash", "crash", "the worker was ended by signal %d (%s)", how->signal,
                    strsignal(how->signal));
    } else {
        set_failure(e, "crash", "crash", "the worker exited with code %d and did not say why",
                    how->exit_code);
    }
}

static void classify_end(ending *e) {
    const affect_json *end = e->how->end;
    const char *state = affect_json_get_string(end, "state", "");
    const char *reason = affect_json_get_string(end, "reason", "");
    if (affect_json_get_bool(affect_json_get(end, "result"), "paused", false)) {
        e->action = API_JOB_HOLD; /* where its specification says */
        snprintf(e->reason, sizeof e->reason, "rung");
    } else if (strcmp(state, "succeeded") == 0) {
        e->action = API_JOB_SUCCEED;
        e->result = affect_json_copy(affect_json_get(end, "result"));
    } else if (strcmp(state, "cancelled") == 0 && e->draining) {
        e->action = API_JOB_LOSE;
        snprintf(e->reason, sizeof e->reason, "drain");
    } else if (strcmp(state, "cancelled") == 0) {
        e->action = API_JOB_STOP;
        snprintf(e->reason, sizeof e->reason, "%s", *reason ? reason : "user");
    } else {
        const affect_json *error = affect_json_get(end, "error");
        set_failure(e, *reason ? reason : "crash", affect_json_get_string(error, "code", "crash"),
                    "%.380s",
                    affect_json_get_string(error, "message", "the worker gave no reason"));
        const affect_json *result = affect_json_get(end, "result");
        if (affect_json_is_object(result)) e->result = affect_json_copy(result);
    }
}

static affect_status add_artifact(affect_json *files, const char *folder, const char *name,
                                  affect_error *err) {
    char path[AFFECT_PATH_MAX], digest[AFFECT_DIGEST_TEXT_SIZE];
    size_t size = 0;
    int fd = -1;
    if (!*name || *name == '.' || strchr(name, '/'))
        return affect_fail(err, INVALID, "the worker names an artifact outside its folder");
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", name));
    AFFECT_TRY(affect_file_open(&fd, &size, path, err));
    close(fd);
    AFFECT_TRY(affect_digest_file(digest, path, err));
    affect_json *file = affect_json_append(files, affect_json_new_object());
    affect_json_set_string(file, "name", name);
    affect_json_set_number(file, "bytes", (double)size);
    affect_json_set_string(file, "sha256", digest);
    return AFFECT_STATUS_OK;
}

/* The files that the worker names as its results, each with its size and digest. */
static affect_status prepare_artifacts(ending *e, const char *folder, affect_error *err) {
    affect_json *names = affect_json_detach(e->result, "artifacts");
    affect_json *files = affect_json_set_array(e->result, "artifacts");
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *n = affect_json_first(names); n && status == AFFECT_STATUS_OK;
         n = affect_json_next(n))
        status = add_artifact(files, folder, affect_json_string(n, ""), err);
    affect_json_free(names);
    return status;
}

/* Before the transaction: reads what the worker made. A job that failed may have a result too. */
static affect_status prepare_result(ending *e, const api_job_row *row, affect_error *err) {
    AFFECT_TRY(api_job_base_folder(e->folder, e->base, row->id, err));
    e->type = api_job_type_of(row->type);
    if (e->action != API_JOB_SUCCEED)
        return e->type->has_artifacts ? prepare_artifacts(e, e->folder, err) : AFFECT_STATUS_OK;
    e->product = (api_job_product){.models = e->base->registry,
                                   .store = e->base->store,
                                   .data_dir = e->base->data_dir,
                                   .folder = e->folder,
                                   .dataset_id = row->dataset_id,
                                   .model = row->model,
                                   .result = e->result};
    if (e->type->has_artifacts) AFFECT_TRY(prepare_artifacts(e, e->folder, err));
    return e->type->prepare ? e->type->prepare(&e->product, err) : AFFECT_STATUS_OK;
}

/* A job that succeeds: what it made becomes part of the store in the same transaction. */
static affect_status store_product(const api_job_row *row, api_db *db, ending *e,
                                   affect_error *err) {
    api_job_product *product = &e->product;
    product->job_id = row->id;
    product->dataset_id = row->dataset_id;
    product->model = row->model;
    return e->type->store ? e->type->store(product, db, err) : AFFECT_STATUS_OK;
}

/* Whether the worker of a pausing job ended because it was asked to, or was lost meanwhile: its
 * last checkpoint is what counts. */
static bool pauses(const ending *e) {
    return e->action == API_JOB_STOP || e->action == API_JOB_LOSE || e->how->killed_by_us;
}

static affect_status work_exit(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    ending *e = w->context;
    bool wanted = w->row.state != API_JOB_CANCELLING;
    if (w->row.state == API_JOB_PAUSING && pauses(e)) {
        const api_job_change paused = {.reason = "user"};
        return api_job_row_act(&w->row, db, API_JOB_STOP, &paused, &w->events, err);
    }
    if (wanted && e->action == API_JOB_SUCCEED) AFFECT_TRY(store_product(&w->row, db, e, err));
    const api_job_change change = {.reason = wanted ? (e->reason[0] ? e->reason : NULL) : "user",
                                   .error = wanted ? e->error : NULL,
                                   .result = wanted ? e->result : NULL,
                                   .counts_restart =
                                       e->action == API_JOB_LOSE && !e->draining && wanted};
    AFFECT_TRY(api_job_row_act(&w->row, db, e->action, &change, &w->events, err));
    if (w->row.state == API_JOB_INTERRUPTED && !e->draining)
        return api_job_write_requeue(w, db, err);
    return AFFECT_STATUS_OK;
}

static affect_status classify(ending *e, const char *job_id, affect_error *err) {
    if (!e->how->end) {
        classify_exit(e);
        return AFFECT_STATUS_OK;
    }
    classify_end(e);
    bool succeeded = e->action == API_JOB_SUCCEED;
    if (!succeeded && !e->result) return AFFECT_STATUS_OK;
    api_job_row row = {0};
    AFFECT_TRY(api_job_read(&row, e->base, job_id, err));
    affect_error error = {0};
    affect_status status = prepare_result(e, &row, &error);
    api_job_row_free(&row);
    if (status != AFFECT_STATUS_OK && succeeded)
        set_failure(e, affect_job_reason(status), affect_status_name(status),
                    "the worker said it succeeded, but what it made cannot be read: %.300s",
                    error.message);
    return AFFECT_STATUS_OK;
}

static affect_status write_exit(const char *job_id, ending *e, affect_error *err) {
    api_job_write w = {.base = e->base,
                       .id = job_id,
                       .work = work_exit,
                       .context = e,
                       .uses_reserve = e->action != API_JOB_SUCCEED};
    affect_status status = api_job_write_run(&w, err);
    if (status == AFFECT_STATUS_OK) api_job_clean(e->base, &w.row);
    api_job_row_free(&w.row);
    return status;
}

affect_status api_job_end(const api_job_base *base, const char *job_id, const api_worker_exit *how,
                          bool draining, affect_error *err) {
    affect_error error = {0};
    if (!err) err = &error;
    ending e = {.base = base, .how = how, .draining = draining};
    affect_status status = classify(&e, job_id, err);
    if (status == AFFECT_STATUS_OK) status = write_exit(job_id, &e, err);
    if (e.action == API_JOB_SUCCEED && status != AFFECT_STATUS_OK &&
        !api_job_write_may_pass(status)) {
        set_failure(&e, affect_job_reason(status), affect_status_name(status),
                    "the job succeeded, but its product could not be kept: %.300s", err->message);
        status = write_exit(job_id, &e, err);
    }
    affect_json_free(e.result);
    affect_json_free(e.error);
    affect_json_free(e.product.facts);
    return status;
}
