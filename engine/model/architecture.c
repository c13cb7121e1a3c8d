/* JSON to a checked graph of layers; see architecture.h.
 *
 * Three steps: variables take their values, the document's own members are checked by field
 * tables, and layers are made in the order of evaluation, each from the output shape of the one
 * before it. Limits stand in nn/layer.h: documents come from clients. */
#include "engine/core/embedded.h"
#include "engine/core/fields.h"
#include "engine/dataset/label_map.h"
#include "engine/model/graph.h"
#include "engine/model/variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRESETS "configs/models"

typedef struct {
    char name[64], description[512];
    affect_json *variables, *inputs, *branches, *fusion;
} document_fields;

static const affect_field document_table[] = {
    AFFECT_FIELD_STRING(document_fields, name, "", "of the architecture"),
    AFFECT_FIELD_STRING(document_fields, description, "", "for people"),
    AFFECT_FIELD_JSON(document_fields, variables, "values that a job may override"),
    AFFECT_FIELD_JSON(document_fields, inputs, "what the network reads"),
    AFFECT_FIELD_JSON(document_fields, branches, "a run of layers per input"),
    AFFECT_FIELD_JSON(document_fields, fusion, "joins the branches"),
    AFFECT_FIELD_END,
};

typedef struct {
    char feature[AFFECT_FEATURE_NAME_SIZE];
    affect_json *shape;
    bool mask;
} input_fields;

static const affect_field input_table[] = {
    AFFECT_FIELD_STRING(input_fields, feature, "", "what is fed: mel, motion or embedding:NAME"),
    AFFECT_FIELD_JSON(input_fields, shape, "of one utterance; the feature's where it is absent"),
    AFFECT_FIELD_BOOL(input_fields, mask, false, "recurrent layers stop where the padding begins"),
    AFFECT_FIELD_END,
};

typedef struct {
    char input[64];
    affect_json *layers;
} branch_fields;

static const affect_field branch_table[] = {
    AFFECT_FIELD_STRING(branch_fields, input, "", "name of the input it reads"),
    AFFECT_FIELD_JSON(branch_fields, layers, "in the order of evaluation"),
    AFFECT_FIELD_END,
};

typedef struct {
    affect_json *branches, *layers;
} fusion_fields;

static const affect_field fusion_table[] = {
    AFFECT_FIELD_JSON(fusion_fields, branches, "names of the branches that are joined"),
    AFFECT_FIELD_JSON(fusion_fields, layers, "in the order of evaluation"),
    AFFECT_FIELD_END,
};

static affect_status fail_at(affect_error *err, const char *pointer, affect_status status,
                             const char *message) {
    affect_error_set(err, status, "%s", message);
    if (err) snprintf(err->pointer, sizeof err->pointer, "%s", pointer);
    return status;
}

#define FAIL(err, pointer, CODE, ...)                                                              \
    do {                                                                                           \
        char fail_text_[512];                                                                      \
        snprintf(fail_text_, sizeof fail_text_, __VA_ARGS__);                                      \
        return fail_at((err), (pointer), AFFECT_STATUS_##CODE, fail_text_);                        \
    } while (0)

static bool is_name(const char *text, size_t max) {
    if (!(*text >= 'a' && *text <= 'z') || strlen(text) > max) return false;
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || *text == '_'))
            return false;
    return true;
}

/* ---- inputs ---- */

/* Sizes of a feature as an architecture writes them: "(frames, mels, 1)". */
static const char *size_names(char text[64], const affect_modality *m, int rank) {
    snprintf(text, 64, "(%s%s%s%s)", rank > 1 ? m->size_names[0] : "", rank > 1 ? ", " : "",
             m->size_names[1], m->has_channel ? ", 1" : "");
    return text;
}

