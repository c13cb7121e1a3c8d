/* Job specifications; see job_spec.h. */
#include "engine/train/job_spec.h"

#include "engine/dataset/label_map.h"
#include "engine/device/backend.h"
#include "engine/model/architecture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const affect_evaluate_parts[] = {"training", "validation", "test", "all", NULL};

const affect_field affect_training_fields[] = {
    AFFECT_FIELD_INTEGER(affect_training_config, epochs, 100, 1, 100000,
                         "passes over the training part"),
    AFFECT_FIELD_INTEGER(affect_training_config, batch_size, 48, 1, 65536, "utterances a step"),
    AFFECT_FIELD_INTEGER(affect_training_config, seed, 1, 0, 9007199254740991.0,
                         "initial weights, order and dropout depend on it"),
    AFFECT_FIELD_NUMBER(affect_training_config, learning_rate, 1e-3, 1e-9, 10,
                        "Adam's rate at the start"),
    AFFECT_FIELD_NUMBER(affect_training_config, beta_1, 0.9, 0, 0.999999, "Adam"),
    AFFECT_FIELD_NUMBER(affect_training_config, beta_2, 0.999, 0, 0.99999999, "Adam"),
    AFFECT_FIELD_NUMBER(affect_training_config, epsilon, 1e-7, 1e-20, 1, "Adam"),
    AFFECT_FIELD_CHOICE(affect_training_config, best, AFFECT_MONITOR_VAL_LOSS, affect_monitor_names,
                        "what the best epoch is chosen by"),
    AFFECT_FIELD_JSON(affect_training_config, schedule, "the learning rate's course",
                      .fields = affect_schedule_fields),
    AFFECT_FIELD_JSON(affect_training_config, early_stopping, "when to stop before the last epoch",
                      .fields = affect_stopping_fields),
    AFFECT_FIELD_JSON(affect_training_config, class_weights,
                      "\"none\", \"balanced\" (n / (classes * n_class)) or {class: weight}",
                      .schema = "{'oneOf':[{'type':'string','enum':['none','balanced']},"
                                "{'type':'object','additionalProperties':{'type':'number',"
                                "'exclusiveMinimum':0,'maximum':1000000}}]}"),
    AFFECT_FIELD_END};

static affect_status check_class_weights(const affect_json *weights, const char *path,
                                         affect_error *err) {
    const char *word = affect_json_string(weights, NULL);
    bool known = word && (strcmp(word, "none") == 0 || strcmp(word, "balanced") == 0);
    if (!weights || known) return AFFECT_STATUS_OK;
    if (!affect_json_is_object(weights))
        return affect_field_fail(err, path, "class_weights",
                                 "need \"none\", \"balanced\" or an object of numbers");
    affect_status status = AFFECT_STATUS_OK;
    char members[128];
    snprintf(members, sizeof members, "%s/class_weights", path);
    for (const affect_json *e = affect_json_first(weights); e; e = affect_json_next(e)) {
        double weight = affect_json_number(e, -1);
        if (!(weight > 0 && weight <= 1e6))
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, members, affect_json_name(e),
                                           "must be a number in (0, 1e6]"));
    }
    return status;
}

static affect_status parse_nested(affect_training_config *config, const char *path,
                                  affect_error *err) {
    char nested[128];
    affect_fields_default(&config->schedule_config, affect_schedule_fields);
    snprintf(nested, sizeof nested, "%s/schedule", path);
    affect_status status = affect_fields_parse(&config->schedule_config, affect_schedule_fields,
                                               config->schedule, nested, err);
    affect_fields_default(&config->stopping_config, affect_stopping_fields);
    snprintf(nested, sizeof nested, "%s/early_stopping", path);
    AFFECT_CHECK(status, err,
                 affect_fields_parse(&config->stopping_config, affect_stopping_fields,
                                     config->early_stopping, nested, err));
    AFFECT_CHECK(status, err, check_class_weights(config->class_weights, path, err));
    return status;
}

affect_status affect_training_config_parse(affect_training_config *config, const affect_json *json,
                                           const char *path, affect_error *err) {
    memset(config, 0, sizeof *config);
    affect_fields_default(config, affect_training_fields);
    affect_status status = affect_fields_parse(config, affect_training_fields, json, path, err);
    AFFECT_CHECK(status, err, parse_nested(config, path, err));
    if (status != AFFECT_STATUS_OK) affect_training_config_free(config);
    return status;
}

