/* Evaluation; see evaluation.h. */
#include "engine/train/evaluation.h"

#include "engine/core/file.h"
#include "engine/dataset/utterance_table.h"
#include "engine/evaluation/calibration.h"
#include "engine/evaluation/interval.h"
#include "engine/evaluation/split_report.h"
#include "engine/model/model_file.h"
#include "engine/train/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_SIZE     48
#define BOOTSTRAP_SEED 1 /* stated in the result: two evaluations draw alike */

typedef struct {
    const affect_evaluate_spec *spec;
    affect_model *model;
    affect_dataset *dataset;
    affect_backend *backend;
    affect_session *session;
    affect_batch *batch;
    affect_normalizer normalizer;
    size_t n_classes;
    const char *classes[AFFECT_MAX_CLASSES]; /* the model's */
    int class_map[AFFECT_MAX_CLASSES];       /* from the dataset's to the model's */
    size_t *indices, n;
    float *probabilities;                                       /* (n, classes) */
    double totals[3 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES]; /* the session's */
} evaluation;

static affect_status check_features(const evaluation *e, affect_error *err) {
    char *ours = affect_json_canonical_text(affect_model_metadata(e->model, "feature_config"));
    char *theirs = affect_json_canonical_text(affect_dataset_features_json(e->dataset));
    bool same = ours && theirs && strcmp(ours, theirs) == 0;
    affect_status status =
        same ? AFFECT_STATUS_OK
             : affect_fail(err, INVALID,
                           "the dataset's features differ from the model's: dataset %.150s, model "
                           "%.150s",
                           theirs ? theirs : "?", ours ? ours : "?");
    free(ours);
    free(theirs);
    return status;
}

static affect_status map_classes(evaluation *e, affect_error *err) {
    const affect_json *labels = affect_model_metadata(e->model, "labels");
    e->n_classes = affect_architecture_sizes(affect_model_architecture(e->model))->n_classes;
    if (affect_json_size(labels) != e->n_classes || e->n_classes > AFFECT_MAX_CLASSES)
        return affect_fail(err, MALFORMED, "%s: %zu labels for %zu classes", e->spec->model,
                           affect_json_size(labels), e->n_classes);
    for (size_t c = 0; c < e->n_classes; c++)
        e->classes[c] = affect_json_string(affect_json_at(labels, c), "");
    if (affect_dataset_n_classes(e->dataset) > AFFECT_MAX_CLASSES)
        return affect_fail(err, INVALID, "the dataset has over %d classes", AFFECT_MAX_CLASSES);
    for (size_t d = 0; d < affect_dataset_n_classes(e->dataset); d++) {
        size_t c = 0;
        while (c < e->n_classes && strcmp(e->classes[c], affect_dataset_class(e->dataset, d)) != 0)
            c++;
        if (c == e->n_classes)
            return affect_fail(err, INVALID, "the model does not know the dataset's class \"%s\"",
                               affect_dataset_class(e->dataset, d));
        e->class_map[d] = (int)c;
    }
    return AFFECT_STATUS_OK;
}

static affect_status choose_utterances(evaluation *e, affect_error *err) {
    size_t n_all = affect_dataset_n_utterances(e->dataset);
    const char *part = affect_evaluate_parts[e->spec->part];
    e->indices = malloc((n_all + 1) * sizeof *e->indices);
    if (!e->indices) return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", n_all);
    if (strcmp(part, "all") == 0) {
        for (size_t i = 0; i < n_all; i++) e->indices[e->n++] = i;
    } else {
        const affect_json *parts =
            affect_json_get(affect_model_metadata(e->model, "split"), "utterances");
        const affect_json *ids = affect_json_get(parts, part);
        for (const affect_json *id = affect_json_first(ids); id; id = affect_json_next(id)) {
            size_t index;
            if (affect_dataset_find(e->dataset, &index, affect_json_string(id, "")) && e->n < n_all)
                e->indices[e->n++] = index;
        }
    }
    if (e->n == 0)
        return affect_fail(err, INVALID, "no utterance of the dataset is in the model's %s part",
                           part);
    return AFFECT_STATUS_OK;
}