static affect_status check_shape(const affect_input *input, const affect_json *json,
                                 const char *pointer, affect_error *err) {
    affect_shape want = input->feature.shape, got = {0};
    char wanted[AFFECT_SHAPE_TEXT_SIZE], names[64];
    if (!affect_json_is_array(json))
        FAIL(err, pointer, INVALID, "inputs.%.24s: shape is a %s (need an array)", input->name,
             affect_json_type_name(json));
    for (const affect_json *e = affect_json_first(json); e; e = affect_json_next(e)) {
        double size = affect_json_number(e, 0);
        if (got.rank == 3 || !(size >= 1 && size <= AFFECT_MAX_DIMENSION) ||
            size != (double)(size_t)size)
            FAIL(err, pointer, INVALID, "inputs.%.24s: shape needs up to 3 sizes of 1..%d",
                 input->name, AFFECT_MAX_DIMENSION);
        got.size[got.rank++] = (size_t)size;
    }
    if (!affect_shape_equal(got, want))
        FAIL(err, pointer, SHAPE, "inputs.%.24s: a \"%.40s\" input has the shape %s = %s",
             input->name, input->feature.name,
             size_names(names, input->feature.modality, want.rank),
             affect_shape_text(wanted, want));
    return AFFECT_STATUS_OK;
}

/* The feature that an input reads, of those that the data has. */
static affect_status find_feature(affect_input *input, const char *name, const affect_sizes *sizes,
                                  const char *pointer, affect_error *err) {
    char known[AFFECT_SIZES_NAMES_SIZE] = "";
    const affect_feature *found = affect_sizes_find(sizes, name);
    if (!*name)
        FAIL(err, pointer, INVALID, "inputs.%.24s: feature is missing (known: %s)", input->name,
             affect_modality_names(known));
    if (!found && !affect_modality_find(name))
        FAIL(err, pointer, INVALID, "inputs.%.24s: feature \"%.60s\" is not known (known: %s)",
             input->name, name, affect_modality_names(known));
    for (size_t i = 0; !found && i < sizes->n_features; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", sizes->features[i].name);
    }
    if (!found)
        FAIL(err, pointer, INVALID, "inputs.%.24s: the data has no \"%.60s\" (it has %.300s)",
             input->name, name, *known ? known : "nothing");
    input->feature = *found;
    return AFFECT_STATUS_OK;
}

static affect_status check_input(const affect_input *input, const affect_json *shape,
                                 const char *pointer, affect_error *err) {
    char below[128];
    const affect_shape *own = &input->feature.shape;
    snprintf(below, sizeof below, "%.100s/shape", pointer);
    if (shape) AFFECT_TRY(check_shape(input, shape, below, err));
    for (int d = 0; d < own->rank; d++)
        if (own->size[d] > AFFECT_MAX_DIMENSION)
            FAIL(err, below, TOO_LARGE, "inputs.%.24s: a size of %zu (at most %d)", input->name,
                 own->size[d], AFFECT_MAX_DIMENSION);
    if (affect_shape_count(*own) > AFFECT_MAX_LAYER_OUTPUT)
        FAIL(err, below, TOO_LARGE, "inputs.%.24s: more than %d numbers", input->name,
             AFFECT_MAX_LAYER_OUTPUT);
    if (input->mask && own->rank == 1)
        FAIL(err, pointer, INVALID, "inputs.%.24s: mask: a vector has no padding", input->name);
    return AFFECT_STATUS_OK;
}

static affect_status read_input(affect_input *input, const affect_json *json,
                                const affect_sizes *sizes, affect_error *err) {
    char pointer[96], below[128];
    const char *name = affect_json_name(json);
    input_fields fields;
    affect_fields_default(&fields, input_table);
    snprintf(pointer, sizeof pointer, "/inputs/%.24s", name);
    snprintf(below, sizeof below, "%s/feature", pointer);
    if (!is_name(name, AFFECT_BRANCH_NAME_MAX))
        FAIL(err, pointer, INVALID,
             "inputs: name \"%.40s\" is not [a-z][a-z0-9_]* of up to %d characters", name,
             AFFECT_BRANCH_NAME_MAX);
    snprintf(input->name, sizeof input->name, "%s", name);
    affect_status status = affect_fields_parse(&fields, input_table, json, pointer, err);
    if (status != AFFECT_STATUS_OK) affect_error_prefix(err, status, "inputs.%.24s", name);
    input->mask = input->has_lengths = fields.mask;
    if (status == AFFECT_STATUS_OK)
        status = find_feature(input, fields.feature, sizes, *fields.feature ? below : pointer, err);
    if (status == AFFECT_STATUS_OK) status = check_input(input, fields.shape, pointer, err);
    affect_fields_free(&fields, input_table);
    return status;
}

