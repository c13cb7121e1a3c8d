/* Layers: one class (a table of functions) per kind, one file per class.
 *
 * A layer is made from its JSON and the shape of its input; it then knows its output's shape and
 * which tensors it has, and never changes: it may be shared by threads. Its two passes get all
 * memory from the session in an affect_layer_pass. Semantics, names and defaults are Keras 3's.
 *
 * Wrappers leave no trace at run time: time_distributed makes the inner layer with `fold` = frames
 * (its passes see batch * frames rows), bidirectional makes its lstm with two directions.
 *
 * Adding a layer: one file that fills an affect_layer_class, one row in layer_registry.h. */
#ifndef AFFECT_NN_LAYER_H
#define AFFECT_NN_LAYER_H

#include "engine/core/fields.h"
#include "engine/device/backend.h"
#include "engine/nn/parameter.h"

enum {
    AFFECT_LAYER_NAME_MAX = 40,  /* characters of a layer's name */
    AFFECT_BRANCH_NAME_MAX = 24, /* and of a branch's */
    AFFECT_LAYER_MAX_TENSORS = 8,
    AFFECT_LAYER_MAX_INPUTS = 8,
    AFFECT_MAX_LAYERS = 256,           /* of an architecture */
    AFFECT_MAX_TRAINABLE = 200000000,  /* numbers in an architecture */
    AFFECT_MAX_LAYER_OUTPUT = 1 << 28, /* numbers that a layer makes of one utterance */
    AFFECT_MAX_DIMENSION = 1 << 20,    /* of inputs, filters, units, kernels */
    AFFECT_MAX_LSTM_UNITS = 1024,      /* orthogonal initial weights take units^3 */
};

typedef struct affect_layer affect_layer;
typedef struct affect_layer_class affect_layer_class;

/* What collects tensors while layers are made. */
typedef struct {
    affect_parameter *parameters; /* owned by the caller that made the builder */
    size_t n_parameters, capacity;
    size_t n_trainable, n_statistics; /* numbers so far in each block */
    size_t n_layers;
    const char *branch; /* of the layer being made; borrowed */
    bool bidirectional; /* set by the wrapper for its lstm */
} affect_layer_builder;

struct affect_layer {
    const affect_layer_class *class;
    const affect_layer_class *runs; /* whose passes run: class, or another after a merge */
    char name[AFFECT_LAYER_NAME_MAX + 1];
    char branch[AFFECT_BRANCH_NAME_MAX + 1];
    void *options; /* the class' struct of parsed fields; owned */
    size_t index;  /* in the whole graph: distinguishes dropout masks */
    size_t fold;   /* rows per utterance: frames under time_distributed, else 1 */
    bool bidirectional;
    bool softmax;               /* ends in softmax: backward starts at its logits */
    bool masked;                /* its input's padding is masked: heeds pass->lengths */
    size_t n_ids;               /* its input's numbers are ids below this; 0: they are no ids */
    bool masks_zero;            /* and id 0 is padding, which is masked */
    affect_shape input;         /* of one row */
    affect_shape output;        /* of one row */
    affect_shape outside;       /* output of one utterance: with the frames when folded */
    const affect_layer *merged; /* the layer before it that it computes too, or NULL; borrowed */
    affect_shape inputs[AFFECT_LAYER_MAX_INPUTS]; /* of an utterance; input is inputs[0] */
    size_t n_inputs;
    size_t n_numbers; /* of all its tensors, statistics too */
    struct {
        bool present, trainable;
        size_t offset; /* in its block */
    } tensors[AFFECT_LAYER_MAX_TENSORS];
};

/* One call of a layer: all pointers are device memory, borrowed. */
typedef struct {
    affect_backend *backend;
    size_t n;              /* rows: batch * layer->fold, or fewer where equal rows are shared */
    size_t n_rows;         /* of x when it holds each utterance's distinct rows only, else 0 */
    const size_t *first;   /* (n + 1) where n_rows > 0, host; see affect_lstm_shape */
    const size_t *lengths; /* (n) where the layer is masked, host; else NULL */
    const affect_real *x;
    affect_real *y;
    affect_real *d_y;                 /* backward; may be overwritten */
    affect_real *d_x;                 /* backward; NULL: not needed */
    const affect_real *const *many_x; /* layers that join: all n_inputs; x is the first */
    affect_real *const *many_d_x;     /* the same; any of them may be NULL */
    affect_real *parameters, *gradients, *statistics; /* the session's blocks */
    void *saved;                                      /* from forward to backward */
    void *workspace;                                  /* scratch within one call */
    affect_random_key dropout;
    size_t first_utterance; /* of this pass within its whole batch: continues the dropout mask */
} affect_layer_pass;

typedef void affect_layer_function(const affect_layer *layer, const affect_layer_pass *pass);

