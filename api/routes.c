/* Routes; see routes.h. Adding an endpoint: a row here and a handler; api/contract.c makes its part
 * of the contract from the row. An answer of a new shape is described in answers.json. */
#include "api/routes.h"

#include "api/handlers/handlers.h"
#include "api/handlers/picture.h"
#include "api/jobs/job_state.h"
#include "api/jobs/job_type.h"
#include "api/request.h"
#include "api/schema.h"
#include "engine/evaluation/compare.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define JSON      (1u << API_BODY_JSON)
#define MULTIPART (1u << API_BODY_MULTIPART)
#define UPLOAD    (1u << API_BODY_UPLOAD)

/* ---- Queries and headers ---- */

#define MAX_QUERY 255 /* bytes of a value */
#define TEXT(text_name, text, ...)                                                                 \
    {                                                                                              \
        .name = (text_name), .kind = AFFECT_FIELD_KIND_STRING, .size = MAX_QUERY + 1,              \
        .help = (text), __VA_ARGS__                                                                \
    }
#define INTEGER(integer_name, value, low, high, text)                                              \
    {                                                                                              \
        .name = (integer_name), .kind = AFFECT_FIELD_KIND_INTEGER, .size = sizeof(int64_t),        \
        .default_number = (value), .minimum = (low), .maximum = (high), .help = (text)             \
    }
#define CHOICE(choice_name, names, text, ...)                                                      \
    {                                                                                              \
        .name = (choice_name), .kind = AFFECT_FIELD_KIND_CHOICE, .size = sizeof(int),              \
        .choices = (names), .help = (text), __VA_ARGS__                                            \
    }
#define CURSOR TEXT("after", "where the page begins: what the one before it ended with")

#define STATE_NAME(name, text, terminal, active) text,
static const char *const state_names[] = {API_JOB_STATE_TABLE(STATE_NAME) NULL};
static const char *const table_formats[] = {"json", "csv", "md", "latex", NULL};
static const char *const metrics_formats[] = {"json", "csv", NULL};
static const char *const model_formats[] = {"safetensors", NULL};

static const affect_field page_queries[] = {INTEGER("limit", 100, 1, 1000, "rows a page"), CURSOR,
                                            AFFECT_FIELD_END};
static const affect_field create_queries[] = {TEXT("name", "the dataset's name, for a raw archive"),
                                              TEXT("layout", "how a raw archive is laid out"),
                                              AFFECT_FIELD_END};
static const affect_field job_create_queries[] = {
    {.name = "dry_run",
     .kind = AFFECT_FIELD_KIND_BOOL,
     .size = sizeof(bool),
     .help = "say what a training would take, and queue nothing"},
    AFFECT_FIELD_END};
static const affect_field job_list_queries[] = {
    INTEGER("limit", 50, 1, 500, "rows a page"), CURSOR,
    CHOICE("state", state_names, "only jobs in this state", .schema = "{'default':null}"),
    TEXT("type", "only jobs of this type", .complete = api_job_type_add_names), AFFECT_FIELD_END};
static const affect_field run_queries[] = {
    INTEGER("limit", 50, 1, 500, "rows a page"), CURSOR,
    CHOICE("state", state_names, "only runs in this state", .schema = "{'default':null}"),
    AFFECT_FIELD_END};
static const affect_field table_queries[] = {CHOICE("format", table_formats, "of the table"),
                                             AFFECT_FIELD_END};
static const affect_field wait_queries[] = {
    INTEGER("wait", 0, 0, 300, "seconds to wait for a change of the state"), AFFECT_FIELD_END};
static const affect_field event_queries[] = {
    INTEGER("after", 0, 0, 9007199254740991.0, "number of the newest event that is known"),
    INTEGER("limit", 100, 1, 1000, "rows a page"), AFFECT_FIELD_END};
static const affect_field metrics_queries[] = {CHOICE("format", metrics_formats,
                                                      "csv where Accept names text/csv, else json",
                                                      .schema = "{'default':null}"),
                                               AFFECT_FIELD_END};
