/* What a split is asked to be; see split.h.
 *
 * One field table reads all kinds; the row of the kind then says which of the fields it takes and
 * what the others come to. Printing gives the same fields back, with the kind's own values in the
 * place of absent ones, so that a stored split does not depend on later defaults. */
#include "engine/evaluation/split.h"

#include <stdio.h>
#include <string.h>

const char *const affect_part_names[] = {"training", "validation", "test", NULL};

/* Of a field table's schemas. */
#define SHARE    "{'type':'number','minimum':0,'exclusiveMaximum':1}"
#define SPEAKERS "{'type':'array','maxItems':64,'items':{'type':'string'}}"

#define GROUP_FIELDS "folds fold validation seed subset"

const affect_split_kind affect_split_kinds[] = {
    {"random", AFFECT_SPLIT_RANDOM, "validation test stratified seed subset", NULL, 0, NULL, NULL,
     "utterances drawn at random: what is close to them trains, so it flatters"},
    {"speakers", AFFECT_SPLIT_SPEAKERS, "validation test stratified seed subset", NULL, 0, NULL,
     NULL, "speakers by name validate and are tested"},
    {"group-out", AFFECT_SPLIT_GROUP_OUT, "by " GROUP_FIELDS, NULL, 0, NULL, NULL,
     "groups of an attribute are held out, a fold at a time"},
    {"given", AFFECT_SPLIT_GIVEN, "validation seed subset", NULL, 0, "0.1", NULL,
     "the corpus' own parts"},
    {"paper-random", AFFECT_SPLIT_RANDOM, "stratified seed subset", NULL, 0, NULL, NULL,
     "80:20 at random; the validation part is the one reported, as the paper does"},
    {"session-out", AFFECT_SPLIT_GROUP_OUT, GROUP_FIELDS, "session", 0,
     "{\"by\":\"speaker\",\"groups\":1}", NULL,
     "each session is tested in turn, one other speaker validates"},
    {"speaker-out", AFFECT_SPLIT_GROUP_OUT, GROUP_FIELDS, "speaker", 0,
     "{\"by\":\"speaker\",\"within\":\"session\"}", NULL,
     "each speaker is tested in turn, the other of the session validates"},
    {"dialog-disjoint", AFFECT_SPLIT_GROUP_OUT, GROUP_FIELDS, "dialog", 5,
     "{\"by\":\"dialog\",\"share\":0.1}", NULL, "no dialog is in two parts"},
    {"script-disjoint", AFFECT_SPLIT_GROUP_OUT, GROUP_FIELDS, "scenario", 5,
     "{\"by\":\"scenario\",\"share\":0.1}", NULL, "no scenario is in two parts"},
    {"improvised-only", AFFECT_SPLIT_GROUP_OUT, GROUP_FIELDS, "session", 0,
     "{\"by\":\"speaker\",\"groups\":1}", "{\"improvised\":true}",
     "session-out of the improvised dialogs"},
    {0}};

/* For the field table: the names above. */
static const char *const kind_names[] = {
    "random",          "speakers",        "group-out",   "given",
    "paper-random",    "session-out",     "speaker-out", "dialog-disjoint",
    "script-disjoint", "improvised-only", NULL};
_Static_assert(sizeof kind_names / sizeof *kind_names ==
                   sizeof affect_split_kinds / sizeof *affect_split_kinds,
               "a name for each kind");

static const affect_field drawn_fields[] = {
    AFFECT_FIELD_STRING(affect_split_validation, by, "", "attribute that makes the groups",
                        .minimum = 1, .required = true),
    AFFECT_FIELD_STRING(affect_split_validation, within, "",
                        "all groups that share this attribute with the tested part"),
    AFFECT_FIELD_INTEGER(affect_split_validation, groups, 0, 1, 1e6, "how many"),
    AFFECT_FIELD_NUMBER(affect_split_validation, share, 0, 1e-6, 0.999999,
                        "of the training part's utterances, at least"),
    AFFECT_FIELD_END};

