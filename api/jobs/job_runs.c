/* Jobs with runs: a reconciler.
 *
 * Nothing is remembered between calls: what a job's runs should do next follows from the stored
 * states alone, so a server that was killed anywhere resumes by the same code. States of runs are
 * changed one by one, each in a transaction of its own; a job that is pausing or cancelling reaches
 * its end when the last of them has.
 *
 *   job running     all runs ended: the report; none can go on and some are paused: paused too
 *   job pausing     active runs pause; none active: paused
 *   job cancelling  all runs cancel; all ended: cancelled
 *   job ended       what is left of its runs cancels (it was cancelled before it started)
 *
 * The time budget counts from the first start of the job. Runs that were never started when it is
 * spent are cancelled with the reason "time_budget". */
#include "api/jobs/job_runs.h"

#include "api/jobs/early_termination.h"
#include "api/jobs/job_type.h"
#include "api/log.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH_SIZE = 200 }; /* runs that are changed in a transaction */

typedef struct {
    const api_job_base *base;
    api_workers *workers;
    const char *id; /* of the job with runs */
    api_job_row row;
    int64_t n[API_JOB_STATE_COUNT], n_total, n_active, n_ended, started_ms;
    bool moved; /* a state was changed: look at it again */
} family;

static affect_status read_family(api_db *db, void *context, affect_error *err) {
    family *f = context;
    api_job_row_free(&f->row);
    AFFECT_TRY(api_job_row_load(&f->row, db, f->id, err));
    AFFECT_TRY(api_store_job_started(&f->started_ms, db, f->id, err));
    AFFECT_TRY(api_store_runs_count(f->n, &f->n_total, db, f->id, err));
    f->n_active = f->n_ended = 0;
    for (int s = 0; s < API_JOB_STATE_COUNT; s++) {
        if (api_job_state_active(s)) f->n_active += f->n[s];
        if (api_job_state_terminal(s)) f->n_ended += f->n[s];
    }
    return AFFECT_STATUS_OK;
}

/* ---- Changes of runs ---- */

typedef struct {
    api_job_action action;
    api_job_state from;
    const char *reason;
} step;

static affect_status work_step(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    const step *s = w->context;
    const api_job_change change = {.reason = s->reason};
    if (w->row.state != s->from) return AFFECT_STATUS_OK; /* it moved meanwhile: the next round */
    return api_job_row_act(&w->row, db, s->action, &change, &w->events, err);
}

/* One job or run: the action, and its worker is told to stop where that follows. */
static affect_status act(family *f, const char *id, step s, affect_error *err) {
    api_job_write w = {
        .base = f->base, .id = id, .work = work_step, .context = &s, .uses_reserve = true};
    affect_status status = api_job_write_run(&w, err);
    if (status == AFFECT_STATUS_OK) {
        f->moved = f->moved || w.row.state != s.from;
        if (w.row.state == API_JOB_CANCELLING || w.row.state == API_JOB_PAUSING)
            api_workers_stop(f->workers, id);
        api_job_clean(f->base, &w.row);
    }
    api_job_row_free(&w.row);
    return status == AFFECT_STATUS_NOT_FOUND ? AFFECT_STATUS_OK : status;
}

typedef struct {
    const char *parent;
    api_job_state state;
    api_id_list list;
} runs_query;

static affect_status read_runs(api_db *db, void *context, affect_error *err) {
    runs_query *q = context;
    return api_store_runs_in(&q->list, db, q->parent, q->state, err);
}

static affect_status act_on_runs(family *f, step s, affect_error *err) {
    if (f->n[s.from] == 0) return AFFECT_STATUS_OK;
    runs_query q = {.parent = f->id, .state = s.from};
    affect_status status = api_store_read(f->base->store, read_runs, &q, err);
    for (size_t i = 0; i < q.list.n && status == AFFECT_STATUS_OK; i++)
        status = act(f, q.list.ids[i], s, err);
    free(q.list.ids);
    return status;
}

