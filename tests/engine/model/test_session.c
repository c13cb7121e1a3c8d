/* Sessions: initial weights, any subset of branches, accumulation in pieces, a fingerprint of
 * training, the same bits twice, and what a session refuses. Gradients: test_session64.c. */
#include "tests/engine/model/counted.h"
#include "tests/engine/model/network.h"

typedef struct {
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
} network;

static network make_network(const char *text, const char *variables, network_sizes sizes,
                            affect_session_options options) {
    network net = {.architecture = make_architecture(text, variables, sizes)};
    CHECK_OK(affect_backend_open(&net.backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    CHECK_OK(affect_session_create(&net.session, net.backend, net.architecture, options, err));
    CHECK_OK(affect_session_initialize(net.session, 5, err));
    return net;
}

static void free_network(network *net) {
    affect_session_free(net->session);
    affect_backend_free(net->backend);
    affect_architecture_free(net->architecture);
}

static const affect_session_options training = {.max_batch = 12, .training = true};
static const affect_adam_shape adam_defaults = {
    .learning_rate = 0.01, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7};

static double train_step(network *net, const affect_session_batch *batch, uint64_t step) {
    double stats[2 + 16] = {0}, l2 = 0;
    affect_adam_shape adam = adam_defaults;
    affect_session_batch now = *batch;
    adam.step = step;
    now.dropout.stream = affect_random_stream("test", step, 0);
    CHECK_OK(count_batch(net->session, stats, &now, err));
    CHECK_OK(count_step(net->session, &l2, &adam, err));
    CHECK(stats[1] == (double)batch->batch);
    return stats[0] / stats[1] + l2;
}

/* Ten losses of one fixed training; stored from a run of this test whose gradients
 * test_session64.c had checked. */
static void test_fingerprint(void) {
    static const double expected[10] = {1.14873914, 1.14079117, 1.12820350, 1.12659389, 1.09455474,
                                        1.09145729, 1.08008164, 1.05708255, 1.05253826, 1.01463422};
    network net = make_network(every_layer, NULL, small_sizes, training);
    network_data data;
    make_data(&data, net.architecture, 12);
    for (uint64_t step = 1; step <= 10; step++) {
        double loss = train_step(&net, &data.batch, step);
        CHECK_NEAR(loss, expected[step - 1], 1e-4 * expected[step - 1]);
    }
    free_data(&data);
    free_network(&net);
}

static void test_same_bits_twice(void) {
    affect_real *kept = NULL;
    for (int round = 0; round < 2; round++) {
        network net = make_network(every_layer, NULL, small_sizes, training);
        network_data data;
        size_t n = affect_architecture_n_trainable(net.architecture);
        make_data(&data, net.architecture, 12);
        for (uint64_t step = 1; step <= 5; step++) train_step(&net, &data.batch, step);
        const affect_real *now = affect_session_blocks_of(net.session).parameters;
        if (!kept)
            kept = memcpy(malloc(n * sizeof *now), now, n * sizeof *now);
        else
            CHECK(memcmp(kept, now, n * sizeof *now) == 0);
        free_data(&data);
        free_network(&net);
    }
    free(kept);
}

/* A network must be able to learn a batch by heart. */
static void test_learns(void) {
    network net = make_network(every_layer, "{\"rate\": 0, \"l2\": 0}", small_sizes, training);
    network_data data;
    make_data(&data, net.architecture, 9);
    double first = train_step(&net, &data.batch, 1), last = 0;
    for (uint64_t step = 2; step <= 200; step++) last = train_step(&net, &data.batch, step);
    CHECK(first > 0.8 && last < 0.3 * first);
    free_data(&data);
    free_network(&net);
}

/* No dropout and no batch normalisation: pieces of a batch give the whole's gradients. */
static const char plain[] =
    "{\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": [\"$parts\", \"$columns\"]}},"
    " \"branches\": {\"motion\": {\"input\": \"motion\", \"layers\": ["
    "   {\"type\": \"conv1d\", \"name\": \"conv_1\", \"filters\": 4, \"kernel_size\": 3,"
    "     \"activation\": \"relu\"},"
    "   {\"type\": \"bidirectional\", \"layer\": {\"type\": \"lstm\", \"name\": \"bilstm_1\","
    "     \"units\": 4}}]}},"
    " \"fusion\": {\"branches\": [\"motion\"], \"layers\": [{\"type\": \"dense\","
    "   \"name\": \"output\", \"units\": \"$classes\", \"activation\": \"softmax\"}]}}";

static void test_accumulation(void) {
    network net = make_network(plain, NULL, small_sizes, training);
    network_data data;
    make_data(&data, net.architecture, 12);
    data.batch.weights = data.weights;
    size_t n = affect_architecture_n_trainable(net.architecture);
    affect_real *gradients = affect_session_blocks_of(net.session).gradients;
    affect_real *whole = malloc(n * sizeof *whole);
    double stats[2 + 9] = {0}, pieces[2 + 9] = {0}, largest = 0;
    CHECK_OK(count_batch(net.session, stats, &data.batch, err));
    memcpy(whole, gradients, n * sizeof *whole);
    memset(gradients, 0, n * sizeof *gradients);
    for (size_t at = 0; at < 12; at += 6) {
        size_t row =
            affect_shape_count(affect_architecture_input(net.architecture, 0)->feature.shape);
        const float *inputs[] = {data.inputs[0] + at * row};
        affect_session_batch piece = {.inputs = inputs,
                                      .labels = data.labels + at,
                                      .weights = data.weights + at,
                                      .batch = 6,
                                      .divisor = 12,
                                      .first = at,
                                      .dropout = data.batch.dropout};
        CHECK_OK(count_batch(net.session, pieces, &piece, err));
    }
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)whole[i]));
    for (size_t i = 0; i < n; i++) CHECK_NEAR(gradients[i], whole[i], 1e-5 * largest);
    CHECK_NEAR(pieces[0], stats[0], 1e-5 * stats[0]);
    for (size_t i = 1; i < 2 + 9; i++) CHECK(pieces[i] == stats[i]);
    free(whole);
    free_data(&data);
    free_network(&net);
}