static affect_status begin(evaluation *e, affect_error *err) {
    AFFECT_TRY(affect_model_open(&e->model, e->spec->model, err));
    AFFECT_TRY(affect_dataset_open(&e->dataset, e->spec->dataset, NULL, err));
    AFFECT_TRY(affect_dataset_verify(e->dataset, err));
    AFFECT_TRY(check_features(e, err));
    AFFECT_TRY(map_classes(e, err));
    AFFECT_TRY(affect_normalizer_from_json(
        &e->normalizer, affect_architecture_sizes(affect_model_architecture(e->model)),
        affect_model_metadata(e->model, "normalizer"), err));
    AFFECT_TRY(choose_utterances(e, err));
    e->probabilities = malloc(e->n * e->n_classes * sizeof *e->probabilities);
    if (!e->probabilities) return affect_fail(err, NO_MEMORY, "no memory for %zu results", e->n);
    AFFECT_TRY(affect_backend_open(
        &e->backend,
        (affect_backend_options){.device = e->spec->device,
                                 .n_threads = (int)e->spec->threads,
                                 .precision = (affect_precision)e->spec->precision},
        err));
    const affect_architecture *architecture = affect_model_architecture(e->model);
    affect_session_options options = {.max_batch = e->n < BATCH_SIZE ? e->n : BATCH_SIZE};
    AFFECT_TRY(affect_session_create(&e->session, e->backend, architecture, options, err));
    AFFECT_TRY(affect_model_load(e->model, e->session, err));
    affect_batch_options batch = {.backend = e->backend,
                                  .architecture = architecture,
                                  .dataset = e->dataset,
                                  .normalizer = &e->normalizer,
                                  .class_map = e->class_map,
                                  .capacity = options.max_batch};
    return affect_batch_create(&e->batch, &batch, err);
}

static affect_status run(evaluation *e, bool (*keep_going)(void *, size_t, size_t), void *context,
                         affect_error *err) {
    for (size_t done = 0; done < e->n;) {
        if (keep_going && !keep_going(context, done, e->n))
            return affect_fail(err, CANCELLED, "stopped after %zu of %zu utterances", done, e->n);
        size_t rows = e->n - done < BATCH_SIZE ? e->n - done : BATCH_SIZE;
        AFFECT_TRY(affect_batch_evaluate(e->probabilities + done * e->n_classes, e->batch,
                                         e->session, e->indices + done, rows, err));
        done += rows;
    }
    if (keep_going) keep_going(context, e->n, e->n);
    return AFFECT_STATUS_OK;
}

/* What was predicted for utterance i of those evaluated. */
static size_t predicted_class(const evaluation *e, size_t i) {
    const float *p = e->probabilities + i * e->n_classes;
    size_t best = 0;
    for (size_t c = 1; c < e->n_classes; c++)
        if (p[c] > p[best]) best = c;
    return best;
}

static void print_line(affect_buffer *line, const evaluation *e, size_t i) {
    const affect_utterance *utterance = affect_dataset_utterance(e->dataset, e->indices[i]);
    affect_json *row = affect_json_new_object(), *all = affect_json_new_object();
    for (size_t c = 0; c < e->n_classes; c++)
        affect_json_set_number(all, e->classes[c], e->probabilities[i * e->n_classes + c]);
    affect_json_set_string(row, "utterance", utterance->id);
    affect_json_set_string(row, "label", e->classes[e->class_map[utterance->label]]);
    affect_json_set_string(row, "predicted", e->classes[predicted_class(e, i)]);
    affect_json_set(row, "probabilities", all);
    affect_json_print(line, row);
    affect_buffer_append(line, "\n", 1);
    affect_json_free(row);
}

/* Nine digits tell any float from its neighbours. */
static void print_cells(affect_buffer *line, const evaluation *e, size_t i) {
    const affect_utterance *utterance = affect_dataset_utterance(e->dataset, e->indices[i]);
    const char *const texts[] = {utterance->id, e->classes[e->class_map[utterance->label]],
                                 e->classes[predicted_class(e, i)]};
    if (i == 0) {
        affect_buffer_append_string(line, "utterance,label,predicted");
        for (size_t c = 0; c < e->n_classes; c++) {
            affect_buffer_append(line, ",", 1);
            affect_buffer_append_csv(line, e->classes[c]);
        }
        affect_buffer_append(line, "\n", 1);
    }
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        if (k) affect_buffer_append(line, ",", 1);
        affect_buffer_append_csv(line, texts[k]);
    }
    for (size_t c = 0; c < e->n_classes; c++)
        affect_buffer_printf(line, ",%.9g", (double)e->probabilities[i * e->n_classes + c]);
    affect_buffer_append(line, "\n", 1);
}

