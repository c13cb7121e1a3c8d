/* Batches: utterances of a dataset as the host arrays that a session takes.
 *
 * Owned memory is planned for `capacity` utterances when the batch is made; filling allocates
 * nothing. A batch belongs to one thread; it borrows architecture, dataset and normaliser. */
#ifndef AFFECT_TRAIN_BATCH_H
#define AFFECT_TRAIN_BATCH_H

#include "engine/corpus/dataset.h"
#include "engine/corpus/normalizer.h"
#include "engine/model/session.h"

typedef struct affect_batch affect_batch;

/* class_map[c] is the model's class of the dataset's class c; class_weights (model's classes) or
 * NULL. Both are copied. SHAPE when the dataset's features do not fit the architecture's inputs. */
affect_status affect_batch_create(affect_batch **batch, const affect_architecture *architecture,
                                  const affect_dataset *dataset,
                                  const affect_normalizer *normalizer, const int *class_map,
                                  const float *class_weights, size_t capacity, affect_error *err);
/* The memory of such a batch. */
size_t affect_batch_bytes(const affect_architecture *architecture, const affect_dataset *dataset,
                          size_t capacity);
void affect_batch_free(affect_batch *batch);
/* Fills rows 0..n-1 with the utterances indices[0..n) and returns what the session takes: borrowed
 * until the next fill. divisor and dropout are left 0 for the caller. */
affect_session_batch affect_batch_fill(affect_batch *batch, const size_t *indices, size_t n);

/* Runs inference over indices[0..n) in pieces of the batch's capacity; adds to `stats` ((2 +
 * classes^2) doubles). probabilities (n, classes) or NULL. */
affect_status affect_batch_evaluate(double *stats, float *probabilities, affect_batch *batch,
                                    affect_session *session, const size_t *indices, size_t n,
                                    affect_error *err);

#endif