/* The same trained numbers give the same probabilities from an inference session, whose memory is
 * laid out differently, in batches of any size; evaluate agrees with predict. */
static void test_inference_layout(void) {
    network net = make_network(every_layer, NULL, small_sizes, training);
    network_data data;
    make_data(&data, net.architecture, 12);
    for (uint64_t step = 1; step <= 3; step++) train_step(&net, &data.batch, step);
    affect_session *other = NULL;
    affect_session_options options = {.max_batch = 5};
    CHECK_OK(affect_session_create(&other, net.backend, net.architecture, options, err));
    for (size_t i = 0; i < affect_architecture_n_parameters(net.architecture); i++) {
        float values[4096];
        CHECK_OK(affect_session_get_tensor(values, net.session, i, err));
        CHECK_OK(affect_session_set_tensor(other, i, values, err));
    }
    float want[12 * 3], got[12 * 3], evaluated[12 * 3];
    double stats[2 + 9] = {0}, loss = 0;
    CHECK_OK(affect_session_predict(net.session, want, data.batch.inputs, 12, err));
    CHECK_OK(count_evaluation(net.session, stats, evaluated, &data.batch, err));
    CHECK(memcmp(want, evaluated, sizeof want) == 0);
    for (size_t at = 0; at < 12; at += 5) {
        const float *inputs[2];
        for (size_t i = 0; i < 2; i++)
            inputs[i] = data.inputs[i] +
                        at * affect_shape_count(
                                 affect_architecture_input(net.architecture, i)->feature.shape);
        CHECK_OK(
            affect_session_predict(other, got + 3 * at, inputs, at + 5 > 12 ? 12 - at : 5, err));
    }
    for (size_t i = 0; i < 12; i++) {
        double sum = 0;
        for (size_t c = 0; c < 3; c++) {
            CHECK_NEAR(got[3 * i + c], want[3 * i + c], 1e-6);
            sum += want[3 * i + c];
        }
        CHECK_NEAR(sum, 1, 1e-6);
        loss -= log((double)want[3 * i + (size_t)data.labels[i]]);
    }
    CHECK_NEAR(stats[0], loss, 1e-5 * loss);
    CHECK(stats[1] == 12);
    affect_session_free(other);
    free_data(&data);
    free_network(&net);
}

