/* Making the parts of a split; see split.h.
 *
 * First the subset: `members` are the utterances that take part, and start as training. Then the
 * method marks what is tested (and for random and speakers what validates), then a validation part
 * may be drawn from what still trains. Groups are handled by number, in the order of their names;
 * folds of about equal size are scikit-learn's GroupKFold: groups by falling size (equal sizes:
 * later names first), each into the fold with the fewest utterances (equal: the first). Random
 * numbers are counter-based, a function of seed and fold. */
#include "engine/evaluation/split.h"

#include "engine/core/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One split in the making. */
typedef struct {
    const affect_split_config *config;
    affect_utterance_table *table;
    uint8_t *parts;
    size_t *members, n_members; /* utterances of the subset, ascending */
    int *labels;                /* (members) */
    size_t *scratch;            /* (2 (utterances + 1) + 3 classes) */
} maker;

static affect_status fail_at(affect_error *err, const char *member) {
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/split%s%s", *member ? "/" : "", member);
    return affect_error_at(err, AFFECT_STATUS_INVALID, pointer);
}

/* ---- The subset ---- */

static bool is_wanted(const char *text, const affect_json *wanted) {
    if (!text) return false;
    if (affect_json_is_bool(wanted))
        return strcmp(text, affect_json_bool(wanted, false) ? "true" : "false") == 0;
    if (affect_json_is_string(wanted)) return strcmp(text, affect_json_string(wanted, "")) == 0;
    for (const affect_json *e = affect_json_first(wanted); e; e = affect_json_next(e))
        if (strcmp(text, affect_json_string(e, "")) == 0) return true;
    return false;
}

static bool holds(const affect_utterance_table *table, size_t index, const affect_json *condition) {
    const char *name = affect_json_name(condition);
    if (affect_json_is_number(condition)) /* at least so much */
        return affect_utterance_table_number(table, index, name) >=
               affect_json_number(condition, 0) - 1e-9;
    return is_wanted(affect_utterance_table_text(table, index, name), condition);
}

/* A condition that no utterance meets is more likely a mistake than a wish. */
static affect_status check_condition(const affect_utterance_table *table,
                                     const affect_json *condition, affect_error *err) {
    const char *name = affect_json_name(condition);
    bool known = false;
    for (size_t i = 0; i < table->n; i++) {
        if (holds(table, i, condition)) return AFFECT_STATUS_OK;
        known = known || affect_utterance_table_text(table, i, name) ||
                !isnan(affect_utterance_table_number(table, i, name));
    }
    return affect_field_fail(err, "/split/subset", name, "%s",
                             known ? "no utterance of the corpus meets this"
                                   : "the corpus does not have this attribute");
}

static affect_status choose_members(maker *m, affect_error *err) {
    const affect_json *subset = m->config->subset;
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *c = affect_json_first(subset); c; c = affect_json_next(c))
        AFFECT_CHECK(status, err, check_condition(m->table, c, err));
    if (status != AFFECT_STATUS_OK) return status;
    for (size_t i = 0; i < m->table->n; i++) {
        const affect_json *c = affect_json_first(subset);
        while (c && holds(m->table, i, c)) c = affect_json_next(c);
        m->parts[i] = c ? AFFECT_PART_NONE : AFFECT_PART_TRAINING;
        if (c) continue;
        m->labels[m->n_members] = m->table->labels[i];
        m->members[m->n_members++] = i;
    }
    if (m->n_members) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "/split", "subset", "no utterance meets all conditions");
}

/* ---- Utterances at random ---- */

/* quota[c] of `total` for classes of sizes[c], by largest remainder; ties to the lower class. */
static void share_out(size_t *quota, const size_t *sizes, size_t n_classes, size_t total,
                      size_t n) {
    size_t given = 0;
    for (size_t c = 0; c < n_classes; c++) given += quota[c] = sizes[c] * total / n;
    while (given < total) {
        size_t best = 0, best_rest = 0;
        for (size_t c = 0; c < n_classes; c++) {
            size_t exact = sizes[c] * total, have = quota[c] * n;
            size_t rest = exact > have ? exact - have : 0;
            if (rest > best_rest) best_rest = rest, best = c;
        }
        quota[best]++;
        given++;
    }
}

typedef struct {
    double test_share, validation_share;
    bool stratified;
    affect_random_key key;
} draw_options;

/* Walks n utterances (`members`, of classes `labels`) in random order, giving each class (or all as
 * one) its quota of test, then of validation. */
