/* The audit of a split; see leakage.h.
 *
 * A look-up table is a key for each utterance and, for each key, counts of the labels that train.
 * Keys of a single attribute are the table's groups; those of dialog and speaker come from a sort
 * of the utterances by (dialog, speaker, start), in which the nearest turns are neighbours too: a
 * walk forward and a walk back remember the last turn that trains. */
#include "engine/evaluation/leakage.h"

#include "engine/evaluation/metrics.h"

#include <math.h>
#include <stdlib.h>

const char *const affect_lookup_names[] = {"majority", "dialog",       "dialog_and_speaker",
                                           "scenario", "nearest_turn", NULL};
const char *const affect_leakage_attributes[] = {"speaker", "dialog", "scenario", NULL};

/* ---- Tables of counts ---- */

static int majority_of(const uint32_t *counts, size_t n_classes) {
    size_t best = 0;
    for (size_t c = 1; c < n_classes; c++)
        if (counts[c] > counts[best]) best = c;
    return (int)best;
}

/* keys[i] in -1..n_keys-1; -1 knows only the majority of all. */
static affect_status predict_by_key(int *predicted, const int *keys, size_t n_keys,
                                    const affect_utterance_table *table, const bool *trains,
                                    affect_error *err) {
    size_t n_classes = table->n_classes;
    uint32_t *counts = calloc((n_keys + 1) * n_classes, sizeof *counts);
    uint32_t *n_of = calloc(n_keys + 1, sizeof *n_of);
    affect_status status = counts && n_of
                               ? AFFECT_STATUS_OK
                               : affect_fail(err, NO_MEMORY, "no memory for %zu groups", n_keys);
    for (size_t i = 0; i < table->n && status == AFFECT_STATUS_OK; i++) {
        if (!trains[i]) continue;
        counts[n_keys * n_classes + (size_t)table->labels[i]]++; /* all */
        if (keys[i] < 0) continue;
        counts[(size_t)keys[i] * n_classes + (size_t)table->labels[i]]++;
        n_of[keys[i]]++;
    }
    for (size_t i = 0; i < table->n && status == AFFECT_STATUS_OK; i++) {
        size_t key = keys[i] >= 0 && n_of[keys[i]] ? (size_t)keys[i] : n_keys;
        predicted[i] = majority_of(counts + key * n_classes, n_classes);
    }
    free(counts);
    free(n_of);
    return status;
}

static affect_status predict_by_attribute(int *predicted, bool *known, const char *attribute,
                                          affect_utterance_table *table, const bool *trains,
                                          affect_error *err) {
    const affect_utterance_groups *groups;
    AFFECT_TRY(affect_utterance_table_group(&groups, table, attribute, err));
    *known = groups->n > 0;
    return predict_by_key(predicted, groups->of, groups->n, table, trains, err);
}

/* ---- Turns of a speaker in a dialog ---- */

typedef struct {
    size_t index; /* of the utterance */
    int dialog, speaker;
    double start; /* seconds; NAN when not known */
} turn;

static bool is_same_run(const turn *a, const turn *b) {
    return a->dialog == b->dialog && a->speaker == b->speaker;
}

