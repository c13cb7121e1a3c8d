/* Splits; see split.h. */
#include "engine/evaluation/split.h"

#include "engine/core/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const affect_part_names[] = {"training", "validation", "test", NULL};

static const char *const kinds[] = {"random", "speakers", NULL};

static const affect_field split_fields[] = {
    AFFECT_FIELD_CHOICE(affect_split_config, kind, AFFECT_SPLIT_RANDOM, kinds,
                        "random utterances, or named speakers"),
    AFFECT_FIELD_JSON(affect_split_config, validation,
                      "random: share of the utterances; speakers: names"),
    AFFECT_FIELD_JSON(affect_split_config, test, "as validation; used once, at the end"),
    AFFECT_FIELD_BOOL(affect_split_config, stratified, true, "random: each class keeps its share"),
    AFFECT_FIELD_INTEGER(affect_split_config, seed, 1, 0, 9007199254740991.0,
                         "random: what the draw depends on"),
    AFFECT_FIELD_END};

static affect_status parse_share(double *share, const affect_json *json, const char *name,
                                 double fallback, const char *path, affect_error *err) {
    *share = affect_json_number(json, fallback);
    if (json && !affect_json_is_number(json))
        return affect_field_fail(err, path, name,
                                 "is a %s (a random split needs a share, a number)",
                                 affect_json_type_name(json));
    if (!(*share >= 0 && *share < 1))
        return affect_field_fail(err, path, name, "%g is out of bounds (0 <= share < 1)", *share);
    return AFFECT_STATUS_OK;
}

static affect_status check_speakers(const affect_json *json, const char *name, bool needed,
                                    const char *path, affect_error *err) {
    if ((json && !affect_json_is_array(json)) || (needed && affect_json_size(json) == 0))
        return affect_field_fail(err, path, name,
                                 "a speakers split needs names of speakers, as [\"Ses05F\"]");
    if (affect_json_size(json) > AFFECT_MAX_SPLIT_SPEAKERS)
        return affect_field_fail(err, path, name, "%zu speakers (at most %d)",
                                 affect_json_size(json), AFFECT_MAX_SPLIT_SPEAKERS);
    for (const affect_json *e = affect_json_first(json); e; e = affect_json_next(e))
        if (!affect_json_is_string(e))
            return affect_field_fail(err, path, name, "holds a %s (need strings)",
                                     affect_json_type_name(e));
    return AFFECT_STATUS_OK;
}

static affect_status check_config(affect_split_config *config, const char *path,
                                  affect_error *err) {
    if (config->kind == AFFECT_SPLIT_SPEAKERS) {
        affect_status status = check_speakers(config->validation, "validation", true, path, err);
        AFFECT_CHECK(status, err, check_speakers(config->test, "test", false, path, err));
        return status;
    }
    affect_status status =
        parse_share(&config->validation_share, config->validation, "validation", 0.2, path, err);
    AFFECT_CHECK(status, err, parse_share(&config->test_share, config->test, "test", 0, path, err));
    if (status != AFFECT_STATUS_OK) return status;
    if (config->validation_share == 0)
        return affect_field_fail(err, path, "validation", "0 leaves nothing to validate on");
    if (config->validation_share + config->test_share >= 1)
        return affect_field_fail(err, path, "validation", "with test leaves nothing to train on");
    return AFFECT_STATUS_OK;
}

affect_status affect_split_config_parse(affect_split_config *config, const affect_json *json,
                                        const char *path, affect_error *err) {
    memset(config, 0, sizeof *config);
    affect_fields_default(config, split_fields);
    affect_status status = affect_fields_parse(config, split_fields, json, path, err);
    if (status == AFFECT_STATUS_OK) status = check_config(config, path, err);
    if (status != AFFECT_STATUS_OK) affect_split_config_free(config);
    return status;
}

void affect_split_config_print(affect_json *json, const affect_split_config *config) {
    affect_json_set_string(json, "kind", kinds[config->kind]);
    if (config->kind == AFFECT_SPLIT_SPEAKERS) {
        affect_json_set(json, "validation", affect_json_copy(config->validation));
        affect_json_set(json, "test",
                        config->test ? affect_json_copy(config->test) : affect_json_new_array());
        return;
    }
    affect_json_set_number(json, "validation", config->validation_share);
    affect_json_set_number(json, "test", config->test_share);
    affect_json_set_bool(json, "stratified", config->stratified);
    affect_json_set_number(json, "seed", (double)config->seed);
}

