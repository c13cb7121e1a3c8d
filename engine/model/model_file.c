/* Model files; see model_file.h.
 *
 * Opening believes nothing: the metadata must be JSON, the architecture must build within its
 * limits, and the file must hold exactly its tensors, float32, of its shapes, with finite numbers
 * (and for a checkpoint both moments of every trainable one). */
#include "engine/model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_METADATA = 64 };

/* ---- saving ---- */

typedef struct {
    affect_safetensor *tensors;
    char (*names)[AFFECT_TENSOR_NAME_SIZE + 8];
    float *numbers;
    size_t n_tensors, n_numbers; /* so far */
} collection;

static void name_tensor(collection *c, const char *prefix, const affect_parameter *p) {
    char *name = c->names[c->n_tensors];
    snprintf(name, sizeof *c->names, "%s%s", prefix, p->name);
    c->tensors[c->n_tensors++] =
        (affect_safetensor){name, AFFECT_DTYPE_F32, p->shape, c->numbers + c->n_numbers};
    c->n_numbers += affect_shape_count(p->shape);
}

static affect_status collect_moments(collection *c, affect_session *session, const char *prefix,
                                     const affect_real *block, affect_error *err) {
    const affect_architecture *a = affect_session_architecture(session);
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        if (!p->trainable) continue;
        AFFECT_TRY(affect_session_read(c->numbers + c->n_numbers, session, block + p->offset,
                                       affect_shape_count(p->shape), err));
        name_tensor(c, prefix, p);
    }
    return AFFECT_STATUS_OK;
}

static affect_status collect(collection *c, affect_session *session, bool checkpoint,
                             affect_error *err) {
    const affect_architecture *a = affect_session_architecture(session);
    affect_session_blocks blocks = affect_session_blocks_of(session);
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        AFFECT_TRY(affect_session_get_tensor(c->numbers + c->n_numbers, session, i, err));
        name_tensor(c, "", affect_architecture_parameter(a, i));
    }
    if (!checkpoint) return AFFECT_STATUS_OK;
    AFFECT_TRY(collect_moments(c, session, "adam_m.", blocks.adam_m, err));
    return collect_moments(c, session, "adam_v.", blocks.adam_v, err);
}

/* Of a training whose steps have left the numbers; a ReLU makes 0 of what is none, so that its loss
 * may not tell. */
static affect_status check_finite(const collection *c, affect_error *err) {
    for (size_t t = 0; t < c->n_tensors; t++) {
        const float *numbers = c->tensors[t].data;
        size_t n = affect_shape_count(c->tensors[t].shape);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(numbers[i]))
                return affect_fail(err, DIVERGED, "tensor %s: number %zu is not finite",
                                   c->names[t], i);
    }
    return AFFECT_STATUS_OK;
}

/* Each value as JSON text in a string, which is all that safetensors metadata can hold. */
static void set_text(affect_json *metadata, const char *name, const affect_json *value) {
    char *text = affect_json_text(value);
    affect_json_free(affect_json_detach(metadata, name));
    affect_json_set(metadata, name, text ? affect_json_new_string(text) : NULL);
    free(text);
}

static affect_json *complete_metadata(const affect_architecture *a, const affect_json *given) {
    affect_json *metadata = affect_json_new_object();
    affect_json *sizes = affect_sizes_to_json(affect_architecture_sizes(a));
    affect_json *layers = affect_architecture_layers(a);
    affect_json *format = affect_json_new_string(AFFECT_MODEL_FORMAT);
    affect_json *version = affect_json_new_string(AFFECT_VERSION);
    for (const affect_json *m = affect_json_first(given); m; m = affect_json_next(m))
        set_text(metadata, affect_json_name(m), m);
    set_text(metadata, "format", format);
    set_text(metadata, "code_version", version);
    set_text(metadata, "architecture", affect_architecture_document(a));
    set_text(metadata, "sizes", sizes);
    set_text(metadata, "layers", layers);
    affect_json_free(layers);
    affect_json_free(sizes);
    affect_json_free(format);
    affect_json_free(version);
    return metadata;
}

