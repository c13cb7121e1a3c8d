/* Batches; see batch.h. */
#include "engine/train/batch.h"

#include "engine/train/metrics.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS 8

struct affect_batch {
    const affect_architecture *architecture;
    const affect_dataset *dataset;
    const affect_normalizer *normalizer;
    size_t capacity, n_inputs, n_classes;
    float *inputs[MAX_INPUTS]; /* (capacity, shape of the input) */
    const float *borrowed[MAX_INPUTS];
    int32_t *labels;
    float *weights;
    uint8_t *missing; /* (parts, columns) of one utterance */
    int class_map[AFFECT_MAX_CLASSES];
    float class_weights[AFFECT_MAX_CLASSES];
    bool weighted;
};

static bool is_mel(const affect_input *input) {
    return strcmp(input->feature, "mel") == 0;
}

static affect_status check_input(const affect_input *input, affect_dataset_sizes sizes,
                                 affect_error *err) {
    affect_shape data = is_mel(input) ? (affect_shape){3, {sizes.frames, sizes.mels, 1}}
                                      : (affect_shape){2, {sizes.parts, sizes.columns}};
    char got[AFFECT_SHAPE_TEXT_SIZE], want[AFFECT_SHAPE_TEXT_SIZE];
    if (affect_shape_equal(input->shape, data)) return AFFECT_STATUS_OK;
    return affect_fail(err, SHAPE, "input %s is %s, the dataset has %s", input->name,
                       affect_shape_text(want, input->shape), affect_shape_text(got, data));
}

static affect_status allocate(affect_batch *batch, affect_error *err) {
    affect_dataset_sizes sizes = affect_dataset_sizes_of(batch->dataset);
    batch->labels = malloc(batch->capacity * sizeof *batch->labels);
    batch->weights = malloc(batch->capacity * sizeof *batch->weights);
    batch->missing = malloc(sizes.parts * sizes.columns);
    bool complete = batch->labels && batch->weights && batch->missing;
    for (size_t i = 0; i < batch->n_inputs; i++) {
        const affect_input *input = affect_architecture_input(batch->architecture, i);
        AFFECT_TRY(check_input(input, sizes, err));
        batch->inputs[i] =
            malloc(batch->capacity * affect_shape_count(input->shape) * sizeof(float));
        batch->borrowed[i] = batch->inputs[i];
        complete = complete && batch->inputs[i];
    }
    if (!complete)
        return affect_fail(err, NO_MEMORY, "no memory for a batch of %zu", batch->capacity);
    return AFFECT_STATUS_OK;
}

affect_status affect_batch_create(affect_batch **batch, const affect_architecture *architecture,
                                  const affect_dataset *dataset,
                                  const affect_normalizer *normalizer, const int *class_map,
                                  const float *class_weights, size_t capacity, affect_error *err) {
    size_t n_inputs = affect_architecture_n_inputs(architecture);
    if (n_inputs > MAX_INPUTS)
        return affect_fail(err, INVALID, "%zu inputs (at most %d)", n_inputs, MAX_INPUTS);
    affect_batch *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a batch");
    made->architecture = architecture;
    made->dataset = dataset;
    made->normalizer = normalizer;
    made->capacity = capacity;
    made->n_inputs = n_inputs;
    made->n_classes = affect_architecture_sizes(architecture).classes;
    made->weighted = class_weights != NULL;
    memcpy(made->class_map, class_map, affect_dataset_n_classes(dataset) * sizeof *made->class_map);
    if (class_weights)
        memcpy(made->class_weights, class_weights, made->n_classes * sizeof *class_weights);
    affect_status status = allocate(made, err);
    if (status != AFFECT_STATUS_OK) {
        affect_batch_free(made);
        return status;
    }
    *batch = made;
    return AFFECT_STATUS_OK;
}

size_t affect_batch_bytes(const affect_architecture *architecture, const affect_dataset *dataset,
                          size_t capacity) {
    affect_dataset_sizes sizes = affect_dataset_sizes_of(dataset);
    size_t bytes = capacity * (sizeof(int32_t) + sizeof(float)) + sizes.parts * sizes.columns;
    for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++)
        bytes += capacity * sizeof(float) *
                 affect_shape_count(affect_architecture_input(architecture, i)->shape);
    return bytes;
}

void affect_batch_free(affect_batch *batch) {
    if (!batch) return;
    for (size_t i = 0; i < batch->n_inputs; i++) free(batch->inputs[i]);
    free(batch->labels);
    free(batch->weights);
    free(batch->missing);
    free(batch);
}

static void fill_input(affect_batch *batch, size_t i, size_t row, size_t utterance) {
    const affect_input *input = affect_architecture_input(batch->architecture, i);
    float *to = batch->inputs[i] + row * affect_shape_count(input->shape);
    if (is_mel(input)) {
        affect_dataset_fill_mel(batch->dataset, to, utterance);
        return;
    }
    affect_dataset_fill_motion(batch->dataset, to, batch->missing, utterance);
    affect_normalizer_apply(batch->normalizer, to, batch->missing, input->shape.size[0]);
}

affect_session_batch affect_batch_fill(affect_batch *batch, const size_t *indices, size_t n) {
    for (size_t row = 0; row < n; row++) {
        for (size_t i = 0; i < batch->n_inputs; i++) fill_input(batch, i, row, indices[row]);
        int label = batch->class_map[affect_dataset_utterance(batch->dataset, indices[row])->label];
        batch->labels[row] = label;
        batch->weights[row] = batch->class_weights[label];
    }
    return (affect_session_batch){.inputs = batch->borrowed,
                                  .labels = batch->labels,
                                  .weights = batch->weighted ? batch->weights : NULL,
                                  .batch = n};
}

affect_status affect_batch_evaluate(double *stats, float *probabilities, affect_batch *batch,
                                    affect_session *session, const size_t *indices, size_t n,
                                    affect_error *err) {
    for (size_t begin = 0; begin < n; begin += batch->capacity) {
        size_t rows = n - begin < batch->capacity ? n - begin : batch->capacity;
        affect_session_batch filled = affect_batch_fill(batch, indices + begin, rows);
        float *to = probabilities ? probabilities + begin * batch->n_classes : NULL;
        AFFECT_TRY(affect_session_evaluate(session, stats, to, &filled, err));
    }
    return AFFECT_STATUS_OK;
}