typedef struct {
    const char (*ids)[API_ID_SIZE];
    size_t n;
    step step;
} batch;

static affect_status work_cancel_batch(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    const batch *b = w->context;
    const api_job_change change = {.reason = b->step.reason};
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < b->n && status == AFFECT_STATUS_OK; i++) {
        api_job_row run = {0};
        status = api_job_row_load(&run, db, b->ids[i], err);
        if (status == AFFECT_STATUS_OK && run.state == b->step.from)
            status = api_job_row_act(&run, db, b->step.action, &change, &w->events, err);
        api_job_row_free(&run);
    }
    return status;
}

/* Runs that have no worker, many in a transaction: a sweep may have thousands that wait. */
static affect_status cancel_waiting(family *f, api_job_state from, const char *reason,
                                    affect_error *err) {
    if (f->n[from] == 0) return AFFECT_STATUS_OK;
    runs_query q = {.parent = f->id, .state = from};
    affect_status status = api_store_read(f->base->store, read_runs, &q, err);
    for (size_t i = 0; i < q.list.n && status == AFFECT_STATUS_OK; i += BATCH_SIZE) {
        size_t n = q.list.n - i < BATCH_SIZE ? q.list.n - i : BATCH_SIZE;
        batch b = {(const char(*)[API_ID_SIZE])q.list.ids + i, n, {API_JOB_CANCEL, from, reason}};
        api_job_write w = {
            .base = f->base, .work = work_cancel_batch, .context = &b, .uses_reserve = true};
        status = api_job_write_run(&w, err);
        f->moved = true;
    }
    free(q.list.ids);
    return status;
}

static affect_status cancel_runs(family *f, affect_error *err) {
    static const api_job_state waiting[] = {API_JOB_QUEUED, API_JOB_PAUSED, API_JOB_INTERRUPTED};
    static const api_job_state working[] = {API_JOB_PREPARING, API_JOB_RUNNING, API_JOB_PAUSING};
    for (size_t i = 0; i < 3; i++) AFFECT_TRY(cancel_waiting(f, waiting[i], "user", err));
    for (size_t i = 0; i < 3; i++)
        AFFECT_TRY(act_on_runs(f, (step){API_JOB_CANCEL, working[i], "user"}, err));
    return AFFECT_STATUS_OK;
}

static affect_status pause_runs(family *f, affect_error *err) {
    AFFECT_TRY(act_on_runs(f, (step){API_JOB_PAUSE, API_JOB_PREPARING, "user"}, err));
    return act_on_runs(f, (step){API_JOB_PAUSE, API_JOB_RUNNING, "user"}, err);
}

/* ---- What follows ---- */

static bool is_out_of_time(const family *f) {
    affect_json *spec = NULL;
    if (affect_json_parse(&spec, f->row.spec, strlen(f->row.spec), NULL) != AFFECT_STATUS_OK)
        return false;
    double budget = affect_json_get_number(spec, "time_budget_seconds", 0);
    affect_json_free(spec);
    return budget > 0 && f->started_ms > 0 &&
           (double)(affect_clock_unix_ms() - f->started_ms) > 1e3 * budget;
}

static affect_status advance_running(family *f, bool reporting, api_job_runs_report *report,
                                     void *context, affect_error *err) {
    if (f->n_ended == f->n_total) return reporting ? AFFECT_STATUS_OK : report(context, f->id, err);
    if (f->n[API_JOB_QUEUED] > 0 && is_out_of_time(f))
        return cancel_waiting(f, API_JOB_QUEUED, "time_budget", err);
    bool idle = f->n_active == 0 && f->n[API_JOB_QUEUED] == 0 && f->n[API_JOB_INTERRUPTED] == 0;
    if (f->n[API_JOB_PAUSED] > 0)
        AFFECT_TRY(api_early_termination_decide(&f->moved, f->base, &f->row, idle, err));
    bool stuck = idle && !f->moved;
    return stuck ? act(f, f->id, (step){API_JOB_HOLD, API_JOB_RUNNING, "runs_paused"}, err)
                 : AFFECT_STATUS_OK;
}

