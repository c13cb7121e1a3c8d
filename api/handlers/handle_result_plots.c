/* /v1/jobs/{job}/confusion.svg, /reliability.svg, /recall.svg: pictures of the part that a result
 * reports, made of the numbers of the stored result alone. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/handlers/picture.h"
#include "api/handlers/result_plots.h"
#include "api/jobs/job_rows.h"
#include "engine/dataset/label_map.h"
#include "engine/evaluation/interval.h"
#include "engine/evaluation/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DRAWN_GROUPS = 24 }; /* of an attribute: one with more is left out */

/* What is drawn: members of a result. */
typedef struct {
    affect_json *body;                                    /* owned */
    const affect_json *result, *recall, *confusion, *uar; /* of the reported part */
    const char *part;
    size_t n; /* classes */
} report;

/* A training has the measures of its test part, or, without one, those of its best epoch. */
static affect_status find_measures(report *r, affect_error *err) {
    const affect_json *test = affect_json_get(r->result, "test");
    const affect_json *metrics = affect_json_get(r->result, "metrics");
    bool is_epoch = !test && affect_json_get(metrics, "val_confusion");
    const affect_json *measures = test ? test : metrics;
    r->recall = affect_json_get(measures, is_epoch ? "val_recall" : "recall");
    r->confusion = affect_json_get(measures, is_epoch ? "val_confusion" : "confusion");
    r->uar = affect_json_get(measures, is_epoch ? "val_recall_mean" : "recall_mean");
    r->part = affect_json_get_string(r->result, "part", test ? "test" : "validation");
    r->n = affect_json_size(r->recall);
    bool fits = r->n > 0 && r->n <= AFFECT_MAX_CLASSES && affect_json_size(r->confusion) == r->n;
    for (const affect_json *row = affect_json_first(r->confusion); row && fits;
         row = affect_json_next(row))
        fits = affect_json_size(row) == r->n;
    if (fits) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT, "job %s (%s, %s) has no result of classes to draw",
                       affect_json_get_string(r->body, "id", ""),
                       affect_json_get_string(r->body, "type", ""),
                       affect_json_get_string(r->body, "state", ""));
}

static affect_status read_report(report *r, api_request *request, affect_error *err) {
    AFFECT_TRY(api_job_read_body(&r->body, api_context_of(request)->store,
                                 api_path_value(request, "job"), err));
    r->result = affect_json_get(r->body, "result");
    return find_measures(r, err);
}

static void make_title(char title[600], const report *r, const api_request *request,
                       const char *what) {
    char label[300];
    api_picture_label(label, sizeof label, request, r->body);
    snprintf(title, 600, "%s of %s: %s part of %.200s", what, label, r->part,
             affect_json_get_string(r->body, "dataset", "a dataset that was deleted"));
}

/* counts (classes, classes). */
static void read_counts(double *counts, const report *r) {
    for (const affect_json *row = affect_json_first(r->confusion); row; row = affect_json_next(row))
        for (const affect_json *e = affect_json_first(row); e; e = affect_json_next(e))
            *counts++ = affect_json_number(e, 0);
}

/* Reads the job's result and answers with what `print` draws of it. */
static void answer(api_request *request, const char *what,
                   affect_status (*print)(affect_buffer *svg, const api_svg_style *style,
                                          const char *title, const report *r, affect_error *err)) {
    affect_error error = {0};
    affect_buffer svg = {0};
    char title[600];
    report r = {0};
    const api_svg_style style = api_picture_style(request);
    affect_status status = read_report(&r, request, &error);
    if (status == AFFECT_STATUS_OK) {
        make_title(title, &r, request, what);
        status = print(&svg, &style, title, &r, &error);
    }
    affect_json_free(r.body);
    api_picture_answer(request, status, &svg, &error);
}

