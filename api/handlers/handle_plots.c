/* /v1/jobs/{job}/plot.svg and /v1/plot.svg: curves of trainings.
 *
 * A job with runs is drawn as the mean of the runs of its best point, or of its first one while
 * there is no report, under their first split: runs are stored point by point, as many of each. An
 * epoch's mean and deviation are of the runs that have come that far, computed as they are read
 * (Welford's recurrence), so that a sweep's picture needs the memory of one run. */
#include "api/context.h"
#include "api/handlers/curves.h"
#include "api/handlers/handlers.h"
#include "api/handlers/picture.h"
#include "api/handlers/query_list.h"
#include "api/jobs/job_rows.h"
#include "api/jobs/job_type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EPOCHS = 100000, MAX_RUNS = 500 };

typedef struct {
    size_t n;
    double mean, squares; /* sum of squared differences from the mean */
} moments;

typedef struct {
    moments training[API_CURVE_MEASURES], validation[API_CURVE_MEASURES];
} epoch_moments;

/* A job on its way into a picture. */
typedef struct {
    const char *job_id;
    affect_json *body;     /* owned */
    epoch_moments *epochs; /* (n_epochs), of number i + 1; owned */
    size_t n_epochs, n_runs;
    affect_json *run; /* the first of the runs that are drawn; NULL: the job has none; owned */
    api_curve_point *points; /* owned */
    char label[600];
} job_curve;

static void free_curve(job_curve *c) {
    affect_json_free(c->body);
    affect_json_free(c->run);
    free(c->epochs);
    free(c->points);
}

/* ---- Reading ---- */

static void add_value(moments *m, double value) {
    if (!isfinite(value)) return;
    double difference = value - m->mean;
    m->n++;
    m->mean += difference / (double)m->n;
    m->squares += difference * (value - m->mean);
}

