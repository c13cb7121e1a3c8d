/* The queue of jobs; see job_queue.h. */
#include "api/jobs/job_queue.h"

#include "api/etag.h"
#include "api/jobs/job_ending.h"
#include "api/jobs/job_progress.h"
#include "api/jobs/job_removal.h"
#include "api/jobs/job_runs.h"
#include "api/jobs/job_spec_file.h"
#include "api/jobs/job_type.h"
#include "api/jobs/job_write.h"
#include "api/jobs/leftovers.h"
#include "api/log.h"
#include "engine/core/clock.h"
#include "engine/train/job_event.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BLOCKED = 64 };

/* A job whose folder an earlier worker still holds: one that hangs in a driver, of a server that is
 * no more. Others go first; it is looked at again later and later. */
typedef struct {
    char id[API_ID_SIZE];
    double until;
    double wait;
} blocked_job;

#define RETAIN_SECONDS 10.0 /* between looks for jobs that are past their retention */

struct api_job_queue {
    api_job_base base;
    blocked_job blocked[MAX_BLOCKED]; /* the scheduler's own */
    atomic_int n_blocked;
    char import_root[AFFECT_PATH_MAX];
    int n_slots;
    api_job_retention retention;
    double retain_at; /* the scheduler's own: when it removes old jobs next */
    char instance[AFFECT_ULID_SIZE];
    api_workers *workers;
    api_job_progress *progress; /* the workers' thread's own */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool stopping, wake; /* wake: a job may be startable */
    double not_before;   /* a worker could not be started: wait */
    int n_active;
};

void api_job_queue_options_default(api_job_queue_options *options) {
    *options = (api_job_queue_options){
        .data_dir = "data", .import_root = "", .n_slots = 1, .max_queued = 100, .max_restarts = 3};
    api_worker_options_default(&options->worker);
}

