/* A session: one network's blocks and activations on one device, forward and backward.
 *
 * Memory is planned when the session is made: parameters, and for training gradients and the two
 * moments of Adam, are parallel blocks in the order of affect_architecture_parameter; moving
 * statistics are a block apart; activations and workspace are sized for max_batch. Nothing is
 * allocated afterwards. A session belongs to one thread, as its backend does.
 *
 * Padding is computed once. Where an utterance ends in frames that are equal bit for bit (padding),
 * the time-distributed layers see only its distinct frames, the last of which stands for all equal
 * ones, and the LSTM that follows reads that one at every such step: the mathematics of the full
 * input in a fraction of the work. It is done for an input whose branches are time-distributed
 * layers (without dropout) up to an LSTM; affect_session_count_rows counts what such an input
 * has. */
#ifndef AFFECT_MODEL_SESSION_H
#define AFFECT_MODEL_SESSION_H

#include "engine/device/backend.h"
#include "engine/model/architecture.h"

typedef struct {
    size_t max_batch;
    bool training;   /* keep activations, gradients and moments */
    size_t max_rows; /* the most distinct rows (below) that a batch has of any ragged input; 0, and
                        for other inputs: rows of the shape times max_batch */
} affect_session_options;

/* Bytes of device memory by use: what a dry run answers. */
typedef struct {
    size_t parameters, optimizer, activations, workspace, inputs;
} affect_session_plan;

/* Distinct leading frames of an utterance, the last standing for all equal ones after it: 1 ..
 * frames. frames: (n_frames, frame_size). */
size_t affect_session_count_rows(const float *frames, size_t n_frames, size_t frame_size);

/* The five blocks, device memory; gradients and moments NULL without training. Borrowed. */
typedef struct {
    affect_real *parameters, *gradients, *adam_m, *adam_v; /* n_trainable each */
    affect_real *statistics;                               /* n_statistics */
} affect_session_blocks;

typedef struct affect_session affect_session;

/* Borrows backend and architecture: both must outlive the session. Parameters are zero until
 * affect_session_initialize or affect_session_set_tensor. */
affect_status affect_session_create(affect_session **session, affect_backend *backend,
                                    const affect_architecture *architecture,
                                    affect_session_options options, affect_error *err);
void affect_session_free(affect_session *session);
/* What a session of these options would take, without making it. */
affect_status affect_session_measure(affect_session_plan *plan, affect_backend *backend,
                                     const affect_architecture *architecture,
                                     affect_session_options options, affect_error *err);

/* Draws initial weights (Keras' defaults) from the seed and resets moments and statistics. */
affect_status affect_session_initialize(affect_session *session, uint64_t seed, affect_error *err);
const affect_architecture *affect_session_architecture(const affect_session *session);
affect_session_blocks affect_session_blocks_of(affect_session *session);

/* Host copies of one tensor by parameter index, as float32 whatever affect_real is. */
affect_status affect_session_set_tensor(affect_session *session, size_t parameter,
                                        const float *values, affect_error *err);
affect_status affect_session_get_tensor(float *values, affect_session *session, size_t parameter,
                                        affect_error *err);

/* The same for n numbers at a place in one of the blocks; n at most that of the largest tensor. */
affect_status affect_session_write(affect_session *session, affect_real *to, const float *values,
                                   size_t n, affect_error *err);
affect_status affect_session_read(float *values, affect_session *session, const affect_real *from,
                                  size_t n, affect_error *err);

/* Inference (moving statistics, no dropout): inputs[i] is host memory (batch, shape of input i) in
 * the architecture's order of inputs; probabilities (batch, classes) is host memory.
 * batch <= max_batch. */
affect_status affect_session_predict(affect_session *session, float *probabilities,
                                     const float *const *inputs, size_t batch, affect_error *err);

/* Inputs of many utterances on the session's device, from which it gathers its batches: what a
 * device apart from the host needs to train without waiting for it. Inputs whose padding is
 * computed once keep their distinct rows only. Belongs to the session's thread; free it before the
 * backend. rows[u]: the distinct rows of any ragged input of utterance u, at most. NO_MEMORY. */
typedef struct affect_device_cache affect_device_cache;
affect_status affect_device_cache_create(affect_device_cache **cache, affect_session *session,
                                         const size_t *rows, size_t n_utterances,
                                         affect_error *err);
/* Uploads one utterance: inputs[i] is host memory (shape of input i). */
affect_status affect_device_cache_fill(affect_device_cache *cache, size_t utterance,
                                       const float *const *inputs, affect_error *err);
void affect_device_cache_free(affect_device_cache *cache);
/* Bytes of such a store. */
size_t affect_device_cache_bytes(const affect_session *session, const size_t *rows,
                                 size_t n_utterances);

typedef struct {
    const float *const *inputs;       /* host, as for predict; or NULL: */
    const affect_device_cache *cache; /* of the same session, */
    const size_t *utterances;         /* (batch) of it */
    const int32_t *labels;            /* (batch) host */
    const float *weights;             /* (batch) host, or NULL for 1 */
    size_t batch;
    size_t divisor;            /* rows that the loss is averaged over (the whole batch's when it is
                                  accumulated in pieces); 0 = batch */
    size_t first;              /* of the whole batch, where it is accumulated in pieces: the number
                                  of rows before this piece; dropout masks are the whole batch's */
    affect_random_key dropout; /* of this step; each dropout layer mixes in its index */
} affect_session_batch;

/* The three below only enqueue: on a device apart from the host they return before they are done.
 * Inputs from host memory that is not pinned are free at once; pinned ones when a later mark of the
 * backend is reached. What they count is added to the session's totals, on the device:
 * affect_session_n_totals doubles, those of affect_loss_shape and then the sum over steps of L2
 * penalty times rows. Failures of the device are reported by whatever waits next. */

/* Forward in training mode and backward: adds gradients of the averaged cross-entropy (without L2).
 */
affect_status affect_session_accumulate(affect_session *session, const affect_session_batch *batch,
                                        affect_error *err);
/* Adds the L2 gradients, steps Adam on everything trainable, zeroes the gradients. The penalty
 * before the step counts `rows` times. adam->n is ignored. */
affect_status affect_session_step(affect_session *session, size_t rows,
                                  const affect_adam_shape *adam, affect_error *err);
/* Inference plus statistics against labels (weights as above), for validation. probabilities
 * (batch, classes) may be NULL; with them it waits. */
affect_status affect_session_evaluate(affect_session *session, float *probabilities,
                                      const affect_session_batch *batch, affect_error *err);

/* Waits; the totals since they were last set (zeros at first). */
size_t affect_session_n_totals(const affect_session *session);
affect_status affect_session_read_totals(double *totals, affect_session *session,
                                         affect_error *err);
/* NULL: zeros. */
affect_status affect_session_set_totals(affect_session *session, const double *totals,
                                        affect_error *err);
/* Waits; the current L2 penalty. */
affect_status affect_session_l2(affect_session *session, double *l2, affect_error *err);

#endif
