/* Finite differences for every operation that has a backward, in double precision.
 *
 * Each case is a small function of one block of numbers (inputs and parameters together) to
 * outputs; the loss is a fixed random weighting of the outputs. Backward's gradient is compared
 * with central differences by the norm of the difference over the norm: at most 1e-6. Inputs are
 * random, so ties and kinks of ReLU and maxima are further away than the step. */
#include "engine/core/cpu_level.h"
#include "engine/device/backend.h"
#include "tests/test.h"

#define MAX_NUMBERS 8192
#define STEP        1e-5

/* One case: sizes of its numbers and outputs, and its two passes. `d` mirrors `v` (values). */
typedef struct gradient_case {
    const char *name;
    size_t n_values, n_outputs;
    void (*forward)(const struct gradient_case *, affect_backend *, double *y, double *v);
    void (*backward)(const struct gradient_case *, affect_backend *, double *d, double *d_y,
                     double *y, double *v);
    union {
        affect_conv1d_shape conv;
        affect_pool1d_shape pool;
        affect_batch_norm_shape norm;
        affect_layer_norm_shape layer_norm;
        affect_window2d_shape window;
        affect_pool_steps_shape steps;
        affect_dropout_shape dropout;
        affect_lstm_shape lstm;
        affect_loss_shape loss;
        affect_gemm_shape gemm;
        affect_gather_shape gather;
        affect_softmax_shape softmax;
        affect_activation activation;
    };
} gradient_case;

static _Alignas(64) char workspace[1 << 22], reserve[1 << 22];
static double norm_saved[64], norm_moving[64];

/* ---- Convolution: x, kernel, bias ---- */

static size_t conv_x(const affect_conv1d_shape *s) {
    return s->n * s->length * s->channels;
}
static size_t conv_kernel(const affect_conv1d_shape *s) {
    return s->kernel_size * s->channels * s->filters;
}

static void conv_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    const affect_conv1d_shape *s = &c->conv;
    CHECK(b->ops->conv1d_workspace(b, s) <= sizeof workspace);
    b->ops->conv1d_forward(b, y, v, v + conv_x(s), v + conv_x(s) + conv_kernel(s), workspace, s);
}

static void conv_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    const affect_conv1d_shape *s = &c->conv;
    double *d_kernel = d + conv_x(s);
    b->ops->conv1d_backward(b, d, d_kernel, d_kernel + conv_kernel(s), d_y, v, y, v + conv_x(s),
                            workspace, s);
}

/* ---- Convolution, relu and pooling in one: x, kernel, bias ---- */

static uint32_t switches[4096];

static void conv_pool_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    const affect_conv1d_shape *s = &c->conv;
    CHECK(b->ops->conv1d_pool_workspace(b, s) <= sizeof workspace);
    CHECK(b->ops->conv1d_pool_switches(b, s) <= sizeof switches);
    b->ops->conv1d_pool_forward(b, y, switches, v, v + conv_x(s), v + conv_x(s) + conv_kernel(s),
                                workspace, s);
}

static void conv_pool_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                               double *y, double *v) {
    const affect_conv1d_shape *s = &c->conv;
    double *d_kernel = d + conv_x(s);
    b->ops->conv1d_pool_backward(b, d, d_kernel, d_kernel + conv_kernel(s), d_y, v, y, switches,
                                 v + conv_x(s), workspace, s);
}

/* ---- Products: a, b; their gradients are products too ---- */

static void gemm_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->gemm(b, y, v, v + c->gemm.m * c->gemm.k, &c->gemm);
}

/* c = a b: d_a = d_c b', d_b = a' d_c. */
static void gemm_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    (void)y;
    size_t m = c->gemm.m, n = c->gemm.n, k = c->gemm.k;
    affect_gemm_shape for_a = {m, k, n, false, true, n, n, k, c->gemm.alpha, 1};
    affect_gemm_shape for_b = {k, n, m, true, false, k, n, n, c->gemm.alpha, 1};
    b->ops->gemm(b, d, d_y, v + m * k, &for_a);
    b->ops->gemm(b, d + m * k, v, d_y, &for_b);
}

/* ---- Softmax of rows: x ---- */

static void softmax_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->masked_softmax_forward(b, y, v, &c->softmax);
}

