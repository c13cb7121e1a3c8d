/* What a model predicts for utterances: the input of a report, and two files, a row an utterance.
 *
 *   predictions.jsonl  {"utterance", "speaker", "dialog", "label", "predicted",
 *                       "probabilities": {class: number}}, null where the corpus lacks it
 *   predictions.csv    utterance,speaker,dialog,label,predicted, then a column a class; empty cells
 */
#ifndef AFFECT_EVALUATION_PREDICTIONS_H
#define AFFECT_EVALUATION_PREDICTIONS_H

#include "engine/dataset/dataset.h"
#include "engine/dataset/label_map.h"

#define AFFECT_PREDICTIONS_FILE  "predictions.jsonl"
#define AFFECT_PREDICTIONS_TABLE "predictions.csv"

/* All borrowed. */
typedef struct {
    const affect_dataset *dataset;
    const size_t *indices; /* (n) utterances of it */
    size_t n;
    const char *const *classes; /* (n_classes) of the model */
    size_t n_classes;
    const int *class_map;       /* from the dataset's classes to the model's; NULL: the same */
    const float *probabilities; /* (n, n_classes) */
} affect_predictions;

const affect_utterance *affect_predictions_utterance(const affect_predictions *p, size_t i);
/* The true class, in the model's numbering. */
int affect_predictions_label(const affect_predictions *p, size_t i);
/* The most probable class; of equals the first. */
int affect_predictions_class(const affect_predictions *p, size_t i);
/* Writes both files into the folder, which is made. */
affect_status affect_predictions_write(const affect_predictions *p, const char *folder,
                                       affect_error *err);

/* A predictions.csv as it was read. */
typedef struct {
    char *utterance, *speaker, *dialog; /* speaker and dialog "" where not known */
    int label, predicted;               /* classes */
} affect_prediction_row;

typedef struct {
    size_t n, n_classes;
    char *classes[AFFECT_MAX_CLASSES];
    affect_prediction_row *rows; /* (n) in the byte order of their utterances */
} affect_prediction_table;

/* Reads a table of at most max_bytes (TOO_LARGE). MALFORMED names the line: another header, a row
 * of another length, a label that is no class; an utterance that occurs twice. On failure nothing
 * is owned; else affect_prediction_table_free. */
affect_status affect_prediction_table_read(affect_prediction_table *table, const char *path,
                                           size_t max_bytes, affect_error *err);
void affect_prediction_table_free(affect_prediction_table *table);

#endif