#define SIZE(size_name, low, text)                                                                 \
    {                                                                                              \
        .name = (size_name), .kind = AFFECT_FIELD_KIND_INTEGER, .size = sizeof(int64_t),           \
        .minimum = (low), .maximum = API_PICTURE_SIZE_MAX, .help = (text),                         \
        .schema = "{'default':null}"                                                               \
    }
#define PICTURE_QUERIES                                                                            \
    TEXT("title", "of the picture, in place of its own; empty: none"),                             \
        SIZE("width", API_PICTURE_WIDTH_MIN, "pixels; without it the picture's own"),              \
        SIZE("height", API_PICTURE_HEIGHT_MIN, "pixels; without it the picture's own"),            \
        CHOICE("theme", api_picture_themes, "of its colours"), {                                   \
        .name = "ids", .kind = AFFECT_FIELD_KIND_BOOL, .size = sizeof(bool),                       \
        .help = "show ids of jobs behind their names"                                              \
    }
#define NAMES TEXT("names", "in the legend, one a job, joined by commas")
static const affect_field picture_queries[] = {PICTURE_QUERIES, AFFECT_FIELD_END};
static const affect_field job_plot_queries[] = {TEXT("compare", "a second job's id"), NAMES,
                                                PICTURE_QUERIES, AFFECT_FIELD_END};
static const affect_field plot_queries[] = {
    TEXT("jobs", "1 to 8 ids, joined by commas; a job with runs is drawn as their mean",
         .required = true, .schema = "{'pattern':'^[^,]{1,40}(,[^,]{1,40}){0,7}$'}"),
    NAMES, PICTURE_QUERIES, AFFECT_FIELD_END};
static const affect_field compare_queries[] = {
    TEXT("jobs", "2 to 8 ids, joined by commas; each is compared with the first", .required = true,
         .schema = "{'pattern':'^[^,]{1,40}(,[^,]{1,40}){1,7}$'}"),
    CHOICE("format", affect_compare_formats, "of the answer"), AFFECT_FIELD_END};
static const affect_field artifact_queries[] = {CHOICE("format", model_formats, "of the file"),
                                                AFFECT_FIELD_END};

/* Read by its handler, and of any length that the server takes. */
#define HEADER(header_name, text, ...)                                                             \
    { .name = (header_name), .kind = AFFECT_FIELD_KIND_STRING, .help = (text), __VA_ARGS__ }
#define IF_MATCH      HEADER("If-Match", "ETags of what the client wants: else 412")
#define IF_NONE_MATCH HEADER("If-None-Match", "ETags of what the client has: then 304; * is any")
static const affect_field condition_headers[] = {IF_MATCH, IF_NONE_MATCH, AFFECT_FIELD_END};
static const affect_field match_headers[] = {IF_MATCH, AFFECT_FIELD_END};
static const affect_field file_headers[] = {
    IF_MATCH, IF_NONE_MATCH, HEADER("Range", "one range of bytes: 206"), AFFECT_FIELD_END};
static const affect_field cursor_headers[] = {
    HEADER("Last-Event-ID", "the cursor, as a browser sends it that comes back; ?after goes before",
           .schema = "{'pattern':'^[0-9]{1,18}$'}"),
    AFFECT_FIELD_END};
static const affect_field create_headers[] = {
    TEXT("Idempotency-Key", "the same key and body again: the same job"), AFFECT_FIELD_END};

/* ---- The table ---- */

#define BODY_JSON .bodies = JSON, .max_body = "max_json_bytes"
#define ROUTE(verb, path, function, least_role, answer_list, text, ...)                            \
    {                                                                                              \
        .method = #verb, .pattern = (path), .handler = (function), .role = API_ROLE_##least_role,  \
        .answers = (answer_list), .summary = (text), __VA_ARGS__                                   \
    }