static affect_status print_confusion(affect_buffer *svg, const api_svg_style *style,
                                     const char *title, const report *r, affect_error *err) {
    const char *classes[AFFECT_MAX_CLASSES];
    double *counts = malloc(r->n * r->n * sizeof *counts);
    size_t c = 0;
    if (!counts) return affect_fail(err, NO_MEMORY, "no memory for a picture");
    for (const affect_json *e = affect_json_first(r->recall); e; e = affect_json_next(e))
        classes[c++] = affect_json_name(e);
    read_counts(counts, r);
    const api_confusion_data data = {classes, r->n, counts};
    api_confusion_print(svg, style, title, &data);
    free(counts);
    return AFFECT_STATUS_OK;
}

void api_handle_job_confusion(api_request *request) {
    answer(request, "Confusion", print_confusion);
}

static affect_status print_reliability(affect_buffer *svg, const api_svg_style *style,
                                       const char *title, const report *r, affect_error *err) {
    affect_calibration calibration;
    if (!affect_calibration_from_json(&calibration, affect_json_get(r->result, "calibration")))
        return affect_fail(err, CONFLICT,
                           "job %s has a result without calibration: of an older "
                           "version of affectd",
                           affect_json_get_string(r->body, "id", ""));
    api_reliability_print(svg, style, title, &calibration);
    return AFFECT_STATUS_OK;
}

void api_handle_job_reliability(api_request *request) {
    answer(request, "Reliability", print_reliability);
}

/* ---- Recall ---- */

typedef struct {
    api_recall_row *rows;
    size_t n;
    char (*headings)[100];
} row_list;

static void add_classes(row_list *list, const report *r, const double *counts) {
    size_t c = 0;
    for (const affect_json *e = affect_json_first(r->recall); e; e = affect_json_next(e), c++) {
        double n = 0, right = counts[c * r->n + c];
        for (size_t k = 0; k < r->n; k++) n += counts[c * r->n + k];
        affect_interval interval = affect_interval_wilson((size_t)right, (size_t)n);
        list->rows[list->n++] =
            (api_recall_row){.heading = c == 0 ? "classes, with 95 % intervals" : NULL,
                             .name = affect_json_name(e),
                             .recall = n > 0 ? right / n : NAN,
                             .low = n > 0 ? interval.low : NAN,
                             .high = n > 0 ? interval.high : NAN,
                             .n = n};
    }
}

static bool is_drawn(const affect_json *groups) {
    size_t n = affect_json_size(groups);
    return n >= 2 && n <= MAX_DRAWN_GROUPS;
}

static void add_groups(row_list *list, const affect_json *attribute, char *heading) {
    snprintf(heading, sizeof list->headings[0], "%.63s: mean recall of its groups",
             affect_json_name(attribute));
    for (const affect_json *g = affect_json_first(attribute); g; g = affect_json_next(g))
        list->rows[list->n++] =
            (api_recall_row){.heading = g == affect_json_first(attribute) ? heading : NULL,
                             .name = affect_json_name(g),
                             .recall = affect_json_get_number(g, "recall_mean", NAN),
                             .low = NAN,
                             .high = NAN,
                             .n = affect_json_get_number(g, "utterances", 0)};
}

static affect_status print_recall(affect_buffer *svg, const api_svg_style *style, const char *title,
                                  const report *r, affect_error *err) {
    const affect_json *groups = affect_json_get(r->result, "groups");
    size_t n_attributes = affect_json_size(groups), a = 0;
    row_list list = {0};
    double *counts = malloc(r->n * r->n * sizeof *counts);
    list.rows = malloc((r->n + n_attributes * MAX_DRAWN_GROUPS) * sizeof *list.rows);
    list.headings = malloc((n_attributes + 1) * sizeof *list.headings);
    bool complete = counts && list.rows && list.headings;
    if (complete) {
        read_counts(counts, r);
        add_classes(&list, r, counts);
        for (const affect_json *e = affect_json_first(groups); e; e = affect_json_next(e))
            if (is_drawn(e)) add_groups(&list, e, list.headings[a++]);
        api_recall_print(svg, style, title, list.rows, list.n, affect_json_number(r->uar, NAN));
    }
    free(counts);
    free(list.rows);
    free(list.headings);
    return complete ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for a picture");
}

void api_handle_job_recall(api_request *request) {
    answer(request, "Recall", print_recall);
}