/* Index of the input of that name, read now if no branch has read it before. */
static affect_status need_input(size_t *index, affect_architecture *a, const affect_json *inputs,
                                const char *name, const char *branch, affect_error *err) {
    char pointer[96];
    for (size_t i = 0; i < a->n_inputs; i++) {
        if (strcmp(a->inputs[i].name, name) != 0) continue;
        *index = i;
        return AFFECT_STATUS_OK;
    }
    const affect_json *json = affect_json_get(inputs, name);
    snprintf(pointer, sizeof pointer, "/branches/%.24s/input", branch);
    if (!json)
        FAIL(err, pointer, INVALID, "%.24s: input \"%.40s\" is not among the inputs", branch, name);
    if (a->n_inputs == AFFECT_MAX_INPUTS)
        FAIL(err, "/inputs", TOO_LARGE, "inputs: more than %d", AFFECT_MAX_INPUTS);
    AFFECT_TRY(read_input(&a->inputs[a->n_inputs], json, &a->sizes, err));
    *index = a->n_inputs++;
    return AFFECT_STATUS_OK;
}

/* ---- layers ---- */

static affect_status add_layer(affect_architecture *a, affect_layer *layer, size_t first,
                               const char *pointer, affect_error *err) {
    for (size_t i = first; i < a->n_layers; i++) {
        if (strcmp(a->layers[i]->name, layer->name) != 0) continue;
        char text[160];
        snprintf(text, sizeof text, "%s.%s: two layers of this name", layer->branch, layer->name);
        affect_layer_free(layer);
        return fail_at(err, pointer, AFFECT_STATUS_INVALID, text);
    }
    a->layers[a->n_layers++] = layer;
    return AFFECT_STATUS_OK;
}

/* A branch's layers or the fusion's, while they are read. */
typedef struct {
    const char *name, *pointer;
    size_t first;        /* its first node */
    affect_edges origin; /* what its first layer reads when it names no inputs */
    bool fusion;
} layer_run;

static affect_shape shape_of(const affect_architecture *a, affect_edge edge) {
    return edge.node == AFFECT_NO_NODE ? a->inputs[edge.input].feature.shape
                                       : a->layers[edge.node]->outside;
}

/* What a layer of the run may call `name`: a layer before it in the run; in a branch the input; in
 * the fusion a branch, for its last layer. */
static bool find_edge(affect_edge *edge, const affect_architecture *a, const layer_run *run,
                      const char *name) {
    for (size_t i = run->first; i < a->n_layers; i++)
        if (strcmp(a->layers[i]->name, name) == 0) {
            *edge = (affect_edge){.node = i};
            return true;
        }
    if (!run->fusion) {
        *edge = run->origin.from[0];
        return strcmp(a->inputs[edge->input].name, name) == 0;
    }
    for (size_t b = 0; b < a->n_branches; b++)
        if (strcmp(a->branches[b].name, name) == 0) {
            *edge = (affect_edge){.node = a->branches[b].end - 1};
            return true;
        }
    return false;
}

/* A layer's own "inputs": names. */
static affect_status read_edges(affect_edges *edges, const affect_architecture *a,
                                const layer_run *run, const affect_json *names, const char *at,
                                affect_error *err) {
    size_t n = affect_json_is_array(names) ? affect_json_size(names) : 0;
    if (n < 1 || n > AFFECT_LAYER_MAX_INPUTS)
        FAIL(err, at, INVALID, "%.24s: inputs needs 1..%d names", run->name,
             AFFECT_LAYER_MAX_INPUTS);
    for (const affect_json *e = affect_json_first(names); e; e = affect_json_next(e)) {
        const char *name = affect_json_string(e, "");
        affect_edge edge;
        if (!find_edge(&edge, a, run, name))
            FAIL(err, at, INVALID, "%.24s: inputs: no \"%.40s\" (a layer before this one%s)",
                 run->name, name, run->fusion ? ", or a branch" : ", or the branch's input");
        for (size_t i = 0; i < edges->n; i++)
            if (edges->from[i].node == edge.node && edges->from[i].input == edge.input)
                FAIL(err, at, INVALID, "%.24s: inputs: \"%.40s\" is named twice", run->name, name);
        edges->from[edges->n++] = edge;
    }
    return AFFECT_STATUS_OK;
}