static int compare_turns(const void *a, const void *b) {
    const turn *x = a, *y = b;
    if (x->dialog != y->dialog) return x->dialog < y->dialog ? -1 : 1;
    if (x->speaker != y->speaker) return x->speaker < y->speaker ? -1 : 1;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* *turns (owned, *n of them): the utterances that have dialog and speaker, and a start where that
 * is needed, sorted. */
static affect_status make_turns(turn **turns, size_t *n, affect_utterance_table *table,
                                bool needs_start, affect_error *err) {
    const affect_utterance_groups *dialogs, *speakers;
    AFFECT_TRY(affect_utterance_table_group(&dialogs, table, "dialog", err));
    AFFECT_TRY(affect_utterance_table_group(&speakers, table, "speaker", err));
    turn *made = malloc((table->n + 1) * sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for %zu turns", table->n);
    *n = 0;
    for (size_t i = 0; i < table->n; i++) {
        double start = needs_start ? affect_utterance_table_number(table, i, "start") : 0;
        if (dialogs->of[i] >= 0 && speakers->of[i] >= 0 && !isnan(start))
            made[(*n)++] = (turn){i, dialogs->of[i], speakers->of[i], start};
    }
    if (*n) qsort(made, *n, sizeof *made, compare_turns);
    *turns = made;
    return AFFECT_STATUS_OK;
}

static affect_status predict_by_turns(int *predicted, bool *known, affect_utterance_table *table,
                                      const bool *trains, affect_error *err) {
    turn *turns = NULL;
    size_t n = 0, n_keys = 0;
    AFFECT_TRY(make_turns(&turns, &n, table, false, err));
    int *keys = malloc((table->n + 1) * sizeof *keys);
    affect_status status = AFFECT_STATUS_OK;
    if (!keys) status = affect_fail(err, NO_MEMORY, "no memory for %zu turns", table->n);
    for (size_t i = 0; i < table->n && keys; i++) keys[i] = -1;
    for (size_t t = 0; t < n && keys; t++) {
        n_keys += t == 0 || !is_same_run(&turns[t - 1], &turns[t]);
        keys[turns[t].index] = (int)n_keys - 1;
    }
    *known = n > 0;
    if (status == AFFECT_STATUS_OK)
        status = predict_by_key(predicted, keys, n_keys, table, trains, err);
    free(keys);
    free(turns);
    return status;
}

/* One walk over the turns, from `first` by `step`: those nearer to the last turn that trains than
 * anything before take its label. distance (utterances) holds what is nearest so far. */
static void walk_turns(int *predicted, double *distance, const turn *turns, size_t n, int step,
                       const affect_utterance_table *table, const bool *trains) {
    const turn *last = NULL;
    for (size_t k = 0; k < n; k++) {
        const turn *at = &turns[step > 0 ? k : n - 1 - k];
        if (last && !is_same_run(last, at)) last = NULL;
        if (trains[at->index]) last = at;
        if (!last || !(fabs(at->start - last->start) < distance[at->index])) continue;
        distance[at->index] = fabs(at->start - last->start);
        predicted[at->index] = table->labels[last->index];
    }
}

static affect_status predict_nearest(int *predicted, bool *known, affect_utterance_table *table,
                                     const bool *trains, affect_error *err) {
    turn *turns = NULL;
    size_t n = 0;
    AFFECT_TRY(make_turns(&turns, &n, table, true, err));
    double *distance = malloc((table->n + 1) * sizeof *distance);
    if (!distance) {
        free(turns);
        return affect_fail(err, NO_MEMORY, "no memory for %zu turns", table->n);
    }
    for (size_t i = 0; i < table->n; i++) distance[i] = INFINITY;
    walk_turns(predicted, distance, turns, n, 1, table, trains);
    walk_turns(predicted, distance, turns, n, -1, table, trains);
    *known = n > 0;
    free(distance);
    free(turns);
    return AFFECT_STATUS_OK;
}

static affect_status predict_majority(int *predicted, const affect_utterance_table *table,
                                      const bool *trains, affect_error *err) {
    int *keys = malloc((table->n + 1) * sizeof *keys);
    if (!keys) return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", table->n);
    for (size_t i = 0; i < table->n; i++) keys[i] = -1;
    affect_status status = predict_by_key(predicted, keys, 0, table, trains, err);
    free(keys);
    return status;
}

affect_status affect_lookup_predict(int *predicted, bool *known, affect_lookup lookup,
                                    affect_utterance_table *table, const bool *trains,
                                    affect_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < table->n; i++) n += trains[i];
    if (!n) return affect_fail(err, INVALID, "no utterance trains: there is nothing to look up");
    *known = true;
    switch (lookup) {
    case AFFECT_LOOKUP_DIALOG:
        return predict_by_attribute(predicted, known, "dialog", table, trains, err);
    case AFFECT_LOOKUP_SCENARIO:
        return predict_by_attribute(predicted, known, "scenario", table, trains, err);
    case AFFECT_LOOKUP_DIALOG_AND_SPEAKER:
        return predict_by_turns(predicted, known, table, trains, err);
    default:
        break;
    }
    AFFECT_TRY(predict_majority(predicted, table, trains, err));
    if (lookup == AFFECT_LOOKUP_MAJORITY) return AFFECT_STATUS_OK;
    return predict_nearest(predicted, known, table, trains, err);
}

/* ---- The audit ---- */

static affect_status count_sides(affect_leakage_sides *sides, const char *attribute,
                                 affect_utterance_table *table, const bool *trains,
                                 const bool *evaluated, affect_error *err) {
    const affect_utterance_groups *groups;
    AFFECT_TRY(affect_utterance_table_group(&groups, table, attribute, err));
    uint8_t *side = calloc(groups->n + 1, 1); /* 1: trains, 2: is evaluated */
    if (!side) return affect_fail(err, NO_MEMORY, "no memory for %zu groups", groups->n);
    *sides = (affect_leakage_sides){.known = groups->n > 0};
    for (size_t i = 0; i < table->n; i++)
        if (groups->of[i] >= 0)
            side[groups->of[i]] |= (uint8_t)((trains[i] ? 1 : 0) | (evaluated[i] ? 2 : 0));
    for (size_t g = 0; g < groups->n; g++) {
        sides->training += side[g] & 1;
        sides->evaluated += side[g] >> 1;
        sides->both += side[g] == 3;
    }
    for (size_t i = 0; i < table->n; i++)
        sides->seen += evaluated[i] && groups->of[i] >= 0 && (side[groups->of[i]] & 1);
    free(side);
    return AFFECT_STATUS_OK;
}

static void score(affect_lookup_score *made, const int *predicted,
                  const affect_utterance_table *table, const bool *evaluated) {
    double stats[2 + AFFECT_MAX_CLASSES * AFFECT_MAX_CLASSES] = {0};
    affect_metrics metrics;
    for (size_t i = 0; i < table->n; i++) {
        if (!evaluated[i]) continue;
        stats[1]++;
        stats[2 + (size_t)table->labels[i] * table->n_classes + (size_t)predicted[i]]++;
    }
    affect_metrics_from_stats(&metrics, stats, table->n_classes, 0);
    made->accuracy = metrics.accuracy;
    made->uar = metrics.uar;
    made->f1_macro = metrics.f1_macro;
}

static affect_status check_sides(affect_leakage *audit, const affect_utterance_table *table,
                                 const bool *trains, const bool *evaluated, affect_error *err) {
    *audit = (affect_leakage){0};
    for (size_t i = 0; i < table->n; i++) {
        audit->n_training += trains[i];
        audit->n_evaluated += evaluated[i];
    }
    if (table->n_classes > AFFECT_MAX_CLASSES)
        return affect_fail(err, INVALID, "%zu classes (at most %d)", table->n_classes,
                           AFFECT_MAX_CLASSES);
    if (audit->n_training && audit->n_evaluated) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "%zu utterances train and %zu are evaluated: none to compare",
                       audit->n_training, audit->n_evaluated);
}

