/* The queue of jobs; see job_queue.h. */
#include "api/job_queue.h"

#include "api/dataset_registry.h"
#include "api/job_rows.h"
#include "engine/core/clock.h"
#include "engine/core/digest.h"
#include "engine/core/file.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_SECONDS 0.5 /* between stored progress events of one job */

/* What the workers' thread remembers of a running job. */
typedef struct running {
    char job_id[API_ID_SIZE];
    double epoch, epochs, epoch_seconds, told_at;
    struct running *next;
} running;

struct api_job_queue {
    api_store *store;
    api_feed *feed;
    api_model_registry *registry;
    api_job_queue_options options;
    char data_dir[AFFECT_PATH_MAX];
    char instance[AFFECT_ULID_SIZE];
    api_workers *workers;
    running *running; /* the workers' thread's own */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool stopping, look; /* look: something may be startable */
    double not_before;   /* a worker could not be started: wait */
    int n_active;
};

void api_job_queue_options_default(api_job_queue_options *options) {
    *options = (api_job_queue_options){
        .data_dir = "data", .n_slots = 1, .max_queued = 100, .max_restarts = 3};
    api_worker_options_default(&options->worker);
}

void api_job_id_make(char id[API_ID_SIZE]) {
    char ulid[AFFECT_ULID_SIZE];
    affect_ulid_make(ulid);
    snprintf(id, API_ID_SIZE, "job_%s", ulid);
}

affect_status api_job_folder(char path[AFFECT_PATH_MAX], const api_job_queue *queue, const char *id,
                             affect_error *err) {
    return affect_path_join(path, err, queue->data_dir, "jobs/%s", id);
}

/* A write together with the events that it makes: they are published after the commit. */
typedef struct {
    api_job_queue *queue;
    api_event_list events;
    const char *id;
    api_job_row row;
    affect_status (*work)(api_db *db, void *context, affect_error *err);
    void *context;
} job_write;

static affect_status run_job_write(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    api_event_list_clear(&w->events);
    api_job_row_free(&w->row);
    if (w->id) AFFECT_TRY(api_job_row_load(&w->row, db, w->id, err));
    return w->work(db, w, err);
}

static void publish(void *context) {
    job_write *w = context;
    api_feed_publish(w->queue->feed, &w->events);
}

static affect_status write_job(job_write *w, affect_error *err) {
    affect_status status = api_store_write(w->queue->store, run_job_write, publish, w, err);
    api_event_list_free(&w->events);
    return status;
}

static void look_again(api_job_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->look = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* An import's archive is not needed once its job has ended. */
static void remove_upload(api_job_queue *queue, const api_job_row *row) {
    char folder[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    if (!api_job_state_terminal(row->state) || strcmp(row->type, "import") != 0) return;
    if (api_job_folder(folder, queue, row->id, NULL) == AFFECT_STATUS_OK &&
        affect_path_join(path, NULL, folder, API_JOB_UPLOAD) == AFFECT_STATUS_OK)
        unlink(path);
}

/* ---- Creating and cancelling ---- */

typedef struct {
    const api_job_new *job;
    char *id;
    bool existed;
} creation;

static affect_status find_idempotent(api_db *db, creation *c, affect_error *err) {
    const api_job_new *job = c->job;
    api_rows *rows = NULL;
    bool same = true;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT digest, job_id FROM idempotency WHERE key = ?",
                            "t", job->idempotency_key));
    if (api_rows_next(rows)) {
        same = strcmp(api_rows_text(rows, 0), job->idempotency_digest) == 0;
        c->existed = true;
        snprintf(c->id, API_ID_SIZE, "%s", api_rows_text(rows, 1));
    }
    AFFECT_TRY(api_rows_end(rows, err));
    if (!same)
        return affect_fail(err, CONFLICT, "Idempotency-Key was used for a different request");
    if (c->existed) return AFFECT_STATUS_OK;
    return api_db_run(db, err,
                      "INSERT INTO idempotency (key, digest, job_id, created_ms) "
                      "VALUES (?, ?, ?, ?)",
                      "ttti", job->idempotency_key, job->idempotency_digest, job->id,
                      affect_clock_unix_ms());
}

