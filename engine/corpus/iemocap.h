/* The IEMOCAP release on disk: who says what, when, and where its files are.
 *
 *   ROOT/Session{N}/dialog/EmoEvaluation/<dialog>.txt    labels, votes, attributes
 *                   dialog/transcriptions/<dialog>.txt
 *                   dialog/wav/<dialog>.wav              two channels, one actor each
 *                   dialog/MOCAP_{rotated,head,hand}/<dialog>.txt
 *                   sentences/wav/<dialog>/<utterance>.wav
 *                   sentences/MOCAP_{rotated,head,hand}/<dialog>/<utterance>.txt
 *
 * ROOT is the given folder or the one folder in it that has sessions (IEMOCAP_full_release/). Names
 * that come from files are held to the release's grammar before they become paths:
 *   dialog     Ses<2 digits>[FM]_(impro<2 digits>[a-z]? | script<2 digits>_<1-2 digits>[a-z]?)
 *   utterance  <dialog>_[FM]<3-4 digits>
 * The letter of the dialog (Ses01F) is the actor who wears the markers; the speaker is the letter
 * of the utterance's last field. Source: the release's README and public parsers of it.
 *
 * A row that cannot be read is added to `issues` with its file and line and left out; rows after it
 * are read. Numbers are read independently of the locale. Immutable after open; shared. */
#ifndef AFFECT_CORPUS_IEMOCAP_H
#define AFFECT_CORPUS_IEMOCAP_H

#include "engine/core/file.h"
#include "engine/corpus/issues.h"
#include "engine/corpus/tree.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_IEMOCAP_NAME_SIZE 32

typedef struct {
    char id[AFFECT_IEMOCAP_NAME_SIZE];     /* "Ses01F_impro01_M003" */
    char speaker[8];                       /* "Ses01M" */
    char label[8];                         /* "neu", "exc", "xxx", ...: three letters */
    bool own_motion;                       /* the speaker wears the markers */
    double start_s, end_s;                 /* in the dialog, 0 <= start < end */
    double valence, activation, dominance; /* 1..5; 0 = unreadable */
    char *transcript;                      /* owned; NULL when there is none */
    affect_json *votes;                    /* owned: [{"by": "E2", "labels": ["Neutral"]}] */
    affect_json *attributes;               /* owned: [{"by": "E3", "val": 3, "act": 2, "dom": 2}] */
} affect_iemocap_utterance;

typedef struct {
    char id[AFFECT_IEMOCAP_NAME_SIZE];       /* "Ses01F_impro01" */
    char session[8];                         /* "Ses01" */
    char wearer[8];                          /* "Ses01F" */
    char folder[12];                         /* "Session1" */
    char scenario[AFFECT_IEMOCAP_NAME_SIZE]; /* "impro01" */
    bool improvised;
    affect_iemocap_utterance *utterances; /* owned, in the order of their ids */
    size_t n_utterances;
} affect_iemocap_dialog;

typedef struct {
    affect_tree *tree;              /* owned */
    affect_iemocap_dialog *dialogs; /* owned, in the order of their ids */
    size_t n_dialogs;
} affect_iemocap;

/* Whether text is such a name. */
bool affect_iemocap_is_session(const char *text); /* of a session's folder: "Session1" */
bool affect_iemocap_is_dialog(const char *text);
bool affect_iemocap_is_utterance(const char *text);

/* Finds the release in `folder`, which it takes over in any case, and reads all labels and
 * transcripts. NOT_FOUND when there is no session with labels, INVALID when several folders could
 * be meant. */
affect_status affect_iemocap_open(affect_iemocap *corpus, affect_issues *issues,
                                  affect_tree *folder, affect_error *err);
void affect_iemocap_close(affect_iemocap *corpus);

/* Reads the text of one EmoEvaluation file: fills dialog->utterances (dialog->id and wearer must be
 * set). `file` names it in issues. NO_MEMORY only. */
affect_status affect_iemocap_parse_labels(affect_iemocap_dialog *dialog, affect_issues *issues,
                                          const char *file, const char *text, size_t size,
                                          affect_error *err);
/* Adds transcripts to utterances that are there; other lines (no id, unknown or XX ids) are not. */
affect_status affect_iemocap_parse_transcripts(affect_iemocap_dialog *dialog, const char *text,
                                               size_t size, affect_error *err);

/* Where a file would be, relative to the tree's root. stream: the folder's name, "wav",
 * "MOCAP_rotated", "MOCAP_head", "MOCAP_hand"; of a dialog also "EmoEvaluation", "transcriptions".
 */
void affect_iemocap_sentence_path(char path[AFFECT_PATH_MAX], const affect_iemocap_dialog *dialog,
                                  const affect_iemocap_utterance *utterance, const char *stream);
void affect_iemocap_dialog_path(char path[AFFECT_PATH_MAX], const affect_iemocap_dialog *dialog,
                                const char *stream);

/* For archives: whether `name`, below any folders, is a file that an import reads; `path` becomes
 * its place below a root ("Session1/dialog/wav/Ses01F_impro01.wav"), made of checked parts. */
bool affect_iemocap_select(const char *name, char path[AFFECT_PATH_MAX]);

#endif
