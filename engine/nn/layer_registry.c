/* Looking layer classes up; see layer_registry.h. */
#include "engine/nn/layer_registry.h"

#include <stdio.h>
#include <string.h>

#define ROW(name) &affect_layer_##name,
static const affect_layer_class *const classes[] = {AFFECT_LAYERS(ROW)};

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