static affect_status advance(family *f, api_job_runs_report *report, void *context,
                             affect_error *err) {
    bool reporting =
        api_workers_has(f->workers, f->id); /* before the row: an exit is stored first */
    AFFECT_TRY(api_store_read(f->base->store, read_family, f, err));
    switch (f->row.state) {
    case API_JOB_RUNNING:
        return advance_running(f, reporting, report, context, err);
    case API_JOB_PAUSING:
        if (f->n_active > 0) return pause_runs(f, err);
        return reporting ? AFFECT_STATUS_OK
                         : act(f, f->id, (step){API_JOB_STOP, API_JOB_PAUSING, "user"}, err);
    case API_JOB_CANCELLING:
        if (f->n_ended < f->n_total) return cancel_runs(f, err);
        return reporting ? AFFECT_STATUS_OK
                         : act(f, f->id, (step){API_JOB_STOP, API_JOB_CANCELLING, "user"}, err);
    case API_JOB_INTERRUPTED: /* its report's worker ended with the server before this one */
        return act(f, f->id, (step){API_JOB_REQUEUE, API_JOB_INTERRUPTED, NULL}, err);
    default:
        return api_job_state_terminal(f->row.state) && f->n_ended < f->n_total ? cancel_runs(f, err)
                                                                               : AFFECT_STATUS_OK;
    }
}

static affect_status read_jobs(api_db *db, void *context, affect_error *err) {
    return api_store_jobs_with_runs(context, db, err);
}

affect_status api_job_runs_advance(const api_job_base *base, api_workers *workers,
                                   api_job_runs_report *report, void *context, affect_error *err) {
    api_id_list list = {0};
    affect_status status = api_store_read(base->store, read_jobs, &list, err);
    for (size_t i = 0; i < list.n && status == AFFECT_STATUS_OK; i++) {
        family f = {.base = base, .workers = workers, .id = list.ids[i]};
        do {
            f.moved = false;
            status = advance(&f, report, context, err);
        } while (status == AFFECT_STATUS_OK && f.moved);
        if (status == AFFECT_STATUS_NOT_FOUND) status = AFFECT_STATUS_OK; /* it was deleted */
        api_job_row_free(&f.row);
    }
    free(list.ids);
    return status;
}

affect_status api_job_runs_begin(api_job_write *w, api_db *db, affect_error *err) {
    api_id_list list = {0};
    AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_RUN, NULL, &w->events, err));
    affect_status status = api_store_runs_in(&list, db, w->row.id, API_JOB_PAUSED, err);
    for (size_t i = 0; i < list.n && status == AFFECT_STATUS_OK; i++) {
        api_job_row run = {0};
        status = api_job_row_load(&run, db, list.ids[i], err);
        if (status == AFFECT_STATUS_OK && strcmp(run.reason, "rung") != 0)
            status = api_job_row_act(&run, db, API_JOB_RESUME, NULL, &w->events, err);
        api_job_row_free(&run);
    }
    free(list.ids);
    return status;
}

/* ---- Results of earlier runs ---- */

typedef struct {
    const char *id;
    char from[API_ID_SIZE];
    affect_json *body; /* of `from` */
} earlier;

static affect_status read_earlier(api_db *db, void *context, affect_error *err) {
    earlier *e = context;
    AFFECT_TRY(api_store_run_find(e->from, db, e->id, err));
    return e->from[0] ? api_store_job_get(&e->body, db, e->from, err) : AFFECT_STATUS_OK;
}

static affect_status work_take_over(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    const earlier *e = w->context;
    if (w->row.state != API_JOB_QUEUED) return AFFECT_STATUS_OK;
    const api_job_change change = {.reason = "reused",
                                   .result = affect_json_get(e->body, "result")};
    AFFECT_TRY(api_job_row_act(&w->row, db, API_JOB_START, NULL, &w->events, err));
    AFFECT_TRY(api_store_epochs_copy(db, w->row.id, e->from, err));
    return api_job_row_act(&w->row, db, API_JOB_SUCCEED, &change, &w->events, err);
}

