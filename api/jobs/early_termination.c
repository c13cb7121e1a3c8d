/* Early termination: reads how far each point of a job has come, asks ASHA, and writes what
 * follows.
 *
 * Everything is read from the store each time: runs with their epochs, and the epoch at which each
 * is to pause, which tells the rungs that it has passed. So a decision is made once, whenever the
 * server is killed: after its transaction the runs have passed the rung. Called by the scheduler
 * alone. */
#include "api/jobs/early_termination.h"

#include "engine/sweep/sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char id[API_ID_SIZE];
    size_t point;
    bool waits;
} waiting_run;

typedef struct {
    const api_job_row *job;
    const char *metric;
    bool minimize, is_asha, any_complete;
    affect_asha_config config;
    int64_t rungs[AFFECT_ASHA_MAX_RUNGS];
    size_t n_rungs, n_points, n_runs;
    affect_asha_point *points;   /* (n_points) owned */
    waiting_run *runs;           /* (n_runs) owned */
    int64_t n_paused, n_waiting; /* runs; those of them that wait at a rung */
} progress;

static affect_status read_config(progress *p, affect_json *spec, affect_error *err) {
    const affect_json *early = affect_json_get(spec, "early_terminate");
    p->is_asha = affect_json_is_object(early);
    if (!p->is_asha) return AFFECT_STATUS_OK;
    affect_fields_default(&p->config, affect_asha_fields);
    AFFECT_TRY(affect_fields_parse(&p->config, affect_asha_fields, early, "", err));
    p->n_rungs = affect_asha_rungs(p->rungs, &p->config);
    p->minimize = affect_json_get_bool(spec, "minimize", false);
    const char *metric = affect_json_get_string(spec, "metric", "");
    for (size_t i = 0; affect_sweep_metrics[i]; i++)
        if (strcmp(affect_sweep_metrics[i], metric) == 0) p->metric = affect_sweep_metrics[i];
    p->n_points = affect_json_size(affect_json_get(spec, "points"));
    p->points = calloc(p->n_points + 1, sizeof *p->points);
    return p->points && p->metric ? AFFECT_STATUS_OK
                                  : affect_fail(err, NO_MEMORY, "no memory for a decision");
}

/* A run's best metric of its epochs up to one; NAN without. */
static double best_until(const progress *p, const affect_json *epochs, int64_t until) {
    double best = NAN;
    for (const affect_json *e = affect_json_first(epochs); e; e = affect_json_next(e)) {
        double value = affect_json_get_number(e, p->metric, NAN);
        if (affect_json_get_number(e, "epoch", 0) > (double)until || isnan(value)) continue;
        if (isnan(best) || (p->minimize ? value < best : value > best)) best = value;
    }
    return best;
}

/* What the runs of a point have in common. */
typedef struct {
    size_t n_runs, n_waiting, n_succeeded;
    size_t n_passed;
    bool broken; /* a run failed or was cancelled: the point is out of the race */
} standing;

static size_t count_passed(const progress *p, int64_t pause_after, bool ended) {
    size_t n = 0;
    while (n < p->n_rungs && (ended || pause_after == 0 || pause_after > p->rungs[n])) n++;
    return n;
}

