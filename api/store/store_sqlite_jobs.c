/* Jobs, events, epochs and keys in SQLite; see store_jobs.h.
 *
 * One function a question, one statement or two each. Ids of jobs are in the order in which they
 * were made, so pages and queues go by id. */
#include "api/store/store_jobs.h"
#include "api/store/store_sqlite.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ---- */

#define ROW_COLUMNS                                                                                \
    "id, type, state, state_number, last_seq, restarts, coalesce(dataset_id, ''), "                \
    "coalesce(model, ''), spec, coalesce(parent, ''), coalesce(state_reason, '')"

static affect_status take_row(api_job_row *row, api_rows *rows, affect_error *err) {
    *row = (api_job_row){.state = api_job_state_find(api_rows_text(rows, 2)),
                         .state_number = api_rows_integer(rows, 3),
                         .last_seq = api_rows_integer(rows, 4),
                         .restarts = api_rows_integer(rows, 5)};
    snprintf(row->id, sizeof row->id, "%s", api_rows_text(rows, 0));
    snprintf(row->type, sizeof row->type, "%s", api_rows_text(rows, 1));
    snprintf(row->dataset_id, sizeof row->dataset_id, "%s", api_rows_text(rows, 6));
    snprintf(row->model, sizeof row->model, "%s", api_rows_text(rows, 7));
    snprintf(row->parent, sizeof row->parent, "%s", api_rows_text(rows, 9));
    snprintf(row->reason, sizeof row->reason, "%s", api_rows_text(rows, 10));
    row->spec = strdup(api_rows_text(rows, 8));
    return row->spec ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for a job");
}

affect_status api_job_row_load(api_job_row *row, api_db *db, const char *id, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(
        api_db_query(&rows, db, err, "SELECT " ROW_COLUMNS " FROM jobs WHERE id = ?", "t", id));
    affect_status status = api_rows_next(rows)
                               ? take_row(row, rows, err)
                               : affect_fail(err, NOT_FOUND, "no job \"%.60s\"", id);
    affect_status ended = api_rows_end(rows, err);
    return status != AFFECT_STATUS_OK ? status : ended;
}

void api_job_row_free(api_job_row *row) {
    free(row->spec);
    row->spec = NULL;
}

affect_status api_store_job_insert(api_db *db, const api_job_record *job, affect_error *err) {
    return api_db_run(db, err,
                      "INSERT INTO jobs (id, type, state, state_number, last_seq, request, "
                      "spec, dataset_id, model, progress, retry_of, parent, run, run_digest, "
                      "max_runs, created_ms) "
                      "VALUES (?, ?, 'queued', 1, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?)",
                      "ttttttttttt"
                      "ii",
                      job->id, job->type, job->request, job->spec, job->dataset_id, job->model,
                      job->progress, job->retry_of, job->parent, job->run, job->run_digest,
                      job->max_runs, affect_clock_unix_ms());
}

affect_status api_store_job_set_state(api_db *db, const api_job_row *row, const char *reason,
                                      const char *instance, affect_error *err) {
    return api_db_run(db, err,
                      "UPDATE jobs SET state = ?, state_reason = ?, state_number = ?, "
                      "restarts = ?, instance = coalesce(?, instance) WHERE id = ?",
                      "ttiitt", api_job_state_name(row->state), reason, row->state_number,
                      row->restarts, instance, row->id);
}

affect_status api_store_job_set_spec(api_db *db, const char *id, const char *spec,
                                     affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET spec = ? WHERE id = ?", "tt", spec, id);
}

affect_status api_store_job_set_started(api_db *db, const char *id, affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET started_ms = coalesce(started_ms, ?) WHERE id = ?",
                      "it", affect_clock_unix_ms(), id);
}

affect_status api_store_job_set_ended(api_db *db, const char *id, const char *error,
                                      const char *result, affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET error = ?, result = ?, ended_ms = ? WHERE id = ?",
                      "ttit", error, result, affect_clock_unix_ms(), id);
}

affect_status api_store_job_set_error(api_db *db, const char *id, const char *error,
                                      affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET error = ? WHERE id = ?", "tt", error, id);
}

