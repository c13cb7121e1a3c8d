/* The list of splits; see split_list.h. One table of utterances serves all kinds and folds: its
 * groups are made once. Runs on one thread. */
#include "engine/evaluation/split_list.h"

#include "engine/dataset/label_map.h"
#include "engine/evaluation/leakage.h"
#include "engine/evaluation/split.h"
#include "engine/evaluation/split_report.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FOLDS      50
#define MAX_UTTERANCES 250000 /* of the listed folds of a kind together */

/* A list in the making. */
typedef struct {
    affect_utterance_table table;
    uint8_t *parts;
    bool *trains, *evaluated; /* (utterances) */
} lister;

static void print_classes(affect_json *json, const lister *l, affect_part part) {
    size_t counts[AFFECT_MAX_CLASSES] = {0};
    for (size_t i = 0; i < l->table.n; i++)
        if (part == AFFECT_PART_COUNT || l->parts[i] == part) counts[l->table.labels[i]]++;
    for (size_t c = 0; c < l->table.n_classes; c++)
        affect_json_set_number(json, l->table.classes[c], (double)counts[c]);
}

static size_t count_part(const lister *l, affect_part part) {
    size_t n = 0;
    for (size_t i = 0; i < l->table.n; i++) n += l->parts[i] == part;
    return n;
}

static affect_status print_fold(affect_json *folds, lister *l, const affect_split_config *config,
                                affect_error *err) {
    affect_json *json = affect_json_append(folds, affect_json_new_object());
    affect_leakage audit;
    affect_part part = count_part(l, AFFECT_PART_TEST) ? AFFECT_PART_TEST : AFFECT_PART_VALIDATION;
    for (size_t i = 0; i < l->table.n; i++) {
        l->trains[i] = l->parts[i] == AFFECT_PART_TRAINING;
        l->evaluated[i] = l->parts[i] == part;
    }
    affect_json_set_number(json, "fold", (double)config->fold);
    affect_json *names = affect_json_set_array(json, "held_out");
    if (config->method == AFFECT_SPLIT_GROUP_OUT)
        AFFECT_TRY(affect_split_report_groups(names, &l->table, config->by, l->evaluated, err));
    affect_json *sizes = affect_json_set_object(json, "utterances");
    affect_json *classes = affect_json_set_object(json, "classes");
    for (int p = 0; p < AFFECT_PART_COUNT; p++) {
        affect_json_set_number(sizes, affect_part_names[p], (double)count_part(l, (affect_part)p));
        print_classes(affect_json_set_object(classes, affect_part_names[p]), l, (affect_part)p);
    }
    affect_json *warnings = affect_json_set_array(json, "warnings");
    affect_split_report_classes(warnings, &l->table, l->trains, "trains");
    affect_split_report_classes(warnings, &l->table, l->evaluated, "is evaluated");
    affect_json_set_string(json, "part", affect_part_names[part]);
    AFFECT_TRY(affect_leakage_audit(&audit, &l->table, l->trains, l->evaluated, err));
    affect_leakage_print(json, &audit);
    return AFFECT_STATUS_OK;
}

static affect_status list_folds(affect_json *folds, size_t *n_folds, lister *l,
                                affect_split_config *config, affect_error *err) {
    size_t n = MAX_UTTERANCES / (l->table.n + 1);
    n = n < 1 ? 1 : n > MAX_FOLDS ? MAX_FOLDS : n;
    AFFECT_TRY(affect_split_n_folds(n_folds, config, &l->table, err));
    for (size_t fold = 0; fold < *n_folds && fold < n; fold++) {
        config->fold = (int64_t)fold;
        affect_status status = affect_split_make(l->parts, config, &l->table, err);
        if (status != AFFECT_STATUS_OK) return affect_error_prefix(err, status, "fold %zu", fold);
        AFFECT_TRY(print_fold(folds, l, config, err));
    }
    return AFFECT_STATUS_OK;
}

/* INVALID is the corpus' lack: the reason. Anything else fails the list. */
static affect_status list_kind(affect_json *data, lister *l, const affect_split_kind *kind,
                               affect_error *err) {
    affect_split_config config;
    affect_error why = {0};
    size_t n_folds = 0;
    affect_json *name = affect_json_new_string(kind->name), *folds = affect_json_new_array();
    affect_status status = affect_split_config_parse(&config, name, "", err);
    affect_json_free(name);
    if (status == AFFECT_STATUS_OK) {
        status = list_folds(folds, &n_folds, l, &config, &why);
        affect_split_config_free(&config);
        if (status != AFFECT_STATUS_OK && status != AFFECT_STATUS_INVALID)
            affect_error_set(err, status, "%s", why.message);
    }
    bool possible = status == AFFECT_STATUS_OK;
    if (!possible && status != AFFECT_STATUS_INVALID) {
        affect_json_free(folds);
        return status;
    }
    affect_json *json = affect_json_append(data, affect_json_new_object());
    affect_json_set_string(json, "name", kind->name);
    affect_json_set_string(json, "help", kind->help);
    affect_json_set_bool(json, "possible", possible);
    affect_json_set_string(json, "reason", possible ? NULL : why.message);
    affect_json_set_number(json, "folds", possible ? (double)n_folds : 0);
    if (!possible) {
        affect_json_free(folds);
        folds = affect_json_new_array();
    }
    affect_json_set(json, "listed", folds);
    return AFFECT_STATUS_OK;
}

static affect_status list_groups(affect_json *json, lister *l, affect_error *err) {
    static const char *const names[] = {"speaker",  "session", "dialog",
                                        "scenario", "gender",  "language"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const affect_utterance_groups *groups;
        AFFECT_TRY(affect_utterance_table_group(&groups, &l->table, names[i], err));
        if (groups->n) affect_json_set_number(json, names[i], (double)groups->n);
    }
    return AFFECT_STATUS_OK;
}

static affect_status list_all(affect_json *list, lister *l, affect_error *err) {
    if (l->table.n_classes > AFFECT_MAX_CLASSES)
        return affect_fail(err, MALFORMED, "dataset.json: %zu classes", l->table.n_classes);
    affect_json_set_number(list, "utterances", (double)l->table.n);
    print_classes(affect_json_set_object(list, "classes"), l, AFFECT_PART_COUNT);
    AFFECT_TRY(list_groups(affect_json_set_object(list, "groups"), l, err));
    affect_json *data = affect_json_set_array(list, "data");
    for (const affect_split_kind *kind = affect_split_kinds; kind->name; kind++) {
        bool needs_names = kind->method == AFFECT_SPLIT_SPEAKERS ||
                           (kind->method == AFFECT_SPLIT_GROUP_OUT && !kind->by);
        if (!needs_names) AFFECT_TRY(list_kind(data, l, kind, err));
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_split_list(affect_json **list, const affect_json *manifest,
                                affect_error *err) {
    lister l = {0};
    AFFECT_TRY(affect_utterance_table_make(&l.table, manifest, err));
    l.parts = malloc(l.table.n + 1);
    l.trains = malloc(l.table.n + 1);
    l.evaluated = malloc(l.table.n + 1);
    affect_json *made = affect_json_new_object();
    affect_status status = l.parts && l.trains && l.evaluated && made
                               ? list_all(made, &l, err)
                               : affect_fail(err, NO_MEMORY, "no memory to list splits");
    affect_utterance_table_free(&l.table);
    free(l.parts);
    free(l.trains);
    free(l.evaluated);
    if (status == AFFECT_STATUS_OK)
        *list = made;
    else
        affect_json_free(made);
    return status;
}
