/* Architectures: the study's parameter counts and tensors, variables, subsets of branches, and a
 * table of wrong documents with what the error must say and where. */
#include "tests/engine/model/network.h"

static const network_sizes paper_sizes = {
    .frames = 501, .mels = 128, .parts = 200, .columns = 189, .classes = 4};

static affect_architecture *make_preset(const char *name) {
    affect_architecture *architecture = NULL;
    affect_json *document = NULL;
    CHECK_OK(affect_architecture_preset(&document, name, err));
    CHECK_OK(create_architecture(&architecture, document, NULL, paper_sizes, err));
    affect_json_free(document);
    return architecture;
}

static void test_counts(void) {
    static const struct {
        const char *name;
        size_t n_tensors, n_trainable, n_statistics;
    } rows[] = {
        {"paper-base", 40, 1127780, 0},
        {"paper-optimized", 64, 1128676, 896},
        {"audio-only", 26, 786212, 0},
        {"motion-only", 40, 342468, 896},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_architecture *a = make_preset(rows[i].name);
        CHECK_STRING(affect_architecture_name(a), rows[i].name);
        CHECK(affect_architecture_n_parameters(a) == rows[i].n_tensors);
        CHECK(affect_architecture_n_trainable(a) == rows[i].n_trainable);
        CHECK(affect_architecture_n_statistics(a) == rows[i].n_statistics);
        affect_architecture_free(a);
    }
}

static const affect_parameter *find(const affect_architecture *a, const char *name) {
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++)
        if (strcmp(affect_architecture_parameter(a, i)->name, name) == 0)
            return affect_architecture_parameter(a, i);
    return NULL;
}

static void test_tensors(void) {
    static const struct {
        const char *name;
        affect_shape shape;
        bool trainable;
        double l2;
    } rows[] = {
        {"audio.conv_1.kernel", {3, {3, 1, 64}}, true, 0.01},
        {"audio.conv_1.bias", {1, {64}}, true, 0},
        {"audio.conv_5.kernel", {3, {3, 32, 64}}, true, 0.01},
        {"audio.bilstm_1.forward_kernel", {2, {128, 512}}, true, 0},
        {"audio.bilstm_1.forward_recurrent_kernel", {2, {128, 512}}, true, 0},
        {"audio.bilstm_1.forward_bias", {1, {512}}, true, 0},
        {"audio.bilstm_2.backward_kernel", {2, {256, 512}}, true, 0},
        {"audio.bilstm_2.backward_recurrent_kernel", {2, {128, 512}}, true, 0},
        {"audio.bilstm_2.backward_bias", {1, {512}}, true, 0},
        {"audio.dense.kernel", {2, {256, 256}}, true, 0},
        {"motion.conv_1.kernel", {3, {3, 189, 128}}, true, 0.001},
        {"motion.bn_1.gamma", {1, {128}}, true, 0},
        {"motion.bn_1.beta", {1, {128}}, true, 0},
        {"motion.bn_1.moving_mean", {1, {128}}, false, 0},
        {"motion.bn_6.moving_variance", {1, {32}}, false, 0},
        {"motion.dense.kernel", {2, {672, 256}}, true, 0},
        {"fusion.output.kernel", {2, {512, 4}}, true, 0},
        {"fusion.output.bias", {1, {4}}, true, 0},
    };
    affect_architecture *a = make_preset("paper-optimized");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const affect_parameter *p = find(a, rows[i].name);
        CHECK(p != NULL);
        if (!p) continue;
        CHECK(affect_shape_equal(p->shape, rows[i].shape));
        CHECK(p->trainable == rows[i].trainable);
        CHECK(p->l2 == rows[i].l2);
    }
    /* Offsets follow one another without gaps, in both blocks. */
    size_t next[2] = {0};
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        CHECK(p->offset == next[p->trainable]);
        next[p->trainable] += affect_shape_count(p->shape);
    }
    affect_architecture_free(a);
}

static void test_variables(void) {
    affect_architecture *a =
        make_architecture(every_layer, "{\"rate\": 0.5, \"l2\": 0.25}", small_sizes);
    CHECK(find(a, "audio.conv_1.kernel")->l2 == 0.25);
    const affect_json *values = affect_json_get(affect_architecture_document(a), "variables");
    CHECK(affect_json_get_number(values, "rate", 0) == 0.5); /* what a model file will store */
    affect_architecture_free(a);
}

