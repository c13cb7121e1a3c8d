/* Dry runs: what a training would take, asked of a worker child that plans and takes a few steps.
 *
 * Runs on a thread of its own, one at a time, so that no handler and no HTTP thread waits for it.
 * It ends with its client, with the server, and at a deadline. */
#ifndef AFFECT_JOBS_DRY_RUN_H
#define AFFECT_JOBS_DRY_RUN_H

#include "api/api.h"
#include "api/context.h"
#include "engine/core/json.h"

/* Defers the request and answers it with what `affect train --dry-run` prints: INVALID with the
 * worker's reason, TIMEOUT at dry_run_deadline_seconds, CANCELLED when the server stops, BUSY at
 * once when there is another. spec is that of a job whose type has a dry run; owned by the call. */
void api_dry_run(api_request *request, affect_json *spec);

#endif