static affect_status add_epoch(job_curve *c, const affect_json *epoch, affect_error *err) {
    double number = affect_json_get_number(epoch, "epoch", 0);
    if (!(number >= 1 && number <= MAX_EPOCHS)) return AFFECT_STATUS_OK;
    size_t index = (size_t)number - 1;
    if (index >= c->n_epochs) {
        epoch_moments *grown = realloc(c->epochs, (index + 1) * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for %zu epochs", index + 1);
        memset(grown + c->n_epochs, 0, (index + 1 - c->n_epochs) * sizeof *grown);
        c->epochs = grown;
        c->n_epochs = index + 1;
    }
    for (int m = 0; m < API_CURVE_MEASURES; m++) {
        char name[40];
        snprintf(name, sizeof name, "val_%s", api_curve_members[m]);
        add_value(&c->epochs[index].training[m],
                  affect_json_get_number(epoch, api_curve_members[m], NAN));
        add_value(&c->epochs[index].validation[m], affect_json_get_number(epoch, name, NAN));
    }
    return AFFECT_STATUS_OK;
}

static affect_status add_run(job_curve *c, api_db *db, const char *id, affect_error *err) {
    affect_json *epochs = affect_json_new_array();
    affect_status status = api_store_epochs_read(epochs, db, id, err);
    for (const affect_json *e = affect_json_first(epochs); e && status == AFFECT_STATUS_OK;
         e = affect_json_next(e))
        status = add_epoch(c, e, err);
    affect_json_free(epochs);
    c->n_runs++;
    return status;
}

/* Whether the run is of the same point and split as the first. */
static bool is_drawn(const job_curve *c, const affect_json *run) {
    return affect_json_get_number(run, "point", -1) ==
               affect_json_get_number(c->run, "point", -1) &&
           affect_json_get_number(run, "split_index", -1) ==
               affect_json_get_number(c->run, "split_index", -1);
}

static affect_status add_runs(job_curve *c, api_db *db, const api_id_list *list,
                              affect_error *err) {
    const affect_json *result = affect_json_get(c->body, "result");
    double best = affect_json_get_number(affect_json_get(result, "best"), "point", 0);
    size_t n_points = affect_json_size(affect_json_get(result, "points"));
    size_t first = n_points && best < (double)n_points ? (size_t)best * (list->n / n_points) : 0;
    for (size_t i = first; i < list->n && c->n_runs < MAX_RUNS; i++) {
        affect_json *body = NULL;
        AFFECT_TRY(api_store_job_get(&body, db, list->ids[i], err));
        affect_json *run = affect_json_detach(body, "run");
        affect_json_free(body);
        if (!c->run) c->run = run;
        bool drawn = is_drawn(c, run);
        if (run != c->run) affect_json_free(run);
        if (!drawn) break;
        AFFECT_TRY(add_run(c, db, list->ids[i], err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_curve(api_db *db, void *context, affect_error *err) {
    job_curve *c = context;
    api_id_list list = {0};
    AFFECT_TRY(api_store_job_get(&c->body, db, c->job_id, err));
    const char *type_name = affect_json_get_string(c->body, "type", "");
    const api_job_type *type = api_job_type_of(type_name);
    if (!type->has_runs && !type->has_curves)
        return affect_fail(err, INVALID, "%s is a job of type %s, which has no curves", c->job_id,
                           type_name);
    if (!type->has_runs) return add_run(c, db, c->job_id, err);
    AFFECT_TRY(api_store_runs_of(&list, db, c->job_id, err));
    affect_status status = add_runs(c, db, &list, err);
    free(list.ids);
    return status;
}

/* ---- Drawing ---- */

static void set_values(double *mean, double *deviation, const moments *m, size_t n_runs) {
    *mean = m->n ? m->mean : NAN;
    *deviation = n_runs > 1 && m->n ? sqrt(m->n > 1 ? m->squares / (double)(m->n - 1) : 0) : NAN;
}

static affect_status make_points(job_curve *c, affect_error *err) {
    c->points = malloc((c->n_epochs + 1) * sizeof *c->points);
    if (!c->points) return affect_fail(err, NO_MEMORY, "no memory for %zu epochs", c->n_epochs);
    for (size_t i = 0; i < c->n_epochs; i++) {
        api_curve_point *p = &c->points[i];
        p->epoch = (double)(i + 1);
        for (int m = 0; m < API_CURVE_MEASURES; m++) {
            set_values(&p->mean.training[m], &p->deviation.training[m], &c->epochs[i].training[m],
                       c->n_runs);
            set_values(&p->mean.validation[m], &p->deviation.validation[m],
                       &c->epochs[i].validation[m], c->n_runs);
        }
    }
    return AFFECT_STATUS_OK;
}

/* "dropout=0.3, session-out: mean of 5 runs" */
static void make_label(job_curve *c, const api_request *request) {
    if (!c->run) {
        api_picture_label(c->label, sizeof c->label, request, c->body);
        return;
    }
    affect_buffer text = {0};
    const affect_json *parameters = affect_json_get(c->run, "parameters");
    for (const affect_json *p = affect_json_first(parameters); p; p = affect_json_next(p)) {
        const char *name = affect_json_name(p), *dot = strrchr(name, '.');
        affect_buffer_printf(&text, "%s=", dot ? dot + 1 : name);
        if (affect_json_is_string(p))
            affect_buffer_append_string(&text, affect_json_string(p, ""));
        else
            affect_json_print(&text, p);
        affect_buffer_append_string(&text, ", ");
    }
    affect_buffer_printf(&text, "%s: mean of %zu runs", affect_json_get_string(c->run, "split", ""),
                         c->n_runs);
    if (api_query_bool(request, "ids")) affect_buffer_printf(&text, ", %s", c->job_id);
    snprintf(c->label, sizeof c->label, "%s", text.failed ? "" : affect_buffer_string(&text));
    affect_buffer_free(&text);
}

/* The jobs' own title: of their dataset, where it is one. */
static void make_title(char title[300], const job_curve *curves, size_t n) {
    const char *dataset = affect_json_get_string(curves[0].body, "dataset", NULL);
    bool is_one = true;
    for (size_t i = 1; i < n; i++) {
        const char *other = affect_json_get_string(curves[i].body, "dataset", NULL);
        is_one = is_one && dataset && other && strcmp(dataset, other) == 0;
    }
    snprintf(title, 300, is_one ? "Training on %.200s" : "Training on several datasets",
             dataset ? dataset : "a dataset that was deleted");
}

static affect_status print(affect_buffer *svg, api_request *request, job_curve *curves, size_t n,
                           affect_error *err) {
    api_curve drawn[API_CURVES_MAX];
    const char *names[API_CURVES_MAX];
    char title[300], *text = NULL;
    size_t n_names = 0;
    const api_svg_style style = api_picture_style(request);
    affect_status status =
        api_query_list(&text, names, &n_names, "names", api_query(request, "names"), 0, n, err);
    if (status == AFFECT_STATUS_OK && n_names && n_names != n)
        status = affect_fail(err, INVALID, "query names: %zu for %zu jobs", n_names, n);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        job_curve *c = &curves[i];
        status = make_points(c, err);
        make_label(c, request);
        drawn[i] = (api_curve){
            .label = n_names ? names[i] : c->label,
            .points = c->points,
            .n_points = c->n_epochs,
            .best_epoch =
                c->run ? 0 : affect_json_get_number(affect_json_get(c->body, "best"), "epoch", 0)};
    }
    if (status == AFFECT_STATUS_OK) {
        make_title(title, curves, n);
        api_curves_print(svg, &style, title, drawn, n);
    }
    free(text);
    return status;
}

static void answer(api_request *request, const char *const *ids, size_t n) {
    job_curve curves[API_CURVES_MAX] = {0};
    affect_buffer svg = {0};
    affect_error error = {0};
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        curves[i].job_id = ids[i];
        status = api_store_read(api_context_of(request)->store, read_curve, &curves[i], &error);
    }
    if (status == AFFECT_STATUS_OK) status = print(&svg, request, curves, n, &error);
    for (size_t i = 0; i < n; i++) free_curve(&curves[i]);
    api_picture_answer(request, status, &svg, &error);
}

void api_handle_job_plot(api_request *request) {
    const char *const ids[] = {api_path_value(request, "job"), api_query(request, "compare")};
    answer(request, ids, ids[1] ? 2 : 1);
}

void api_handle_plot(api_request *request) {
    const char *ids[API_CURVES_MAX];
    char *text = NULL;
    size_t n = 0;
    affect_error error = {0};
    if (api_query_list(&text, ids, &n, "jobs", api_query(request, "jobs"), 1, API_CURVES_MAX,
                       &error) == AFFECT_STATUS_OK)
        answer(request, ids, n);
    else
        api_answer_error(request, &error);
    free(text);
}
