/* An architecture: JSON to a checked graph of layers, with every shape known.
 *
 * The document (configs/models/ has examples) names inputs, branches and a fusion:
 *
 *   {"name", "description"?, "variables"?: {"dropout": 0.3},
 *    "inputs":   {"audio": {"feature": "mel" | "motion" | "embedding:NAME", "mask"?: false,
 *                           "shape"?: ["$frames", "$mels", 1]}},
 *    "branches": {"audio": {"input": "audio", "layers": [LAYER, ...]}},
 *    "fusion":   {"branches": ["audio", "motion"], "layers": [LAYER, ...]}}
 *
 *   LAYER = {"type", "name", parameters with Keras' names and defaults}; the wrappers
 * time_distributed and bidirectional hold {"type", "layer": LAYER} and have no name of their own.
 *
 * A layer whose "if" (true, false, a number, "$variable") is false or 0 is left out.
 * A layer reads the one before it, a branch's first one the branch's input, the fusion's first one
 * all branches (concatenate or add; with one branch any layer). With "inputs": [NAME, ...] it reads
 * what it names instead: layers before it in the same branch, the branch's input; in the fusion
 * layers before it and branches. A layer's name goes before an input's or a branch's. So residuals
 * and several fusions are possible:
 *
 *   {"type": "add", "name": "residual", "inputs": ["conv_1", "conv_2"]}
 *
 * Every layer's output must be read. With "mask" the padding of that input (frames at the
 * utterance's end that are one value throughout) is masked: its branch's recurrent layers,
 * attention and poolings over steps stop at the utterance's end. Without it, as in the paper, they
 * walk the padding too.
 *
 * An input that an embedding reads holds ids: whole numbers from 0 to input_dim - 1 (of several
 * embeddings the smallest), of a feature that is not scaled. An embedding with mask_zero masks what
 * follows it as "mask" does; the padding of ids are the zeros behind the last other id, and there
 * are none before it. A session checks the ids of every utterance.
 *
 * "$name" stands for a variable: the document's own, which a job may override, or one of the sizes
 * that the data gives (modality.h): frames, mels, parts, columns, NAME_frames, NAME_size, classes.
 * The shape of an input is that of its feature, whether it is written or not. The last layer of all
 * ends in softmax over `classes`. Every mistake is found here and names the layer: "audio.conv_3:
 * kernel_size 3 is longer than its input (2, 128)".
 *
 * An architecture is immutable after it is made and may be shared by threads. */
#ifndef AFFECT_MODEL_ARCHITECTURE_H
#define AFFECT_MODEL_ARCHITECTURE_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/modality/modality.h"
#include "engine/nn/parameter.h"

typedef struct {
    char name[64];
    affect_feature feature; /* that it reads; its shape is the input's */
    bool mask;              /* padding is masked for recurrent layers, of all its readers */
    bool has_lengths;       /* or of some, behind an embedding with mask_zero */
    size_t n_ids;           /* an embedding reads it: its numbers are ids below this; else 0 */
} affect_input;

typedef struct affect_architecture affect_architecture;

/* `variables` overrides the document's (an object or NULL; an unknown name is INVALID). Borrows the
 * JSON. *architecture owned (free). INVALID / SHAPE name the layer and the pointer. */
affect_status affect_architecture_create(affect_architecture **architecture,
                                         const affect_json *document, const affect_json *variables,
                                         const affect_sizes *sizes, affect_error *err);
/* The preset's document by name ("paper-optimized"), parsed from the embedded configs; owned. */
affect_status affect_architecture_preset(affect_json **document, const char *name,
                                         affect_error *err);
/* The name of preset i, in alphabetical order; false beyond the last. */
bool affect_architecture_preset_name(char name[64], size_t i);
void affect_architecture_free(affect_architecture *architecture);

/* Borrowed until free. */
const char *affect_architecture_name(const affect_architecture *architecture);
/* The document with all variables at the values used: what a model file stores. */
const affect_json *affect_architecture_document(const affect_architecture *architecture);
const affect_sizes *affect_architecture_sizes(const affect_architecture *architecture);
size_t affect_architecture_n_inputs(const affect_architecture *architecture);
const affect_input *affect_architecture_input(const affect_architecture *architecture, size_t i);
size_t affect_architecture_n_parameters(const affect_architecture *architecture);
const affect_parameter *affect_architecture_parameter(const affect_architecture *architecture,
                                                      size_t i);
/* Numbers in the parameter block and in the statistics block. */
size_t affect_architecture_n_trainable(const affect_architecture *architecture);
size_t affect_architecture_n_statistics(const affect_architecture *architecture);
/* Whether a layer's bits depend on the device's gemm_library (device/operations.h). */
bool affect_architecture_uses_gemm(const affect_architecture *architecture);
/* Sets "inputs" {NAME: {"feature", "shape"}}, and as numbers "parameters" (all), of which
 * "trainable" and "statistics". */
void affect_architecture_describe(affect_json *json, const affect_architecture *architecture);
/* [501, 128, 1]; owned, NULL without memory. */
affect_json *affect_shape_to_json(affect_shape shape);
/* {"motion.bn_1": {"type": "batch_norm", "momentum": 0.99, "epsilon": 0.001}, ...}: each layer with
 * all its options, and the order of its gates: what another program needs to run the tensors
 * without our defaults. Owned. */
affect_json *affect_architecture_layers(const affect_architecture *architecture);
/* A table of layers, output shapes and parameter counts for people, appended to buffer. */
void affect_architecture_print(affect_buffer *buffer, const affect_architecture *architecture);

#endif
