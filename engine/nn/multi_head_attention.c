/* multi_head_attention: each step looks at all steps of its sequence (Vaswani et al. 2017; Keras'
 * MultiHeadAttention of x with itself, without dropout):
 *
 *   query, key, value = x kernel + bias, cut into heads of key_dim (value: value_dim);
 *   weights = softmax(query key' / sqrt(key_dim)) over the steps that are not masked;
 *   y = (weights value, heads side by side) output_kernel + output_bias
 *
 * (steps, channels) to (steps, channels). Kernels have Keras' shapes: (channels, heads, key_dim),
 * output_kernel (heads, value_dim, channels).
 *
 * The four projections are convolutions of length 1, as dense's, so that a row has the same bits in
 * any batch; the products of steps with steps are gemm_batched, a call a head, whose matrices are
 * the sequences: they lie in the projections with the stride of a whole row. */
#include "engine/nn/affine.h"
#include "engine/nn/layer_registry.h"

#include <math.h>

enum { QUERY, KEY, VALUE, OUTPUT, N_PROJECTIONS };

typedef struct {
    int64_t num_heads, key_dim, value_dim;
    bool use_bias;
    double l2;
} attention;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(attention, num_heads, 0, 1, 256, "number of heads"),
    AFFECT_FIELD_INTEGER(attention, key_dim, 0, 1, AFFECT_MAX_DIMENSION,
                         "size of a head's query and key"),
    AFFECT_FIELD_INTEGER(attention, value_dim, 0, 0, AFFECT_MAX_DIMENSION,
                         "size of a head's value; 0: key_dim"),
    AFFECT_FIELD_BOOL(attention, use_bias, true, "add a bias in each projection"),
    AFFECT_FIELD_NUMBER(attention, l2, 0, 0, 1e6, "penalty on the kernels' squares"),
    AFFECT_FIELD_END,
};

static size_t head_size(const affect_layer *layer, int projection) {
    const attention *o = layer->options;
    return (size_t)(projection == VALUE && o->value_dim ? o->value_dim : o->key_dim);
}

/* Numbers of a step, all heads. */
static size_t width_of(const affect_layer *layer, int projection) {
    const attention *o = layer->options;
    return (size_t)o->num_heads * head_size(layer, projection);
}

/* Tensor slots: kernels first, then biases. */
static int kernel_slot(int projection) {
    return projection;
}
static int bias_slot(int projection) {
    return N_PROJECTIONS + projection;
}

static affect_status add_projection(affect_layer *layer, affect_layer_builder *builder,
                                    int projection, affect_error *err) {
    static const char *const names[N_PROJECTIONS][2] = {{"query_kernel", "query_bias"},
                                                        {"key_kernel", "key_bias"},
                                                        {"value_kernel", "value_bias"},
                                                        {"output_kernel", "output_bias"}};
    const attention *o = layer->options;
    size_t heads = (size_t)o->num_heads, channels = layer->input.size[1];
    size_t size = head_size(layer, projection == OUTPUT ? VALUE : projection);
    affect_shape kernel = {3, {channels, heads, size}}, bias = {2, {heads, size}};
    if (projection == OUTPUT) {
        kernel = (affect_shape){3, {heads, size, channels}};
        bias = (affect_shape){1, {channels}};
    }
    AFFECT_TRY(affect_layer_add_tensor(layer, builder, kernel_slot(projection),
                                       names[projection][0], kernel,
                                       AFFECT_INITIALIZER_GLOROT_UNIFORM, o->l2, err));
    if (!o->use_bias) return AFFECT_STATUS_OK;
    return affect_layer_add_tensor(layer, builder, bias_slot(projection), names[projection][1],
                                   bias, AFFECT_INITIALIZER_ZEROS, 0, err);
}

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const attention *o = layer->options;
    char text[AFFECT_SHAPE_TEXT_SIZE];
    if (!o->num_heads) return affect_fail(err, INVALID, "num_heads is missing (a number)");
    if (!o->key_dim) return affect_fail(err, INVALID, "key_dim is missing (a size)");
    if (layer->input.rank != 2)
        return affect_fail(err, SHAPE, "needs an input (steps, channels), has %s",
                           affect_shape_text(text, layer->input));
    double steps = (double)layer->input.size[0];
    if (steps * steps * (double)o->num_heads > AFFECT_MAX_LAYER_OUTPUT)
        return affect_fail(err, TOO_LARGE, "makes %.0f weights of one utterance (at most %d)",
                           steps * steps * (double)o->num_heads, AFFECT_MAX_LAYER_OUTPUT);
    layer->output = layer->input;
    for (int p = 0; p < N_PROJECTIONS; p++) AFFECT_TRY(add_projection(layer, builder, p, err));
    return AFFECT_STATUS_OK;
}

/* ---- Memory of a call ---- */

