/* What a split lets through: groups on both sides, and what tables without sound or motion reach.
 *
 * Labels hang together within a dialog, and a script repeats in every session. So an accuracy says
 * little until it stands beside that of look-up tables, which see only the utterance's names and
 * the labels of the training part:
 *
 *   majority            the most frequent label of all that trains
 *   dialog              ... of the utterance's dialog
 *   dialog_and_speaker  ... of its dialog and speaker
 *   scenario            ... of its scenario ("impro01", "script01_1")
 *   nearest_turn        the label of that speaker's turn of the dialog that trains and begins
 *                       nearest in time (equally near: the earlier)
 *
 * The lower class wins a tie; where nothing of the group trains, a table says the majority. Tables
 * are made of the training part alone, as the model's weights are; that an utterance validates
 * makes it neither. An utterance on both sides finds itself. Numbers in, numbers out. */
#ifndef AFFECT_EVALUATION_LEAKAGE_H
#define AFFECT_EVALUATION_LEAKAGE_H

#include "engine/dataset/utterance_table.h"

#include <stdbool.h>

typedef enum {
    AFFECT_LOOKUP_MAJORITY,
    AFFECT_LOOKUP_DIALOG,
    AFFECT_LOOKUP_DIALOG_AND_SPEAKER,
    AFFECT_LOOKUP_SCENARIO,
    AFFECT_LOOKUP_NEAREST_TURN,
    AFFECT_LOOKUP_COUNT
} affect_lookup;
extern const char *const affect_lookup_names[]; /* ended by NULL */

enum { AFFECT_LEAKAGE_ATTRIBUTES = 3 };
extern const char *const affect_leakage_attributes[]; /* "speaker", "dialog", "scenario", NULL */

typedef struct {
    bool known;                       /* some utterance has the attribute */
    size_t training, evaluated, both; /* groups */
    size_t seen;                      /* evaluated utterances whose group also trains */
} affect_leakage_sides;

typedef struct {
    bool known; /* the corpus has what the table looks at */
    double accuracy, uar, f1_macro;
} affect_lookup_score;

typedef struct {
    size_t n_training, n_evaluated;
    affect_leakage_sides sides[AFFECT_LEAKAGE_ATTRIBUTES];
    affect_lookup_score lookups[AFFECT_LOOKUP_COUNT];
    affect_lookup strongest; /* of highest accuracy; the first of equals */
} affect_leakage;

/* predicted[i] becomes the class that the table made of `trains` gives utterance i. *known false:
 * the corpus lacks what it looks at (then predicted is the majority). INVALID when nothing trains.
 */
affect_status affect_lookup_predict(int *predicted, bool *known, affect_lookup lookup,
                                    affect_utterance_table *table, const bool *trains,
                                    affect_error *err);
/* trains, evaluated: (utterances), each with at least one; INVALID without. */
affect_status affect_leakage_audit(affect_leakage *audit, affect_utterance_table *table,
                                   const bool *trains, const bool *evaluated, affect_error *err);
/* Adds "audit" and "baselines" to an object. */
void affect_leakage_print(affect_json *json, const affect_leakage *audit);

#endif
