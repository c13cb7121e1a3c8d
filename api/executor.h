/* The threads that run handlers: a bounded queue of requests in front of a few threads. */
#ifndef AFFECT_API_EXECUTOR_H
#define AFFECT_API_EXECUTOR_H

#include "api/api.h"

typedef struct api_executor api_executor;

affect_status api_executor_create(api_executor **executor, int n_threads, int max_queued,
                                  affect_error *err);
/* Runs what is queued, then ends the threads. NULL allowed. */
void api_executor_free(api_executor *executor);
/* Queues the request for its route's handler. False: full (the caller answers 503). Any thread. */
bool api_executor_submit(api_executor *executor, api_request *request);

#endif
