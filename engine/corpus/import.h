/* Import: a corpus folder or archive becomes a dataset (dataset.h).
 *
 * One importer for all sources: an archive is first unpacked into a staging folder, labels,
 * transcripts, sound and motion only (archive.h). Then dialogs are read in parallel, a dialog being
 * the unit of work: its labels (iemocap.h), the sound of each utterance, and one pass over its
 * motion text for all its utterances. A dialog's features become one shard in the store, addressed
 * by digest; a shard that is there already is used as it is, so an import that was stopped goes on
 * where it was.
 *
 * What is wrong in the data never stops the rest: a malformed row or file is named with its line in
 * the report. The run fails only when there is nothing to import, the options are wrong, the
 * archive is hostile or damaged, or the disk fails.
 *
 * The report (also "report" in dataset.json):
 *   {"utterances": 5531, "rated": 10039, "dialogs": 151,
 *    "classes": {"angry": 1103, ...}, "labels": {"ang": 1103, ..., "xxx": 2507},
 *    "sessions": {"Ses01": 1085, ...}, "speakers": {"Ses01F": 528, ...},
 *    "streams": {"audio": 5531, "face": 5507, "head": ..., "hand": ..., "own_motion": 2781},
 *    "improvised": 2943, "scripted": 2588, "audio_hours": 7.0,
 *    "dropped": [{"utterance", "reason"}], "n_dropped": 4508,
 *    "rejected": [{"file", "line" (0: the file), "reason"}] (the first 1000), "n_rejected": 12,
 *    "warnings": [text] (the first 1000), "n_warnings": 3}
 * and, in the result of a run only (they tell of the run, not of the data):
 *    "shards": {"total": 151, "reused": 0, "computed": 151}, "seconds", "dataset", "digest". */
#ifndef AFFECT_CORPUS_IMPORT_H
#define AFFECT_CORPUS_IMPORT_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What to import and where to. */
typedef struct {
    char type[16];         /* "import" */
    char name[64];         /* of the dataset: [A-Za-z0-9][A-Za-z0-9._-]* */
    char source[1024];     /* a folder, or an archive (told by its first bytes) */
    char store[1024];      /* folder of the feature store, made if absent */
    char output[1024];     /* the dataset's folder, made if absent */
    char staging[1024];    /* where an archive is unpacked; "" = below output, removed at the end */
    char layout[16];       /* "iemocap" */
    affect_json *features; /* owned: {"preset": "mel-16k", ...}; NULL = defaults */
    affect_json *labels;   /* owned: {"happy": ["hap", "exc"], ...}; NULL = the study's four */
    int64_t threads;       /* 0 = all cores this process may use */
} affect_import_options;

void affect_import_options_default(affect_import_options *options);
void affect_import_options_free(affect_import_options *options);
/* Reads a job specification: {"type": "import", "name", "source": {"path"} | {"archive"}, "layout",
 * "features", "labels", "store", "output", "staging", "threads"}. Start from _default. INVALID
 * names an unknown or wrong field. */
affect_status affect_import_options_parse(affect_import_options *options, const affect_json *json,
                                          affect_error *err);

/* What a run tells; called by the thread that called affect_import_run, never by two at once. All
 * optional. */
typedef struct {
    void *context;
    /* stage: "unpacking" or "reading"; total 0 while unknown. Units: bytes of the archive, or of
     * the corpus' files. */
    void (*progress)(void *context, const char *stage, double done, double total);
    void (*warning)(void *context, const char *message);
} affect_import_callbacks;

/* *report owned (affect_json_free). `cancel` (may be NULL) is looked at between utterances and
 * blocks of text; set: CANCELLED, finished shards stay, nothing else does. On success the dataset
 * is in options->output. */
affect_status affect_import_run(affect_json **report, const affect_import_options *options,
                                const affect_import_callbacks *callbacks, const atomic_bool *cancel,
                                affect_error *err);

#endif
