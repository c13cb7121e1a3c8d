/* Rows of jobs; see job_rows.h. */
#include "api/jobs/job_rows.h"

#include "api/jobs/job_type.h"
#include "engine/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Events ---- */

static affect_status append_text(api_job_row *row, api_db *db, const char *kind, const char *data,
                                 bool last, api_event_list *events, affect_error *err) {
    row->last_seq++;
    AFFECT_TRY(api_store_event_append(db, row->id, row->last_seq, kind, data, err));
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
    bool replayed = false;
    AFFECT_TRY(api_store_epoch_is_stored(&replayed, db, row->id, epoch, err));
    affect_json_free(affect_json_detach(members, "replayed"));
    if (replayed) affect_json_set_bool(members, "replayed", true);
    char *text = event_text(members);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for an event");
    affect_status status = append_text(row, db, "epoch", text, false, events, err);
    if (status == AFFECT_STATUS_OK) status = api_store_epoch_put(db, row->id, epoch, text, err);
    if (status == AFFECT_STATUS_OK && !replayed && row->restarts > 0) {
        row->restarts = 0; /* it gets on: what counts is how often in one place */
        status = api_store_job_clear_restarts(db, row->id, err);
    }
    free(text);
    return status;
}

affect_status api_job_row_progress(api_job_row *row, api_db *db, const affect_json *progress,
                                   affect_error *err) {
    char *text = affect_json_text(progress);
    if (!text) return affect_fail(err, NO_MEMORY, "no memory for progress");
    affect_status status = api_store_job_set_progress(db, row->id, text, err);
    free(text);
    return status;
}

affect_status api_job_row_best(api_job_row *row, api_db *db, int64_t epoch, affect_error *err) {
    return api_store_job_set_best(db, row->id, epoch, err);
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
    char *run = job->run ? affect_json_text(job->run) : NULL;
    char progress[96] = "{\"fraction\":0,\"eta_seconds\":null}";
    if (job->epochs)
        snprintf(progress, sizeof progress,
                 "{\"epoch\":0,\"epochs\":%lld,\"fraction\":0,\"eta_seconds\":null}",
                 (long long)job->epochs);
    affect_status status = AFFECT_STATUS_OK;
    if (!request || !spec || (job->run && !run))
        status = affect_fail(err, NO_MEMORY, "no memory for a job");
    if (status == AFFECT_STATUS_OK)
        status = api_store_job_insert(db,
                                      &(api_job_record){.id = job->id,
                                                        .type = job->type,
                                                        .request = request,
                                                        .spec = spec,
                                                        .dataset_id = job->dataset_id,
                                                        .model = job->model,
                                                        .progress = progress,
                                                        .retry_of = job->retry_of,
                                                        .parent = job->parent,
                                                        .run = run,
                                                        .run_digest = job->run_digest,
                                                        .max_runs = job->max_runs},
                                      err);
    if (status == AFFECT_STATUS_OK) status = append_state(&row, db, NULL, NULL, events, err);
    free(request);
    free(spec);
    free(run);
    for (size_t i = 0; i < job->n_runs && status == AFFECT_STATUS_OK; i++) {
        api_job_new child = job->runs[i];
        child.parent = job->id;
        status = api_job_row_insert(db, &child, events, err);
    }
    return status;
}

/* Why a job waits for someone to resume it; it is over when it starts. */
static affect_status update_error(const api_job_row *row, api_db *db, const affect_json *error,
                                  affect_error *err) {
    char *text = error ? affect_json_text(error) : NULL;
    affect_status status = api_store_job_set_error(db, row->id, text, err);
    free(text);
    return status;
}

static affect_status update_ending(const api_job_row *row, api_db *db, const api_job_change *change,
                                   affect_error *err) {
    char *error = change->error ? affect_json_text(change->error) : NULL;
    char *result = change->result ? affect_json_text(change->result) : NULL;
    affect_status status = api_store_job_set_ended(db, row->id, error, result, err);
    free(error);
    free(result);
    const api_job_type *type = api_job_type_of(row->type);
    if (status == AFFECT_STATUS_OK && type->give_up && row->state != API_JOB_SUCCEEDED)
        status = type->give_up(db, row->dataset_id, err);
    return status;
}