static void draw_utterances(maker *m, const size_t *members, const int *labels, size_t n,
                            const draw_options *options) {
    size_t n_classes = m->table->n_classes, groups = options->stratified ? n_classes : 1;
    size_t *sizes = m->scratch, *test = sizes + n_classes, *validation = test + n_classes;
    size_t *order = validation + n_classes;
    memset(sizes, 0, n_classes * sizeof *sizes);
    for (size_t i = 0; i < n; i++) sizes[options->stratified ? labels[i] : 0]++;
    share_out(test, sizes, groups, (size_t)ceil(options->test_share * (double)n - 1e-9), n);
    share_out(validation, sizes, groups, (size_t)ceil(options->validation_share * (double)n - 1e-9),
              n);
    affect_random_permutation(order, n, options->key);
    for (size_t i = 0; i < n; i++) {
        size_t u = order[i], group = options->stratified ? (size_t)labels[u] : 0;
        if (test[group]) {
            test[group]--;
            m->parts[members[u]] = AFFECT_PART_TEST;
        } else if (validation[group]) {
            validation[group]--;
            m->parts[members[u]] = AFFECT_PART_VALIDATION;
        }
    }
}

static void split_random(maker *m) {
    const affect_split_config *config = m->config;
    const draw_options options = {
        .test_share = config->test_share,
        .validation_share = config->validation_share,
        .stratified = config->stratified,
        .key = {(uint64_t)config->seed, affect_random_stream("split", 0, 0)}};
    draw_utterances(m, m->members, m->labels, m->n_members, &options);
}

/* ---- Named speakers, and the corpus' own parts ---- */

static affect_status mark_speakers(maker *m, affect_part part, const affect_json *names,
                                   affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    char member[64];
    size_t index = 0;
    for (const affect_json *e = affect_json_first(names); e; e = affect_json_next(e), index++) {
        const char *name = affect_json_string(e, "");
        size_t n_marked = 0, n_twice = 0;
        for (size_t i = 0; i < m->n_members; i++) {
            uint8_t *of = &m->parts[m->members[i]];
            const char *speaker = affect_utterance_table_text(m->table, m->members[i], "speaker");
            if (!speaker || strcmp(speaker, name) != 0) continue;
            n_twice += *of != AFFECT_PART_TRAINING;
            *of = (uint8_t)part;
            n_marked++;
        }
        if (n_marked && !n_twice) continue;
        if (!affect_fields_continue(status, err)) break;
        affect_fail(err, INVALID,
                    n_twice ? "split: speaker \"%.40s\" is named twice"
                            : "split: no utterance of speaker \"%.40s\"",
                    name);
        snprintf(member, sizeof member, "%s/%zu", affect_part_names[part], index);
        status = fail_at(err, member);
    }
    return status;
}

static affect_status split_speakers(maker *m, affect_error *err) {
    size_t n_named = 0;
    for (size_t i = 0; i < m->n_members; i++)
        n_named += affect_utterance_table_text(m->table, m->members[i], "speaker") != NULL;
    if (n_named < m->n_members) {
        affect_fail(err, INVALID,
                    "split: the corpus names no speaker for %zu of its %zu utterances",
                    m->n_members - n_named, m->n_members);
        return fail_at(err, "kind");
    }
    affect_status status = mark_speakers(m, AFFECT_PART_VALIDATION, m->config->validation, err);
    AFFECT_CHECK(status, err, mark_speakers(m, AFFECT_PART_TEST, m->config->test, err));
    return status;
}

/* "Train", "Development", "Test1": by how the word begins. AFFECT_PART_NONE: another word. */
static affect_part part_of_word(const char *word) {
    static const struct {
        const char *begin;
        affect_part part;
    } words[] = {{"train", AFFECT_PART_TRAINING},
                 {"dev", AFFECT_PART_VALIDATION},
                 {"val", AFFECT_PART_VALIDATION},
                 {"test", AFFECT_PART_TEST},
                 {"eval", AFFECT_PART_TEST}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncasecmp(word, words[i].begin, strlen(words[i].begin)) == 0) return words[i].part;
    return AFFECT_PART_NONE;
}

static affect_status split_given(maker *m, affect_error *err) {
    size_t n_without = 0;
    for (size_t i = 0; i < m->n_members; i++) {
        const char *word = affect_utterance_table_text(m->table, m->members[i], "split");
        affect_part part = word ? part_of_word(word) : AFFECT_PART_TRAINING;
        n_without += !word;
        if (part == AFFECT_PART_NONE) {
            affect_fail(err, INVALID,
                        "split: the corpus' own \"%.40s\" is no part (train, dev, test)", word);
            return fail_at(err, "");
        }
        m->parts[m->members[i]] = (uint8_t)part;
    }
    if (!n_without) return AFFECT_STATUS_OK;
    affect_fail(err, INVALID,
                n_without == m->n_members ? "split: the corpus has no split of its own"
                                          : "split: %zu utterances have no split of their own",
                n_without);
    return fail_at(err, "");
}

