/* Counters of the HTTP side, for /metrics. Any thread. */
#ifndef AFFECT_API_COUNTERS_H
#define AFFECT_API_COUNTERS_H

#include "api/api.h"

typedef struct api_metrics api_metrics;

api_metrics *api_metrics_create(void); /* NULL without memory */
void api_metrics_free(api_metrics *metrics);
/* A request ended, after so many seconds. */
void api_metrics_count(api_metrics *metrics, const api_request *request, double seconds);
void api_metrics_in_flight(api_metrics *metrics, int change);
/* Appends these in the text format of Prometheus. */
void api_metrics_print(affect_buffer *buffer, api_metrics *metrics);
/* Other families: one that is a single number, or the head of one whose samples follow at once. */
void api_metrics_gauge(affect_buffer *buffer, const char *name, const char *help, double value);
void api_metrics_counter(affect_buffer *buffer, const char *name, const char *help, double value);
void api_metrics_head(affect_buffer *buffer, const char *name, const char *type, const char *help);

#endif