static void softmax_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                             double *y, double *v) {
    (void)v;
    b->ops->masked_softmax_backward(b, d, d_y, y, &c->softmax);
}

/* ---- Rows of a table: the table ---- */

static const int32_t row_ids[] = {3, 1, 3, -1, 0, 5, 1, 3, 6};

static void gather_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->gather(b, y, v, row_ids, &c->gather);
}

static void gather_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                            double *y, double *v) {
    (void)y, (void)v;
    b->ops->scatter_add(b, d, d_y, row_ids, &c->gather);
}

/* ---- Pooling: x ---- */

static void pool_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->pool1d_forward(b, y, v, &c->pool);
}
static void pool_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    b->ops->pool1d_backward(b, d, d_y, v, y, &c->pool);
}

/* ---- Batch normalisation: x, gamma, beta ---- */

static void norm_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    size_t n = c->norm.rows * c->norm.channels;
    b->ops->batch_norm_forward(b, y, norm_saved, norm_moving, norm_moving + 32, v, v + n,
                               v + n + c->norm.channels, &c->norm);
}
static void norm_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    (void)y;
    size_t n = c->norm.rows * c->norm.channels;
    b->ops->batch_norm_backward(b, d, d + n, d + n + c->norm.channels, d_y, v, v + n, norm_saved,
                                &c->norm);
}

/* ---- Dropout and activations: x ---- */

static void dropout_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->dropout(b, y, v, &c->dropout);
}
static void dropout_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                             double *y, double *v) {
    (void)y, (void)v;
    b->ops->dropout(b, d, d_y, &c->dropout);
}
static void activation_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->activation_forward(b, y, v, c->n_values / 5, 5, c->activation);
}
static void activation_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                                double *y, double *v) {
    (void)v;
    b->ops->activation_backward(b, d, d_y, y, c->n_values / 5, 5, c->activation);
}

/* ---- LSTM: x, then kernel, recurrent kernel, bias of each direction ---- */

static affect_lstm_parameters lstm_parameters(const affect_lstm_shape *s, double *v) {
    affect_lstm_parameters p = {0};
    v += (s->n_rows ? s->n_rows : s->batch * s->steps) * s->inputs;
    for (int i = 0; i < s->directions; i++) {
        p.kernel[i] = v;
        p.recurrent_kernel[i] = p.kernel[i] + s->inputs * 4 * s->units;
        p.bias[i] = p.recurrent_kernel[i] + s->units * 4 * s->units;
        v = p.bias[i] + 4 * s->units;
    }
    return p;
}
static void lstm_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    affect_lstm_parameters p = lstm_parameters(&c->lstm, v);
    CHECK(b->ops->lstm_workspace(b, &c->lstm) <= sizeof workspace);
    CHECK(b->ops->lstm_reserve(b, &c->lstm) <= sizeof reserve);
    b->ops->lstm_forward(b, y, reserve, v, &p, workspace, &c->lstm);
}
static void lstm_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    affect_lstm_parameters p = lstm_parameters(&c->lstm, v), g = lstm_parameters(&c->lstm, d);
    b->ops->lstm_backward(b, d, &g, d_y, v, y, reserve, &p, workspace, &c->lstm);
}

/* ---- Softmax and weighted cross-entropy of logits; L2 ---- */

static const int32_t labels[] = {2, 0, 1, 2, 3};
static const double weights[] = {1, 0.5, 2, 1, 0.25};

static void loss_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    double p[64], stats[2 + 16] = {0};
    b->ops->activation_forward(b, p, v, c->loss.batch, c->loss.classes, AFFECT_ACTIVATION_SOFTMAX);
    b->ops->cross_entropy(b, NULL, stats, p, labels, weights, &c->loss);
    *y = stats[0] / c->loss.divisor;
}
static void loss_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                          double *y, double *v) {
    (void)y;
    double p[64], stats[2 + 16] = {0};
    b->ops->activation_forward(b, p, v, c->loss.batch, c->loss.classes, AFFECT_ACTIVATION_SOFTMAX);
    b->ops->cross_entropy(b, d, stats, p, labels, weights, &c->loss);
    for (size_t i = 0; i < c->n_values; i++) d[i] *= *d_y;
}
static void l2_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    *y = 0;
    b->ops->l2_penalty(b, y, NULL, v, c->n_values, 0.01, 1);
}
static void l2_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                        double *y, double *v) {
    *y = 0;
    b->ops->l2_penalty(b, y, d, v, c->n_values, 0.01, 1);
    for (size_t i = 0; i < c->n_values; i++) d[i] *= *d_y;
}