static affect_status work_create(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    creation *c = w->context;
    const api_job_new *job = c->job;
    c->existed = false;
    snprintf(c->id, API_ID_SIZE, "%s", job->id);
    if (job->idempotency_key) AFFECT_TRY(find_idempotent(db, c, err));
    if (c->existed) return AFFECT_STATUS_OK;
    int64_t n_queued = 0;
    AFFECT_TRY(api_job_rows_count(&n_queued, db, API_JOB_QUEUED, err));
    if (n_queued >= w->queue->options.max_queued)
        return affect_fail(err, BUSY, "the queue is full: %lld jobs wait (at most %d)",
                           (long long)n_queued, w->queue->options.max_queued);
    if (job->also) AFFECT_TRY(job->also(db, job->also_context, err));
    return api_job_row_insert(db, job, &w->events, err);
}

affect_status api_job_create(api_job_queue *queue, const api_job_new *job, char id[API_ID_SIZE],
                             bool *existed, affect_error *err) {
    creation c = {.job = job, .id = id};
    job_write w = {.queue = queue, .work = work_create, .context = &c};
    AFFECT_TRY(write_job(&w, err));
    *existed = c.existed;
    look_again(queue);
    return AFFECT_STATUS_OK;
}

static affect_status work_cancel(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    api_cancel_outcome *outcome = w->context;
    api_job_state before = w->row.state;
    if (api_job_state_after(before, API_JOB_CANCEL) == API_JOB_STATE_COUNT) {
        *outcome = API_CANCEL_REFUSED;
        return AFFECT_STATUS_OK;
    }
    const api_job_change change = {.reason = "user"};
    AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_CANCEL, &change, &w->events, err));
    *outcome = w->row.state == before ? API_CANCEL_DONE : API_CANCEL_ACCEPTED;
    return AFFECT_STATUS_OK;
}

affect_status api_job_cancel(api_job_queue *queue, const char *id, api_cancel_outcome *outcome,
                             affect_error *err) {
    job_write w = {.queue = queue, .id = id, .work = work_cancel, .context = outcome};
    affect_status status = write_job(&w, err);
    if (status == AFFECT_STATUS_OK && w.row.state == API_JOB_CANCELLING)
        api_workers_stop(queue->workers, id);
    if (status == AFFECT_STATUS_OK) remove_upload(queue, &w.row);
    api_job_row_free(&w.row);
    return status;
}

/* ---- What workers say (the workers' thread) ---- */

static running *find_running(api_job_queue *queue, const char *job_id) {
    for (running *r = queue->running; r; r = r->next)
        if (strcmp(r->job_id, job_id) == 0) return r;
    running *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    snprintf(made->job_id, sizeof made->job_id, "%s", job_id);
    made->next = queue->running;
    queue->running = made;
    return made;
}

static void forget_running(api_job_queue *queue, const char *job_id) {
    for (running **at = &queue->running; *at; at = &(*at)->next) {
        if (strcmp((*at)->job_id, job_id) != 0) continue;
        running *gone = *at;
        *at = gone->next;
        free(gone);
        return;
    }
}

static void set_number_or_null(affect_json *json, const char *name, double number) {
    affect_json_set(json, name,
                    number >= 0 ? affect_json_new_number(number) : affect_json_new_null());
}

/* The whole job's progress, given the share of the epoch that runs (or of a job without epochs). */
static affect_status store_progress(job_write *w, api_db *db, const running *r, double fraction,
                                    double eta_seconds, affect_error *err) {
    affect_json *progress = affect_json_new_object();
    if (r->epochs > 0) {
        affect_json_set_number(progress, "epoch", r->epoch);
        affect_json_set_number(progress, "epochs", r->epochs);
        double left = r->epochs - r->epoch - fraction;
        eta_seconds = r->epoch_seconds > 0 ? left * r->epoch_seconds : -1;
        fraction = (r->epoch + fraction) / r->epochs;
    }
    affect_json_set_number(progress, "fraction", fraction > 1 ? 1 : fraction);
    set_number_or_null(progress, "eta_seconds", eta_seconds);
    affect_status status = api_job_row_progress(&w->row, db, progress, err);
    affect_json_free(progress);
    return status;
}