/* Makes the input that a layer of ids reads one of ids. */
static affect_status mark_ids(affect_architecture *a, const affect_layer *layer, affect_edge edge,
                              const char *at, affect_error *err) {
    if (!layer->n_ids) return AFFECT_STATUS_OK;
    if (edge.node != AFFECT_NO_NODE)
        FAIL(err, at, INVALID, "%.24s.%.40s: an %s reads ids of an input, no other layer's output",
             layer->branch, layer->name, layer->class->type);
    affect_input *input = &a->inputs[edge.input];
    if (input->feature.modality->is_normalised)
        FAIL(err, at, INVALID, "%.24s.%.40s: \"%.40s\" holds scaled numbers, not ids",
             layer->branch, layer->name, input->feature.name);
    if (!input->n_ids || layer->n_ids < input->n_ids) input->n_ids = layer->n_ids;
    input->has_lengths = input->has_lengths || layer->masks_zero;
    return AFFECT_STATUS_OK;
}

/* Makes one layer from its JSON without "inputs". */
static affect_status make_layer(affect_architecture *a, const layer_run *run,
                                const affect_json *json, const affect_edges *edges, const char *at,
                                affect_error *err) {
    affect_shape shapes[AFFECT_LAYER_MAX_INPUTS];
    affect_layer *layer = NULL;
    for (size_t i = 0; i < edges->n; i++) shapes[i] = shape_of(a, edges->from[i]);
    AFFECT_TRY(affect_layer_create_joining(&layer, &a->builder, json, shapes, edges->n, at, err));
    AFFECT_TRY(add_layer(a, layer, run->first, at, err));
    a->edges[a->n_layers - 1] = *edges;
    for (size_t i = 0; i < edges->n; i++)
        if (edges->from[i].node != AFFECT_NO_NODE) a->edges[edges->from[i].node].n_readers++;
    return mark_ids(a, layer, edges->from[0], at, err);
}

static affect_status read_layer(affect_architecture *a, const layer_run *run,
                                const affect_json *json, size_t index, const char *at,
                                affect_error *err) {
    if (!affect_json_is_object(json))
        FAIL(err, at, INVALID, "%.24s: layer %zu is a %s (need an object)", run->name, index,
             affect_json_type_name(json));
    affect_edges edges = run->origin;
    if (a->n_layers > run->first)
        edges = (affect_edges){.from = {{.node = a->n_layers - 1}}, .n = 1};
    affect_json *own = affect_json_copy(json);
    if (!own) return affect_fail(err, NO_MEMORY, "no memory for a layer");
    affect_json *names = affect_json_detach(own, "inputs");
    affect_json_free(affect_json_detach(own, "if"));
    if (names) edges.n = 0;
    affect_status status = names ? read_edges(&edges, a, run, names, at, err) : AFFECT_STATUS_OK;
    if (status == AFFECT_STATUS_OK) status = make_layer(a, run, own, &edges, at, err);
    affect_json_free(names);
    affect_json_free(own);
    return status;
}

