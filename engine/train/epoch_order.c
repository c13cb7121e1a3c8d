/* The order of an epoch: a permutation of the training part, a function of the seed and the epoch
 * alone, so that a resumed training and the memory plan see the same batches. */
#include "engine/train/training.h"

void affect_training_order(size_t *order, size_t *scratch, const affect_training *t,
                           int64_t epoch) {
    size_t n = t->n[AFFECT_PART_TRAINING];
    affect_random_key key = {(uint64_t)t->config->seed,
                             affect_random_stream("order", (uint64_t)epoch, 0)};
    affect_random_permutation(scratch, n, key);
    for (size_t i = 0; i < n; i++) order[i] = t->indices[AFFECT_PART_TRAINING][scratch[i]];
}
