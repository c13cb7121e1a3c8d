/* Every operation of a backend, forward and backward, against Keras 3 and jax.vjp.
 *
 * tests/reference/keras/layers.safetensors holds, for each case, x, y, d_y, d_x and every parameter
 * with its gradient; its metadata holds the layer's JSON (tests/reference/README.md). Arrays are
 * moved through the backend's own upload and download. Bound: 5e-6 of the largest value (at least
 * 1).
 */
#include "engine/core/safetensors.h"
#include "engine/device/backend.h"
#include "tests/test.h"

enum { MAX_ARRAYS = 64 };

static affect_safetensors *file;
static affect_backend *backend;
static void *arrays[MAX_ARRAYS]; /* of the current case, freed at its end */
static size_t n_arrays;

/* One case: its name, the inner layer's JSON, and the wrapper's type ("" without). */
typedef struct {
    const char *name, *type, *wrapper;
    const affect_json *layer;
    bool training;
} layer_case;

static void *device_memory(size_t n_bytes) {
    void *memory = backend->ops->allocate(backend, n_bytes + 64);
    if (!memory || n_arrays == MAX_ARRAYS) abort();
    backend->ops->zero(backend, memory, n_bytes + 64);
    return arrays[n_arrays++] = memory;
}

static affect_real *zeros(size_t n) {
    return device_memory(n * sizeof(affect_real));
}

static const affect_safetensor *stored(const layer_case *c, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", c->name, name);
    const affect_safetensor *tensor = affect_safetensors_find(file, full);
    if (!tensor) fprintf(stderr, "%s is not stored\n", full), abort();
    return tensor;
}

static size_t count(const layer_case *c, const char *name) {
    return affect_shape_count(stored(c, name)->shape);
}

/* A copy of the stored tensor on the device. */
static affect_real *device(const layer_case *c, const char *name) {
    const affect_safetensor *tensor = stored(c, name);
    size_t n = affect_shape_count(tensor->shape);
    affect_real *memory = zeros(n);
    backend->ops->upload(backend, memory, tensor->data, n * sizeof(affect_real));
    return memory;
}

static void compare(const layer_case *c, const char *name, const affect_real *got_on_device) {
    const affect_safetensor *tensor = stored(c, name);
    const float *want = tensor->data;
    size_t n = affect_shape_count(tensor->shape);
    affect_real *got = malloc((n + 1) * sizeof *got);
    if (!got) abort();
    backend->ops->download(backend, got, got_on_device, n * sizeof *got);
    CHECK_OK(affect_backend_synchronize(backend, err));
    double largest = 1, difference = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)want[i]));
        difference = fmax(difference, isnan(got[i]) ? INFINITY : fabs((double)got[i] - want[i]));
    }
    if (!(difference <= 5e-6 * largest))
        fprintf(stderr, "    %s.%s: differs by %.2g\n", c->name, name, difference);
    CHECK(difference <= 5e-6 * largest);
    free(got);
}

static affect_activation activation_of(const layer_case *c) {
    static const char *const names[] = {"linear", "relu", "tanh", "sigmoid", "softmax"};
    const char *name = affect_json_get_string(c->layer, "activation", "linear");
    for (int i = 0; i < AFFECT_ACTIVATION_COUNT; i++)
        if (strcmp(names[i], name) == 0) return (affect_activation)i;
    abort();
}

static size_t option(const layer_case *c, const char *name, size_t fallback) {
    return (size_t)affect_json_get_number(c->layer, name, (double)fallback);
}

/* Keras' padding: TensorFlow's rule for `same`, the odd zero after. */
static size_t pad_left(const layer_case *c, size_t length, size_t window, size_t stride) {
    if (strcmp(affect_json_get_string(c->layer, "padding", "valid"), "same") != 0) return 0;
    size_t needed = ((length + stride - 1) / stride - 1) * stride + window;
    return needed > length ? (needed - length) / 2 : 0;
}

