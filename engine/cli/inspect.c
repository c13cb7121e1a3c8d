/* `affect inspect`: what a model file holds; a model with initial weights; a model's probabilities
 * for given tensors; the devices.
 *
 * The last two serve comparisons with other programs: --init writes what training would start
 * from, --predict feeds features computed elsewhere. */
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/model/model_file.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *init, *predict, *output, *device;
    int64_t seed, classes, threads, sizes[AFFECT_MAX_MODALITIES][2];
    affect_flag_list named[AFFECT_MAX_MODALITIES];
    bool json, devices;
} arguments;

/* ---- --devices ---- */

static void set_version(affect_json *json, const char *name, int version) {
    char text[24];
    snprintf(text, sizeof text, "%d.%d", version / 1000, version % 1000 / 10);
    affect_json_set_string(json, name, text);
}

static affect_json *device_json(const affect_device *device) {
    affect_json *json = affect_json_new_object();
    bool is_gpu = device->compute_capability > 0;
    affect_json_set_string(json, "device", device->device);
    affect_json_set_string(json, "name", device->name);
    affect_json_set_number(json, is_gpu ? "multiprocessors" : "cores", device->n_units);
    affect_json_set_number(json, "memory_bytes", (double)device->memory_bytes);
    affect_json_set_number(json, "memory_free_bytes", (double)device->memory_free_bytes);
    if (!is_gpu) return json;
    affect_json_set_number(json, "compute_capability", device->compute_capability / 10.0);
    set_version(json, "driver", device->driver);
    set_version(json, "runtime", device->runtime);
    return json;
}

static void print_device(const affect_device *device) {
    printf("%-8s %s: %d %s, %.1f of %.1f GiB free", device->device, device->name, device->n_units,
           device->compute_capability ? "multiprocessors" : "cores",
           (double)device->memory_free_bytes / (1 << 30), (double)device->memory_bytes / (1 << 30));
    if (device->compute_capability)
        printf(", compute capability %d.%d, driver for CUDA %d.%d, runtime %d.%d",
               device->compute_capability / 10, device->compute_capability % 10,
               device->driver / 1000, device->driver % 1000 / 10, device->runtime / 1000,
               device->runtime % 1000 / 10);
    printf("\n");
}

static affect_status print_devices(const arguments *a) {
    affect_device devices[AFFECT_MAX_DEVICES];
    affect_error missing;
    size_t n = affect_devices_list(devices, &missing);
    affect_json *json = affect_json_new_object(), *list = affect_json_set_array(json, "devices");
    for (size_t i = 0; i < n; i++) affect_json_append(list, device_json(&devices[i]));
    affect_json_set(json, "cuda_unavailable",
                    missing.status == AFFECT_STATUS_OK ? affect_json_new_null()
                                                       : affect_json_new_string(missing.message));
    char *text = a->json ? affect_json_text(json) : NULL;
    if (text) printf("%s\n", text);
    for (size_t i = 0; i < n && !a->json; i++) print_device(&devices[i]);
    if (!a->json && missing.status != AFFECT_STATUS_OK)
        printf("cuda     unavailable: %s\n", missing.message);
    free(text);
    affect_json_free(json);
    return AFFECT_STATUS_OK;
}

/* ---- --init ---- */

static affect_status read_document(affect_json **document, const char *name, affect_error *err) {
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0)
        return affect_json_read(document, name, 1 << 20, err);
    return affect_architecture_preset(document, name, err);
}

static affect_status check_size(int64_t value, const char *name, affect_error *err) {
    if (value >= 0 && value <= 1 << 20) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "--%s %lld is out of bounds (0..%d)", name, (long long)value,
                       1 << 20);
}

