/* A change of one job; see job_write.h. */
#include "api/jobs/job_write.h"

#include "api/jobs/job_type.h"
#include "engine/train/trainer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static affect_status run(api_db *db, void *context, affect_error *err) {
    api_job_write *w = context;
    api_event_list_clear(&w->events);
    api_job_row_free(&w->row);
    if (w->id) AFFECT_TRY(api_job_row_load(&w->row, db, w->id, err));
    return w->work(db, w, err);
}

static void publish(void *context) {
    api_job_write *w = context;
    api_feed_publish(w->base->feed, &w->events);
}

affect_status api_job_write_run(api_job_write *w, affect_error *err) {
    affect_status status = (w->uses_reserve ? api_store_write_freeing : api_store_write)(
        w->base->store, run, publish, w, err);
    api_event_list_free(&w->events);
    return status;
}

bool api_job_write_may_pass(affect_status status) {
    return status == AFFECT_STATUS_NO_SPACE || status == AFFECT_STATUS_NO_MEMORY ||
           status == AFFECT_STATUS_BUSY;
}

affect_status api_job_write_requeue(api_job_write *w, api_db *db, affect_error *err) {
    if (w->row.restarts > w->base->max_restarts) {
        affect_json *error = affect_json_new_object();
        affect_json_set_string(error, "code", "worker_lost");
        affect_json_set_string(error, "message", "its worker was lost too often");
        const api_job_change change = {.reason = "worker_lost", .error = error};
        /* Its checkpoint is there: it is resumed once what kills it is gone. */
        bool resumable = api_job_type_of(w->row.type)->pausable;
        affect_status status = api_job_row_act(
            &w->row, db, resumable ? API_JOB_HOLD : API_JOB_GIVE_UP, &change, &w->events, err);
        affect_json_free(error);
        return status;
    }
    return api_job_row_act(&w->row, db, API_JOB_REQUEUE, NULL, &w->events, err);
}

typedef struct {
    api_job_row *row;
    const char *id;
} row_query;

static affect_status read_row(api_db *db, void *context, affect_error *err) {
    row_query *q = context;
    return api_job_row_load(q->row, db, q->id, err);
}

affect_status api_job_read(api_job_row *row, const api_job_base *base, const char *id,
                           affect_error *err) {
    row_query q = {row, id};
    return api_store_read(base->store, read_row, &q, err);
}

affect_status api_job_base_folder(char path[AFFECT_PATH_MAX], const api_job_base *base,
                                  const char *id, affect_error *err) {
    return affect_path_join(path, err, base->data_dir, "jobs/%s", id);
}

void api_job_clean(const api_job_base *base, const api_job_row *row) {
    const api_job_type *type = api_job_type_of(row->type);
    char folder[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    if (api_job_base_folder(folder, base, row->id, NULL) == AFFECT_STATUS_OK) {
        if (row->state == API_JOB_SUCCEEDED && type->pausable) affect_checkpoint_remove(folder);
        if (api_job_state_terminal(row->state) &&
            affect_path_join(path, NULL, folder, API_JOB_UPLOAD) == AFFECT_STATUS_OK)
            unlink(path);
    }
    if (type->clean) type->clean(base->store, base->data_dir, row->dataset_id, row->state);
}