/* A preset's variables switch its layers: all on, the base network is the optimised one. */
static void test_conditions(void) {
    affect_json *document = NULL,
                *variables = parse("{\"batch_norm_motion\": true, \"dropout\": 0.3}");
    affect_architecture *a = NULL;
    CHECK_OK(affect_architecture_preset(&document, "paper-base", err));
    CHECK_OK(create_architecture(&a, document, variables, paper_sizes, err));
    CHECK(affect_architecture_n_trainable(a) == 1128676 && find(a, "motion.bn_6.gamma"));
    CHECK(affect_architecture_n_statistics(a) == 896 && !find(a, "audio.bn_1.gamma"));
    affect_json *layers = affect_architecture_layers(a);
    CHECK(affect_json_get(layers, "motion.dropout") && affect_json_get(layers, "audio.dropout"));
    const affect_json *bn = affect_json_get(layers, "motion.bn_1");
    CHECK(affect_json_get_number(bn, "epsilon", 0) == 1e-3);
    CHECK_STRING(affect_json_get_string(affect_json_get(layers, "audio.bilstm_1"), "gates", ""),
                 "i f c o");
    affect_json_free(layers);
    affect_architecture_free(a);
    affect_json_free(variables);
    variables = parse("{\"batch_norm_audio\": true}");
    CHECK_OK(create_architecture(&a, document, variables, paper_sizes, err));
    CHECK(find(a, "audio.bn_5.moving_mean") && !find(a, "motion.bn_1.gamma"));
    CHECK(affect_architecture_n_statistics(a) == 2 * (64 + 128 + 64 + 32 + 64));
    affect_architecture_free(a);
    affect_json_free(variables);
    affect_json_free(document);
}

/* Branches that the fusion leaves out are not built, and their inputs are not asked for. */
static void test_subset_of_branches(void) {
    affect_json *document = parse(every_layer);
    affect_json *fusion = affect_json_get(document, "fusion");
    affect_json_free(affect_json_detach(fusion, "branches"));
    affect_json_free(affect_json_detach(fusion, "layers"));
    affect_json_set(fusion, "branches", parse("[\"motion\"]"));
    affect_json_set(fusion, "layers",
                    parse("[{\"type\": \"dense\", \"name\": \"output\", \"units\": \"$classes\","
                          " \"activation\": \"softmax\"}]"));
    network_sizes sizes = {.parts = 7, .columns = 3, .classes = 3}; /* no frames, no mels */
    affect_architecture *a = NULL;
    CHECK_OK(create_architecture(&a, document, NULL, sizes, err));
    CHECK(affect_architecture_n_inputs(a) == 1);
    CHECK_STRING(affect_architecture_input(a, 0)->name, "motion");
    CHECK(find(a, "audio.conv_1.kernel") == NULL);
    affect_architecture_free(a);
    affect_json_free(document);
}

/* A document around one line of layers in the branch "motion", input (7, 3). */
static affect_status try_layers(const char *layers, affect_error *err) {
    static const char before[] =
        "{\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": [7, 3]}},"
        " \"branches\": {\"motion\": {\"input\": \"motion\", \"layers\": [";
    static const char after[] = "]}}, \"fusion\": {\"branches\": [\"motion\"], \"layers\":"
                                " [{\"type\": \"dense\", \"name\": \"output\", \"units\": 3, "
                                "\"activation\": \"softmax\"}]}}";
    char text[4096];
    snprintf(text, sizeof text, "%s%s%s", before, layers, after);
    affect_architecture *a = NULL;
    affect_json *document = parse(text);
    affect_status status = create_architecture(&a, document, NULL, small_sizes, err);
    affect_json_free(document);
    affect_architecture_free(a);
    return status;
}

#define LAYER(members) "{\"name\": \"x_1\", " members "}"
#define FLAT           ", {\"type\": \"flatten\", \"name\": \"flatten\"}"