/* Row by row: a corpus of any size needs the memory of one. */
static affect_status write_rows(const evaluation *e, const char *name,
                                void (*print)(affect_buffer *, const evaluation *, size_t),
                                affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_file_writer *writer = NULL;
    affect_buffer line = {0};
    AFFECT_TRY(affect_path_join(path, err, e->spec->output, "%s", name));
    AFFECT_TRY(affect_file_writer_open(&writer, path, err));
    for (size_t i = 0; i < e->n && !line.failed; i++) {
        affect_buffer_clear(&line);
        print(&line, e, i);
        affect_file_writer_append(writer, line.data, line.size);
    }
    affect_status status = line.failed ? affect_fail(err, NO_MEMORY, "no memory for predictions")
                                       : affect_file_writer_commit(writer, err);
    affect_file_writer_free(writer);
    affect_buffer_free(&line);
    return status;
}

static affect_status write_predictions(const evaluation *e, affect_error *err) {
    AFFECT_TRY(affect_directory_make(e->spec->output, err));
    AFFECT_TRY(write_rows(e, AFFECT_PREDICTIONS_FILE, print_line, err));
    return write_rows(e, AFFECT_PREDICTIONS_TABLE, print_cells, err);
}

static affect_json *summarize(const evaluation *e, const affect_metrics *metrics) {
    const char *part = affect_evaluate_parts[e->spec->part];
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "part", part);
    affect_json_set_number(json, "utterances", (double)e->n);
    affect_metrics_print(affect_json_set_object(json, "metrics"), "", metrics, e->classes);
    affect_json *dataset = affect_json_set_object(json, "dataset");
    affect_json_set_string(dataset, "name", affect_dataset_name(e->dataset));
    affect_json_set_string(dataset, "digest", affect_dataset_digest(e->dataset));
    /* The validation part chose the best epoch; the training part trained; "all" holds both. */
    if (strcmp(part, "test") != 0)
        affect_json_set(json, "selection",
                        affect_json_copy(affect_model_metadata(e->model, "selection")));
    affect_json *artifacts = affect_json_set_array(json, "artifacts");
    if (e->spec->output[0]) {
        affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_FILE));
        affect_json_append(artifacts, affect_json_new_string(AFFECT_PREDICTIONS_TABLE));
    }
    return json;
}

static affect_json *interval_json(affect_interval interval) {
    affect_json *json = affect_json_new_array();
    affect_json_append(json, affect_json_new_number(interval.low));
    affect_json_append(json, affect_json_new_number(interval.high));
    return json;
}

/* Of draws of the groups of one attribute; null where there are fewer than two of them. */
static affect_status set_bootstrap(affect_json *to, const evaluation *e,
                                   affect_utterance_table *table, const char *attribute,
                                   int *columns[3], affect_error *err) {
    const affect_utterance_groups *groups;
    affect_bootstrap bootstrap;
    affect_error few = {0};
    AFFECT_TRY(affect_utterance_table_group(&groups, table, attribute, err));
    for (size_t i = 0; i < e->n; i++) columns[2][i] = groups->of[e->indices[i]];
    affect_status status =
        groups->n == 0
            ? affect_fail(&few, INVALID, "no group")
            : affect_bootstrap_run(&bootstrap, columns[0], columns[1], columns[2], e->n,
                                   e->n_classes, AFFECT_BOOTSTRAP_DRAWS, BOOTSTRAP_SEED, &few);
    if (status == AFFECT_STATUS_INVALID) {
        affect_json_set(to, attribute, affect_json_new_null());
        return AFFECT_STATUS_OK;
    }
    if (status != AFFECT_STATUS_OK) return affect_fail(err, NO_MEMORY, "%s", few.message);
    affect_json *json = affect_json_set_object(to, attribute);
    affect_json_set_number(json, "groups", (double)bootstrap.n_groups);
    affect_json_set(json, "accuracy", interval_json(bootstrap.accuracy));
    affect_json_set(json, "recall_mean", interval_json(bootstrap.recall_mean));
    affect_json_set(json, "f1_macro", interval_json(bootstrap.f1_macro));
    return AFFECT_STATUS_OK;
}

