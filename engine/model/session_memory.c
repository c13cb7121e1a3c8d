/* The memory plan of a session; see session_state.h. */
#include "engine/model/session_state.h"

#include <stddef.h>
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
    return at->shared || at->reads_shared ? p->layout->max_rows[at->input] : 0;
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

/* The node that takes distinct rows to all rows: it ends a chain of layers that are
 * time-distributed and give equal rows for equal rows. SIZE_MAX when the branch has none. */
static size_t row_reader(const affect_architecture *a, const affect_branch *branch, bool training) {
    size_t frames = a->inputs[branch->input].feature.shape.size[0];
    for (size_t i = branch->first; i < branch->end; i++) {
        const affect_layer *layer = a->layers[i];
        size_t before = i > branch->first ? i - 1 : AFFECT_NO_NODE;
        if (a->edges[i].n != 1 || a->edges[i].from[0].node != before) return SIZE_MAX;
        if (i > branch->first && a->edges[before].n_readers != 1) return SIZE_MAX;
        if (is_identity(layer, training) && layer->fold > 1) continue;
        if (layer->fold == 1)
            return i > branch->first && layer->class->reads_deduplicated ? i : SIZE_MAX;
        if (layer->fold != frames || !layer->class->is_rowwise) return SIZE_MAX;
    }
    return SIZE_MAX;
}