static void wake_scheduler(api_job_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->wake = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- Creating, cancelling, pausing ---- */

typedef struct {
    const api_job_new *job;
    char *id;
    bool existed;
} creation;

static affect_status find_idempotent(api_db *db, void *context, affect_error *err) {
    creation *c = context;
    return api_store_key_find(&c->existed, c->id, db, c->job->idempotency_key,
                              c->job->idempotency_digest, err);
}

static affect_status work_create(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    creation *c = w->context;
    const api_job_new *job = c->job;
    c->existed = false;
    snprintf(c->id, API_ID_SIZE, "%s", job->id);
    if (job->idempotency_key) AFFECT_TRY(find_idempotent(db, c, err));
    if (c->existed) return AFFECT_STATUS_OK;
    if (job->idempotency_key)
        AFFECT_TRY(
            api_store_key_put(db, job->idempotency_key, job->idempotency_digest, job->id, err));
    int64_t n_queued = 0;
    AFFECT_TRY(api_store_job_count(&n_queued, db, API_JOB_QUEUED, err));
    if (n_queued >= w->base->max_queued)
        return affect_fail(err, BUSY, "the queue is full: %lld jobs wait (at most %d)",
                           (long long)n_queued, w->base->max_queued);
    if (job->also) AFFECT_TRY(job->also(db, job->also_context, err));
    return api_job_row_insert(db, job, &w->events, err);
}

affect_status api_job_find(api_job_queue *queue, const char *key, const char *digest,
                           char id[API_ID_SIZE], bool *existed, affect_error *err) {
    const api_job_new job = {.idempotency_key = key, .idempotency_digest = digest};
    creation c = {.job = &job, .id = id};
    affect_status status = api_store_read(queue->base.store, find_idempotent, &c, err);
    *existed = c.existed;
    return status;
}

affect_status api_job_create(api_job_queue *queue, const api_job_new *job, char id[API_ID_SIZE],
                             bool *existed, affect_error *err) {
    creation c = {.job = job, .id = id};
    api_job_write w = {.base = &queue->base, .work = work_create, .context = &c};
    AFFECT_TRY(api_job_write_run(&w, err));
    *existed = c.existed;
    wake_scheduler(queue);
    return AFFECT_STATUS_OK;
}

typedef struct {
    api_job_action action;
    const api_request *request;
    api_ask_outcome outcome;
} action_query;

void api_job_etag(char etag[API_ETAG_SIZE], int64_t state_number) {
    snprintf(etag, API_ETAG_SIZE, "\"%lld\"", (long long)state_number);
}

static affect_status work_ask(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    action_query *q = w->context;
    api_job_state before = w->row.state;
    bool pausable = api_job_type_of(w->row.type)->pausable;
    char etag[API_ETAG_SIZE];
    api_job_etag(etag, w->row.state_number);
    if (q->request && api_condition_of(q->request, etag) != API_CONDITION_HOLDS) {
        q->outcome = API_ASK_CHANGED;
        return AFFECT_STATUS_OK;
    }
    /* A job of any type that was held (a full disk) is resumed; only some are paused. */
    bool resumes = before == API_JOB_PAUSED && q->action == API_JOB_RESUME;
    if (api_job_state_after(before, q->action) == API_JOB_STATE_COUNT ||
        (q->action != API_JOB_CANCEL && !pausable && !resumes)) {
        q->outcome = API_ASK_REFUSED;
        return AFFECT_STATUS_OK;
    }
    const api_job_change change = {.reason = q->action == API_JOB_RESUME ? NULL : "user"};
    AFFECT_TRY(api_job_row_act(&w->row, db, q->action, &change, &w->events, err));
    q->outcome = w->row.state == before ? API_ASK_DONE : API_ASK_ACCEPTED;
    return AFFECT_STATUS_OK;
}

static bool is_stopping(api_job_state state) {
    return state == API_JOB_CANCELLING || state == API_JOB_PAUSING;
}

affect_status api_job_ask(api_job_queue *queue, const char *id, api_job_action action,
                          const api_request *request, api_ask_outcome *outcome,
                          api_job_state *state, affect_error *err) {
    action_query q = {.action = action, .request = request};
    api_job_write w = {.base = &queue->base,
                       .id = id,
                       .work = work_ask,
                       .context = &q,
                       .uses_reserve = action != API_JOB_RESUME};
    affect_status status = api_job_write_run(&w, err);
    if (status == AFFECT_STATUS_OK) {
        if (is_stopping(w.row.state)) api_workers_stop(queue->workers, id);
        if (w.row.state == API_JOB_QUEUED || api_job_type_of(w.row.type)->has_runs)
            wake_scheduler(queue);
        api_job_clean(&queue->base, &w.row);
    }
    *outcome = q.outcome;
    *state = w.row.state;
    api_job_row_free(&w.row);
    return status;
}

/* A report is started by the scheduler's thread alone, with which its worker ends. */
static affect_status report_later(void *context, const char *id, affect_error *err) {
    (void)context, (void)id, (void)err;
    return AFFECT_STATUS_OK;
}

affect_status api_job_delete(api_job_queue *queue, const char *id, api_job_state *state,
                             affect_error *err) {
    api_job_row row = {0};
    AFFECT_TRY(api_job_read(&row, &queue->base, id, err));
    bool paused = row.state == API_JOB_PAUSED;
    api_job_row_free(&row);
    api_ask_outcome outcome;
    if (paused) {
        AFFECT_TRY(api_job_ask(queue, id, API_JOB_CANCEL, NULL, &outcome, state, err));
        AFFECT_TRY(api_job_runs_advance(&queue->base, queue->workers, report_later, NULL, err));
    }
    return api_job_remove(&queue->base, id, state, err);
}

/* ---- What workers tell (their thread) ---- */

static affect_status on_events(void *context, const char *job_id, affect_json *const *lines,
                               size_t n, affect_error *err) {
    api_job_queue *queue = context;
    return api_job_progress_take(queue->progress, job_id, lines, n, err);
}

static affect_status on_exited(void *context, const char *job_id, const api_worker_exit *how,
                               affect_error *err) {
    api_job_queue *queue = context;
    pthread_mutex_lock(&queue->lock);
    bool draining = queue->stopping;
    pthread_mutex_unlock(&queue->lock);
    AFFECT_TRY(api_job_end(&queue->base, job_id, how, draining, err));
    api_job_progress_forget(queue->progress, job_id);
    pthread_mutex_lock(&queue->lock);
    queue->n_active--;
    queue->wake = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return AFFECT_STATUS_OK;
}

/* ---- The scheduler ---- */

static blocked_job *find_blocked(api_job_queue *queue, const char *id) {
    for (size_t i = 0; i < MAX_BLOCKED; i++)
        if (strcmp(queue->blocked[i].id, id) == 0) return &queue->blocked[i];
    return NULL;
}

static affect_status work_blocked(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    affect_json *members = affect_json_new_object();
    affect_json_set_string(
        members, "message",
        "an earlier worker of this job has not ended: it waits, others go first");
    affect_status status = api_job_row_event(&w->row, db, "log", members, &w->events, err);
    affect_json_free(members);
    if (status == AFFECT_STATUS_OK)
        status = api_store_job_set_reason(db, w->row.id, "worker_lost", err);
    return status;
}

/* Told once, then tried again after 1, 2, 4, ... 60 s. */
static void block(api_job_queue *queue, const char *id) {
    blocked_job *b = find_blocked(queue, id);
    if (!b) {
        api_job_write w = {.base = &queue->base, .id = id, .work = work_blocked};
        api_job_write_run(&w, NULL);
        api_job_row_free(&w.row);
        b = find_blocked(queue, "");
        if (!b) return; /* more than MAX_BLOCKED: looked at each time */
        snprintf(b->id, sizeof b->id, "%s", id);
        b->wait = 0.5;
        atomic_fetch_add(&queue->n_blocked, 1);
        api_log(API_LOG_WARNING, "an earlier worker of a job has not ended", "job", id, NULL);
    }
    b->wait = b->wait < 30 ? 2 * b->wait : 60;
    b->until = affect_clock_seconds() + b->wait;
}

static void unblock(api_job_queue *queue, const char *id) {
    blocked_job *b = find_blocked(queue, id);
    if (!b) return;
    *b = (blocked_job){0};
    atomic_fetch_sub(&queue->n_blocked, 1);
}

/* Whether no earlier worker holds the job's folder. */
static bool is_free(api_job_queue *queue, const char *id) {
    char folder[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    int fd = -1;
    if (api_job_base_folder(folder, &queue->base, id, NULL) != AFFECT_STATUS_OK ||
        affect_path_join(path, NULL, folder, "lock") != AFFECT_STATUS_OK ||
        !affect_file_exists(path))
        return true;
    affect_status status = affect_file_lock(&fd, path, NULL);
    if (status == AFFECT_STATUS_OK) close(fd);
    return status != AFFECT_STATUS_CONFLICT;
}

typedef struct {
    int n_slots;
    api_id_list list;
} startable_query;

/* A job with runs takes one slot, whatever the number of its runs. */
static affect_status read_startable(api_db *db, void *context, affect_error *err) {
    startable_query *q = context;
    int64_t n_active = 0;
    AFFECT_TRY(api_store_jobs_count_active(&n_active, db, err));
    return api_store_jobs_startable(&q->list, db, n_active < q->n_slots, err);
}

/* The oldest queued job that can start; "" when there is none. */
static affect_status choose(char id[API_ID_SIZE], api_job_queue *queue, affect_error *err) {
    startable_query q = {.n_slots = queue->n_slots};
    affect_status status = api_store_read(queue->base.store, read_startable, &q, err);
    id[0] = '\0';
    for (size_t i = 0; status == AFFECT_STATUS_OK && i < q.list.n && !id[0]; i++) {
        const blocked_job *b = find_blocked(queue, q.list.ids[i]);
        if (b && affect_clock_seconds() < b->until) continue;
        if (is_free(queue, q.list.ids[i])) {
            unblock(queue, q.list.ids[i]);
            memcpy(id, q.list.ids[i], API_ID_SIZE);
        } else {
            block(queue, q.list.ids[i]);
        }
    }
    free(q.list.ids);
    return status;
}

static affect_status work_start(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    const api_job_change change = {.instance = w->context};
    AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_START, &change, &w->events, err));
    return api_job_type_of(w->row.type)->has_runs ? api_job_runs_begin(w, db, err)
                                                  : AFFECT_STATUS_OK;
}