const affect_field affect_split_fields[] = {
    AFFECT_FIELD_CHOICE(affect_split_config, kind, 0, kind_names, "name of the split"),
    AFFECT_FIELD_STRING(affect_split_config, by, "", "group-out: attribute that makes the groups"),
    AFFECT_FIELD_JSON(affect_split_config, folds, "\"all\": each group is one; or how many",
                      .schema = "{'oneOf':[{'type':'string','enum':['all']},"
                                "{'type':'integer','minimum':2,'maximum':1000}]}"),
    AFFECT_FIELD_INTEGER(affect_split_config, fold, 0, 0, 1e6, "which is tested, from 0"),
    AFFECT_FIELD_JSON(affect_split_config, validation,
                      "a share of the utterances, names of speakers, or how to draw groups",
                      .schema = "{'oneOf':[" SHARE "," SPEAKERS "]}", .fields = drawn_fields),
    AFFECT_FIELD_JSON(affect_split_config, test, "random: a share; speakers: names",
                      .schema = "{'oneOf':[" SHARE "," SPEAKERS "]}"),
    AFFECT_FIELD_BOOL(affect_split_config, stratified, true, "random: each class keeps its share"),
    AFFECT_FIELD_INTEGER(affect_split_config, seed, 1, 0, 9007199254740991.0,
                         "what the draw depends on"),
    AFFECT_FIELD_JSON(
        affect_split_config, subset,
        "conditions that all hold, by attribute: true or false, a text or texts; agreement: "
        "the share of the annotators who chose the label, at least",
        .schema = "{'type':'object','maxProperties':16,'properties':{'agreement':"
                  "{'type':'number','minimum':0,'maximum':1}},'additionalProperties':"
                  "{'oneOf':[{'type':'boolean'},{'type':'string'},{'type':'array',"
                  "'minItems':1,'maxItems':64,'items':{'type':'string'}}]}}"),
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

/* The validation part of a training part: a share of utterances, or groups. */
static affect_status parse_drawn(affect_split_config *config, const char *path, affect_error *err) {
    const affect_json *given = config->validation;
    affect_split_validation *drawn = &config->drawn;
    char nested[128];
    config->draws_validation = true;
    if (affect_json_is_number(given)) {
        drawn->share = affect_json_number(given, 0);
        if (drawn->share > 0 && drawn->share < 1) return AFFECT_STATUS_OK;
        return affect_field_fail(err, path, "validation", "%g is out of bounds (0 < share < 1)",
                                 drawn->share);
    }
    if (!affect_json_is_object(given))
        return affect_field_fail(err, path, "validation",
                                 "is a %s (need a share, or {\"by\": \"speaker\", \"groups\": 1})",
                                 affect_json_type_name(given));
    snprintf(nested, sizeof nested, "%s/validation", path);
    AFFECT_TRY(affect_fields_parse(drawn, drawn_fields, given, nested, err));
    if (!!drawn->groups + (drawn->share > 0) + !!drawn->within[0] != 1)
        return affect_field_fail(err, path, "validation", "need one of groups, share and within");
    return AFFECT_STATUS_OK;
}

static affect_status check_random(affect_split_config *config, const char *path,
                                  affect_error *err) {
    bool drawn = affect_json_is_object(config->validation);
    affect_status status = drawn ? parse_drawn(config, path, err)
                                 : parse_share(&config->validation_share, config->validation,
                                               "validation", 0.2, path, err);
    AFFECT_CHECK(status, err, parse_share(&config->test_share, config->test, "test", 0, path, err));
    if (status != AFFECT_STATUS_OK || drawn) return status;
    if (config->validation_share == 0)
        return affect_field_fail(err, path, "validation", "0 leaves nothing to validate on");
    if (config->validation_share + config->test_share >= 1)
        return affect_field_fail(err, path, "validation", "with test leaves nothing to train on");
    return AFFECT_STATUS_OK;
}

static affect_status parse_folds(affect_split_config *config, const char *path, affect_error *err) {
    const affect_json *given = config->folds;
    double number = affect_json_number(given, 0);
    if (!given || strcmp(affect_json_string(given, ""), "all") == 0) return AFFECT_STATUS_OK;
    if (number >= 2 && number <= AFFECT_MAX_SPLIT_FOLDS && number == (double)(int64_t)number) {
        config->n_folds = (int64_t)number;
        return AFFECT_STATUS_OK;
    }
    return affect_field_fail(err, path, "folds", "need \"all\" or a whole number in 2..%d",
                             AFFECT_MAX_SPLIT_FOLDS);
}

static affect_status check_group_out(affect_split_config *config, const char *path,
                                     affect_error *err) {
    const affect_split_kind *kind = &affect_split_kinds[config->kind];
    affect_status status = AFFECT_STATUS_OK;
    if (kind->by) strcpy(config->by, kind->by);
    if (!config->by[0])
        status = affect_field_fail(err, path, "by", "is missing (speaker, session, dialog, ...)");
    config->n_folds = config->folds ? 0 : kind->folds;
    config->fewer_folds = !config->folds && kind->folds > 0;
    AFFECT_CHECK(status, err, parse_folds(config, path, err));
    if (!config->validation && config->by[0]) { /* as new as what is tested */
        config->validation = affect_json_new_object();
        affect_json_set_string(config->validation, "by", config->by);
        affect_json_set_number(config->validation, "share", 0.1);
    }
    if (config->validation) AFFECT_CHECK(status, err, parse_drawn(config, path, err));
    return status;
}

static bool is_condition(const char *name, const affect_json *wanted) {
    if (strcmp(name, "agreement") == 0) {
        double share = affect_json_number(wanted, -1);
        return share >= 0 && share <= 1;
    }
    const affect_json *e = affect_json_first(wanted);
    if (affect_json_is_bool(wanted) || affect_json_is_string(wanted)) return true;
    if (!affect_json_is_array(wanted) || !e) return false;
    if (affect_json_size(wanted) > AFFECT_MAX_WANTED) return false;
    while (e && affect_json_is_string(e)) e = affect_json_next(e);
    return !e;
}

static affect_status check_subset(affect_split_config *config, const char *path,
                                  affect_error *err) {
    char nested[128];
    affect_status status = AFFECT_STATUS_OK;
    snprintf(nested, sizeof nested, "%s/subset", path);
    if (config->subset && !affect_json_is_object(config->subset))
        return affect_field_fail(err, path, "subset", "is a %s (need an object)",
                                 affect_json_type_name(config->subset));
    if (affect_json_size(config->subset) > AFFECT_MAX_CONDITIONS)
        return affect_field_fail(err, path, "subset", "has %zu conditions (at most %d)",
                                 affect_json_size(config->subset), AFFECT_MAX_CONDITIONS);
    for (const affect_json *e = affect_json_first(config->subset); e; e = affect_json_next(e)) {
        const char *name = affect_json_name(e);
        if (strlen(name) >= AFFECT_ATTRIBUTE_SIZE)
            AFFECT_CHECK(status, err, affect_field_fail(err, nested, "", "a name is too long"));
        else if (!is_condition(name, e))
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, nested, name,
                                           strcmp(name, "agreement") == 0
                                               ? "need a share, 0..1"
                                               : "need true, false, a text or up to 64 texts"));
    }
    return status;
}