/* Adds "intervals" and "calibration". columns: labels, predictions, groups. */
static affect_status report_numbers(const evaluation *e, affect_json *summary,
                                    affect_utterance_table *table, int *columns[3],
                                    affect_error *err) {
    affect_calibration calibration;
    size_t n_right = 0;
    for (size_t i = 0; i < e->n; i++) {
        columns[0][i] = e->class_map[affect_dataset_utterance(e->dataset, e->indices[i])->label];
        columns[1][i] = (int)predicted_class(e, i);
        n_right += columns[0][i] == columns[1][i];
    }
    AFFECT_TRY(
        affect_calibrate(&calibration, e->probabilities, columns[0], e->n, e->n_classes, err));
    affect_json *intervals = affect_json_set_object(summary, "intervals");
    affect_json_set_number(intervals, "level", 0.95);
    affect_json_set(intervals, "accuracy", interval_json(affect_interval_wilson(n_right, e->n)));
    affect_json *bootstrap = affect_json_set_object(intervals, "bootstrap");
    affect_json_set_number(bootstrap, "draws", AFFECT_BOOTSTRAP_DRAWS);
    affect_json_set_number(bootstrap, "seed", BOOTSTRAP_SEED);
    AFFECT_TRY(set_bootstrap(bootstrap, e, table, "speaker", columns, err));
    AFFECT_TRY(set_bootstrap(bootstrap, e, table, "dialog", columns, err));
    affect_json_set(summary, "calibration", affect_calibration_to_json(&calibration));
    return AFFECT_STATUS_OK;
}

/* How sure the numbers are: of the utterances, as another sample of speakers or dialogs. */
static affect_status report_uncertainty(const evaluation *e, affect_json *summary,
                                        affect_error *err) {
    affect_utterance_table table;
    int *numbers = malloc((3 * e->n + 1) * sizeof *numbers);
    int *columns[] = {numbers, numbers + e->n, numbers + 2 * e->n};
    if (!numbers) return affect_fail(err, NO_MEMORY, "no memory for %zu results", e->n);
    affect_status status =
        affect_utterance_table_make(&table, affect_dataset_manifest(e->dataset), err);
    if (status == AFFECT_STATUS_OK) {
        status = report_numbers(e, summary, &table, columns, err);
        affect_utterance_table_free(&table);
    }
    free(numbers);
    return status;
}

/* Adds what the result says of the split that the model was trained with. */
static affect_status report_split(const evaluation *e, affect_json *summary, double accuracy,
                                  affect_error *err) {
    const affect_json *split = affect_model_metadata(e->model, "split");
    const affect_json *ids = affect_json_get(affect_json_get(split, "utterances"),
                                             affect_part_names[AFFECT_PART_TRAINING]);
    size_t *training = malloc((affect_json_size(ids) + 1) * sizeof *training), n = 0;
    if (!training) return affect_fail(err, NO_MEMORY, "no memory to audit the split");
    for (const affect_json *id = affect_json_first(ids); id; id = affect_json_next(id))
        n += affect_dataset_find(e->dataset, &training[n], affect_json_string(id, ""));
    const affect_split_report_input input = {.split = split,
                                             .manifest = affect_dataset_manifest(e->dataset),
                                             .training = training,
                                             .n_training = n,
                                             .evaluated = e->indices,
                                             .n_evaluated = e->n,
                                             .part = affect_evaluate_parts[e->spec->part],
                                             .accuracy = accuracy};
    affect_status status = affect_split_report(summary, &input, err);
    free(training);
    return status;
}

affect_status affect_evaluate(affect_evaluation *result, const affect_evaluate_spec *spec,
                              bool (*keep_going)(void *context, size_t done, size_t total),
                              void *context, affect_error *err) {
    *result = (affect_evaluation){0};
    evaluation *e = calloc(1, sizeof *e);
    if (!e) return affect_fail(err, NO_MEMORY, "no memory to evaluate");
    e->spec = spec;
    affect_status status = begin(e, err);
    if (status == AFFECT_STATUS_OK) status = run(e, keep_going, context, err);
    double l2 = 0;
    if (status == AFFECT_STATUS_OK) status = affect_session_read_totals(e->totals, e->session, err);
    if (status == AFFECT_STATUS_OK) status = affect_session_l2(e->session, &l2, err);
    if (status == AFFECT_STATUS_OK && spec->output[0]) status = write_predictions(e, err);
    if (status == AFFECT_STATUS_OK) {
        affect_metrics_from_stats(&result->metrics, e->totals, e->n_classes, l2);
        result->summary = summarize(e, &result->metrics);
        status = report_uncertainty(e, result->summary, err);
        if (status == AFFECT_STATUS_OK)
            status = report_split(e, result->summary, result->metrics.accuracy, err);
    }
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(result->summary);
        result->summary = NULL;
    }
    affect_batch_free(e->batch);
    affect_session_free(e->session);
    affect_backend_free(e->backend);
    affect_normalizer_free(&e->normalizer);
    affect_dataset_close(e->dataset);
    affect_model_close(e->model);
    free(e->indices);
    free(e->probabilities);
    free(e);
    return status;
}