/* ---- Layer normalisation: x, gamma, beta ---- */

static void layer_norm_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    size_t n = c->layer_norm.rows * c->layer_norm.channels;
    b->ops->layer_norm_forward(b, y, norm_saved, v, v + n, v + n + c->layer_norm.channels,
                               &c->layer_norm);
}
static void layer_norm_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                                double *y, double *v) {
    (void)y;
    size_t n = c->layer_norm.rows * c->layer_norm.channels;
    b->ops->layer_norm_backward(b, d, d + n, d + n + c->layer_norm.channels, d_y, v, v + n,
                                norm_saved, &c->layer_norm);
}

/* ---- Windows over images: x ---- */

static void window_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->window2d_forward(b, y, v, &c->window);
}
static void window_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                            double *y, double *v) {
    (void)y, (void)v;
    b->ops->window2d_backward(b, d, d_y, &c->window);
}
static void pool2d_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    b->ops->pool2d_forward(b, y, v, &c->window);
}
static void pool2d_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                            double *y, double *v) {
    b->ops->pool2d_backward(b, d, d_y, v, y, &c->window);
}

/* ---- Statistics over steps: x, scores ---- */

static double step_weights[64];

static void steps_forward(const gradient_case *c, affect_backend *b, double *y, double *v) {
    size_t n = c->steps.batch * c->steps.steps * c->steps.channels;
    b->ops->pool_steps_forward(b, y, step_weights, v, c->n_values > n ? v + n : NULL, &c->steps);
}
static void steps_backward(const gradient_case *c, affect_backend *b, double *d, double *d_y,
                           double *y, double *v) {
    size_t n = c->steps.batch * c->steps.steps * c->steps.channels;
    b->ops->pool_steps_backward(b, d, c->n_values > n ? d + n : NULL, d_y, v, y, step_weights,
                                &c->steps);
}

/* ---- The list ---- */

#define CONV(n_, length_, channels_, filters_, k_, stride_, pad_, out_, act_)                      \
    {                                                                                              \
        .name = "conv1d " #n_ "x" #length_ "x" #channels_ " k" #k_ " s" #stride_ " " #act_,        \
        .n_values = n_ * length_ * channels_ + k_ * channels_ * filters_ + filters_,               \
        .n_outputs = n_ * out_ * filters_, .forward = conv_forward, .backward = conv_backward,     \
        .conv = {                                                                                  \
            n_,                                                                                    \
            length_,                                                                               \
            channels_,                                                                             \
            filters_,                                                                              \
            k_,                                                                                    \
            stride_,                                                                               \
            pad_,                                                                                  \
            out_,                                                                                  \
            AFFECT_ACTIVATION_##act_                                                               \
        }                                                                                          \
    }
#define CONV_POOL(n_, length_, channels_, filters_, k_, stride_, pad_, out_)                       \
    {                                                                                              \
        .name =                                                                                    \
            "conv1d_pool " #n_ "x" #length_ "x" #channels_ " " #filters_ " k" #k_ " s" #stride_,   \
        .n_values = n_ * length_ * channels_ + k_ * channels_ * filters_ + filters_,               \
        .n_outputs = n_ * (out_ / 2) * filters_, .forward = conv_pool_forward,                     \
        .backward = conv_pool_backward, .conv = {                                                  \
            n_,                                                                                    \
            length_,                                                                               \
            channels_,                                                                             \
            filters_,                                                                              \
            k_,                                                                                    \
            stride_,                                                                               \
            pad_,                                                                                  \
            out_,                                                                                  \
            AFFECT_ACTIVATION_RELU                                                                 \
        }                                                                                          \
    }
#define POOL(n_, length_, channels_, size_, stride_, pad_, out_)                                   \
    {                                                                                              \
        .name = "pool1d " #length_ " size " #size_ " stride " #stride_ " pad " #pad_,              \
        .n_values = n_ * length_ * channels_, .n_outputs = n_ * out_ * channels_,                  \
        .forward = pool_forward, .backward = pool_backward, .pool = {                              \
            n_,                                                                                    \
            length_,                                                                               \
            channels_,                                                                             \
            size_,                                                                                 \
            stride_,                                                                               \
            pad_,                                                                                  \
            out_                                                                                   \
        }                                                                                          \
    }