static affect_status take_epoch(job_write *w, api_db *db, running *r, affect_json *line,
                                affect_error *err) {
    r->epoch = affect_json_get_number(line, "epoch", r->epoch);
    r->epochs = affect_json_get_number(line, "epochs", r->epochs);
    r->epoch_seconds = affect_json_get_number(line, "seconds", r->epoch_seconds);
    AFFECT_TRY(api_job_row_epoch(&w->row, db, line, &w->events, err));
    return store_progress(w, db, r, 0, -1, err);
}

/* Progress is told at most twice a second, and when it is complete. */
static affect_status take_progress(job_write *w, api_db *db, running *r, const affect_json *line,
                                   affect_error *err) {
    double fraction = affect_json_get_number(line, "fraction", 0);
    double now = affect_clock_seconds();
    bool of_epoch = strcmp(affect_json_get_string(line, "what", ""), "epoch") == 0;
    if (now - r->told_at < PROGRESS_SECONDS && (of_epoch || fraction < 1)) return AFFECT_STATUS_OK;
    r->told_at = now;
    AFFECT_TRY(api_job_row_event(&w->row, db, "progress", line, &w->events, err));
    if (of_epoch && r->epochs <= 0) return AFFECT_STATUS_OK;
    return store_progress(w, db, r, fraction, affect_json_get_number(line, "eta_seconds", -1), err);
}

static affect_status take_state(job_write *w, api_db *db, running *r, const affect_json *line,
                                affect_error *err) {
    (void)r;
    if (strcmp(affect_json_get_string(line, "state", ""), "running") != 0) return AFFECT_STATUS_OK;
    return api_job_row_act(&w->row, db, API_JOB_RUN, NULL, &w->events, err);
}

static affect_status take_checkpoint(job_write *w, api_db *db, const affect_json *line,
                                     affect_error *err) {
    if (strcmp(affect_json_get_string(line, "kind", ""), "best") == 0) {
        int64_t epoch = (int64_t)affect_json_get_number(line, "epoch", 0);
        AFFECT_TRY(api_job_row_best(&w->row, db, epoch, err));
    }
    return api_job_row_event(&w->row, db, "checkpoint", line, &w->events, err);
}

static affect_status take_unknown(job_write *w, api_db *db, const char *kind, affect_error *err) {
    char text[120];
    snprintf(text, sizeof text, "the worker told an event of unknown kind \"%.40s\"", kind);
    affect_json *warning = affect_json_new_object();
    affect_json_set_string(warning, "message", text);
    affect_status status = api_job_row_event(&w->row, db, "warning", warning, &w->events, err);
    affect_json_free(warning);
    return status;
}

static affect_status take_line(job_write *w, api_db *db, running *r, affect_json *line,
                               affect_error *err) {
    const char *kind = affect_json_get_string(line, "event", "");
    if (strcmp(kind, "epoch") == 0) return take_epoch(w, db, r, line, err);
    if (strcmp(kind, "progress") == 0) return take_progress(w, db, r, line, err);
    if (strcmp(kind, "state") == 0) return take_state(w, db, r, line, err);
    if (strcmp(kind, "checkpoint") == 0) return take_checkpoint(w, db, line, err);
    if (strcmp(kind, "log") == 0 || strcmp(kind, "warning") == 0 || strcmp(kind, "step") == 0)
        return api_job_row_event(&w->row, db, kind, line, &w->events, err);
    return take_unknown(w, db, kind, err);
}

typedef struct {
    affect_json *const *lines;
    size_t n;
    running before, after;
} batch;

static affect_status work_lines(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    batch *b = w->context;
    b->after = b->before;
    for (size_t i = 0; i < b->n; i++) AFFECT_TRY(take_line(w, db, &b->after, b->lines[i], err));
    return AFFECT_STATUS_OK;
}

