/* The whole network's gradients against central differences, in double precision: every kind of
 * layer, batch normalisation in training mode, dropout on with a fixed mask, class weights, and the
 * L2 penalty. Each tensor: |analytic - numeric| / (|analytic| + |numeric|) in the Euclidean norm.
 *
 * Step 1e-5, an error of about h^2 = 1e-10 relative. Max pooling and ReLU have kinks; the data are
 * such that no step crosses one, or the check would fail. */
#include "tests/engine/model/counted.h"
#include "tests/engine/model/graph_networks.h"
#include "tests/engine/model/network.h"

static double loss_of(affect_session *session, const affect_session_batch *batch) {
    double stats[2 + 16] = {0}, l2 = 0;
    CHECK_OK(count_batch(session, stats, batch, err));
    CHECK_OK(affect_session_l2(session, &l2, err));
    return stats[0] / (double)batch->batch + l2;
}

/* Gradients as the optimiser would use them: accumulated once, plus L2's, read before the step by
 * the first moment of Adam with beta_1 = 0 (m = g) and a learning rate of 0. */
static affect_real *gradients_of(affect_session *session, const affect_session_batch *batch) {
    size_t n = affect_architecture_n_trainable(affect_session_architecture(session));
    affect_session_blocks blocks = affect_session_blocks_of(session);
    affect_adam_shape adam = {.beta_1 = 0, .beta_2 = 0.9, .epsilon = 1e-7, .step = 1};
    affect_real *gradients = malloc(n * sizeof *gradients);
    double stats[2 + 16] = {0};
    memset(blocks.gradients, 0, n * sizeof *blocks.gradients);
    CHECK_OK(count_batch(session, stats, batch, err));
    CHECK_OK(affect_session_step(session, 1, &adam, err));
    memcpy(gradients, blocks.adam_m, n * sizeof *gradients);
    for (size_t i = 0; i < n; i++) CHECK(blocks.gradients[i] == 0);
    return gradients;
}

static void check_tensor(affect_session *session, const affect_session_batch *batch,
                         const affect_parameter *p, const affect_real *gradients) {
    affect_real *w = affect_session_blocks_of(session).parameters + p->offset;
    size_t n = affect_shape_count(p->shape);
    double difference = 0, size = is_without_effect(p) ? 1 : 0, h = 1e-5;
    for (size_t i = 0; i < n; i++) {
        double kept = w[i];
        w[i] = kept + h;
        double above = loss_of(session, batch);
        w[i] = kept - h;
        double below = loss_of(session, batch);
        w[i] = kept;
        double numeric = (above - below) / (2 * h), analytic = gradients[p->offset + i];
        difference += (numeric - analytic) * (numeric - analytic);
        size += (fabs(numeric) + fabs(analytic)) * (fabs(numeric) + fabs(analytic));
    }
    double relative = sqrt(difference) / sqrt(size);
    fprintf(stderr, "    %-36s %6zu numbers, relative error %.2e\n", p->name, n, relative);
    CHECK(size > 0); /* a tensor that nothing depends on would check nothing */
    CHECK(relative <= 1e-6);
}

/* Embeddings begin so small that attention would hardly look at them. */
static void scale_embeddings(affect_session *session) {
    const affect_architecture *a = affect_session_architecture(session);
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        affect_real *w = affect_session_blocks_of(session).parameters + p->offset;
        for (size_t k = 0; strstr(p->name, ".embeddings") && k < affect_shape_count(p->shape); k++)
            w[k] *= 20;
    }
}

static void check_network(const char *text, const char *variables, network_sizes sizes,
                          bool weighted, bool with_padding) {
    affect_architecture *architecture = make_architecture(text, variables, sizes);
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    network_data data;
    make_data(&data, architecture, 5);
    if (weighted) data.batch.weights = data.weights;
    if (with_padding) pad_data(&data, architecture, 0.5f, 0.5f); /* 0 would be at relu's kink */
    if (affect_architecture_input(architecture, 0)->n_ids) make_ids(&data, 5);
    affect_session_options options = {.max_batch = 6, .training = true};
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK_OK(affect_session_initialize(session, 4, err));
    scale_embeddings(session);
    affect_real *gradients = gradients_of(session, &data.batch);
    for (size_t i = 0; i < affect_architecture_n_parameters(architecture); i++) {
        const affect_parameter *p = affect_architecture_parameter(architecture, i);
        if (p->trainable) check_tensor(session, &data.batch, p, gradients);
    }
    free(gradients);
    free_data(&data);
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
}

static void test_every_layer(void) {
    check_network(every_layer, NULL, small_sizes, false, false);
}

static void test_weighted_without_dropout(void) {
    check_network(every_layer, "{\"rate\": 0, \"l2\": 0}", small_sizes, true, false);
}

/* The study's own graph at a reduced width of the data. */
static void test_motion_only(void) {
    affect_json *document = NULL;
    CHECK_OK(affect_architecture_preset(&document, "motion-only", err));
    /* Narrow it: the full width would take a minute of differences. */
    char *text = affect_json_text(document);
    for (char *c = text; (c = strstr(c, "\"filters\":128")); c++) memcpy(c, "\"filters\":3  ", 13);
    for (char *c = text; (c = strstr(c, "\"filters\":64")); c++) memcpy(c, "\"filters\":3 ", 12);
    for (char *c = text; (c = strstr(c, "\"filters\":32")); c++) memcpy(c, "\"filters\":2 ", 12);
    for (char *c = text; (c = strstr(c, "\"units\":256")); c++) memcpy(c, "\"units\":4  ", 11);
    network_sizes sizes = {.parts = 36, .columns = 5, .classes = 4};
    check_network(text, NULL, sizes, false, false);
    free(text);
    affect_json_free(document);
}

