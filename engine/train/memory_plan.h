/* The memory of a training, planned before its first step.
 *
 * Bytes are counted by use, for the true corpus: padding is computed once (session.h), so what a
 * batch needs depends on the lengths of its utterances, and the order of all epochs is a function
 * of the seed. The plan takes the largest batch that will really come. A batch that does not fit in
 * the limit is computed in equal pieces whose gradients are added up before the optimiser's step:
 * the same result as the whole batch's, but for rounding, dropout masks included. Batch
 * normalisation is the exception: its statistics are those of each piece. */
#ifndef AFFECT_TRAIN_MEMORY_PLAN_H
#define AFFECT_TRAIN_MEMORY_PLAN_H

#include "engine/core/json.h"
#include "engine/core/status.h"

/* Of what is available, where the training has no limit of its own. */
#define AFFECT_SHARE_OF_MEMORY 0.9

typedef struct affect_training affect_training;

typedef struct affect_memory_plan {
    /* Bytes. parameters: weights and moving statistics; optimizer: gradients and two moments;
     * workspace: scratch of layers, and of writing a checkpoint; data: a batch on the host and on
     * the device, and lists of utterances. */
    size_t parameters, optimizer, activations, workspace, data;
    size_t total;
    size_t limit; /* what a training may take */
    bool fits;
    size_t batch;       /* utterances a step, at most those there are */
    size_t micro_batch; /* of them computed at once: as many as fit, at least 1 */
    size_t accumulation_steps;
    size_t rows; /* the most distinct rows (session.h) of what is computed at once */
} affect_memory_plan;

/* Needs dataset, split, architecture, backend and the checkpoint, if there is one: what that
 * computed at once is kept where it fits. */
affect_status affect_memory_plan_make(affect_memory_plan *plan, const affect_training *t,
                                      affect_error *err);
/* The most utterances (up to all that train) that a step could compute at once within the limit; 0:
 * not even one. Takes up to a second. */
affect_status affect_memory_plan_largest(size_t *batch, const affect_training *t,
                                         const affect_memory_plan *plan, affect_error *err);
/* {"bytes": {"parameters", ..., "total"}, "memory_limit_bytes", "fits", "batch_size",
 * "rows_at_once", "pieces"} into `json`. */
void affect_memory_plan_print(affect_json *json, const affect_memory_plan *plan);

/* Distinct rows of each utterance: its frames, and one for the padding. Owned (free); NULL without
 * memory. */
size_t *affect_memory_plan_rows(const affect_training *t);
/* The most distinct rows of a ragged input that any `micro_batch` utterances of a batch have that
 * are computed together, in all epochs and evaluations. lengths[i]: distinct rows of utterance i.
 * With very many epochs: the rows of the longest utterances. */
affect_status affect_memory_plan_count_rows(size_t *rows, const affect_training *t,
                                            const size_t *lengths, size_t batch, size_t micro_batch,
                                            affect_error *err);

#endif
