/* Shapes; see tensor.h. */
#include "engine/core/tensor.h"

#include <stdio.h>

size_t affect_shape_count(affect_shape shape) {
    size_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= shape.size[i];
    return count;
}

bool affect_shape_equal(affect_shape a, affect_shape b) {
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.size[i] != b.size[i]) return false;
    return true;
}

const char *affect_shape_text(char text[AFFECT_SHAPE_TEXT_SIZE], affect_shape shape) {
    size_t n = (size_t)snprintf(text, AFFECT_SHAPE_TEXT_SIZE, "(");
    for (int i = 0; i < shape.rank; i++)
        n += (size_t)snprintf(text + n, AFFECT_SHAPE_TEXT_SIZE - n, "%s%zu", i ? ", " : "",
                              shape.size[i]);
    snprintf(text + n, AFFECT_SHAPE_TEXT_SIZE - n, ")");
    return text;
}
