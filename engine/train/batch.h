/* Batches: utterances of a dataset as what a session takes.
 *
 * Owned memory is planned for `capacity` utterances when the batch is made; filling allocates
 * nothing. On a device apart from the host a batch has two sets of (pinned) host memory, so that
 * one is filled while the device reads the other; or all utterances are kept on the device, and a
 * batch is a list of them. A batch belongs to one thread; it borrows all that it is made of. */
#ifndef AFFECT_TRAIN_BATCH_H
#define AFFECT_TRAIN_BATCH_H

#include "engine/dataset/dataset.h"
#include "engine/dataset/normalizer.h"
#include "engine/model/session.h"

typedef struct affect_batch affect_batch;

/* Borrowed, but for the two arrays, which are copied. */
typedef struct {
    affect_backend *backend; /* that the sessions run on */
    const affect_architecture *architecture;
    const affect_dataset *dataset;
    const affect_normalizer *normalizer;
    const int *class_map;       /* (dataset's classes) the model's class of each */
    const float *class_weights; /* (model's classes), or NULL */
    size_t capacity;
} affect_batch_options;

/* SHAPE when the dataset's features do not fit the architecture's inputs. */
affect_status affect_batch_create(affect_batch **batch, const affect_batch_options *options,
                                  affect_error *err);
/* The host memory of such a batch. */
size_t affect_batch_bytes(affect_backend *backend, const affect_architecture *architecture,
                          const affect_dataset *dataset, size_t capacity);
void affect_batch_free(affect_batch *batch);

/* Keeps all utterances on the session's device; rows[u]: their distinct frames, at most
 * (session.h). Batches are then for this session, which must be freed after the batch. */
affect_status affect_batch_keep_on_device(affect_batch *batch, affect_session *session,
                                          const size_t *rows, affect_error *err);

/* The utterances indices[0..n) as a session takes them: borrowed (indices too) until the second
 * release after it. divisor, first and dropout are left 0 for the caller. At most one more batch
 * may be under way: waits for the last but one. */
affect_session_batch affect_batch_fill(affect_batch *batch, const size_t *indices, size_t n);
/* All that reads the last filled batch has been enqueued. */
void affect_batch_release(affect_batch *batch);

/* Runs inference over indices[0..n) in pieces of the batch's capacity; adds to the session's
 * totals. probabilities (n, classes) or NULL. */
affect_status affect_batch_evaluate(float *probabilities, affect_batch *batch,
                                    affect_session *session, const size_t *indices, size_t n,
                                    affect_error *err);

#endif
