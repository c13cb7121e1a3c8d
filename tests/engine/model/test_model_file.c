/* Model files: a round trip to the bit, checkpoints, and hostile files, each with the error that
 * names what is wrong. */
#include "engine/core/file.h"
#include "engine/model/model_file.h"
#include "tests/engine/model/counted.h"
#include "tests/engine/model/network.h"

#include <unistd.h>

static char directory[64];

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

typedef struct {
    affect_architecture *architecture;
    affect_backend *backend;
    affect_session *session;
} network;

static network make_network(bool training) {
    network net = {.architecture = make_architecture(every_layer, "{\"rate\": 0.4}", small_sizes)};
    affect_session_options options = {.max_batch = 6, .training = training};
    CHECK_OK(affect_backend_open(&net.backend,
                                 (affect_backend_options){.device = "cpu", .n_threads = 1}, err));
    CHECK_OK(affect_session_create(&net.session, net.backend, net.architecture, options, err));
    CHECK_OK(affect_session_initialize(net.session, 5, err));
    return net;
}

static void free_network(network *net) {
    affect_session_free(net->session);
    affect_backend_free(net->backend);
    affect_architecture_free(net->architecture);
}

static void train(network *net, network_data *data, uint64_t first, uint64_t last) {
    double stats[2 + 9] = {0};
    for (uint64_t step = first; step <= last; step++) {
        affect_adam_shape adam = {
            .learning_rate = 0.01, .beta_1 = 0.9, .beta_2 = 0.999, .epsilon = 1e-7, .step = step};
        data->batch.dropout.stream = step;
        CHECK_OK(count_batch(net->session, stats, &data->batch, err));
        CHECK_OK(affect_session_step(net->session, 1, &adam, err));
    }
}

static void save(network *net, const char *name, bool checkpoint) {
    affect_json *metadata = parse("{\"labels\": [\"angry\", \"sad\", \"neutral\"], \"metrics\": "
                                  "{\"accuracy\": 0.5}, \"note\": \"text\"}");
    CHECK_OK(affect_model_save(path_of(name), net->session, metadata, checkpoint, err));
    affect_json_free(metadata);
}

static void test_round_trip(void) {
    network net = make_network(true), other = make_network(false);
    network_data data;
    make_data(&data, net.architecture, 6);
    train(&net, &data, 1, 3);
    save(&net, "model.safetensors", false);
    affect_model *model = NULL;
    CHECK_OK(affect_model_open(&model, path_of("model.safetensors"), err));
    const affect_architecture *architecture = affect_model_architecture(model);
    CHECK_STRING(affect_architecture_name(architecture), "every-layer");
    size_t frames = 0;
    CHECK(affect_sizes_variable(&frames, affect_architecture_sizes(architecture), "frames"));
    CHECK(frames == small_sizes.frames);
    const affect_json *variables =
        affect_json_get(affect_architecture_document(architecture), "variables");
    CHECK(affect_json_get_number(variables, "rate", 0) ==
          0.4); /* the value used, not the default */
    CHECK_STRING(affect_json_string(affect_json_at(affect_model_metadata(model, "labels"), 1), ""),
                 "sad");
    CHECK_STRING(affect_json_string(affect_model_metadata(model, "note"), ""), "text");
    CHECK_STRING(affect_json_string(affect_model_metadata(model, "format"), ""),
                 AFFECT_MODEL_FORMAT);
    CHECK(affect_model_metadata(model, "absent") == NULL);
    CHECK_OK(affect_model_load(model, other.session, err));
    for (size_t i = 0; i < affect_architecture_n_parameters(architecture); i++) {
        float a[4096], b[4096];
        size_t n = affect_shape_count(affect_architecture_parameter(architecture, i)->shape);
        CHECK_OK(affect_session_get_tensor(a, net.session, i, err));
        CHECK_OK(affect_session_get_tensor(b, other.session, i, err));
        CHECK(memcmp(a, b, n * sizeof *a) == 0);
    }
    float want[6 * 3], got[6 * 3];
    CHECK_OK(affect_session_predict(net.session, want, data.batch.inputs, 6, err));
    CHECK_OK(affect_session_predict(other.session, got, data.batch.inputs, 6, err));
    CHECK(memcmp(want, got, sizeof want) == 0);
    affect_model_close(model);
    free_data(&data);
    free_network(&net);
    free_network(&other);
}