/* Sizes of (rows, length, channels), any number of leading indices folded into rows. */
static void fold(size_t *rows, size_t *length, size_t *channels, affect_shape shape) {
    *channels = shape.size[shape.rank - 1];
    *length = shape.size[shape.rank - 2];
    *rows = affect_shape_count(shape) / (*length * *channels);
}

static void run_conv1d(const layer_case *c) {
    bool is_dense = strcmp(c->type, "dense") == 0;
    affect_shape x_shape = stored(c, "x")->shape, y_shape = stored(c, "y")->shape;
    affect_conv1d_shape shape = {.activation = activation_of(c)};
    if (is_dense) {
        shape.n = x_shape.size[0], shape.channels = x_shape.size[1],
        shape.filters = y_shape.size[1];
        shape.length = shape.length_out = shape.kernel_size = shape.stride = 1;
    } else {
        size_t n_out;
        fold(&shape.n, &shape.length, &shape.channels, x_shape);
        fold(&n_out, &shape.length_out, &shape.filters, y_shape);
        shape.kernel_size = option(c, "kernel_size", 0);
        shape.stride = option(c, "strides", 1);
        shape.pad_left = pad_left(c, shape.length, shape.kernel_size, shape.stride);
    }
    affect_real *x = device(c, "x"), *kernel = device(c, "kernel"), *bias = device(c, "bias");
    affect_real *y = zeros(count(c, "y"));
    void *workspace = device_memory(backend->ops->conv1d_workspace(backend, &shape));
    backend->ops->conv1d_forward(backend, y, x, kernel, bias, workspace, &shape);
    compare(c, "y", y);
    if (shape.activation == AFFECT_ACTIVATION_SOFTMAX) return; /* backward starts at the logits */
    affect_real *d_x = zeros(count(c, "x")), *d_kernel = zeros(count(c, "kernel"));
    affect_real *d_bias = zeros(count(c, "bias"));
    backend->ops->conv1d_backward(backend, d_x, d_kernel, d_bias, device(c, "d_y"), x, y, kernel,
                                  workspace, &shape);
    compare(c, "d_x", d_x);
    compare(c, "d_kernel", d_kernel);
    compare(c, "d_bias", d_bias);
}

static void run_maxpool1d(const layer_case *c) {
    affect_pool1d_shape shape = {.pool_size = option(c, "pool_size", 2)};
    size_t n_out, channels_out;
    fold(&shape.n, &shape.length, &shape.channels, stored(c, "x")->shape);
    fold(&n_out, &shape.length_out, &channels_out, stored(c, "y")->shape);
    shape.stride = option(c, "strides", shape.pool_size);
    shape.pad_left = pad_left(c, shape.length, shape.pool_size, shape.stride);
    affect_real *x = device(c, "x"), *y = zeros(count(c, "y")), *d_x = zeros(count(c, "x"));
    backend->ops->pool1d_forward(backend, y, x, &shape);
    compare(c, "y", y);
    backend->ops->pool1d_backward(backend, d_x, device(c, "d_y"), x, y, &shape);
    compare(c, "d_x", d_x);
}

static void run_batch_norm(const layer_case *c) {
    affect_shape x_shape = stored(c, "x")->shape;
    size_t channels = x_shape.size[x_shape.rank - 1];
    affect_batch_norm_shape shape = {
        .rows = affect_shape_count(x_shape) / channels,
        .channels = channels,
        .momentum = affect_json_get_number(c->layer, "momentum", 0.99),
        .epsilon = affect_json_get_number(c->layer, "epsilon", 1e-3),
    };
    affect_real *x = device(c, "x"), *y = zeros(count(c, "y"));
    affect_real *gamma = device(c, "gamma"), *beta = device(c, "beta");
    affect_real *mean = device(c, "moving_mean"), *variance = device(c, "moving_variance");
    if (!c->training) {
        backend->ops->batch_norm_infer(backend, y, x, gamma, beta, mean, variance, &shape);
        compare(c, "y", y);
        return;
    }
    affect_real *saved = zeros(2 * channels), *d_x = zeros(count(c, "x"));
    affect_real *d_gamma = zeros(channels), *d_beta = zeros(channels);
    backend->ops->batch_norm_forward(backend, y, saved, mean, variance, x, gamma, beta, &shape);
    compare(c, "y", y);
    compare(c, "after.moving_mean", mean);
    compare(c, "after.moving_variance", variance);
    backend->ops->batch_norm_backward(backend, d_x, d_gamma, d_beta, device(c, "d_y"), x, gamma,
                                      saved, &shape);
    compare(c, "d_x", d_x);
    compare(c, "d_gamma", d_gamma);
    compare(c, "d_beta", d_beta);
}

