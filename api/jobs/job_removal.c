/* Removal of jobs; see job_removal.h.
 *
 * Runs on handlers' threads and on the scheduler's, each job in a transaction of its own. */
#include "api/jobs/job_removal.h"

#include "api/store/folder_deletion.h"
#include "engine/core/clock.h"

#include <stdlib.h>

enum { MAX_REMOVED = 32 }; /* at once: the scheduler has other things to do */

typedef struct {
    const char *id;
    int64_t n[API_JOB_STATE_COUNT], n_runs;
    api_id_list runs;
} removal;

/* The job and all of its runs have ended; a run goes with its job alone. */
static affect_status check_ended(const api_job_row *row, api_db *db, removal *r,
                                 affect_error *err) {
    if (row->parent[0])
        return affect_fail(err, CONFLICT, "it is a run of job %s and is deleted with it",
                           row->parent);
    if (!api_job_state_terminal(row->state))
        return affect_fail(err, CONFLICT, "the job is %s", api_job_state_name(row->state));
    AFFECT_TRY(api_store_runs_count(r->n, &r->n_runs, db, row->id, err));
    for (int s = 0; s < API_JOB_STATE_COUNT; s++)
        if (r->n[s] && !api_job_state_terminal(s))
            return affect_fail(err, CONFLICT, "%lld of its runs are %s", (long long)r->n[s],
                               api_job_state_name(s));
    return AFFECT_STATUS_OK;
}

static affect_status read_removal(api_db *db, void *context, affect_error *err) {
    removal *r = context;
    api_job_row row = {0};
    affect_status status = api_job_row_load(&row, db, r->id, err);
    if (status == AFFECT_STATUS_OK) status = check_ended(&row, db, r, err);
    api_job_row_free(&row);
    return status == AFFECT_STATUS_OK ? api_store_runs_of(&r->runs, db, r->id, err) : status;
}

static affect_status work_remove(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    AFFECT_TRY(check_ended(&w->row, db, w->context, err));
    return api_store_job_delete(db, w->row.id, err);
}

/* A job that has ended never begins again: folders can go aside before the rows do. */
affect_status api_job_remove(const api_job_base *base, const char *id, api_job_state *state,
                             affect_error *err) {
    removal r = {.id = id};
    api_job_row row = {0};
    AFFECT_TRY(api_job_read(&row, base, id, err));
    *state = row.state;
    api_job_row_free(&row);
    affect_status status = api_store_read(base->store, read_removal, &r, err);
    size_t n = 0;
    api_folder_deletion *folders = calloc(r.runs.n + 1, sizeof *folders);
    if (status == AFFECT_STATUS_OK && !folders) status = affect_fail(err, NO_MEMORY, "no memory");
    for (; status == AFFECT_STATUS_OK && n <= r.runs.n; n++) {
        status = api_folder_deletion_begin(&folders[n], base->data_dir, "jobs",
                                           n < r.runs.n ? r.runs.ids[n] : id, err);
        if (status != AFFECT_STATUS_OK) break;
    }
    if (status == AFFECT_STATUS_OK) {
        api_job_write w = {
            .base = base, .id = id, .work = work_remove, .context = &r, .uses_reserve = true};
        status = api_job_write_run(&w, err);
        api_job_row_free(&w.row);
    }
    for (size_t i = 0; i < n; i++) api_folder_deletion_end(&folders[i], status == AFFECT_STATUS_OK);
    free(folders);
    free(r.runs.ids);
    return status;
}

/* ---- Retention ---- */

typedef struct {
    const api_job_retention *retention;
    api_id_list list;
} expired;

static affect_status read_expired(api_db *db, void *context, affect_error *err) {
    expired *e = context;
    double days = e->retention->days;
    int64_t before = days > 0 ? affect_clock_unix_ms() - (int64_t)(days * 86400e3) : 0;
    return api_store_jobs_expired(&e->list, db, before, e->retention->n_kept, MAX_REMOVED, err);
}

affect_status api_job_retain(const api_job_base *base, const api_job_retention *retention,
                             int64_t *n, affect_error *err) {
    expired e = {.retention = retention};
    *n = 0;
    if (retention->n_kept <= 0 && retention->days <= 0) return AFFECT_STATUS_OK;
    affect_status status = api_store_read(base->store, read_expired, &e, err);
    for (size_t i = 0; i < e.list.n && status == AFFECT_STATUS_OK; i++) {
        api_job_state state;
        status = api_job_remove(base, e.list.ids[i], &state, err);
        if (status == AFFECT_STATUS_OK) ++*n;
        if (status == AFFECT_STATUS_NOT_FOUND)
            status = AFFECT_STATUS_OK; /* by a client, meanwhile */
    }
    free(e.list.ids);
    return status;
}
