/* Inputs that hold ids (architecture.h): what a session refuses, wherever the numbers come from;
 * that an utterance's answer does not depend on its batch; initial embeddings; and that scaled
 * features cannot be ids. */
#include "tests/engine/model/counted.h"
#include "tests/engine/model/graph_networks.h"

enum { N = 5, CLASSES = 4 };

typedef struct {
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
    network_data data;
} fixture;

static void open_fixture(fixture *f) {
    memset(f, 0, sizeof *f);
    char *text = read_network("small_text");
    f->architecture = make_architecture(text, NULL, text_sizes);
    CHECK_OK(affect_backend_open(&f->backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    CHECK_OK(affect_session_create(&f->session, f->backend, f->architecture,
                                   (affect_session_options){.max_batch = N, .training = true},
                                   err));
    CHECK_OK(affect_session_initialize(f->session, 4, err));
    make_data(&f->data, f->architecture, N);
    make_ids(&f->data, N);
    free(text);
}

static void close_fixture(fixture *f) {
    free_data(&f->data);
    affect_session_free(f->session);
    affect_backend_free(f->backend);
    affect_architecture_free(f->architecture);
}

/* Number `at` of utterance 4, which has five ids and two zeros, becomes `id`. */
static const struct {
    size_t at;
    float id;
    const char *message;
} wrong[] = {
    {1, 9, "input ids: step 1 is 9, no id (need 0..8)"}, /* the other table has 12 */
    {0, -1, "input ids: step 0 is -1, no id"},
    {3, 2.5f, "input ids: step 3 is 2.5, no id"},
    {6, NAN, "step 6 is"},
    {6, INFINITY, "input ids: step 6 is inf, no id"},
    {2, 0, "input ids: step 2 is id 0, which is padding, before another id"},
};

static void test_refusals(void) {
    fixture f; /* its batch points into it */
    open_fixture(&f);
    affect_device_cache *cache = NULL;
    static const size_t rows[N] = {7, 7, 7, 7, 7};
    float probabilities[N * CLASSES];
    double stats[2 + CLASSES * CLASSES] = {0};
    CHECK_OK(affect_device_cache_create(&cache, f.session, rows, N, err));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        affect_error error = {0};
        float *number = &f.data.inputs[0][4 * 7 + wrong[i].at], kept = *number;
        const float *utterance = f.data.inputs[0] + 4 * 7;
        *number = wrong[i].id;
        CHECK(affect_session_predict(f.session, probabilities, f.data.batch.inputs, N, &error) ==
              AFFECT_STATUS_INVALID);
        CHECK(strstr(error.message, wrong[i].message) != NULL);
        error = (affect_error){0};
        CHECK(count_batch(f.session, stats, &f.data.batch, &error) == AFFECT_STATUS_INVALID);
        CHECK(strstr(error.message, wrong[i].message) != NULL);
        error = (affect_error){0};
        CHECK(affect_device_cache_fill(cache, 4, &utterance, &error) == AFFECT_STATUS_INVALID);
        CHECK(strstr(error.message, wrong[i].message) != NULL);
        *number = kept;
    }
    CHECK_OK(affect_session_predict(f.session, probabilities, f.data.batch.inputs, N, err));
    affect_device_cache_free(cache);
    close_fixture(&f);
}

/* One by one, and from a device cache: the same bits. */
static void test_batches(void) {
    fixture f; /* its batch points into it */
    open_fixture(&f);
    affect_device_cache *cache = NULL;
    static const size_t rows[N] = {7, 7, 7, 7, 7}, utterances[N] = {0, 1, 2, 3, 4};
    float together[N * CLASSES], alone[CLASSES], cached[N * CLASSES];
    double stats[2 + CLASSES * CLASSES] = {0};
    affect_session_batch batch = f.data.batch;
    CHECK_OK(affect_session_predict(f.session, together, f.data.batch.inputs, N, err));
    CHECK_OK(affect_device_cache_create(&cache, f.session, rows, N, err));
    for (size_t b = 0; b < N; b++) {
        const float *utterance = f.data.inputs[0] + b * 7;
        CHECK_OK(affect_session_predict(f.session, alone, &utterance, 1, err));
        CHECK(memcmp(alone, together + b * CLASSES, sizeof alone) == 0);
        CHECK_OK(affect_device_cache_fill(cache, b, &utterance, err));
    }
    batch.inputs = NULL;
    batch.cache = cache;
    batch.utterances = utterances;
    CHECK_OK(count_evaluation(f.session, stats, cached, &batch, err));
    CHECK(memcmp(cached, together, sizeof cached) == 0);
    CHECK(memcmp(together, together + CLASSES, sizeof alone) != 0);
    affect_device_cache_free(cache);
    close_fixture(&f);
}

/* Uniform within 0.05, as Keras draws embeddings. */
static void test_initial_embeddings(void) {
    fixture f; /* its batch points into it */
    open_fixture(&f);
    float w[9 * 6], largest = 0;
    const affect_parameter *p = affect_architecture_parameter(f.architecture, 0);
    CHECK_STRING(p->name, "order.embedding.embeddings");
    CHECK_OK(affect_session_get_tensor(w, f.session, 0, err));
    for (size_t i = 0; i < 9 * 6; i++) largest = fmaxf(largest, fabsf(w[i]));
    CHECK(largest <= 0.05f && largest > 0.04f);
    close_fixture(&f);
}

static void test_scaled_features(void) {
    affect_error error = {0};
    affect_sizes sizes = {.n_classes = 3};
    affect_architecture *architecture = NULL;
    affect_json *document =
        parse("{\"inputs\": {\"x\": {\"feature\": \"embedding:tokens\"}},"
              " \"branches\": {\"x\": {\"input\": \"x\", \"layers\": ["
              "   {\"type\": \"embedding\", \"name\": \"e\", \"input_dim\": 4, \"output_dim\": 2},"
              "   {\"type\": \"global_average_pooling1d\", \"name\": \"m\"}]}},"
              " \"fusion\": {\"branches\": [\"x\"], \"layers\": ["
              "   {\"type\": \"dense\", \"name\": \"output\", \"units\": 3,"
              "     \"activation\": \"softmax\"}]}}");
    CHECK_OK(affect_sizes_add(&sizes, "embedding:tokens", 6, 1, err));
    CHECK(affect_architecture_create(&architecture, document, NULL, &sizes, &error) ==
          AFFECT_STATUS_INVALID);
    CHECK_STRING(error.message, "x.e: \"embedding:tokens\" holds scaled numbers, not ids");
    CHECK_STRING(error.pointer, "/branches/x/layers/0");
    affect_json_free(document);
}

int main(void) {
    TEST_RUN(test_refusals);
    TEST_RUN(test_batches);
    TEST_RUN(test_initial_embeddings);
    TEST_RUN(test_scaled_features);
    return TEST_END();
}