struct affect_layer_class {
    const char *type;
    const affect_field *fields; /* of options; "type", "name" and "layer" are not among them */
    size_t options_size;
    const char *gates;       /* their order in its tensors; NULL: none */
    bool joins;              /* reads several inputs; others read one */
    bool can_fold;           /* means the same when frames are folded into the rows */
    bool is_rowwise;         /* equal rows of x give equal rows of y: they may be computed once */
    bool reads_deduplicated; /* can read an x whose equal last rows were computed once */
    bool masks;              /* heeds pass->lengths */
    bool keeps_steps;        /* each step of y depends on that step of x only */
    bool uses_gemm;          /* its bits depend on the device's gemm_library */

    /* Wrappers only: makes the layer they hold. */
    affect_status (*wrap)(affect_layer **layer, affect_layer_builder *builder,
                          const affect_json *json, affect_shape input, const char *pointer,
                          affect_error *err);

    /* From options and input: sets output, adds tensors. SHAPE or INVALID; the caller puts the
     * layer's name before the message. */
    affect_status (*build)(affect_layer *layer, affect_layer_builder *builder, affect_error *err);

    /* Bytes for n rows (n_rows as in affect_layer_pass, or the most there may be); NULL = none. */
    size_t (*saved_size)(const affect_layer *layer, affect_backend *backend, size_t n,
                         size_t n_rows);
    size_t (*workspace_size)(const affect_layer *layer, affect_backend *backend, size_t n,
                             size_t n_rows);

    /* The two passes; NULL: the output is the input. */
    affect_layer_function *forward; /* training */
    affect_layer_function *infer;
    affect_layer_function *backward;
};

/* The class of that type, or NULL; all types, as "conv1d, dense, ...". Borrowed for ever. */
const affect_layer_class *affect_layer_class_find(const char *type);
void affect_layer_class_names(char *text, size_t size);

/* Makes the layer of `json` (variables resolved). pointer: the JSON pointer of `json`. Errors name
 * the layer ("audio.conv_1: ...") and a pointer. *layer owned (free). */
affect_status affect_layer_create(affect_layer **layer, affect_layer_builder *builder,
                                  const affect_json *json, affect_shape input, const char *pointer,
                                  affect_error *err);
/* The same for 1..AFFECT_LAYER_MAX_INPUTS inputs; INVALID when a layer that does not join has
 * several. */
affect_status affect_layer_create_joining(affect_layer **layer, affect_layer_builder *builder,
                                          const affect_json *json, const affect_shape *inputs,
                                          size_t n_inputs, const char *pointer, affect_error *err);
void affect_layer_free(affect_layer *layer);

/* Where a backend has one operation for a layer and the one after it (conv1d with relu, then
 * maxpool1d of pairs), lets `second` compute both and makes `first` the identity. Called, in order,
 * for neighbours of which the second reads the first and nothing else does. */
void affect_layer_merge(affect_layer *first, affect_layer *second);

/* For build: registers tensor `slot` as "<branch>.<layer>.<name>". TOO_LARGE over the limits. */
affect_status affect_layer_add_tensor(affect_layer *layer, affect_layer_builder *builder, int slot,
                                      const char *name, affect_shape shape,
                                      affect_initializer initializer, double l2, affect_error *err);
/* The same for a moving statistic, which is not trained. */
affect_status affect_layer_add_statistic(affect_layer *layer, affect_layer_builder *builder,
                                         int slot, const char *name, affect_shape shape,
                                         affect_initializer initializer, affect_error *err);
/* For passes: tensor `slot` and its gradient; NULL when the layer has none. */
affect_real *affect_layer_tensor(const affect_layer *layer, const affect_layer_pass *pass,
                                 int slot);
affect_real *affect_layer_gradient(const affect_layer *layer, const affect_layer_pass *pass,
                                   int slot);

/* n numbers rounded up to 64, so that what lies behind them in saved or workspace memory is aligned
 * as any backend's is. */
static inline size_t affect_layer_aligned(size_t n) {
    return (n + 63) / 64 * 64;
}

/* Names of affect_activation in Keras' words, ended by NULL; the first form has no softmax. */
extern const char *const affect_activation_names[];
extern const char *const affect_activation_names_all[];

/* Length and left padding of a window sliding over `length` (Keras' valid and same). SHAPE when the
 * window is longer than its input. what: "kernel_size" or "pool_size". */
typedef enum { AFFECT_PADDING_VALID, AFFECT_PADDING_SAME } affect_padding;
extern const char *const affect_padding_names[];
affect_status affect_window(size_t *length_out, size_t *pad_left, const affect_layer *layer,
                            const char *what, size_t size, size_t stride, affect_padding padding,
                            affect_error *err);

#endif
