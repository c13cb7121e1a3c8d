/* Rows of jobs; see job_rows.h. */
#include "api/jobs/job_rows.h"

#include "api/jobs/job_type.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Loading ---- */

#define ROW_COLUMNS                                                                                \
    "id, type, state, state_number, last_seq, restarts, coalesce(dataset_id, ''), "                \
    "coalesce(model, ''), spec"

static affect_status take_row(api_job_row *row, api_rows *rows, affect_error *err) {
    *row = (api_job_row){.state = api_job_state_find(api_rows_text(rows, 2)),
                         .state_number = api_rows_integer(rows, 3),
                         .last_seq = api_rows_integer(rows, 4),
                         .restarts = api_rows_integer(rows, 5)};
    snprintf(row->id, sizeof row->id, "%s", api_rows_text(rows, 0));
    snprintf(row->type, sizeof row->type, "%s", api_rows_text(rows, 1));
    snprintf(row->dataset_id, sizeof row->dataset_id, "%s", api_rows_text(rows, 6));
    snprintf(row->model, sizeof row->model, "%s", api_rows_text(rows, 7));
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

affect_status api_job_rows_count(int64_t *n, api_db *db, api_job_state state, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT count(*) FROM jobs WHERE state = ?", "t",
                            api_job_state_name(state)));
    *n = api_rows_next(rows) ? api_rows_integer(rows, 0) : 0;
    return api_rows_end(rows, err);
}

static affect_status list_ids(char (**ids)[API_ID_SIZE], size_t *n, api_db *db, const char *sql,
                              affect_error *err) {
    api_rows *rows = NULL;
    affect_status status = AFFECT_STATUS_OK;
    *ids = NULL;
    *n = 0;
    AFFECT_TRY(api_db_query(&rows, db, err, sql, ""));
    while (status == AFFECT_STATUS_OK && api_rows_next(rows)) {
        char(*grown)[API_ID_SIZE] = realloc(*ids, (*n + 1) * API_ID_SIZE);
        if (!grown) {
            status = affect_fail(err, NO_MEMORY, "no memory for jobs");
            break;
        }
        *ids = grown;
        snprintf(grown[(*n)++], API_ID_SIZE, "%s", api_rows_text(rows, 0));
    }
    affect_status ended = api_rows_end(rows, err);
    return status != AFFECT_STATUS_OK ? status : ended;
}

affect_status api_job_rows_left(char (**ids)[API_ID_SIZE], size_t *n, api_db *db,
                                affect_error *err) {
    return list_ids(ids, n, db,
                    "SELECT id FROM jobs WHERE state IN ('preparing', 'running', 'pausing', "
                    "'cancelling', 'interrupted') ORDER BY id",
                    err);
}

affect_status api_job_rows_queued(char (**ids)[API_ID_SIZE], size_t *n, api_db *db,
                                  affect_error *err) {
    return list_ids(ids, n, db, "SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1000",
                    err);
}

affect_status api_job_row_reason(api_job_row *row, api_db *db, const char *reason,
                                 affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET state_reason = ? WHERE id = ?", "tt", reason,
                      row->id);
}

/* ---- Events ---- */

static affect_status append_text(api_job_row *row, api_db *db, const char *kind, const char *data,
                                 bool last, api_event_list *events, affect_error *err) {
    AFFECT_TRY(
        api_db_run(db, err, "UPDATE jobs SET last_seq = last_seq + 1 WHERE id = ?", "t", row->id));
    row->last_seq++;
    AFFECT_TRY(api_db_run(db, err,
                          "INSERT INTO events (job_id, seq, kind, data) VALUES (?, ?, ?, ?)",
                          "titt", row->id, row->last_seq, kind, data));
    api_event event = {.seq = row->last_seq,
                       .kind = (char *)kind,
                       .data = (char *)data,
                       .state_number = row->state_number,
                       .last = last};
    snprintf(event.job_id, sizeof event.job_id, "%s", row->id);
    return api_event_list_add(events, &event, err);
}

/* {"time": now, then the members}, as text; owned. */
static char *event_text(const affect_json *members) {
    char now[AFFECT_CLOCK_TEXT_SIZE];
    affect_clock_text(now, affect_clock_unix_ms());
    affect_buffer text = {0};
    affect_buffer_printf(&text, "{\"time\":\"%s\"", now);
    for (const affect_json *m = affect_json_first(members); m; m = affect_json_next(m)) {
        const char *name = affect_json_name(m);
        if (strcmp(name, "event") == 0 || strcmp(name, "seq") == 0 || strcmp(name, "time") == 0)
            continue;
        affect_buffer_append(&text, ",", 1);
        affect_json_print_string(&text, name);
        affect_buffer_append(&text, ":", 1);
        affect_json_print(&text, m);
    }
    affect_buffer_append(&text, "}", 1);
    return affect_buffer_take(&text);
}

static affect_status append(api_job_row *row, api_db *db, const char *kind,
                            const affect_json *members, bool last, api_event_list *events,
                            affect_error *err) {
    char *text = event_text(members);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for an event");
    affect_status status = append_text(row, db, kind, text, last, events, err);
    free(text);
    return status;
}

