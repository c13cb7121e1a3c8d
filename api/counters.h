/* Counters of the HTTP side, for /metrics. Any thread. */
#ifndef AFFECT_API_COUNTERS_H
#define AFFECT_API_COUNTERS_H

#include "api/api.h"

typedef struct api_metrics api_metrics;

api_metrics *api_metrics_create(void); /* NULL without memory */
void api_metrics_free(api_metrics *metrics);
/* A request ended: its route (NULL when none was found), status and seconds. */
void api_metrics_count(api_metrics *metrics, const api_route *route, int status, double seconds);
void api_metrics_in_flight(api_metrics *metrics, int change);
/* Appends the text format of Prometheus. */
void api_metrics_print(affect_buffer *buffer, api_metrics *metrics);

#endif
