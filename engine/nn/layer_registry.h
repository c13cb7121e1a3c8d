/* The layer classes, each defined in the file of its name (embedding_layer.c: a modality has the
 * other name). To add one: the file, and a row here. */
#ifndef AFFECT_NN_LAYER_REGISTRY_H
#define AFFECT_NN_LAYER_REGISTRY_H

#include "engine/nn/layer.h"

/* The table: a row a class. */
/* clang-format off */
#define AFFECT_LAYERS(ROW)                                                                         \
    ROW(conv1d)                                                                                    \
    ROW(maxpool1d)                                                                                 \
    ROW(conv2d)                                                                                    \
    ROW(max_pooling2d)                                                                             \
    ROW(batch_norm)                                                                                \
    ROW(layer_norm)                                                                                \
    ROW(dropout)                                                                                   \
    ROW(activation)                                                                                \
    ROW(dense)                                                                                     \
    ROW(embedding)                                                                                 \
    ROW(lstm)                                                                                      \
    ROW(multi_head_attention)                                                                      \
    ROW(attention_pooling)                                                                         \
    ROW(global_average_pooling1d)                                                                  \
    ROW(flatten)                                                                                   \
    ROW(reshape)                                                                                   \
    ROW(add)                                                                                       \
    ROW(concatenate)                                                                               \
    ROW(bidirectional)                                                                             \
    ROW(time_distributed)
/* clang-format on */

#define AFFECT_LAYER_DECLARED(name) extern const affect_layer_class affect_layer_##name;
AFFECT_LAYERS(AFFECT_LAYER_DECLARED)

#endif