affect_status api_job_row_event(api_job_row *row, api_db *db, const char *kind,
                                const affect_json *members, api_event_list *events,
                                affect_error *err) {
    return append(row, db, kind, members, false, events, err);
}

affect_status api_job_row_epoch(api_job_row *row, api_db *db, affect_json *members,
                                api_event_list *events, affect_error *err) {
    int64_t epoch = (int64_t)affect_json_get_number(members, "epoch", 0);
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT 1 FROM epochs WHERE job_id = ? AND epoch = ?",
                            "ti", row->id, epoch));
    bool replayed = api_rows_next(rows);
    AFFECT_TRY(api_rows_end(rows, err));
    affect_json_free(affect_json_detach(members, "replayed"));
    if (replayed) affect_json_set_bool(members, "replayed", true);
    char *text = event_text(members);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for an event");
    affect_status status = append_text(row, db, "epoch", text, false, events, err);
    if (status == AFFECT_STATUS_OK)
        status = api_db_run(db, err,
                            "INSERT OR REPLACE INTO epochs (job_id, epoch, data) VALUES (?, ?, ?)",
                            "tit", row->id, epoch, text);
    if (status == AFFECT_STATUS_OK && !replayed && row->restarts > 0) {
        row->restarts = 0; /* it gets on: what counts is how often in one place */
        status = api_db_run(db, err, "UPDATE jobs SET restarts = 0 WHERE id = ?", "t", row->id);
    }
    free(text);
    return status;
}

affect_status api_job_row_progress(api_job_row *row, api_db *db, const affect_json *progress,
                                   affect_error *err) {
    char *text = affect_json_text(progress);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for progress");
    affect_status status =
        api_db_run(db, err, "UPDATE jobs SET progress = ? WHERE id = ?", "tt", text, row->id);
    free(text);
    return status;
}

affect_status api_job_row_best(api_job_row *row, api_db *db, int64_t epoch, affect_error *err) {
    return api_db_run(db, err, "UPDATE jobs SET best_epoch = ? WHERE id = ?", "it", epoch, row->id);
}

/* ---- States ---- */

static affect_status append_state(api_job_row *row, api_db *db, const char *previous,
                                  const char *reason, api_event_list *events, affect_error *err) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "state", api_job_state_name(row->state));
    if (previous) affect_json_set_string(members, "previous", previous);
    affect_json_set_string(members, "reason", reason);
    affect_status status = append(row, db, "state", members, false, events, err);
    affect_json_free(members);
    return status;
}

static affect_json *copy_or_null(const affect_json *json) {
    return json ? affect_json_copy(json) : affect_json_new_null();
}

static affect_status append_end(api_job_row *row, api_db *db, const api_job_change *change,
                                api_event_list *events, affect_error *err) {
    affect_json *members = affect_json_new_object();
    affect_json_set_string(members, "state", api_job_state_name(row->state));
    affect_json_set_string(members, "reason", change->reason);
    affect_json_set(members, "error", copy_or_null(change->error));
    affect_json_set(members, "result", copy_or_null(change->result));
    affect_status status = append(row, db, "end", members, true, events, err);
    affect_json_free(members);
    return status;
}

affect_status api_job_row_insert(api_db *db, const api_job_new *job, api_event_list *events,
                                 affect_error *err) {
    api_job_row row = {.state = API_JOB_QUEUED, .state_number = 1};
    snprintf(row.id, sizeof row.id, "%s", job->id);
    char *request = affect_json_text(job->request), *spec = affect_json_text(job->spec);
    char progress[96] = "{\"fraction\":0,\"eta_seconds\":null}";
    if (job->epochs)
        snprintf(progress, sizeof progress,
                 "{\"epoch\":0,\"epochs\":%lld,\"fraction\":0,\"eta_seconds\":null}",
                 (long long)job->epochs);
    affect_status status = AFFECT_STATUS_OK;
    if (!request || !spec) status = affect_fail(err, NO_MEMORY, "no memory for a job");
    if (status == AFFECT_STATUS_OK)
        status = api_db_run(db, err,
                            "INSERT INTO jobs (id, type, state, state_number, last_seq, request, "
                            "spec, dataset_id, model, progress, retry_of, parent, created_ms) "
                            "VALUES (?, ?, 'queued', 1, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
                            "ttttttttt"
                            "i",
                            job->id, job->type, request, spec, job->dataset_id, job->model,
                            progress, job->retry_of, job->parent, affect_clock_unix_ms());
    if (status == AFFECT_STATUS_OK) status = append_state(&row, db, NULL, NULL, events, err);
    free(request);
    free(spec);
    return status;
}

/* Why a job waits for someone to resume it; it is over when it starts. */
static affect_status update_error(const api_job_row *row, api_db *db, const affect_json *error,
                                  affect_error *err) {
    char *text = error ? affect_json_text(error) : NULL;
    affect_status status =
        api_db_run(db, err, "UPDATE jobs SET error = ? WHERE id = ?", "tt", text, row->id);
    free(text);
    return status;
}