affect_status affect_leakage_audit(affect_leakage *audit, affect_utterance_table *table,
                                   const bool *trains, const bool *evaluated, affect_error *err) {
    AFFECT_TRY(check_sides(audit, table, trains, evaluated, err));
    for (int a = 0; a < AFFECT_LEAKAGE_ATTRIBUTES; a++)
        AFFECT_TRY(count_sides(&audit->sides[a], affect_leakage_attributes[a], table, trains,
                               evaluated, err));
    int *predicted = malloc((table->n + 1) * sizeof *predicted);
    if (!predicted) return affect_fail(err, NO_MEMORY, "no memory for %zu predictions", table->n);
    affect_status status = AFFECT_STATUS_OK;
    for (int l = 0; l < AFFECT_LOOKUP_COUNT && status == AFFECT_STATUS_OK; l++) {
        affect_lookup_score *made = &audit->lookups[l];
        status =
            affect_lookup_predict(predicted, &made->known, (affect_lookup)l, table, trains, err);
        if (status != AFFECT_STATUS_OK) break;
        score(made, predicted, table, evaluated);
        if (made->known && made->accuracy > audit->lookups[audit->strongest].accuracy)
            audit->strongest = (affect_lookup)l;
    }
    free(predicted);
    return status;
}

void affect_leakage_print(affect_json *json, const affect_leakage *audit) {
    affect_json *sides = affect_json_set_object(json, "audit");
    affect_json_set_number(sides, "training", (double)audit->n_training);
    affect_json_set_number(sides, "evaluated", (double)audit->n_evaluated);
    for (int a = 0; a < AFFECT_LEAKAGE_ATTRIBUTES; a++) {
        const affect_leakage_sides *of = &audit->sides[a];
        if (!of->known) {
            affect_json_set(sides, affect_leakage_attributes[a], affect_json_new_null());
            continue;
        }
        affect_json *object = affect_json_set_object(sides, affect_leakage_attributes[a]);
        affect_json_set_number(object, "training", (double)of->training);
        affect_json_set_number(object, "evaluated", (double)of->evaluated);
        affect_json_set_number(object, "both", (double)of->both);
        affect_json_set_number(object, "seen", (double)of->seen);
    }
    affect_json *baselines = affect_json_set_object(json, "baselines");
    for (int l = 0; l < AFFECT_LOOKUP_COUNT; l++) {
        const affect_lookup_score *of = &audit->lookups[l];
        if (!of->known) {
            affect_json_set(baselines, affect_lookup_names[l], affect_json_new_null());
            continue;
        }
        affect_json *object = affect_json_set_object(baselines, affect_lookup_names[l]);
        affect_json_set_number(object, "accuracy", of->accuracy);
        affect_json_set_number(object, "recall_mean", of->uar);
        affect_json_set_number(object, "f1_macro", of->f1_macro);
    }
}
