/* A corpus that is a list of utterances: what readers of tables and folders fill.
 *
 *   affect_corpus_item *item = affect_corpus_list_add(&list, line);
 *   affect_corpus_list_set(&list, "speaker", "1001", reason) ...
 *   affect_corpus_list_finish(corpus, issues, &list, err);
 *
 * Belongs to one thread. */
#ifndef AFFECT_CORPUS_CORPUS_LIST_H
#define AFFECT_CORPUS_CORPUS_LIST_H

#include "engine/corpus/corpus.h"

/* One utterance, and what it says of its dialog. */
typedef struct {
    affect_corpus_utterance utterance;
    char dialog[AFFECT_CORPUS_LABEL_SIZE], session[AFFECT_CORPUS_LABEL_SIZE],
        scenario[AFFECT_CORPUS_LABEL_SIZE];
    size_t line; /* of the list, for issues; 0: none */
} affect_corpus_item;

typedef struct {
    const char *file;             /* of the list, for issues; "" without one */
    const affect_sizes *features; /* that are read of the corpus; borrowed */
    affect_corpus_item *items;
    size_t n, capacity;
} affect_corpus_list;

/* Appends an empty item, borrowed until the next; NULL without memory. */
affect_corpus_item *affect_corpus_list_add(affect_corpus_list *list, size_t line);
/* Takes the last one back: what it says is an issue of the list, at its line. */
void affect_corpus_list_drop(affect_corpus_list *list, affect_issues *issues, const char *format,
                             ...) __attribute__((format(printf, 3, 4)));
void affect_corpus_list_free(affect_corpus_list *list);

/* What the last utterance says, by the names of facts that users know: id, label, speaker, session,
 * dialog, scenario, text, start, end (seconds), valence, activation (or arousal), dominance
 * (numbers), votes ("neu;neu;sad"), and the columns of the streams of `features` (paths): file,
 * motion_face, motion_head, motion_hand, embedding:NAME; any other name is kept among the columns.
 * An empty value says nothing. NULL, or why the value is refused: text into `reason`. */
#define AFFECT_CORPUS_REASON_SIZE 160
const char *affect_corpus_list_set(affect_corpus_list *list, const char *name, const char *value,
                                   char reason[AFFECT_CORPUS_REASON_SIZE]);

/* The fact of a column of that name, in any case, in our spelling; NULL: none of them. Borrowed
 * from `features` or static. */
const char *affect_corpus_fact_of(const affect_sizes *features, const char *column);

/* Words: what values mean, {"label": {"W": "angry", "N": "neutral"}, "speaker": {...}}. Checks such
 * an object (NULL: none). */
affect_status affect_corpus_words_check(const affect_json *words, const char *path,
                                        affect_error *err);
/* The word for a value of the fact `name`: the value itself where there are no words for that fact,
 * NULL where it is none of them. Borrowed. */
const char *affect_corpus_word(const affect_json *words, const char *name, const char *value);

/* Completes items (an id is the file's path without its ending, and "#start" where the utterance is
 * a part of it) and makes dialogs of them: items of one dialog, session and scenario are a group,
 * in the order of their ids; those without a dialog at most AFFECT_CORPUS_GROUP a group. Left out
 * as issues: an item without a label, a file that is not there, an id that came before. Frees the
 * list also when it fails (NO_MEMORY; NOT_FOUND when nothing is left, naming the first issue). */
#define AFFECT_CORPUS_GROUP 64
affect_status affect_corpus_list_finish(affect_corpus *corpus, affect_issues *issues,
                                        affect_corpus_list *list, affect_error *err);

#endif