static affect_status update_ending(const api_job_row *row, api_db *db, const api_job_change *change,
                                   affect_error *err) {
    char *error = change->error ? affect_json_text(change->error) : NULL;
    char *result = change->result ? affect_json_text(change->result) : NULL;
    affect_status status =
        api_db_run(db, err, "UPDATE jobs SET error = ?, result = ?, ended_ms = ? WHERE id = ?",
                   "ttit", error, result, affect_clock_unix_ms(), row->id);
    free(error);
    free(result);
    const api_job_type *type = api_job_type_of(row->type);
    if (status == AFFECT_STATUS_OK && type->give_up && row->state != API_JOB_SUCCEEDED)
        status = type->give_up(db, row->dataset_id, err);
    return status;
}

affect_status api_job_row_act(api_job_row *row, api_db *db, api_job_action action,
                              const api_job_change *change, api_event_list *events,
                              affect_error *err) {
    static const api_job_change nothing;
    if (!change) change = &nothing;
    api_job_state before = row->state, after = api_job_state_after(before, action);
    if (after == API_JOB_STATE_COUNT)
        return affect_fail(err, CONFLICT, "job %s is %s: this is not possible now", row->id,
                           api_job_state_name(before));
    if (after == before) return AFFECT_STATUS_OK;
    row->state = after;
    row->state_number++;
    if (change->counts_restart) row->restarts++;
    if (action == API_JOB_RESUME) row->restarts = 0;
    AFFECT_TRY(api_db_run(db, err,
                          "UPDATE jobs SET state = ?, state_reason = ?, state_number = ?, "
                          "restarts = ?, instance = coalesce(?, instance) WHERE id = ?",
                          "ttiitt", api_job_state_name(after), change->reason, row->state_number,
                          row->restarts, change->instance, row->id));
    if (action == API_JOB_START)
        AFFECT_TRY(api_db_run(db, err,
                              "UPDATE jobs SET started_ms = coalesce(started_ms, ?) WHERE id = ?",
                              "it", affect_clock_unix_ms(), row->id));
    if (action == API_JOB_HOLD || action == API_JOB_START)
        AFFECT_TRY(update_error(row, db, change->error, err));
    bool terminal = api_job_state_terminal(after);
    if (terminal) AFFECT_TRY(update_ending(row, db, change, err));
    AFFECT_TRY(append_state(row, db, api_job_state_name(before), change->reason, events, err));
    return terminal ? append_end(row, db, change, events, err) : AFFECT_STATUS_OK;
}

/* ---- Bodies ---- */

#define BODY_SELECT                                                                                \
    "SELECT j.id, j.type, j.state, j.state_reason, j.state_number, j.last_seq, j.request, "        \
    "j.progress, j.error, j.result, j.restarts, j.created_ms, j.started_ms, j.ended_ms, "          \
    "j.best_epoch, e.data, d.name, j.retry_of, j.parent FROM jobs j "                              \
    "LEFT JOIN epochs e ON e.job_id = j.id AND e.epoch = j.best_epoch "                            \
    "LEFT JOIN datasets d ON d.id = j.dataset_id "

static affect_json *best_of(api_rows *rows, int epoch_column, int data_column) {
    if (api_rows_is_null(rows, epoch_column)) return affect_json_new_null();
    affect_json *best = affect_json_new_object(), *epoch = api_rows_json(rows, data_column);
    static const char *const names[] = {"val_loss", "val_accuracy", "val_f1_macro"};
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
    api_job_type_set_links(affect_json_set_object(body, "links"), api_job_type_of(type), id, state);
    return body;
}

affect_status api_job_body(affect_json **json, api_db *db, const char *id, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, BODY_SELECT "WHERE j.id = ?", "t", id));
    *json = api_rows_next(rows) ? body_of(rows) : NULL;
    affect_status status = api_rows_end(rows, err);
    if (status == AFFECT_STATUS_OK && !*json)
        status = affect_fail(err, NOT_FOUND, "no job \"%.60s\"", id);
    return status;
}

affect_status api_job_bodies(affect_json *data, bool *more, api_db *db, const api_job_page *page,
                             affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            BODY_SELECT "WHERE (?1 = '' OR j.id < ?1) AND (?2 IS NULL OR "
                                        "j.state = ?2) AND (?3 IS NULL OR j.type = ?3) "
                                        "ORDER BY j.id DESC LIMIT ?4",
                            "ttti", page->before, page->state, page->type, page->limit + 1));
    int64_t n = 0;
    *more = false;
    while (api_rows_next(rows)) {
        if (n++ == page->limit) {
            *more = true;
            break;
        }
        affect_json_append(data, body_of(rows));
    }
    return api_rows_end(rows, err);
}

typedef struct {
    const char *id;
    affect_json *body;
} body_question;

static affect_status read_body(api_db *db, void *context, affect_error *err) {
    body_question *q = context;
    return api_job_body(&q->body, db, q->id, err);
}

affect_status api_job_read_body(affect_json **json, api_store *store, const char *id,
                                affect_error *err) {
    body_question q = {.id = id};
    affect_status status = api_store_read(store, read_body, &q, err);
    *json = q.body;
    return status;
}
