/* The memory of a training; see memory_plan.h. */
#include "engine/train/memory_plan.h"

#include "engine/core/memory.h"
#include "engine/train/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DRAWS 5e6   /* of orders of epochs that are looked at: about half a second */
#define MAX_BATCH 65536 /* of a session */

/* ---- Rows ---- */

size_t *affect_memory_plan_rows(const affect_training *t) {
    const affect_sizes *sizes = affect_dataset_sizes(t->dataset);
    size_t n = affect_dataset_n_utterances(t->dataset);
    size_t *lengths = calloc(n + 1, sizeof *lengths);
    for (size_t k = 0; lengths && k < affect_architecture_n_inputs(t->architecture); k++) {
        const affect_feature *input = &affect_architecture_input(t->architecture, k)->feature;
        const affect_feature *feature = affect_sizes_find(sizes, input->name);
        if (!feature->modality->is_ragged) continue;
        size_t most = affect_feature_n_rows(feature);
        for (size_t i = 0; i < n; i++) {
            size_t own =
                affect_dataset_values(t->dataset, (size_t)(feature - sizes->features), i).n_rows;
            size_t rows = own < most ? own + 1 : most;
            if (rows > lengths[i]) lengths[i] = rows;
        }
    }
    return lengths;
}

/* The most rows of any piece of list[0..n), cut into batches and these into pieces. */
static size_t most_rows(const size_t *list, size_t n, const size_t *lengths, size_t batch,
                        size_t micro_batch) {
    size_t most = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % batch % micro_batch == 0) rows = 0;
        rows += lengths[list[i]];
        if (rows > most) most = rows;
    }
    return most;
}

static int descending(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x < y) - (x > y);
}

/* The rows of the longest utterances. */
static void count_longest(size_t *rows, size_t *scratch, const affect_training *t,
                          const size_t *lengths, size_t micro_batch) {
    size_t n = affect_dataset_n_utterances(t->dataset);
    memcpy(scratch, lengths, n * sizeof *scratch);
    qsort(scratch, n, sizeof *scratch, descending);
    *rows = 0;
    for (size_t i = 0; i < n && i < micro_batch; i++) *rows += scratch[i];
}

affect_status affect_memory_plan_count_rows(size_t *rows, const affect_training *t,
                                            const size_t *lengths, size_t batch, size_t micro_batch,
                                            affect_error *err) {
    size_t n_training = t->n[AFFECT_PART_TRAINING];
    size_t n = affect_dataset_n_utterances(t->dataset), most = 0;
    size_t *order = malloc(2 * (n + 1) * sizeof *order);
    if (!order) return affect_fail(err, NO_MEMORY, "no memory to plan %zu utterances", n);
    if ((double)t->config->epochs * (double)n_training > MAX_DRAWS) {
        count_longest(rows, order, t, lengths, micro_batch);
        free(order);
        return AFFECT_STATUS_OK;
    }
    for (int64_t epoch = 1; epoch <= t->config->epochs; epoch++) {
        affect_training_order(order, order + n, t, epoch);
        size_t of_epoch = most_rows(order, n_training, lengths, batch, micro_batch);
        if (of_epoch > most) most = of_epoch;
    }
    for (int p = AFFECT_PART_VALIDATION; p < AFFECT_PART_COUNT; p++) {
        size_t of_part = most_rows(t->indices[p], t->n[p], lengths, micro_batch, micro_batch);
        if (of_part > most) most = of_part;
    }
    free(order);
    *rows = most;
    return AFFECT_STATUS_OK;
}

/* ---- Bytes ---- */

static affect_status measure(affect_memory_plan *plan, const affect_training *t,
                             const size_t *lengths, affect_error *err) {
    affect_session_plan session;
    AFFECT_TRY(affect_memory_plan_count_rows(&plan->rows, t, lengths, plan->batch,
                                             plan->micro_batch, err));
    affect_session_options options = {
        .max_batch = plan->micro_batch, .training = true, .max_rows = plan->rows};
    AFFECT_TRY(affect_session_measure(&session, t->backend, t->architecture, options, err));
    size_t n_lists = AFFECT_PART_COUNT + 2, n = affect_dataset_n_utterances(t->dataset);
    plan->parameters = session.parameters;
    plan->optimizer = session.optimizer;
    plan->activations = session.activations;
    /* A checkpoint is gathered before it is written: parameters and both moments. */
    plan->workspace = session.workspace + session.parameters + session.optimizer / 3 * 2;
    plan->data = session.inputs +
                 affect_batch_bytes(t->backend, t->architecture, t->dataset, plan->micro_batch) +
                 n_lists * n * sizeof(size_t);
    plan->total =
        plan->parameters + plan->optimizer + plan->activations + plan->workspace + plan->data;
    plan->accumulation_steps = (plan->batch + plan->micro_batch - 1) / plan->micro_batch;
    plan->fits = plan->total <= plan->limit;
    return AFFECT_STATUS_OK;
}