/* A worker could not be started: the job fails, is held when the disk is full, or waits when an
 * earlier worker still holds its folder. */
static affect_status work_not_started(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
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
    const api_job_change change = {.reason = affect_job_reason(why->status), .error = error};
    affect_status status = api_job_row_act(
        &w->row, db, why->status == AFFECT_STATUS_NO_SPACE ? API_JOB_HOLD : API_JOB_FAIL, &change,
        &w->events, err);
    affect_json_free(error);
    return status;
}

typedef struct {
    const char *id;
    int64_t n;
} epoch_query;

static affect_status read_newest_epoch(api_db *db, void *context, affect_error *err) {
    epoch_query *q = context;
    return api_store_epoch_newest(&q->n, db, q->id, err);
}

/* One that resumes also learns which of its epochs are stored: others may have been lost in a pipe.
 */
static affect_status write_spec(const char *path, api_job_queue *queue, const api_job_row *row,
                                affect_error *err) {
    const api_job_type *type = api_job_type_of(row->type);
    epoch_query newest = {.id = row->id};
    affect_json *spec = NULL;
    if (type->pausable)
        AFFECT_TRY(api_store_read(queue->base.store, read_newest_epoch, &newest, err));
    AFFECT_TRY(affect_json_parse(&spec, row->spec, strlen(row->spec), err));
    if (type->pausable) affect_json_set_number(spec, "told_epochs", (double)newest.n);
    affect_status status =
        api_job_spec_resolve(spec, type, queue->base.data_dir, queue->import_root, err);
    if (status == AFFECT_STATUS_OK && type->has_runs)
        status = api_job_runs_describe(spec, &queue->base, row->id, err);
    char *text = status == AFFECT_STATUS_OK ? affect_json_text(spec) : NULL;
    affect_json_free(spec);
    if (status == AFFECT_STATUS_OK)
        status = text ? affect_file_write(path, text, strlen(text), err)
                      : affect_fail(err, NO_MEMORY, "no memory for a specification");
    free(text);
    return status;
}