/* Stopping after three steps and going on from the checkpoint gives the undisturbed numbers. */
static void test_checkpoint(void) {
    network whole = make_network(true), first = make_network(true), second = make_network(true);
    network_data data;
    make_data(&data, whole.architecture, 6);
    train(&whole, &data, 1, 6);
    train(&first, &data, 1, 3);
    save(&first, "checkpoint.safetensors", true);
    affect_model *model = NULL;
    CHECK_OK(affect_model_open(&model, path_of("checkpoint.safetensors"), err));
    CHECK_OK(affect_model_load(model, second.session, err));
    train(&second, &data, 4, 6);
    affect_session_blocks a = affect_session_blocks_of(whole.session);
    affect_session_blocks b = affect_session_blocks_of(second.session);
    size_t n = affect_architecture_n_trainable(whole.architecture);
    CHECK(memcmp(a.parameters, b.parameters, n * sizeof *a.parameters) == 0);
    CHECK(memcmp(a.adam_m, b.adam_m, n * sizeof *a.adam_m) == 0);
    CHECK(memcmp(a.adam_v, b.adam_v, n * sizeof *a.adam_v) == 0);
    n = affect_architecture_n_statistics(whole.architecture);
    CHECK(n > 0 && memcmp(a.statistics, b.statistics, n * sizeof *a.statistics) == 0);
    affect_model_close(model);
    free_data(&data);
    network inference = make_network(false);
    affect_error err = {0};
    CHECK(affect_model_save(path_of("x"), inference.session, NULL, true, &err) ==
          AFFECT_STATUS_CONFLICT);
    free_network(&inference);
    free_network(&whole);
    free_network(&first);
    free_network(&second);
}

/* Nothing takes the place of a file when a weight is no number. */
static void test_diverged(void) {
    network net = make_network(true);
    affect_error error = {0};
    float bias[64] = {0};
    save(&net, "good.safetensors", true);
    size_t last = affect_architecture_n_parameters(net.architecture) - 1;
    const affect_parameter *p = affect_architecture_parameter(net.architecture, last);
    bias[affect_shape_count(p->shape) - 1] = NAN;
    CHECK_OK(affect_session_set_tensor(net.session, last, bias, err));
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        CHECK(affect_model_save(path_of("good.safetensors"), net.session, NULL, checkpoint,
                                &error) == AFFECT_STATUS_DIVERGED);
        CHECK(strstr(error.message, p->name) != NULL);
    }
    affect_model *model = NULL;
    CHECK_OK(affect_model_open(&model, path_of("good.safetensors"), err));
    affect_model_close(model);
    free_network(&net);
}

/* Opens a file and wants the error to say `message`. */
static void check_refused(const char *path, const char *message) {
    affect_model *model = NULL;
    affect_error err = {0};
    CHECK(affect_model_open(&model, path, &err) != AFFECT_STATUS_OK);
    CHECK(model == NULL);
    CHECK(strstr(err.message, message) != NULL);
    if (!strstr(err.message, message))
        fprintf(stderr, "    got \"%s\", want \"%s\"\n", err.message, message);
}

/* Rewrites the good file with tensors and metadata changed by `spoil`. */
typedef struct {
    affect_safetensor tensors[300];
    size_t n;
    affect_json *metadata;
    float numbers[4096];
} contents;

typedef void spoiler(contents *file);

