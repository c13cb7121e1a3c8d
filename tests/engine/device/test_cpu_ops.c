/* The CPU's operations against loops that follow the definitions, and their behaviour at the edges:
 * nothing outside an output is touched, every number of threads gives the same up to rounding, the
 * same number gives the same bits, and after a failure nothing happens. */
#include "engine/core/cpu_level.h"
#include "engine/device/backend.h"
#include "tests/test.h"

#define GUARD 12345.0f
#define ROOM  20000

static float x[ROOM], w[ROOM], bias[64], want[ROOM], memory[ROOM + 32];
static float *const got = memory + 16;
static _Alignas(64) char workspace[1 << 21];

static void randomize(float *to, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++)
        to[i] = (float)affect_random_normal((affect_random_key){5, stream}, i);
}

static void guard(void) {
    for (size_t i = 0; i < ROOM + 32; i++) memory[i] = GUARD;
}

static void check_output(size_t n, double tolerance) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)(got[i] - want[i])));
    CHECK(worst <= tolerance);
    for (int i = 0; i < 16; i++) CHECK(memory[i] == GUARD && got[n + (size_t)i] == GUARD);
}

static void naive_conv(const affect_conv1d_shape *s) {
    for (size_t n = 0; n < s->n; n++)
        for (size_t l = 0; l < s->length_out; l++)
            for (size_t f = 0; f < s->filters; f++) {
                double sum = (double)bias[f];
                for (size_t k = 0; k < s->kernel_size; k++) {
                    ptrdiff_t at = (ptrdiff_t)(l * s->stride + k) - (ptrdiff_t)s->pad_left;
                    for (size_t c = 0; at >= 0 && at < (ptrdiff_t)s->length && c < s->channels; c++)
                        sum += (double)x[(n * s->length + (size_t)at) * s->channels + c] *
                               (double)w[(k * s->channels + c) * s->filters + f];
                }
                want[(n * s->length_out + l) * s->filters + f] = (float)fmax(sum, 0);
            }
}

static void test_conv(affect_backend *backend) {
    static const affect_conv1d_shape shapes[] = {
        {3, 9, 4, 5, 3, 1, 0, 7, AFFECT_ACTIVATION_RELU},
        {5, 16, 1, 8, 3, 1, 0, 14, AFFECT_ACTIVATION_RELU},
        {2, 9, 3, 4, 3, 1, 1, 9, AFFECT_ACTIVATION_RELU},
        {2, 11, 3, 4, 4, 2, 1, 5, AFFECT_ACTIVATION_RELU},
        {1, 3, 2, 3, 3, 1, 0, 1, AFFECT_ACTIVATION_RELU},
        {1, 60, 20, 16, 3, 1, 0, 58, AFFECT_ACTIVATION_RELU},
        {40, 6, 32, 16, 3, 1, 0, 4, AFFECT_ACTIVATION_RELU},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const affect_conv1d_shape *s = &shapes[i];
        randomize(x, s->n * s->length * s->channels, 1);
        randomize(w, s->kernel_size * s->channels * s->filters, 2);
        randomize(bias, s->filters, 3);
        guard();
        naive_conv(s);
        CHECK(backend->ops->conv1d_workspace(backend, s) <= sizeof workspace);
        backend->ops->conv1d_forward(backend, got, x, w, bias, workspace, s);
        check_output(s->n * s->length_out * s->filters, 1e-4);
    }
}

/* The one pass against convolution and pooling apart, and against the definition. */
static void test_conv_pool(affect_backend *backend) {
    static const affect_conv1d_shape shapes[] = {
        {3, 9, 4, 5, 3, 1, 0, 7, AFFECT_ACTIVATION_RELU},
        {5, 16, 1, 8, 3, 1, 0, 14, AFFECT_ACTIVATION_RELU},
        {2, 9, 3, 4, 3, 1, 1, 9, AFFECT_ACTIVATION_RELU},
        {2, 11, 3, 4, 4, 2, 1, 5, AFFECT_ACTIVATION_RELU},
        {1, 3, 2, 3, 3, 1, 0, 1, AFFECT_ACTIVATION_RELU},
        {3, 30, 64, 40, 3, 1, 0, 28, AFFECT_ACTIVATION_RELU},
        {40, 6, 32, 16, 3, 1, 0, 4, AFFECT_ACTIVATION_RELU},
    };
    static uint32_t switches[ROOM];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const affect_conv1d_shape *s = &shapes[i];
        size_t pairs = s->length_out / 2, n = s->filters;
        randomize(x, s->n * s->length * s->channels, 1);
        randomize(w, s->kernel_size * s->channels * s->filters, 2);
        randomize(bias, s->filters, 3);
        guard();
        naive_conv(s);
        for (size_t item = 0; item < s->n; item++)
            for (size_t p = 0; p < pairs; p++)
                for (size_t f = 0; f < n; f++) {
                    const float *pair = want + (item * s->length_out + 2 * p) * n + f;
                    want[(item * pairs + p) * n + f] = fmaxf(pair[0], pair[n]);
                }
        CHECK(backend->ops->conv1d_pool_workspace(backend, s) <= sizeof workspace);
        CHECK(backend->ops->conv1d_pool_switches(backend, s) <= sizeof switches);
        backend->ops->conv1d_pool_forward(backend, got, switches, x, w, bias, workspace, s);
        check_output(s->n * pairs * n, 1e-4);
    }
}

