/* Batches; see batch.h. */
#include "engine/train/batch.h"

#include "engine/evaluation/metrics.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS 8

/* One batch on the host. */
typedef struct {
    float *inputs[MAX_INPUTS]; /* (capacity, shape of the input) */
    const float *borrowed[MAX_INPUTS];
    int32_t *labels;
    float *weights;
} host_set;

struct affect_batch {
    affect_batch_options options;
    size_t n_inputs, n_classes, n_sets, turn; /* turn: the set that is filled next */
    host_set sets[2];
    affect_device_cache *cache;  /* NULL: batches come from the host */
    size_t features[MAX_INPUTS]; /* of the dataset, that each input reads */
    uint8_t *missing;            /* of one feature of an utterance */
    int class_map[AFFECT_MAX_CLASSES];
    float class_weights[AFFECT_MAX_CLASSES];
};

/* The feature of the dataset that an input reads. */
static affect_status find_feature(size_t *feature, const affect_input *input,
                                  const affect_sizes *sizes, affect_error *err) {
    const affect_feature *found = affect_sizes_find(sizes, input->feature.name);
    char got[AFFECT_SHAPE_TEXT_SIZE], want[AFFECT_SHAPE_TEXT_SIZE];
    if (!found)
        return affect_fail(err, SHAPE, "input %s reads %s, which the dataset has not", input->name,
                           input->feature.name);
    *feature = (size_t)(found - sizes->features);
    if (affect_shape_equal(input->feature.shape, found->shape)) return AFFECT_STATUS_OK;
    return affect_fail(err, SHAPE, "input %s is %s, the dataset has %s", input->name,
                       affect_shape_text(want, input->feature.shape),
                       affect_shape_text(got, found->shape));
}

/* Numbers of the largest feature. */
static size_t most_numbers(const affect_sizes *sizes) {
    size_t most = 0;
    for (size_t f = 0; f < sizes->n_features; f++) {
        size_t n = affect_shape_count(sizes->features[f].shape);
        if (n > most) most = n;
    }
    return most;
}

/* A device apart from the host reads one set while the other is filled. */
static size_t n_sets(affect_backend *backend) {
    return backend->ops->memory_free(backend) ? 2 : 1;
}

static affect_status allocate_set(affect_batch *batch, host_set *set, affect_error *err) {
    const affect_batch_options *options = &batch->options;
    affect_backend *backend = options->backend;
    set->labels = malloc(options->capacity * sizeof *set->labels);
    set->weights = malloc(options->capacity * sizeof *set->weights);
    bool complete = set->labels && set->weights;
    for (size_t i = 0; i < batch->n_inputs; i++) {
        affect_shape shape = affect_architecture_input(options->architecture, i)->feature.shape;
        set->inputs[i] = backend->ops->allocate_host(
            backend, options->capacity * affect_shape_count(shape) * sizeof(float));
        set->borrowed[i] = set->inputs[i];
        complete = complete && set->inputs[i];
    }
    if (complete) return AFFECT_STATUS_OK;
    return affect_fail(err, NO_MEMORY, "no memory for a batch of %zu", options->capacity);
}

static affect_status allocate(affect_batch *batch, affect_error *err) {
    const affect_sizes *sizes = affect_dataset_sizes(batch->options.dataset);
    for (size_t i = 0; i < batch->n_inputs; i++)
        AFFECT_TRY(find_feature(&batch->features[i],
                                affect_architecture_input(batch->options.architecture, i), sizes,
                                err));
    batch->missing = malloc(most_numbers(sizes));
    if (!batch->missing) return affect_fail(err, NO_MEMORY, "no memory for a batch");
    for (size_t k = 0; k < batch->n_sets; k++)
        AFFECT_TRY(allocate_set(batch, &batch->sets[k], err));
    return AFFECT_STATUS_OK;
}

affect_status affect_batch_create(affect_batch **batch, const affect_batch_options *options,
                                  affect_error *err) {
    size_t n_inputs = affect_architecture_n_inputs(options->architecture);
    if (n_inputs > MAX_INPUTS)
        return affect_fail(err, INVALID, "%zu inputs (at most %d)", n_inputs, MAX_INPUTS);
    affect_batch *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for a batch");
    made->options = *options;
    made->n_inputs = n_inputs;
    made->n_classes = affect_architecture_sizes(options->architecture)->n_classes;
    made->n_sets = n_sets(options->backend);
    memcpy(made->class_map, options->class_map,
           affect_dataset_n_classes(options->dataset) * sizeof *made->class_map);
    made->options.class_map = made->class_map;
    if (options->class_weights) {
        memcpy(made->class_weights, options->class_weights,
               made->n_classes * sizeof *made->class_weights);
        made->options.class_weights = made->class_weights;
    }
    affect_status status = allocate(made, err);
    if (status != AFFECT_STATUS_OK) {
        affect_batch_free(made);
        return status;
    }
    *batch = made;
    return AFFECT_STATUS_OK;
}

