/* Removal of jobs; see job_removal.h.
 *
 * Runs on handlers' threads and on the scheduler's, each job in a transaction of its own. */
#include "api/jobs/job_removal.h"

#include "api/store/folder_deletion.h"
#include "engine/core/clock.h"

#include <stdlib.h>

enum { MAX_REMOVED = 32 }; /* at once: the scheduler has other things to do */

static affect_status check_ended(const api_job_row *row, affect_error *err) {
    return api_job_state_terminal(row->state)
               ? AFFECT_STATUS_OK
               : affect_fail(err, CONFLICT, "the job is %s", api_job_state_name(row->state));
}

static affect_status work_remove(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    AFFECT_TRY(check_ended(&w->row, err));
    return api_store_job_delete(db, w->row.id, err);
}

/* A job that has ended never begins again: its folder can go aside before the rows do. */
affect_status api_job_remove(const api_job_base *base, const char *id, api_job_state *state,
                             affect_error *err) {
    api_folder_deletion folder;
    api_job_row row = {0};
    AFFECT_TRY(api_job_read(&row, base, id, err));
    *state = row.state;
    affect_status status = check_ended(&row, err);
    api_job_row_free(&row);
    AFFECT_TRY(status);
    AFFECT_TRY(api_folder_deletion_begin(&folder, base->data_dir, "jobs", id, err));
    api_job_write w = {.base = base, .id = id, .work = work_remove, .uses_reserve = true};
    status = api_job_write_run(&w, err);
    api_job_row_free(&w.row);
    api_folder_deletion_end(&folder, status == AFFECT_STATUS_OK);
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
