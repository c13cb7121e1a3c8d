/* What the tests of engine/model share: small networks and data that depend on a counter only. */
#ifndef AFFECT_TESTS_NETWORK_H
#define AFFECT_TESTS_NETWORK_H

#include "engine/model/session.h"
#include "tests/sizes.h"
#include "tests/test.h"

/* Two branches that use every kind of layer: convolutions valid and same, strided, with and without
 * bias; pooling of both paddings; time_distributed over all it can hold; plain, backward and
 * bidirectional lstm, with and without sequences; batch_norm on two ranks; every activation. */
static const char every_layer[] =
    "{\"name\": \"every-layer\", \"variables\": {\"rate\": 0.3, \"l2\": 0.02},"
    " \"inputs\": {\"audio\": {\"feature\": \"mel\", \"shape\": [\"$frames\", \"$mels\", 1]},"
    "              \"motion\": {\"feature\": \"motion\", \"shape\": [\"$parts\", \"$columns\"]}},"
    " \"branches\": {"
    "  \"audio\": {\"input\": \"audio\", \"layers\": ["
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"conv1d\", \"name\": \"conv_1\","
    "     \"filters\": 4, \"kernel_size\": 3, \"activation\": \"tanh\", \"l2\": \"$l2\"}},"
    "   {\"type\": \"batch_norm\", \"name\": \"bn_1\", \"momentum\": 0.9},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"maxpool1d\", \"name\": "
    "\"pool_1\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"conv1d\", \"name\": \"conv_2\","
    "     \"filters\": 3, \"kernel_size\": 2, \"strides\": 2, \"padding\": \"same\","
    "     \"activation\": \"sigmoid\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"dropout\", \"name\": \"drop_1\","
    "     \"rate\": 0.2}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"flatten\", \"name\": "
    "\"flatten\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"dense\", \"name\": \"dense_1\","
    "     \"units\": 5, \"use_bias\": false}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"activation\","
    "     \"name\": \"activation_1\", \"activation\": \"tanh\"}},"
    "   {\"type\": \"bidirectional\", \"layer\": {\"type\": \"lstm\", \"name\": \"bilstm_1\","
    "     \"units\": 3, \"return_sequences\": true, \"l2\": 0.001}},"
    "   {\"type\": \"bidirectional\", \"layer\": {\"type\": \"lstm\", \"name\": \"bilstm_2\","
    "     \"units\": 3}},"
    "   {\"type\": \"dense\", \"name\": \"dense\", \"units\": 6, \"activation\": \"relu\"},"
    "   {\"type\": \"dropout\", \"name\": \"dropout\", \"rate\": \"$rate\"}]},"
    "  \"motion\": {\"input\": \"motion\", \"layers\": ["
    "   {\"type\": \"conv1d\", \"name\": \"conv_1\", \"filters\": 4, \"kernel_size\": 3,"
    "     \"padding\": \"same\", \"use_bias\": false, \"activation\": \"relu\"},"
    "   {\"type\": \"batch_norm\", \"name\": \"bn_1\"},"
    "   {\"type\": \"maxpool1d\", \"name\": \"pool_1\", \"pool_size\": 3, \"strides\": 2,"
    "     \"padding\": \"same\"},"
    "   {\"type\": \"lstm\", \"name\": \"lstm_1\", \"units\": 4, \"return_sequences\": true,"
    "     \"use_bias\": false},"
    "   {\"type\": \"lstm\", \"name\": \"lstm_2\", \"units\": 4, \"go_backwards\": true},"
    "   {\"type\": \"dense\", \"name\": \"dense\", \"units\": 3}]}},"
    " \"fusion\": {\"branches\": [\"audio\", \"motion\"], \"layers\": ["
    "   {\"type\": \"concatenate\", \"name\": \"concatenate\"},"
    "   {\"type\": \"dense\", \"name\": \"hidden\", \"units\": 5, \"activation\": \"tanh\"},"
    "   {\"type\": \"dense\", \"name\": \"logits\", \"units\": \"$classes\"},"
    "   {\"type\": \"activation\", \"name\": \"output\", \"activation\": \"softmax\"}]}}";

/* The study's audio branch, small: convolutions that are merged with their pooling, frames that are
 * shared where they are padding. */
