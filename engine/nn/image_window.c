/* Windows over images; see image_window.h. Each axis is a window over a sequence. */
#include "engine/nn/image_window.h"

static bool is_size(double size) {
    return size >= 1 && size <= AFFECT_MAX_DIMENSION && size == (double)(size_t)size;
}

affect_status affect_image_pair(size_t pair[2], const affect_json *json, const char *what,
                                size_t otherwise, affect_error *err) {
    pair[0] = pair[1] = otherwise;
    if (!json && otherwise) return AFFECT_STATUS_OK;
    if (!json) return affect_fail(err, INVALID, "%s is missing (a size, or [height, width])", what);
    const affect_json *first = json, *second = json;
    if (affect_json_is_array(json)) {
        first = affect_json_first(json);
        second = first ? affect_json_next(first) : NULL;
        if (affect_json_size(json) != 2) first = second = NULL;
    }
    double sizes[2] = {affect_json_number(first, 0), affect_json_number(second, 0)};
    if (!is_size(sizes[0]) || !is_size(sizes[1]))
        return affect_fail(err, INVALID, "%s: need a size of 1..%d, or two as [height, width]",
                           what, AFFECT_MAX_DIMENSION);
    pair[0] = (size_t)sizes[0];
    pair[1] = (size_t)sizes[1];
    return AFFECT_STATUS_OK;
}

affect_status affect_image_window(affect_window2d_shape *shape, const affect_layer *layer,
                                  const char *what, const size_t window[2], const size_t stride[2],
                                  affect_padding padding, affect_error *err) {
    char text[AFFECT_SHAPE_TEXT_SIZE];
    affect_shape in = layer->input;
    size_t out[2], pad[2];
    if (in.rank != 3)
        return affect_fail(err, SHAPE, "needs an input (height, width, channels), has %s",
                           affect_shape_text(text, in));
    for (int axis = 0; axis < 2; axis++) {
        affect_layer line = {.input = {2, {in.size[axis], in.size[2]}}};
        AFFECT_TRY(affect_window(&out[axis], &pad[axis], &line, what, window[axis], stride[axis],
                                 padding, err));
    }
    *shape = (affect_window2d_shape){
        .height = in.size[0],
        .width = in.size[1],
        .channels = in.size[2],
        .window_height = window[0],
        .window_width = window[1],
        .stride_height = stride[0],
        .stride_width = stride[1],
        .pad_top = pad[0],
        .pad_left = pad[1],
        .height_out = out[0],
        .width_out = out[1],
    };
    return AFFECT_STATUS_OK;
}