static void test_pool(affect_backend *backend) {
    static const affect_pool1d_shape shapes[] = {
        {3, 9, 5, 2, 2, 0, 4}, {2, 9, 5, 3, 2, 0, 4}, {2, 9, 5, 3, 1, 1, 9}, {2, 7, 5, 2, 2, 0, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const affect_pool1d_shape *s = &shapes[i];
        randomize(x, s->n * s->length * s->channels, 4);
        guard();
        for (size_t n = 0; n < s->n; n++)
            for (size_t l = 0; l < s->length_out; l++)
                for (size_t c = 0; c < s->channels; c++) {
                    float largest = -INFINITY;
                    for (size_t p = 0; p < s->pool_size; p++) {
                        ptrdiff_t at = (ptrdiff_t)(l * s->stride + p) - (ptrdiff_t)s->pad_left;
                        if (at >= 0 && at < (ptrdiff_t)s->length)
                            largest =
                                fmaxf(largest, x[(n * s->length + (size_t)at) * s->channels + c]);
                    }
                    want[(n * s->length_out + l) * s->channels + c] = largest;
                }
        backend->ops->pool1d_forward(backend, got, x, s);
        check_output(s->n * s->length_out * s->channels, 0);
    }
}

static void test_dropout(affect_backend *backend) {
    affect_dropout_shape s = {1001, 0.3, {11, affect_random_stream("test", 1, 2)}, 0};
    size_t n_dropped = 0;
    randomize(x, s.n, 6);
    guard();
    for (size_t i = 0; i < s.n; i++) {
        bool dropped = affect_random_uniform(s.key, i) < s.rate;
        n_dropped += dropped;
        want[i] = dropped ? 0 : x[i] * (float)(1 / 0.7);
    }
    backend->ops->dropout(backend, got, x, &s);
    check_output(s.n, 1e-6);
    CHECK(n_dropped > 250 && n_dropped < 350);
}

static void test_loss(affect_backend *backend) {
    static const float p[] = {0.5f, 0.25f, 0.25f, 0, 1, 0, 0.3f, 0.3f, 0.4f};
    static const int32_t labels[] = {0, 0, 2};
    double stats[2 + 9] = {0};
    float d[9];
    affect_loss_shape s = {3, 3, 3};
    backend->ops->cross_entropy(backend, d, stats, p, labels, NULL, &s);
    CHECK_NEAR(stats[0], -log(0.5) - log(1e-7) - log((double)0.4f), 1e-12);
    CHECK(stats[1] == 3 && stats[2 + 0] == 1 && stats[2 + 1] == 1 && stats[2 + 8] == 1);
    CHECK_NEAR(d[0], (0.5 - 1) / 3, 1e-7);
    CHECK_NEAR(d[8], ((double)0.4f - 1) / 3, 1e-7);
}

static void test_lstm_threads(void) {
    affect_lstm_shape s = {4, 7, 5, 8, 2, false, true, 0, NULL, NULL};
    size_t n_y = 4 * 7 * 16;
    static float first[ROOM];
    randomize(x, 4 * 7 * 5, 8);
    randomize(w, 2 * (5 + 8 + 1) * 32, 9);
    affect_lstm_parameters p = {{w, w + 160}, {w + 320, w + 576}, {w + 832, w + 864}};
    for (int run = 0; run < 6; run++) {
        affect_backend *backend = NULL;
        CHECK_OK(affect_backend_open(
            &backend, (affect_backend_options){.device = "cpu", .n_threads = 1 + run / 2}, err));
        guard();
        backend->ops->lstm_forward(backend, got, NULL, x, &p, workspace, &s);
        if (run == 0) memcpy(first, got, sizeof first);
        memcpy(want, run % 2 ? want : first, n_y * sizeof *want);
        check_output(n_y, run % 2 ? 0 : 1e-5);
        memcpy(want, got, n_y * sizeof *want);
        affect_backend_free(backend);
    }
}

static void test_failure_sticks(void) {
    affect_backend *backend = NULL;
    affect_error error = {0};
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK(backend->ops->allocate(backend, (size_t)1 << 60) == NULL);
    CHECK(affect_backend_synchronize(backend, &error) == AFFECT_STATUS_NO_MEMORY);
    affect_dropout_shape s = {10, 0.5, {1, 2}, 0};
    guard();
    backend->ops->dropout(backend, got, x, &s);
    CHECK(got[0] == GUARD);
    affect_backend_free(backend);
}

static void test_devices(void) {
    affect_backend *backend = NULL;
    affect_error error = {0};
    CHECK(affect_backend_open(&backend,
                              (affect_backend_options){.device = "cuda:7", .n_threads = 1},
                              &error) != AFFECT_STATUS_OK);
    CHECK(affect_backend_open(&backend, (affect_backend_options){.device = "tpu", .n_threads = 1},
                              &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, "cpu") != NULL);
}

static void test_level_names(void) {
    affect_backend *backend = NULL;
    affect_error error = {0};
    setenv("AFFECT_CPU", "avx9", 1);
    CHECK(affect_backend_open(&backend, (affect_backend_options){.device = "cpu", .n_threads = 1},
                              &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, "generic, avx2, avx512") != NULL);
    setenv("AFFECT_CPU", "generic", 1);
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK(strcmp(backend->ops->level, "generic") == 0);
    affect_backend_free(backend);
    unsetenv("AFFECT_CPU");
}

int main(void) {
    for (int level = 0; level <= (int)affect_cpu_level_best(); level++) {
        setenv("AFFECT_CPU", affect_cpu_level_names[level], 1);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            affect_backend *backend = NULL;
            CHECK_OK(affect_backend_open(
                &backend, (affect_backend_options){.device = "cpu", .n_threads = n_threads}, err));
            test_conv(backend);
            test_conv_pool(backend);
            test_pool(backend);
            test_dropout(backend);
            test_loss(backend);
            affect_backend_free(backend);
        }
        TEST_RUN(test_lstm_threads);
    }
    TEST_RUN(test_level_names);
    TEST_RUN(test_failure_sticks);
    TEST_RUN(test_devices);
    return TEST_END();
}