static affect_status start_worker(api_job_queue *queue, const api_job_row *row, affect_error *err) {
    char folder[AFFECT_PATH_MAX], spec[AFFECT_PATH_MAX];
    AFFECT_TRY(api_job_base_folder(folder, &queue->base, row->id, err));
    AFFECT_TRY(affect_directory_make(folder, err));
    AFFECT_TRY(affect_path_join(spec, err, folder, "spec.json"));
    AFFECT_TRY(write_spec(spec, queue, row, err));
    return api_workers_start(queue->workers, row->id, row->type, folder, err);
}

static void add_active(api_job_queue *queue, int n) {
    pthread_mutex_lock(&queue->lock);
    queue->n_active += n;
    pthread_mutex_unlock(&queue->lock);
}

/* A cancel or pause that came between the row's change and the worker's start found no worker to
 * stop. */
static void stop_if_asked(api_job_queue *queue, const char *id) {
    api_job_row row = {0};
    if (api_job_read(&row, &queue->base, id, NULL) == AFFECT_STATUS_OK && is_stopping(row.state))
        api_workers_stop(queue->workers, id);
    api_job_row_free(&row);
}

/* Under the lock: a second, or until something changes. */
static void sleep_scheduler(api_job_queue *queue) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
}

/* On a full disk this takes as long as the disk is full: without it the job would say "preparing"
 * until the next start. A server that stops leaves that to its next start. */
