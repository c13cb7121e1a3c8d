/* The log of epochs: what a training said of each, on the disk before the checkpoint that holds it.
 *
 * Events travel through a pipe; a server that is killed takes what is in it along, and the resumed
 * training resumes behind its checkpoint. The log has what the pipe lost. It keeps the newest
 * epochs (two files of about a megabyte), far more than a pipe does. */
#ifndef AFFECT_TRAIN_EPOCH_LOG_H
#define AFFECT_TRAIN_EPOCH_LOG_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdint.h>

#define AFFECT_EPOCH_LOG     "epochs.jsonl"
#define AFFECT_EPOCH_LOG_OLD "epochs.old.jsonl"

/* Appends a report (its "epoch" counts) to the log in the folder. */
affect_status affect_epoch_log_append(const char *folder, const affect_json *report,
                                      affect_error *err);
/* Calls `call` for the epochs first..last that the log has, in order, as far as none is missing;
 * returns how many. Reports are borrowed. A log that cannot be read is empty. */
int64_t affect_epoch_log_replay(const char *folder, int64_t first, int64_t last,
                                void (*call)(void *context, const affect_json *report),
                                void *context);

#endif