static affect_status on_events(void *context, const char *job_id, affect_json *const *lines,
                               size_t n, affect_error *err) {
    api_job_queue *queue = context;
    running *r = find_running(queue, job_id);
    if (!r) return affect_fail(err, NO_MEMORY, "no memory for a job");
    batch b = {.lines = lines, .n = n, .before = *r};
    job_write w = {.queue = queue, .id = job_id, .work = work_lines, .context = &b};
    affect_status status = write_job(&w, err);
    api_job_row_free(&w.row);
    if (status == AFFECT_STATUS_OK) {
        b.after.next = r->next;
        *r = b.after;
    }
    return status;
}

/* ---- How workers end (the workers' thread) ---- */

typedef struct {
    api_job_queue *queue;
    const api_worker_exit *how;
    bool draining;
    affect_json *result, *error, *metadata, *summary; /* owned */
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    char file[AFFECT_PATH_MAX]; /* the model file of a train job */
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
    e->action = API_JOB_FAIL;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    affect_json_free(e->error);
    e->error = affect_json_new_object();
    affect_json_set_string(e->error, "code", code);
    affect_json_set_string(e->error, "message", text);
}

/* The worker is gone and said no end. */
static void judge_silence(ending *e) {
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

static void judge_end(ending *e) {
    const affect_json *end = e->how->end;
    const char *state = affect_json_get_string(end, "state", "");
    const char *reason = affect_json_get_string(end, "reason", "");
    if (strcmp(state, "succeeded") == 0) {
        e->action = API_JOB_SUCCEED;
        e->result = affect_json_copy(affect_json_get(end, "result"));
        affect_json_free(affect_json_detach(e->result, "predictions"));
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
    }
}

/* Before the transaction: reads and hashes the file that a train job made. */
static affect_status prepare_model(ending *e, const char *folder, affect_error *err) {
    const char *name = affect_json_get_string(e->result, "model_file", "best.safetensors");
    if (strchr(name, '/'))
        return affect_fail(err, INVALID, "the worker names a model file outside its folder");
    AFFECT_TRY(affect_path_join(e->file, err, folder, "%s", name));
    AFFECT_TRY(api_model_describe(&e->metadata, e->file, err));
    return affect_digest_file(e->digest, e->file, err);
}

static affect_status prepare_success(ending *e, const char *job_id, const char *type,
                                     const char *dataset_id, affect_error *err) {
    char folder[AFFECT_PATH_MAX];
    if (strcmp(type, "train") == 0) {
        AFFECT_TRY(api_job_folder(folder, e->queue, job_id, err));
        return prepare_model(e, folder, err);
    }
    if (strcmp(type, "import") == 0) {
        AFFECT_TRY(affect_path_join(folder, err, e->queue->data_dir, "datasets/%s", dataset_id));
        return api_dataset_summarize(&e->summary, folder, err);
    }
    return AFFECT_STATUS_OK;
}

/* A job that succeeds: what it made becomes part of the store in the same transaction. */
static affect_status store_product(job_write *w, api_db *db, ending *e, affect_error *err) {
    if (strcmp(w->row.type, "train") == 0) {
        int64_t version = 0;
        AFFECT_TRY(api_model_add(e->queue->registry, db, w->row.model, w->row.id, e->file,
                                 e->digest, e->metadata, &version, err));
        affect_json_free(affect_json_detach(e->result, "model_file"));
        affect_json_free(affect_json_detach(e->result, "model"));
        affect_json_free(affect_json_detach(e->result, "version"));
        affect_json_set_string(e->result, "model", w->row.model);
        affect_json_set_number(e->result, "version", (double)version);
    } else if (strcmp(w->row.type, "import") == 0) {
        affect_json_free(affect_json_detach(e->result, "dataset")); /* a path of this machine */
        affect_json_set_string(e->result, "dataset", w->row.dataset_id);
        AFFECT_TRY(api_dataset_finish(db, w->row.dataset_id, e->summary, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status requeue(job_write *w, api_db *db, affect_error *err) {
    if (w->row.restarts > w->queue->options.max_restarts) {
        affect_json *error = affect_json_new_object();
        affect_json_set_string(error, "code", "worker_lost");
        affect_json_set_string(error, "message", "its worker was lost too often");
        const api_job_change change = {.reason = "worker_lost", .error = error};
        affect_status status =
            api_job_row_act(&w->row, db, API_JOB_GIVE_UP, &change, &w->events, err);
        affect_json_free(error);
        return status;
    }
    return api_job_row_act(&w->row, db, API_JOB_REQUEUE, NULL, &w->events, err);
}

static affect_status work_exit(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    ending *e = w->context;
    bool wanted = w->row.state != API_JOB_CANCELLING;
    if (wanted && e->action == API_JOB_SUCCEED) AFFECT_TRY(store_product(w, db, e, err));
    const api_job_change change = {.reason = wanted ? (e->reason[0] ? e->reason : NULL) : "user",
                                   .error = wanted ? e->error : NULL,
                                   .result = wanted ? e->result : NULL,
                                   .counts_restart =
                                       e->action == API_JOB_LOSE && !e->draining && wanted};
    AFFECT_TRY(api_job_row_act(&w->row, db, e->action, &change, &w->events, err));
    if (w->row.state == API_JOB_INTERRUPTED && !e->draining) return requeue(w, db, err);
    return AFFECT_STATUS_OK;
}

static affect_status load_row(api_db *db, void *context, affect_error *err) {
    api_job_row *row = context;
    char id[API_ID_SIZE];
    snprintf(id, sizeof id, "%s", row->id);
    return api_job_row_load(row, db, id, err);
}

static affect_status judge(ending *e, const char *job_id, affect_error *err) {
    if (!e->how->end) {
        judge_silence(e);
        return AFFECT_STATUS_OK;
    }
    judge_end(e);
    if (e->action != API_JOB_SUCCEED) return AFFECT_STATUS_OK;
    api_job_row row = {0};
    snprintf(row.id, sizeof row.id, "%s", job_id);
    AFFECT_TRY(api_store_read(e->queue->store, load_row, &row, err));
    affect_error error = {0};
    affect_status status = prepare_success(e, job_id, row.type, row.dataset_id, &error);
    api_job_row_free(&row);
    if (status != AFFECT_STATUS_OK)
        set_failure(e, "crash", affect_status_name(status),
                    "the worker said it succeeded, but what it made cannot be read: %.300s",
                    error.message);
    return AFFECT_STATUS_OK;
}

static affect_status write_exit(api_job_queue *queue, const char *job_id, ending *e,
                                affect_error *err) {
    job_write w = {.queue = queue, .id = job_id, .work = work_exit, .context = e};
    affect_status status = write_job(&w, err);
    if (status == AFFECT_STATUS_OK) remove_upload(queue, &w.row);
    api_job_row_free(&w.row);
    return status;
}

/* Whether the same write may succeed later. */
static bool passes(affect_status status) {
    return status == AFFECT_STATUS_NO_SPACE || status == AFFECT_STATUS_NO_MEMORY ||
           status == AFFECT_STATUS_BUSY;
}

static affect_status on_exited(void *context, const char *job_id, const api_worker_exit *how,
                               affect_error *err) {
    affect_error error = {0};
    if (!err) err = &error;
    api_job_queue *queue = context;
    ending e = {.queue = queue, .how = how};
    pthread_mutex_lock(&queue->lock);
    e.draining = queue->stopping;
    pthread_mutex_unlock(&queue->lock);
    affect_status status = judge(&e, job_id, err);
    if (status == AFFECT_STATUS_OK) {
        status = write_exit(queue, job_id, &e, err);
        if (e.action == API_JOB_SUCCEED && status != AFFECT_STATUS_OK && !passes(status)) {
            set_failure(&e, "crash", affect_status_name(status),
                        "the job succeeded, but its product could not be kept: %.300s",
                        err ? err->message : "");
            status = write_exit(queue, job_id, &e, err);
        }
    }
    affect_json_free(e.result);
    affect_json_free(e.error);
    affect_json_free(e.metadata);
    affect_json_free(e.summary);
    if (status != AFFECT_STATUS_OK) return status;
    forget_running(queue, job_id);
    pthread_mutex_lock(&queue->lock);
    queue->n_active--;
    queue->look = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return AFFECT_STATUS_OK;
}

/* ---- The scheduler ---- */

static affect_status work_start(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    AFFECT_TRY(api_job_row_next(&w->row, db, err));
    if (!w->row.id[0]) return AFFECT_STATUS_OK;
    const api_job_change change = {.instance = w->queue->instance};
    return api_job_row_act(&w->row, db, API_JOB_START, &change, &w->events, err);
}

/* A worker could not be started: the job fails, or waits when an earlier worker still holds its
 * folder. */
static affect_status work_not_started(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    const affect_error *why = w->context;
    if (why->status == AFFECT_STATUS_CONFLICT) {
        const api_job_change change = {.reason = "worker_lost"};
        AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_LOSE, &change, &w->events, err));
        if (w->row.state != API_JOB_INTERRUPTED) return AFFECT_STATUS_OK;
        return api_job_row_act(&w->row, db, API_JOB_REQUEUE, NULL, &w->events, err);
    }
    affect_json *error = affect_json_new_object();
    affect_json_set_string(error, "code", affect_status_name(why->status));
    affect_json_set_string(error, "message", why->message);
    const api_job_change change = {
        .reason = why->status == AFFECT_STATUS_NO_SPACE ? "no_space" : "crash", .error = error};
    affect_status status = api_job_row_act(&w->row, db, API_JOB_FAIL, &change, &w->events, err);
    affect_json_free(error);
    return status;
}

static affect_status start_worker(api_job_queue *queue, const api_job_row *row, affect_error *err) {
    char folder[AFFECT_PATH_MAX], spec[AFFECT_PATH_MAX];
    AFFECT_TRY(api_job_folder(folder, queue, row->id, err));
    AFFECT_TRY(affect_directory_make(folder, err));
    AFFECT_TRY(affect_path_join(spec, err, folder, "spec.json"));
    AFFECT_TRY(affect_file_write(spec, row->spec, strlen(row->spec), err));
    return api_workers_start(queue->workers, row->id, row->type, folder, err);
}

static void add_active(api_job_queue *queue, int n) {
    pthread_mutex_lock(&queue->lock);
    queue->n_active += n;
    pthread_mutex_unlock(&queue->lock);
}

/* A cancel that came between the row's change and the worker's start found no worker to stop. */
static void stop_if_cancelled(api_job_queue *queue, const char *id) {
    api_job_row row = {0};
    snprintf(row.id, sizeof row.id, "%s", id);
    if (api_store_read(queue->store, load_row, &row, NULL) == AFFECT_STATUS_OK &&
        row.state == API_JOB_CANCELLING)
        api_workers_stop(queue->workers, id);
    api_job_row_free(&row);
}

/* Starts the oldest queued job; false when there is none or it could not be. */
static bool start_next(api_job_queue *queue) {
    job_write w = {.queue = queue, .work = work_start};
    affect_status status = write_job(&w, NULL);
    bool found = status == AFFECT_STATUS_OK && w.row.id[0];
    bool started = false;
    if (found) {
        affect_error why = {0};
        add_active(queue, 1);
        started = start_worker(queue, &w.row, &why) == AFFECT_STATUS_OK;
        if (started) {
            stop_if_cancelled(queue, w.row.id);
        } else {
            add_active(queue, -1);
            char id[API_ID_SIZE];
            snprintf(id, sizeof id, "%s", w.row.id);
            job_write failed = {
                .queue = queue, .id = id, .work = work_not_started, .context = &why};
            status = write_job(&failed, NULL);
            api_job_row_free(&failed.row);
        }
    }
    api_job_row_free(&w.row);
    if (!started && (found || status != AFFECT_STATUS_OK)) {
        pthread_mutex_lock(&queue->lock);
        queue->not_before = affect_clock_seconds() + 1;
        pthread_mutex_unlock(&queue->lock);
    }
    return found;
}

static void sleep_scheduler(api_job_queue *queue) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
}

static void *schedule_thread(void *context) {
    api_job_queue *queue = context;
    pthread_mutex_lock(&queue->lock);
    while (!queue->stopping) {
        bool may = queue->look && queue->n_active < queue->options.n_slots &&
                   affect_clock_seconds() >= queue->not_before;
        if (!may) {
            sleep_scheduler(queue);
            continue;
        }
        queue->look = false;
        pthread_mutex_unlock(&queue->lock);
        bool found = start_next(queue);
        pthread_mutex_lock(&queue->lock);
        if (found || affect_clock_seconds() < queue->not_before) queue->look = true;
    }
    pthread_mutex_unlock(&queue->lock);
    api_workers_drain(queue->workers); /* here: workers die with the thread that started them */
    return NULL;
}

/* ---- Start and stop ---- */

static affect_status work_adopt(api_db *db, void *context, affect_error *err) {
    job_write *w = context;
    if (w->row.state != API_JOB_INTERRUPTED) {
        const api_job_change change = {.reason = w->row.state == API_JOB_CANCELLING ? "user"
                                                                                    : "worker_lost",
                                       .counts_restart = w->row.state != API_JOB_CANCELLING};
        AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_LOSE, &change, &w->events, err));
    }
    return w->row.state == API_JOB_INTERRUPTED ? requeue(w, db, err) : AFFECT_STATUS_OK;
}

