/* attention_pooling: mean and deviation over the steps, weighted by attention (Okabe, Koshinaka and
 * Shinoda 2018, "Attentive statistics pooling for deep speaker embedding"):
 *
 *   score_t = query . tanh(x_t kernel + bias);  a = softmax over the steps that are not masked;
 *   y = [sum_t a_t x_t, sqrt(sum_t a_t (x_t - mean)^2 + epsilon)]
 *
 * (steps, channels) to (2 channels), or (channels) without deviation. kernel (channels, units),
 * bias (units), query (units, 1). The products are convolutions of length 1, as dense's. */
#include "engine/nn/affine.h"
#include "engine/nn/layer_registry.h"

enum { KERNEL, BIAS, QUERY };

typedef struct {
    int64_t units;
    bool deviation;
    double epsilon, l2;
} attention_pooling;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(attention_pooling, units, 64, 1, AFFECT_MAX_DIMENSION,
                         "size of the hidden layer that scores a step"),
    AFFECT_FIELD_BOOL(attention_pooling, deviation, true, "the deviation beside the mean"),
    AFFECT_FIELD_NUMBER(attention_pooling, epsilon, 1e-6, 1e-12, 1, "added to the variance"),
    AFFECT_FIELD_NUMBER(attention_pooling, l2, 0, 0, 1e6, "penalty on the kernel's squares"),
    AFFECT_FIELD_END,
};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const attention_pooling *o = layer->options;
    char text[AFFECT_SHAPE_TEXT_SIZE];
    if (layer->input.rank != 2)
        return affect_fail(err, SHAPE, "needs an input (steps, channels), has %s",
                           affect_shape_text(text, layer->input));
    size_t channels = layer->input.size[1], units = (size_t)o->units;
    layer->output = (affect_shape){1, {channels * (o->deviation ? 2 : 1)}};
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, KERNEL, "kernel",
                                       (affect_shape){2, {channels, units}},
                                       AFFECT_INITIALIZER_GLOROT_UNIFORM, o->l2, err));
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, BIAS, "bias", (affect_shape){1, {units}},
                                       AFFECT_INITIALIZER_ZEROS, 0, err));
    return affect_layer_add_tensor(layer, builder, QUERY, "query", (affect_shape){2, {units, 1}},
                                   AFFECT_INITIALIZER_GLOROT_UNIFORM, 0, err);
}

static affect_pool_steps_shape pool_shape(const affect_layer *layer,
                                          const affect_layer_pass *pass) {
    const attention_pooling *o = layer->options;
    return (affect_pool_steps_shape){.batch = pass->n,
                                     .steps = layer->input.size[0],
                                     .channels = layer->input.size[1],
                                     .deviation = o->deviation,
                                     .epsilon = o->epsilon,
                                     .lengths = pass->lengths};
}

/* One call's shapes, and its parts of the two memories. */
typedef struct {
    affect_conv1d_shape hidden_shape, score_shape;
    size_t n_hidden, n_scores, n_x;                       /* numbers */
    affect_real *hidden, *weights;                        /* saved */
    affect_real *scores, *d_hidden, *d_x, *product_space; /* workspace */
} parts;

static parts parts_of(const affect_layer *layer, size_t n) {
    const attention_pooling *o = layer->options;
    size_t rows = n * layer->input.size[0], channels = layer->input.size[1];
    return (parts){
        .hidden_shape =
            affect_affine_shape(rows, channels, (size_t)o->units, AFFECT_ACTIVATION_TANH),
        .score_shape = affect_affine_shape(rows, (size_t)o->units, 1, AFFECT_ACTIVATION_LINEAR),
        .n_hidden = affect_layer_aligned(rows * (size_t)o->units),
        .n_scores = affect_layer_aligned(rows),
        .n_x = affect_layer_aligned(rows * channels),
    };
}

static parts place(const affect_layer *layer, const affect_layer_pass *pass, void *saved) {
    parts p = parts_of(layer, pass->n);
    p.hidden = saved;
    p.weights = p.hidden + p.n_hidden;
    p.scores = pass->workspace;
    p.d_hidden = p.scores + p.n_scores;
    p.d_x = p.d_hidden + p.n_hidden;
    p.product_space = p.d_x + p.n_x;
    return p;
}

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    (void)backend, (void)n_rows;
    parts p = parts_of(layer, n);
    return (p.n_hidden + p.n_scores) * sizeof(affect_real);
}

/* Inference keeps what training saves behind the rest. */
static size_t before_saved(const affect_layer *layer, affect_backend *backend, size_t n) {
    parts p = parts_of(layer, n);
    size_t hidden = backend->ops->conv1d_workspace(backend, &p.hidden_shape);
    size_t score = backend->ops->conv1d_workspace(backend, &p.score_shape);
    size_t products =
        affect_layer_aligned((hidden > score ? hidden : score) / sizeof(affect_real) + 1);
    return (p.n_scores + p.n_hidden + p.n_x + products) * sizeof(affect_real);
}

static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    return before_saved(layer, backend, n) + saved_size(layer, backend, n, n_rows);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, void *saved) {
    const affect_backend_ops *ops = pass->backend->ops;
    parts p = place(layer, pass, saved);
    affect_pool_steps_shape shape = pool_shape(layer, pass);
    ops->conv1d_forward(pass->backend, p.hidden, pass->x, affect_layer_tensor(layer, pass, KERNEL),
                        affect_layer_tensor(layer, pass, BIAS), p.product_space, &p.hidden_shape);
    ops->conv1d_forward(pass->backend, p.scores, p.hidden, affect_layer_tensor(layer, pass, QUERY),
                        NULL, p.product_space, &p.score_shape);
    ops->pool_steps_forward(pass->backend, pass->y, p.weights, pass->x, p.scores, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, (char *)pass->workspace + before_saved(layer, pass->backend, pass->n));
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_backend_ops *ops = pass->backend->ops;
    parts p = place(layer, pass, pass->saved);
    affect_pool_steps_shape shape = pool_shape(layer, pass);
    ops->pool_steps_backward(pass->backend, pass->d_x, p.scores, pass->d_y, pass->x, pass->y,
                             p.weights, &shape);
    ops->conv1d_backward(pass->backend, p.d_hidden, affect_layer_gradient(layer, pass, QUERY), NULL,
                         p.scores, p.hidden, NULL, affect_layer_tensor(layer, pass, QUERY),
                         p.product_space, &p.score_shape);
    ops->conv1d_backward(
        pass->backend, pass->d_x ? p.d_x : NULL, affect_layer_gradient(layer, pass, KERNEL),
        affect_layer_gradient(layer, pass, BIAS), p.d_hidden, pass->x, p.hidden,
        affect_layer_tensor(layer, pass, KERNEL), p.product_space, &p.hidden_shape);
    if (pass->d_x)
        ops->add(pass->backend, pass->d_x, p.d_x, pass->n * affect_shape_count(layer->input));
}

const affect_layer_class affect_layer_attention_pooling = {
    .type = "attention_pooling",
    .fields = fields,
    .options_size = sizeof(attention_pooling),
    .can_fold = true,
    .is_rowwise = true,
    .masks = true,
    .build = build,
    .saved_size = saved_size,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