#define LSTM(batch_, steps_, in_, u_, dirs_, reverse_, seq_)                                       \
    {                                                                                              \
        .name =                                                                                    \
            "lstm " #batch_ "x" #steps_ " directions " #dirs_ " reverse " #reverse_ " seq " #seq_, \
        .n_values = batch_ * steps_ * in_ + dirs_ * (in_ + u_ + 1) * 4 * u_,                       \
        .n_outputs = (seq_ ? batch_ * steps_ : batch_) * dirs_ * u_, .forward = lstm_forward,      \
        .backward = lstm_backward, .lstm = {                                                       \
            batch_,                                                                                \
            steps_,                                                                                \
            in_,                                                                                   \
            u_,                                                                                    \
            dirs_,                                                                                 \
            reverse_,                                                                              \
            seq_,                                                                                  \
            0,                                                                                     \
            NULL,                                                                                  \
            NULL                                                                                   \
        }                                                                                          \
    }
/* Sequences of 1, 3 and 4 distinct rows. */
static const size_t first_rows[] = {0, 1, 4, 8};
static const size_t lengths_full[] = {2, 5, 0}, lengths_shared[] = {0, 2, 6};
#define LSTM_ROWS(name_, lengths_, n_rows_, rows_, steps_, in_, u_, dirs_, reverse_, seq_)         \
    {                                                                                              \
        .name = "lstm " name_ ", " #steps_ " steps, directions " #dirs_ " reverse " #reverse_,     \
        .n_values = rows_ * in_ + dirs_ * (in_ + u_ + 1) * 4 * u_,                                 \
        .n_outputs = (seq_ ? 3 * steps_ : 3) * dirs_ * u_, .forward = lstm_forward,                \
        .backward = lstm_backward, .lstm = {                                                       \
            3,                                                                                     \
            steps_,                                                                                \
            in_,                                                                                   \
            u_,                                                                                    \
            dirs_,                                                                                 \
            reverse_,                                                                              \
            seq_,                                                                                  \
            n_rows_,                                                                               \
            n_rows_ ? first_rows : NULL,                                                           \
            lengths_                                                                               \
        }                                                                                          \
    }
#define LSTM_SHARED(steps_, ...) LSTM_ROWS("shared rows", NULL, 8, 8, steps_, __VA_ARGS__)
#define LSTM_MASKED(steps_, ...)                                                                   \
    LSTM_ROWS("masked", lengths_full, 0, 3 * steps_, steps_, __VA_ARGS__)
#define LSTM_BOTH(steps_, ...)                                                                     \
    LSTM_ROWS("shared and masked", lengths_shared, 8, 8, steps_, __VA_ARGS__)
#define WINDOW(what_, outputs_, h_, w_, ch_, kh_, kw_, sh_, sw_, top_, left_, ho_, wo_)            \
    {                                                                                              \
        .name = #what_ " " #h_ "x" #w_ "x" #ch_ " window " #kh_ "x" #kw_ " stride " #sh_ "x" #sw_, \
        .n_values = 3 * h_ * w_ * ch_, .n_outputs = 3 * ho_ * wo_ * ch_ * (outputs_),              \
        .forward = what_##_forward, .backward = what_##_backward, .window = {                      \
            3,                                                                                     \
            h_,                                                                                    \
            w_,                                                                                    \
            ch_,                                                                                   \
            kh_,                                                                                   \
            kw_,                                                                                   \
            sh_,                                                                                   \
            sw_,                                                                                   \
            top_,                                                                                  \
            left_,                                                                                 \
            ho_,                                                                                   \
            wo_                                                                                    \
        }                                                                                          \
    }
static const size_t step_lengths[] = {5, 2, 0};
#define STEPS(name_, scores_, deviation_, lengths_)                                                \
    {                                                                                              \
        .name = "pool_steps " name_, .n_values = 3 * 5 * 4 + (scores_ ? 3 * 5 : 0),                \
        .n_outputs = 3 * 4 * (deviation_ ? 2 : 1), .forward = steps_forward,                       \
        .backward = steps_backward, .steps = {                                                     \
            3,                                                                                     \
            5,                                                                                     \
            4,                                                                                     \
            deviation_,                                                                            \
            1e-3,                                                                                  \
            lengths_                                                                               \
        }                                                                                          \
    }
