/* Inside a session: its memory and where each node's lies. For engine/model only.
 *
 * Training keeps every output. Gradients of outputs (in inference: outputs) alternate between two
 * buffers along a chain of layers; a node that is read by several, by another than the next one, or
 * by the fusion has a buffer of its own. A layer whose function is NULL costs nothing: who reads it
 * reads what it reads. Branches run side by side in the streams of a backend that has some; each
 * stream has buffers and a workspace of its own. All sizes are for max_batch. */
#ifndef AFFECT_MODEL_SESSION_STATE_H
#define AFFECT_MODEL_SESSION_STATE_H

#include "engine/model/graph.h"
#include "engine/model/session.h"

/* Offsets are in bytes within the block of activations; SIZE_MAX: has none. */
typedef struct {
    size_t y;            /* output */
    size_t d_y;          /* gradient of the output (training) */
    size_t saved;        /* from forward to backward (training) */
    bool wants_gradient; /* it, or a node that it depends on, has trainable tensors */
    size_t reads[AFFECT_LAYER_MAX_INPUTS];  /* training: the nodes whose outputs it reads, behind
                                             * such as compute nothing; AFFECT_NO_NODE: an input */
    size_t addend[AFFECT_LAYER_MAX_INPUTS]; /* where it writes the gradient of an input that other
                                             * nodes write too, or SIZE_MAX */
    size_t input;                           /* that its branch reads; SIZE_MAX: of the fusion */
    int stream;        /* of the backend, where its branch runs beside others; else 0 */
    bool shared;       /* its rows are the distinct ones of its branch's input */
    bool reads_shared; /* its x has such rows, its y has all */
} affect_session_node;

typedef struct {
    affect_session_node nodes[AFFECT_MAX_LAYERS];
    int n_streams;                         /* that are used; each has its own: */
    size_t workspaces[AFFECT_MAX_STREAMS]; /* offsets within the workspace */
    size_t inputs[AFFECT_MAX_INPUTS];      /* offsets within the block of inputs */
    bool shared[AFFECT_MAX_INPUTS];        /* only distinct rows are kept of it */
    size_t max_rows[AFFECT_MAX_INPUTS];    /* room for them */
    size_t labels, weights, totals, l2;    /* likewise */
    size_t staging;                        /* bytes on the host: numbers to convert */
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
    bool recording;                               /* between record_begin and record_end */
    size_t *first[AFFECT_MAX_INPUTS];             /* (max_batch + 1) rows of each utterance */
    size_t *lengths[AFFECT_MAX_INPUTS];           /* (max_batch) frames before the padding */
    affect_run *runs;                             /* (max_batch) of a gathering */
    const affect_real *values[AFFECT_MAX_LAYERS]; /* of the pass that runs: each node's output */
};

/* Kinds of recordings (backend.h). */
enum {
    AFFECT_SESSION_RECORDS_MICRO_BATCH, /* forward and backward of a piece of a batch */
    AFFECT_SESSION_RECORDS_STEP,        /* of a batch or its last piece, and the optimiser's step */
    AFFECT_SESSION_RECORDS_EVALUATION
};

struct affect_device_cache {
    affect_session *session;                /* borrowed */
    affect_real *memory[AFFECT_MAX_INPUTS]; /* device */
    size_t *first[AFFECT_MAX_INPUTS];       /* (n + 1) rows of each utterance */
    size_t *lengths[AFFECT_MAX_INPUTS];     /* (n) frames before the padding */
    size_t *used[AFFECT_MAX_INPUTS];        /* (n) rows that are filled */
    size_t n_utterances;
};

/* Opens a recording unless one is open; ends an open one. */
void affect_session_record(affect_session *session);
void affect_session_flush(affect_session *session, int kind);
/* Outside a recording. The caller waits (synchronize) before `from` or the staging is used again.
 */
void affect_session_upload(affect_session *session, affect_real *to, const float *from, size_t n);
/* Frames of an utterance before its padding: frames at its end that are one value throughout; of
 * ids: zeros at the end. */
size_t affect_session_count_unpadded(const affect_input *input, const float *values);
/* INVALID: a number of the utterance that is no id, where the input holds ids. */
affect_status affect_session_check_ids(const affect_input *input, const float *values,
                                       affect_error *err);
/* Enqueues the gathering of the batch's utterances; sets first and lengths. */
affect_status affect_session_gather(affect_session *session, const affect_session_batch *batch,
                                    affect_error *err);

/* One pass. */
typedef struct {
    size_t batch, first;              /* utterances, and how many of the whole batch were before */
    const affect_random_key *dropout; /* NULL: inference */
} affect_session_run;

/* The whole graph; returns the probabilities (device). Backward starts at the last node's d_y. */
const affect_real *affect_session_forward(affect_session *session, const affect_session_run *run);
void affect_session_backward(affect_session *session, const affect_session_run *run);

/* Fills the layout. */
void affect_session_plan_memory(affect_session_layout *layout, affect_backend *backend,
                                const affect_architecture *architecture,
                                affect_session_options options);

#endif
