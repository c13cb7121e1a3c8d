/* /v1/jobs/{job}/metrics and /plot.svg: a training's epochs as JSON, as CSV, as a picture. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/handlers/plot.h"
#include "api/jobs/job_rows.h"
#include "api/jobs/job_type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- Tables ---- */

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

/* ---- The picture ---- */

static api_plot_point *points_of(const curve *c, size_t *n) {
    size_t size = affect_json_size(c->epochs);
    api_plot_point *points = malloc((size ? size : 1) * sizeof *points);
    *n = 0;
    for (const affect_json *e = affect_json_first(c->epochs); points && e; e = affect_json_next(e))
        points[(*n)++] = (api_plot_point){
            affect_json_get_number(e, "epoch", NAN), affect_json_get_number(e, "loss", NAN),
            affect_json_get_number(e, "val_loss", NAN), affect_json_get_number(e, "accuracy", NAN),
            affect_json_get_number(e, "val_accuracy", NAN)};
    return points;
}

/* "first (paper-optimized), job_..." */
static void make_label(char *label, size_t size, const curve *c) {
    const affect_json *request = affect_json_get(c->body, "request");
    const affect_json *architecture = affect_json_get(request, "architecture");
    const char *name = affect_json_string(architecture, NULL);
    if (!name)
        name = affect_json_get_string(architecture, "name",
                                      architecture ? "inline" : "paper-optimized");
    snprintf(label, size, "%s (%s), %s", affect_json_get_string(request, "model", ""), name,
             c->job_id);
}

static void answer_plot(api_request *request, const curve *curves, size_t n) {
    api_plot_run runs[2] = {{0}};
    api_plot_point *points[2] = {NULL, NULL};
    char labels[2][300], title[200];
    for (size_t i = 0; i < n; i++) {
        points[i] = points_of(&curves[i], &runs[i].n_points);
        make_label(labels[i], sizeof labels[i], &curves[i]);
        runs[i].points = points[i];
        runs[i].label = labels[i];
        runs[i].best_epoch =
            affect_json_get_number(affect_json_get(curves[i].body, "best"), "epoch", 0);
    }
    snprintf(title, sizeof title, "Training on %s",
             affect_json_get_string(curves[0].body, "dataset", "a dataset that was deleted"));
    affect_buffer svg = {0};
    api_plot_print(&svg, title, runs, n);
    free(points[0]);
    free(points[1]);
    api_set_header(request, "Cache-Control", "no-cache");
    api_answer_buffer(request, 200, "image/svg+xml", &svg);
}

void api_handle_job_plot(api_request *request) {
    curve curves[2] = {{.job_id = api_path_value(request, "job")},
                       {.job_id = api_query(request, "compare")}};
    size_t n = curves[1].job_id ? 2 : 1;
    affect_error error = {0};
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        status = api_store_read(api_context_of(request)->store, read_curve, &curves[i], &error);
        const char *type = affect_json_get_string(curves[i].body, "type", "");
        if (status == AFFECT_STATUS_OK && !api_job_type_of(type)->has_curves)
            status = affect_fail(&error, INVALID, "%s is a job of type %s, which has no curves",
                                 curves[i].job_id, type);
    }
    if (status == AFFECT_STATUS_OK)
        answer_plot(request, curves, n);
    else
        api_answer_error(request, &error);
    free_curve(&curves[0]);
    free_curve(&curves[1]);
}
