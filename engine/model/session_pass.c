/* The two passes of a session through the graph.
 *
 * A pass walks the nodes in their order (or backwards) and hands each layer its pointers. Nodes
 * that share rows run on the distinct rows of their branch's input (session.h). The gradient of an
 * output that several nodes read is the sum of what they write: the first one writes it, each other
 * one writes an addend beside it. The order is the graph's, so sums have the same bits every time.
 */
#include "engine/model/session_state.h"

static affect_real *place(const affect_session *s, size_t offset) {
    return offset == SIZE_MAX ? NULL : (affect_real *)(s->activations + offset);
}

static affect_layer_pass pass_of(affect_session *s, size_t node, const affect_real *const *x,
                                 const affect_session_run *run) {
    const affect_session_node *at = &s->layout.nodes[node];
    const affect_layer *layer = s->architecture->layers[node];
    const size_t *rows = at->input == SIZE_MAX ? NULL : s->first[at->input];
    affect_layer_pass pass = {
        .backend = s->backend,
        .n = at->shared ? rows[run->batch] : run->batch * layer->fold,
        .first_utterance = run->first,
        .x = x[0],
        .many_x = x,
        .y = place(s, at->y),
        .d_y = place(s, at->d_y),
        .saved = place(s, at->saved),
        .parameters = s->blocks.parameters,
        .gradients = s->blocks.gradients,
        .statistics = s->blocks.statistics,
        .workspace = (char *)s->workspace + s->layout.workspaces[at->stream],
    };
    if (at->reads_shared) {
        pass.n_rows = rows[run->batch];
        pass.first = rows;
    }
    if (layer->masked) pass.lengths = s->lengths[at->input];
    if (run->dropout) pass.dropout = *run->dropout;
    return pass;
}

static void read_edges(const affect_real **x, const affect_session *s, size_t node) {
    const affect_edges *edges = &s->architecture->edges[node];
    for (size_t k = 0; k < edges->n; k++)
        x[k] = edges->from[k].node != AFFECT_NO_NODE
                   ? s->values[edges->from[k].node]
                   : (const affect_real *)(s->inputs + s->layout.inputs[edges->from[k].input]);
}

/* Before node i, the first of its branch or of the fusion in a pass' order. */
static void change_stream(affect_session *s, size_t node, bool first_branch) {
    const affect_backend_ops *ops = s->backend->ops;
    if (s->layout.n_streams == 1) return;
    if (node >= s->architecture->fusion)
        ops->join(s->backend);
    else if (first_branch)
        ops->fork(s->backend);
    if (node < s->architecture->fusion) ops->use_stream(s->backend, s->layout.nodes[node].stream);
}

const affect_real *affect_session_forward(affect_session *s, const affect_session_run *run) {
    const affect_architecture *a = s->architecture;
    for (size_t i = 0; i < a->n_layers; i++) {
        if (i == 0 || i == a->fusion || s->layout.nodes[i].stream != s->layout.nodes[i - 1].stream)
            change_stream(s, i, i == 0);
        const affect_layer *layer = a->layers[i];
        affect_layer_function *function = run->dropout ? layer->runs->forward : layer->runs->infer;
        const affect_real *x[AFFECT_LAYER_MAX_INPUTS];
        read_edges(x, s, i);
        s->values[i] = x[0];
        if (!function) continue;
        affect_layer_pass pass = pass_of(s, i, x, run);
        function(layer, &pass);
        s->values[i] = pass.y;
    }
    return s->values[a->n_layers - 1];
}

static void add_gradient(affect_session *s, size_t node, size_t addend,
                         const affect_session_run *run) {
    const affect_layer *layer = s->architecture->layers[node];
    size_t n = run->batch * layer->fold * affect_shape_count(layer->output);
    s->backend->ops->add(s->backend, place(s, s->layout.nodes[node].d_y), place(s, addend), n);
}

void affect_session_backward(affect_session *s, const affect_session_run *run) {
    const affect_architecture *a = s->architecture;
    bool written[AFFECT_MAX_LAYERS] = {false}; /* the node's d_y */
    for (size_t i = a->n_layers; i-- > 0;) {
        const affect_session_node *at = &s->layout.nodes[i];
        const affect_real *x[AFFECT_LAYER_MAX_INPUTS];
        affect_real *d_x[AFFECT_LAYER_MAX_INPUTS] = {NULL};
        if (i + 1 == a->fusion || (i < a->fusion && at->stream != s->layout.nodes[i + 1].stream))
            change_stream(s, i, i + 1 == a->fusion);
        if (!a->layers[i]->runs->backward || !at->wants_gradient) continue;
        read_edges(x, s, i);
        for (size_t k = 0; k < a->edges[i].n; k++) {
            size_t from = at->reads[k];
            if (from == AFFECT_NO_NODE || !s->layout.nodes[from].wants_gradient) continue;
            d_x[k] = place(s, written[from] ? at->addend[k] : s->layout.nodes[from].d_y);
        }
        affect_layer_pass pass = pass_of(s, i, x, run);
        pass.d_x = d_x[0];
        pass.many_d_x = d_x;
        a->layers[i]->runs->backward(a->layers[i], &pass);
        for (size_t k = 0; k < a->edges[i].n; k++) {
            if (!d_x[k]) continue;
            if (written[at->reads[k]]) add_gradient(s, at->reads[k], at->addend[k], run);
            written[at->reads[k]] = true;
        }
    }
    if (s->layout.n_streams > 1) s->backend->ops->join(s->backend);
}
