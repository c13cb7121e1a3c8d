/* The devices that jobs and predictors can run on, as `affect inspect --devices --json` lists them:
 * the server itself never touches a GPU. Listed at most every few seconds, kept in between;
 * callable from any thread. */
#ifndef AFFECT_JOBS_DEVICES_H
#define AFFECT_JOBS_DEVICES_H

#include "api/context.h"
#include "engine/core/json.h"

typedef struct api_context api_context;

/* {"devices": [{"device", "name", ...}], "cuda_unavailable": null or why}; owned. TIMEOUT, INTERNAL
 * when the child gives no answer. */
affect_status api_devices(affect_json **devices, const api_context *context, affect_error *err);

/* Whether `device` (as a job names it) can be opened: INVALID where the name is wrong,
 * DEVICE_UNAVAILABLE where there is no such GPU. */
affect_status api_devices_check(const char *device, const api_context *context, affect_error *err);

#endif