/* ---- Groups ---- */

/* The groups of `attribute`, and how many utterances of `part` each has (counts, owned). Every
 * utterance of the part must have one. */
static affect_status count_groups(const affect_utterance_groups **groups, size_t **counts,
                                  const maker *m, affect_part part, const char *attribute,
                                  affect_error *err) {
    size_t n_without = 0, n = 0;
    AFFECT_TRY(affect_utterance_table_group(groups, m->table, attribute, err));
    size_t *made = calloc((*groups)->n + 1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "no memory for %zu groups", (*groups)->n);
    for (size_t i = 0; i < m->n_members; i++) {
        if (m->parts[m->members[i]] != part) continue;
        int group = (*groups)->of[m->members[i]];
        n++;
        if (group < 0)
            n_without++;
        else
            made[group]++;
    }
    if (!n_without) {
        *counts = made;
        return AFFECT_STATUS_OK;
    }
    free(made);
    if (n_without == n)
        affect_fail(err, INVALID, "split: the corpus has no %.60s", attribute);
    else
        affect_fail(err, INVALID, "split: %zu of %zu utterances have no %.60s", n_without, n,
                    attribute);
    return fail_at(err, "");
}

typedef struct {
    size_t group, size;
} sized_group;

/* By falling size; equal sizes: by falling name. */
static int compare_sizes(const void *a, const void *b) {
    const sized_group *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return x->group < y->group ? 1 : -1;
}

static size_t find_lightest(const size_t *sizes, size_t n) {
    size_t lightest = 0;
    for (size_t f = 1; f < n; f++)
        if (sizes[f] < sizes[lightest]) lightest = f;
    return lightest;
}

/* fold_of[g] of each group that has utterances, -1 of the others. */
static affect_status assign_folds(int *fold_of, const size_t *counts, size_t n_groups,
                                  size_t n_folds, bool balanced, affect_error *err) {
    sized_group *sorted = malloc((n_groups + 1) * sizeof *sorted);
    size_t *sizes = calloc(n_folds + 1, sizeof *sizes), n = 0;
    affect_status status = AFFECT_STATUS_OK;
    if (!sorted || !sizes) status = affect_fail(err, NO_MEMORY, "no memory for %zu folds", n_folds);
    for (size_t g = 0; g < n_groups && status == AFFECT_STATUS_OK; g++) {
        fold_of[g] = -1;
        if (counts[g]) sorted[n++] = (sized_group){g, counts[g]};
    }
    if (balanced && n) qsort(sorted, n, sizeof *sorted, compare_sizes);
    for (size_t i = 0; i < n; i++) {
        size_t fold = balanced ? find_lightest(sizes, n_folds) : i;
        fold_of[sorted[i].group] = (int)fold;
        sizes[fold] += sorted[i].size;
    }
    free(sorted);
    free(sizes);
    return status;
}

static affect_status choose_n_folds(size_t *n_folds, const affect_split_config *config,
                                    const affect_utterance_groups *groups, const size_t *counts,
                                    affect_error *err) {
    size_t n = 0, only = 0;
    for (size_t g = 0; g < groups->n; g++)
        if (counts[g]) n++, only = g;
    if (n < 2) {
        affect_fail(err, INVALID,
                    "split: all utterances have one %.60s (%.60s): nothing is left "
                    "to train on when it is held out",
                    groups->attribute, groups->names[only]);
        return fail_at(err, "");
    }
    *n_folds = config->n_folds ? (size_t)config->n_folds : n;
    if (*n_folds > n && !config->fewer_folds)
        return affect_field_fail(err, "/split", "folds", "%zu folds of %zu groups by %s", *n_folds,
                                 n, groups->attribute);
    if (*n_folds > n) *n_folds = n;
    return AFFECT_STATUS_OK;
}

/* Tests the fold; *n_folds becomes how many there are. */
static affect_status split_groups(maker *m, size_t *n_folds, affect_error *err) {
    const affect_split_config *config = m->config;
    const affect_utterance_groups *groups;
    size_t *counts = NULL;
    AFFECT_TRY(count_groups(&groups, &counts, m, AFFECT_PART_TRAINING, config->by, err));
    int *fold_of = malloc((groups->n + 1) * sizeof *fold_of);
    affect_status status = fold_of ? choose_n_folds(n_folds, config, groups, counts, err)
                                   : affect_fail(err, NO_MEMORY, "no memory for folds");
    if (status == AFFECT_STATUS_OK)
        status = assign_folds(fold_of, counts, groups->n, *n_folds, config->n_folds > 0, err);
    for (size_t i = 0; i < m->n_members && status == AFFECT_STATUS_OK; i++)
        if (fold_of[groups->of[m->members[i]]] == config->fold)
            m->parts[m->members[i]] = AFFECT_PART_TEST;
    free(fold_of);
    free(counts);
    return status;
}

