/* The memory plan of a session; see session_state.h. */
#include "engine/model/session_state.h"

#include <string.h>

static size_t take(size_t *total, size_t n_bytes) {
    size_t offset = *total;
    *total += (n_bytes + 63) / 64 * 64;
    return offset;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t output_bytes(const affect_layer *layer, size_t batch) {
    return batch * affect_shape_count(layer->outside) * sizeof(affect_real);
}

/* Two buffers that the nodes of a chain use in turn: first their sizes, then their places. */
typedef struct {
    size_t size[2], offset[2];
} alternating;

static bool is_identity(const affect_layer *layer, bool training) {
    return training ? !layer->class->forward : !layer->class->infer;
}

/* The last node of first..end-1 that computes something; SIZE_MAX when none does. */
static size_t last_computing(const affect_architecture *a, size_t first, size_t end,
                             bool training) {
    size_t last = SIZE_MAX;
    for (size_t i = first; i < end; i++)
        if (!is_identity(a->layers[i], training)) last = i;
    return last;
}

/* Walks a chain: places[i] becomes which of the two buffers node i uses (-1: none). The node `own`
 * has its own buffer. */
static void alternate(int *places, alternating *buffers, const affect_architecture *a, size_t first,
                      size_t end, size_t own, size_t batch, bool training) {
    int turn = 0;
    for (size_t i = first; i < end; i++) {
        places[i] = -1;
        if (is_identity(a->layers[i], training)) continue;
        if (i != own) {
            places[i] = turn;
            buffers->size[turn] = larger(buffers->size[turn], output_bytes(a->layers[i], batch));
        }
        turn = !turn;
    }
}

static void alternate_all(int *places, alternating *buffers, const affect_architecture *a,
                          size_t batch, bool training) {
    for (size_t b = 0; b < a->n_branches; b++) {
        const affect_branch *branch = &a->branches[b];
        size_t own = last_computing(a, branch->first, branch->end, training);
        alternate(places, buffers, a, branch->first, branch->end, own, batch, training);
    }
    alternate(places, buffers, a, a->fusion, a->n_layers, SIZE_MAX, batch, training);
}

static void plan_training(affect_session_layout *layout, affect_backend *backend,
                          const affect_architecture *a, size_t batch) {
    int places[AFFECT_MAX_LAYERS];
    alternating d = {0};
    size_t *total = &layout->bytes.activations;
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        if (layer->class->forward) layout->nodes[i].y = take(total, output_bytes(layer, batch));
        if (layer->class->saved_size)
            layout->nodes[i].saved =
                take(total, layer->class->saved_size(layer, backend, batch * layer->fold));
    }
    alternate_all(places, &d, a, batch, true);
    for (int k = 0; k < 2; k++) d.offset[k] = take(total, d.size[k]);
    for (size_t i = 0; i < a->n_layers; i++)
        if (places[i] >= 0) layout->nodes[i].d_y = d.offset[places[i]];
    for (size_t b = 0; b < a->n_branches; b++) {
        const affect_branch *branch = &a->branches[b];
        size_t last = last_computing(a, branch->first, branch->end, true);
        layout->branch_d[b] = take(total, output_bytes(a->layers[branch->end - 1], batch));
        if (last != SIZE_MAX) layout->nodes[last].d_y = layout->branch_d[b];
    }
}

static void plan_inference(affect_session_layout *layout, const affect_architecture *a,
                           size_t batch) {
    int places[AFFECT_MAX_LAYERS];
    alternating y = {0};
    size_t *total = &layout->bytes.activations;
    alternate_all(places, &y, a, batch, false);
    for (int k = 0; k < 2; k++) y.offset[k] = take(total, y.size[k]);
    for (size_t i = 0; i < a->n_layers; i++)
        if (places[i] >= 0) layout->nodes[i].y = y.offset[places[i]];
    for (size_t b = 0; b < a->n_branches; b++) {
        size_t last = last_computing(a, a->branches[b].first, a->branches[b].end, false);
        if (last != SIZE_MAX)
            layout->nodes[last].y = take(total, output_bytes(a->layers[last], batch));
    }
}

static void plan_gradients(affect_session_layout *layout, const affect_architecture *a) {
    bool any = false;
    for (size_t b = 0; b < a->n_branches; b++) {
        bool wants = false;
        for (size_t i = a->branches[b].first; i < a->branches[b].end; i++) {
            wants = wants || a->layers[i]->n_numbers > 0;
            layout->nodes[i].wants_gradient = wants;
        }
        any = any || wants;
    }
    for (size_t i = a->fusion; i < a->n_layers; i++) {
        any = any || a->layers[i]->n_numbers > 0;
        layout->nodes[i].wants_gradient = any;
    }
}

static void plan_inputs(affect_session_layout *layout, const affect_architecture *a, size_t batch) {
    size_t *total = &layout->bytes.inputs, largest = batch;
    for (size_t i = 0; i < a->n_inputs; i++) {
        size_t count = batch * affect_shape_count(a->inputs[i].shape);
        layout->inputs[i] = take(total, count * sizeof(affect_real));
        largest = larger(largest, count);
    }
    size_t classes = a->sizes.classes;
    layout->labels = take(total, batch * sizeof(int32_t));
    layout->weights = take(total, batch * sizeof(affect_real));
    layout->stats = take(total, (2 + classes * classes) * sizeof(double));
    layout->total = take(total, sizeof(double));
    largest = larger(largest, batch * classes);
    for (size_t i = 0; i < a->builder.n_parameters; i++)
        largest = larger(largest, affect_shape_count(a->builder.parameters[i].shape));
    layout->staging = sizeof(affect_real) == sizeof(float) ? 0 : largest * sizeof(affect_real);
}

void affect_session_plan_memory(affect_session_layout *layout, affect_backend *backend,
                                const affect_architecture *a, affect_session_options options) {
    memset(layout, 0, sizeof *layout);
    for (size_t i = 0; i < AFFECT_MAX_LAYERS; i++)
        layout->nodes[i] = (affect_session_node){.y = SIZE_MAX, .d_y = SIZE_MAX, .saved = SIZE_MAX};
    if (options.training)
        plan_training(layout, backend, a, options.max_batch);
    else
        plan_inference(layout, a, options.max_batch);
    plan_gradients(layout, a);
    plan_inputs(layout, a, options.max_batch);
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        if (layer->class->workspace_size)
            layout->bytes.workspace = larger(
                layout->bytes.workspace,
                layer->class->workspace_size(layer, backend, options.max_batch * layer->fold));
    }
    size_t trainable = a->builder.n_trainable * sizeof(affect_real);
    layout->bytes.parameters = trainable + a->builder.n_statistics * sizeof(affect_real);
    layout->bytes.optimizer = options.training ? 3 * trainable : 0;
}