const api_route api_routes[] = {
    ROUTE(GET, "/", api_handle_index, ANYONE, "200 Index", "where to look"),
    ROUTE(GET, "/livez", api_handle_live, ANYONE, "200 Status", "the process answers"),
    ROUTE(GET, "/readyz", api_handle_ready, ANYONE, "200 Status", "it can take work"),
    ROUTE(GET, "/healthz", api_handle_ready, ANYONE, "200 Status", "the same as /readyz"),
    ROUTE(GET, "/metrics", api_handle_metrics_text, ANYONE, "200 text/plain",
          "counters and gauges for Prometheus"),
    ROUTE(GET, "/openapi.json", api_handle_openapi, ANYONE, "200 Contract", "this contract"),
    ROUTE(GET, "/v1/system", api_handle_system, VIEWER, "200 System", "version, devices, settings"),
    ROUTE(POST, "/v1/system/verify", api_handle_verify, ADMIN, "200 Verification",
          "compare every model file with its stored digest"),

    ROUTE(POST, "/v1/datasets", api_handle_dataset_create, TRAINER, "202 Job, 409",
          "import a corpus", .queries = create_queries, .bodies = JSON | MULTIPART | UPLOAD,
          .max_body = "max_upload_bytes", .describe = api_describe_dataset_create),
    ROUTE(GET, "/v1/datasets", api_handle_dataset_list, VIEWER, "200 DatasetPage", "all datasets",
          .queries = page_queries),
    ROUTE(GET, "/v1/datasets/{dataset}", api_handle_dataset, VIEWER, "200 Dataset",
          "one dataset, by name or id"),
    ROUTE(GET, "/v1/datasets/{dataset}/report", api_handle_dataset_report, VIEWER,
          "200 Report, 409", "what the import counted, dropped and rejected"),
    ROUTE(GET, "/v1/datasets/{dataset}/samples", api_handle_dataset_samples, VIEWER,
          "200 SamplePage, 409", "its utterances, without recordings", .queries = page_queries),
    ROUTE(GET, "/v1/datasets/{dataset}/splits", api_handle_dataset_splits, VIEWER,
          "200 SplitList, 409",
          "the splits that it allows, with their sizes and what they let through"),
    ROUTE(DELETE, "/v1/datasets/{dataset}", api_handle_dataset_delete, TRAINER, "204, 409",
          "delete a dataset that nothing uses"),

    ROUTE(POST, "/v1/jobs", api_handle_job_create, TRAINER, "202 Job, 200 DryRun, 409",
          "queue a train or evaluate job; dry_run=true (200) only says what it would take",
          .queries = job_create_queries, .headers = create_headers, BODY_JSON,
          .describe = api_describe_job_create),
    ROUTE(GET, "/v1/jobs", api_handle_job_list, VIEWER, "200 JobPage", "all jobs, newest first",
          .queries = job_list_queries),
    ROUTE(GET, "/v1/jobs/{job}", api_handle_job, VIEWER, "200 Job, 304, 412",
          "one job; wait=SECONDS answers when its state changes", .queries = wait_queries,
          .headers = condition_headers),
    ROUTE(
        DELETE, "/v1/jobs/{job}", api_handle_job_delete, TRAINER, "204, 409",
        "remove a job that has ended or is paused, with its events and files; what it made stays"),
    ROUTE(POST, "/v1/jobs/{job}/cancel", api_handle_job_cancel, TRAINER,
          "202 Job, 200 Job, 409, 412", "stop a job; 200: it was so already",
          .headers = match_headers, BODY_JSON),
    ROUTE(POST, "/v1/jobs/{job}/pause", api_handle_job_pause, TRAINER, "202 Job, 200 Job, 409, 412",
          "keep a training for later: a checkpoint is written, its place is free",
          .headers = match_headers, BODY_JSON),
    ROUTE(POST, "/v1/jobs/{job}/resume", api_handle_job_resume, TRAINER,
          "202 Job, 200 Job, 409, 412",
          "queue a paused training again; it resumes and ends with the same bits",
          .headers = match_headers, BODY_JSON),
    ROUTE(POST, "/v1/jobs/{job}/retry", api_handle_job_retry, TRAINER, "202 Job, 409",
          "the request of a job that failed or was cancelled, as a new job",
          .headers = create_headers, BODY_JSON),
    ROUTE(GET, "/v1/jobs/{job}/events", api_handle_job_events, VIEWER,
          "200 EventPage|application/x-ndjson|text/event-stream, 204, 400",
          "its events: a page, NDJSON or SSE, by Accept; 204: SSE, and the client has all of them",
          .queries = event_queries, .headers = cursor_headers),
    ROUTE(GET, "/v1/jobs/{job}/metrics", api_handle_job_metrics, VIEWER, "200 Metrics|text/csv",
          "its epochs as JSON or CSV", .queries = metrics_queries),
    ROUTE(GET, "/v1/jobs/{job}/plot.svg", api_handle_job_plot, VIEWER, "200 image/svg+xml, 422",
          "its curves as a picture; compare=JOB draws a second job beside it",
          .queries = job_plot_queries),
    ROUTE(GET, "/v1/jobs/{job}/confusion.svg", api_handle_job_confusion, VIEWER,
          "200 image/svg+xml, 409", "the confusion matrix of the part that its result reports",
          .queries = picture_queries),
    ROUTE(GET, "/v1/jobs/{job}/reliability.svg", api_handle_job_reliability, VIEWER,
          "200 image/svg+xml, 409", "its reliability diagram: accuracy by confidence",
          .queries = picture_queries),
    ROUTE(GET, "/v1/jobs/{job}/recall.svg", api_handle_job_recall, VIEWER, "200 image/svg+xml, 409",
          "recall of each class, and mean recall of groups", .queries = picture_queries),
    ROUTE(GET, "/v1/jobs/{job}/runs", api_handle_job_runs, VIEWER, "200 JobPage",
          "the runs of a sweep, jobs of their own, in their order", .queries = run_queries),
    ROUTE(GET, "/v1/jobs/{job}/table", api_handle_job_table, VIEWER,
          "200 SweepReport|text/csv|text/markdown|application/x-tex, 206 "
          "SweepReport|text/csv|text/markdown|application/x-tex, 304, 412, 416",
          "the table of a sweep: its points under each split", .queries = table_queries,
          .headers = file_headers),
    ROUTE(GET, "/v1/jobs/{job}/artifacts", api_handle_job_artifacts, VIEWER, "200 ArtifactList",
          "files that it made: predictions of an evaluation"),
    ROUTE(GET, "/v1/jobs/{job}/artifacts/{name}", api_handle_job_artifact, VIEWER,
          "200 application/octet-stream|application/x-ndjson|text/csv|"
          "text/markdown|application/x-tex, 206 "
          "application/octet-stream|application/x-ndjson|text/csv|"
          "text/markdown|application/x-tex, 304, 412, 416",
          "one of its files", .headers = file_headers),

    ROUTE(GET, "/v1/plot.svg", api_handle_plot, VIEWER, "200 image/svg+xml, 422",
          "curves of several jobs in one picture; a sweep's are mean and deviation over the runs "
          "of its best point",
          .queries = plot_queries),
    ROUTE(GET, "/v1/compare", api_handle_compare, VIEWER,
          "200 Comparison|text/csv|text/markdown|application/x-latex, 409",
          "results of jobs, over the utterances that they have in common: differences with "
          "intervals, McNemar's test",
          .queries = compare_queries),

    ROUTE(GET, "/v1/models", api_handle_model_list, VIEWER, "200 ModelPage", "all models",
          .queries = page_queries),
    ROUTE(GET, "/v1/models/{model}", api_handle_model, VIEWER, "200 Model",
          "one model and its versions"),
    ROUTE(GET, "/v1/models/{model}/versions/{version}", api_handle_model_version, VIEWER,
          "200 ModelVersion", "one version"),
    ROUTE(GET, "/v1/models/{model}/versions/{version}/artifact", api_handle_model_artifact, VIEWER,
          "200 application/octet-stream, 206 application/octet-stream, 304, 412, 416",
          "its model file", .queries = artifact_queries, .headers = file_headers),
    ROUTE(DELETE, "/v1/models/{model}", api_handle_model_delete, TRAINER, "204, 409",
          "delete a model that nothing uses, with all its versions"),
    ROUTE(DELETE, "/v1/models/{model}/versions/{version}", api_handle_model_version_delete, TRAINER,
          "204, 409", "delete one version that nothing uses"),

    ROUTE(GET, "/v1/architectures", api_handle_architecture_list, VIEWER, "200 ArchitectureList",
          "all architecture presets"),
    ROUTE(GET, "/v1/architectures/{name}", api_handle_architecture, VIEWER, "200 Architecture",
          "one architecture preset, with its document"),

    ROUTE(POST, "/v1/predictions", api_handle_prediction, PREDICTOR, "200 Prediction",
          "classify an utterance", .bodies = MULTIPART, .max_body = "max_prediction_bytes",
          .describe = api_describe_prediction),
    {0},
};