/* Reads the layers of a branch or of the fusion; one whose "if" is false or 0 is left out. */
static affect_status read_layers(affect_architecture *a, const layer_run *run,
                                 const affect_json *layers, affect_error *err) {
    char at[128];
    size_t index = 0;
    if (!affect_json_is_array(layers) || affect_json_size(layers) == 0)
        FAIL(err, run->pointer, INVALID, "%.24s: needs \"layers\", an array of at least one layer",
             run->name);
    a->builder.branch = run->name;
    for (const affect_json *e = affect_json_first(layers); e; e = affect_json_next(e), index++) {
        snprintf(at, sizeof at, "%.90s/layers/%zu", run->pointer, index);
        const affect_json *condition = affect_json_get(e, "if");
        if (condition && !affect_json_is_bool(condition) && !affect_json_is_number(condition))
            FAIL(err, at, INVALID, "%.24s: layer %zu: if is a %s (need true, false or a number)",
                 run->name, index, affect_json_type_name(condition));
        if (condition && !affect_json_bool(condition, affect_json_number(condition, 0) != 0))
            continue;
        AFFECT_TRY(read_layer(a, run, e, index, at, err));
    }
    if (a->n_layers == run->first)
        FAIL(err, run->pointer, INVALID, "%.24s: \"if\" leaves no layer", run->name);
    return AFFECT_STATUS_OK;
}

/* Every layer but the last of all is read by another. */
static affect_status check_readers(const affect_architecture *a, affect_error *err) {
    for (size_t i = 0; i + 1 < a->n_layers; i++)
        if (a->edges[i].n_readers == 0)
            FAIL(err, "", INVALID, "%s.%s: no layer reads its output", a->layers[i]->branch,
                 a->layers[i]->name);
    return AFFECT_STATUS_OK;
}

static void merge_neighbours(affect_architecture *a) {
    for (size_t i = 1; i < a->n_layers; i++)
        if (a->edges[i].n == 1 && a->edges[i].from[0].node == i - 1 &&
            a->edges[i - 1].n_readers == 1 &&
            strcmp(a->layers[i - 1]->branch, a->layers[i]->branch) == 0)
            affect_layer_merge(a->layers[i - 1], a->layers[i]);
}

/* Hands the mask of the input, or of an embedding, on to the recurrent layers of a branch: through
 * time-distributed layers and others that keep steps apart, up to the layers that make one row of
 * all steps. */
static affect_status mask_branch(affect_architecture *a, const affect_branch *branch,
                                 const char *pointer, affect_error *err) {
    const affect_input *input = &a->inputs[branch->input];
    size_t frames = input->feature.shape.size[0];
    bool carries[AFFECT_MAX_LAYERS] = {false}; /* the node's output has masked steps */
    for (size_t i = branch->first; i < branch->end; i++) {
        affect_layer *layer = a->layers[i];
        for (size_t k = 0; k < a->edges[i].n; k++) {
            affect_edge from = a->edges[i].from[k];
            carries[i] =
                carries[i] || (from.node == AFFECT_NO_NODE ? input->mask : carries[from.node]);
        }
        carries[i] = carries[i] || layer->masks_zero;
        if (!carries[i] || (layer->fold == frames && frames > 1)) continue;
        if (layer->class->masks) {
            layer->masked = true;
            carries[i] = layer->output.rank > 1;
        } else if (!layer->class->keeps_steps) {
            FAIL(err, pointer, UNSUPPORTED,
                 "%.24s.%.40s: a %s of masked steps (between a masked input and the last lstm or "
                 "pooling only time_distributed layers, lstm, bidirectional, embedding, "
                 "multi_head_attention, dropout, activation, layer_norm, add and concatenate)",
                 layer->branch, layer->name, layer->class->type);
        }
    }
    if (carries[branch->end - 1])
        FAIL(err, pointer, UNSUPPORTED,
             "%.24s: its input is masked, but no lstm or pooling ends the mask", branch->name);
    return AFFECT_STATUS_OK;
}