static void test_wrong_layers(void) {
    static const struct {
        const char *layers;
        affect_status status;
        const char *message, *pointer;
    } rows[] = {
        {LAYER("\"type\": \"conv3d\""), AFFECT_STATUS_INVALID,
         "motion.x_1: layer type \"conv3d\" is unknown", "/branches/motion/layers/0/type"},
        {"{\"type\": \"flatten\"}", AFFECT_STATUS_INVALID, "has no name",
         "/branches/motion/layers/0"},
        {"{\"type\": \"flatten\", \"name\": \"Flat\"}", AFFECT_STATUS_INVALID, "[a-z][a-z0-9_]*",
         "/branches/motion/layers/0/name"},
        {"{\"type\": \"flatten\", \"name\": \"a.b\"}", AFFECT_STATUS_INVALID, "[a-z][a-z0-9_]*",
         "/branches/motion/layers/0/name"},
        {"{\"type\": \"flatten\", \"name\": "
         "\"a123456789012345678901234567890123456789012\"}",
         AFFECT_STATUS_INVALID, "longer than 40", "/branches/motion/layers/0/name"},
        {LAYER("\"type\": \"flatten\"") ", " LAYER("\"type\": \"flatten\""), AFFECT_STATUS_INVALID,
         "motion.x_1: two layers of this name", "/branches/motion/layers/1"},
        {LAYER("\"type\": \"flatten\", \"if\": \"yes\""), AFFECT_STATUS_INVALID,
         "motion: layer 0: if is a string", "/branches/motion/layers/0"},
        {LAYER("\"type\": \"flatten\", \"if\": false"), AFFECT_STATUS_INVALID, "leaves no layer",
         "/branches/motion"},
        {LAYER("\"type\": \"conv1d\", \"kernel_size\": 3"), AFFECT_STATUS_INVALID,
         "motion.x_1: filters is missing", "/branches/motion/layers/0"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 4, \"kernel_size\": 8"), AFFECT_STATUS_SHAPE,
         "motion.x_1: kernel_size 8 is longer than its input (7, 3)", "/branches/motion/layers/0"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 0, \"kernel_size\": 3"), AFFECT_STATUS_INVALID,
         "motion.x_1: filters: 0 is out of bounds", "/branches/motion/layers/0/filters"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 2.5, \"kernel_size\": 3"), AFFECT_STATUS_INVALID,
         "motion.x_1: filters: 2.5 is not an integer", "/branches/motion/layers/0/filters"},
        {LAYER("\"type\": \"conv1d\", \"filters\": \"4\", \"kernel_size\": 3"),
         AFFECT_STATUS_INVALID, "motion.x_1: filters: is a string",
         "/branches/motion/layers/0/filters"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 4, \"kernel_size\": 3, \"dilation\": 2"),
         AFFECT_STATUS_INVALID, "motion.x_1: dilation: unknown field",
         "/branches/motion/layers/0/dilation"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 4, \"kernel_size\": 3, \"padding\": \"causal\""),
         AFFECT_STATUS_INVALID, "\"causal\" is not one of: valid, same",
         "/branches/motion/layers/0/padding"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 4, \"kernel_size\": 3, "
               "\"activation\": \"softmax\""),
         AFFECT_STATUS_INVALID, "motion.x_1: activation", "/branches/motion/layers/0/activation"},
        {LAYER("\"type\": \"conv1d\", \"filters\": 1000000, \"kernel_size\": 7"), AFFECT_STATUS_OK,
         "", ""}, /* 21 million: allowed; the next is not */
        {LAYER("\"type\": \"conv1d\", \"filters\": 1000000, \"kernel_size\": 7") FLAT
         ", {\"type\": \"dense\", \"name\": \"dense\", \"units\": 1000000}",
         AFFECT_STATUS_TOO_LARGE, "motion.dense: kernel brings the network to",
         "/branches/motion/layers/2"},
        {LAYER("\"type\": \"dense\", \"units\": 1048577"), AFFECT_STATUS_INVALID,
         "motion.x_1: units: 1048577 is out of bounds", "/branches/motion/layers/0/units"},
        {LAYER("\"type\": \"dense\", \"units\": 1e300"), AFFECT_STATUS_INVALID, "motion.x_1: units",
         "/branches/motion/layers/0/units"},
        {LAYER("\"type\": \"dense\", \"units\": 4, \"activation\": \"softmax\"") FLAT,
         AFFECT_STATUS_INVALID, "motion.x_1: softmax before the last layer", "/fusion/layers"},
        {LAYER("\"type\": \"maxpool1d\", \"pool_size\": 9"), AFFECT_STATUS_SHAPE,
         "motion.x_1: pool_size 9 is longer than its input (7, 3)", "/branches/motion/layers/0"},
        {LAYER("\"type\": \"dropout\""), AFFECT_STATUS_INVALID, "motion.x_1: rate is missing",
         "/branches/motion/layers/0"},
        {LAYER("\"type\": \"dropout\", \"rate\": 1"), AFFECT_STATUS_INVALID,
         "motion.x_1: rate: 1 is out of bounds", "/branches/motion/layers/0/rate"},
        {LAYER("\"type\": \"batch_norm\", \"momentum\": -1"), AFFECT_STATUS_INVALID,
         "motion.x_1: momentum", "/branches/motion/layers/0/momentum"},
        {LAYER("\"type\": \"activation\""), AFFECT_STATUS_INVALID,
         "motion.x_1: activation is missing", "/branches/motion/layers/0"},
        {LAYER("\"type\": \"lstm\", \"units\": 4, \"go_backwards\": true, "
               "\"return_sequences\": true"),
         AFFECT_STATUS_UNSUPPORTED, "motion.x_1: go_backwards with return_sequences",
         "/branches/motion/layers/0"},
        {"{\"type\": \"flatten\", \"name\": \"flatten\"}, "
         "{\"type\": \"lstm\", \"name\": \"x_1\", \"units\": 4}",
         AFFECT_STATUS_SHAPE, "motion.x_1: needs an input (steps, features), has (21)",
         "/branches/motion/layers/1"},
        {LAYER("\"type\": \"lstm\", \"units\": 4000"), AFFECT_STATUS_INVALID,
         "motion.x_1: units: 4000 is out of bounds", "/branches/motion/layers/0/units"},
        {"{\"type\": \"bidirectional\"}", AFFECT_STATUS_INVALID, "bidirectional holds no layer",
         "/branches/motion/layers/0"},
        {"{\"type\": \"bidirectional\", \"layer\": " LAYER("\"type\": \"flatten\"") "}",
         AFFECT_STATUS_INVALID, "motion.x_1: flatten inside bidirectional",
         "/branches/motion/layers/0/layer"},
        {"{\"type\": \"bidirectional\", \"name\": \"b\", \"layer\": " LAYER(
             "\"type\": \"lstm\", \"units\": 2") "}",
         AFFECT_STATUS_INVALID, "motion.x_1: bidirectional: unknown field \"name\"",
         "/branches/motion/layers/0"},
        {"{\"type\": \"time_distributed\", \"layer\": " LAYER("\"type\": \"batch_norm\"") "}",
         AFFECT_STATUS_UNSUPPORTED, "motion.x_1: batch_norm inside time_distributed",
         "/branches/motion/layers/0/layer"},
        {"{\"type\": \"time_distributed\", \"layer\": " LAYER(
             "\"type\": \"conv1d\", \"filters\": 4, \"kernel_size\": 3") "}",
         AFFECT_STATUS_SHAPE, "motion.x_1: needs an input (length, channels), has (3)",
         "/branches/motion/layers/0/layer"},
        {"{\"type\": \"time_distributed\", \"layer\": {\"type\": \"nothing\", \"name\": \"x\"}}",
         AFFECT_STATUS_INVALID, "motion.x: time_distributed around layer type \"nothing\"",
         "/branches/motion/layers/0"},
        {"7", AFFECT_STATUS_INVALID, "layer 0 is a number", "/branches/motion/layers/0"},
        {"", AFFECT_STATUS_INVALID, "motion: needs \"layers\"", "/branches/motion"},
        {LAYER("\"type\": \"conv1d\", \"filters\": \"$width\", \"kernel_size\": 3"),
         AFFECT_STATUS_INVALID, "variable \"$width\" is unknown",
         "/branches/motion/layers/0/filters"},
        {LAYER("\"type\": \"concatenate\""), AFFECT_STATUS_INVALID, "motion.x_1: has one input",
         "/branches/motion/layers/0"},
        {"{\"type\": \"activation\", \"name\": \"x_1\", \"activation\": \"tanh\"}",
         AFFECT_STATUS_SHAPE, "fusion.output: the last layer makes (7, 3), need (3)",
         "/fusion/layers"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_error err = {0};
        bool flat_end = rows[i].status == AFFECT_STATUS_OK;
        char layers[2048];
        snprintf(layers, sizeof layers, "%s%s", rows[i].layers, flat_end ? FLAT : "");
        affect_status status = try_layers(layers, &err);
        CHECK(status == rows[i].status);
        CHECK(strstr(err.message, rows[i].message) != NULL);
        CHECK_STRING(err.pointer, rows[i].pointer);
        if (status != rows[i].status || !strstr(err.message, rows[i].message))
            fprintf(stderr, "    row %zu: %s: %s\n", i, affect_status_name(status), err.message);
    }
}