#define ACTIVATION(act_)                                                                           \
    {                                                                                              \
        .name = "activation " #act_, .n_values = 40, .n_outputs = 40,                              \
        .forward = activation_forward, .backward = activation_backward,                            \
        .activation = AFFECT_ACTIVATION_##act_                                                     \
    }

static const gradient_case cases[] = {
    CONV(3, 9, 4, 5, 3, 1, 0, 7, RELU),
    CONV(2, 10, 1, 6, 3, 1, 0, 8, TANH),
    CONV(2, 9, 3, 4, 3, 1, 1, 9, SIGMOID),
    CONV(2, 11, 3, 4, 4, 2, 1, 5, LINEAR),
    CONV(1, 5, 2, 3, 5, 1, 0, 1, TANH),
    CONV(6, 1, 7, 5, 1, 1, 0, 1, RELU),
    CONV(2, 6, 7, 5, 1, 2, 0, 3, LINEAR),
    CONV_POOL(3, 9, 4, 5, 3, 1, 0, 7),
    CONV_POOL(2, 9, 16, 40, 3, 1, 0, 7),
    CONV_POOL(5, 6, 32, 7, 2, 1, 0, 5),
    CONV_POOL(2, 10, 1, 6, 3, 1, 0, 8),
    CONV_POOL(2, 12, 1, 35, 5, 1, 0, 8),
    CONV_POOL(2, 9, 3, 4, 3, 1, 1, 9),
    CONV_POOL(2, 11, 3, 4, 4, 2, 1, 5),
    POOL(3, 8, 4, 2, 2, 0, 4),
    POOL(2, 9, 3, 2, 2, 0, 4),
    POOL(2, 9, 3, 3, 2, 0, 4),
    POOL(2, 9, 3, 3, 1, 1, 9),
    POOL(2, 7, 3, 2, 2, 0, 4),
    {.name = "batch_norm",
     .n_values = 20 * 6 + 12,
     .n_outputs = 20 * 6,
     .forward = norm_forward,
     .backward = norm_backward,
     .norm = {20, 6, 0.99, 1e-3}},
    {.name = "layer_norm",
     .n_values = 7 * 9 + 18,
     .n_outputs = 7 * 9,
     .forward = layer_norm_forward,
     .backward = layer_norm_backward,
     .layer_norm = {7, 9, 1e-3}},
    WINDOW(window, 6, 5, 7, 2, 2, 3, 1, 2, 0, 0, 4, 3),
    WINDOW(window, 9, 4, 5, 3, 3, 3, 2, 1, 0, 1, 2, 5),
    WINDOW(window, 15, 2, 3, 2, 5, 3, 1, 1, 2, 1, 2, 3),
    WINDOW(pool2d, 1, 5, 7, 2, 2, 3, 2, 3, 0, 0, 2, 2),
    WINDOW(pool2d, 1, 4, 5, 3, 3, 3, 2, 2, 0, 1, 2, 3),
    WINDOW(pool2d, 1, 4, 4, 3, 2, 2, 1, 1, 0, 0, 3, 3),
    {.name = "gemm",
     .n_values = 5 * 7 + 7 * 6,
     .n_outputs = 5 * 6,
     .forward = gemm_forward,
     .backward = gemm_backward,
     .gemm = {5, 6, 7, false, false, 7, 6, 6, 1.5, 0}},
    {.name = "masked softmax",
     .n_values = 3 * 4 * 5,
     .n_outputs = 3 * 4 * 5,
     .forward = softmax_forward,
     .backward = softmax_backward,
     .softmax = {3, 4, 5, step_lengths}},
    {.name = "gather",
     .n_values = 6 * 5,
     .n_outputs = 9 * 5,
     .forward = gather_forward,
     .backward = gather_backward,
     .gather = {9, 6, 5}},
    STEPS("mean", false, false, NULL),
    STEPS("mean, masked", false, false, step_lengths),
    STEPS("attention", true, false, NULL),
    STEPS("attention and deviation", true, true, NULL),
    STEPS("attention and deviation, masked", true, true, step_lengths),
    {.name = "dropout",
     .n_values = 101,
     .n_outputs = 101,
     .forward = dropout_forward,
     .backward = dropout_backward,
     .dropout = {101, 0.3, {7, 9}, 13}},
    ACTIVATION(RELU),
    ACTIVATION(TANH),
    ACTIVATION(SIGMOID),
    LSTM(3, 5, 4, 3, 1, false, true),
    LSTM(3, 5, 4, 3, 1, true, true),
    LSTM(3, 5, 4, 3, 1, false, false),
    LSTM(1, 1, 4, 3, 1, false, false),
    LSTM(3, 4, 5, 6, 2, false, true),
    LSTM(5, 6, 3, 4, 2, false, false),
    LSTM(2, 3, 9, 16, 2, false, true),
    LSTM_SHARED(6, 3, 4, 2, false, true),
    LSTM_SHARED(4, 3, 8, 2, false, false),
    LSTM_SHARED(4, 5, 3, 1, false, true),
    LSTM_SHARED(6, 3, 4, 1, true, true),
    LSTM_MASKED(6, 3, 4, 2, false, true),
    LSTM_MASKED(6, 3, 4, 2, false, false),
    LSTM_MASKED(6, 3, 4, 1, true, true),
    LSTM_BOTH(6, 3, 4, 2, false, true),
    LSTM_BOTH(6, 3, 8, 2, false, false),
    {.name = "softmax and cross-entropy",
     .n_values = 20,
     .n_outputs = 1,
     .forward = loss_forward,
     .backward = loss_backward,
     .loss = {5, 4, 5}},
    {.name = "l2", .n_values = 50, .n_outputs = 1, .forward = l2_forward, .backward = l2_backward},
};