/* The most that fits of low..high; *found is 0 when nothing does. What is measured grows with
 * micro_batch. together: a batch of that size, else pieces of the plan's batch. */
static affect_status search(size_t *found, affect_memory_plan *plan, const affect_training *t,
                            const size_t *lengths, size_t high, bool together, affect_error *err) {
    size_t low = 1;
    *found = 0;
    while (low <= high) {
        size_t middle = low + (high - low) / 2;
        plan->micro_batch = middle;
        if (together) plan->batch = middle;
        AFFECT_TRY(measure(plan, t, lengths, err));
        if (plan->fits) {
            *found = middle;
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    return AFFECT_STATUS_OK;
}

/* Equal pieces, as few as fit; the last one shorter where equal ones do not. */
static affect_status split(affect_memory_plan *plan, const affect_training *t,
                           const size_t *lengths, affect_error *err) {
    size_t most = 0;
    AFFECT_TRY(search(&most, plan, t, lengths, plan->batch, false, err));
    if (most == 0) most = 1;
    size_t accumulation_steps = (plan->batch + most - 1) / most;
    plan->micro_batch = (plan->batch + accumulation_steps - 1) / accumulation_steps;
    AFFECT_TRY(measure(plan, t, lengths, err));
    if (plan->fits || plan->micro_batch == most) return AFFECT_STATUS_OK;
    plan->micro_batch = most; /* the long utterances come together in an equal piece */
    return measure(plan, t, lengths, err);
}

static affect_status choose(affect_memory_plan *plan, const affect_training *t,
                            const size_t *lengths, affect_error *err) {
    int64_t earlier = affect_checkpoint_engine_number(t, "rows_at_once", 0);
    plan->micro_batch = plan->batch;
    if (earlier > 0 && (size_t)earlier < plan->batch) plan->micro_batch = (size_t)earlier;
    AFFECT_TRY(measure(plan, t, lengths, err));
    return plan->fits ? AFFECT_STATUS_OK : split(plan, t, lengths, err);
}

affect_status affect_memory_plan_make(affect_memory_plan *plan, const affect_training *t,
                                      affect_error *err) {
    size_t batch = (size_t)t->config->batch_size, largest = 0;
    for (int p = 0; p < AFFECT_PART_COUNT; p++)
        if (t->n[p] > largest) largest = t->n[p];
    size_t of_device = t->backend->ops->memory_free(t->backend);
    size_t available = of_device ? of_device : affect_memory_available();
    *plan = (affect_memory_plan){.batch = batch < largest ? batch : largest,
                                 .limit = (size_t)t->spec->memory_bytes};
    if (!plan->limit) plan->limit = (size_t)(AFFECT_SHARE_OF_MEMORY * (double)available);
    size_t *lengths = affect_memory_plan_rows(t);
    if (!lengths) return affect_fail(err, NO_MEMORY, "no memory for a plan");
    affect_status status = choose(plan, t, lengths, err);
    free(lengths);
    return status;
}

affect_status affect_memory_plan_largest(size_t *batch, const affect_training *t,
                                         const affect_memory_plan *plan, affect_error *err) {
    affect_memory_plan trial = *plan;
    size_t most = t->n[AFFECT_PART_TRAINING] < MAX_BATCH ? t->n[AFFECT_PART_TRAINING] : MAX_BATCH;
    size_t *lengths = affect_memory_plan_rows(t);
    if (!lengths) return affect_fail(err, NO_MEMORY, "no memory for a plan");
    affect_status status = search(batch, &trial, t, lengths, most, true, err);
    free(lengths);
    return status;
}

void affect_memory_plan_print(affect_json *json, const affect_memory_plan *plan) {
    const struct {
        const char *name;
        size_t bytes;
    } rows[] = {{"parameters", plan->parameters},
                {"optimizer", plan->optimizer},
                {"activations", plan->activations},
                {"workspace", plan->workspace},
                {"data", plan->data},
                {"total", plan->total}};
    affect_json *bytes = affect_json_set_object(json, "bytes");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        affect_json_set_number(bytes, rows[i].name, (double)rows[i].bytes);
    affect_json_set_number(json, "memory_limit_bytes", (double)plan->limit);
    affect_json_set_bool(json, "fits", plan->fits);
    affect_json_set_number(json, "batch_size", (double)plan->batch);
    affect_json_set_number(json, "rows_at_once", (double)plan->micro_batch);
    affect_json_set_number(json, "pieces", (double)plan->accumulation_steps);
}