void affect_training_config_print(affect_json *json, const affect_training_config *config) {
    affect_fields_print(json, config, affect_training_fields);
    affect_fields_print(affect_json_set_object(json, "schedule"), &config->schedule_config,
                        affect_schedule_fields);
    affect_json *stopping = affect_json_set_object(json, "early_stopping");
    affect_fields_print(stopping, &config->stopping_config, affect_stopping_fields);
    /* Checkpoints of before this field are resumed: its default is not printed. */
    if (config->stopping_config.monitor == AFFECT_MONITOR_VAL_LOSS)
        affect_json_free(affect_json_detach(stopping, "monitor"));
    if (!config->class_weights) affect_json_set_string(json, "class_weights", "none");
}

void affect_training_config_free(affect_training_config *config) {
    affect_fields_free(config, affect_training_fields);
}

static const affect_field train_fields[] = {
    AFFECT_FIELD_STRING(affect_train_spec, type, "train", "train"),
    AFFECT_FIELD_STRING(affect_train_spec, job, "", "the job's id"),
    AFFECT_FIELD_STRING(affect_train_spec, dataset, "", "a dataset's folder"),
    AFFECT_FIELD_STRING(affect_train_spec, output, "", "where the model files go"),
    AFFECT_FIELD_STRING(affect_train_spec, model, "", "name of the model"),
    AFFECT_FIELD_STRING(affect_train_spec, device, "auto", "cpu, cuda, cuda:N or auto"),
    AFFECT_FIELD_CHOICE(affect_train_spec, precision, AFFECT_PRECISION_AUTO, affect_precision_names,
                        "of products: fp32, tf32, bf16; auto: tf32 on a GPU, fp32 on a CPU"),
    AFFECT_FIELD_INTEGER(affect_train_spec, threads, 0, 0, 1024, "0 = all cores"),
    AFFECT_FIELD_BOOL(affect_train_spec, resume, false,
                      "resume from the output folder's checkpoint, if it has one"),
    AFFECT_FIELD_INTEGER(affect_train_spec, told_epochs, -1, -1, 9007199254740991.0,
                         "epochs that the server has stored; -1: no server"),
    AFFECT_FIELD_INTEGER(affect_train_spec, pause_after_epoch, 0, 0, 100000,
                         "end there, to be resumed; 0: at the last epoch"),
    AFFECT_FIELD_BOOL(affect_train_spec, dry_run, false, "plan and probe only"),
    AFFECT_FIELD_INTEGER(affect_train_spec, memory_bytes, 0, 0, 9007199254740991.0,
                         "that the training may take; 0: nine tenths of what is available"),
    AFFECT_FIELD_NUMBER(affect_train_spec, checkpoint_seconds, 60, 0, 1e9,
                        "between checkpoints within an epoch; 0: only at its end"),
    AFFECT_FIELD_JSON(affect_train_spec, architecture, "a preset's name or a document"),
    AFFECT_FIELD_JSON(affect_train_spec, variables, "values for the architecture's variables"),
    AFFECT_FIELD_JSON(affect_train_spec, split, "which utterances train, validate, test"),
    AFFECT_FIELD_JSON(affect_train_spec, training, "epochs, batch size, rate, ..."),
    AFFECT_FIELD_END};

static affect_status need_text(const char *text, const char *name, affect_error *err) {
    return *text ? AFFECT_STATUS_OK : affect_field_fail(err, "", name, "is missing");
}

static affect_status parse_train(affect_train_spec *spec, const affect_json *json,
                                 affect_error *err) {
    affect_status status = affect_fields_parse(spec, train_fields, json, "", err);
    AFFECT_CHECK(status, err, need_text(spec->dataset, "dataset", err));
    if (!spec->dry_run) AFFECT_CHECK(status, err, need_text(spec->output, "output", err));
    if (!spec->architecture) spec->architecture = affect_json_new_string("paper-optimized");
    AFFECT_CHECK(status, err,
                 affect_split_config_parse(&spec->split_config, spec->split, "/split", err));
    AFFECT_CHECK(
        status, err,
        affect_training_config_parse(&spec->training_config, spec->training, "/training", err));
    return status;
}

affect_status affect_train_spec_parse(affect_train_spec *spec, const affect_json *json,
                                      affect_error *err) {
    memset(spec, 0, sizeof *spec);
    affect_fields_default(spec, train_fields);
    affect_status status = parse_train(spec, json, err);
    if (status != AFFECT_STATUS_OK) affect_train_spec_free(spec);
    return status;
}