/* Numbers of each part, of which training saves the first two. */
typedef struct {
    size_t projected[N_PROJECTIONS]; /* OUTPUT: what the last projection reads */
    size_t weights, x;
} part_sizes;

static part_sizes sizes_of(const affect_layer *layer, size_t n) {
    const attention *o = layer->options;
    size_t steps = layer->input.size[0], rows = n * steps;
    part_sizes sizes = {.weights = affect_layer_aligned(rows * (size_t)o->num_heads * steps),
                        .x = affect_layer_aligned(rows * layer->input.size[1])};
    for (int p = 0; p < N_PROJECTIONS; p++)
        sizes.projected[p] = affect_layer_aligned(rows * width_of(layer, p == OUTPUT ? VALUE : p));
    return sizes;
}

/* The projections and weights, or their gradients. */
typedef struct {
    affect_real *projected[N_PROJECTIONS], *weights;
} parts;

static parts place(const part_sizes *sizes, affect_real *memory) {
    parts made;
    for (int p = 0; p < N_PROJECTIONS; p++) {
        made.projected[p] = memory;
        memory += sizes->projected[p];
    }
    made.weights = memory;
    return made;
}

static size_t parts_size(const part_sizes *sizes) {
    size_t n = sizes->weights;
    for (int p = 0; p < N_PROJECTIONS; p++) n += sizes->projected[p];
    return n;
}

static affect_conv1d_shape projection_shape(const affect_layer *layer, size_t n, int projection) {
    size_t channels = layer->input.size[1];
    size_t width = width_of(layer, projection == OUTPUT ? VALUE : projection);
    bool last = projection == OUTPUT;
    return affect_affine_shape(n * layer->input.size[0], last ? width : channels,
                               last ? channels : width, AFFECT_ACTIVATION_LINEAR);
}

static size_t saved_size(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows) {
    (void)backend, (void)n_rows;
    part_sizes sizes = sizes_of(layer, n);
    return parts_size(&sizes) * sizeof(affect_real);
}

/* Forward: in inference what training saves, then the projections' workspace. Backward: the
 * gradients of what was saved, an addend of d_x, then that workspace. */
static size_t workspace_size(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows) {
    size_t product = 0;
    for (int p = 0; p < N_PROJECTIONS; p++) {
        affect_conv1d_shape shape = projection_shape(layer, n, p);
        size_t needed = backend->ops->conv1d_workspace(backend, &shape);
        product = needed > product ? needed : product;
    }
    return saved_size(layer, backend, n, n_rows) + sizes_of(layer, n).x * sizeof(affect_real) +
           product;
}

/* ---- Products of steps with steps ---- */

/* A matrix of each head and sequence: weights (steps, steps), or a head's part of a projection. */
typedef struct {
    affect_real *numbers;
    size_t row, sequence, head; /* numbers from one to the next */
} matrices;

static matrices head_matrices(const affect_layer *layer, affect_real *numbers, int projection) {
    size_t width = width_of(layer, projection);
    return (matrices){numbers, width, layer->input.size[0] * width, head_size(layer, projection)};
}

static matrices weight_matrices(const affect_layer *layer, affect_real *numbers) {
    const attention *o = layer->options;
    size_t steps = layer->input.size[0];
    return (matrices){numbers, steps, (size_t)o->num_heads * steps * steps, steps * steps};
}

/* c (steps, n) = alpha op(a) op(b), k being what is summed over, for all heads and sequences. */
static void multiply(const affect_layer *layer, const affect_layer_pass *pass, matrices c,
                     matrices a, matrices b, affect_gemm_shape shape) {
    const attention *o = layer->options;
    affect_gemm_batch batch = {pass->n, a.sequence, b.sequence, c.sequence};
    shape.m = layer->input.size[0];
    shape.lda = a.row, shape.ldb = b.row, shape.ldc = c.row;
    for (size_t h = 0; h < (size_t)o->num_heads; h++)
        pass->backend->ops->gemm_batched(pass->backend, c.numbers + h * c.head,
                                         a.numbers + h * a.head, b.numbers + h * b.head, &shape,
                                         &batch);
}

static affect_real scale_of(const affect_layer *layer) {
    return (affect_real)(1 / sqrt((double)head_size(layer, KEY)));
}

static affect_softmax_shape softmax_shape(const affect_layer *layer,
                                          const affect_layer_pass *pass) {
    const attention *o = layer->options;
    size_t steps = layer->input.size[0];
    return (affect_softmax_shape){.batch = pass->n,
                                  .rows = (size_t)o->num_heads * steps,
                                  .columns = steps,
                                  .lengths = pass->lengths};
}

/* ---- The two passes ---- */

