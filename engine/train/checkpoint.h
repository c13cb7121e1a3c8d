/* Checkpoints of a training: written so that a kill at any moment loses no more than the work since
 * the last one, and read so that what follows is bit for bit what would have followed.
 *
 * last.safetensors holds weights, moments, moving statistics, and as "trainer": the last finished
 * epoch, the optimiser's steps, how far the next epoch has come with its running sums (numbers that
 * read back as the same doubles), schedule, stopping, best value and report. It is replaced
 * atomically and durably (core/file.h), first of the two files: while it stands at the end of the
 * best epoch, best.safetensors can be made from it, and when a kill came between the two, it is.
 * So best.safetensors is never ahead of the curve, and never behind it after a resume.
 *
 * "engine" (device, level of vector instructions, threads, rows at once) says on what the bits
 * depend beside config and data. Going on with other ones is allowed, with a warning: the curve
 * continues, equal up to rounding. */
#ifndef AFFECT_TRAIN_CHECKPOINT_H
#define AFFECT_TRAIN_CHECKPOINT_H

#include "engine/train/training.h"

/* Opens the output folder's checkpoint into t->checkpoint (owned by t), if the specification wants
 * to resume and there is one, else leaves NULL. Needs t->metadata, and no session. CONFLICT when it
 * is of another training: what decides the curve has to be equal. */
affect_status affect_checkpoint_find(affect_training *t, affect_error *err);
/* A number of the checkpoint's "engine" ("threads", "rows_at_once"), or the fallback. */
int64_t affect_checkpoint_engine_number(const affect_training *t, const char *name,
                                        int64_t fallback);
/* Puts everything of t->checkpoint into t and its session, closes it, warns when the engine is
 * another one, and mends best.safetensors where a kill came before it. */
affect_status affect_checkpoint_restore(affect_training *t, affect_error *err);

/* Writes last.safetensors of the present moment and says so. */
affect_status affect_checkpoint_save(affect_training *t, affect_error *err);
/* Writes best.safetensors; only at the end of the best epoch. */
affect_status affect_checkpoint_save_best(affect_training *t, affect_error *err);

#endif
