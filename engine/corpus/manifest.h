/* dataset.json: written by an import, read by dataset.c. Its members:
 *
 *   "format": "affect-dataset", "version": 1, "name", "layout",
 *   "digest": SHA-256 of the canonical text of features, labels, classes, shards and utterances,
 *   "features": the complete config, "sizes" (modality.h),
 *   "labels": the label map, "classes": [names], "store": path, relative to the manifest,
 *   "shards": [digests], "utterances": [one object each, in the order of their ids], "report"
 *
 * Which utterances are kept, as a careful reader of the corpus would: those whose label maps to a
 * class, and whose sound can be read or who have rows of motion. An utterance without a sound file
 * is kept for its motion, and one whose motion is absent, empty or all NaN for its sound: the
 * streams it lacks are marked missing. One whose sound file is there but cannot be read is dropped:
 * it was meant to be heard, and what is wrong with it is for a person to find out. */
#ifndef AFFECT_CORPUS_MANIFEST_H
#define AFFECT_CORPUS_MANIFEST_H

#include "engine/core/digest.h"
#include "engine/corpus/corpus.h"
#include "engine/dataset/dataset.h"
#include "engine/dataset/label_map.h"

typedef char affect_shard_key[AFFECT_DIGEST_TEXT_SIZE];

/* All borrowed. */
typedef struct {
    const char *name, *layout;
    const char *directory, *store; /* folders that exist */
    const affect_json *features;   /* the complete config */
    const affect_label_map *labels;
    const affect_corpus *corpus;
    const affect_shard_key *keys; /* (n_dialogs) shards, all in the store */
    const affect_issues *issues;  /* of labels and transcripts */
} affect_manifest_input;

/* Writes DIRECTORY/dataset.json. *manifest owned: the document. INVALID when no utterance is left.
 */
affect_status affect_manifest_write(affect_json **manifest, const affect_manifest_input *input,
                                    affect_error *err);

#endif
