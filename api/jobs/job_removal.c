/* Removal of jobs; see job_removal.h.
 *
 * Runs on handlers' threads and on the scheduler's, each job in a transaction of its own. */
#include "api/jobs/job_removal.h"

#include "api/store/folder_deletion.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <string.h>

enum { MAX_REMOVED = 32 }; /* at once: the scheduler has other things to do */

static affect_status check_ended(const api_job_row *row, affect_error *err) {
    return api_job_state_terminal(row->state)
               ? AFFECT_STATUS_OK
               : affect_fail(err, CONFLICT, "the job is %s", api_job_state_name(row->state));
}

static affect_status work_remove(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    AFFECT_TRY(check_ended(&w->row, err));
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM idempotency WHERE job_id = ?", "t", w->row.id));
    /* With its events and epochs. */
    return api_db_run(db, err, "DELETE FROM jobs WHERE id = ?", "t", w->row.id);
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
    char ids[MAX_REMOVED][API_ID_SIZE];
    int64_t n;
} expired_list;

static affect_status read_expired(api_db *db, void *context, affect_error *err) {
    expired_list *list = context;
    const api_job_retention *retention = list->retention;
    api_rows *rows = NULL;
    int64_t before =
        retention->days > 0 ? affect_clock_unix_ms() - (int64_t)(retention->days * 86400e3) : 0;
    AFFECT_TRY(api_db_query(
        &rows, db, err,
        "SELECT id FROM jobs WHERE ended_ms IS NOT NULL AND (ended_ms < ?1 OR (?2 > 0 AND id NOT "
        "IN (SELECT id FROM jobs WHERE ended_ms IS NOT NULL ORDER BY ended_ms DESC, id DESC LIMIT "
        "?2))) ORDER BY ended_ms LIMIT ?3",
        "iii", before, retention->n_kept, (int64_t)MAX_REMOVED));
    while (list->n < MAX_REMOVED && api_rows_next(rows))
        snprintf(list->ids[list->n++], API_ID_SIZE, "%s", api_rows_text(rows, 0));
    return api_rows_end(rows, err);
}

affect_status api_job_retain(const api_job_base *base, const api_job_retention *retention,
                             int64_t *n, affect_error *err) {
    expired_list list = {.retention = retention};
    *n = 0;
    if (retention->n_kept <= 0 && retention->days <= 0) return AFFECT_STATUS_OK;
    AFFECT_TRY(api_store_read(base->store, read_expired, &list, err));
    for (int64_t i = 0; i < list.n; i++) {
        api_job_state state;
        affect_status status = api_job_remove(base, list.ids[i], &state, err);
        if (status == AFFECT_STATUS_NOT_FOUND) continue; /* by a client, meanwhile */
        AFFECT_TRY(status);
        ++*n;
    }
    return AFFECT_STATUS_OK;
}
