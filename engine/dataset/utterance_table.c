/* Attributes of utterances; see utterance_table.h.
 *
 * Rows are looked at where they lie, in the manifest's JSON. Groups come from one sort of the
 * utterances by their text: equal neighbours are a group, so that names stand in the order of
 * their bytes and nothing depends on the order of rows. The kept groups are few (a split's and an
 * audit's attributes) and found by a walk. */
#include "engine/dataset/utterance_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int class_index(const affect_utterance_table *table, const char *name) {
    for (size_t c = 0; c < table->n_classes; c++)
        if (strcmp(table->classes[c], name) == 0) return (int)c;
    return -1;
}

static affect_status read_rows(affect_utterance_table *table, const affect_json *manifest,
                               affect_error *err) {
    const affect_json *classes = affect_json_get(manifest, "classes");
    const affect_json *rows = affect_json_get(manifest, "utterances");
    table->classes = calloc(affect_json_size(classes) + 1, sizeof *table->classes);
    table->labels = calloc(affect_json_size(rows) + 1, sizeof *table->labels);
    table->rows = calloc(affect_json_size(rows) + 1, sizeof(const affect_json *));
    if (!table->classes || !table->labels || !table->rows)
        return affect_fail(err, NO_MEMORY, "no memory for a table of utterances");
    for (const affect_json *c = affect_json_first(classes); c; c = affect_json_next(c))
        table->classes[table->n_classes++] = affect_json_string(c, "");
    for (const affect_json *row = affect_json_first(rows); row; row = affect_json_next(row)) {
        int label = class_index(table, affect_json_get_string(row, "label", ""));
        if (label < 0)
            return affect_fail(err, MALFORMED, "dataset.json: utterance %zu has an unknown label",
                               table->n);
        table->labels[table->n] = label;
        table->rows[table->n++] = row;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_utterance_table_make(affect_utterance_table *table,
                                          const affect_json *manifest, affect_error *err) {
    *table = (affect_utterance_table){0};
    affect_status status = read_rows(table, manifest, err);
    if (status != AFFECT_STATUS_OK) affect_utterance_table_free(table);
    return status;
}

static void free_groups(affect_utterance_groups *groups) {
    free(groups->names);
    free(groups->of);
    *groups = (affect_utterance_groups){0};
}

void affect_utterance_table_free(affect_utterance_table *table) {
    for (size_t i = 0; i < table->n_groups; i++) free_groups(&table->groups[i]);
    free(table->classes);
    free(table->labels);
    free(table->rows);
    *table = (affect_utterance_table){0};
}

/* ---- Attributes ---- */

/* The member of the row itself, else of its other columns. */
static const affect_json *attribute_of(const affect_utterance_table *table, size_t index,
                                       const char *attribute) {
    const affect_json *row = table->rows[index], *member = affect_json_get(row, attribute);
    return member ? member : affect_json_get(affect_json_get(row, "columns"), attribute);
}

const char *affect_utterance_table_text(const affect_utterance_table *table, size_t index,
                                        const char *attribute) {
    const affect_json *member = attribute_of(table, index, attribute);
    if (affect_json_is_bool(member)) return affect_json_bool(member, false) ? "true" : "false";
    const char *text = affect_json_string(member, NULL);
    return text && *text ? text : NULL;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Votes are words, as the label or, as IEMOCAP has them, longer: "Neutral" for neu. */
static bool is_label(const char *vote, const char *label) {
    if (strcmp(vote, label) == 0) return true;
    for (int i = 0; i < 3; i++)
        if (!label[i] || lower(vote[i]) != label[i]) return false;
    return label[3] == '\0';
}

static double agreement(const affect_json *votes, const char *label, bool evaluators) {
    size_t n = 0, n_same = 0;
    for (const affect_json *v = affect_json_first(votes); v; v = affect_json_next(v)) {
        if (evaluators && *affect_json_get_string(v, "by", "") != 'E') continue;
        const affect_json *name = affect_json_first(affect_json_get(v, "labels"));
        while (name && !is_label(affect_json_string(name, ""), label))
            name = affect_json_next(name);
        n++;
        n_same += name != NULL;
    }
    return n ? (double)n_same / (double)n : NAN;
}

double affect_utterance_table_number(const affect_utterance_table *table, size_t index,
                                     const char *attribute) {
    if (strcmp(attribute, "agreement") != 0)
        return affect_json_number(attribute_of(table, index, attribute), NAN);
    const affect_json *votes = affect_json_get(table->rows[index], "votes");
    const char *label = affect_json_get_string(table->rows[index], "raw_label", "");
    double of_evaluators = agreement(votes, label, true);
    return isnan(of_evaluators) ? agreement(votes, label, false) : of_evaluators;
}

/* ---- Groups ---- */

typedef struct {
    const char *text;
    size_t index;
} member;

static int compare_members(const void *a, const void *b) {
    return strcmp(((const member *)a)->text, ((const member *)b)->text);
}

static affect_status make_groups(affect_utterance_groups *groups,
                                 const affect_utterance_table *table, affect_error *err) {
    member *members = malloc((table->n + 1) * sizeof *members);
    groups->names = malloc((table->n + 1) * sizeof *groups->names);
    groups->of = malloc((table->n + 1) * sizeof *groups->of);
    affect_status status = AFFECT_STATUS_OK;
    if (!members || !groups->names || !groups->of)
        status = affect_fail(err, NO_MEMORY, "no memory for groups of %zu utterances", table->n);
    size_t n = 0;
    for (size_t i = 0; i < table->n && status == AFFECT_STATUS_OK; i++) {
        const char *text = affect_utterance_table_text(table, i, groups->attribute);
        groups->of[i] = -1;
        if (text) members[n++] = (member){text, i};
    }
    if (status == AFFECT_STATUS_OK && n) qsort(members, n, sizeof *members, compare_members);
    for (size_t i = 0; i < n; i++) {
        if (!i || strcmp(members[i - 1].text, members[i].text) != 0)
            groups->names[groups->n++] = members[i].text;
        groups->of[members[i].index] = (int)groups->n - 1;
    }
    groups->n_without = table->n - n;
    free(members);
    return status;
}

affect_status affect_utterance_table_group(const affect_utterance_groups **groups,
                                           affect_utterance_table *table, const char *attribute,
                                           affect_error *err) {
    for (size_t i = 0; i < table->n_groups; i++)
        if (strcmp(table->groups[i].attribute, attribute) == 0) {
            *groups = &table->groups[i];
            return AFFECT_STATUS_OK;
        }
    if (table->n_groups == AFFECT_ATTRIBUTES_GROUPED ||
        strlen(attribute) >= sizeof table->groups->attribute)
        return affect_fail(err, INVALID,
                           "cannot group by \"%.60s\": at most %d attributes of at "
                           "most %d bytes",
                           attribute, AFFECT_ATTRIBUTES_GROUPED, AFFECT_ATTRIBUTE_SIZE - 1);
    affect_utterance_groups *made = &table->groups[table->n_groups];
    strcpy(made->attribute, attribute);
    affect_status status = make_groups(made, table, err);
    if (status != AFFECT_STATUS_OK) {
        free_groups(made);
        return status;
    }
    table->n_groups++;
    *groups = made;
    return AFFECT_STATUS_OK;
}