/* "NAME=768" or "NAME=200x768". */
static affect_status add_named(affect_sizes *sizes, const affect_modality *m, const char *text,
                               affect_error *err) {
    char name[2 * AFFECT_FEATURE_NAME_SIZE] = "";
    unsigned first = 0, second = 0;
    int end = 0, length = (int)strcspn(text, "=");
    snprintf(name, sizeof name, "%s:%.*s", m->name, length < 64 ? length : 64, text);
    const char *numbers = text + length;
    bool matches = (sscanf(numbers, "=%7ux%7u%n", &first, &second, &end) == 2 && !numbers[end]);
    if (!matches) {
        first = 0;
        matches = sscanf(numbers, "=%7u%n", &second, &end) == 1 && !numbers[end];
    }
    if (!matches)
        return affect_fail(err, INVALID, "--%s: \"%.80s\" is neither NAME=%s nor NAME=%sx%s",
                           m->name, text, m->size_names[1], m->size_names[0], m->size_names[1]);
    return affect_sizes_add(sizes, name, first, second, err);
}

/* Of every modality; one of size 0 is left out. */
static affect_status make_sizes(affect_sizes *sizes, const arguments *a, affect_error *err) {
    const affect_modality *m;
    *sizes = (affect_sizes){0};
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        for (size_t k = 0; k < a->named[i].n; k++)
            AFFECT_TRY(add_named(sizes, m, a->named[i].values[k], err));
        for (int k = 0; k < 2 && !m->is_named; k++)
            AFFECT_TRY(check_size(a->sizes[i][k], m->size_names[k], err));
        if (!m->is_named && a->sizes[i][0] && a->sizes[i][1])
            AFFECT_TRY(affect_sizes_add(sizes, m->name, (size_t)a->sizes[i][0],
                                        (size_t)a->sizes[i][1], err));
    }
    AFFECT_TRY(check_size(a->classes, "classes", err));
    sizes->n_classes = (size_t)a->classes;
    return AFFECT_STATUS_OK;
}

static affect_status make_architecture(affect_architecture **architecture, const arguments *a,
                                       affect_error *err) {
    affect_json *document = NULL;
    affect_sizes sizes;
    AFFECT_TRY(make_sizes(&sizes, a, err));
    AFFECT_TRY(read_document(&document, a->init, err));
    affect_status status = affect_architecture_create(architecture, document, NULL, &sizes, err);
    affect_json_free(document);
    return status;
}

