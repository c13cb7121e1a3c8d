/* What all handlers share. Made by server/main.c before the first request, undone after the last;
 * the members never change in between, each locks itself. */
#ifndef AFFECT_API_CONTEXT_H
#define AFFECT_API_CONTEXT_H

#include "api/settings.h"
#include "engine/core/clock.h"

#include <stdatomic.h>

struct api_context {
    const api_settings *settings;
    struct api_store *store;
    struct api_feed *feed;
    struct api_model_registry *models;
    struct api_job_queue *jobs;
    struct api_predictor *predictor;
    struct api_metrics *metrics;
    struct api_documents *documents;
    affect_json *contract;              /* contract.h; owned */
    char instance_id[AFFECT_ULID_SIZE]; /* of this run of the server */
    char worker_binary[1024];           /* path of `affect` */
    double started;                     /* affect_clock_seconds */
    atomic_bool draining;               /* the server is stopping: every new request gets 503 */
};

#endif
