/* The two passes of a session through the graph.
 *
 * A pass walks a branch's nodes in their order (or backwards), then the fusion's, and hands each
 * layer its pointers; a layer whose function is NULL costs nothing, its output is its input. Nodes
 * that share rows run on the distinct rows of their branch's input (session.h). */
#include "engine/model/session_state.h"

/* A branch or the fusion. */
typedef struct {
    size_t first, end;                /* nodes */
    const affect_real *x;             /* what the first node reads */
    const affect_real *const *many_x; /* the same for a concatenate */
    affect_real *d_x;                 /* gradient of x, or NULL: not wanted */
    affect_real *const *many_d_x;
    const size_t *rows;    /* a branch: distinct rows of its input, by utterance */
    const size_t *lengths; /* and its utterances' frames before the padding */
} chain;

static chain branch_chain(const affect_session *s, size_t index) {
    const affect_branch *branch = &s->architecture->branches[index];
    return (chain){
        .first = branch->first,
        .end = branch->end,
        .x = (const affect_real *)(s->inputs + s->layout.inputs[branch->input]),
        .rows = s->first[branch->input],
        .lengths = s->lengths[branch->input],
    };
}

static affect_layer_pass pass_of(affect_session *s, const chain *c, size_t node,
                                 const affect_session_run *run) {
    const affect_session_node *at = &s->layout.nodes[node];
    affect_layer_pass pass = {
        .backend = s->backend,
        .n = run->batch * s->architecture->layers[node]->fold,
        .first_utterance = run->first,
        .y = at->y == SIZE_MAX ? NULL : (affect_real *)(s->activations + at->y),
        .d_y = at->d_y == SIZE_MAX ? NULL : (affect_real *)(s->activations + at->d_y),
        .saved = at->saved == SIZE_MAX ? NULL : s->activations + at->saved,
        .parameters = s->blocks.parameters,
        .gradients = s->blocks.gradients,
        .statistics = s->blocks.statistics,
        .workspace = s->workspace,
        .many_x = c->many_x,
        .many_d_x = c->many_d_x,
    };
    if (at->shared) pass.n = c->rows[run->batch];
    if (at->reads_shared) {
        pass.n_rows = c->rows[run->batch];
        pass.first = c->rows;
    }
    if (s->architecture->layers[node]->masked) pass.lengths = c->lengths;
    if (run->dropout) pass.dropout = *run->dropout;
    return pass;
}

static void forward_chain(affect_session *s, const chain *c, const affect_session_run *run) {
    const affect_real *x = c->x;
    for (size_t i = c->first; i < c->end; i++) {
        const affect_layer *layer = s->architecture->layers[i];
        affect_layer_function *function = run->dropout ? layer->runs->forward : layer->runs->infer;
        if (function) {
            affect_layer_pass pass = pass_of(s, c, i, run);
            pass.x = x;
            function(layer, &pass);
            x = pass.y;
        }
        s->values[i] = x;
    }
}

const affect_real *affect_session_forward(affect_session *s, const affect_session_run *run) {
    const affect_architecture *a = s->architecture;
    const affect_real *outputs[AFFECT_MAX_BRANCHES];
    for (size_t b = 0; b < a->n_branches; b++) {
        chain branch = branch_chain(s, b);
        forward_chain(s, &branch, run);
        outputs[b] = s->values[branch.end - 1];
    }
    chain fusion = {.first = a->fusion, .end = a->n_layers, .x = outputs[0], .many_x = outputs};
    forward_chain(s, &fusion, run);
    return s->values[a->n_layers - 1];
}

/* The nearest node before `node` in first.. that computes; SIZE_MAX when there is none. */
static size_t computing_before(const affect_architecture *a, size_t node, size_t first) {
    while (node-- > first)
        if (a->layers[node]->runs->forward) return node;
    return SIZE_MAX;
}

static void backward_chain(affect_session *s, const chain *c, const affect_session_run *run) {
    const affect_architecture *a = s->architecture;
    for (size_t i = c->end; i-- > c->first;) {
        const affect_layer *layer = a->layers[i];
        if (!layer->runs->backward) continue;
        if (!s->layout.nodes[i].wants_gradient) return;
        affect_layer_pass pass = pass_of(s, c, i, run);
        size_t before = computing_before(a, i, c->first);
        pass.x = i > c->first ? s->values[i - 1] : c->x;
        if (before == SIZE_MAX)
            pass.d_x = c->d_x;
        else if (s->layout.nodes[before].wants_gradient)
            pass.d_x = (affect_real *)(s->activations + s->layout.nodes[before].d_y);
        layer->runs->backward(layer, &pass);
    }
}

void affect_session_backward(affect_session *s, const affect_session_run *run) {
    const affect_architecture *a = s->architecture;
    affect_real *d[AFFECT_MAX_BRANCHES];
    for (size_t b = 0; b < a->n_branches; b++)
        d[b] = (affect_real *)(s->activations + s->layout.branch_d[b]);
    chain fusion = {.first = a->fusion,
                    .end = a->n_layers,
                    .x = s->values[a->fusion - 1],
                    .d_x = d[0],
                    .many_d_x = d};
    backward_chain(s, &fusion, run);
    for (size_t b = a->n_branches; b-- > 0;) {
        chain branch = branch_chain(s, b);
        backward_chain(s, &branch, run);
    }
}