/* ---- Finding the row ---- */

/* Matches pattern segments against the path; values of {names} are copied. */
static bool match(api_request *request, const char *pattern) {
    const char *path = request->path;
    size_t n = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++) return false;
            continue;
        }
        size_t name_size = strcspn(pattern + 1, "}"), value_size = strcspn(path, "/");
        if (value_size == 0 || n == API_MAX_PATH_VALUES) return false;
        free(request->path_values[n]);
        request->path_names[n] = pattern + 1;
        request->path_name_sizes[n] = name_size;
        request->path_values[n] = strndup(path, value_size);
        if (!request->path_values[n]) return false;
        request->n_path_values = ++n;
        pattern += name_size + 2;
        path += value_size;
    }
    return !*pattern && !*path;
}

bool api_route_find(api_request *request) {
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    char allowed[96] = "";
    for (const api_route *route = api_routes; route->method; route++) {
        if (!match(request, route->pattern)) continue;
        if (strcmp(route->method, method) == 0) {
            request->route = route;
            return true;
        }
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof allowed - used, "%s%s%s", used ? ", " : "", route->method,
                 strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (!*allowed) {
        api_answer_problem(request, "not_found", "no resource at this path");
        return false;
    }
    api_set_header(request, "Allow", "%s", allowed);
    api_answer_problem(request, "method_not_allowed", "allowed: %s", allowed);
    return false;
}

bool api_route_is_immediate(const api_route *route) {
    return route->handler == api_handle_live;
}

/* ---- Judging the headers ---- */

/* "a, b", of a table. */
static void print_names(char *text, size_t size, const affect_field *table) {
    size_t used = 0;
    *text = '\0';
    for (const affect_field *field = table; field && field->name && used < size; field++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", field->name);
}

/* Whether the value fits its row; why: what it needs. */
static bool query_fits(const affect_field *field, const char *text, char why[320]) {
    union {
        int64_t integer;
        double number;
        bool yes;
        int choice;
        char text[MAX_QUERY + 1];
    } value;
    affect_error error = {0};
    snprintf(why, 320, "need true or false");
    if (field->kind == AFFECT_FIELD_KIND_BOOL)
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    bool good = affect_fields_parse_text(&value, field, text, &error) == AFFECT_STATUS_OK;
    if (field->kind == AFFECT_FIELD_KIND_INTEGER) {
        snprintf(why, 320, "need an integer in %.0f..%.0f", field->minimum, field->maximum);
        return good && !text[strspn(text, "0123456789-")];
    }
    snprintf(why, 320, "%.300s", error.message + strlen(field->name) + strlen(": "));
    return good;
}

static bool check_queries(api_request *request) {
    char text[320];
    const affect_field *table = request->route->queries;
    for (size_t i = 0; i < request->queries.n; i++) {
        const api_pair *query = &request->queries.items[i];
        const affect_field *field = table ? affect_fields_find(table, query->name) : NULL;
        print_names(text, sizeof text, table);
        if (!field)
            api_answer_problem(request, "invalid", "unknown query \"%.60s\" (known: %s)",
                               query->name, *text ? text : "none");
        else if (api_query(request, query->name) != query->value) /* one would be dropped */
            api_answer_problem(request, "invalid", "query %s is given twice", query->name);
        else if (!query_fits(field, query->value, text))
            api_answer_problem(request, "invalid", "query %s: %s", query->name, text);
        else
            continue;
        return false;
    }
    for (const affect_field *field = table; field && field->name; field++) {
        if (!field->required || api_query(request, field->name)) continue;
        api_answer_problem(request, "invalid", "query %s is missing", field->name);
        return false;
    }
    return true;
}

static api_body_kind kind_of(const api_request *request) {
    static const char *const no_archives[] = {"application/json", "multipart/", "text/",
                                              "application/x-www-form-urlencoded"};
    const char *given = api_header(request, "Content-Type");
    if (!given) return API_BODY_UPLOAD;
    if (api_has_media_type(request, "application/json")) return API_BODY_JSON;
    if (api_has_media_type(request, "multipart/form-data")) return API_BODY_MULTIPART;
    /* What comes close, or what `curl -d` says: better refused than read as an archive. */
    for (size_t i = 0; i < sizeof no_archives / sizeof *no_archives; i++)
        if (strncasecmp(given, no_archives[i], strlen(no_archives[i])) == 0) return API_BODY_NONE;
    return API_BODY_UPLOAD;
}

static uint64_t body_limit(const api_request *request, api_body_kind kind) {
    const char *name = kind == API_BODY_JSON ? "max_json_bytes" : request->route->max_body;
    const affect_field *field = affect_fields_find(api_settings_fields, name);
    int64_t limit;
    memcpy(&limit, (const char *)request->context->settings + field->offset, sizeof limit);
    return (uint64_t)limit;
}

static bool refuse_kind(api_request *request) {
    char accepted[200] = "";
    const char *const kinds[] = {"application/json", "multipart/form-data"};
    size_t used = 0;
    for (int kind = API_BODY_JSON; kind <= API_BODY_MULTIPART; kind++)
        if (request->route->bodies & 1u << kind)
            used += (size_t)snprintf(accepted + used, sizeof accepted - used, "%s%s",
                                     used ? ", " : "", kinds[kind - API_BODY_JSON]);
    for (size_t i = 0; request->route->bodies & UPLOAD && api_archive_types[i]; i++)
        used += (size_t)snprintf(accepted + used, sizeof accepted - used, "%s%s", used ? ", " : "",
                                 api_archive_types[i]);
    api_set_header(request, "Accept-Post", "%s", accepted);
    api_answer_problem(request, "unsupported_media_type", "accepted: %s", accepted);
    return false;
}

bool api_route_check(api_request *request, uint64_t *limit) {
    if (!check_queries(request)) return false;
    const char *encoding = api_header(request, "Content-Encoding");
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        api_answer_problem(request, "unsupported_media_type",
                           "Content-Encoding: only identity is accepted");
        return false;
    }
    const char *length = api_header(request, "Content-Length");
    bool chunked = api_header(request, "Transfer-Encoding") != NULL;
    uint64_t size = length ? strtoull(length, NULL, 10) : 0;
    request->body_kind = API_BODY_NONE;
    *limit = 0;
    if (request->route->bodies == 0) {
        if (size == 0 && !chunked) return true;
        api_answer_problem(request, "too_large", "this resource takes no body");
        return false;
    }
    if (size == 0 && !chunked) return true; /* the handler says what it misses */
    request->body_kind = kind_of(request);
    if (!(request->route->bodies & 1u << request->body_kind)) return refuse_kind(request);
    *limit = body_limit(request, request->body_kind);
    if (size <= *limit) return true;
    affect_json *members = affect_json_new_object();
    affect_json_set_number(members, "limit", (double)*limit);
    api_answer_problem_with(request, "too_large", members, "%llu bytes announced, at most %llu",
                            (unsigned long long)size, (unsigned long long)*limit);
    return false;
}
