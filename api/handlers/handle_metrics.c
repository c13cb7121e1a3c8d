/* /v1/jobs/{job}/metrics: a training's epochs as JSON and as CSV. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/job_rows.h"

#include <string.h>

/* The epochs of a job, as an array of their events. */
typedef struct {
    const char *job_id;
    affect_json *epochs, *body; /* owned */
} curve;

static affect_status read_curve(api_db *db, void *context, affect_error *err) {
    curve *c = context;
    c->epochs = affect_json_new_array();
    AFFECT_TRY(api_store_job_get(&c->body, db, c->job_id, err));
    return api_store_epochs_read(c->epochs, db, c->job_id, err);
}

static void free_curve(curve *c) {
    affect_json_free(c->epochs);
    affect_json_free(c->body);
}

/* Names of members are a user's labels. */
static void print_member_name(affect_buffer *csv, const char *object, const char *member) {
    affect_buffer name = {0};
    affect_buffer_printf(&name, "%s_%s", object, member);
    affect_buffer_append(csv, ",", 1);
    affect_buffer_append_csv(csv, name.failed ? "" : affect_buffer_string(&name));
    affect_buffer_free(&name);
}

/* Numbers are columns; an object of numbers (recall) is a column for each member. */
static void print_names(affect_buffer *csv, const affect_json *epoch) {
    bool first = true;
    for (const affect_json *m = affect_json_first(epoch); m; m = affect_json_next(m)) {
        if (affect_json_is_number(m)) {
            affect_buffer_printf(csv, "%s%s", first ? "" : ",", affect_json_name(m));
            first = false;
        }
        if (!affect_json_is_object(m)) continue;
        for (const affect_json *e = affect_json_first(m); e; e = affect_json_next(e))
            print_member_name(csv, affect_json_name(m), affect_json_name(e));
    }
    affect_buffer_append_string(csv, "\n");
}

static void print_value(affect_buffer *csv, const affect_json *value, bool first) {
    if (!first) affect_buffer_append(csv, ",", 1);
    if (affect_json_is_number(value)) affect_json_print(csv, value);
}

/* The same columns as the first epoch has. */
static void print_row(affect_buffer *csv, const affect_json *names, const affect_json *epoch) {
    bool first = true;
    for (const affect_json *m = affect_json_first(names); m; m = affect_json_next(m)) {
        const affect_json *value = affect_json_get(epoch, affect_json_name(m));
        if (affect_json_is_number(m)) {
            print_value(csv, value, first);
            first = false;
        }
        if (!affect_json_is_object(m)) continue;
        for (const affect_json *e = affect_json_first(m); e; e = affect_json_next(e))
            print_value(csv, affect_json_get(value, affect_json_name(e)), false);
    }
    affect_buffer_append_string(csv, "\n");
}

static void answer_csv(api_request *request, const curve *c) {
    affect_buffer csv = {0};
    const affect_json *first = affect_json_first(c->epochs);
    if (first) print_names(&csv, first);
    for (const affect_json *e = first; e; e = affect_json_next(e)) print_row(&csv, first, e);
    api_answer_buffer(request, 200, "text/csv; charset=utf-8", &csv);
}

void api_handle_job_metrics(api_request *request) {
    const char *format = api_query(request, "format");
    if (!format) format = api_accepts(request, "text/csv") ? "csv" : "json";
    bool csv = strcmp(format, "csv") == 0;
    curve c = {.job_id = api_path_value(request, "job")};
    affect_error error = {0};
    affect_status status = api_store_read(api_context_of(request)->store, read_curve, &c, &error);
    if (status != AFFECT_STATUS_OK) {
        api_answer_error(request, &error);
    } else if (csv) {
        answer_csv(request, &c);
    } else {
        affect_json *json = affect_json_new_object();
        affect_json_set_string(json, "job", c.job_id);
        affect_json_set(json, "best", affect_json_copy(affect_json_get(c.body, "best")));
        affect_json_set(json, "epochs", c.epochs);
        c.epochs = NULL;
        api_answer_json(request, 200, json);
    }
    free_curve(&c);
}
