/* Counters of the HTTP side; see counters.h. `lock` guards all of it.
 *
 * In the text format a family is one block: HELP and TYPE once, then all of its samples. */
#include "api/counters.h"

#include "api/request.h"
#include "api/routes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUTES 64
#define N_STATUSES 6 /* 1xx .. 5xx by hundreds, 0 unused */

/* What a request is, for its latency: these differ by orders of magnitude. */
typedef enum { PROBE, READ, WRITE, UPLOAD, PREDICTION, HELD, UNROUTED, N_CLASSES } route_class;
static const char *const class_names[N_CLASSES] = {"probe",      "read", "write",   "upload",
                                                   "prediction", "held", "unrouted"};

static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                0.25,   0.5,   1,      2.5,   5,    10,    30};
enum { N_BOUNDS = sizeof bounds / sizeof *bounds };

typedef struct {
    uint64_t counts[N_BOUNDS + 1]; /* the last: above all bounds */
    double sum;
} histogram;

struct api_metrics {
    pthread_mutex_t lock;
    uint64_t counts[MAX_ROUTES + 1][N_STATUSES]; /* the last row: no route */
    double seconds[MAX_ROUTES + 1];
    histogram latencies[N_CLASSES];
    int in_flight;
};

api_metrics *api_metrics_create(void) {
    api_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics) pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void api_metrics_free(api_metrics *metrics) {
    if (!metrics) return;
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* A stream and a ?wait last as long as their client wants: they are a class of their own. */
static route_class class_of(const api_request *request) {
    const api_route *route = request->route;
    if (!route) return UNROUTED;
    if (request->answer.kind == API_ANSWER_STREAM || api_query(request, "wait")) return HELD;
    if (route->role == API_ROLE_ANYONE) return PROBE;
    if (route->role == API_ROLE_PREDICTOR) return PREDICTION;
    if (route->bodies & 1u << API_BODY_UPLOAD) return UPLOAD;
    return strcmp(route->method, "GET") == 0 ? READ : WRITE;
}

void api_metrics_count(api_metrics *metrics, const api_request *request, double seconds) {
    const api_route *route = request->route;
    size_t row = route ? (size_t)(route - api_routes) : MAX_ROUTES;
    int status = request->answer.status / 100; /* 0: cut before an answer */
    size_t bucket = 0;
    while (bucket < N_BOUNDS && seconds > bounds[bucket]) bucket++;
    pthread_mutex_lock(&metrics->lock);
    metrics->counts[row][status < N_STATUSES ? status : 0]++;
    metrics->seconds[row] += seconds;
    histogram *latency = &metrics->latencies[class_of(request)];
    latency->counts[bucket]++;
    latency->sum += seconds;
    pthread_mutex_unlock(&metrics->lock);
}

void api_metrics_in_flight(api_metrics *metrics, int change) {
    pthread_mutex_lock(&metrics->lock);
    metrics->in_flight += change;
    pthread_mutex_unlock(&metrics->lock);
}

/* ---- The text format ---- */

void api_metrics_head(affect_buffer *buffer, const char *name, const char *type, const char *help) {
    affect_buffer_printf(buffer, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void api_metrics_gauge(affect_buffer *buffer, const char *name, const char *help, double value) {
    api_metrics_head(buffer, name, "gauge", help);
    affect_buffer_printf(buffer, "%s %.15g\n", name, value);
}

void api_metrics_counter(affect_buffer *buffer, const char *name, const char *help, double value) {
    api_metrics_head(buffer, name, "counter", help);
    affect_buffer_printf(buffer, "%s %.15g\n", name, value);
}

/* The rows of the table, then that of requests without a route. */
static bool next_row(size_t *row) {
    if (*row == MAX_ROUTES) return false;
    *row = api_routes[*row].method && api_routes[*row + 1].method ? *row + 1 : MAX_ROUTES;
    return true;
}

static const char *method_of(size_t row) {
    return row < MAX_ROUTES ? api_routes[row].method : "";
}

static const char *pattern_of(size_t row) {
    return row < MAX_ROUTES ? api_routes[row].pattern : "";
}

static uint64_t total_of(const api_metrics *metrics, size_t row) {
    uint64_t total = 0;
    for (int status = 0; status < N_STATUSES; status++) total += metrics->counts[row][status];
    return total;
}

static void print_routes(affect_buffer *buffer, const api_metrics *metrics) {
    size_t row = 0;
    api_metrics_head(buffer, "affectd_requests_total", "counter",
                     "Requests answered, by route and class of status.");
    do {
        for (int status = 0; status < N_STATUSES; status++)
            if (metrics->counts[row][status])
                affect_buffer_printf(
                    buffer,
                    "affectd_requests_total{method=\"%s\",route=\"%s\",status=\"%dxx\"} %llu\n",
                    method_of(row), pattern_of(row), status,
                    (unsigned long long)metrics->counts[row][status]);
    } while (next_row(&row));
    row = 0;
    api_metrics_head(buffer, "affectd_request_seconds_total", "counter",
                     "Seconds from the headers to the last byte.");
    do {
        if (total_of(metrics, row))
            affect_buffer_printf(buffer,
                                 "affectd_request_seconds_total{method=\"%s\",route=\"%s\"} %.6f\n",
                                 method_of(row), pattern_of(row), metrics->seconds[row]);
    } while (next_row(&row));
}

static void print_latencies(affect_buffer *buffer, const api_metrics *metrics) {
    static const char name[] = "affectd_request_duration_seconds";
    api_metrics_head(buffer, name, "histogram",
                     "Seconds from the headers to the last byte, by class of route; held: streams "
                     "and waits, which last as long as their client wants.");
    for (int c = 0; c < N_CLASSES; c++) {
        const histogram *h = &metrics->latencies[c];
        uint64_t n = 0;
        for (size_t i = 0; i < N_BOUNDS; i++) {
            n += h->counts[i];
            affect_buffer_printf(buffer, "%s_bucket{class=\"%s\",le=\"%g\"} %llu\n", name,
                                 class_names[c], bounds[i], (unsigned long long)n);
        }
        n += h->counts[N_BOUNDS];
        affect_buffer_printf(buffer,
                             "%s_bucket{class=\"%s\",le=\"+Inf\"} %llu\n"
                             "%s_sum{class=\"%s\"} %.9g\n%s_count{class=\"%s\"} %llu\n",
                             name, class_names[c], (unsigned long long)n, name, class_names[c],
                             h->sum, name, class_names[c], (unsigned long long)n);
    }
}

void api_metrics_print(affect_buffer *buffer, api_metrics *metrics) {
    pthread_mutex_lock(&metrics->lock);
    print_routes(buffer, metrics);
    print_latencies(buffer, metrics);
    api_metrics_gauge(buffer, "affectd_requests_in_flight", "Requests being worked on.",
                      metrics->in_flight);
    pthread_mutex_unlock(&metrics->lock);
}