static void store_not_started(api_job_queue *queue, const char *id, affect_error *why) {
    api_job_write w = {.base = &queue->base,
                       .id = id,
                       .work = work_not_started,
                       .context = why,
                       .uses_reserve = true};
    bool stored = false, stopping = false;
    while (!stored && !stopping) {
        affect_status status = api_job_write_run(&w, NULL);
        stored = !api_job_write_may_pass(status);
        if (status == AFFECT_STATUS_OK) api_job_clean(&queue->base, &w.row);
        pthread_mutex_lock(&queue->lock);
        if (!stored && !queue->stopping) sleep_scheduler(queue);
        stopping = queue->stopping;
        pthread_mutex_unlock(&queue->lock);
    }
    api_job_row_free(&w.row);
}

/* Starts the job's worker; where that fails the job ends so. */
static bool start_or_end(api_job_queue *queue, const api_job_row *row) {
    affect_error why = {0};
    add_active(queue, 1);
    bool started = start_worker(queue, row, &why) == AFFECT_STATUS_OK;
    if (started) {
        stop_if_asked(queue, row->id);
    } else {
        add_active(queue, -1);
        store_not_started(queue, row->id, &why);
    }
    return started;
}

/* The runs of a job have ended. */
static affect_status start_report(void *context, const char *id, affect_error *err) {
    api_job_queue *queue = context;
    api_job_row row = {0};
    if (!is_free(queue, id)) return AFFECT_STATUS_OK; /* an earlier report's: in the next round */
    AFFECT_TRY(api_job_read(&row, &queue->base, id, err));
    start_or_end(queue, &row);
    api_job_row_free(&row);
    return AFFECT_STATUS_OK;
}

/* Starts the oldest queued job that can; false when there is none or it could not be. */
static bool start_next(api_job_queue *queue) {
    char id[API_ID_SIZE];
    api_job_write w = {
        .base = &queue->base, .id = id, .work = work_start, .context = queue->instance};
    bool taken = false;
    affect_status status = choose(id, queue, NULL);
    if (status == AFFECT_STATUS_OK && !id[0]) return false;
    if (status == AFFECT_STATUS_OK) status = api_job_runs_take_over(&taken, &queue->base, id, NULL);
    if (taken) return true;
    if (status == AFFECT_STATUS_OK) status = api_job_write_run(&w, NULL);
    if (status == AFFECT_STATUS_CONFLICT) return true; /* cancelled meanwhile: look again */
    bool found = status == AFFECT_STATUS_OK;
    bool started = found && (api_job_type_of(w.row.type)->has_runs || start_or_end(queue, &w.row));
    api_job_row_free(&w.row);
    if (!started && (found || status != AFFECT_STATUS_OK)) {
        pthread_mutex_lock(&queue->lock);
        queue->not_before = affect_clock_seconds() + 1;
        pthread_mutex_unlock(&queue->lock);
    }
    return found;
}

/* Without the lock. What one round does not remove is removed in the next second. */
static void retain(api_job_queue *queue) {
    double now = affect_clock_seconds();
    if (now < queue->retain_at) return;
    int64_t n = 0;
    api_job_retain(&queue->base, &queue->retention, &n, NULL);
    queue->retain_at = now + (n ? 1 : RETAIN_SECONDS);
}

