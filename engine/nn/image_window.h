/* What conv2d and max_pooling2d share: a window that slides over an image (height, width,
 * channels). */
#ifndef AFFECT_NN_IMAGE_WINDOW_H
#define AFFECT_NN_IMAGE_WINDOW_H

#include "engine/nn/layer.h"

/* `json`: one size for both axes, or [height, width]; NULL: `otherwise` for both (0: INVALID, it
 * must be given). what: the field's name, for messages. */
affect_status affect_image_pair(size_t pair[2], const affect_json *json, const char *what,
                                size_t otherwise, affect_error *err);

/* The shape for n rows, without counts of channels out. SHAPE when the window is longer than the
 * image. Padding as Keras' (affect_window). */
affect_status affect_image_window(affect_window2d_shape *shape, const affect_layer *layer,
                                  const char *what, const size_t window[2], const size_t stride[2],
                                  affect_padding padding, affect_error *err);

#endif
