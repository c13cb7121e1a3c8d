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
#include "engine/corpus/corpus.h"

#include <stdbool.h>
#include <stddef.h>

/* The label map of a request without one: the four classes of most publications. */
#define AFFECT_IEMOCAP_LABELS                                                                      \
    "{\"angry\": [\"ang\"], \"happy\": [\"hap\", \"exc\"], \"neutral\": [\"neu\"], \"sad\": "      \
    "[\"sad\"]}"
#define AFFECT_IEMOCAP_NAME_SIZE 32 /* of an utterance's or dialog's name */

/* Whether text is such a name. */
bool affect_iemocap_is_session(const char *text); /* of a session's folder: "Session1" */
bool affect_iemocap_is_dialog(const char *text);
bool affect_iemocap_is_utterance(const char *text);

/* The reader's open (reader.h). NOT_FOUND when there is no session with labels, INVALID when
 * several folders could be meant. */
affect_status affect_iemocap_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                  const affect_json *options, affect_error *err);

/* Reads the text of one EmoEvaluation file: fills dialog->utterances (dialog->id and wearer must be
 * set). `file` names it in issues. NO_MEMORY only. */
affect_status affect_iemocap_parse_labels(affect_corpus_dialog *dialog, affect_issues *issues,
                                          const char *file, const char *text, size_t size,
                                          affect_error *err);
/* Adds transcripts to utterances that are there; other lines (no id, unknown or XX ids) are not. */
affect_status affect_iemocap_parse_transcripts(affect_corpus_dialog *dialog, const char *text,
                                               size_t size, affect_error *err);

/* Where the files of a dialog and its utterances would be, relative to the tree's root: fills their
 * `files`. folder: of the session, "Session1". NO_MEMORY only. */
affect_status affect_iemocap_place(affect_corpus_dialog *dialog, const char *folder,
                                   affect_error *err);
/* The same of labels ("EmoEvaluation") and "transcriptions". */
void affect_iemocap_text_path(char path[AFFECT_PATH_MAX], const char *folder, const char *kind,
                              const char *dialog);

/* For archives: whether `name`, below any folders, is a file that an import reads; `path` becomes
 * its place below a root ("Session1/dialog/wav/Ses01F_impro01.wav"), made of checked parts. */
bool affect_iemocap_select(const char *name, char path[AFFECT_PATH_MAX]);

#endif