size_t affect_batch_bytes(affect_backend *backend, const affect_architecture *architecture,
                          const affect_dataset *dataset, size_t capacity) {
    size_t bytes = capacity * (sizeof(int32_t) + sizeof(float));
    for (size_t i = 0; i < affect_architecture_n_inputs(architecture); i++)
        bytes += capacity * sizeof(float) *
                 affect_shape_count(affect_architecture_input(architecture, i)->feature.shape);
    return n_sets(backend) * bytes + most_numbers(affect_dataset_sizes(dataset));
}

/* The host's copies of the inputs. */
static void free_inputs(affect_batch *batch) {
    affect_backend *backend = batch->options.backend;
    for (size_t k = 0; k < batch->n_sets; k++)
        for (size_t i = 0; i < batch->n_inputs; i++) {
            backend->ops->deallocate_host(backend, batch->sets[k].inputs[i]);
            batch->sets[k].inputs[i] = NULL;
        }
}

void affect_batch_free(affect_batch *batch) {
    if (!batch) return;
    affect_backend_synchronize(batch->options.backend, NULL);
    affect_device_cache_free(batch->cache);
    free_inputs(batch);
    for (size_t k = 0; k < batch->n_sets; k++) {
        free(batch->sets[k].labels);
        free(batch->sets[k].weights);
    }
    free(batch->missing);
    free(batch);
}

static void fill_input(affect_batch *batch, host_set *set, size_t i, size_t row, size_t utterance) {
    const affect_batch_options *options = &batch->options;
    const affect_feature *feature = &affect_architecture_input(options->architecture, i)->feature;
    size_t f = batch->features[i], n_rows = affect_feature_n_rows(feature);
    float *to = set->inputs[i] + row * affect_shape_count(feature->shape);
    const affect_scaling *scaling = affect_normalizer_find(options->normalizer, feature->name);
    affect_dataset_fill(options->dataset, to, scaling ? batch->missing : NULL, f, utterance);
    if (feature->modality->is_ragged)
        n_rows = affect_dataset_values(options->dataset, f, utterance).n_rows;
    affect_scaling_apply(scaling, to, batch->missing, n_rows);
}

affect_status affect_batch_keep_on_device(affect_batch *batch, affect_session *session,
                                          const size_t *rows, affect_error *err) {
    size_t n = affect_dataset_n_utterances(batch->options.dataset);
    host_set *set = &batch->sets[0];
    AFFECT_TRY(affect_device_cache_create(&batch->cache, session, rows, n, err));
    for (size_t u = 0; u < n; u++) {
        for (size_t i = 0; i < batch->n_inputs; i++) fill_input(batch, set, i, 0, u);
        AFFECT_TRY(affect_device_cache_fill(batch->cache, u, set->borrowed, err));
    }
    free_inputs(batch);
    return AFFECT_STATUS_OK;
}

affect_session_batch affect_batch_fill(affect_batch *batch, const size_t *indices, size_t n) {
    const affect_batch_options *options = &batch->options;
    host_set *set = &batch->sets[batch->turn];
    options->backend->ops->wait_for(options->backend, (int)batch->turn);
    for (size_t row = 0; row < n; row++) {
        for (size_t i = 0; !batch->cache && i < batch->n_inputs; i++)
            fill_input(batch, set, i, row, indices[row]);
        int label =
            batch->class_map[affect_dataset_utterance(options->dataset, indices[row])->label];
        set->labels[row] = label;
        set->weights[row] = batch->class_weights[label];
    }
    return (affect_session_batch){.inputs = set->borrowed,
                                  .cache = batch->cache,
                                  .utterances = indices,
                                  .labels = set->labels,
                                  .weights = options->class_weights ? set->weights : NULL,
                                  .batch = n};
}

void affect_batch_release(affect_batch *batch) {
    affect_backend *backend = batch->options.backend;
    backend->ops->mark(backend, (int)batch->turn);
    batch->turn = (batch->turn + 1) % batch->n_sets;
}

affect_status affect_batch_evaluate(float *probabilities, affect_batch *batch,
                                    affect_session *session, const size_t *indices, size_t n,
                                    affect_error *err) {
    for (size_t begin = 0; begin < n; begin += batch->options.capacity) {
        size_t rows = n - begin < batch->options.capacity ? n - begin : batch->options.capacity;
        affect_session_batch filled = affect_batch_fill(batch, indices + begin, rows);
        float *to = probabilities ? probabilities + begin * batch->n_classes : NULL;
        AFFECT_TRY(affect_session_evaluate(session, to, &filled, err));
        affect_batch_release(batch);
    }
    return AFFECT_STATUS_OK;
}