affect_status api_store_job_set_reason(api_db *db, const char *id, const char *reason,
                                       affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET state_reason = ? WHERE id = ?", "tt", reason, id);
}

affect_status api_store_job_set_progress(api_db *db, const char *id, const char *progress,
                                         affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET progress = ? WHERE id = ?", "tt", progress, id);
}

affect_status api_store_job_set_best(api_db *db, const char *id, int64_t epoch, affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET best_epoch = ? WHERE id = ?", "it", epoch, id);
}

affect_status api_store_job_clear_restarts(api_db *db, const char *id, affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET restarts = 0 WHERE id = ?", "t", id);
}

affect_status api_store_job_delete(api_db *db, const char *id, affect_error *err) {
    AFFECT_TRY(api_db_run(db, err, "DELETE FROM idempotency WHERE job_id = ?", "t", id));
    /* events, epochs too */
    return api_db_run(db, err, "DELETE FROM jobs WHERE id = ?1 OR parent = ?1", "t", id);
}

/* ---- Bodies ---- */

#define BODY_SELECT                                                                                \
    "SELECT j.id, j.type, j.state, j.state_reason, j.state_number, j.last_seq, j.request, "        \
    "j.progress, j.error, j.result, j.restarts, j.created_ms, j.started_ms, j.ended_ms, "          \
    "j.best_epoch, e.data, d.name, j.retry_of, j.parent, j.run FROM jobs j "                       \
    "LEFT JOIN epochs e ON e.job_id = j.id AND e.epoch = j.best_epoch "                            \
    "LEFT JOIN datasets d ON d.id = j.dataset_id "

static affect_json *best_of(api_rows *rows, int epoch_column, int data_column) {
    if (api_rows_is_null(rows, epoch_column)) return affect_json_new_null();
    affect_json *best = affect_json_new_object(), *epoch = api_rows_json(rows, data_column);
    static const char *const names[] = {"val_loss", "val_accuracy", "val_recall_mean",
                                        "val_f1_macro"};
    affect_json_set_number(best, "epoch", (double)api_rows_integer(rows, epoch_column));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const affect_json *value = affect_json_get(epoch, names[i]);
        if (value) affect_json_set(best, names[i], affect_json_copy(value));
    }
    affect_json_free(epoch);
    return best;
}

static affect_json *body_of(api_rows *rows) {
    affect_json *body = affect_json_new_object();
    const char *id = api_rows_text(rows, 0), *type = api_rows_text(rows, 1);
    api_job_state state = api_job_state_find(api_rows_text(rows, 2));
    affect_json_set_string(body, "id", id);
    affect_json_set_string(body, "type", type);
    affect_json_set_string(body, "state", api_job_state_name(state));
    affect_json_set_bool(body, "terminal", api_job_state_terminal(state));
    affect_json_set_string(body, "state_reason", api_rows_text(rows, 3));
    affect_json_set_number(body, "state_number", (double)api_rows_integer(rows, 4));
    affect_json_set_number(body, "last_seq", (double)api_rows_integer(rows, 5));
    affect_json_set_string(body, "dataset", api_rows_text(rows, 16));
    affect_json_set(body, "progress", api_rows_json(rows, 7));
    affect_json_set(body, "best", best_of(rows, 14, 15));
    affect_json_set(body, "error", api_rows_json(rows, 8));
    affect_json_set(body, "result", api_rows_json(rows, 9));
    affect_json_set_number(body, "restarts", (double)api_rows_integer(rows, 10));
    affect_json_set(body, "created", api_rows_time(rows, 11));
    affect_json_set(body, "started", api_rows_time(rows, 12));
    affect_json_set(body, "ended", api_rows_time(rows, 13));
    affect_json_set(body, "request", api_rows_json(rows, 6));
    affect_json_set_string(body, "retry_of", api_rows_text(rows, 17));
    affect_json_set_string(body, "parent", api_rows_text(rows, 18));
    affect_json_set(body, "run", api_rows_json(rows, 19));
    return body;
}

