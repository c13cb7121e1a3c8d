/* Embeddings as a modality: arrays that the user computed, one or several features by name.
 *
 * The array of an utterance is a vector (size), or frames over time (frames, size) of which there
 * may be fewer than the options' frames, which are then padded with zeros, or more, whose end is
 * not used. Columns are scaled by the training part's moments (normalizer.h). */
#ifndef AFFECT_MODALITY_EMBEDDING_H
#define AFFECT_MODALITY_EMBEDDING_H

#include "engine/modality/features.h"

/* Rows of the extraction's field table. */
typedef struct {
    int64_t size;
    int64_t frames; /* 0: one vector an utterance */
} affect_embedding_config;

/* The record of an affect_quality. */
typedef struct {
    size_t n_rows;  /* of the array */
    bool truncated; /* more than the options' frames */
} affect_embedding_quality;

/* Reads array_file.h's files. MALFORMED, and the name of the feature before the reason: not such a
 * file, another shape, a number that is not finite. */
extern const affect_extraction affect_embedding_extraction;

#endif
