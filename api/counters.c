/* Counters of the HTTP side; see counters.h. `lock` guards all of it. */
#include "api/counters.h"

#include "api/routes.h"

#include <pthread.h>
#include <stdlib.h>

#define MAX_ROUTES 64
#define N_CLASSES  6 /* of statuses: 1xx .. 5xx by hundreds, 0 unused */

struct api_metrics {
    pthread_mutex_t lock;
    uint64_t counts[MAX_ROUTES + 1][N_CLASSES]; /* the last row: no route */
    double seconds[MAX_ROUTES + 1];
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

void api_metrics_count(api_metrics *metrics, const api_route *route, int status, double seconds) {
    size_t row = route ? (size_t)(route - api_routes) : MAX_ROUTES;
    int class = status / 100 < N_CLASSES ? status / 100 : 0;
    pthread_mutex_lock(&metrics->lock);
    metrics->counts[row][class]++;
    metrics->seconds[row] += seconds;
    pthread_mutex_unlock(&metrics->lock);
}

void api_metrics_in_flight(api_metrics *metrics, int change) {
    pthread_mutex_lock(&metrics->lock);
    metrics->in_flight += change;
    pthread_mutex_unlock(&metrics->lock);
}

static void print_route(affect_buffer *buffer, const api_metrics *metrics, size_t row) {
    const char *method = row < MAX_ROUTES ? api_routes[row].method : "";
    const char *pattern = row < MAX_ROUTES ? api_routes[row].pattern : "";
    uint64_t total = 0;
    for (int class = 0; class < N_CLASSES; class ++) {
        total += metrics->counts[row][class];
        if (metrics->counts[row][class])
            affect_buffer_printf(
                buffer, "affectd_requests_total{method=\"%s\",route=\"%s\",status=\"%dxx\"} %llu\n",
                method, pattern, class, (unsigned long long)metrics->counts[row][class]);
    }
    if (total)
        affect_buffer_printf(buffer,
                             "affectd_request_seconds_total{method=\"%s\",route=\"%s\"} %.6f\n",
                             method, pattern, metrics->seconds[row]);
}

void api_metrics_print(affect_buffer *buffer, api_metrics *metrics) {
    affect_buffer_append_string(
        buffer, "# HELP affectd_requests_total Requests answered, by route and class of status.\n"
                "# TYPE affectd_requests_total counter\n"
                "# HELP affectd_request_seconds_total Seconds from the headers to the last byte.\n"
                "# TYPE affectd_request_seconds_total counter\n");
    pthread_mutex_lock(&metrics->lock);
    for (size_t row = 0; api_routes[row].method; row++) print_route(buffer, metrics, row);
    print_route(buffer, metrics, MAX_ROUTES);
    affect_buffer_printf(buffer,
                         "# HELP affectd_requests_in_flight Requests being worked on.\n"
                         "# TYPE affectd_requests_in_flight gauge\n"
                         "affectd_requests_in_flight %d\n",
                         metrics->in_flight);
    pthread_mutex_unlock(&metrics->lock);
}