/* ---- A validation part inside the training part ---- */

static affect_random_key validation_key(const affect_split_config *config) {
    return (affect_random_key){(uint64_t)config->seed,
                               affect_random_stream("split validation", (uint64_t)config->fold, 0)};
}

static void draw_share(maker *m) {
    size_t n = 0, *members = m->scratch + 3 * m->table->n_classes + m->table->n + 1;
    for (size_t i = 0; i < m->n_members; i++) {
        if (m->parts[m->members[i]] != AFFECT_PART_TRAINING) continue;
        m->labels[n] = m->labels[i];
        members[n++] = m->members[i];
    }
    const draw_options options = {.validation_share = m->config->drawn.share,
                                  .stratified = true,
                                  .key = validation_key(m->config)};
    if (n) draw_utterances(m, members, m->labels, n, &options);
}

/* chosen[g] of the groups of utterances that share `within` with the tested part. */
static affect_status choose_within(bool *chosen, const maker *m,
                                   const affect_utterance_groups *groups, affect_error *err) {
    const affect_utterance_groups *around;
    AFFECT_TRY(affect_utterance_table_group(&around, m->table, m->config->drawn.within, err));
    bool *tested = calloc(around->n + 1, sizeof *tested);
    if (!tested) return affect_fail(err, NO_MEMORY, "no memory for %zu groups", around->n);
    for (size_t i = 0; i < m->n_members; i++) {
        size_t u = m->members[i];
        if (m->parts[u] == AFFECT_PART_TEST && around->of[u] >= 0) tested[around->of[u]] = true;
    }
    for (size_t i = 0; i < m->n_members; i++) {
        size_t u = m->members[i];
        if (m->parts[u] == AFFECT_PART_TRAINING && around->of[u] >= 0 && tested[around->of[u]])
            chosen[groups->of[u]] = true;
    }
    free(tested);
    return AFFECT_STATUS_OK;
}

/* chosen[g] of so many groups, or of groups with so many utterances; in random order, never all. */
static affect_status choose_groups(bool *chosen, const maker *m,
                                   const affect_utterance_groups *groups, const size_t *counts,
                                   affect_error *err) {
    const affect_split_validation *drawn = &m->config->drawn;
    size_t *occurring = m->scratch, *order = m->scratch + m->table->n + 1;
    size_t n = 0, n_utterances = 0, n_taken = 0, taken = 0;
    for (size_t g = 0; g < groups->n; g++) {
        n_utterances += counts[g];
        if (counts[g]) occurring[n++] = g;
    }
    size_t wanted = drawn->share > 0 ? 0 : drawn->groups ? (size_t)drawn->groups : 1;
    if (n < 2 || wanted >= n)
        return affect_field_fail(err, "/split", "validation",
                                 "the training part has %zu of %s: to validate on %zu leaves "
                                 "none to train on",
                                 n, groups->attribute, wanted ? wanted : (size_t)1);
    double enough = drawn->share * (double)n_utterances - 1e-9;
    affect_random_permutation(order, n, validation_key(m->config));
    for (size_t i = 0; i + 1 < n; i++) {
        if (wanted ? n_taken == wanted : n_taken && (double)taken >= enough) break;
        chosen[occurring[order[i]]] = true;
        taken += counts[occurring[order[i]]];
        n_taken++;
    }
    return AFFECT_STATUS_OK;
}

/* Whether some of the groups, but not all of those that train, are chosen. */
static bool is_some(const bool *chosen, const size_t *counts, size_t n) {
    size_t n_chosen = 0, n_left = 0;
    for (size_t g = 0; g < n; g++) {
        n_chosen += counts[g] && chosen[g];
        n_left += counts[g] && !chosen[g];
    }
    return n_chosen && n_left;
}

