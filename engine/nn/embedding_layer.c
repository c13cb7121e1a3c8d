/* embedding: a trained vector for each id (Keras' Embedding): ids (steps), or (steps, 1), to
 * (steps, output_dim).
 *
 * embeddings (input_dim, output_dim). It reads an input of the architecture, whose numbers are ids:
 * whole numbers from 0 to input_dim - 1, held as floating-point ones, as all inputs are. A session
 * refuses others before anything is computed (architecture.h, "ids"). With mask_zero id 0 is the
 * padding behind an utterance's ids: those steps are masked as by an input's "mask". */
#include "engine/nn/layer_registry.h"

enum { EMBEDDINGS };

typedef struct {
    int64_t input_dim, output_dim;
    bool mask_zero;
    double l2;
} embedding;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(embedding, input_dim, 0, 1, AFFECT_MAX_DIMENSION,
                         "number of ids: the largest and 1"),
    AFFECT_FIELD_INTEGER(embedding, output_dim, 0, 1, AFFECT_MAX_DIMENSION, "size of a vector"),
    AFFECT_FIELD_BOOL(embedding, mask_zero, false, "id 0 is padding, which is masked"),
    AFFECT_FIELD_NUMBER(embedding, l2, 0, 0, 1e6, "penalty on the embeddings' squares"),
    AFFECT_FIELD_END,
};

static affect_status build(affect_layer *layer, affect_layer_builder *builder, affect_error *err) {
    const embedding *o = layer->options;
    char text[AFFECT_SHAPE_TEXT_SIZE];
    if (!o->input_dim) return affect_fail(err, INVALID, "input_dim is missing (a number of ids)");
    if (!o->output_dim) return affect_fail(err, INVALID, "output_dim is missing (a size)");
    if (layer->input.rank < 1 || affect_shape_count(layer->input) != layer->input.size[0])
        return affect_fail(err, SHAPE, "needs one id a step, (steps) or (steps, 1), has %s",
                           affect_shape_text(text, layer->input));
    affect_shape table = {2, {(size_t)o->input_dim, (size_t)o->output_dim}};
    layer->output = (affect_shape){2, {layer->input.size[0], (size_t)o->output_dim}};
    layer->n_ids = (size_t)o->input_dim;
    layer->masks_zero = o->mask_zero;
    return affect_layer_add_tensor(layer, builder, EMBEDDINGS, "embeddings", table,
                                   AFFECT_INITIALIZER_UNIFORM, o->l2, err);
}

static affect_gather_shape shape_of(const affect_layer *layer, size_t n) {
    const embedding *o = layer->options;
    return (affect_gather_shape){.n = n * layer->input.size[0],
                                 .rows = (size_t)o->input_dim,
                                 .columns = (size_t)o->output_dim};
}

/* The ids: of training from forward to backward, else scratch. */
static size_t ids_size(const affect_layer *layer, affect_backend *backend, size_t n,
                       size_t n_rows) {
    (void)backend, (void)n_rows;
    return shape_of(layer, n).n * sizeof(int32_t);
}

static void run(const affect_layer *layer, const affect_layer_pass *pass, int32_t *ids) {
    affect_gather_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->read_ids(pass->backend, ids, pass->x, shape.n);
    pass->backend->ops->gather(pass->backend, pass->y, affect_layer_tensor(layer, pass, EMBEDDINGS),
                               ids, &shape);
}

static void forward(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->saved);
}

static void infer(const affect_layer *layer, const affect_layer_pass *pass) {
    run(layer, pass, pass->workspace);
}

static void backward(const affect_layer *layer, const affect_layer_pass *pass) {
    affect_gather_shape shape = shape_of(layer, pass->n);
    pass->backend->ops->scatter_add(pass->backend, affect_layer_gradient(layer, pass, EMBEDDINGS),
                                    pass->d_y, pass->saved, &shape);
}

const affect_layer_class affect_layer_embedding = {
    .type = "embedding",
    .fields = fields,
    .options_size = sizeof(embedding),
    .keeps_steps = true,
    .build = build,
    .saved_size = ids_size,
    .workspace_size = ids_size,
    .forward = forward,
    .infer = infer,
    .backward = backward,
};