static const char padded[] =
    "{\"name\": \"padded\", \"variables\": {\"rate\": 0.3},"
    " \"inputs\": {\"audio\": {\"feature\": \"mel\", \"shape\": [\"$frames\", \"$mels\", 1]}},"
    " \"branches\": {\"audio\": {\"input\": \"audio\", \"layers\": ["
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"conv1d\", \"name\": \"conv_1\","
    "     \"filters\": 16, \"kernel_size\": 3, \"activation\": \"relu\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"maxpool1d\", \"name\": "
    "\"pool_1\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"conv1d\", \"name\": \"conv_2\","
    "     \"filters\": 5, \"kernel_size\": 3, \"activation\": \"relu\", \"l2\": 0.02}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"maxpool1d\", \"name\": "
    "\"pool_2\"}},"
    "   {\"type\": \"time_distributed\", \"layer\": {\"type\": \"flatten\", \"name\": "
    "\"flatten\"}},"
    "   {\"type\": \"bidirectional\", \"layer\": {\"type\": \"lstm\", \"name\": \"bilstm_1\","
    "     \"units\": 3, \"return_sequences\": true}},"
    "   {\"type\": \"bidirectional\", \"layer\": {\"type\": \"lstm\", \"name\": \"bilstm_2\","
    "     \"units\": 3}},"
    "   {\"type\": \"dense\", \"name\": \"dense\", \"units\": 6, \"activation\": \"relu\"},"
    "   {\"type\": \"dropout\", \"name\": \"dropout\", \"rate\": \"$rate\"}]}},"
    " \"fusion\": {\"branches\": [\"audio\"], \"layers\": ["
    "   {\"type\": \"dense\", \"name\": \"output\", \"units\": \"$classes\","
    "     \"activation\": \"softmax\"}]}}";

static const network_sizes small_sizes = {
    .frames = 4, .mels = 9, .parts = 7, .columns = 3, .classes = 3};

static inline affect_json *parse(const char *text) {
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    return json;
}

static inline affect_architecture *make_architecture(const char *text, const char *variables,
                                                     network_sizes sizes) {
    affect_architecture *architecture = NULL;
    affect_json *document = parse(text), *values = variables ? parse(variables) : NULL;
    CHECK_OK(create_architecture(&architecture, document, values, sizes, err));
    affect_json_free(document);
    affect_json_free(values);
    return architecture;
}

/* Standard normal numbers of a stream; owned. */
static inline float *make_numbers(size_t n, uint64_t stream) {
    float *numbers = malloc((n ? n : 1) * sizeof *numbers);
    for (size_t i = 0; i < n; i++)
        numbers[i] = (float)affect_random_normal((affect_random_key){99, stream}, i);
    return numbers;
}

/* A batch of data with labels 0, 1, 2, 0, ...; inputs owned: free_data. */
typedef struct {
    float *inputs[2];
    int32_t labels[64];
    float weights[64];
    affect_session_batch batch;
} network_data;

static inline void make_data(network_data *data, const affect_architecture *architecture,
                             size_t n) {
    memset(data, 0, sizeof *data);
    for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++)
        data->inputs[i] = make_numbers(
            n * affect_shape_count(affect_architecture_input(architecture, i)->feature.shape), i);
    size_t classes = affect_architecture_sizes(architecture)->n_classes;
    for (size_t i = 0; i < n; i++) {
        data->labels[i] = (int32_t)(i % classes);
        data->weights[i] = 0.5f + 0.25f * (float)(i % 5);
    }
    data->batch = (affect_session_batch){.inputs = (const float *const *)data->inputs,
                                         .labels = data->labels,
                                         .batch = n,
                                         .dropout = {7, 11}};
}

/* Utterance b keeps b % frames + 1 frames; the rest become `even` and `odd`. With 0 and -0 these
 * are the same numbers, but no two neighbours are equal bit for bit. */
static inline void pad_data(network_data *data, const affect_architecture *architecture, float even,
                            float odd) {
    affect_shape shape = affect_architecture_input(architecture, 0)->feature.shape;
    size_t frames = shape.size[0], frame = affect_shape_count(shape) / frames;
    for (size_t b = 0; b < data->batch.batch; b++)
        for (size_t t = b % frames + 1; t < frames; t++)
            for (size_t i = 0; i < frame; i++)
                data->inputs[0][(b * frames + t) * frame + i] = t % 2 ? odd : even;
}

static inline void free_data(network_data *data) {
    free(data->inputs[0]);
    free(data->inputs[1]);
}

#endif
