/* Graphs on the emulated GPU (tests/cuda_host) against the CPU: probabilities, loss and gradients
 * of every layer that is not part of the study's own networks; what lies in masked steps; the same
 * bits twice. With an argument, the plug-in's file, on a real GPU.
 *
 * Bounds: fp32 sums in another order; 1e-5 of the largest probability, 2e-5 of a gradient's norm.
 */
#include "tests/engine/model/counted.h"
#include "tests/engine/model/graph_networks.h"

#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 5, CLASSES_MAX = 4 };

typedef struct {
    float probabilities[BATCH * CLASSES_MAX];
    double loss;
    float *gradients; /* owned */
} outcome;

static outcome run(const char *device, const affect_architecture *architecture,
                   const network_data *data) {
    outcome o = {0};
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    double stats[2 + CLASSES_MAX * CLASSES_MAX] = {0};
    size_t n = affect_architecture_n_trainable(architecture);
    affect_backend_options how = {
        .device = device, .n_threads = 2, .precision = AFFECT_PRECISION_FP32};
    affect_session_options options = {.max_batch = BATCH, .training = true};
    o.gradients = calloc(n, sizeof *o.gradients);
    CHECK_OK(affect_backend_open(&backend, how, err));
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK_OK(affect_session_initialize(session, 4, err));
    CHECK_OK(affect_session_predict(session, o.probabilities, data->batch.inputs, BATCH, err));
    CHECK_OK(count_batch(session, stats, &data->batch, err));
    CHECK_OK(affect_session_read(o.gradients, session, affect_session_blocks_of(session).gradients,
                                 n, err));
    o.loss = stats[0];
    affect_session_free(session);
    affect_backend_free(backend);
    return o;
}

static void check_network(const char *text, network_sizes sizes, bool with_padding) {
    affect_architecture *architecture = make_architecture(text, NULL, sizes);
    network_data data;
    make_data(&data, architecture, BATCH);
    if (with_padding) pad_data(&data, architecture, 0.5f, 0.5f);
    if (affect_architecture_input(architecture, 0)->n_ids) make_ids(&data, BATCH);
    size_t n = affect_architecture_n_trainable(architecture);
    outcome cpu = run("cpu", architecture, &data), gpu = run("cuda", architecture, &data);
    outcome again = run("cuda", architecture, &data);
    for (size_t i = 0; i < BATCH * sizes.classes; i++)
        CHECK_NEAR(gpu.probabilities[i], cpu.probabilities[i], 1e-5);
    CHECK_NEAR(gpu.loss, cpu.loss, 1e-5 * cpu.loss);
    for (size_t i = 0; i < affect_architecture_n_parameters(architecture); i++) {
        const affect_parameter *p = affect_architecture_parameter(architecture, i);
        double difference = 0, size = is_without_effect(p) ? 1 : 0;
        for (size_t k = 0; p->trainable && k < affect_shape_count(p->shape); k++) {
            double want = cpu.gradients[p->offset + k];
            difference += pow(gpu.gradients[p->offset + k] - want, 2);
            size += want * want;
        }
        if (p->trainable) CHECK(size > 0 && sqrt(difference / size) <= 2e-5);
        if (sqrt(difference) > 2e-5 * sqrt(size)) fprintf(stderr, "    %s\n", p->name);
    }
    CHECK(gpu.loss == again.loss);
    CHECK(memcmp(gpu.gradients, again.gradients, n * sizeof *gpu.gradients) == 0);
    free(cpu.gradients);
    free(gpu.gradients);
    free(again.gradients);
    free_data(&data);
    affect_architecture_free(architecture);
}

static void test_graph(void) {
    char *text = read_network("small_graph");
    check_network(text, graph_sizes, false);
    free(text);
}

static void test_masked_graph(void) {
    check_network(masked_graph, (network_sizes){.frames = 6, .mels = 5, .classes = 3}, true);
}

static void test_ids(void) {
    char *text = read_network("small_text");
    check_network(text, text_sizes, false);
    free(text);
}

/* In a child: a plug-in reads its environment once. */
static void check_in_child(void (*test)(void), const char *name, const char *value) {
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("AFFECT_CUDA_STREAMS", "2", 1);
        if (name) setenv(name, value, 1);
        if (name && strcmp(name, "AFFECT_CUDA_DEBUG") == 0 && !freopen("/dev/null", "w", stderr))
            _exit(1); /* it names every kernel */
        test();
        _exit(test_n_failed ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_side_by_side(void) {
    check_in_child(test_graph, NULL, NULL);
    check_in_child(test_graph, "AFFECT_CUDA_HOST_ORDER", "reversed");
    check_in_child(test_graph, "AFFECT_CUDA_DEBUG", "1");
}

static void need_device(void) {
    affect_device devices[AFFECT_MAX_DEVICES];
    affect_error missing = {0};
    int status = 0;
    fflush(NULL);
    pid_t pid = fork(); /* a process that has met the driver cannot fork others that use it */
    if (pid == 0) {
        if (affect_devices_list(devices, &missing) >= 2) _exit(0);
        fprintf(stderr, "no GPU: %s\n", missing.message);
        _exit(77);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) TEST_SKIP("no GPU");
}

int main(int argc, char **argv) {
    setenv("AFFECT_CUDA_LIBRARY", argc > 1 ? argv[1] : TEST_CUDA_LIBRARY, 1);
    need_device();
    TEST_RUN(test_side_by_side);
    TEST_RUN(test_graph);
    TEST_RUN(test_masked_graph);
    TEST_RUN(test_ids);
    return TEST_END();
}