/* ---- The check ---- */

static double loss_of(const gradient_case *c, affect_backend *backend, double *v,
                      const double *weighting) {
    static double y[MAX_NUMBERS];
    c->forward(c, backend, y, v);
    double sum = 0;
    for (size_t i = 0; i < c->n_outputs; i++) sum += weighting[i] * y[i];
    return sum;
}

static double relative_error(const gradient_case *c, affect_backend *backend, uint64_t seed) {
    static double v[MAX_NUMBERS], d[MAX_NUMBERS], y[MAX_NUMBERS], d_y[MAX_NUMBERS];
    static double weighting[MAX_NUMBERS];
    affect_random_key key = {seed, affect_random_stream(c->name, 0, 0)};
    for (size_t i = 0; i < c->n_values; i++) v[i] = affect_random_normal(key, i);
    for (size_t i = 0; i < c->n_outputs; i++)
        d_y[i] = weighting[i] = affect_random_normal(key, 100000 + i);
    memset(d, 0, sizeof d);
    c->forward(c, backend, y, v);
    c->backward(c, backend, d, d_y, y, v);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < c->n_values; i++) {
        double kept = v[i];
        v[i] = kept + STEP;
        double above = loss_of(c, backend, v, weighting);
        v[i] = kept - STEP;
        double below = loss_of(c, backend, v, weighting);
        v[i] = kept;
        double numeric = (above - below) / (2 * STEP);
        difference += (numeric - d[i]) * (numeric - d[i]);
        norm += numeric * numeric;
    }
    return sqrt(difference / norm);
}

static void check_all(int n_threads) {
    affect_backend *backend = NULL;
    CHECK_OK(affect_backend_open(
        &backend, (affect_backend_options){.device = "cpu", .n_threads = n_threads}, err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(cases[i].n_values <= MAX_NUMBERS && cases[i].n_outputs <= MAX_NUMBERS);
        double error = relative_error(&cases[i], backend, 3);
        fprintf(stderr, "%s %d threads  %-45s %.1e\n", backend->ops->level, n_threads,
                cases[i].name, error);
        CHECK(error <= 1e-6);
    }
    affect_backend_free(backend);
}

int main(void) {
    for (int level = 0; level <= (int)affect_cpu_level_best(); level++) {
        setenv("AFFECT_CPU", affect_cpu_level_names[level], 1);
        for (int n_threads = 1; n_threads <= 3; n_threads++) check_all(n_threads);
    }
    return TEST_END();
}