static void *schedule_thread(void *context) {
    api_job_queue *queue = context;
    pthread_mutex_lock(&queue->lock);
    while (!queue->stopping) {
        if (atomic_load(&queue->n_blocked) > 0) queue->wake = true; /* each second */
        bool may = queue->wake && affect_clock_seconds() >= queue->not_before;
        if (!may) {
            sleep_scheduler(queue);
            pthread_mutex_unlock(&queue->lock);
            retain(queue);
            pthread_mutex_lock(&queue->lock);
            continue;
        }
        queue->wake = false;
        pthread_mutex_unlock(&queue->lock);
        api_job_runs_advance(&queue->base, queue->workers, start_report, queue, NULL);
        bool found = start_next(queue);
        pthread_mutex_lock(&queue->lock);
        if (found || affect_clock_seconds() < queue->not_before) queue->wake = true;
    }
    pthread_mutex_unlock(&queue->lock);
    api_workers_drain(queue->workers); /* here: workers die with the thread that started them */
    return NULL;
}

/* ---- Start and stop ---- */

static affect_status work_adopt(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    if (w->row.state != API_JOB_INTERRUPTED) {
        bool asked = is_stopping(w->row.state);
        const api_job_change change = {.reason = asked ? "user" : "worker_lost",
                                       .counts_restart = !asked};
        AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_LOSE, &change, &w->events, err));
    }
    return w->row.state == API_JOB_INTERRUPTED ? api_job_write_requeue(w, db, err)
                                               : AFFECT_STATUS_OK;
}

static affect_status read_left(api_db *db, void *context, affect_error *err) {
    return api_store_jobs_left(context, db, err);
}

/* Rows whose worker belonged to a server that is no more. */
static affect_status adopt_left(api_job_queue *queue, affect_error *err) {
    api_id_list list = {0};
    affect_status status = api_store_read(queue->base.store, read_left, &list, err);
    for (size_t i = 0; i < list.n && status == AFFECT_STATUS_OK; i++) {
        api_job_write w = {.base = &queue->base, .id = list.ids[i], .work = work_adopt};
        status = api_job_write_run(&w, err);
        api_job_row_free(&w.row);
    }
    free(list.ids);
    return status;
}

static affect_status start(api_job_queue *queue, const api_worker_options *worker,
                           affect_error *err) {
    queue->progress = api_job_progress_create(&queue->base);
    if (!queue->progress) return affect_fail(err, NO_MEMORY, "no memory for the queue");
    AFFECT_TRY(adopt_left(queue, err));
    AFFECT_TRY(api_leftovers_remove(queue->base.store, queue->base.data_dir, err));
    const api_worker_callbacks callbacks = {
        .context = queue, .events = on_events, .exited = on_exited};
    AFFECT_TRY(api_workers_create(&queue->workers, worker, &callbacks, err));
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
    made->base = (api_job_base){.store = store,
                                .feed = feed,
                                .registry = registry,
                                .max_queued = options->max_queued,
                                .max_restarts = options->max_restarts};
    snprintf(made->base.data_dir, sizeof made->base.data_dir, "%s", options->data_dir);
    snprintf(made->import_root, sizeof made->import_root, "%s", options->import_root);
    made->n_slots = options->n_slots;
    made->retention = (api_job_retention){.n_kept = options->n_kept, .days = options->kept_days};
    made->wake = true;
    affect_ulid_make(made->instance);
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    affect_status status = start(made, &options->worker, err);
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

int api_job_queue_n_blocked(const api_job_queue *queue) {
    return atomic_load(&queue->n_blocked);
}

void api_job_queue_free(api_job_queue *queue) {
    if (!queue) return;
    api_workers_free(queue->workers);
    api_job_progress_free(queue->progress);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static affect_status count_queued(api_db *db, void *context, affect_error *err) {
    return api_store_job_count(context, db, API_JOB_QUEUED, err);
}

void api_job_queue_count(api_job_queue *queue, int *n_queued, int *n_active, int *n_slots) {
    int64_t n = 0;
    api_store_read(queue->base.store, count_queued, &n, NULL);
    *n_queued = (int)n;
    pthread_mutex_lock(&queue->lock);
    *n_active = queue->n_active;
    *n_slots = queue->n_slots;
    pthread_mutex_unlock(&queue->lock);
}
