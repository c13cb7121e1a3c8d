/* Import: a corpus folder or archive becomes a dataset (dataset.h).
 *
 * One importer for all sources: an archive is first unpacked into a staging folder, labels,
 * transcripts, sound and motion only (archive.h). Then dialogs are read in parallel, a dialog being
 * the unit of work: its labels (reader.h), the sound of each utterance, and one pass over its
 * motion text for all its utterances. A dialog's features become one shard in the store, addressed
 * by digest; a shard that is there already is used as it is, so an import that was stopped
 * continues where it was.
 *
 * What is wrong in the data never stops the rest: a malformed row or file is named with its line in
 * the report. The run fails only when there is nothing to import, the options are wrong, the
 * archive is hostile or damaged, or the disk fails.
 *
 * The report, "report" in dataset.json:
 *   {"classes": {"angry": 1103, ...}, "labels": {"ang": 1103, ..., "xxx": 2507} (all rated),
 *    "sessions": {"Ses01": 1085, ...}, "speakers": {"Ses01F": 528, ...},
 *    "streams": {"audio": 5531, "face": 5507, "head": ..., "hand": ..., "own_motion": 2781},
 *    "utterances": 5531, "rated": 10039, "dialogs": 151, "improvised": 2943, "scripted": 2588,
 *    "transcripts": 5531, "audio_hours": 7.0,
 *    "dropped": [{"utterance", "label", "reason"}], "n_dropped": 4508,
 *    "rejected": [{"file", "line" (0: the file), "reason"}] (the first 1000), "n_rejected": 12,
 *    "warnings": [text] (the first 1000), "n_warnings": 3}
 * The result of a run is the report without its three lists, and with
 *    "name", "digest", "dataset" (folder), "shards": {"total": 151, "reused": 0, "computed": 151},
 *    "read_bytes" (of the corpus' files), "seconds". */
#ifndef AFFECT_CORPUS_IMPORT_H
#define AFFECT_CORPUS_IMPORT_H

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AFFECT_IMPORT_STAGING ".staging"

/* What to import and where to: the specification of an import job, as the server writes it:
 *   {"type": "import", "name", "layout", "options", "source": {"path": folder, "root"?: folder
 * above it} |
 *    {"archive": file}, "features", "labels", "store", "output", "staging", "threads",
 *    "max_file_bytes", "max_bytes"}
 * With a root, "path" is relative to it and is opened beneath it, by this run and not before:
 * whatever was exchanged since the request, nothing outside the root is read. */
typedef struct {
    char type[16];                 /* "import" */
    char job[64];                  /* id, for logs; may be empty */
    char name[64];                 /* of the dataset: [A-Za-z0-9][A-Za-z0-9._-]* */
    char layout[16];               /* a reader's name (reader.h) */
    char store[AFFECT_PATH_MAX];   /* folder of the feature store, made if absent */
    char output[AFFECT_PATH_MAX];  /* the dataset's folder, made if absent */
    char staging[AFFECT_PATH_MAX]; /* must not be there, or be left by a run that was killed; made,
                                      removed at the end; "" = AFFECT_IMPORT_STAGING in output */
    int64_t threads;               /* 0 = all cores this process may use */
    affect_json *source;           /* as given; owned */
    affect_json *features;         /* {"preset": "mel-16k", ...}, NULL = defaults; owned */
    affect_json *options;          /* of the reader; NULL = none; owned */
    affect_json *labels;           /* label_map.h, NULL = the reader's own; owned */
    char root[AFFECT_PATH_MAX];    /* "", or the folder that `path` is below */
    char path[AFFECT_PATH_MAX];    /* of the source */
    int64_t max_file_bytes;        /* larger files of the source are rejected */
    int64_t max_bytes;             /* of all files; more: TOO_LARGE */
    bool is_archive;
    const struct affect_corpus_reader *reader; /* of the layout */
} affect_import_options;

void affect_import_options_default(affect_import_options *options);
void affect_import_options_free(affect_import_options *options);
/* Reads a specification over the defaults and checks all of it, feature config and label map
 * included. INVALID names an unknown or wrong field. The options are to be freed in any case. */
affect_status affect_import_options_parse(affect_import_options *options, const affect_json *json,
                                          affect_error *err);

/* What a run tells and asks; each may be NULL. Called from any of the run's threads, never by two
 * at once. */
typedef struct {
    void *context;
    /* stage "unpacking": megabytes of the archive; "import": utterances. */
    void (*progress)(void *context, const char *stage, size_t done, size_t total);
    void (*warning)(void *context, const char *message);
    /* Looked at between blocks of every file; true stops with CANCELLED. */
    bool (*cancelled)(void *context);
} affect_import_callbacks;

/* *result owned (affect_json_free). When it fails or is cancelled, finished shards stay in the
 * store and nothing else does. On success the dataset is in options->output. NO_SPACE when a disk
 * is full.
 */
affect_status affect_import_run(affect_json **result, const affect_import_options *options,
                                const affect_import_callbacks *callbacks, affect_error *err);

#endif