/* The kind's own conditions join those that are given. */
static affect_status add_conditions(affect_split_config *config, const char *path,
                                    affect_error *err) {
    const char *text = affect_split_kinds[config->kind].subset;
    affect_json *own = NULL;
    if (!text) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_json_parse(&own, text, strlen(text), err));
    affect_status status = AFFECT_STATUS_OK;
    if (!config->subset) config->subset = affect_json_new_object();
    for (const affect_json *e = affect_json_first(own); e; e = affect_json_next(e)) {
        const char *name = affect_json_name(e);
        const affect_json *given = affect_json_get(config->subset, name);
        if (given && affect_json_bool(given, false) != affect_json_bool(e, false))
            status = affect_field_fail(err, path, "subset", "contradicts %s (%s)",
                                       kind_names[config->kind], text);
        affect_json_set(config->subset, name, affect_json_copy(e));
    }
    affect_json_free(own);
    return status;
}

static bool takes(const affect_split_kind *kind, const char *name) {
    size_t size = strlen(name);
    for (const char *at = kind->fields; *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == size && strncmp(at, name, size) == 0) return true;
    return false;
}

static affect_status check_fields(const affect_split_config *config, const affect_json *json,
                                  const char *path, affect_error *err) {
    const affect_split_kind *kind = &affect_split_kinds[config->kind];
    affect_status status = AFFECT_STATUS_OK;
    for (const affect_json *e = affect_json_first(json); e; e = affect_json_next(e)) {
        const char *name = affect_json_name(e);
        if (strcmp(name, "kind") != 0 && affect_fields_find(affect_split_fields, name) &&
            !takes(kind, name))
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, path, name, "is not for %s (known: %s)", kind->name,
                                           kind->fields));
    }
    return status;
}

