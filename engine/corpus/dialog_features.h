/* One dialog's recordings become one shard: the unit of work of an import.
 *
 * Sound of an utterance: its own sentence file; where there is none, its time window of the
 * dialog's recording, the mean of both channels (which channel is whose is not known for sure).
 * Motion, each stream by itself: the dialog's file, read once for all utterances by their time
 * windows, whose turns may overlap; where there is none, the sentence's file, every row of it
 * (whether time restarts in those is not known). An absent file is no fault: its columns are
 * missing. A file that cannot be read is: it is named in the shard's "rejected", as are malformed
 * rows.
 *
 * The quality of an utterance in the shard:
 *   {"audio": {"present", "from": "sentence" | "dialog", "seconds", ... | "error": text},
 *    "face": {"present", "rows", ...}, "head": ..., "hand": ...} */
#ifndef AFFECT_CORPUS_DIALOG_FEATURES_H
#define AFFECT_CORPUS_DIALOG_FEATURES_H

#include "engine/core/digest.h"
#include "engine/corpus/corpus.h"
#include "engine/corpus/dialog_files.h"
#include "engine/modality/features.h"

#include <stdbool.h>

typedef struct {
    const affect_corpus *corpus;
    const affect_corpus_dialog *dialog;
    affect_feature_extractor *extractor; /* of the calling thread */
    affect_dialog_files *files;          /* the same; what the key has read, for compute */
    const affect_json *features;         /* the complete config */
    const char *features_text;           /* the same, canonical */
    uint64_t max_bytes;                  /* of its files; more: TOO_LARGE */
    /* true stops with CANCELLED; called from the calling thread. */
    void *context;
    bool (*cancelled)(void *context);
} affect_dialog_job;

/* The shard's name: SHA-256 of a format number, the feature config, the dialog's id, each
 * utterance's id and window, and path, size and bytes of every file that would be read. n_bytes:
 * of those files. */
affect_status affect_dialog_key(char key[AFFECT_DIGEST_TEXT_SIZE], uint64_t *n_bytes,
                                const affect_dialog_job *job, affect_error *err);
/* Computes everything from the files that the key has just read and writes the shard to `path`.
 * Fails only for want of memory or disk, or when cancelled. */
affect_status affect_dialog_compute(const affect_dialog_job *job, const char *path,
                                    affect_error *err);

#endif