affect_status affect_train_spec_split(uint8_t *parts, const affect_train_spec *spec,
                                      const affect_dataset *dataset, affect_error *err) {
    affect_utterance_table table;
    AFFECT_TRY(affect_utterance_table_make(&table, affect_dataset_manifest(dataset), err));
    affect_status status = affect_split_make(parts, &spec->split_config, &table, err);
    affect_utterance_table_free(&table);
    return status;
}

static affect_status check_classes(const affect_dataset *dataset, affect_error *err) {
    size_t n = affect_dataset_n_classes(dataset);
    if (n >= 2 && n <= AFFECT_MAX_CLASSES) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", "dataset", "has %zu classes (need 2..%d)", n,
                             AFFECT_MAX_CLASSES);
}

static affect_status check_weighted_classes(const affect_json *weights,
                                            const affect_dataset *dataset, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *e = affect_json_first(weights); e; e = affect_json_next(e)) {
        const char *name = affect_json_name(e);
        size_t c = 0, n = affect_dataset_n_classes(dataset);
        while (c < n && strcmp(affect_dataset_class(dataset, c), name) != 0) c++;
        if (c == n)
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, "/training/class_weights", name,
                                           "the dataset has no such class"));
    }
    return status;
}

affect_status affect_train_spec_check(const affect_train_spec *spec, const affect_dataset *dataset,
                                      affect_error *err) {
    affect_status status = check_classes(dataset, err);
    uint8_t *parts = malloc(affect_dataset_n_utterances(dataset) + 1);
    if (!parts) return affect_fail(err, NO_MEMORY, "no memory for a split");
    AFFECT_CHECK(status, err, affect_train_spec_split(parts, spec, dataset, err));
    free(parts);
    AFFECT_CHECK(status, err,
                 check_weighted_classes(spec->training_config.class_weights, dataset, err));
    return status;
}

void affect_train_spec_free(affect_train_spec *spec) {
    affect_fields_free(spec, train_fields);
    affect_split_config_free(&spec->split_config);
    affect_training_config_free(&spec->training_config);
}

static const affect_field evaluate_fields[] = {
    AFFECT_FIELD_STRING(affect_evaluate_spec, type, "evaluate", "evaluate"),
    AFFECT_FIELD_STRING(affect_evaluate_spec, job, "", "the job's id"),
    AFFECT_FIELD_STRING(affect_evaluate_spec, model, "", "a model file"),
    AFFECT_FIELD_STRING(affect_evaluate_spec, dataset, "", "a dataset's folder"),
    AFFECT_FIELD_STRING(affect_evaluate_spec, output, "", "where the predictions go; empty: none"),
    AFFECT_FIELD_CHOICE(affect_evaluate_spec, part, AFFECT_PART_VALIDATION, affect_evaluate_parts,
                        "a part of the model's own split, or all"),
    AFFECT_FIELD_STRING(affect_evaluate_spec, device, "auto", "cpu, cuda, cuda:N or auto"),
    AFFECT_FIELD_CHOICE(affect_evaluate_spec, precision, AFFECT_PRECISION_AUTO,
                        affect_precision_names, "of products; as for training"),
    AFFECT_FIELD_INTEGER(affect_evaluate_spec, threads, 0, 0, 1024, "0 = all cores"),
    AFFECT_FIELD_END};

affect_status affect_evaluate_spec_parse(affect_evaluate_spec *spec, const affect_json *json,
                                         affect_error *err) {
    affect_fields_default(spec, evaluate_fields);
    affect_status status = affect_fields_parse(spec, evaluate_fields, json, "", err);
    AFFECT_CHECK(status, err, need_text(spec->model, "model", err));
    AFFECT_CHECK(status, err, need_text(spec->dataset, "dataset", err));
    return status;
}

affect_status affect_job_architecture(affect_json **document, const affect_json *architecture,
                                      affect_error *err) {
    const char *preset = affect_json_string(architecture, NULL);
    if (preset) return affect_architecture_preset(document, preset, err);
    if (!affect_json_is_object(architecture)) {
        return affect_field_fail(err, "", "architecture",
                                 "is a %s (need a preset's name or an object)",
                                 affect_json_type_name(architecture));
    }
    *document = affect_json_copy(architecture);
    return *document ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "architecture: no memory");
}
