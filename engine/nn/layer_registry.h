/* The layer classes, each defined in the file of its name. Only layer_registry.c lists them. */
#ifndef AFFECT_NN_LAYER_REGISTRY_H
#define AFFECT_NN_LAYER_REGISTRY_H

#include "engine/nn/layer.h"

extern const affect_layer_class affect_layer_add;
extern const affect_layer_class affect_layer_conv1d;
extern const affect_layer_class affect_layer_maxpool1d;
extern const affect_layer_class affect_layer_batch_norm;
extern const affect_layer_class affect_layer_dropout;
extern const affect_layer_class affect_layer_flatten;
extern const affect_layer_class affect_layer_dense;
extern const affect_layer_class affect_layer_lstm;
extern const affect_layer_class affect_layer_activation;
extern const affect_layer_class affect_layer_concatenate;
extern const affect_layer_class affect_layer_layer_norm;
extern const affect_layer_class affect_layer_attention_pooling;
extern const affect_layer_class affect_layer_global_average_pooling1d;
extern const affect_layer_class affect_layer_conv2d;
extern const affect_layer_class affect_layer_max_pooling2d;
extern const affect_layer_class affect_layer_reshape;
extern const affect_layer_class affect_layer_bidirectional;
extern const affect_layer_class affect_layer_time_distributed;

#endif
