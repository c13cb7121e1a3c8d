/* libaffect: emotion recognition from speech and motion capture, in C. The public face.
 *
 * Include this one header. What a program does, in its order:
 *
 *   import    affect_import_run       a folder or archive becomes a dataset   corpus/import.h
 *   open      affect_dataset_open     utterances and features, memory-mapped  dataset/dataset.h
 *   train     affect_train            a dataset and a specification: a model  train/trainer.h
 *   evaluate  affect_evaluate         a model on a part of a dataset          train/evaluation.h
 *   predict   affect_predictor_open,  recordings of one utterance to          predict/predict.h
 *             affect_predictor_run    probabilities
 *
 * and below them, for programs that do their own training or look inside:
 *
 *   affect_features_extract     recordings to spectrograms, motion averages   modality/features.h
 *   affect_architecture_create  JSON to a checked graph of layers             model/architecture.h
 *   affect_session_*            one network on one device, both passes        model/session.h
 *   affect_model_*              model files                                   model/model_file.h
 *   affect_backend_open         a device                                      device/backend.h
 *
 * Rules of the whole library. What can fail returns an affect_status and fills an optional
 * affect_error with a sentence (core/status.h). It never prints, exits or aborts on a user's data.
 * Inputs are const and borrowed; a returned pointer is owned by the caller unless its comment says
 * "borrowed until ..."; every free and close accepts NULL. An open dataset or model is immutable
 * and shared by threads; a session, backend, extractor or predictor belongs to one thread.
 *
 * A prediction, whole:
 *
 *   affect_error err = {0};
 *   affect_predictor *predictor = NULL;
 *   affect_json *answer = NULL;
 *   affect_features_input input = {0};
 *   affect_features_input_set(&input, "audio", (affect_source){.path = "u.wav"});
 *   const char *file = "model.safetensors";
 *   if (affect_predictor_open(&predictor, file, NULL, &err) != AFFECT_STATUS_OK ||
 *       affect_predictor_run(predictor, &answer, &input, &err) != AFFECT_STATUS_OK)
 *       fprintf(stderr, "%s\n", err.message);
 *   else
 *       printf("%s\n", affect_json_get_string(answer, "label", "?"));
 *   affect_json_free(answer);
 *   affect_predictor_close(predictor);
 */
#ifndef AFFECT_AFFECT_H
#define AFFECT_AFFECT_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/corpus/import.h"
#include "engine/dataset/dataset.h"
#include "engine/dataset/normalizer.h"
#include "engine/device/backend.h"
#include "engine/evaluation/leakage.h"
#include "engine/evaluation/split.h"
#include "engine/modality/features.h"
#include "engine/model/architecture.h"
#include "engine/model/model_file.h"
#include "engine/model/session.h"
#include "engine/predict/predict.h"
#include "engine/train/evaluation.h"
#include "engine/train/trainer.h"

#endif
