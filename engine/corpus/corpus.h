/* A corpus on disk, whatever its layout: who says what, when, and where the files are.
 *
 * A reader (reader.h) fills it: utterances in groups that are the unit of work and of storage, one
 * shard each. A group is a dialog where the corpus has dialogs; utterances without one are put
 * together by corpus_list.h. What a corpus does not tell (speaker, session, scenario, who
 * wears the markers) is "". Paths are relative to the tree and never leave it (tree.h).
 *
 * Immutable once it is read; shared by threads. */
#ifndef AFFECT_CORPUS_CORPUS_H
#define AFFECT_CORPUS_CORPUS_H

#include "engine/core/json.h"
#include "engine/corpus/issues.h"
#include "engine/corpus/tree.h"
#include "engine/modality/modality.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_CORPUS_NAME_SIZE  128 /* of an id: at most 127 bytes of UTF-8 */
#define AFFECT_CORPUS_LABEL_SIZE 65  /* of labels, speakers, sessions: at most 64 bytes */

/* Files are counted by streams, those of each feature in turn (modality.h): these, which readers
 * name, come first; streams of named features follow. */
typedef enum {
    AFFECT_CORPUS_SOUND,
    AFFECT_CORPUS_FACE,
    AFFECT_CORPUS_HEAD,
    AFFECT_CORPUS_HAND,
    AFFECT_CORPUS_N_KNOWN
} affect_corpus_stream;

typedef struct {
    char id[AFFECT_CORPUS_NAME_SIZE]; /* unique in the corpus: "Ses01F_impro01_M003" */
    char label[AFFECT_CORPUS_LABEL_SIZE];
    char speaker[AFFECT_CORPUS_LABEL_SIZE];
    bool own_motion;       /* the speaker wears the markers */
    bool is_cut;           /* start_s..end_s is a part of its own sound file */
    double start_s, end_s; /* in the dialog or in that file, 0 <= start < end; both 0: unknown */
    double valence, activation, dominance; /* 1..5; 0 = not given */
    char *transcript;                      /* owned; NULL when there is none */
    affect_json *votes;                    /* owned: [{"by": "E2", "labels": ["Neutral"]}] */
    affect_json *attributes;               /* owned: [{"by": "E3", "val": 3, "act": 2, ...}] */
    affect_json *columns;                  /* owned: {"gender": "F", ...}, other texts of it */
    char *files[AFFECT_MAX_INPUT_STREAMS]; /* owned; its own, which may be absent; NULL: none */
} affect_corpus_utterance;

typedef struct {
    char id[AFFECT_CORPUS_NAME_SIZE]; /* "Ses01F_impro01" */
    bool is_dialog;                   /* else a group for storage alone */
    char session[AFFECT_CORPUS_LABEL_SIZE];
    char wearer[AFFECT_CORPUS_LABEL_SIZE];
    char scenario[AFFECT_CORPUS_LABEL_SIZE];
    bool improvised, scripted;             /* neither: unknown */
    char *files[AFFECT_MAX_INPUT_STREAMS]; /* owned; of the whole dialog */
    affect_corpus_utterance *utterances;   /* owned, in the order of their ids */
    size_t n_utterances;
} affect_corpus_dialog;

typedef struct {
    const affect_sizes *features;  /* that are read of it, borrowed */
    affect_tree *tree;             /* owned */
    affect_corpus_dialog *dialogs; /* owned, in the order of their ids */
    size_t n_dialogs;
} affect_corpus;

/* The stream of that column of a table ("file", "motion_face", "embedding:NAME"), or -1. */
int affect_corpus_stream_of(const affect_sizes *features, const char *column);
/* Appends an empty dialog, borrowed until the next. */
affect_status affect_corpus_add(affect_corpus_dialog **dialog, affect_corpus *corpus,
                                affect_error *err);
/* Brings the dialogs into the order of their ids. */
void affect_corpus_sort(affect_corpus *corpus);
/* Frees what it holds; accepts a zero-initialised corpus. */
void affect_corpus_close(affect_corpus *corpus);
/* Frees what an utterance that is in no corpus holds. */
void affect_corpus_utterance_free(affect_corpus_utterance *utterance);

/* Copies text into a field: false, and nothing is written, when it is longer than size - 1, holds
 * control characters, or is not UTF-8. */
bool affect_corpus_set_text(char *field, size_t size, const char *text);

#endif