affect_status api_store_job_get(affect_json **json, api_db *db, const char *id, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, BODY_SELECT "WHERE j.id = ?", "t", id));
    *json = api_rows_next(rows) ? body_of(rows) : NULL;
    affect_status status = api_rows_end(rows, err);
    if (status == AFFECT_STATUS_OK && !*json)
        status = affect_fail(err, NOT_FOUND, "no job \"%.60s\"", id);
    return status;
}

affect_status api_store_job_list(affect_json **json, api_db *db, const api_job_page *page,
                                 affect_error *err) {
    api_rows *rows = NULL;
    const char *text =
        page->parent ? BODY_SELECT "WHERE j.parent = ?5 AND (?1 = '' OR j.id > ?1) AND (?2 IS "
                                   "NULL OR j.state = ?2) AND (?3 IS NULL OR j.type = ?3) "
                                   "ORDER BY j.id LIMIT ?4"
                     : BODY_SELECT "WHERE j.parent IS ?5 AND (?1 = '' OR j.id < ?1) AND (?2 IS "
                                   "NULL OR j.state = ?2) AND (?3 IS NULL OR j.type = ?3) "
                                   "ORDER BY j.id DESC LIMIT ?4";
    AFFECT_TRY(api_db_query(&rows, db, err, text, "tttit", page->after, page->state, page->type,
                            page->limit + 1, page->parent));
    return api_rows_page(json, rows, page->limit, body_of, err);
}

/* ---- Questions ---- */

/* The first column of the first row; 0 without one. */
static affect_status end_integer(int64_t *value, api_rows *rows, affect_error *err) {
    *value = api_rows_next(rows) ? api_rows_integer(rows, 0) : 0;
    return api_rows_end(rows, err);
}

affect_status api_store_job_count(int64_t *n, api_db *db, api_job_state state, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT count(*) FROM jobs WHERE parent IS NULL AND state = ?", "t",
                            api_job_state_name(state)));
    return end_integer(n, rows, err);
}

affect_status api_store_job_head(api_job_head *head, api_db *db, const char *id,
                                 affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err,
        "SELECT last_seq, state_number, ended_ms IS NOT NULL FROM jobs WHERE id = ?", "t", id));
    bool found = api_rows_next(rows);
    if (found)
        *head = (api_job_head){.last_seq = api_rows_integer(rows, 0),
                               .state_number = api_rows_integer(rows, 1),
                               .ended = api_rows_integer(rows, 2) != 0};
    AFFECT_TRY(api_rows_end(rows, err));
    return found ? AFFECT_STATUS_OK : affect_fail(err, NOT_FOUND, "no job \"%.60s\"", id);
}

/* Ends the query. */
static affect_status take_ids(api_id_list *list, api_rows *rows, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    *list = (api_id_list){0};
    while (status == AFFECT_STATUS_OK && api_rows_next(rows)) {
        char(*grown)[API_ID_SIZE] = realloc(list->ids, (list->n + 1) * API_ID_SIZE);
        if (!grown) {
            status = affect_fail(err, NO_MEMORY, "no memory for jobs");
            break;
        }
        list->ids = grown;
        snprintf(grown[list->n++], API_ID_SIZE, "%s", api_rows_text(rows, 0));
    }
    affect_status ended = api_rows_end(rows, err);
    return status != AFFECT_STATUS_OK ? status : ended;
}

affect_status api_store_jobs_left(api_id_list *list, api_db *db, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id FROM jobs WHERE max_runs IS NULL AND state IN ('preparing', "
                            "'running', 'pausing', 'cancelling', 'interrupted') ORDER BY id",
                            ""));
    return take_ids(list, rows, err);
}

#define ACTIVE_STATES "('preparing', 'running', 'pausing', 'cancelling')"

affect_status api_store_jobs_startable(api_id_list *list, api_db *db, bool others,
                                       affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err,
        "SELECT id FROM jobs j WHERE state = 'queued' AND CASE WHEN parent IS NULL THEN ?1 ELSE "
        "EXISTS (SELECT 1 FROM jobs p WHERE p.id = j.parent AND p.state = 'running' AND "
        "p.max_runs > (SELECT count(*) FROM jobs r WHERE r.parent = p.id AND r.state "
        "IN " ACTIVE_STATES ")) END ORDER BY id LIMIT 1000",
        "i", (int64_t)others));
    return take_ids(list, rows, err);
}

