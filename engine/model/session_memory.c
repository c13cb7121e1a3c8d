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

static bool is_identity(const affect_layer *layer, bool training) {
    return training ? !layer->runs->forward : !layer->runs->infer;
}

static size_t branch_of(const affect_architecture *a, size_t node) {
    size_t b = 0;
    while (b < a->n_branches && node >= a->branches[b].end) b++;
    return b;
}

/* What the plan's parts share. */
typedef struct {
    affect_session_layout *layout;
    affect_backend *backend;
    const affect_architecture *a;
    size_t batch;
} planning;

/* Room for the distinct rows of the node's input; 0 when it does not share rows. */
static size_t shared_rows(const planning *p, size_t node) {
    const affect_session_node *at = &p->layout->nodes[node];
    if (!at->shared && !at->reads_shared) return 0;
    return p->layout->max_rows[p->a->branches[branch_of(p->a, node)].input];
}

static size_t node_rows(const planning *p, size_t node) {
    if (p->layout->nodes[node].shared) return shared_rows(p, node);
    return p->batch * p->a->layers[node]->fold;
}

/* The rows of x where the node reads distinct rows, else 0. */
static size_t reader_rows(const planning *p, size_t node) {
    return p->layout->nodes[node].reads_shared ? shared_rows(p, node) : 0;
}

static size_t output_bytes(const planning *p, size_t node) {
    const affect_layer *layer = p->a->layers[node];
    return node_rows(p, node) * affect_shape_count(layer->output) * sizeof(affect_real);
}

/* ---- Which inputs keep distinct rows only ---- */

/* The node that takes distinct rows to all rows: every layer before it is time-distributed and
 * gives equal rows for equal rows. SIZE_MAX when the branch has none. */
static size_t row_reader(const affect_architecture *a, const affect_branch *branch, bool training) {
    size_t frames = a->inputs[branch->input].shape.size[0];
    for (size_t i = branch->first; i < branch->end; i++) {
        const affect_layer *layer = a->layers[i];
        if (is_identity(layer, training) && layer->fold > 1) continue;
        if (layer->fold == 1) return i > branch->first && layer->class->shares_rows ? i : SIZE_MAX;
        if (layer->fold != frames || !layer->class->equal_rows) return SIZE_MAX;
    }
    return SIZE_MAX;
}

static void plan_sharing(planning *p, bool training, size_t max_rows) {
    const affect_architecture *a = p->a;
    affect_session_layout *layout = p->layout;
    for (size_t i = 0; i < a->n_inputs; i++) {
        size_t most = p->batch * a->inputs[i].shape.size[0];
        layout->shared[i] = true;
        bool padded = strcmp(a->inputs[i].feature, "mel") == 0;
        layout->max_rows[i] = padded && max_rows && max_rows < most ? max_rows : most;
    }
    for (size_t b = 0; b < a->n_branches; b++)
        if (row_reader(a, &a->branches[b], training) == SIZE_MAX)
            layout->shared[a->branches[b].input] = false;
    for (size_t b = 0; b < a->n_branches; b++) {
        const affect_branch *branch = &a->branches[b];
        if (!layout->shared[branch->input]) continue;
        size_t reader = row_reader(a, branch, training);
        for (size_t i = branch->first; i < reader; i++) layout->nodes[i].shared = true;
        layout->nodes[reader].reads_shared = true;
    }
}

/* Two buffers that the nodes of a chain use in turn: first their sizes, then their places. */
typedef struct {
    size_t size[2], offset[2];
} alternating;

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
static void alternate(int *places, alternating *buffers, const planning *p, size_t first,
                      size_t end, size_t own, bool training) {
    int turn = 0;
    for (size_t i = first; i < end; i++) {
        places[i] = -1;
        if (is_identity(p->a->layers[i], training)) continue;
        if (i != own) {
            places[i] = turn;
            buffers->size[turn] = larger(buffers->size[turn], output_bytes(p, i));
        }
        turn = !turn;
    }
}

static void alternate_all(int *places, alternating *buffers, const planning *p, bool training) {
    const affect_architecture *a = p->a;
    for (size_t b = 0; b < a->n_branches; b++) {
        const affect_branch *branch = &a->branches[b];
        size_t own = last_computing(a, branch->first, branch->end, training);
        alternate(places, buffers, p, branch->first, branch->end, own, training);
    }
    alternate(places, buffers, p, a->fusion, a->n_layers, SIZE_MAX, training);
}