static affect_json *progress_of(const int64_t n[API_JOB_STATE_COUNT], int64_t n_total) {
    int64_t n_ended = 0;
    affect_json *progress = affect_json_new_object();
    affect_json *runs = affect_json_new_object();
    affect_json_set_number(runs, "total", (double)n_total);
    for (int s = 0; s < API_JOB_STATE_COUNT; s++) {
        if (n[s]) affect_json_set_number(runs, api_job_state_name(s), (double)n[s]);
        if (api_job_state_terminal(s)) n_ended += n[s];
    }
    affect_json_set_number(progress, "fraction", n_total ? (double)n_ended / (double)n_total : 0);
    affect_json_set(progress, "eta_seconds", affect_json_new_null());
    affect_json_set(progress, "runs", runs);
    return progress;
}

/* A run has ended: its job's stream and progress say so. */
static affect_status report_to_parent(const api_job_row *row, api_db *db, api_event_list *events,
                                      affect_error *err) {
    int64_t n[API_JOB_STATE_COUNT], n_total;
    api_job_row parent = {0};
    affect_json *body = NULL;
    affect_status status = api_job_row_load(&parent, db, row->parent, err);
    if (status == AFFECT_STATUS_OK) status = api_store_job_get(&body, db, row->id, err);
    affect_json *members = affect_json_detach(body, "run");
    affect_json_free(affect_json_detach(members, "parameters"));
    affect_json_set_string(members, "job", row->id);
    affect_json_set_string(members, "state", api_job_state_name(row->state));
    affect_json_set(members, "best", affect_json_detach(body, "best"));
    if (status == AFFECT_STATUS_OK)
        status = append(&parent, db, "run", members, false, events, err);
    if (status == AFFECT_STATUS_OK) status = api_store_runs_count(n, &n_total, db, parent.id, err);
    if (status == AFFECT_STATUS_OK) {
        affect_json *progress = progress_of(n, n_total);
        status = api_job_row_progress(&parent, db, progress, err);
        affect_json_free(progress);
    }
    affect_json_free(members);
    affect_json_free(body);
    api_job_row_free(&parent);
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
    AFFECT_TRY(api_store_job_set_state(db, row, change->reason, change->instance, err));
    if (action == API_JOB_START) AFFECT_TRY(api_store_job_set_started(db, row->id, err));
    if (action == API_JOB_HOLD || action == API_JOB_START)
        AFFECT_TRY(update_error(row, db, change->error, err));
    bool terminal = api_job_state_terminal(after);
    if (terminal) AFFECT_TRY(update_ending(row, db, change, err));
    AFFECT_TRY(append_state(row, db, api_job_state_name(before), change->reason, events, err));
    if (terminal) AFFECT_TRY(append_end(row, db, change, events, err));
    return terminal && row->parent[0] ? report_to_parent(row, db, events, err) : AFFECT_STATUS_OK;
}

/* ---- Bodies ---- */

static void set_links(affect_json *body) {
    const api_job_type *type = api_job_type_of(affect_json_get_string(body, "type", ""));
    api_job_type_set_links(affect_json_set_object(body, "links"), type,
                           affect_json_get_string(body, "id", ""),
                           api_job_state_find(affect_json_get_string(body, "state", "")));
}

typedef struct {
    const char *id;
    const api_job_page *page;
    affect_json *json;
} job_query;

static affect_status read_body(api_db *db, void *context, affect_error *err) {
    job_query *q = context;
    return api_store_job_get(&q->json, db, q->id, err);
}

affect_status api_job_read_body(affect_json **json, api_store *store, const char *id,
                                affect_error *err) {
    job_query q = {.id = id};
    affect_status status = api_store_read(store, read_body, &q, err);
    if (status == AFFECT_STATUS_OK) set_links(q.json);
    *json = q.json;
    return status;
}

static affect_status read_page(api_db *db, void *context, affect_error *err) {
    job_query *q = context;
    return api_store_job_list(&q->json, db, q->page, err);
}

affect_status api_job_read_page(affect_json **json, api_store *store, const api_job_page *page,
                                affect_error *err) {
    job_query q = {.page = page};
    affect_status status = api_store_read(store, read_page, &q, err);
    for (affect_json *body = affect_json_first(affect_json_get(q.json, "data")); body;
         body = affect_json_next(body))
        set_links(body);
    *json = q.json;
    return status;
}
