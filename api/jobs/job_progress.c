/* What workers say; see job_progress.h. */
#include "api/jobs/job_progress.h"

#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_SECONDS     0.5 /* between changes of a job's progress, and its first events */
#define MAX_PROGRESS_SECONDS 15  /* between progress events */

/* What is remembered of a running job. */
typedef struct running {
    char job_id[API_ID_SIZE];
    double epoch, epochs, epoch_seconds;
    double began_at, changed_at, told_at; /* changed: the row; told: an event */
    struct running *next;
} running;

struct api_job_progress {
    const api_job_base *base;
    running *running;
};

static running *find_running(api_job_progress *progress, const char *job_id) {
    for (running *r = progress->running; r; r = r->next)
        if (strcmp(r->job_id, job_id) == 0) return r;
    running *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    snprintf(made->job_id, sizeof made->job_id, "%s", job_id);
    made->began_at = affect_clock_seconds();
    made->next = progress->running;
    progress->running = made;
    return made;
}

static void set_number_or_null(affect_json *json, const char *name, double number) {
    affect_json_set(json, name,
                    number >= 0 ? affect_json_new_number(number) : affect_json_new_null());
}

/* The whole job's progress, given the share of the epoch that runs (or of a job without epochs). */
static affect_status store_progress(api_job_write *w, api_db *db, const running *r, double fraction,
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

static affect_status take_epoch(api_job_write *w, api_db *db, running *r, affect_json *line,
                                affect_error *err) {
    r->epoch = affect_json_get_number(line, "epoch", r->epoch);
    r->epochs = affect_json_get_number(line, "epochs", r->epochs);
    r->epoch_seconds = affect_json_get_number(line, "seconds", r->epoch_seconds);
    AFFECT_TRY(api_job_row_epoch(&w->row, db, line, &w->events, err));
    return store_progress(w, db, r, 0, -1, err);
}

double api_job_progress_interval(double seconds) {
    double interval = seconds / 20;
    return interval < PROGRESS_SECONDS       ? PROGRESS_SECONDS
           : interval > MAX_PROGRESS_SECONDS ? MAX_PROGRESS_SECONDS
                                             : interval;
}

/* The row's progress changes at most twice a second, and when it is complete; events are kept, so
 * they become rarer. */
static affect_status take_progress(api_job_write *w, api_db *db, running *r,
                                   const affect_json *line, affect_error *err) {
    double fraction = affect_json_get_number(line, "fraction", 0);
    double now = affect_clock_seconds();
    bool of_epoch = strcmp(affect_json_get_string(line, "what", ""), "epoch") == 0;
    bool complete = !of_epoch && fraction >= 1;
    if (now - r->changed_at < PROGRESS_SECONDS && !complete) return AFFECT_STATUS_OK;
    r->changed_at = now;
    if (complete || now - r->told_at >= api_job_progress_interval(now - r->began_at)) {
        r->told_at = now;
        AFFECT_TRY(api_job_row_event(&w->row, db, "progress", line, &w->events, err));
    }
    if (of_epoch && r->epochs <= 0) return AFFECT_STATUS_OK;
    return store_progress(w, db, r, fraction, affect_json_get_number(line, "eta_seconds", -1), err);
}

static affect_status take_state(api_job_write *w, api_db *db, running *r, const affect_json *line,
                                affect_error *err) {
    (void)r;
    if (strcmp(affect_json_get_string(line, "state", ""), "running") != 0) return AFFECT_STATUS_OK;
    return api_job_row_act(&w->row, db, API_JOB_RUN, NULL, &w->events, err);
}

static affect_status take_checkpoint(api_job_write *w, api_db *db, const affect_json *line,
                                     affect_error *err) {
    if (strcmp(affect_json_get_string(line, "kind", ""), "best") == 0) {
        int64_t epoch = (int64_t)affect_json_get_number(line, "epoch", 0);
        AFFECT_TRY(api_job_row_best(&w->row, db, epoch, err));
    }
    return api_job_row_event(&w->row, db, "checkpoint", line, &w->events, err);
}

static affect_status take_unknown(api_job_write *w, api_db *db, const char *kind,
                                  affect_error *err) {
    char text[120];
    snprintf(text, sizeof text, "the worker told an event of unknown kind \"%.40s\"", kind);
    affect_json *warning = affect_json_new_object();
    affect_json_set_string(warning, "message", text);
    affect_status status = api_job_row_event(&w->row, db, "warning", warning, &w->events, err);
    affect_json_free(warning);
    return status;
}

static affect_status take_line(api_job_write *w, api_db *db, running *r, affect_json *line,
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
    api_job_write *w = context;
    batch *b = w->context;
    b->after = b->before;
    for (size_t i = 0; i < b->n; i++) AFFECT_TRY(take_line(w, db, &b->after, b->lines[i], err));
    return AFFECT_STATUS_OK;
}

affect_status api_job_progress_take(api_job_progress *progress, const char *job_id,
                                    affect_json *const *lines, size_t n, affect_error *err) {
    running *r = find_running(progress, job_id);
    if (!r) return affect_fail(err, NO_MEMORY, "no memory for a job");
    batch b = {.lines = lines, .n = n, .before = *r};
    api_job_write w = {.base = progress->base, .id = job_id, .work = work_lines, .context = &b};
    affect_status status = api_job_write_run(&w, err);
    api_job_row_free(&w.row);
    if (status == AFFECT_STATUS_OK) {
        b.after.next = r->next;
        *r = b.after;
    }
    return status;
}

void api_job_progress_forget(api_job_progress *progress, const char *job_id) {
    for (running **at = &progress->running; *at; at = &(*at)->next) {
        if (strcmp((*at)->job_id, job_id) != 0) continue;
        running *gone = *at;
        *at = gone->next;
        free(gone);
        return;
    }
}

api_job_progress *api_job_progress_create(const api_job_base *base) {
    api_job_progress *progress = calloc(1, sizeof *progress);
    if (progress) progress->base = base;
    return progress;
}

void api_job_progress_free(api_job_progress *progress) {
    if (!progress) return;
    while (progress->running) {
        running *gone = progress->running;
        progress->running = gone->next;
        free(gone);
    }
    free(progress);
}