static affect_safetensor *tensor_named(contents *file, const char *name) {
    for (size_t i = 0; i < file->n; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    abort();
}

static void remove_tensor(contents *file) {
    *tensor_named(file, "audio.conv_1.bias") = file->tensors[file->n - 1];
    file->n--;
}

static void add_tensor(contents *file) {
    file->tensors[file->n++] =
        (affect_safetensor){"audio.extra.kernel", AFFECT_DTYPE_F32, {1, {4}}, file->numbers};
}

static void add_one_moment(contents *file) {
    file->tensors[file->n++] =
        (affect_safetensor){"adam_m.audio.conv_1.bias", AFFECT_DTYPE_F32, {1, {4}}, file->numbers};
}

static void add_moment_of_statistic(contents *file) {
    file->tensors[file->n++] = (affect_safetensor){
        "adam_m.audio.bn_1.moving_mean", AFFECT_DTYPE_F32, {1, {4}}, file->numbers};
}

static void change_shape(contents *file) {
    affect_safetensor *tensor = tensor_named(file, "audio.conv_1.kernel"); /* (3, 1, 4) */
    tensor->shape = (affect_shape){3, {1, 3, 4}};
}

static void change_dtype(contents *file) {
    tensor_named(file, "audio.conv_1.kernel")->dtype = AFFECT_DTYPE_I32;
}

static void put_nan(contents *file) {
    file->numbers[3] = NAN;
    tensor_named(file, "audio.conv_1.bias")->data = file->numbers;
}

static void set_metadata(contents *file, const char *name, const char *text) {
    affect_json_free(affect_json_detach(file->metadata, name));
    if (text) affect_json_set_string(file->metadata, name, text);
}

static void no_format(contents *file) {
    set_metadata(file, "format", NULL);
}
static void other_format(contents *file) {
    set_metadata(file, "format", "\"affect-model-9\"");
}
static void no_architecture(contents *file) {
    set_metadata(file, "architecture", NULL);
}
static void broken_json(contents *file) {
    set_metadata(file, "architecture", "{\"a\": ");
}
static void no_sizes(contents *file) {
    set_metadata(file, "sizes", "{}");
}
static void unknown_size(contents *file) {
    set_metadata(file, "sizes", "{\"rows\": 3}");
}
static void huge_size(contents *file) {
    set_metadata(file, "sizes",
                 "{\"frames\":1048576,\"mels\":1048576,\"parts\":7,\"columns\":3,"
                 "\"classes\":3}");
}
static void negative_size(contents *file) {
    set_metadata(file, "sizes", "{\"frames\":-1,\"classes\":3}");
}

static void rewrite(const char *name, spoiler *spoil) {
    static contents file;
    affect_safetensors *good = NULL;
    memset(&file, 0, sizeof file);
    CHECK_OK(affect_safetensors_open(&good, path_of("model.safetensors"), err));
    file.n = affect_safetensors_count(good);
    for (size_t i = 0; i < file.n; i++) file.tensors[i] = *affect_safetensors_at(good, i);
    file.metadata = affect_json_copy(affect_safetensors_all_metadata(good));
    spoil(&file);
    CHECK_OK(affect_safetensors_write(path_of(name), file.tensors, file.n, file.metadata, err));
    affect_json_free(file.metadata);
    affect_safetensors_close(good);
}

static void test_hostile(void) {
    static const struct {
        spoiler *spoil;
        const char *message;
    } rows[] = {
        {remove_tensor, "no tensor \"audio.conv_1.bias\""},
        {add_tensor, "tensor \"audio.extra.kernel\" is not one of its architecture"},
        {add_one_moment, "no tensor \"adam_m.audio.conv_1.kernel\""},
        {add_moment_of_statistic, "\"adam_m.audio.bn_1.moving_mean\" is not one"},
        {change_shape, "tensor \"audio.conv_1.kernel\" is F32 (1, 3, 4) (need F32 (3, 1, 4))"},
        {change_dtype, "tensor \"audio.conv_1.kernel\" is I32"},
        {put_nan, "tensor audio.conv_1.bias: number 3 is not finite"},
        {no_format, "format \"\" (need affect-model-1)"},
        {other_format, "format \"affect-model-9\" (need affect-model-1)"},
        {no_architecture, "architecture: is a nothing"},
        {broken_json, "metadata architecture"},
        {no_sizes, "0 classes"},
        {unknown_size, "rows: unknown field"},
        {huge_size, "inputs.audio: "},
        {negative_size, "frames: is not an integer of 0..1048576"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rewrite("hostile.safetensors", rows[i].spoil);
        check_refused(path_of("hostile.safetensors"), rows[i].message);
    }
    check_refused(path_of("absent.safetensors"), "absent.safetensors");
}

/* Any cut, and any single changed byte of the header, is refused or opens to a valid model. */
static void test_damaged_bytes(void) {
    char *data = NULL;
    size_t size = 0;
    CHECK_OK(affect_file_read(&data, &size, path_of("model.safetensors"), 1 << 24, err));
    uint64_t header = 0;
    memcpy(&header, data, sizeof header);
    affect_error err = {0};
    affect_model *model = NULL;
    for (size_t cut = 0; cut < size; cut += size / 60 + 1) {
        FILE *file = fopen(path_of("cut.safetensors"), "wb");
        fwrite(data, 1, cut, file);
        fclose(file);
        CHECK(affect_model_open(&model, path_of("cut.safetensors"), &err) != AFFECT_STATUS_OK);
    }
    size_t n_opened = 0;
    for (size_t i = 0; i < 400; i++) {
        affect_random_key key = {1, 2};
        size_t at = affect_random_word(key, 2 * i) % (8 + header);
        char kept = data[at];
        data[at] = (char)affect_random_word(key, 2 * i + 1);
        FILE *file = fopen(path_of("cut.safetensors"), "wb");
        fwrite(data, 1, size, file);
        fclose(file);
        data[at] = kept;
        if (affect_model_open(&model, path_of("cut.safetensors"), &err) != AFFECT_STATUS_OK)
            continue;
        n_opened++; /* a changed digit of a rate, say */
        affect_model_close(model);
        model = NULL;
    }
    CHECK(n_opened < 200);
    free(data);
}

static void test_other_architecture(void) {
    network net = make_network(true);
    affect_architecture *other = make_architecture(
        every_layer, NULL,
        (network_sizes){.frames = 4, .mels = 13, .parts = 7, .columns = 3, .classes = 3});
    affect_session *session = NULL;
    affect_model *model = NULL;
    affect_session_options options = {.max_batch = 1};
    CHECK_OK(affect_session_create(&session, net.backend, other, options, err));
    CHECK_OK(affect_model_open(&model, path_of("model.safetensors"), err));
    affect_error err = {0};
    CHECK(affect_model_load(model, session, &err) == AFFECT_STATUS_SHAPE);
    CHECK(strstr(err.message, "audio.dense_1.kernel") != NULL);
    affect_model_close(model);
    affect_session_free(session);
    affect_architecture_free(other);
    free_network(&net);
}

int main(void) {
    snprintf(directory, sizeof directory, "/tmp/test_model_file.%d", (int)getpid());
    CHECK_OK(affect_directory_make(directory, err));
    TEST_RUN(test_round_trip);
    TEST_RUN(test_checkpoint);
    TEST_RUN(test_diverged);
    TEST_RUN(test_hostile);
    TEST_RUN(test_damaged_bytes);
    TEST_RUN(test_other_architecture);
    CHECK_OK(affect_directory_remove(directory, err));
    return TEST_END();
}