static affect_status add_run(progress *p, standing *points, api_db *db, const char *id,
                             affect_error *err) {
    api_job_row row = {0};
    affect_json *body = NULL, *spec = NULL, *epochs = affect_json_new_array();
    affect_status status = api_job_row_load(&row, db, id, err);
    if (status == AFFECT_STATUS_OK) status = api_store_job_get(&body, db, id, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_json_parse(&spec, row.spec, strlen(row.spec), err);
    if (status == AFFECT_STATUS_OK) status = api_store_epochs_read(epochs, db, id, err);
    size_t point = (size_t)affect_json_get_number(affect_json_get(body, "run"), "point", 0);
    if (status == AFFECT_STATUS_OK && point < p->n_points) {
        waiting_run *run = &p->runs[p->n_runs++];
        standing *s = &points[point];
        bool succeeded = row.state == API_JOB_SUCCEEDED;
        int64_t pause = (int64_t)affect_json_get_number(spec, "pause_after_epoch", 0);
        size_t n_passed = count_passed(p, pause, succeeded);
        snprintf(run->id, sizeof run->id, "%s", id);
        run->point = point;
        run->waits = row.state == API_JOB_PAUSED && strcmp(row.reason, "rung") == 0;
        p->n_paused += row.state == API_JOB_PAUSED;
        p->n_waiting += run->waits;
        if (s->n_runs == 0 || n_passed < s->n_passed) s->n_passed = n_passed;
        s->n_runs++;
        s->n_waiting += run->waits;
        s->n_succeeded += succeeded;
        s->broken = s->broken || (api_job_state_terminal(row.state) && !succeeded);
        for (size_t r = 0; r < p->n_rungs; r++)
            p->points[point].values[r] += best_until(p, epochs, p->rungs[r]);
    }
    affect_json_free(epochs);
    affect_json_free(spec);
    affect_json_free(body);
    api_job_row_free(&row);
    return status;
}

static affect_status read_progress(api_db *db, void *context, affect_error *err) {
    progress *p = context;
    api_id_list list = {0};
    AFFECT_TRY(api_store_runs_of(&list, db, p->job->id, err));
    p->runs = calloc(list.n + 1, sizeof *p->runs);
    standing *standings = calloc(p->n_points + 1, sizeof *standings);
    affect_status status =
        p->runs && standings ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for runs");
    for (size_t i = 0; i < list.n && status == AFFECT_STATUS_OK; i++)
        status = add_run(p, standings, db, list.ids[i], err);
    for (size_t i = 0; i < p->n_points && status == AFFECT_STATUS_OK; i++) {
        const standing *s = &standings[i];
        affect_asha_point *point = &p->points[i];
        for (size_t r = 0; r < p->n_rungs && s->n_runs; r++) point->values[r] /= (double)s->n_runs;
        p->any_complete = p->any_complete || (s->n_runs && s->n_succeeded == s->n_runs);
        if (s->broken) continue;
        point->n_passed = s->n_passed;
        point->waits = s->n_waiting > 0 && s->n_waiting + s->n_succeeded == s->n_runs;
    }
    free(standings);
    free(list.ids);
    return status;
}

/* ---- Carrying out ---- */

typedef struct {
    progress *progress;
    affect_asha_decision decision;
    bool stops; /* all that wait are cancelled */
} change;

static affect_status set_pause(api_db *db, const api_job_row *row, int64_t epoch,
                               affect_error *err) {
    affect_json *spec = NULL;
    AFFECT_TRY(affect_json_parse(&spec, row->spec, strlen(row->spec), err));
    affect_json_set_number(spec, "pause_after_epoch", (double)epoch);
    char *text = affect_json_text(spec);
    affect_json_free(spec);
    affect_status status = text ? api_store_job_set_spec(db, row->id, text, err)
                                : affect_fail(err, NO_MEMORY, "no memory for a specification");
    free(text);
    return status;
}

static affect_status change_run(api_job_write *w, api_db *db, const char *id, int64_t next,
                                bool stops, affect_error *err) {
    static const api_job_change stopped = {.reason = "early_terminated"};
    api_job_row row = {0};
    affect_status status = api_job_row_load(&row, db, id, err);
    if (status == AFFECT_STATUS_OK && row.state == API_JOB_PAUSED) {
        if (!stops) status = set_pause(db, &row, next, err);
        if (status == AFFECT_STATUS_OK)
            status = api_job_row_act(&row, db, stops ? API_JOB_CANCEL : API_JOB_RESUME,
                                     stops ? &stopped : NULL, &w->events, err);
    }
    api_job_row_free(&row);
    return status;
}

static affect_status append_decision(api_job_write *w, api_db *db, const change *c,
                                     affect_error *err) {
    const affect_asha_decision *d = &c->decision;
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "decision", c->stops ? "stop" : "promote");
    if (!c->stops) {
        affect_json_set_number(members, "rung", (double)c->progress->rungs[d->rung]);
        affect_json_set_number(members, "point", (double)d->point);
        affect_json_set_number(members, "rank", (double)d->rank);
        affect_json_set_number(members, "recorded", (double)d->n_recorded);
        affect_json_set_number(members, "value", d->value);
        affect_json_set_number(members, "threshold", d->threshold);
    }
    affect_status status = api_job_row_event(&w->row, db, "decision", members, &w->events, err);
    affect_json_free(members);
    return status;
}

static affect_status work_change(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    const change *c = w->context;
    const progress *p = c->progress;
    size_t next = c->decision.rung + 1;
    int64_t epoch = next < p->n_rungs ? p->rungs[next] : 0;
    if (w->row.state != API_JOB_RUNNING) return AFFECT_STATUS_OK;
    AFFECT_TRY(append_decision(w, db, c, err));
    for (size_t i = 0; i < p->n_runs; i++)
        if (p->runs[i].waits && (c->stops || p->runs[i].point == c->decision.point))
            AFFECT_TRY(change_run(w, db, p->runs[i].id, epoch, c->stops, err));
    return AFFECT_STATUS_OK;
}

affect_status api_early_termination_decide(bool *decided, const api_job_base *base,
                                           const api_job_row *job, bool idle, affect_error *err) {
    progress p = {.job = job};
    affect_json *spec = NULL;
    *decided = false;
    AFFECT_TRY(affect_json_parse(&spec, job->spec, strlen(job->spec), err));
    affect_status status = read_config(&p, spec, err);
    affect_json_free(spec);
    if (status == AFFECT_STATUS_OK && p.is_asha)
        status = api_store_read(base->store, read_progress, &p, err);
    bool last = idle && p.n_waiting == p.n_paused;
    if (status == AFFECT_STATUS_OK && p.n_waiting > 0) {
        change c = {.progress = &p};
        bool promotes = affect_asha_promote(&c.decision, p.points, p.n_points, &p.config,
                                            p.minimize, last && !p.any_complete);
        c.stops = !promotes && last;
        if (promotes || c.stops) {
            api_job_write w = {.base = base, .id = job->id, .work = work_change, .context = &c};
            status = api_job_write_run(&w, err);
            *decided = status == AFFECT_STATUS_OK;
            api_job_row_free(&w.row);
        }
    }
    free(p.points);
    free(p.runs);
    return status;
}