static affect_status read_branch(affect_architecture *a, const document_fields *document,
                                 const char *name, size_t fusion_index, affect_error *err) {
    char pointer[96], at[96];
    snprintf(pointer, sizeof pointer, "/branches/%.24s", name);
    snprintf(at, sizeof at, "/fusion/branches/%zu", fusion_index);
    const affect_json *json = affect_json_get(document->branches, name);
    if (!json) FAIL(err, at, INVALID, "fusion: there is no branch \"%.40s\"", name);
    for (size_t i = 0; i < a->n_branches; i++)
        if (strcmp(a->branches[i].name, name) == 0)
            FAIL(err, at, INVALID, "fusion: branch \"%.40s\" is named twice", name);
    affect_branch *branch = &a->branches[a->n_branches];
    branch_fields fields;
    affect_fields_default(&fields, branch_table);
    snprintf(branch->name, sizeof branch->name, "%s", name);
    affect_status status = affect_fields_parse(&fields, branch_table, json, pointer, err);
    if (status != AFFECT_STATUS_OK)
        affect_error_prefix(err, status, "branches.%s", name);
    else
        status = need_input(&branch->input, a, document->inputs, fields.input, name, err);
    branch->first = a->n_layers;
    if (status == AFFECT_STATUS_OK)
        status =
            read_layers(a,
                        &(layer_run){.name = branch->name,
                                     .pointer = pointer,
                                     .first = branch->first,
                                     .origin = {.from = {{AFFECT_NO_NODE, branch->input}}, .n = 1}},
                        fields.layers, err);
    branch->end = a->n_layers;
    a->n_branches++;
    if (status == AFFECT_STATUS_OK && a->inputs[branch->input].has_lengths)
        status = mask_branch(a, branch, pointer, err);
    affect_fields_free(&fields, branch_table);
    return status;
}