static const char *const lstm_tensors[2][3] = {
    {"forward_kernel", "forward_recurrent_kernel", "forward_bias"},
    {"backward_kernel", "backward_recurrent_kernel", "backward_bias"},
};

/* "forward_kernel" in a bidirectional layer, "kernel" in a plain one. */
static const char *lstm_tensor(const affect_lstm_shape *shape, int direction, int tensor) {
    const char *name = lstm_tensors[direction][tensor];
    return shape->directions == 2 ? name : name + strlen("forward_");
}

static void run_lstm(const layer_case *c) {
    affect_shape x_shape = stored(c, "x")->shape;
    affect_lstm_shape shape = {
        .batch = x_shape.size[0],
        .steps = x_shape.size[1],
        .inputs = x_shape.size[2],
        .units = option(c, "units", 0),
        .directions = strcmp(c->wrapper, "bidirectional") == 0 ? 2 : 1,
        .return_sequences = affect_json_get_bool(c->layer, "return_sequences", false),
    };
    size_t lengths[8];
    char name_of_lengths[128];
    snprintf(name_of_lengths, sizeof name_of_lengths, "%s.lengths", c->name);
    const affect_safetensor *masked = affect_safetensors_find(file, name_of_lengths);
    for (size_t b = 0; masked && b < shape.batch && b < 8; b++)
        lengths[b] = (size_t)((const int32_t *)masked->data)[b];
    if (masked) shape.lengths = lengths;
    affect_lstm_parameters values = {0}, gradients = {0};
    for (int d = 0; d < shape.directions; d++) {
        affect_real **value[] = {&values.kernel[d], &values.recurrent_kernel[d], &values.bias[d]};
        affect_real **gradient[] = {&gradients.kernel[d], &gradients.recurrent_kernel[d],
                                    &gradients.bias[d]};
        for (int i = 0; i < 3; i++) {
            *value[i] = device(c, lstm_tensor(&shape, d, i));
            *gradient[i] = zeros(count(c, lstm_tensor(&shape, d, i)));
        }
    }
    affect_real *x = device(c, "x"), *y = zeros(count(c, "y")), *d_x = zeros(count(c, "x"));
    void *workspace = device_memory(backend->ops->lstm_workspace(backend, &shape));
    void *reserve = device_memory(backend->ops->lstm_reserve(backend, &shape));
    backend->ops->lstm_forward(backend, y, NULL, x, &values, workspace, &shape);
    compare(c, "y", y);
    backend->ops->zero(backend, y, count(c, "y") * sizeof *y);
    backend->ops->lstm_forward(backend, y, reserve, x, &values, workspace, &shape);
    compare(c, "y", y);
    backend->ops->lstm_backward(backend, d_x, &gradients, device(c, "d_y"), x, y, reserve, &values,
                                workspace, &shape);
    compare(c, "d_x", d_x);
    for (int d = 0; d < shape.directions; d++) {
        affect_real *gradient[] = {gradients.kernel[d], gradients.recurrent_kernel[d],
                                   gradients.bias[d]};
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "d_%s", lstm_tensor(&shape, d, i));
            compare(c, name, gradient[i]);
        }
    }
}