static affect_status check_config(affect_split_config *config, const affect_json *json,
                                  const char *path, affect_error *err) {
    const affect_split_kind *kind = &affect_split_kinds[config->kind];
    affect_status status = check_fields(config, json, path, err);
    config->method = kind->method;
    AFFECT_CHECK(status, err, check_subset(config, path, err));
    if (status == AFFECT_STATUS_OK) status = add_conditions(config, path, err);
    if (!config->validation && kind->validation && affect_fields_continue(status, err))
        AFFECT_TRY(affect_json_parse(&config->validation, kind->validation,
                                     strlen(kind->validation), err));
    switch (config->method) {
    case AFFECT_SPLIT_RANDOM:
        AFFECT_CHECK(status, err, check_random(config, path, err));
        break;
    case AFFECT_SPLIT_SPEAKERS:
        AFFECT_CHECK(status, err,
                     check_speakers(config->validation, "validation", true, path, err));
        AFFECT_CHECK(status, err, check_speakers(config->test, "test", false, path, err));
        break;
    case AFFECT_SPLIT_GROUP_OUT:
        AFFECT_CHECK(status, err, check_group_out(config, path, err));
        break;
    case AFFECT_SPLIT_GIVEN:
        AFFECT_CHECK(status, err, parse_drawn(config, path, err));
        break;
    }
    return status;
}

/* A bare name; `path` is its own pointer. */
static affect_status parse_name(affect_split_config *config, const char *name, const char *path,
                                affect_error *err) {
    char known[256] = "";
    for (int k = 0; kind_names[k]; k++) {
        if (strcmp(kind_names[k], name) == 0) {
            config->kind = k;
            return AFFECT_STATUS_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "", kind_names[k]);
    }
    return affect_field_fail(err, path, "", "\"%.60s\" is not one of: %s", name, known);
}

affect_status affect_split_config_parse(affect_split_config *config, const affect_json *json,
                                        const char *path, affect_error *err) {
    memset(config, 0, sizeof *config);
    affect_fields_default(config, affect_split_fields);
    affect_fields_default(&config->drawn, drawn_fields);
    const char *name = affect_json_string(json, NULL);
    affect_status status = name ? parse_name(config, name, path, err)
                                : affect_fields_parse(config, affect_split_fields, json, path, err);
    if (status == AFFECT_STATUS_OK) status = check_config(config, name ? NULL : json, path, err);
    if (status != AFFECT_STATUS_OK) affect_split_config_free(config);
    return status;
}

static void print_copy(affect_json *json, const char *name, const affect_json *value) {
    affect_json_set(json, name, affect_json_copy(value));
}

static void print_random(affect_json *json, const affect_split_config *config) {
    const affect_split_kind *kind = &affect_split_kinds[config->kind];
    if (config->draws_validation)
        print_copy(json, "validation", config->validation);
    else if (takes(kind, "validation"))
        affect_json_set_number(json, "validation", config->validation_share);
    if (takes(kind, "test")) affect_json_set_number(json, "test", config->test_share);
    affect_json_set_bool(json, "stratified", config->stratified);
    affect_json_set_number(json, "seed", (double)config->seed);
}

static void print_group_out(affect_json *json, const affect_split_config *config) {
    if (takes(&affect_split_kinds[config->kind], "by"))
        affect_json_set_string(json, "by", config->by);
    if (config->folds || (config->n_folds == 0 && !config->fewer_folds))
        affect_json_set(json, "folds",
                        config->n_folds ? affect_json_new_number((double)config->n_folds)
                                        : affect_json_new_string("all"));
    affect_json_set_number(json, "fold", (double)config->fold);
}

void affect_split_config_print(affect_json *json, const affect_split_config *config) {
    affect_json_set_string(json, "kind", kind_names[config->kind]);
    switch (config->method) {
    case AFFECT_SPLIT_RANDOM:
        print_random(json, config);
        break;
    case AFFECT_SPLIT_SPEAKERS:
        print_copy(json, "validation", config->validation);
        affect_json_set(json, "test",
                        config->test ? affect_json_copy(config->test) : affect_json_new_array());
        break;
    case AFFECT_SPLIT_GROUP_OUT:
        print_group_out(json, config);
        __attribute__((fallthrough));
    case AFFECT_SPLIT_GIVEN:
        print_copy(json, "validation", config->validation);
        affect_json_set_number(json, "seed", (double)config->seed);
        break;
    }
    if (config->subset) print_copy(json, "subset", config->subset);
}

void affect_split_config_free(affect_split_config *config) {
    affect_fields_free(config, affect_split_fields);
}