static affect_status link_file(void *context, const char *folder, const char *name,
                               affect_error *err) {
    char from[AFFECT_PATH_MAX], to[AFFECT_PATH_MAX];
    if (strcmp(name, "lock") == 0 || strcmp(name, "spec.json") == 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(from, err, folder, "%s", name));
    AFFECT_TRY(affect_path_join(to, err, context, "%s", name));
    unlink(to); /* of an attempt that was interrupted */
    return link(from, to) == 0 ? AFFECT_STATUS_OK
                               : affect_error_errno(err, errno, "linking %s", name);
}

affect_status api_job_runs_take_over(bool *taken, const api_job_base *base, const char *id,
                                     affect_error *err) {
    char from[AFFECT_PATH_MAX], to[AFFECT_PATH_MAX];
    earlier e = {.id = id};
    *taken = false;
    affect_status status = api_store_read(base->store, read_earlier, &e, err);
    if (status != AFFECT_STATUS_OK || !e.from[0]) return status;
    status = api_job_base_folder(from, base, e.from, err);
    if (status == AFFECT_STATUS_OK) status = api_job_base_folder(to, base, id, err);
    if (status == AFFECT_STATUS_OK) status = affect_directory_make(to, err);
    if (status == AFFECT_STATUS_OK) status = affect_directory_each(from, link_file, to, NULL);
    /* Without its files, or from another disk: the run is done again. */
    bool whole = status == AFFECT_STATUS_OK && affect_file_exists(from);
    status = AFFECT_STATUS_OK;
    if (whole) {
        api_job_write w = {.base = base, .id = id, .work = work_take_over, .context = &e};
        status = api_job_write_run(&w, err);
        *taken = status == AFFECT_STATUS_OK;
        api_job_row_free(&w.row);
    }
    affect_json_free(e.body);
    return status;
}

/* ---- What a report is made of ---- */

typedef struct {
    const char *id;
    affect_json *page;
} page_query;

static affect_status read_page(api_db *db, void *context, affect_error *err) {
    page_query *q = context;
    const api_job_page page = {.after = "", .parent = q->id, .limit = INT_MAX - 1};
    return api_store_job_list(&q->page, db, &page, err);
}

/* Of a run's result, what a report is made of: the rest is most of its bytes. */
static affect_json *shorten(const affect_json *result) {
    static const char *const names[] = {"test", "metrics", "selection", "baselines"};
    affect_json *made = affect_json_new_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const affect_json *member = affect_json_get(result, names[i]);
        if (member) affect_json_set(made, names[i], affect_json_copy(member));
    }
    return made;
}

affect_status api_job_runs_describe(affect_json *spec, const api_job_base *base, const char *id,
                                    affect_error *err) {
    char data[PATH_MAX], path[AFFECT_PATH_MAX];
    page_query q = {.id = id};
    if (!realpath(base->data_dir, data)) return affect_error_errno(err, errno, "the data folder");
    affect_status status = api_store_read(base->store, read_page, &q, err);
    affect_json *runs = affect_json_set_array(spec, "runs");
    for (affect_json *body = affect_json_first(affect_json_get(q.page, "data"));
         body && status == AFFECT_STATUS_OK; body = affect_json_next(body)) {
        affect_json *run = affect_json_append(runs, affect_json_detach(body, "run"));
        const char *job = affect_json_get_string(body, "id", "");
        affect_json_set_string(run, "job", job);
        affect_json_set(run, "state", affect_json_detach(body, "state"));
        affect_json_set(run, "reason", affect_json_detach(body, "state_reason"));
        affect_json_set(run, "result", shorten(affect_json_get(body, "result")));
        status = affect_path_join(path, err, data, "jobs/%s", job);
        if (status == AFFECT_STATUS_OK) affect_json_set_string(run, "folder", path);
    }
    affect_json_free(q.page);
    return status;
}
