/* Layers apart from any network: output shapes and parameter counts as Keras has them, and what a
 * layer adds to the backend's operations: folding, dropout's key, the order of concatenation.
 * The operations themselves are tested in tests/engine/cpu. */
#include "engine/nn/layer.h"
#include "tests/test.h"

static affect_layer *make(const char *text, affect_shape input, affect_layer_builder *builder) {
    affect_json *json = NULL;
    affect_layer *layer = NULL;
    builder->branch = "b";
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    CHECK_OK(affect_layer_create(&layer, builder, json, input, "", err));
    affect_json_free(json);
    return layer;
}

static void test_shapes(void) {
    static const struct {
        const char *json;
        affect_shape input, output;
        size_t n_numbers;
    } rows[] = {
        {"{'type':'conv1d','name':'x','filters':64,'kernel_size':3}",
         {2, {128, 1}},
         {2, {126, 64}},
         3 * 64 + 64},
        {"{'type':'conv1d','name':'x','filters':5,'kernel_size':4,'strides':3,'use_bias':false}",
         {2, {11, 2}},
         {2, {3, 5}},
         4 * 2 * 5},
        {"{'type':'conv1d','name':'x','filters':5,'kernel_size':4,'strides':3,'padding':'same'}",
         {2, {11, 2}},
         {2, {4, 5}},
         4 * 2 * 5 + 5},
        {"{'type':'conv1d','name':'x','filters':5,'kernel_size':9,'padding':'same'}",
         {2, {4, 2}},
         {2, {4, 5}},
         9 * 2 * 5 + 5},
        {"{'type':'maxpool1d','name':'x'}", {2, {7, 3}}, {2, {3, 3}}, 0},
        {"{'type':'maxpool1d','name':'x','padding':'same'}", {2, {7, 3}}, {2, {4, 3}}, 0},
        {"{'type':'maxpool1d','name':'x','pool_size':3,'strides':1}", {2, {7, 3}}, {2, {5, 3}}, 0},
        {"{'type':'batch_norm','name':'x'}", {3, {7, 3, 5}}, {3, {7, 3, 5}}, 20},
        {"{'type':'dropout','name':'x','rate':0.5}", {2, {7, 3}}, {2, {7, 3}}, 0},
        {"{'type':'flatten','name':'x'}", {3, {7, 3, 5}}, {1, {105}}, 0},
        {"{'type':'dense','name':'x','units':4}", {1, {6}}, {1, {4}}, 28},
        {"{'type':'dense','name':'x','units':4,'use_bias':false}", {2, {9, 6}}, {2, {9, 4}}, 24},
        {"{'type':'embedding','name':'x','input_dim':11,'output_dim':4}",
         {2, {9, 1}},
         {2, {9, 4}},
         44},
        {"{'type':'embedding','name':'x','input_dim':11,'output_dim':4}",
         {1, {9}},
         {2, {9, 4}},
         44},
        {"{'type':'multi_head_attention','name':'x','num_heads':3,'key_dim':4}",
         {2, {9, 6}},
         {2, {9, 6}},
         3 * (6 * 12 + 12) + 12 * 6 + 6},
        {"{'type':'multi_head_attention','name':'x','num_heads':3,'key_dim':4,'value_dim':5,"
         "'use_bias':false}",
         {2, {9, 6}},
         {2, {9, 6}},
         2 * 6 * 12 + 2 * 6 * 15},
        {"{'type':'lstm','name':'x','units':4}", {2, {9, 6}}, {1, {4}}, 4 * 4 * (6 + 4 + 1)},
        {"{'type':'lstm','name':'x','units':4,'return_sequences':true,'use_bias':false}",
         {2, {9, 6}},
         {2, {9, 4}},
         4 * 4 * (6 + 4)},
        {"{'type':'bidirectional','layer':{'type':'lstm','name':'x','units':128,"
         "'return_sequences':true}}",
         {2, {501, 128}},
         {2, {501, 256}},
         263168},
        {"{'type':'bidirectional','layer':{'type':'lstm','name':'x','units':128}}",
         {2, {501, 256}},
         {1, {256}},
         394240},
        {"{'type':'activation','name':'x','activation':'relu'}", {2, {9, 6}}, {2, {9, 6}}, 0},
        {"{'type':'time_distributed','layer':{'type':'conv1d','name':'x','filters':64,"
         "'kernel_size':3}}",
         {3, {501, 128, 1}},
         {3, {501, 126, 64}},
         256},
        {"{'type':'time_distributed','layer':{'type':'flatten','name':'x'}}",
         {3, {501, 2, 64}},
         {2, {501, 128}},
         0},
        {"{'type':'time_distributed','layer':{'type':'bidirectional','layer':{'type':'lstm',"
         "'name':'x','units':2}}}",
         {3, {5, 7, 3}},
         {2, {5, 4}},
         2 * 4 * 2 * (3 + 2 + 1)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_layer_builder builder = {0};
        char text[256];
        snprintf(text, sizeof text, "%s", rows[i].json);
        for (char *c = text; *c; c++)
            if (*c == '\'') *c = '"';
        affect_layer *layer = make(text, rows[i].input, &builder);
        CHECK(affect_shape_equal(layer->outside, rows[i].output));
        CHECK(layer->n_numbers == rows[i].n_numbers);
        CHECK(builder.n_trainable + builder.n_statistics == rows[i].n_numbers);
        CHECK_STRING(layer->name, "x");
        affect_layer_free(layer);
        free(builder.parameters);
    }
}

/* Keras' padding `same`: total = max((ceil(L / s) - 1) s + k - L, 0), left = total / 2. */
static void test_window(void) {
    static const struct {
        size_t length, size, stride, length_out, pad_left;
    } rows[] = {{7, 3, 1, 7, 1}, {7, 3, 2, 4, 1}, {8, 3, 2, 4, 0}, {7, 2, 2, 4, 0},
                {7, 2, 1, 7, 0}, {5, 1, 3, 2, 0}, {4, 9, 1, 4, 4}, {10, 4, 3, 4, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_layer layer = {.input = {2, {rows[i].length, 1}}};
        size_t length_out = 99, pad_left = 99;
        CHECK_OK(affect_window(&length_out, &pad_left, &layer, "kernel_size", rows[i].size,
                               rows[i].stride, AFFECT_PADDING_SAME, err));
        CHECK(length_out == rows[i].length_out);
        CHECK(pad_left == rows[i].pad_left);
    }
}

static void test_dropout(void) {
    affect_backend *backend = NULL;
    affect_layer_builder builder = {0};
    affect_shape shape = {1, {10000}};
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    affect_layer *first =
        make("{\"type\":\"dropout\",\"name\":\"a\",\"rate\":0.3}", shape, &builder);
    affect_layer *second =
        make("{\"type\":\"dropout\",\"name\":\"b\",\"rate\":0.3}", shape, &builder);
    CHECK(first->class->infer == NULL); /* inference: the output is the input */
    static affect_real x[10000], y[10000], other[10000], d_x[10000];
    for (size_t i = 0; i < 10000; i++) x[i] = 1;
    affect_layer_pass pass = {.backend = backend, .n = 1, .x = x, .y = y, .dropout = {1, 2}};
    first->class->forward(first, &pass);
    size_t n_kept = 0;
    for (size_t i = 0; i < 10000; i++) {
        CHECK(y[i] == 0 || fabs((double)y[i] - 1 / 0.7) < 1e-6);
        n_kept += y[i] != 0;
    }
    CHECK(n_kept > 6800 && n_kept < 7200); /* 7000 +- 4.4 deviations */
    pass.d_y = x, pass.d_x = d_x;
    first->class->backward(first, &pass);
    CHECK(memcmp(d_x, y, sizeof y) == 0); /* the same mask */
    pass.y = other;
    second->class->forward(second, &pass);
    CHECK(memcmp(other, y, sizeof y) != 0); /* another layer, another mask */
    pass.dropout.stream = 3;
    first->class->forward(first, &pass);
    CHECK(memcmp(other, y, sizeof y) != 0); /* another step, another mask */
    affect_layer_free(first);
    affect_layer_free(second);
    affect_backend_free(backend);
}

/* time_distributed equals the inner layer on each frame; gradients add up over the frames. */
static void test_fold(void) {
    affect_backend *backend = NULL;
    affect_layer_builder builder = {0}, inner_builder = {0};
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 2}, err));
    affect_layer *folded =
        make("{\"type\":\"time_distributed\",\"layer\":{\"type\":\"dense\",\"name\":\"x\","
             "\"units\":2,\"activation\":\"tanh\"}}",
             (affect_shape){2, {3, 4}}, &builder);
    affect_layer *plain = make("{\"type\":\"dense\",\"name\":\"x\",\"units\":2,"
                               "\"activation\":\"tanh\"}",
                               (affect_shape){1, {4}}, &inner_builder);
    affect_real x[24], y[12], want[12], d_y[12], parameters[10], d[10] = {0}, want_d[10] = {0};
    for (size_t i = 0; i < 24; i++) x[i] = (affect_real)sin(1.0 + (double)i);
    for (size_t i = 0; i < 10; i++) parameters[i] = (affect_real)cos(2.0 + (double)i);
    void *workspace = malloc(plain->class->workspace_size(plain, backend, 6, 0) + 1);
    affect_layer_pass pass = {.backend = backend,
                              .n = 2 * folded->fold,
                              .x = x,
                              .y = y,
                              .d_y = d_y,
                              .parameters = parameters,
                              .gradients = d,
                              .workspace = workspace};
    CHECK(pass.n == 6);
    folded->class->forward(folded, &pass);
    for (size_t i = 0; i < 12; i++) d_y[i] = 1;
    folded->class->backward(folded, &pass);
    for (size_t frame = 0; frame < 6; frame++) {
        pass = (affect_layer_pass){.backend = backend,
                                   .n = 1,
                                   .x = x + 4 * frame,
                                   .y = want + 2 * frame,
                                   .d_y = d_y,
                                   .parameters = parameters,
                                   .gradients = want_d,
                                   .workspace = workspace};
        plain->class->forward(plain, &pass);
        d_y[0] = d_y[1] = 1;
        plain->class->backward(plain, &pass);
    }
    for (size_t i = 0; i < 12; i++) CHECK_NEAR(y[i], want[i], 1e-6);
    for (size_t i = 0; i < 10; i++) CHECK_NEAR(d[i], want_d[i], 1e-5);
    free(workspace);
    free(builder.parameters);
    free(inner_builder.parameters);
    affect_layer_free(folded);
    affect_layer_free(plain);
    affect_backend_free(backend);
}