static void run_activation(const layer_case *c) {
    affect_shape shape = stored(c, "x")->shape;
    affect_activation activation = activation_of(c);
    size_t n = shape.size[shape.rank - 1], rows = affect_shape_count(shape) / n;
    affect_real *y = zeros(rows * n), *d_x = zeros(rows * n);
    backend->ops->activation_forward(backend, y, device(c, "x"), rows, n, activation);
    compare(c, "y", y);
    if (activation == AFFECT_ACTIVATION_SOFTMAX) return;
    backend->ops->activation_backward(backend, d_x, device(c, "d_y"), y, rows, n, activation);
    compare(c, "d_x", d_x);
}

static void end_case(void) {
    while (n_arrays > 0) backend->ops->deallocate(backend, arrays[--n_arrays]);
}

static void test_layers(void) {
    static const struct {
        const char *type;
        void (*run)(const layer_case *c);
    } runs[] = {{"conv1d", run_conv1d},
                {"dense", run_conv1d},
                {"maxpool1d", run_maxpool1d},
                {"batch_norm", run_batch_norm},
                {"lstm", run_lstm},
                {"activation", run_activation},
                {"flatten", NULL}}; /* flatten moves nothing on a device */
    affect_json *cases = NULL;
    CHECK_OK(affect_safetensors_metadata_json(&cases, file, "cases", err));
    size_t n_run = 0;
    for (const affect_json *e = affect_json_first(cases); e; e = affect_json_next(e)) {
        const affect_json *layer = affect_json_get(e, "layer");
        const affect_json *inner = affect_json_get(layer, "layer");
        layer_case c = {.name = affect_json_name(e),
                        .layer = inner ? inner : layer,
                        .wrapper = inner ? affect_json_get_string(layer, "type", "") : "",
                        .training = affect_json_get_bool(e, "training", false)};
        c.type = affect_json_get_string(c.layer, "type", "");
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
            if (strcmp(runs[i].type, c.type) != 0) continue;
            if (runs[i].run) runs[i].run(&c);
            n_run++;
        }
        end_case();
    }
    CHECK(n_run == affect_json_size(cases) && n_run >= 31);
    affect_json_free(cases);
}

static void test_cross_entropy(void) {
    const layer_case c = {.name = "cross_entropy"};
    affect_shape shape = stored(&c, "logits")->shape;
    size_t batch = shape.size[0], classes = shape.size[1];
    const affect_safetensor *labels = stored(&c, "labels");
    affect_real *probabilities = zeros(batch * classes), *d_logits = zeros(batch * classes);
    double *stats = device_memory((2 + classes * classes) * sizeof *stats), host[2 + 16] = {0};
    int32_t *device_labels = device_memory(batch * sizeof *device_labels);
    affect_loss_shape loss = {.batch = batch, .classes = classes, .divisor = (double)batch};
    CHECK(classes == 4 && labels->dtype == AFFECT_DTYPE_I32);
    backend->ops->upload(backend, device_labels, labels->data, batch * sizeof *device_labels);
    backend->ops->activation_forward(backend, probabilities, device(&c, "logits"), batch, classes,
                                     AFFECT_ACTIVATION_SOFTMAX);
    compare(&c, "probabilities", probabilities);
    backend->ops->cross_entropy(backend, d_logits, stats, probabilities, device_labels,
                                device(&c, "weights"), &loss);
    compare(&c, "d_logits", d_logits);
    backend->ops->download(backend, host, stats, sizeof host);
    CHECK_OK(affect_backend_synchronize(backend, err));
    double want = *(const float *)stored(&c, "loss")->data;
    CHECK_NEAR(host[0] / (double)batch, want, 1e-5 * want);
    CHECK(host[1] == (double)batch);
    end_case();
}

int main(void) {
    CHECK_OK(affect_safetensors_open(&file, TEST_REFERENCE_DIR "/keras/layers.safetensors", err));
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    if (file && backend) {
        TEST_RUN(test_layers);
        TEST_RUN(test_cross_entropy);
    }
    affect_backend_free(backend);
    affect_safetensors_close(file);
    return TEST_END();
}
