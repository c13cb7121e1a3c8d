/* One named tensor of a network: what layers register and blocks, files and optimisers walk. */
#ifndef AFFECT_NN_PARAMETER_H
#define AFFECT_NN_PARAMETER_H

#include "engine/core/tensor.h"

typedef enum {
    AFFECT_INITIALIZER_ZEROS,
    AFFECT_INITIALIZER_ONES,
    AFFECT_INITIALIZER_GLOROT_UNIFORM, /* limit sqrt(6 / (fan_in + fan_out)), fans as Keras counts
                                        */
    AFFECT_INITIALIZER_UNIFORM,        /* limit 0.05, Keras' for embeddings */
    AFFECT_INITIALIZER_ORTHOGONAL,     /* QR of a normal matrix (rows <= columns: transposed) */
    AFFECT_INITIALIZER_FORGET_ONE      /* LSTM bias: zeros, ones for the forget gate's quarter */
} affect_initializer;

#define AFFECT_TENSOR_NAME_SIZE 96

/* One tensor of the network, in the order of the graph. Trainable ones lie in the parameter block
 * at `offset`, moving statistics in the statistics block. */
typedef struct {
    char name[AFFECT_TENSOR_NAME_SIZE]; /* "audio.bilstm_1.forward_kernel" */
    affect_shape shape;
    size_t offset; /* in numbers, within its block */
    bool trainable;
    affect_initializer initializer;
    double l2; /* penalty l2 * sum of squares; 0 for none */
} affect_parameter;

#endif