affect_status affect_model_save(const char *path, affect_session *session,
                                const affect_json *metadata, bool checkpoint, affect_error *err) {
    const affect_architecture *a = affect_session_architecture(session);
    if (checkpoint && !affect_session_blocks_of(session).adam_m)
        return affect_fail(err, CONFLICT, "%s: a session without training has no checkpoint", path);
    size_t copies = checkpoint ? 3 : 1;
    size_t n_tensors = copies * affect_architecture_n_parameters(a);
    size_t n_numbers =
        copies * affect_architecture_n_trainable(a) + affect_architecture_n_statistics(a);
    collection c = {.tensors = calloc(n_tensors + 1, sizeof *c.tensors),
                    .names = calloc(n_tensors + 1, sizeof *c.names),
                    .numbers = malloc((n_numbers + 1) * sizeof *c.numbers)};
    affect_json *all = complete_metadata(a, metadata);
    affect_status status = AFFECT_STATUS_OK;
    if (!c.tensors || !c.names || !c.numbers || !all)
        status = affect_fail(err, NO_MEMORY, "%s: no memory to save a model", path);
    else
        status = collect(&c, session, checkpoint, err);
    if (status == AFFECT_STATUS_OK) status = check_finite(&c, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_safetensors_write(path, c.tensors, c.n_tensors, all, err);
    affect_json_free(all);
    free(c.tensors);
    free(c.names);
    free(c.numbers);
    return status;
}

/* ---- opening ---- */

struct affect_model {
    affect_safetensors *file;
    affect_architecture *architecture;
    affect_json *metadata; /* every value parsed */
    bool checkpoint;       /* has the moments */
};

static affect_status parse_metadata(affect_model *model, affect_error *err) {
    const affect_json *texts = affect_safetensors_all_metadata(model->file);
    model->metadata = affect_json_new_object();
    if (texts && !affect_json_is_object(texts))
        return affect_fail(err, MALFORMED, "metadata is a %s (need an object)",
                           affect_json_type_name(texts));
    if (affect_json_size(texts) > MAX_METADATA)
        return affect_fail(err, TOO_LARGE, "more than %d metadata values", MAX_METADATA);
    for (const affect_json *m = affect_json_first(texts); m; m = affect_json_next(m)) {
        affect_json *value = NULL;
        const char *name = affect_json_name(m);
        AFFECT_TRY(affect_safetensors_metadata_json(&value, model->file, name, err));
        if (!affect_json_set(model->metadata, name, value))
            return affect_fail(err, NO_MEMORY, "no memory for metadata");
    }
    const char *format = affect_json_get_string(model->metadata, "format", NULL);
    if (!format || strcmp(format, AFFECT_MODEL_FORMAT) != 0)
        return affect_fail(err, MALFORMED, "format \"%.60s\" (need %s)", format ? format : "",
                           AFFECT_MODEL_FORMAT);
    return AFFECT_STATUS_OK;
}

static affect_status build_architecture(affect_model *model, affect_error *err) {
    affect_sizes sizes;
    AFFECT_TRY(
        affect_sizes_from_json(&sizes, affect_json_get(model->metadata, "sizes"), "/sizes", err));
    return affect_architecture_create(
        &model->architecture, affect_json_get(model->metadata, "architecture"), NULL, &sizes, err);
}

static affect_status find_tensor(const float **numbers, const affect_model *model,
                                 const char *prefix, const affect_parameter *p, affect_error *err) {
    char name[AFFECT_TENSOR_NAME_SIZE + 8];
    const void *data = NULL;
    snprintf(name, sizeof name, "%s%s", prefix, p->name);
    AFFECT_TRY(affect_safetensors_get(&data, model->file, name, AFFECT_DTYPE_F32, p->shape, err));
    if ((uintptr_t)data % _Alignof(float) != 0)
        return affect_fail(err, MALFORMED, "tensor %s does not start at a multiple of 4 bytes",
                           name);
    *numbers = data;
    return AFFECT_STATUS_OK;
}

static affect_status check_tensor(const affect_model *model, const char *prefix,
                                  const affect_parameter *p, affect_error *err) {
    const float *numbers = NULL;
    AFFECT_TRY(find_tensor(&numbers, model, prefix, p, err));
    size_t n = affect_shape_count(p->shape);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return affect_fail(err, MALFORMED, "tensor %s%s: number %zu is not finite", prefix,
                               p->name, i);
    return AFFECT_STATUS_OK;
}

static bool is_known(const affect_model *model, const char *name) {
    bool moment = strncmp(name, "adam_m.", 7) == 0 || strncmp(name, "adam_v.", 7) == 0;
    const affect_architecture *a = model->architecture;
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        if (strcmp(name, p->name) == 0) return true;
        if (moment && p->trainable && strcmp(name + 7, p->name) == 0) return true;
    }
    return false;
}

