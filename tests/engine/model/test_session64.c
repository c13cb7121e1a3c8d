/* The whole network's gradients against central differences, in double precision: every kind of
 * layer, batch normalisation in training mode, dropout on with a fixed mask, class weights, and the
 * L2 penalty. Each tensor: |analytic - numeric| / (|analytic| + |numeric|) in the Euclidean norm.
 *
 * Step 1e-5, an error of about h^2 = 1e-10 relative. Max pooling and ReLU have kinks; the data are
 * such that no step crosses one, or the check would fail. */
#include "tests/engine/model/network.h"

static double loss_of(affect_session *session, const affect_session_batch *batch) {
    double stats[2 + 16] = {0}, l2 = 0;
    CHECK_OK(affect_session_accumulate(session, stats, batch, err));
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
    CHECK_OK(affect_session_accumulate(session, stats, batch, err));
    CHECK_OK(affect_session_step(session, NULL, &adam, err));
    memcpy(gradients, blocks.adam_m, n * sizeof *gradients);
    for (size_t i = 0; i < n; i++) CHECK(blocks.gradients[i] == 0);
    return gradients;
}

static void check_tensor(affect_session *session, const affect_session_batch *batch,
                         const affect_parameter *p, const affect_real *gradients) {
    affect_real *w = affect_session_blocks_of(session).parameters + p->offset;
    size_t n = affect_shape_count(p->shape);
    double difference = 0, size = 0, h = 1e-5;
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

static void check_network(const char *text, const char *variables, affect_sizes sizes,
                          bool weighted) {
    affect_architecture *architecture = make_architecture(text, variables, sizes);
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    network_data data;
    make_data(&data, architecture, 5);
    if (weighted) data.batch.weights = data.weights;
    affect_session_options options = {.max_batch = 6, .training = true};
    CHECK_OK(affect_backend_open(&backend, "cpu", 2, err));
    CHECK_OK(affect_session_create(&session, backend, architecture, options, err));
    CHECK_OK(affect_session_initialize(session, 4, err));
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
    check_network(every_layer, NULL, small_sizes, false);
}

static void test_weighted_without_dropout(void) {
    check_network(every_layer, "{\"rate\": 0, \"l2\": 0}", small_sizes, true);
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
    affect_sizes sizes = {.parts = 36, .columns = 5, .classes = 4};
    check_network(text, NULL, sizes, false);
    free(text);
    affect_json_free(document);
}

int main(void) {
    TEST_RUN(test_every_layer);
    TEST_RUN(test_weighted_without_dropout);
    TEST_RUN(test_motion_only);
    return TEST_END();
}