static void test_wrong_documents(void) {
#define MOTION_INPUT "\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": [7, 3]}}"
#define MOTION_BRANCH                                                                              \
    "\"branches\": {\"motion\": {\"input\": \"motion\", \"layers\":"                               \
    " [{\"type\": \"flatten\", \"name\": \"flatten\"}]}}"
#define FUSION                                                                                     \
    "\"fusion\": {\"branches\": [\"motion\"], \"layers\": [{\"type\": \"dense\","                  \
    " \"name\": \"output\", \"units\": 3, \"activation\": \"softmax\"}]}"
    static const struct {
        const char *document, *message, *pointer;
    } rows[] = {
        {"[]", "need an object", ""},
        {"{}", "fusion: is missing", ""},
        {"{\"extra\": 1}", "extra: unknown field", "/extra"},
        {"{\"variables\": [1], " MOTION_INPUT ", " MOTION_BRANCH ", " FUSION "}",
         "variables: is a array", "/variables"},
        {"{\"variables\": {\"frames\": 1}, " MOTION_INPUT ", " MOTION_BRANCH ", " FUSION "}",
         "variables: frames is a size", "/variables/frames"},
        {"{\"variables\": {\"a\": \"$b\"}, " MOTION_INPUT ", " MOTION_BRANCH ", " FUSION "}",
         "variables: a is neither", "/variables/a"},
        {"{" MOTION_INPUT ", " FUSION "}", "branches: need an object", "/branches"},
        {"{" MOTION_BRANCH ", " FUSION "}", "motion: input \"motion\" is not among the inputs",
         "/branches/motion/input"},
        {"{\"inputs\": {\"motion\": {\"feature\": \"text\", \"shape\": [7, 3]}}, " MOTION_BRANCH
         ", " FUSION "}",
         "inputs.motion: feature \"text\" is not known (known: mel, motion",
         "/inputs/motion/feature"},
        {"{\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": [7, 4]}}, " MOTION_BRANCH
         ", " FUSION "}",
         "the shape (parts, columns) = (7, 3)", "/inputs/motion/shape"},
        {"{\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": [7, -3]}}, " MOTION_BRANCH
         ", " FUSION "}",
         "inputs.motion: shape needs", "/inputs/motion/shape"},
        {"{\"inputs\": {\"motion\": {\"feature\": \"motion\", \"shape\": 7}}, " MOTION_BRANCH
         ", " FUSION "}",
         "inputs.motion: shape is a number", "/inputs/motion/shape"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH ", \"fusion\": {\"branches\": [\"audio\"]}}",
         "fusion: there is no branch \"audio\"", "/fusion/branches/0"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH
         ", \"fusion\": {\"branches\": [\"motion\", \"motion\"]}}",
         "named twice", "/fusion/branches/1"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH ", \"fusion\": {\"branches\": []}}",
         "fusion: branches needs 1..8", "/fusion/branches"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH ", \"fusion\": {\"branches\": [\"motion\"]}}",
         "fusion: needs \"layers\"", "/fusion"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH
         ", \"fusion\": {\"branches\": [\"motion\"], \"layers\": [{\"type\": \"dense\","
         " \"name\": \"output\", \"units\": 3}]}}",
         "fusion.output: the last layer must end in softmax", "/fusion/layers"},
        {"{" MOTION_INPUT ", " MOTION_BRANCH
         ", \"fusion\": {\"branches\": [\"motion\"], \"layers\": [{\"type\": \"dense\","
         " \"name\": \"output\", \"units\": 5, \"activation\": \"softmax\"}]}}",
         "makes (5), need (3)", "/fusion/layers"},
        {"{" MOTION_INPUT ", \"branches\": {\"a\": {\"input\": \"motion\", \"layers\": [{\"type\":"
         " \"flatten\", \"name\": \"f\"}]}, \"b\": {\"input\": \"motion\", \"layers\": [{\"type\":"
         " \"flatten\", \"name\": \"f\"}]}}, \"fusion\": {\"branches\": [\"a\", \"b\"], \"layers\":"
         " [{\"type\": \"dense\", \"name\": \"output\", \"units\": 3}]}}",
         "fusion: a dense reads one input, not 2", "/fusion/layers/0"},
        {"{" MOTION_INPUT ", \"branches\": {\"a\": {\"input\": \"motion\", \"layers\": [{\"type\":"
         " \"flatten\", \"name\": \"f\"}]}, \"b\": {\"input\": \"motion\", \"layers\": [{\"type\":"
         " \"dense\", \"name\": \"d\", \"units\": 2}]}}, \"fusion\": {\"branches\": [\"a\", \"b\"],"
         " \"layers\": [{\"type\": \"concatenate\", \"name\": \"join\"}]}}",
         "fusion.join: inputs of shapes (21) and (7, 2)", "/fusion/layers/0"},
        {"{" MOTION_INPUT ", \"branches\": {\"Bad\": 1}, " FUSION "}", "branches: name \"Bad\"",
         "/branches"},
        {"{" MOTION_INPUT ", \"branches\": {\"fusion\": 1}, " FUSION "}", "branches: name",
         "/branches"},
        {"{" MOTION_INPUT ", \"branches\": {\"motion\": 1}, " FUSION "}", "branches.motion",
         "/branches/motion"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_error err = {0};
        affect_architecture *a = NULL;
        affect_json *document = parse(rows[i].document);
        affect_status status = create_architecture(&a, document, NULL, small_sizes, &err);
        CHECK(status != AFFECT_STATUS_OK && a == NULL);
        CHECK(strstr(err.message, rows[i].message) != NULL);
        CHECK_STRING(err.pointer, rows[i].pointer);
        if (!strstr(err.message, rows[i].message))
            fprintf(stderr, "    row %zu: %s: %s\n", i, affect_status_name(status), err.message);
        affect_json_free(document);
        affect_architecture_free(a);
    }
}