static void plan_training(const planning *p) {
    affect_session_layout *layout = p->layout;
    const affect_architecture *a = p->a;
    int places[AFFECT_MAX_LAYERS];
    alternating d = {0};
    size_t *total = &layout->bytes.activations;
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        if (layer->runs->forward) layout->nodes[i].y = take(total, output_bytes(p, i));
        if (layer->runs->saved_size)
            layout->nodes[i].saved =
                take(total, layer->runs->saved_size(layer, p->backend, node_rows(p, i),
                                                    reader_rows(p, i)));
    }
    alternate_all(places, &d, p, true);
    for (int k = 0; k < 2; k++) d.offset[k] = take(total, d.size[k]);
    for (size_t i = 0; i < a->n_layers; i++)
        if (places[i] >= 0) layout->nodes[i].d_y = d.offset[places[i]];
    for (size_t b = 0; b < a->n_branches; b++) {
        const affect_branch *branch = &a->branches[b];
        size_t last = last_computing(a, branch->first, branch->end, true);
        layout->branch_d[b] = take(total, output_bytes(p, branch->end - 1));
        if (last != SIZE_MAX) layout->nodes[last].d_y = layout->branch_d[b];
    }
}

static void plan_inference(const planning *p) {
    affect_session_layout *layout = p->layout;
    const affect_architecture *a = p->a;
    int places[AFFECT_MAX_LAYERS];
    alternating y = {0};
    size_t *total = &layout->bytes.activations;
    alternate_all(places, &y, p, false);
    for (int k = 0; k < 2; k++) y.offset[k] = take(total, y.size[k]);
    for (size_t i = 0; i < a->n_layers; i++)
        if (places[i] >= 0) layout->nodes[i].y = y.offset[places[i]];
    for (size_t b = 0; b < a->n_branches; b++) {
        size_t last = last_computing(a, a->branches[b].first, a->branches[b].end, false);
        if (last != SIZE_MAX) layout->nodes[last].y = take(total, output_bytes(p, last));
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

static void plan_inputs(const planning *p) {
    affect_session_layout *layout = p->layout;
    const affect_architecture *a = p->a;
    size_t batch = p->batch, *total = &layout->bytes.inputs, largest = batch;
    for (size_t i = 0; i < a->n_inputs; i++) {
        size_t count = batch * affect_shape_count(a->inputs[i].shape);
        if (layout->shared[i])
            count = count / (batch * a->inputs[i].shape.size[0]) * layout->max_rows[i];
        layout->inputs[i] = take(total, count * sizeof(affect_real));
        largest = larger(largest, count);
    }
    size_t classes = a->sizes.classes;
    layout->labels = take(total, batch * sizeof(int32_t));
    layout->weights = take(total, batch * sizeof(affect_real));
    layout->totals = take(total, (3 + classes * classes) * sizeof(double));
    layout->l2 = take(total, sizeof(double));
    largest = larger(largest, batch * classes);
    for (size_t i = 0; i < a->builder.n_parameters; i++)
        largest = larger(largest, affect_shape_count(a->builder.parameters[i].shape));
    layout->staging = sizeof(affect_real) == sizeof(float) ? 0 : largest * sizeof(affect_real);
}

void affect_session_plan_memory(affect_session_layout *layout, affect_backend *backend,
                                const affect_architecture *a, affect_session_options options) {
    planning p = {layout, backend, a, options.max_batch};
    memset(layout, 0, sizeof *layout);
    for (size_t i = 0; i < AFFECT_MAX_LAYERS; i++)
        layout->nodes[i] = (affect_session_node){.y = SIZE_MAX, .d_y = SIZE_MAX, .saved = SIZE_MAX};
    plan_sharing(&p, options.training, options.max_rows);
    if (options.training)
        plan_training(&p);
    else
        plan_inference(&p);
    plan_gradients(layout, a);
    plan_inputs(&p);
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        if (layer->runs->workspace_size)
            layout->bytes.workspace = larger(
                layout->bytes.workspace,
                layer->runs->workspace_size(layer, backend, node_rows(&p, i), reader_rows(&p, i)));
    }
    size_t trainable = a->builder.n_trainable * sizeof(affect_real);
    layout->bytes.parameters = trainable + a->builder.n_statistics * sizeof(affect_real);
    layout->bytes.optimizer = options.training ? 3 * trainable : 0;
}
