/* Model files and checkpoints: one safetensors file that needs nothing else.
 *
 * Tensors are named and laid out as Keras does ("audio.conv_1.kernel" (3, in, out)). A checkpoint
 * adds adam_m.NAME and adam_v.NAME. Metadata (each value JSON text): "format" ("affect-model-1"),
 * "architecture" (the document, variables resolved), "sizes", "layers" (all options of each,
 * batch_norm's epsilon among them, and the order of an lstm's gates), "feature_config",
 * "normalizer" (mean and deviation per column of a scaled feature), "labels" (class names in the
 * order of the outputs), "label_map", "dataset" (name, digest), "split", "metrics", "training"
 * (config, seed), "engine" (what it was trained on), "code_version", "temperature" (a number fitted
 * on the validation part, engine/evaluation/temperature.h; older files have none); a checkpoint
 * adds "trainer" (epoch, step, position, schedule, counters, best so far). */
#ifndef AFFECT_MODEL_MODEL_FILE_H
#define AFFECT_MODEL_MODEL_FILE_H

#include "engine/core/safetensors.h"
#include "engine/model/session.h"

#define AFFECT_MODEL_FORMAT "affect-model-1"

/* Writes the session's tensors (and moments when `checkpoint`) with the metadata: an object whose
 * members are JSON values; "format", "architecture", "sizes", "layers" and "code_version" are added
 * here. DIVERGED, and nothing written, when a number is not finite: no file with one can be opened.
 */
affect_status affect_model_save(const char *path, affect_session *session,
                                const affect_json *metadata, bool checkpoint, affect_error *err);

/* An open model file: architecture rebuilt, tensors checked, metadata parsed. Immutable, shared. */
typedef struct affect_model affect_model;
affect_status affect_model_open(affect_model **model, const char *path, affect_error *err);
void affect_model_close(affect_model *model);
const affect_architecture *affect_model_architecture(const affect_model *model); /* borrowed */
/* A metadata value, parsed; borrowed; NULL when absent. With name NULL the object of all of them.
 */
const affect_json *affect_model_metadata(const affect_model *model, const char *name);
/* Copies all tensors into a session of the same architecture; moments too when the file has them
 * and the session trains. */
affect_status affect_model_load(const affect_model *model, affect_session *session,
                                affect_error *err);

#endif