static affect_status draw_groups(maker *m, affect_error *err) {
    const affect_split_validation *drawn = &m->config->drawn;
    const affect_utterance_groups *groups;
    size_t *counts = NULL;
    AFFECT_TRY(count_groups(&groups, &counts, m, AFFECT_PART_TRAINING, drawn->by, err));
    bool *chosen = calloc(groups->n + 1, sizeof *chosen);
    affect_status status =
        chosen ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for a validation part");
    if (status == AFFECT_STATUS_OK && drawn->within[0])
        status = choose_within(chosen, m, groups, err);
    if (status == AFFECT_STATUS_OK && !is_some(chosen, counts, groups->n)) {
        memset(chosen, 0, groups->n * sizeof *chosen);
        status = choose_groups(chosen, m, groups, counts, err);
    }
    for (size_t i = 0; i < m->n_members && status == AFFECT_STATUS_OK; i++) {
        uint8_t *part = &m->parts[m->members[i]];
        if (*part == AFFECT_PART_TRAINING && chosen[groups->of[m->members[i]]])
            *part = AFFECT_PART_VALIDATION;
    }
    free(chosen);
    free(counts);
    return status;
}

static bool has_part(const maker *m, affect_part part) {
    for (size_t i = 0; i < m->n_members; i++)
        if (m->parts[m->members[i]] == part) return true;
    return false;
}

static affect_status draw_validation(maker *m, affect_error *err) {
    if (!m->config->draws_validation) return AFFECT_STATUS_OK;
    if (m->config->method == AFFECT_SPLIT_GIVEN && has_part(m, AFFECT_PART_VALIDATION))
        return AFFECT_STATUS_OK;
    if (m->config->drawn.by[0]) return draw_groups(m, err);
    draw_share(m);
    return AFFECT_STATUS_OK;
}

/* ---- The whole ---- */

static affect_status check_parts(const maker *m, affect_error *err) {
    size_t counts[AFFECT_PART_COUNT] = {0};
    for (size_t i = 0; i < m->n_members; i++) counts[m->parts[m->members[i]]]++;
    if (counts[AFFECT_PART_TRAINING] && counts[AFFECT_PART_VALIDATION]) return AFFECT_STATUS_OK;
    affect_fail(err, INVALID, "split: %zu utterances give %zu to train and %zu to validate on",
                m->n_members, counts[AFFECT_PART_TRAINING], counts[AFFECT_PART_VALIDATION]);
    return fail_at(err, "");
}

static affect_status mark_parts(maker *m, size_t *n_folds, affect_error *err) {
    *n_folds = 1;
    switch (m->config->method) {
    case AFFECT_SPLIT_RANDOM:
        split_random(m);
        return AFFECT_STATUS_OK;
    case AFFECT_SPLIT_SPEAKERS:
        return split_speakers(m, err);
    case AFFECT_SPLIT_GIVEN:
        return split_given(m, err);
    case AFFECT_SPLIT_GROUP_OUT:
        break;
    }
    return split_groups(m, n_folds, err);
}

static affect_status begin(maker *m, affect_error *err) {
    size_t n = m->table->n;
    m->members = malloc((n + 1) * sizeof *m->members);
    m->labels = malloc((n + 1) * sizeof *m->labels);
    m->scratch = malloc((2 * (n + 1) + 3 * m->table->n_classes) * sizeof *m->scratch);
    if (!m->members || !m->labels || !m->scratch)
        return affect_fail(err, NO_MEMORY, "split: no memory for %zu utterances", n);
    return choose_members(m, err);
}

static void end(maker *m) {
    free(m->members);
    free(m->labels);
    free(m->scratch);
}

affect_status affect_split_make(uint8_t *parts, const affect_split_config *config,
                                affect_utterance_table *table, affect_error *err) {
    maker m = {.config = config, .table = table, .parts = parts};
    size_t n_folds;
    affect_status status = begin(&m, err);
    if (status == AFFECT_STATUS_OK) status = mark_parts(&m, &n_folds, err);
    if (status == AFFECT_STATUS_OK && config->fold >= (int64_t)n_folds)
        status = affect_field_fail(err, "/split", "fold", "%lld of %zu folds (0..%zu)",
                                   (long long)config->fold, n_folds, n_folds - 1);
    if (status == AFFECT_STATUS_OK) status = draw_validation(&m, err);
    if (status == AFFECT_STATUS_OK) status = check_parts(&m, err);
    end(&m);
    return status;
}

affect_status affect_split_n_folds(size_t *n_folds, const affect_split_config *config,
                                   affect_utterance_table *table, affect_error *err) {
    uint8_t *parts = malloc(table->n + 1);
    if (!parts) return affect_fail(err, NO_MEMORY, "split: no memory for %zu utterances", table->n);
    maker m = {.config = config, .table = table, .parts = parts};
    affect_status status = begin(&m, err);
    if (status == AFFECT_STATUS_OK) status = mark_parts(&m, n_folds, err);
    end(&m);
    free(parts);
    return status;
}
