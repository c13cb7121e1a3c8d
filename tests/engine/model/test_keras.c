/* Whole networks against Keras 3: probabilities, and ten training steps.
 *
 * The numbers in tests/reference/keras were made by tests/reference/make_keras.py; README.md beside
 * it lists tensors and shapes. Bounds: probabilities 1e-5; losses 1e-4 relative; weights after ten
 * steps 2e-5 for 99 of 100 and 2e-4 for all, because Adam's first steps follow the sign of a
 * gradient, so that one of nearly 0 is amplified. */
#include "engine/core/safetensors.h"
#include "engine/model/session.h"
#include "tests/engine/model/counted.h"
#include "tests/test.h"

enum { MAX_INPUTS = 4, MAX_STATS = 2 + 16 * 16 };

/* A stored case with its network on the CPU. */
typedef struct {
    affect_safetensors *file;
    affect_json *document, *sizes;
    affect_backend *backend;
    affect_architecture *architecture;
    affect_session *session;
} fixture;

static affect_status open_fixture(fixture *f, const char *name, affect_session_options options,
                                  affect_error *err) {
    char path[1024];
    snprintf(path, sizeof path, "%s/keras/%s.safetensors", TEST_REFERENCE_DIR, name);
    fprintf(stderr, "  %s\n", name);
    AFFECT_TRY(affect_safetensors_open(&f->file, path, err));
    AFFECT_TRY(affect_safetensors_metadata_json(&f->document, f->file, "architecture", err));
    AFFECT_TRY(affect_safetensors_metadata_json(&f->sizes, f->file, "sizes", err));
    affect_sizes sizes;
    AFFECT_TRY(affect_sizes_from_json(&sizes, f->sizes, "/sizes", err));
    AFFECT_TRY(affect_architecture_create(&f->architecture, f->document, NULL, &sizes, err));
    AFFECT_TRY(affect_backend_open(&f->backend,
                                   (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    return affect_session_create(&f->session, f->backend, f->architecture, options, err);
}

static void close_fixture(fixture *f) {
    affect_session_free(f->session);
    affect_architecture_free(f->architecture);
    affect_backend_free(f->backend);
    affect_json_free(f->document);
    affect_json_free(f->sizes);
    affect_safetensors_close(f->file);
}

/* The stored tensor PREFIX.NAME; NULL (and a failed check) when it is not there as float32. */
static const affect_safetensor *find(const fixture *f, const char *prefix, const char *name) {
    char full[160];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const affect_safetensor *tensor = affect_safetensors_find(f->file, full);
    if (!tensor || tensor->dtype != AFFECT_DTYPE_F32) fprintf(stderr, "    no float32 %s\n", full);
    CHECK(tensor && tensor->dtype == AFFECT_DTYPE_F32);
    return tensor && tensor->dtype == AFFECT_DTYPE_F32 ? tensor : NULL;
}

/* Gives the session every tensor PREFIX.*; names and shapes must be the same on both sides. */
static void set_weights(fixture *f, const char *prefix) {
    size_t n_stored = 0;
    for (size_t i = 0; i < affect_safetensors_count(f->file); i++)
        n_stored += strncmp(affect_safetensors_at(f->file, i)->name, prefix, strlen(prefix)) == 0;
    CHECK(n_stored == affect_architecture_n_parameters(f->architecture));
    for (size_t i = 0; i < affect_architecture_n_parameters(f->architecture); i++) {
        const affect_parameter *parameter = affect_architecture_parameter(f->architecture, i);
        const affect_safetensor *tensor = find(f, prefix, parameter->name);
        if (!tensor) continue;
        CHECK(affect_shape_equal(tensor->shape, parameter->shape));
        CHECK_OK(affect_session_set_tensor(f->session, i, tensor->data, err));
    }
}

/* Pointers to the stored inputs, `skip` rows of one utterance in. */
static void find_inputs(const float *inputs[MAX_INPUTS], const fixture *f, size_t skip) {
    size_t n_inputs = affect_architecture_n_inputs(f->architecture);
    CHECK(n_inputs <= MAX_INPUTS);
    for (size_t i = 0; i < n_inputs; i++) {
        const affect_input *input = affect_architecture_input(f->architecture, i);
        const affect_safetensor *tensor = find(f, "inputs", input->name);
        inputs[i] = (const float *)tensor->data + skip * affect_shape_count(input->feature.shape);
    }
}

static void check_probabilities(const char *name) {
    fixture f = {0};
    const affect_session_options options = {.max_batch = 8};
    CHECK_OK(open_fixture(&f, name, options, err));
    if (f.session) {
        const affect_safetensor *want = affect_safetensors_find(f.file, "probabilities");
        size_t n = want->shape.size[0], n_classes = want->shape.size[1];
        const float *inputs[MAX_INPUTS] = {0};
        float got[8 * 16] = {0};
        double largest = 0;
        set_weights(&f, "weights");
        find_inputs(inputs, &f, 0);
        CHECK(n <= 8 && n_classes <= 16);
        CHECK_OK(affect_session_predict(f.session, got, inputs, n, err));
        for (size_t i = 0; i < n * n_classes; i++)
            largest = fmax(largest, fabs((double)got[i] - ((const float *)want->data)[i]));
        fprintf(stderr, "    largest difference %.2g\n", largest);
        CHECK(largest <= 1e-5);
    }
    close_fixture(&f);
}

static void test_probabilities(void) {
    check_probabilities("small_paper");
    check_probabilities("small_paper_bn");
    check_probabilities("small_variants");
    check_probabilities("small_audio");
    check_probabilities("small_graph");
    check_probabilities("small_text");
}

/* One step on stored batch `step`: its losses before the step against Keras'. Returns the relative
 * difference of the total. */
static double train_step(fixture *f, size_t step, size_t n, const float *class_weights) {
    const float *inputs[MAX_INPUTS] = {0};
    const affect_safetensor *labels = affect_safetensors_find(f->file, "labels");
    const int32_t *batch_labels = (const int32_t *)labels->data + step * n;
    float weights[16];
    double stats[MAX_STATS] = {0}, l2 = 0;
    find_inputs(inputs, f, step * n);
    for (size_t i = 0; i < n && class_weights; i++) weights[i] = class_weights[batch_labels[i]];
    const affect_session_batch batch = {
        .inputs = inputs,
        .labels = batch_labels,
        .weights = class_weights ? weights : NULL,
        .batch = n,
    };
    const affect_adam_shape adam = {
        .learning_rate = 1e-3,
        .beta_1 = 0.9,
        .beta_2 = 0.999,
        .epsilon = 1e-7,
        .step = step + 1,
    };
    CHECK_OK(count_batch(f->session, stats, &batch, err));
    CHECK_OK(count_step(f->session, &l2, &adam, err));
    const float *entropies = affect_safetensors_find(f->file, "cross_entropy")->data;
    const float *penalties = affect_safetensors_find(f->file, "l2")->data;
    const float *totals = affect_safetensors_find(f->file, "total")->data;
    double entropy = stats[0] / (double)n;
    CHECK(stats[1] == (double)n);
    CHECK_NEAR(entropy, entropies[step], 1e-4 * entropies[step]);
    CHECK_NEAR(l2, penalties[step], 1e-4 * penalties[step]);
    CHECK_NEAR(entropy + l2, totals[step], 1e-4 * totals[step]);
    return fabs(entropy + l2 - totals[step]) / totals[step];
}

/* Weights after training against Keras'. */
static void check_final(fixture *f) {
    double largest = 0;
    size_t n_all = 0, n_far = 0, n_moved = 0;
    for (size_t i = 0; i < affect_architecture_n_parameters(f->architecture); i++) {
        const affect_parameter *parameter = affect_architecture_parameter(f->architecture, i);
        const affect_safetensor *initial = find(f, "initial", parameter->name);
        const affect_safetensor *want = find(f, "final", parameter->name);
        size_t n = affect_shape_count(parameter->shape);
        float *got = malloc(n * sizeof *got);
        if (!got) abort();
        CHECK_OK(affect_session_get_tensor(got, f->session, i, err));
        for (size_t k = 0; k < n; k++) {
            double difference = fabs((double)got[k] - ((const float *)want->data)[k]);
            largest = fmax(largest, difference);
            n_far += !(difference <= 2e-5);
            n_moved += ((const float *)want->data)[k] != ((const float *)initial->data)[k];
            n_all++;
        }
        free(got);
    }
    fprintf(stderr, "    weights: %zu of %zu moved, %zu differ by over 2e-5, at most %.2g\n",
            n_moved, n_all, n_far, largest);
    CHECK(largest <= 2e-4);
    CHECK(n_far * 100 <= n_all);
    CHECK(n_moved * 2 > n_all);
}

static void check_training(const char *name) {
    fixture f = {0};
    const affect_session_options options = {.max_batch = 8, .training = true};
    CHECK_OK(open_fixture(&f, name, options, err));
    if (f.session) {
        const affect_safetensor *labels = affect_safetensors_find(f.file, "labels");
        const affect_safetensor *weights = affect_safetensors_find(f.file, "class_weights");
        double largest = 0;
        CHECK(labels->dtype == AFFECT_DTYPE_I32 && labels->shape.size[0] == 10);
        set_weights(&f, "initial");
        for (size_t step = 0; step < labels->shape.size[0]; step++)
            largest = fmax(largest, train_step(&f, step, labels->shape.size[1],
                                               weights ? weights->data : NULL));
        fprintf(stderr, "    losses: largest relative difference %.2g\n", largest);
        check_final(&f);
    }
    close_fixture(&f);
}

static void test_ten_steps(void) {
    check_training("training_plain");
    check_training("training_l2");
    check_training("training_bn");
    check_training("training_bn_l2");
    check_training("training_bn_l2_weighted");
    check_training("training_audio_bn");
    check_training("training_graph");
    check_training("training_text");
}

int main(void) {
    TEST_RUN(test_probabilities);
    TEST_RUN(test_ten_steps);
    return TEST_END();
}