typedef struct {
    char (*ids)[API_ID_SIZE];
    size_t n;
} id_list;

static affect_status read_left(api_db *db, void *context, affect_error *err) {
    id_list *list = context;
    return api_job_rows_left(&list->ids, &list->n, db, err);
}

/* Rows whose worker belonged to a server that is no more. */
static affect_status adopt_left(api_job_queue *queue, affect_error *err) {
    id_list list = {0};
    affect_status status = api_store_read(queue->store, read_left, &list, err);
    for (size_t i = 0; i < list.n && status == AFFECT_STATUS_OK; i++) {
        job_write w = {.queue = queue, .id = list.ids[i], .work = work_adopt};
        status = write_job(&w, err);
        api_job_row_free(&w.row);
    }
    free(list.ids);
    return status;
}

static affect_status start(api_job_queue *queue, affect_error *err) {
    AFFECT_TRY(adopt_left(queue, err));
    const api_worker_callbacks callbacks = {
        .context = queue, .events = on_events, .exited = on_exited};
    AFFECT_TRY(api_workers_create(&queue->workers, &queue->options.worker, &callbacks, err));
    int e = pthread_create(&queue->thread, NULL, schedule_thread, queue);
    if (e) return affect_error_errno(err, e, "starting the scheduler");
    queue->thread_started = true;
    return AFFECT_STATUS_OK;
}