static void project(const affect_layer *layer, const affect_layer_pass *pass, affect_real *y,
                    const affect_real *x, int projection, void *workspace) {
    affect_conv1d_shape shape = projection_shape(layer, pass->n, projection);
    pass->backend->ops->conv1d_forward(
        pass->backend, y, x, affect_layer_tensor(layer, pass, kernel_slot(projection)),
        affect_layer_tensor(layer, pass, bias_slot(projection)), workspace, &shape);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, affect_real *saved,
                void *workspace) {
    part_sizes sizes = sizes_of(layer, pass->n);
    parts p = place(&sizes, saved);
    size_t steps = layer->input.size[0];
    matrices weights = weight_matrices(layer, p.weights);
    affect_softmax_shape shape = softmax_shape(layer, pass);
    for (int i = QUERY; i <= VALUE; i++)
        project(layer, pass, p.projected[i], pass->x, i, workspace);
    multiply(
        layer, pass, weights, head_matrices(layer, p.projected[QUERY], QUERY),
        head_matrices(layer, p.projected[KEY], KEY),
        (affect_gemm_shape){
            .n = steps, .k = head_size(layer, KEY), .transpose_b = true, .alpha = scale_of(layer)});
    pass->backend->ops->masked_softmax_forward(pass->backend, p.weights, p.weights, &shape);
    multiply(layer, pass, head_matrices(layer, p.projected[OUTPUT], VALUE), weights,
             head_matrices(layer, p.projected[VALUE], VALUE),
             (affect_gemm_shape){.n = head_size(layer, VALUE), .k = steps, .alpha = 1});
    project(layer, pass, pass->y, p.projected[OUTPUT], OUTPUT, workspace);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved, pass->workspace);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    part_sizes sizes = sizes_of(layer, pass->n);
    run(layer, pass, pass->workspace, (affect_real *)pass->workspace + parts_size(&sizes));
}

/* d_x of a projection from the gradient of its output; gradients of its tensors are added. */
static void unproject(const affect_layer *layer, const affect_layer_pass *pass, affect_real *d_x,
                      affect_real *d_y, const affect_real *x, int projection, void *workspace) {
    affect_conv1d_shape shape = projection_shape(layer, pass->n, projection);
    pass->backend->ops->conv1d_backward(
        pass->backend, d_x, affect_layer_gradient(layer, pass, kernel_slot(projection)),
        affect_layer_gradient(layer, pass, bias_slot(projection)), d_y, x, NULL,
        affect_layer_tensor(layer, pass, kernel_slot(projection)), workspace, &shape);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    const affect_backend_ops *ops = pass->backend->ops;
    part_sizes sizes = sizes_of(layer, pass->n);
    parts p = place(&sizes, pass->saved), d = place(&sizes, pass->workspace);
    affect_real *d_x = (affect_real *)pass->workspace + parts_size(&sizes);
    void *workspace = d_x + sizes.x;
    size_t steps = layer->input.size[0];
    matrices weights = weight_matrices(layer, p.weights), d_weights = weights;
    matrices d_context = head_matrices(layer, d.projected[OUTPUT], VALUE);
    affect_softmax_shape shape = softmax_shape(layer, pass);
    d_weights.numbers = d.weights;
    unproject(layer, pass, d.projected[OUTPUT], pass->d_y, p.projected[OUTPUT], OUTPUT, workspace);
    multiply(layer, pass, d_weights, d_context, head_matrices(layer, p.projected[VALUE], VALUE),
             (affect_gemm_shape){
                 .n = steps, .k = head_size(layer, VALUE), .transpose_b = true, .alpha = 1});
    multiply(layer, pass, head_matrices(layer, d.projected[VALUE], VALUE), weights, d_context,
             (affect_gemm_shape){
                 .n = head_size(layer, VALUE), .k = steps, .transpose_a = true, .alpha = 1});
    ops->masked_softmax_backward(pass->backend, d.weights, d.weights, p.weights, &shape);
    affect_gemm_shape of_scores = {
        .n = head_size(layer, KEY), .k = steps, .alpha = scale_of(layer)};
    multiply(layer, pass, head_matrices(layer, d.projected[QUERY], QUERY), d_weights,
             head_matrices(layer, p.projected[KEY], KEY), of_scores);
    of_scores.transpose_a = true;
    multiply(layer, pass, head_matrices(layer, d.projected[KEY], KEY), d_weights,
             head_matrices(layer, p.projected[QUERY], QUERY), of_scores);
    for (int i = QUERY; i <= VALUE; i++) {
        affect_real *to = i == QUERY ? pass->d_x : d_x;
        unproject(layer, pass, pass->d_x ? to : NULL, d.projected[i], pass->x, i, workspace);
        if (pass->d_x && i != QUERY)
            ops->add(pass->backend, pass->d_x, d_x, pass->n * affect_shape_count(layer->input));
    }
}

const affect_layer_class affect_layer_multi_head_attention = {
    .type = "multi_head_attention",
    .fields = fields,
    .options_size = sizeof(attention),
    .can_fold = true,
    .is_rowwise = true,
    .masks = true,
    .uses_gemm = true,
    .build = build,
    .saved_size = saved_size,
    .workspace_size = workspace_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
