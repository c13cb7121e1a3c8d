/* Inside an architecture: the graph that a session runs. For engine/model only.
 *
 * A directed acyclic graph whose nodes stand in an order of evaluation: each branch that the fusion
 * names, in the fusion's order, then the fusion. A node reads what its edges name: an input or
 * nodes before it. */
#ifndef AFFECT_MODEL_GRAPH_H
#define AFFECT_MODEL_GRAPH_H

#include "engine/model/architecture.h"
#include "engine/nn/layer.h"

enum { AFFECT_MAX_BRANCHES = 8, AFFECT_MAX_INPUTS = 8 };
#define AFFECT_NO_NODE SIZE_MAX

/* From where a node reads. */
typedef struct {
    size_t node;  /* before it, or AFFECT_NO_NODE: */
    size_t input; /* index of an input */
} affect_edge;

typedef struct {
    affect_edge from[AFFECT_LAYER_MAX_INPUTS];
    size_t n;
    size_t n_readers; /* edges that lead away from this node */
} affect_edges;

typedef struct {
    char name[AFFECT_BRANCH_NAME_MAX + 1];
    size_t input;      /* index */
    size_t first, end; /* nodes first..end-1; a branch has at least one */
} affect_branch;

struct affect_architecture {
    char name[64];
    affect_json *document; /* owned: as given, variables at the values used */
    affect_sizes sizes;
    affect_input inputs[AFFECT_MAX_INPUTS]; /* those that a branch of the fusion reads */
    size_t n_inputs;
    affect_branch branches[AFFECT_MAX_BRANCHES];
    size_t n_branches;
    affect_layer **layers; /* owned; every node of the graph */
    affect_edges *edges;   /* owned; of each node */
    size_t n_layers;
    size_t fusion;                /* index of the first fusion node */
    affect_layer_builder builder; /* tensors; parameters owned */
};

#endif