static const network_sizes padded_sizes = {.frames = 6, .mels = 20, .classes = 3};

static void test_padded(void) {
    check_network(padded, NULL, padded_sizes, true, true);
}

/* Padding computed once gives what all frames computed give: probabilities, loss and gradients. */
static void test_padding_is_exact(void) {
    affect_architecture *architecture = make_architecture(padded, NULL, padded_sizes);
    affect_backend *backend = NULL;
    affect_session *sessions[2] = {NULL, NULL};
    size_t n = affect_architecture_n_trainable(architecture);
    double stats[2][2 + 9] = {{0}};
    float probabilities[2][9 * 3];
    affect_real *gradients[2];
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    for (int k = 0; k < 2; k++) {
        network_data data;
        make_data(&data, architecture, 9);
        pad_data(&data, architecture, 0.0f, k ? -0.0f : 0.0f);
        size_t rows = 0; /* 1 .. 6 frames and one of padding; 6 where nothing is padded */
        for (size_t b = 0; b < 9; b++)
            rows += affect_session_count_rows(data.inputs[0] + b * 120, 6, 20);
        CHECK(rows == (k ? 54 : 2 + 3 + 4 + 5 + 6 + 6 + 2 + 3 + 4));
        affect_session_options options = {.max_batch = 9, .training = true, .max_rows = rows};
        CHECK_OK(affect_session_create(&sessions[k], backend, architecture, options, err));
        CHECK_OK(affect_session_initialize(sessions[k], 4, err));
        CHECK_OK(affect_session_predict(sessions[k], probabilities[k], data.batch.inputs, 9, err));
        CHECK_OK(count_batch(sessions[k], stats[k], &data.batch, err));
        gradients[k] = affect_session_blocks_of(sessions[k]).gradients;
        free_data(&data);
    }
    for (size_t i = 0; i < 27; i++)
        CHECK_NEAR(probabilities[0][i], probabilities[1][i], 1e-7); /* floats */
    for (size_t i = 0; i < 11; i++) CHECK_NEAR(stats[0][i], stats[1][i], 1e-12);
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += pow(gradients[0][i] - gradients[1][i], 2);
        size += pow(gradients[1][i], 2);
    }
    fprintf(stderr, "    gradients differ by %.1e\n", sqrt(difference / size));
    CHECK(size > 0 && sqrt(difference / size) < 1e-12);
    for (int k = 0; k < 2; k++) affect_session_free(sessions[k]);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
}

/* A masked network: its gradients are right, and what lies in the padding does not matter. */
static void test_masked(void) {
    char text[sizeof padded + 40];
    const char *shape = strstr(padded, "\"shape\"");
    snprintf(text, sizeof text, "%.*s\"mask\": true, %s", (int)(shape - padded), padded, shape);
    check_network(text, NULL, padded_sizes, false, true);
    affect_architecture *architecture = make_architecture(text, NULL, padded_sizes);
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    affect_session_options options = {.max_batch = 9};
    float probabilities[2][9 * 3];
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK_OK(affect_session_initialize(session, 4, err));
    for (int k = 0; k < 2; k++) {
        network_data data;
        make_data(&data, architecture, 9);
        pad_data(&data, architecture, k ? 3.0f : 0.5f, k ? 3.0f : 0.5f);
        CHECK_OK(affect_session_predict(session, probabilities[k], data.batch.inputs, 9, err));
        free_data(&data);
    }
    CHECK(memcmp(probabilities[0], probabilities[1], sizeof probabilities[0]) == 0);
    CHECK(memcmp(probabilities[0], probabilities[0] + 3, 3 * sizeof(float)) != 0);
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
}

/* Residuals, outputs that several layers read, several fusions, images, attention. */
static void test_graph(void) {
    char *text = read_network("small_graph");
    check_network(text, NULL, graph_sizes, true, false);
    free(text);
}

static void test_masked_graph(void) {
    network_sizes sizes = {.frames = 6, .mels = 5, .classes = 3};
    check_network(masked_graph, NULL, sizes, false, true);
}

static void test_ids(void) {
    char *text = read_network("small_text");
    check_network(text, "{\"value_dim\": 4, \"l2\": 0.01}", text_sizes, true, false);
    free(text);
}

/* More distinct rows than were planned for: a clear refusal. */
static void test_too_many_rows(void) {
    affect_architecture *architecture = make_architecture(padded, NULL, padded_sizes);
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    affect_session_options options = {.max_batch = 4, .max_rows = 20};
    network_data data;
    affect_error error = {0};
    float probabilities[4 * 3];
    make_data(&data, architecture, 4);
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK(affect_session_predict(session, probabilities, data.batch.inputs, 4, &error) ==
          AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, "24 distinct rows of input audio (room for 20)") != NULL);
    pad_data(&data, architecture, 0, 0);
    CHECK_OK(affect_session_predict(session, probabilities, data.batch.inputs, 4, err));
    free_data(&data);
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
}

int main(void) {
    TEST_RUN(test_every_layer);
    TEST_RUN(test_weighted_without_dropout);
    TEST_RUN(test_motion_only);
    TEST_RUN(test_padded);
    TEST_RUN(test_padding_is_exact);
    TEST_RUN(test_masked);
    TEST_RUN(test_graph);
    TEST_RUN(test_masked_graph);
    TEST_RUN(test_ids);
    TEST_RUN(test_too_many_rows);
    return TEST_END();
}
