/* The table of layer classes: adding a layer is one row here and one file. */
#include "engine/nn/layer_registry.h"

#include <stdio.h>
#include <string.h>

static const affect_layer_class *const classes[] = {
    &affect_layer_conv1d,
    &affect_layer_maxpool1d,
    &affect_layer_conv2d,
    &affect_layer_max_pooling2d,
    &affect_layer_batch_norm,
    &affect_layer_layer_norm,
    &affect_layer_dropout,
    &affect_layer_activation,
    &affect_layer_dense,
    &affect_layer_lstm,
    &affect_layer_attention_pooling,
    &affect_layer_global_average_pooling1d,
    &affect_layer_flatten,
    &affect_layer_reshape,
    &affect_layer_add,
    &affect_layer_concatenate,
    &affect_layer_bidirectional,
    &affect_layer_time_distributed,
};

enum { N_CLASSES = sizeof classes / sizeof *classes };

const affect_layer_class *affect_layer_class_find(const char *type) {
    for (size_t i = 0; i < N_CLASSES; i++)
        if (strcmp(classes[i]->type, type) == 0) return classes[i];
    return NULL;
}

void affect_layer_class_names(char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < N_CLASSES && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", classes[i]->type);
}