/* Names of branches, also of those that the fusion leaves out. */
static affect_status check_branch_names(const affect_json *branches, affect_error *err) {
    if (!affect_json_is_object(branches) || affect_json_size(branches) == 0)
        FAIL(err, "/branches", INVALID, "branches: need an object with at least one branch");
    for (const affect_json *b = affect_json_first(branches); b; b = affect_json_next(b)) {
        const char *name = affect_json_name(b);
        if (!is_name(name, AFFECT_BRANCH_NAME_MAX) || strcmp(name, "fusion") == 0)
            FAIL(err, "/branches", INVALID,
                 "branches: name \"%.40s\" is not [a-z][a-z0-9_]* of up to %d characters, or is "
                 "\"fusion\"",
                 name, AFFECT_BRANCH_NAME_MAX);
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_branches(affect_architecture *a, const document_fields *document,
                                   const affect_json *names, affect_error *err) {
    AFFECT_TRY(check_branch_names(document->branches, err));
    size_t n = affect_json_size(names), index = 0;
    if (!affect_json_is_array(names) || n == 0 || n > AFFECT_MAX_BRANCHES)
        FAIL(err, "/fusion/branches", INVALID, "fusion: branches needs 1..%d names",
             AFFECT_MAX_BRANCHES);
    for (const affect_json *e = affect_json_first(names); e; e = affect_json_next(e))
        AFFECT_TRY(read_branch(a, document, affect_json_string(e, ""), index++, err));
    return AFFECT_STATUS_OK;
}

/* Softmax stands at the end, over the classes, and nowhere else. */
static affect_status check_end(const affect_architecture *a, affect_error *err) {
    char text[AFFECT_SHAPE_TEXT_SIZE];
    const affect_layer *last = a->layers[a->n_layers - 1];
    for (size_t i = 0; i + 1 < a->n_layers; i++)
        if (a->layers[i]->softmax)
            FAIL(err, "/fusion/layers", INVALID, "%s.%s: softmax before the last layer",
                 a->layers[i]->branch, a->layers[i]->name);
    if (!last->softmax)
        FAIL(err, "/fusion/layers", INVALID,
             "%s.%s: the last layer must end in softmax (dense or activation)", last->branch,
             last->name);
    affect_shape want = {1, {a->sizes.n_classes}};
    if (!affect_shape_equal(last->outside, want))
        FAIL(err, "/fusion/layers", SHAPE,
             "%s.%s: the last layer makes %s, need (%zu): one per class", last->branch, last->name,
             affect_shape_text(text, last->outside), a->sizes.n_classes);
    return AFFECT_STATUS_OK;
}

static affect_status read_fusion(affect_architecture *a, const document_fields *document,
                                 affect_error *err) {
    fusion_fields fields;
    layer_run run = {.name = "fusion", .pointer = "/fusion", .fusion = true};
    affect_fields_default(&fields, fusion_table);
    if (!document->fusion) FAIL(err, "", INVALID, "fusion: is missing");
    affect_status status =
        affect_fields_parse(&fields, fusion_table, document->fusion, "/fusion", err);
    if (status != AFFECT_STATUS_OK)
        affect_error_prefix(err, status, "fusion");
    else
        status = read_branches(a, document, fields.branches, err);
    a->fusion = run.first = a->n_layers;
    for (size_t i = 0; i < a->n_branches; i++)
        run.origin.from[run.origin.n++].node = a->branches[i].end - 1;
    if (status == AFFECT_STATUS_OK) status = read_layers(a, &run, fields.layers, err);
    if (status == AFFECT_STATUS_OK) status = check_readers(a, err);
    if (status == AFFECT_STATUS_OK) merge_neighbours(a);
    affect_fields_free(&fields, fusion_table);
    return status;
}

static affect_status build(affect_architecture *a, affect_error *err) {
    affect_json *resolved = NULL;
    document_fields fields;
    affect_fields_default(&fields, document_table);
    affect_status status = affect_variables_resolve(&resolved, a->document, &a->sizes, err);
    if (status == AFFECT_STATUS_OK)
        status = affect_fields_parse(&fields, document_table, resolved, "", err);
    if (status == AFFECT_STATUS_OK) {
        snprintf(a->name, sizeof a->name, "%s", *fields.name ? fields.name : "unnamed");
        status = read_fusion(a, &fields, err);
    }
    if (status == AFFECT_STATUS_OK) status = check_end(a, err);
    affect_fields_free(&fields, document_table);
    affect_json_free(resolved);
    return status;
}

affect_status affect_architecture_create(affect_architecture **architecture,
                                         const affect_json *document, const affect_json *variables,
                                         const affect_sizes *sizes, affect_error *err) {
    affect_error own = {0};
    if (!err) err = &own;
    if (!affect_json_is_object(document))
        FAIL(err, "", INVALID, "architecture: is a %s (need an object)",
             affect_json_type_name(document));
    if (sizes->n_classes < 2 || sizes->n_classes > AFFECT_MAX_CLASSES)
        FAIL(err, "", INVALID, "architecture: %zu classes (need 2..%d)", sizes->n_classes,
             AFFECT_MAX_CLASSES);
    affect_architecture *a = calloc(1, sizeof *a);
    if (!a) return affect_fail(err, NO_MEMORY, "no memory for an architecture");
    a->sizes = *sizes;
    a->layers = calloc(AFFECT_MAX_LAYERS, sizeof *a->layers);
    a->edges = calloc(AFFECT_MAX_LAYERS, sizeof *a->edges);
    a->document = affect_json_copy(document);
    affect_status status = AFFECT_STATUS_OK;
    if (!a->layers || !a->edges || !a->document)
        status = affect_fail(err, NO_MEMORY, "no memory for an architecture");
    if (status == AFFECT_STATUS_OK)
        status = affect_variables_override(a->document, variables, sizes, err);
    if (status == AFFECT_STATUS_OK) status = build(a, err);
    if (status != AFFECT_STATUS_OK) {
        affect_architecture_free(a);
        return status;
    }
    *architecture = a;
    return AFFECT_STATUS_OK;
}

bool affect_architecture_preset_name(char name[64], size_t i) {
    return affect_embedded_preset_name(name, PRESETS, i);
}

affect_status affect_architecture_preset(affect_json **document, const char *name,
                                         affect_error *err) {
    char known[300];
    const affect_embedded_file *file = affect_embedded_preset(PRESETS, name, known, sizeof known);
    if (file) return affect_json_parse(document, file->text, file->size, err);
    return affect_fail(err, NOT_FOUND, "no preset is called \"%.80s\" (known: %s)", name, known);
}

void affect_architecture_free(affect_architecture *a) {
    if (!a) return;
    for (size_t i = 0; i < a->n_layers; i++) affect_layer_free(a->layers[i]);
    free(a->layers);
    free(a->edges);
    free(a->builder.parameters);
    affect_json_free(a->document);
    free(a);
}

/* ---- questions ---- */

const char *affect_architecture_name(const affect_architecture *a) {
    return a->name;
}

const affect_json *affect_architecture_document(const affect_architecture *a) {
    return a->document;
}

const affect_sizes *affect_architecture_sizes(const affect_architecture *a) {
    return &a->sizes;
}

size_t affect_architecture_n_inputs(const affect_architecture *a) {
    return a->n_inputs;
}

const affect_input *affect_architecture_input(const affect_architecture *a, size_t i) {
    return &a->inputs[i];
}

size_t affect_architecture_n_parameters(const affect_architecture *a) {
    return a->builder.n_parameters;
}

const affect_parameter *affect_architecture_parameter(const affect_architecture *a, size_t i) {
    return &a->builder.parameters[i];
}

size_t affect_architecture_n_trainable(const affect_architecture *a) {
    return a->builder.n_trainable;
}

size_t affect_architecture_n_statistics(const affect_architecture *a) {
    return a->builder.n_statistics;
}

bool affect_architecture_uses_gemm(const affect_architecture *architecture) {
    for (size_t i = 0; i < architecture->n_layers; i++)
        if (architecture->layers[i]->class->uses_gemm) return true;
    return false;
}

affect_json *affect_shape_to_json(affect_shape shape) {
    affect_json *json = affect_json_new_array();
    for (int d = 0; d < shape.rank; d++)
        affect_json_append(json, affect_json_new_number((double)shape.size[d]));
    return json;
}

void affect_architecture_describe(affect_json *json, const affect_architecture *a) {
    affect_json *inputs = affect_json_set_object(json, "inputs");
    for (size_t i = 0; i < a->n_inputs; i++) {
        affect_json *input = affect_json_set_object(inputs, a->inputs[i].name);
        affect_json_set_string(input, "feature", a->inputs[i].feature.name);
        affect_json_set(input, "shape", affect_shape_to_json(a->inputs[i].feature.shape));
    }
    size_t trainable = a->builder.n_trainable, statistics = a->builder.n_statistics;
    affect_json_set_number(json, "parameters", (double)(trainable + statistics));
    affect_json_set_number(json, "trainable", (double)trainable);
    affect_json_set_number(json, "statistics", (double)statistics);
}

affect_json *affect_architecture_layers(const affect_architecture *architecture) {
    affect_json *json = affect_json_new_object();
    for (size_t i = 0; i < architecture->n_layers; i++) {
        const affect_layer *layer = architecture->layers[i];
        char name[AFFECT_BRANCH_NAME_MAX + AFFECT_LAYER_NAME_MAX + 2];
        snprintf(name, sizeof name, "%s.%s", layer->branch, layer->name);
        affect_json *one = affect_json_set_object(json, name);
        affect_json_set_string(one, "type", layer->class->type);
        affect_fields_print(one, layer->options, layer->class->fields);
        if (layer->class->gates) affect_json_set_string(one, "gates", layer->class->gates);
    }
    return json;
}

void affect_architecture_print(affect_buffer *buffer, const affect_architecture *a) {
    char shape[AFFECT_SHAPE_TEXT_SIZE], name[80];
    affect_buffer_printf(buffer, "%-28s %-12s %-18s %12s\n", "layer", "type", "output",
                         "parameters");
    for (size_t i = 0; i < a->n_inputs; i++)
        affect_buffer_printf(buffer, "%-28s %-12s %-18s %12s\n", a->inputs[i].name,
                             a->inputs[i].feature.name,
                             affect_shape_text(shape, a->inputs[i].feature.shape), "");
    for (size_t i = 0; i < a->n_layers; i++) {
        const affect_layer *layer = a->layers[i];
        snprintf(name, sizeof name, "%s.%s", layer->branch, layer->name);
        affect_buffer_printf(buffer, "%-28s %-12s %-18s %12zu\n", name,
                             layer->bidirectional ? "bi-lstm" : layer->class->type,
                             affect_shape_text(shape, layer->outside), layer->n_numbers);
    }
    affect_buffer_printf(buffer, "%zu parameters: %zu trainable, %zu moving statistics\n",
                         a->builder.n_trainable + a->builder.n_statistics, a->builder.n_trainable,
                         a->builder.n_statistics);
}