static void test_concatenate(void) {
    affect_backend *backend = NULL;
    affect_layer_builder builder = {.branch = "fusion"};
    affect_layer *layer = NULL;
    affect_json *json = NULL;
    const char *text = "{\"type\":\"concatenate\",\"name\":\"join\"}";
    const affect_shape inputs[] = {{1, {2}}, {1, {3}}};
    CHECK_OK(affect_backend_open(&backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    CHECK_OK(affect_layer_create_joining(&layer, &builder, json, inputs, 2, "", err));
    CHECK(layer->output.rank == 1 && layer->output.size[0] == 5);
    const affect_real a[] = {1, 2, 6, 7}, b[] = {3, 4, 5, 8, 9, 10};
    affect_real y[10], d_a[4], d_b[6];
    affect_layer_pass pass = {.backend = backend,
                              .n = 2,
                              .y = y,
                              .d_y = y,
                              .many_x = (const affect_real *const[]){a, b},
                              .many_d_x = (affect_real *const[]){d_a, d_b}};
    layer->class->forward(layer, &pass);
    for (size_t i = 0; i < 10; i++) CHECK(y[i] == (affect_real)(i + 1));
    layer->class->backward(layer, &pass);
    CHECK(memcmp(d_a, a, sizeof a) == 0 && memcmp(d_b, b, sizeof b) == 0);
    affect_json_free(json);
    affect_layer_free(layer);
    affect_backend_free(backend);
}

static void test_registry(void) {
    static const char *const types[] = {
        "conv1d", "maxpool1d",     "batch_norm",       "dropout",     "flatten",   "dense",
        "lstm",   "bidirectional", "time_distributed", "concatenate", "activation"};
    char names[256];
    affect_layer_class_names(names, sizeof names);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const affect_layer_class *class = affect_layer_class_find(types[i]);
        CHECK(class != NULL && strcmp(class->type, types[i]) == 0);
        CHECK(strstr(names, types[i]) != NULL);
        if (class) CHECK((class->wrap != NULL) != (class->build != NULL));
    }
    CHECK(affect_layer_class_find("conv") == NULL);
}

int main(void) {
    TEST_RUN(test_shapes);
    TEST_RUN(test_window);
    TEST_RUN(test_dropout);
    TEST_RUN(test_fold);
    TEST_RUN(test_concatenate);
    TEST_RUN(test_registry);
    return TEST_END();
}