/* Every choice of branches, in every order, trains and predicts. */
static void test_subsets_of_branches(void) {
    static const char *const choices[] = {"[\"audio\"]", "[\"motion\"]", "[\"audio\", \"motion\"]",
                                          "[\"motion\", \"audio\"]"};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        affect_json *document = parse(every_layer);
        affect_json *fusion = affect_json_get(document, "fusion");
        affect_json_free(affect_json_detach(fusion, "branches"));
        affect_json_set(fusion, "branches", parse(choices[i]));
        if (i < 2) {
            affect_json_free(affect_json_detach(fusion, "layers"));
            affect_json_set(fusion, "layers",
                            parse("[{\"type\": \"dense\", \"name\": \"output\","
                                  " \"units\": \"$classes\", \"activation\": \"softmax\"}]"));
        }
        char *text = affect_json_text(document);
        network net = make_network(text, "{\"rate\": 0}", small_sizes, training);
        CHECK(affect_architecture_n_inputs(net.architecture) == (i < 2 ? 1 : 2));
        network_data data;
        make_data(&data, net.architecture, 6);
        double first = train_step(&net, &data.batch, 1), last = 0;
        for (uint64_t step = 2; step <= 40; step++) last = train_step(&net, &data.batch, step);
        CHECK(last < first);
        free_data(&data);
        free_network(&net);
        free(text);
        affect_json_free(document);
    }
}

static size_t find_tensor(const affect_architecture *architecture, const char *name) {
    size_t i = 0;
    while (strcmp(affect_architecture_parameter(architecture, i)->name, name) != 0) i++;
    return i;
}

/* Keras' defaults, and each tensor's numbers a function of the seed and its name alone. */
static void test_initial_weights(void) {
    network net = make_network(every_layer, NULL, small_sizes, training);
    for (size_t i = 0; i < affect_architecture_n_parameters(net.architecture); i++) {
        const affect_parameter *p = affect_architecture_parameter(net.architecture, i);
        size_t n = affect_shape_count(p->shape), columns = p->shape.size[p->shape.rank - 1];
        float w[4096];
        CHECK_OK(affect_session_get_tensor(w, net.session, i, err));
        double sum = 0, largest = 0;
        for (size_t k = 0; k < n; k++) sum += w[k], largest = fmax(largest, fabs((double)w[k]));
        if (p->initializer == AFFECT_INITIALIZER_ZEROS) CHECK(sum == 0 && largest == 0);
        if (p->initializer == AFFECT_INITIALIZER_ONES) CHECK(sum == (double)n && largest == 1);
        if (p->initializer == AFFECT_INITIALIZER_FORGET_ONE)
            for (size_t k = 0; k < n; k++) CHECK(w[k] == (k / (n / 4) == 1 ? 1.0f : 0.0f));
        if (p->initializer == AFFECT_INITIALIZER_GLOROT_UNIFORM) {
            double receptive = p->shape.rank == 3 ? (double)p->shape.size[0] : 1;
            double fan_in = receptive * (double)p->shape.size[p->shape.rank - 2];
            double limit = sqrt(6 / (fan_in + receptive * (double)columns));
            CHECK(largest <= limit && largest > 0.7 * limit);
        }
        if (p->initializer != AFFECT_INITIALIZER_ORTHOGONAL) continue;
        for (size_t a = 0; a < p->shape.size[0]; a++)
            for (size_t b = 0; b <= a; b++) {
                double dot = 0;
                for (size_t k = 0; k < columns; k++)
                    dot += (double)w[a * columns + k] * (double)w[b * columns + k];
                CHECK_NEAR(dot, a == b, 1e-6);
            }
    }
    /* In another network the layer of the same name starts from the same numbers. */
    network other = make_network(plain, NULL, small_sizes,
                                 (affect_session_options){.max_batch = 1, .training = false});
    size_t here = find_tensor(net.architecture, "motion.conv_1.kernel");
    size_t there = find_tensor(other.architecture, "motion.conv_1.kernel");
    float a[3 * 3 * 4], b[3 * 3 * 4];
    CHECK_OK(affect_session_get_tensor(a, net.session, here, err));
    CHECK_OK(affect_session_get_tensor(b, other.session, there, err));
    CHECK(here != there && memcmp(a, b, sizeof a) == 0);
    CHECK_OK(affect_session_initialize(other.session, 6, err));
    CHECK_OK(affect_session_get_tensor(b, other.session, there, err));
    CHECK(memcmp(a, b, sizeof a) != 0);
    free_network(&net);
    free_network(&other);
}

