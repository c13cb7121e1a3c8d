/* What a worker is told: the specification of a train or evaluate job, read from JSON.
 *
 * The same structs are filled from a request (api checks a body before it is queued), from the spec
 * file that the server writes for its worker, and from the flags of `affect train`. Defaults,
 * bounds and help stand in the field tables. */
#ifndef AFFECT_TRAIN_JOB_SPEC_H
#define AFFECT_TRAIN_JOB_SPEC_H

#include "engine/core/file.h"
#include "engine/dataset/dataset.h"
#include "engine/evaluation/split.h"
#include "engine/train/schedule.h"

/* The "training" object. */
typedef struct {
    int64_t epochs, batch_size, seed;
    double learning_rate, beta_1, beta_2, epsilon;
    int best;                    /* affect_monitor: what the best epoch is chosen by */
    affect_json *schedule;       /* as given; owned; parsed into schedule_config */
    affect_json *early_stopping; /* as given; owned; parsed into stopping_config */
    affect_json *class_weights;  /* "none", "balanced" or {class: weight}; owned; may be NULL */
    affect_schedule_config schedule_config;
    affect_stopping_config stopping_config;
} affect_training_config;
extern const affect_field affect_training_fields[];

/* NULL json is the default. On failure nothing is owned. */
affect_status affect_training_config_parse(affect_training_config *config, const affect_json *json,
                                           const char *path, affect_error *err);
void affect_training_config_print(affect_json *json, const affect_training_config *config);
void affect_training_config_free(affect_training_config *config);

/* A train job. Zero-initialise; affect_train_spec_free frees what parsing made. */
typedef struct {
    char type[16];                 /* "train" */
    char job[64];                  /* id, for logs; may be empty */
    char dataset[AFFECT_PATH_MAX]; /* a dataset's folder */
    char output[AFFECT_PATH_MAX];  /* folder for best.safetensors and last.safetensors */
    char model[128];               /* name of the model to make; kept in the model file */
    char device[32];
    int precision; /* affect_precision */
    int64_t threads;
    bool resume;         /* resume from the output folder's checkpoint, if it has one */
    int64_t told_epochs; /* that who listens has, for a resume to tell the others; -1: no log */
    int64_t pause_after_epoch; /* ends there, with a checkpoint to resume from; 0: at the last */
    bool dry_run;              /* plan and probe only: nothing is written */
    int64_t memory_bytes;      /* that the training may take; 0: nine tenths of what is available */
    double checkpoint_seconds; /* between checkpoints within an epoch; 0: only at its end */
    affect_json *architecture; /* a preset's name or a document; owned */
    affect_json *variables, *split, *training; /* as given; owned */
    affect_split_config split_config;
    affect_training_config training_config;
} affect_train_spec;
affect_status affect_train_spec_parse(affect_train_spec *spec, const affect_json *json,
                                      affect_error *err);
void affect_train_spec_free(affect_train_spec *spec);
/* The part (affect_part) of each utterance of the dataset: affect_split_make. */
affect_status affect_train_spec_split(uint8_t *parts, const affect_train_spec *spec,
                                      const affect_dataset *dataset, affect_error *err);
/* Checks the spec against the dataset that it names: number of classes, speakers and sizes of the
 * split, names of class weights. */
affect_status affect_train_spec_check(const affect_train_spec *spec, const affect_dataset *dataset,
                                      affect_error *err);

/* An evaluate job: a model on a part of its own split, or on everything ("all"). */
typedef struct {
    char type[16]; /* "evaluate" */
    char job[64];
    char model[AFFECT_PATH_MAX]; /* a model file */
    char dataset[AFFECT_PATH_MAX];
    char output[AFFECT_PATH_MAX]; /* may be empty */
    int part;                     /* index into affect_evaluate_parts */
    char device[32];
    int precision; /* affect_precision */
    int64_t threads;
} affect_evaluate_spec;
/* "training", "validation", "test", "all", then NULL. */
extern const char *const affect_evaluate_parts[];
affect_status affect_evaluate_spec_parse(affect_evaluate_spec *spec, const affect_json *json,
                                         affect_error *err);

/* The document of an "architecture" member: a preset's (by name) or the inline object; *document
 * owned. */
affect_status affect_job_architecture(affect_json **document, const affect_json *architecture,
                                      affect_error *err);

#endif