affect_status api_store_jobs_count_active(int64_t *n, api_db *db, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err,
        "SELECT count(*) FROM jobs WHERE parent IS NULL AND state IN " ACTIVE_STATES, ""));
    return end_integer(n, rows, err);
}

/* ---- Runs ---- */

affect_status api_store_runs_count(int64_t n[API_JOB_STATE_COUNT], int64_t *n_total, api_db *db,
                                   const char *parent, affect_error *err) {
    api_rows *rows = NULL;
    for (int s = 0; s < API_JOB_STATE_COUNT; s++) n[s] = 0;
    *n_total = 0;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT state, count(*) FROM jobs WHERE parent = ? GROUP BY state", "t",
                            parent));
    while (api_rows_next(rows)) {
        api_job_state state = api_job_state_find(api_rows_text(rows, 0));
        if (state == API_JOB_STATE_COUNT) continue;
        n[state] = api_rows_integer(rows, 1);
        *n_total += n[state];
    }
    return api_rows_end(rows, err);
}

affect_status api_store_runs_of(api_id_list *list, api_db *db, const char *parent,
                                affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT id FROM jobs WHERE parent = ? ORDER BY id", "t",
                            parent));
    return take_ids(list, rows, err);
}

affect_status api_store_runs_in(api_id_list *list, api_db *db, const char *parent,
                                api_job_state state, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id FROM jobs WHERE parent = ? AND state = ? ORDER BY id", "tt",
                            parent, api_job_state_name(state)));
    return take_ids(list, rows, err);
}

affect_status api_store_jobs_with_runs(api_id_list *list, api_db *db, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(
        api_db_query(&rows, db, err,
                     "SELECT id FROM jobs j WHERE max_runs IS NOT NULL AND (ended_ms IS NULL OR "
                     "EXISTS (SELECT 1 "
                     "FROM jobs r WHERE r.parent = j.id AND r.ended_ms IS NULL)) ORDER BY id",
                     ""));
    return take_ids(list, rows, err);
}

affect_status api_store_run_find(char found[API_ID_SIZE], api_db *db, const char *id,
                                 affect_error *err) {
    api_rows *rows = NULL;
    found[0] = '\0';
    AFFECT_TRY(
        api_db_query(&rows, db, err,
                     "SELECT o.id FROM jobs j JOIN jobs o ON o.run_digest = j.run_digest WHERE "
                     "j.id = ?1 AND o.id <> ?1 AND o.state = 'succeeded' ORDER BY o.id DESC "
                     "LIMIT 1",
                     "t", id));
    if (api_rows_next(rows)) snprintf(found, API_ID_SIZE, "%s", api_rows_text(rows, 0));
    return api_rows_end(rows, err);
}

affect_status api_store_epochs_copy(api_db *db, const char *id, const char *from,
                                    affect_error *err) {
    AFFECT_TRY(
        api_db_run(db, err,
                   "INSERT OR REPLACE INTO epochs (job_id, epoch, data) SELECT ?, epoch, data "
                   "FROM epochs WHERE job_id = ?",
                   "tt", id, from));
    return api_db_run(db, err,
                      "UPDATE jobs SET (best_epoch, progress) = (SELECT best_epoch, progress FROM "
                      "jobs WHERE id = ?) WHERE id = ?",
                      "tt", from, id);
}

affect_status api_store_job_started(int64_t *started_ms, api_db *db, const char *id,
                                    affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT coalesce(started_ms, 0) FROM jobs WHERE id = ?",
                            "t", id));
    return end_integer(started_ms, rows, err);
}