static affect_status initialize(const arguments *a, affect_error *err) {
    affect_architecture *architecture = NULL;
    affect_backend *backend = NULL;
    affect_session *session = NULL;
    affect_json *metadata = affect_json_new_object();
    affect_json_set_number(affect_json_set_object(metadata, "training"), "seed", (double)a->seed);
    affect_session_options options = {.max_batch = 1};
    affect_status status = AFFECT_STATUS_OK;
    if (!a->output) status = affect_fail(err, INVALID, "--init needs --output FILE");
    if (status == AFFECT_STATUS_OK) status = make_architecture(&architecture, a, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_backend_open(
            &backend, (affect_backend_options){.device = a->device, .n_threads = (int)a->threads},
            err);
    if (status == AFFECT_STATUS_OK)
        status = affect_session_create(&session, backend, architecture, options, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_session_initialize(session, (uint64_t)a->seed, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_model_save(a->output, session, metadata, false, err);
    affect_json_free(metadata);
    affect_session_free(session);
    affect_backend_free(backend);
    affect_architecture_free(architecture);
    return status;
}

/* ---- printing ---- */

static affect_json *describe_tensors(const affect_architecture *architecture) {
    affect_json *tensors = affect_json_new_array();
    for (size_t i = 0; i < affect_architecture_n_parameters(architecture); i++) {
        const affect_parameter *p = affect_architecture_parameter(architecture, i);
        affect_json *row = affect_json_append(tensors, affect_json_new_object());
        affect_json_set_string(row, "name", p->name);
        affect_json_set(row, "shape", affect_shape_to_json(p->shape));
        affect_json_set_bool(row, "trainable", p->trainable);
    }
    return tensors;
}

static void print_json(const affect_model *model, const char *path) {
    const affect_architecture *architecture = affect_model_architecture(model);
    affect_json *json = affect_json_new_object();
    affect_buffer text = {0};
    affect_json_set_string(json, "path", path);
    affect_json_set_string(json, "name", affect_architecture_name(architecture));
    affect_architecture_describe(json, architecture);
    affect_json_set(json, "tensors", describe_tensors(architecture));
    affect_json_set(json, "metadata", affect_json_copy(affect_model_metadata(model, NULL)));
    affect_json_print_pretty(&text, json);
    printf("%s\n", affect_buffer_string(&text) ? affect_buffer_string(&text) : "");
    affect_buffer_free(&text);
    affect_json_free(json);
}

static void print_people(const affect_model *model, const char *path) {
    affect_buffer text = {0};
    const affect_json *all = affect_model_metadata(model, NULL);
    affect_buffer_printf(&text, "%s: %s\n\n", path,
                         affect_architecture_name(affect_model_architecture(model)));
    affect_architecture_print(&text, affect_model_architecture(model));
    affect_buffer_append_string(&text, "\n");
    for (const affect_json *m = affect_json_first(all); m; m = affect_json_next(m)) {
        if (strcmp(affect_json_name(m), "architecture") == 0) continue;
        char *value = affect_json_text(m);
        affect_buffer_printf(&text, "%-16s %.2000s\n", affect_json_name(m), value ? value : "");
        free(value);
    }
    printf("%s", affect_buffer_string(&text) ? affect_buffer_string(&text) : "");
    affect_buffer_free(&text);
}

/* ---- --predict ---- */

/* The inputs' tensors; all have the same number of rows, *n. */
static affect_status find_inputs(const float **inputs, size_t *n, const affect_safetensors *file,
                                 const affect_architecture *architecture, affect_error *err) {
    for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++) {
        const affect_input *input = affect_architecture_input(architecture, i);
        const affect_safetensor *tensor = affect_safetensors_find(file, input->name);
        if (!tensor) return affect_fail(err, NOT_FOUND, "no tensor \"%s\"", input->name);
        if (i == 0) *n = tensor->shape.rank ? tensor->shape.size[0] : 0;
        affect_shape shape = {input->feature.shape.rank + 1, {*n}};
        memcpy(shape.size + 1, input->feature.shape.size,
               (size_t)input->feature.shape.rank * sizeof *input->feature.shape.size);
        const void *data = NULL;
        AFFECT_TRY(affect_safetensors_get(&data, file, input->name, AFFECT_DTYPE_F32, shape, err));
        inputs[i] = data;
    }
    return AFFECT_STATUS_OK;
}

static affect_status run_batches(float *probabilities, affect_session *session,
                                 const float **inputs, size_t n, size_t max_batch,
                                 affect_error *err) {
    const affect_architecture *architecture = affect_session_architecture(session);
    size_t classes = affect_architecture_sizes(architecture)->n_classes;
    for (size_t at = 0; at < n; at += max_batch) {
        size_t batch = n - at < max_batch ? n - at : max_batch;
        AFFECT_TRY(
            affect_session_predict(session, probabilities + at * classes, inputs, batch, err));
        for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++)
            inputs[i] += batch * affect_shape_count(
                                     affect_architecture_input(architecture, i)->feature.shape);
    }
    return AFFECT_STATUS_OK;
}

static affect_status predict_file(const affect_model *model, const affect_safetensors *file,
                                  affect_backend *backend, const arguments *a, affect_error *err) {
    const affect_architecture *architecture = affect_model_architecture(model);
    const float *inputs[16] = {0}; /* more than an architecture may have */
    size_t n = 0, classes = affect_architecture_sizes(architecture)->n_classes;
    AFFECT_TRY(find_inputs(inputs, &n, file, architecture, err));
    affect_session_options options = {.max_batch = n < 16 ? n + !n : 16};
    affect_session *session = NULL;
    float *probabilities = calloc(n * classes + 1, sizeof *probabilities);
    affect_status status = affect_session_create(&session, backend, architecture, options, err);
    if (status == AFFECT_STATUS_OK) status = affect_model_load(model, session, err);
    if (status == AFFECT_STATUS_OK && !probabilities)
        status = affect_fail(err, NO_MEMORY, "no memory for %zu rows", n);
    if (status == AFFECT_STATUS_OK)
        status = run_batches(probabilities, session, inputs, n, options.max_batch, err);
    affect_safetensor tensor = {
        "probabilities", AFFECT_DTYPE_F32, {2, {n, classes}}, probabilities};
    if (status == AFFECT_STATUS_OK)
        status = affect_safetensors_write(a->output, &tensor, 1, NULL, err);
    affect_session_free(session);
    free(probabilities);
    return status;
}

static affect_status predict(const affect_model *model, const arguments *a, affect_error *err) {
    affect_safetensors *file = NULL;
    affect_backend *backend = NULL;
    if (!a->output) return affect_fail(err, INVALID, "--predict needs --output FILE");
    affect_status status = affect_safetensors_open(&file, a->predict, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_backend_open(
            &backend, (affect_backend_options){.device = a->device, .n_threads = (int)a->threads},
            err);
    if (status == AFFECT_STATUS_OK) status = predict_file(model, file, backend, a, err);
    affect_backend_free(backend);
    affect_safetensors_close(file);
    return status;
}

static affect_status inspect_model(const char *path, const arguments *a, affect_error *err) {
    affect_model *model = NULL;
    AFFECT_TRY(affect_model_open(&model, path, err));
    affect_status status = AFFECT_STATUS_OK;
    if (a->predict)
        status = predict(model, a, err);
    else if (a->json)
        print_json(model, path);
    else
        print_people(model, path);
    affect_model_close(model);
    return status;
}

/* Appends the sizes of every modality; their number. */
static size_t list_sizes(affect_flag *flags, arguments *a) {
    size_t n = 0;
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        if (m->is_named)
            flags[n++] = (affect_flag){m->name,
                                       0,
                                       AFFECT_FLAG_LIST,
                                       &a->named[i],
                                       "NAME=[FRAMESx]SIZE",
                                       "sizes of such an input"};
        for (int k = 0; k < 2 && !m->is_named; k++) {
            a->sizes[i][k] = (int64_t)m->default_sizes[k];
            flags[n++] = (affect_flag){m->size_names[k], 0,   AFFECT_FLAG_INTEGER,
                                       &a->sizes[i][k],  "N", m->size_help[k]};
        }
    }
    return n;
}

int affect_command_inspect(int argc, char **argv) {
    arguments a = {.classes = 4};
    a.device = "auto";
    affect_flag flags[16 + 2 * AFFECT_MAX_MODALITIES] = {
        {"json", 0, AFFECT_FLAG_BOOL, &a.json, NULL, "print JSON"},
        {"predict", 0, AFFECT_FLAG_STRING, &a.predict, "FILE",
         "safetensors with the inputs: write \"probabilities\" to --output"},
        {"init", 0, AFFECT_FLAG_STRING, &a.init, "ARCH",
         "write a model with initial weights (preset, or file.json)"},
        {"output", 'o', AFFECT_FLAG_STRING, &a.output, "FILE", "what --init and --predict write"},
        {"seed", 0, AFFECT_FLAG_LARGE, &a.seed, "N", "of the initial weights (0)"},
        {"classes", 0, AFFECT_FLAG_INTEGER, &a.classes, "N", "outputs (4)"},
        {"device", 0, AFFECT_FLAG_STRING, &a.device, "NAME", "cpu, cuda, cuda:N or auto (auto)"},
        {"threads", 0, AFFECT_FLAG_INTEGER, &a.threads, "N", "0: all cores"},
        {"devices", 0, AFFECT_FLAG_BOOL, &a.devices, NULL, "list the devices"}};
    list_sizes(flags + 9, &a);
    const affect_usage usage = {
        "inspect", "[MODEL]", "Shows a model file, runs it on given tensors, or makes one.", flags};
    const char *path = NULL;
    int n = 0, code = affect_flags_read(&usage, argc, argv, &path, 1, &n);
    if (code >= 0) return code;
    if (a.devices + (a.init != NULL) + n != 1 || (a.predict && n == 0)) {
        fprintf(stderr,
                "affect inspect: need one of MODEL, --init and --devices; --predict needs MODEL\n");
        affect_flags_print(stderr, &usage);
        return AFFECT_EXIT_USAGE;
    }
    affect_error err = {0};
    affect_status status = a.devices ? print_devices(&a)
                           : a.init  ? initialize(&a, &err)
                                     : inspect_model(path, &a, &err);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : affect_command_fail("inspect", &err);
}
