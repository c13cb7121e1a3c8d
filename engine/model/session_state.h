/* Inside a session: its memory and where each node's lies. For engine/model only.
 *
 * Training keeps every output; gradients of outputs need two buffers that alternate along a chain
 * of layers, and one per branch for what the fusion hands back. Inference needs two alternating
 * output buffers and one per branch. All sizes are for max_batch. */
#ifndef AFFECT_MODEL_SESSION_STATE_H
#define AFFECT_MODEL_SESSION_STATE_H

#include "engine/model/graph.h"
#include "engine/model/session.h"

/* Offsets are in bytes within the block of activations; SIZE_MAX: has none. */
typedef struct {
    size_t y;            /* output */
    size_t d_y;          /* gradient of the output (training) */
    size_t saved;        /* from forward to backward (training) */
    bool wants_gradient; /* it, or a layer before it in its branch, has trainable tensors */
} affect_session_node;

typedef struct {
    affect_session_node nodes[AFFECT_MAX_LAYERS];
    size_t branch_d[AFFECT_MAX_BRANCHES]; /* gradient of each branch's output */
    size_t inputs[AFFECT_MAX_INPUTS];     /* offsets within the block of inputs */
    size_t labels, weights, stats, total; /* likewise */
    size_t staging;                       /* bytes on the host: numbers to convert */
    affect_session_plan bytes;
} affect_session_layout;

struct affect_session {
    affect_backend *backend;                 /* borrowed */
    const affect_architecture *architecture; /* borrowed */
    affect_session_options options;
    affect_session_layout layout;
    affect_session_blocks blocks;
    char *activations, *inputs;                   /* device blocks */
    void *workspace;                              /* device */
    void *staging;                                /* host; NULL where affect_real is float */
    double *host_stats;                           /* 2 + classes^2 */
    const affect_real *values[AFFECT_MAX_LAYERS]; /* of the pass that runs: each node's output */
};

/* Fills the layout. */
void affect_session_plan_memory(affect_session_layout *layout, affect_backend *backend,
                                const affect_architecture *architecture,
                                affect_session_options options);

#endif
