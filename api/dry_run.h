/* Dry runs: what a training would take, asked of a worker child that plans and takes a few steps.
 *
 * Runs on the handler's thread, one at a time: another meanwhile is BUSY. HTTP threads never wait.
 */
#ifndef AFFECT_API_DRY_RUN_H
#define AFFECT_API_DRY_RUN_H

#include "api/api.h"
#include "api/context.h"
#include "engine/core/json.h"

/* *result (owned) is what `affect train --dry-run` prints. spec is a train job's. INVALID with the
 * worker's reason, TIMEOUT after a minute, CANCELLED when the server stops. */
affect_status api_dry_run(affect_json **result, api_context *context, const affect_json *spec,
                          affect_error *err);

#endif
