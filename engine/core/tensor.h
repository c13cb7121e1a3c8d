/* Numbers and shapes.
 *
 * affect_real is the type that networks compute in: float, or double when the same sources are
 * compiled with AFFECT_REAL_DOUBLE for finite-difference checks. Tensors are dense, row-major, the
 * last index fastest, and the batch comes first. */
#ifndef AFFECT_CORE_TENSOR_H
#define AFFECT_CORE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef AFFECT_REAL_DOUBLE
typedef double affect_real;
#else
typedef float affect_real;
#endif

#define AFFECT_MAX_RANK 4

typedef struct {
    int rank; /* 0..AFFECT_MAX_RANK; rank 0 is a single number */
    size_t size[AFFECT_MAX_RANK];
} affect_shape;

/* Product of the sizes (1 for rank 0). */
size_t affect_shape_count(affect_shape shape);
bool affect_shape_equal(affect_shape a, affect_shape b);

#define AFFECT_SHAPE_TEXT_SIZE 96
/* "(501, 128, 1)"; returns text. */
const char *affect_shape_text(char text[AFFECT_SHAPE_TEXT_SIZE], affect_shape shape);

#ifdef __cplusplus
}
#endif

#endif