static affect_status check_tensors(affect_model *model, affect_error *err) {
    const affect_architecture *a = model->architecture;
    size_t n_file = affect_safetensors_count(model->file);
    size_t n_parameters = affect_architecture_n_parameters(a);
    for (size_t i = 0; i < n_file && i < 3 * n_parameters + 1; i++) {
        const char *name = affect_safetensors_at(model->file, i)->name;
        if (!is_known(model, name))
            return affect_fail(err, MALFORMED, "tensor \"%.100s\" is not one of its architecture",
                               name);
        model->checkpoint = model->checkpoint || strncmp(name, "adam_", 5) == 0;
    }
    for (size_t i = 0; i < n_parameters; i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        AFFECT_TRY(check_tensor(model, "", p, err));
        if (!model->checkpoint || !p->trainable) continue;
        AFFECT_TRY(check_tensor(model, "adam_m.", p, err));
        AFFECT_TRY(check_tensor(model, "adam_v.", p, err));
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_model_open(affect_model **model, const char *path, affect_error *err) {
    affect_model *opened = calloc(1, sizeof *opened);
    if (!opened) return affect_fail(err, NO_MEMORY, "no memory for a model");
    affect_status status = affect_safetensors_open(&opened->file, path, err);
    if (status == AFFECT_STATUS_OK) {
        status = parse_metadata(opened, err);
        if (status == AFFECT_STATUS_OK) status = build_architecture(opened, err);
        if (status == AFFECT_STATUS_OK) status = check_tensors(opened, err);
        if (status != AFFECT_STATUS_OK) affect_error_prefix(err, status, "model file %s", path);
    }
    if (status != AFFECT_STATUS_OK) {
        affect_model_close(opened);
        return status;
    }
    *model = opened;
    return AFFECT_STATUS_OK;
}

void affect_model_close(affect_model *model) {
    if (!model) return;
    affect_safetensors_close(model->file);
    affect_architecture_free(model->architecture);
    affect_json_free(model->metadata);
    free(model);
}

const affect_architecture *affect_model_architecture(const affect_model *model) {
    return model->architecture;
}

const affect_json *affect_model_metadata(const affect_model *model, const char *name) {
    return name ? affect_json_get(model->metadata, name) : model->metadata;
}

/* ---- loading ---- */

static affect_status check_same(const affect_architecture *a, const affect_architecture *b,
                                affect_error *err) {
    size_t n = affect_architecture_n_parameters(a);
    if (n != affect_architecture_n_parameters(b))
        return affect_fail(err, SHAPE, "model: %zu tensors, the session has %zu", n,
                           affect_architecture_n_parameters(b));
    for (size_t i = 0; i < n; i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        const affect_parameter *q = affect_architecture_parameter(b, i);
        if (strcmp(p->name, q->name) != 0 || !affect_shape_equal(p->shape, q->shape))
            return affect_fail(err, SHAPE,
                               "model: tensor %s where the session has %s, or of "
                               "another shape",
                               p->name, q->name);
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_model_load(const affect_model *model, affect_session *session,
                                affect_error *err) {
    const affect_architecture *a = affect_session_architecture(session);
    affect_session_blocks blocks = affect_session_blocks_of(session);
    AFFECT_TRY(check_same(model->architecture, a, err));
    for (size_t i = 0; i < affect_architecture_n_parameters(a); i++) {
        const affect_parameter *p = affect_architecture_parameter(a, i);
        size_t n = affect_shape_count(p->shape);
        const float *numbers = NULL;
        AFFECT_TRY(find_tensor(&numbers, model, "", p, err));
        AFFECT_TRY(affect_session_set_tensor(session, i, numbers, err));
        if (!model->checkpoint || !p->trainable || !blocks.adam_m) continue;
        AFFECT_TRY(find_tensor(&numbers, model, "adam_m.", p, err));
        AFFECT_TRY(affect_session_write(session, blocks.adam_m + p->offset, numbers, n, err));
        AFFECT_TRY(find_tensor(&numbers, model, "adam_v.", p, err));
        AFFECT_TRY(affect_session_write(session, blocks.adam_v + p->offset, numbers, n, err));
    }
    return AFFECT_STATUS_OK;
}
