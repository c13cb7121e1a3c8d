/* A convolution with relu and the pooling of pairs after it, as one operation of the backend. */
#ifndef AFFECT_NN_CONV1D_POOL_H
#define AFFECT_NN_CONV1D_POOL_H

#include "engine/nn/layer.h"

/* The operations' shapes of a conv1d and of a maxpool1d on n rows. */
affect_conv1d_shape affect_conv1d_shape_of(const affect_layer *layer, size_t n);
affect_pool1d_shape affect_maxpool1d_shape_of(const affect_layer *layer, size_t n);

#endif