void affect_split_config_free(affect_split_config *config) {
    affect_fields_free(config, split_fields);
}

static affect_status mark_speakers(uint8_t *parts, affect_part part, const affect_json *names,
                                   size_t n, const char *const *speakers, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    char pointer[64];
    size_t index = 0;
    for (const affect_json *e = affect_json_first(names); e; e = affect_json_next(e), index++) {
        const char *name = affect_json_string(e, "");
        size_t n_marked = 0, n_twice = 0;
        for (size_t i = 0; i < n; i++) {
            if (strcmp(speakers[i], name) != 0) continue;
            n_twice += parts[i] != AFFECT_PART_TRAINING;
            parts[i] = (uint8_t)part;
            n_marked++;
        }
        if (n_marked && !n_twice) continue;
        if (!affect_fields_continue(status, err)) break;
        affect_fail(err, INVALID,
                    n_twice ? "split: speaker \"%.40s\" is named twice"
                            : "split: no utterance of speaker \"%.40s\"",
                    name);
        snprintf(pointer, sizeof pointer, "/split/%s/%zu", affect_part_names[part], index);
        status = affect_error_at(err, AFFECT_STATUS_INVALID, pointer);
    }
    return status;
}

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

/* Walks the utterances in random order, giving each class (or all as one) its quota of test, then
 * of validation. */
static void split_random(uint8_t *parts, const affect_split_config *config, size_t n,
                         const int *labels, size_t n_classes, size_t *work, size_t *order) {
    size_t groups = config->stratified ? n_classes : 1;
    size_t *sizes = work, *test = work + n_classes, *validation = work + 2 * n_classes;
    for (size_t i = 0; i < n; i++) sizes[config->stratified ? labels[i] : 0]++;
    share_out(test, sizes, groups, (size_t)ceil(config->test_share * (double)n - 1e-9), n);
    share_out(validation, sizes, groups, (size_t)ceil(config->validation_share * (double)n - 1e-9),
              n);
    affect_random_key key = {(uint64_t)config->seed, affect_random_stream("split", 0, 0)};
    affect_random_permutation(order, n, key);
    for (size_t i = 0; i < n; i++) {
        size_t u = order[i], group = config->stratified ? (size_t)labels[u] : 0;
        if (test[group]) {
            test[group]--;
            parts[u] = AFFECT_PART_TEST;
        } else if (validation[group]) {
            validation[group]--;
            parts[u] = AFFECT_PART_VALIDATION;
        }
    }
}

static affect_status check_parts(const uint8_t *parts, size_t n, affect_error *err) {
    size_t counts[AFFECT_PART_COUNT] = {0};
    for (size_t i = 0; i < n; i++) counts[parts[i]]++;
    if (counts[AFFECT_PART_TRAINING] && counts[AFFECT_PART_VALIDATION]) return AFFECT_STATUS_OK;
    affect_fail(err, INVALID, "split: %zu utterances give %zu to train and %zu to validate on", n,
                counts[AFFECT_PART_TRAINING], counts[AFFECT_PART_VALIDATION]);
    return affect_error_at(err, AFFECT_STATUS_INVALID, "/split");
}

affect_status affect_split_make(uint8_t *parts, const affect_split_config *config, size_t n,
                                const int *labels, size_t n_classes, const char *const *speakers,
                                affect_error *err) {
    memset(parts, AFFECT_PART_TRAINING, n);
    if (config->kind == AFFECT_SPLIT_SPEAKERS) {
        affect_status status =
            mark_speakers(parts, AFFECT_PART_VALIDATION, config->validation, n, speakers, err);
        AFFECT_CHECK(status, err,
                     mark_speakers(parts, AFFECT_PART_TEST, config->test, n, speakers, err));
        return status == AFFECT_STATUS_OK ? check_parts(parts, n, err) : status;
    }
    size_t *work = calloc(3 * n_classes + n, sizeof *work);
    if (!work) return affect_fail(err, NO_MEMORY, "split: no memory for %zu utterances", n);
    split_random(parts, config, n, labels, n_classes, work, work + 3 * n_classes);
    free(work);
    return check_parts(parts, n, err);
}