static void test_plan(void) {
    network net = make_network(every_layer, NULL, small_sizes, training);
    affect_session_plan small, large, infer;
    affect_session_options options = {.max_batch = 10, .training = true};
    CHECK_OK(affect_session_measure(&small, net.backend, net.architecture, options, err));
    options.max_batch = 1000;
    CHECK_OK(affect_session_measure(&large, net.backend, net.architecture, options, err));
    options.training = false;
    CHECK_OK(affect_session_measure(&infer, net.backend, net.architecture, options, err));
    size_t trainable = affect_architecture_n_trainable(net.architecture) * sizeof(affect_real);
    CHECK(small.optimizer == 3 * trainable && large.optimizer == small.optimizer);
    CHECK(infer.optimizer == 0 && infer.activations < large.activations / 2);
    CHECK(large.activations > 90 * small.activations);
    CHECK(large.activations < 110 * small.activations);
    free_network(&net);
}

static void test_refusals(void) {
    affect_error err = {0};
    network net = make_network(every_layer, NULL, small_sizes,
                               (affect_session_options){.max_batch = 4, .training = false});
    network_data data;
    make_data(&data, net.architecture, 6);
    double stats[2 + 9] = {0};
    float probabilities[6 * 3];
    CHECK(affect_session_predict(net.session, probabilities, data.batch.inputs, 5, &err) ==
          AFFECT_STATUS_INVALID);
    CHECK(strstr(err.message, "a batch of 5 (need 1..4)") != NULL);
    CHECK(affect_session_predict(net.session, probabilities, data.batch.inputs, 0, &err) ==
          AFFECT_STATUS_INVALID);
    CHECK(count_batch(net.session, stats, &data.batch, &err) == AFFECT_STATUS_CONFLICT);
    data.batch.batch = 3;
    data.labels[1] = 3;
    CHECK(count_evaluation(net.session, stats, NULL, &data.batch, &err) == AFFECT_STATUS_INVALID);
    CHECK(strstr(err.message, "label 3 of row 1") != NULL);
    data.labels[1] = 1;
    CHECK(count_evaluation(net.session, stats, NULL, &data.batch, &err) ==
          AFFECT_STATUS_OK); /* a refusal leaves it usable */
    affect_session *other = NULL;
    CHECK(affect_session_create(&other, net.backend, net.architecture,
                                (affect_session_options){.max_batch = 0, .training = true},
                                &err) == AFFECT_STATUS_INVALID);
    CHECK(other == NULL);
    free_data(&data);
    free_network(&net);
}

int main(void) {
    TEST_RUN(test_fingerprint);
    TEST_RUN(test_same_bits_twice);
    TEST_RUN(test_learns);
    TEST_RUN(test_accumulation);
    TEST_RUN(test_inference_layout);
    TEST_RUN(test_subsets_of_branches);
    TEST_RUN(test_initial_weights);
    TEST_RUN(test_plan);
    TEST_RUN(test_refusals);
    return TEST_END();
}