affect_status api_store_jobs_expired(api_id_list *list, api_db *db, int64_t before_ms,
                                     int64_t n_kept, int64_t limit, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err,
        "SELECT id FROM jobs j WHERE parent IS NULL AND ended_ms IS NOT NULL AND (ended_ms < ?1 OR "
        "(?2 > 0 AND id NOT IN (SELECT id FROM jobs WHERE parent IS NULL AND ended_ms IS NOT NULL "
        "ORDER BY ended_ms DESC, id DESC LIMIT ?2))) AND NOT EXISTS (SELECT 1 FROM jobs r WHERE "
        "r.parent = j.id AND r.ended_ms IS NULL) ORDER BY ended_ms LIMIT ?3",
        "iii", before_ms, n_kept, limit));
    return take_ids(list, rows, err);
}

/* ---- Events and epochs ---- */

affect_status api_store_event_append(api_db *db, const char *job_id, int64_t seq, const char *kind,
                                     const char *data, affect_error *err) {
    AFFECT_TRY(api_db_run(db, err, "UPDATE jobs SET last_seq = ? WHERE id = ?", "it", seq, job_id));
    return api_db_run(db, err, "INSERT INTO events (job_id, seq, kind, data) VALUES (?, ?, ?, ?)",
                      "titt", job_id, seq, kind, data);
}

affect_status api_store_events_read(api_db *db, const char *job_id, int64_t after, int64_t limit,
                                    api_event_visit *visit, void *context, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT seq, kind, data FROM events WHERE job_id = ? AND seq > ? "
                            "ORDER BY seq LIMIT ?",
                            "tii", job_id, after, limit));
    bool more = true;
    while (more && api_rows_next(rows))
        more = visit(context, api_rows_integer(rows, 0), api_rows_text(rows, 1),
                     api_rows_text(rows, 2));
    return api_rows_end(rows, err);
}

affect_status api_store_epoch_put(api_db *db, const char *job_id, int64_t epoch, const char *data,
                                  affect_error *err) {
    return api_db_run(db, err,
                      "INSERT INTO epochs (job_id, epoch, data) VALUES (?, ?, ?) "
                      "ON CONFLICT (job_id, epoch) DO UPDATE SET data = excluded.data",
                      "tit", job_id, epoch, data);
}

affect_status api_store_epoch_is_stored(bool *stored, api_db *db, const char *job_id, int64_t epoch,
                                        affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT 1 FROM epochs WHERE job_id = ? AND epoch = ?",
                            "ti", job_id, epoch));
    *stored = api_rows_next(rows);
    return api_rows_end(rows, err);
}

affect_status api_store_epoch_newest(int64_t *epoch, api_db *db, const char *job_id,
                                     affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT coalesce(max(epoch), 0) FROM epochs WHERE job_id = ?", "t",
                            job_id));
    return end_integer(epoch, rows, err);
}

affect_status api_store_epochs_read(affect_json *epochs, api_db *db, const char *job_id,
                                    affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(
        &rows, db, err, "SELECT data FROM epochs WHERE job_id = ? ORDER BY epoch", "t", job_id));
    while (api_rows_next(rows)) affect_json_append(epochs, api_rows_json(rows, 0));
    return api_rows_end(rows, err);
}

/* ---- Idempotency keys ---- */

affect_status api_store_key_find(bool *found, char job_id[API_ID_SIZE], api_db *db, const char *key,
                                 const char *digest, affect_error *err) {
    api_rows *rows = NULL;
    bool same = true;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT digest, job_id FROM idempotency WHERE key = ?",
                            "t", key));
    *found = api_rows_next(rows);
    if (*found) {
        same = strcmp(api_rows_text(rows, 0), digest) == 0;
        snprintf(job_id, API_ID_SIZE, "%s", api_rows_text(rows, 1));
    }
    AFFECT_TRY(api_rows_end(rows, err));
    return same ? AFFECT_STATUS_OK
                : affect_fail(err, CONFLICT, "Idempotency-Key was used for a different request");
}

affect_status api_store_key_put(api_db *db, const char *key, const char *digest, const char *job_id,
                                affect_error *err) {
    return api_db_run(db, err,
                      "INSERT INTO idempotency (key, digest, job_id, created_ms) "
                      "VALUES (?, ?, ?, ?)",
                      "ttti", key, digest, job_id, affect_clock_unix_ms());
}
