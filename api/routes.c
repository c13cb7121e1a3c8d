/* Routes; see routes.h. Adding an endpoint: a row here, a handler, and its entry in openapi.json.
 */
#include "api/routes.h"

#include "api/handlers/handlers.h"
#include "api/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define JSON      (1u << API_BODY_JSON)
#define MULTIPART (1u << API_BODY_MULTIPART)
#define UPLOAD    (1u << API_BODY_UPLOAD)

const api_route api_routes[] = {
    {"GET", "/", api_handle_index, API_ROLE_ANYONE, 0, NULL, "", "where to look"},
    {"GET", "/livez", api_handle_live, API_ROLE_ANYONE, 0, NULL, "", "the process answers"},
    {"GET", "/readyz", api_handle_ready, API_ROLE_ANYONE, 0, NULL, "", "it can take work"},
    {"GET", "/healthz", api_handle_ready, API_ROLE_ANYONE, 0, NULL, "", "the same as /readyz"},
    {"GET", "/metrics", api_handle_metrics_text, API_ROLE_ANYONE, 0, NULL, "",
     "counters and gauges for Prometheus"},
    {"GET", "/openapi.json", api_handle_openapi, API_ROLE_ANYONE, 0, NULL, "", "this contract"},
    {"GET", "/v1/system", api_handle_system, API_ROLE_VIEWER, 0, NULL, "",
     "version, devices, settings"},

    {"POST", "/v1/system/verify", api_handle_verify, API_ROLE_ADMIN, 0, NULL, "",
     "compare every model file with its stored digest"},

    {"POST", "/v1/datasets", api_handle_dataset_create, API_ROLE_TRAINER, JSON | MULTIPART | UPLOAD,
     "max_upload_bytes", "name layout", "import a corpus"},
    {"GET", "/v1/datasets", api_handle_dataset_list, API_ROLE_VIEWER, 0, NULL, "limit after",
     "all datasets"},
    {"GET", "/v1/datasets/{dataset}", api_handle_dataset, API_ROLE_VIEWER, 0, NULL, "",
     "one dataset, by name or id"},
    {"GET", "/v1/datasets/{dataset}/report", api_handle_dataset_report, API_ROLE_VIEWER, 0, NULL,
     "", "what the import counted, dropped and rejected"},
    {"GET", "/v1/datasets/{dataset}/samples", api_handle_dataset_samples, API_ROLE_VIEWER, 0, NULL,
     "limit after", "its utterances, without recordings"},
    {"GET", "/v1/datasets/{dataset}/splits", api_handle_dataset_splits, API_ROLE_VIEWER, 0, NULL,
     "", "the splits that it allows, with their sizes and what they let through"},
    {"DELETE", "/v1/datasets/{dataset}", api_handle_dataset_delete, API_ROLE_TRAINER, 0, NULL, "",
     "delete a dataset that nothing uses"},

    {"POST", "/v1/jobs", api_handle_job_create, API_ROLE_TRAINER, JSON, "max_json_bytes", "dry_run",
     "queue a train or evaluate job; dry_run=true only says what it would take"},
    {"GET", "/v1/jobs", api_handle_job_list, API_ROLE_VIEWER, 0, NULL, "limit after state type",
     "all jobs, newest first"},
    {"GET", "/v1/jobs/{job}", api_handle_job, API_ROLE_VIEWER, 0, NULL, "wait",
     "one job; wait=SECONDS answers when its state changes"},
    {"DELETE", "/v1/jobs/{job}", api_handle_job_delete, API_ROLE_TRAINER, 0, NULL, "",
     "remove a job that has ended or is paused, with its events and files; what it made stays"},
    {"POST", "/v1/jobs/{job}/cancel", api_handle_job_cancel, API_ROLE_TRAINER, JSON,
     "max_json_bytes", "", "stop a job"},
    {"POST", "/v1/jobs/{job}/pause", api_handle_job_pause, API_ROLE_TRAINER, JSON, "max_json_bytes",
     "", "keep a training for later: a checkpoint is written, its place is free"},
    {"POST", "/v1/jobs/{job}/resume", api_handle_job_resume, API_ROLE_TRAINER, JSON,
     "max_json_bytes", "", "queue a paused training again; it goes on to the same bits"},
    {"GET", "/v1/jobs/{job}/events", api_handle_job_events, API_ROLE_VIEWER, 0, NULL, "after limit",
     "its events: a page, NDJSON or SSE, by Accept"},
    {"GET", "/v1/jobs/{job}/metrics", api_handle_job_metrics, API_ROLE_VIEWER, 0, NULL, "format",
     "its epochs as JSON or CSV"},
    {"GET", "/v1/jobs/{job}/plot.svg", api_handle_job_plot, API_ROLE_VIEWER, 0, NULL, "compare",
     "its curves as a picture; compare=JOB draws a second job beside it"},
    {"GET", "/v1/jobs/{job}/artifacts", api_handle_job_artifacts, API_ROLE_VIEWER, 0, NULL, "",
     "files that it made: predictions of an evaluation"},
    {"GET", "/v1/jobs/{job}/artifacts/{name}", api_handle_job_artifact, API_ROLE_VIEWER, 0, NULL,
     "", "one of its files"},

    {"GET", "/v1/models", api_handle_model_list, API_ROLE_VIEWER, 0, NULL, "limit after",
     "all models"},
    {"GET", "/v1/models/{model}", api_handle_model, API_ROLE_VIEWER, 0, NULL, "",
     "one model and its versions"},
    {"GET", "/v1/models/{model}/versions/{version}", api_handle_model_version, API_ROLE_VIEWER, 0,
     NULL, "", "one version"},
    {"GET", "/v1/models/{model}/versions/{version}/artifact", api_handle_model_artifact,
     API_ROLE_VIEWER, 0, NULL, "format", "its model file"},

    {"DELETE", "/v1/models/{model}", api_handle_model_delete, API_ROLE_TRAINER, 0, NULL, "",
     "delete a model that nothing uses, with all its versions"},
    {"DELETE", "/v1/models/{model}/versions/{version}", api_handle_model_version_delete,
     API_ROLE_TRAINER, 0, NULL, "", "delete one version that nothing uses"},

    {"GET", "/v1/architectures", api_handle_architecture_list, API_ROLE_VIEWER, 0, NULL, "",
     "all architecture presets"},
    {"GET", "/v1/architectures/{name}", api_handle_architecture, API_ROLE_VIEWER, 0, NULL, "",
     "one architecture preset, with its document"},

    {"POST", "/v1/predictions", api_handle_prediction, API_ROLE_PREDICTOR, MULTIPART,
     "max_prediction_bytes", "", "classify an utterance"},
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

/* list: names with one blank between them. Steps over whole words: a name may be empty. */
static bool is_listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *word = list; *word;) {
        size_t n = strcspn(word, " ");
        if (n == size && memcmp(word, name, n) == 0) return true;
        word += n + (word[n] == ' ');
    }
    return false;
}

static bool check_queries(api_request *request) {
    const char *list = request->route->queries;
    for (size_t i = 0; i < request->queries.n; i++) {
        const char *name = request->queries.items[i].name;
        bool known = is_listed(list, name);
        /* No query is a list: of two values, one would be dropped without a word. */
        if (known && api_query(request, name) == request->queries.items[i].value) continue;
        if (known)
            api_answer_problem(request, "invalid", "query %s is given twice", name);
        else
            api_answer_problem(request, "invalid", "unknown query \"%.60s\" (known: %s)", name,
                               *list ? list : "none");
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
    char accepted[160];
    unsigned bodies = request->route->bodies;
    snprintf(accepted, sizeof accepted, "%s%s%s", bodies & JSON ? "application/json" : "",
             bodies & MULTIPART ? (bodies & JSON ? ", multipart/form-data" : "multipart/form-data")
                                : "",
             bodies & UPLOAD ? ", application/gzip, application/zip, application/x-tar, "
                               "application/zstd"
                             : "");
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