static void plan_sharing(planning *p, bool training, size_t max_rows) {
    const affect_architecture *a = p->a;
    affect_session_layout *layout = p->layout;
    for (size_t i = 0; i < a->n_inputs; i++) {
        size_t most = p->batch * affect_feature_n_rows(&a->inputs[i].feature);
        layout->shared[i] = true;
        bool padded = a->inputs[i].feature.modality->is_ragged;
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

/* ---- Places of outputs and of their gradients ---- */

/* The node whose output an edge brings, behind nodes that compute nothing. */
static size_t source_of(const affect_architecture *a, affect_edge edge, bool training) {
    while (edge.node != AFFECT_NO_NODE && is_identity(a->layers[edge.node], training))
        edge = a->edges[edge.node].from[0];
    return edge.node;
}

/* Whether each node's output (or its gradient) must outlast the two nodes around it: own. */
static void find_owners(bool *own, const affect_architecture *a, bool training) {
    size_t previous = AFFECT_NO_NODE; /* that computes, in the same branch */
    int n_readers[AFFECT_MAX_LAYERS] = {0};
    for (size_t i = 0; i < a->n_layers; i++) {
        own[i] = false;
        if (i == a->fusion || (i > 0 && strcmp(a->layers[i]->branch, a->layers[i - 1]->branch)))
            previous = AFFECT_NO_NODE;
        if (is_identity(a->layers[i], training)) continue;
        for (size_t k = 0; k < a->edges[i].n; k++) {
            size_t from = source_of(a, a->edges[i].from[k], training);
            if (from == AFFECT_NO_NODE) continue;
            if (n_readers[from]++ || from != previous) own[from] = true;
        }
        previous = i;
    }
}

/* Gives each computing node a place: its own, or one of two that a branch's nodes use in turn. The
 * member: offsetof y or d_y in a node. */
static void plan_places(const planning *p, bool training, size_t member) {
    const affect_architecture *a = p->a;
    size_t size[AFFECT_MAX_STREAMS][2] = {{0}}, offset[AFFECT_MAX_STREAMS][2];
    size_t *total = &p->layout->bytes.activations;
    bool own[AFFECT_MAX_LAYERS];
    int turns[AFFECT_MAX_LAYERS], turn = 0;
    find_owners(own, a, training);
    for (size_t i = 0; i < a->n_layers; i++) {
        turns[i] = -1;
        if (i > 0 && strcmp(a->layers[i]->branch, a->layers[i - 1]->branch) != 0) turn = 0;
        if (is_identity(a->layers[i], training)) continue;
        turns[i] = turn;
        size_t *room = &size[p->layout->nodes[i].stream][turn];
        if (!own[i]) *room = larger(*room, output_bytes(p, i));
        turn = !turn;
    }
    for (int stream = 0; stream < p->layout->n_streams; stream++)
        for (int k = 0; k < 2; k++) offset[stream][k] = take(total, size[stream][k]);
    for (size_t i = 0; i < a->n_layers; i++) {
        size_t *to = (size_t *)((char *)&p->layout->nodes[i] + member);
        if (turns[i] >= 0)
            *to = own[i] ? take(total, output_bytes(p, i))
                         : offset[p->layout->nodes[i].stream][turns[i]];
    }
}

/* Room for the gradients that are added to what another node wrote, of one stream. */
static void plan_addends(const planning *p, int stream) {
    const affect_architecture *a = p->a;
    size_t most = 0, first = p->layout->bytes.activations;
    bool written[AFFECT_MAX_LAYERS] = {false};
    for (size_t i = a->n_layers; i-- > 0;) {
        affect_session_node *node = &p->layout->nodes[i];
        size_t total = first;
        if (node->stream != stream) continue;
        for (size_t k = 0; k < a->edges[i].n; k++) {
            node->reads[k] = source_of(a, a->edges[i].from[k], true);
            node->addend[k] = SIZE_MAX;
            if (is_identity(a->layers[i], true) || node->reads[k] == AFFECT_NO_NODE) continue;
            if (written[node->reads[k]])
                node->addend[k] = take(&total, output_bytes(p, node->reads[k]));
            written[node->reads[k]] = true;
        }
        most = larger(most, total - first);
    }
    take(&p->layout->bytes.activations, most);
}

static void plan_training(const planning *p) {
    affect_session_layout *layout = p->layout;
    const affect_architecture *a = p->a;
    size_t *total = &layout->bytes.activations;
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        if (layer->runs->forward) layout->nodes[i].y = take(total, output_bytes(p, i));
        if (layer->runs->saved_size)
            layout->nodes[i].saved =
                take(total, layer->runs->saved_size(layer, p->backend, node_rows(p, i),
                                                    reader_rows(p, i)));
    }
    plan_places(p, true, offsetof(affect_session_node, d_y));
    for (int stream = 0; stream < layout->n_streams; stream++) plan_addends(p, stream);
}

static void plan_gradients(affect_session_layout *layout, const affect_architecture *a) {
    for (size_t i = 0; i < a->n_layers; i++) {
        bool wants = a->layers[i]->n_numbers > 0;
        for (size_t k = 0; k < a->edges[i].n; k++) {
            size_t from = a->edges[i].from[k].node;
            wants = wants || (from != AFFECT_NO_NODE && layout->nodes[from].wants_gradient);
        }
        layout->nodes[i].wants_gradient = wants;
    }
}

static void plan_inputs(const planning *p) {
    affect_session_layout *layout = p->layout;
    const affect_architecture *a = p->a;
    size_t batch = p->batch, *total = &layout->bytes.inputs, largest = batch;
    for (size_t i = 0; i < a->n_inputs; i++) {
        size_t count = batch * affect_shape_count(a->inputs[i].feature.shape);
        if (layout->shared[i])
            count = count / (batch * affect_feature_n_rows(&a->inputs[i].feature)) *
                    layout->max_rows[i];
        layout->inputs[i] = take(total, count * sizeof(affect_real));
        largest = larger(largest, count);
    }
    size_t classes = a->sizes.n_classes;
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
        layout->nodes[i] = (affect_session_node){
            .y = SIZE_MAX, .d_y = SIZE_MAX, .saved = SIZE_MAX, .input = SIZE_MAX};
    layout->n_streams = a->n_branches > 1 ? backend->ops->n_streams : 1;
    for (size_t b = 0; b < a->n_branches; b++)
        for (size_t i = a->branches[b].first; i < a->branches[b].end; i++) {
            layout->nodes[i].input = a->branches[b].input;
            layout->nodes[i].stream =
                b < (size_t)layout->n_streams ? (int)b : layout->n_streams - 1;
        }
    plan_sharing(&p, options.training, options.max_rows);
    if (options.training)
        plan_training(&p);
    else
        plan_places(&p, false, offsetof(affect_session_node, y));
    plan_gradients(layout, a);
    plan_inputs(&p);
    size_t workspaces[AFFECT_MAX_STREAMS] = {0};
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        size_t *room = &workspaces[layout->nodes[i].stream];
        if (layer->runs->workspace_size)
            *room = larger(*room, layer->runs->workspace_size(layer, backend, node_rows(&p, i),
                                                              reader_rows(&p, i)));
    }
    for (int stream = 0; stream < layout->n_streams; stream++)
        layout->workspaces[stream] = take(&layout->bytes.workspace, workspaces[stream]);
    size_t trainable = a->builder.n_trainable * sizeof(affect_real);
    layout->bytes.parameters = trainable + a->builder.n_statistics * sizeof(affect_real);
    layout->bytes.optimizer = options.training ? 3 * trainable : 0;
}
