/* conv2d: a convolution over images, channels last (Keras' Conv2D): (height, width, channels) to
 * (height_out, width_out, filters); kernel (height, width, channels, filters).
 *
 * The windows of some utterances at a time are laid out as rows of a matrix, whose product with the
 * kernel is the convolution: as many utterances as fit COLUMNS_MAX numbers, so that the matrix
 * stays small. Backward lays them out again rather than keeping them. */
#include "engine/nn/affine.h"
#include "engine/nn/image_window.h"
#include "engine/nn/layer_registry.h"

enum { COLUMNS_MAX = 1 << 23 };

typedef struct {
    int64_t filters;
    affect_json *kernel_size, *strides;
    int padding, activation;
    bool use_bias;
    double l2;
} conv2d;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(conv2d, filters, 0, 1, AFFECT_MAX_DIMENSION, "channels of the output"),
    AFFECT_FIELD_JSON(conv2d, kernel_size, "size of the window, or [height, width]"),
    AFFECT_FIELD_JSON(conv2d, strides, "step of the window, or [down, across]; 1"),
    AFFECT_FIELD_CHOICE(conv2d, padding, AFFECT_PADDING_VALID, affect_padding_names,
                        "what lies beyond the edges"),
    AFFECT_FIELD_CHOICE(conv2d, activation, AFFECT_ACTIVATION_LINEAR, affect_activation_names,
                        "applied to the sum"),
    AFFECT_FIELD_BOOL(conv2d, use_bias, true, "add a bias per filter"),
    AFFECT_FIELD_NUMBER(conv2d, l2, 0, 0, 1e6, "penalty on the kernel's squares"),
    AFFECT_FIELD_END,
};

static affect_status window_of(affect_window2d_shape *shape, const affect_layer *layer,
                               affect_error *err) {
    const conv2d *o = layer->options;
    size_t window[2], stride[2];
    AFFECT_TRY(affect_image_pair(window, o->kernel_size, "kernel_size", 0, err));
    AFFECT_TRY(affect_image_pair(stride, o->strides, "strides", 1, err));
    return affect_image_window(shape, layer, "kernel_size", window, stride,
                               (affect_padding)o->padding, err);
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const conv2d *o = layer->options;
    affect_window2d_shape s;
    if (!o->filters) return affect_fail(err, INVALID, "filters is missing (a number of channels)");
    AFFECT_TRY(window_of(&s, layer, err));
    layer->output = (affect_shape){3, {s.height_out, s.width_out, (size_t)o->filters}};
    double columns = (double)s.height_out * (double)s.width_out * (double)s.window_height *
                     (double)s.window_width * (double)s.channels;
    if (columns > AFFECT_MAX_LAYER_OUTPUT)
        return affect_fail(err, TOO_LARGE,
                           "its windows cover %.0f numbers of one utterance (at most %d)", columns,
                           AFFECT_MAX_LAYER_OUTPUT);
    return affect_affine_build(
        layer, builder,
        (affect_shape){4, {s.window_height, s.window_width, s.channels, (size_t)o->filters}},
        o->use_bias, o->l2, err);
}

/* A convolution of n utterances, cut into parts. */
typedef struct {
    affect_window2d_shape window; /* of a part */
    affect_conv1d_shape product;  /* of a part */
    size_t part;                  /* utterances in a part */
    size_t n_columns;             /* numbers that the windows of a part cover */
    size_t in, out;               /* numbers of an utterance */
} plan;

static plan plan_of(const affect_layer *layer, size_t n) {
    const conv2d *o = layer->options;
    plan p = {.in = affect_shape_count(layer->input), .out = affect_shape_count(layer->output)};
    window_of(&p.window, layer, NULL); /* was checked by build */
    affect_window2d_shape *s = &p.window;
    size_t row = s->window_height * s->window_width * s->channels;
    size_t rows = s->height_out * s->width_out;
    p.part = COLUMNS_MAX / (rows * row);
    p.part = p.part < 1 ? 1 : p.part > n ? n : p.part;
    p.n_columns = (p.part * rows * row + 63) / 64 * 64;
    p.product = (affect_conv1d_shape){.n = p.part * rows,
                                      .length = 1,
                                      .channels = row,
                                      .filters = (size_t)o->filters,
                                      .kernel_size = 1,
                                      .stride = 1,
                                      .length_out = 1,
                                      .activation = (affect_activation)o->activation};
    s->n = p.part;
    return p;
}

static void shorten(plan *p, size_t part) {
    p->window.n = part;
    p->product.n = part * p->window.height_out * p->window.width_out;
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    (void)n_rows;
    plan p = plan_of(layer, n);
    return 2 * p.n_columns * sizeof(affect_real) +
           backend->ops->conv1d_workspace(backend, &p.product);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_backend_ops *ops = pass->backend->ops;
    plan p = plan_of(layer, pass->n);
    affect_real *columns = pass->workspace;
    for (size_t at = 0; at < pass->n; at += p.part) {
        if (at + p.part > pass->n) shorten(&p, pass->n - at);
        ops->window2d_forward(pass->backend, columns, pass->x + at * p.in, &p.window);
        ops->conv1d_forward(pass->backend, pass->y + at * p.out, columns,
                            affect_layer_tensor(layer, pass, AFFECT_KERNEL),
                            affect_layer_tensor(layer, pass, AFFECT_BIAS),
                            columns + 2 * p.n_columns, &p.product);
    }
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_backend_ops *ops = pass->backend->ops;
    plan p = plan_of(layer, pass->n);
    affect_real *columns = pass->workspace, *d_columns = columns + p.n_columns;
    for (size_t at = 0; at < pass->n; at += p.part) {
        if (at + p.part > pass->n) shorten(&p, pass->n - at);
        ops->window2d_forward(pass->backend, columns, pass->x + at * p.in, &p.window);
        ops->conv1d_backward(pass->backend, pass->d_x ? d_columns : NULL,
                             affect_layer_gradient(layer, pass, AFFECT_KERNEL),
                             affect_layer_gradient(layer, pass, AFFECT_BIAS),
                             pass->d_y + at * p.out, columns, pass->y + at * p.out,
                             affect_layer_tensor(layer, pass, AFFECT_KERNEL),
                             d_columns + p.n_columns, &p.product);
        if (pass->d_x)
            ops->window2d_backward(pass->backend, pass->d_x + at * p.in, d_columns, &p.window);
    }
}

const affect_layer_class affect_layer_conv2d = {
    .type = "conv2d",
    .fields = fields,
    .options_size = sizeof(conv2d),
    .can_fold = true,
    .is_rowwise = true,
    .build = build,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = forward,
    .backward = backward,
};