/* What a layer may name as its inputs. */
static void test_wrong_inputs(void) {
    static const struct {
        const char *layers;
        affect_status status;
        const char *message, *pointer;
    } rows[] = {
        {"{\"type\":\"dense\",\"name\":\"a\",\"units\":3,\"inputs\":[\"motion\"]}, "
         "{\"type\":\"flatten\",\"name\":\"f\",\"inputs\":[\"b\"]}",
         AFFECT_STATUS_INVALID,
         "motion: inputs: no \"b\" (a layer before this one, or the branch's input)",
         "/branches/motion/layers/1"},
        {"{\"type\":\"flatten\",\"name\":\"f\",\"inputs\":[\"f\"]}", AFFECT_STATUS_INVALID,
         "motion: inputs: no \"f\"", "/branches/motion/layers/0"},
        {"{\"type\":\"flatten\",\"name\":\"f\",\"inputs\":[]}", AFFECT_STATUS_INVALID,
         "motion: inputs needs 1..8 names", "/branches/motion/layers/0"},
        {"{\"type\":\"flatten\",\"name\":\"f\",\"inputs\":\"motion\"}", AFFECT_STATUS_INVALID,
         "motion: inputs needs 1..8 names", "/branches/motion/layers/0"},
        {"{\"type\":\"add\",\"name\":\"f\",\"inputs\":[\"motion\",\"motion\"]}",
         AFFECT_STATUS_INVALID, "inputs: \"motion\" is named twice", "/branches/motion/layers/0"},
        {"{\"type\":\"add\",\"name\":\"f\"}", AFFECT_STATUS_INVALID, "motion.f: has one input",
         "/branches/motion/layers/0"},
        {"{\"type\":\"dense\",\"name\":\"a\",\"units\":3}, "
         "{\"type\":\"dense\",\"name\":\"b\",\"units\":2}, "
         "{\"type\":\"add\",\"name\":\"f\",\"inputs\":[\"a\",\"b\"]}",
         AFFECT_STATUS_SHAPE, "motion.f: inputs of shapes (7, 3) and (7, 2) (need equal ones)",
         "/branches/motion/layers/2"},
        {"{\"type\":\"dense\",\"name\":\"a\",\"units\":3}, "
         "{\"type\":\"flatten\",\"name\":\"f\",\"inputs\":[\"a\",\"motion\"]}",
         AFFECT_STATUS_INVALID, "motion: a flatten reads one input, not 2",
         "/branches/motion/layers/1"},
        {"{\"type\":\"time_distributed\",\"layer\":{\"type\":\"flatten\",\"name\":\"f\"},"
         "\"inputs\":[\"motion\",\"motion\"]}",
         AFFECT_STATUS_INVALID, "is named twice", "/branches/motion/layers/0"},
        {"{\"type\":\"conv2d\",\"name\":\"f\",\"filters\":2,\"kernel_size\":3}",
         AFFECT_STATUS_SHAPE, "motion.f: needs an input (height, width, channels), has (7, 3)",
         "/branches/motion/layers/0"},
        {"{\"type\":\"reshape\",\"name\":\"r\",\"target_shape\":[7,3,1]}, "
         "{\"type\":\"conv2d\",\"name\":\"f\",\"filters\":2}",
         AFFECT_STATUS_INVALID, "motion.f: kernel_size is missing", "/branches/motion/layers/1"},
        {"{\"type\":\"reshape\",\"name\":\"r\",\"target_shape\":[7,3,1]}, "
         "{\"type\":\"conv2d\",\"name\":\"f\",\"filters\":2,\"kernel_size\":[2,4]}",
         AFFECT_STATUS_SHAPE, "motion.f: kernel_size 4 is longer than its input (3, 1)",
         "/branches/motion/layers/1"},
        {"{\"type\":\"reshape\",\"name\":\"r\",\"target_shape\":[7,3,1]}, "
         "{\"type\":\"max_pooling2d\",\"name\":\"f\",\"pool_size\":[2]}",
         AFFECT_STATUS_INVALID, "motion.f: pool_size: need a size", "/branches/motion/layers/1"},
        {"{\"type\":\"reshape\",\"name\":\"f\",\"target_shape\":[4,-1]}", AFFECT_STATUS_SHAPE,
         "motion.f: target_shape does not hold the input's 21 numbers",
         "/branches/motion/layers/0"},
        {"{\"type\":\"reshape\",\"name\":\"f\",\"target_shape\":[-1,-1]}", AFFECT_STATUS_INVALID,
         "motion.f: target_shape: sizes of", "/branches/motion/layers/0"},
        {"{\"type\":\"embedding\",\"name\":\"e\",\"output_dim\":4}", AFFECT_STATUS_INVALID,
         "motion.e: input_dim is missing", "/branches/motion/layers/0"},
        {"{\"type\":\"embedding\",\"name\":\"e\",\"input_dim\":4}", AFFECT_STATUS_INVALID,
         "motion.e: output_dim is missing", "/branches/motion/layers/0"},
        {"{\"type\":\"embedding\",\"name\":\"e\",\"input_dim\":4,\"output_dim\":2}",
         AFFECT_STATUS_SHAPE, "motion.e: needs one id a step, (steps) or (steps, 1), has (7, 3)",
         "/branches/motion/layers/0"},
        {"{\"type\":\"flatten\",\"name\":\"f\"}, "
         "{\"type\":\"embedding\",\"name\":\"e\",\"input_dim\":4,\"output_dim\":2}",
         AFFECT_STATUS_INVALID, "motion.e: an embedding reads ids of an input, no other layer's",
         "/branches/motion/layers/1"},
        {"{\"type\":\"multi_head_attention\",\"name\":\"a\",\"key_dim\":4}", AFFECT_STATUS_INVALID,
         "motion.a: num_heads is missing", "/branches/motion/layers/0"},
        {"{\"type\":\"multi_head_attention\",\"name\":\"a\",\"num_heads\":4}",
         AFFECT_STATUS_INVALID, "motion.a: key_dim is missing", "/branches/motion/layers/0"},
        {"{\"type\":\"flatten\",\"name\":\"f\"}, {\"type\":\"multi_head_attention\","
         "\"name\":\"a\",\"num_heads\":4,\"key_dim\":2}",
         AFFECT_STATUS_SHAPE, "motion.a: needs an input (steps, channels), has (21)",
         "/branches/motion/layers/1"},
        {"{\"type\":\"flatten\",\"name\":\"g\"}, {\"type\":\"attention_pooling\",\"name\":\"f\"}",
         AFFECT_STATUS_SHAPE, "motion.f: needs an input (steps, channels), has (21)",
         "/branches/motion/layers/1"},
        {"{\"type\":\"flatten\",\"name\":\"g\"}, "
         "{\"type\":\"global_average_pooling1d\",\"name\":\"f\"}",
         AFFECT_STATUS_SHAPE, "motion.f: needs an input (steps, channels), has (21)",
         "/branches/motion/layers/1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_error error = {0};
        CHECK(try_layers(rows[i].layers, &error) == rows[i].status);
        CHECK(strstr(error.message, rows[i].message) != NULL);
        CHECK_STRING(error.pointer, rows[i].pointer);
        if (!strstr(error.message, rows[i].message)) fprintf(stderr, "    %s\n", error.message);
    }
    affect_error error = {0};
    CHECK(try_layers("{\"type\": \"dense\", \"name\": \"a\", \"units\": 3},"
                     " {\"type\": \"flatten\", \"name\": \"f\", \"inputs\": [\"motion\"]}",
                     &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.message, "motion.a: no layer reads its output");
}

static void test_too_many_layers(void) {
    affect_buffer layers = {0};
    for (int i = 0; i < 300; i++)
        affect_buffer_printf(&layers, "%s{\"type\": \"dropout\", \"name\": \"d_%d\", \"rate\": 0}",
                             i ? "," : "", i);
    affect_buffer text = {0};
    affect_buffer_printf(&text,
                         "{" MOTION_INPUT ", \"branches\": {\"motion\": {\"input\": "
                         "\"motion\", \"layers\": [%s]}}, " FUSION "}",
                         affect_buffer_string(&layers));
    affect_error err = {0};
    affect_architecture *a = NULL;
    affect_json *document = parse(affect_buffer_string(&text));
    CHECK(create_architecture(&a, document, NULL, small_sizes, &err) == AFFECT_STATUS_TOO_LARGE);
    CHECK(strstr(err.message, "more than 256 layers") != NULL);
    CHECK_STRING(err.pointer, "/branches/motion/layers/256");
    affect_json_free(document);
    affect_buffer_free(&layers);
    affect_buffer_free(&text);
}

static void test_wrong_overrides(void) {
    affect_error err = {0};
    affect_architecture *a = NULL;
    affect_json *document = parse(every_layer), *values = parse("{\"rates\": 0.5}");
    CHECK(create_architecture(&a, document, values, small_sizes, &err) == AFFECT_STATUS_INVALID);
    CHECK(strstr(err.message, "has no variable \"rates\"") != NULL);
    CHECK_STRING(err.pointer, "/variables/rates");
    affect_json_free(document);
    affect_json_free(values);
    CHECK(affect_architecture_preset(&document, "paper-best", &err) == AFFECT_STATUS_NOT_FOUND);
    CHECK(strstr(err.message, "paper-optimized") != NULL); /* names what there is */
}

/* A mask must reach an lstm: batch_norm would mix masked steps with others. */
static void test_mask_refused(void) {
    char text[sizeof every_layer + 40];
    affect_architecture *architecture = NULL;
    affect_error error = {0};
    const char *shape = strstr(every_layer, "\"shape\"");
    snprintf(text, sizeof text, "%.*s\"mask\": true, %s", (int)(shape - every_layer), every_layer,
             shape);
    affect_json *document = parse(text);
    CHECK(create_architecture(&architecture, document, NULL, small_sizes, &error) ==
          AFFECT_STATUS_UNSUPPORTED);
    CHECK(strstr(error.message, "audio.bn_1: a batch_norm of masked steps") != NULL);
    CHECK(strcmp(error.pointer, "/branches/audio") == 0);
    affect_json_free(document);
}

/* Documents come from clients: very many members, or variables, cost no more than their text (or
 * the runner's limit of time ends this). */
static void test_many_members(void) {
    enum { MEMBERS = 500000 };
    static const char *const members[] = {"inputs", "variables"};
    static const char *const errors[] = {"fusion: is missing", "variables: more than 256"};
    for (int i = 0; i < 2; i++) {
        affect_buffer text = {0};
        affect_architecture *architecture = NULL;
        affect_error error = {0};
        affect_buffer_printf(&text, "{\"%s\": {", members[i]);
        for (int m = 0; m < MEMBERS; m++) affect_buffer_printf(&text, "\"m%d\": 0, ", m);
        affect_buffer_append_string(&text, "\"last\": 0}}");
        affect_json *document = parse(affect_buffer_string(&text));
        CHECK(create_architecture(&architecture, document, NULL, small_sizes, &error) ==
              AFFECT_STATUS_INVALID);
        CHECK_STRING(error.message, errors[i]);
        affect_json_free(document);
        affect_buffer_free(&text);
    }
}

int main(void) {
    TEST_RUN(test_counts);
    TEST_RUN(test_tensors);
    TEST_RUN(test_variables);
    TEST_RUN(test_conditions);
    TEST_RUN(test_subset_of_branches);
    TEST_RUN(test_wrong_layers);
    TEST_RUN(test_wrong_documents);
    TEST_RUN(test_wrong_inputs);
    TEST_RUN(test_too_many_layers);
    TEST_RUN(test_wrong_overrides);
    TEST_RUN(test_mask_refused);
    TEST_RUN(test_many_members);
    return TEST_END();
}
