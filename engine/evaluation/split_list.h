/* What splits a dataset allows, and what each of them would be. */
#ifndef AFFECT_EVALUATION_SPLIT_LIST_H
#define AFFECT_EVALUATION_SPLIT_LIST_H

#include "engine/core/json.h"
#include "engine/core/status.h"

/* Of the manifest of a dataset (dataset.json); *list is owned by the caller:
 *
 *   {"utterances": n, "classes": {class: n}, "groups": {attribute: n},
 *    "data": [{"name", "help", "possible", "reason", "folds", "listed": [fold]}]}
 *   fold: {"fold", "held_out": [names], "utterances": {part: n}, "classes": {part: {class: n}},
 *          "warnings": [texts], "part", "audit", "baselines"}
 *
 * Each kind that needs no names of its own, with its defaults. A kind that the corpus does not
 * allow is not possible, for a reason, and has no folds. The first folds are listed, at most 50 of
 * a kind and fewer of a large corpus, so that the work stays that of about two million utterances.
 */
affect_status affect_split_list(affect_json **list, const affect_json *manifest, affect_error *err);

#endif