affect_status api_job_queue_create(api_job_queue **queue, api_store *store, api_feed *feed,
                                   api_model_registry *registry,
                                   const api_job_queue_options *options, affect_error *err) {
    api_job_queue *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for the queue");
    made->store = store;
    made->feed = feed;
    made->registry = registry;
    made->options = *options;
    made->look = true;
    snprintf(made->data_dir, sizeof made->data_dir, "%s", options->data_dir);
    made->options.data_dir = made->data_dir;
    affect_ulid_make(made->instance);
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    affect_status status = start(made, err);
    if (status == AFFECT_STATUS_OK) {
        *queue = made;
    } else {
        api_job_queue_stop(made);
        api_job_queue_free(made);
    }
    return status;
}

void api_job_queue_stop(api_job_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    if (queue->thread_started) pthread_join(queue->thread, NULL);
    queue->thread_started = false;
}

void api_job_queue_free(api_job_queue *queue) {
    if (!queue) return;
    api_workers_free(queue->workers);
    while (queue->running) {
        running *gone = queue->running;
        queue->running = gone->next;
        free(gone);
    }
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static affect_status count_queued(api_db *db, void *context, affect_error *err) {
    return api_job_rows_count(context, db, API_JOB_QUEUED, err);
}

void api_job_queue_count(api_job_queue *queue, int *n_queued, int *n_active, int *n_slots) {
    int64_t n = 0;
    api_store_read(queue->store, count_queued, &n, NULL);
    *n_queued = (int)n;
    pthread_mutex_lock(&queue->lock);
    *n_active = queue->n_active;
    *n_slots = queue->options.n_slots;
    pthread_mutex_unlock(&queue->lock);
}
