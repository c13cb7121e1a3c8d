/* The audit of a split and its look-up tables, on a corpus whose answers are counted by hand. */
#include "engine/evaluation/leakage.h"
#include "engine/evaluation/split_report.h"
#include "tests/test.h"

/* dialog, speaker, scenario, start, label, trains, evaluated. Class a trains 4 times, b 4, c once:
 * the majority is a, the lower of equals. */
typedef struct {
    const char *dialog, *speaker, *scenario;
    double start;
    char label;
    bool trains, evaluated;
} row;

static const row rows[] = {
    {"d1", "F", "s1", 0, 'a', true, false},  {"d1", "F", "s1", 10, 'b', true, false},
    {"d1", "F", "s1", 4, 'a', false, true}, /* 4 from a, 6 from b */
    {"d1", "F", "s1", 5, 'b', false, true}, /* as far from both: the earlier, a */
    {"d1", "F", "s1", 30, 'b', false, true}, {"d1", "M", "s1", 1, 'b', true, false},
    {"d1", "M", "s1", 2, 'b', true, false},  {"d1", "M", "s1", 3, 'a', true, false},
    {"d1", "M", "s1", 4, 'b', false, true}, /* d1: b 3 to 2; d1 M: b 2 to 1; nearest: a */
    {"d2", "F", "s1", 0, 'c', false, true}, /* nothing of d2 trains; of s1: b */
    {"d3", "F", "s2", 0, 'c', true, false},  {"d3", "F", "s2", 5, 'c', false, true},
    {"d4", "M", "s3", 0, 'a', true, false},  {"d4", "M", "s3", 1, 'a', true, false},
    {"d4", "M", "s3", 2, 'b', true, false},  {"d4", "F", "s3", 3, 'a', false, true},
    {"d5", "M", "s4", 0, 'b', false, false}, /* in no part */
};
enum { N = sizeof rows / sizeof *rows };

static affect_json *manifest;
static affect_utterance_table table;
static bool trains[N], evaluated[N];

static affect_json *make_manifest(bool with_names) {
    affect_json *made = affect_json_new_object(), *names = affect_json_set_array(made, "classes");
    for (const char *c = "abc"; *c; c++)
        affect_json_append(names, affect_json_new_string((char[]){*c, 0}));
    affect_json *list = affect_json_set_array(made, "utterances");
    for (int i = 0; i < N; i++) {
        affect_json *object = affect_json_append(list, affect_json_new_object());
        affect_json_set_string(object, "label", (char[]){rows[i].label, 0});
        if (!with_names) continue;
        affect_json_set_string(object, "dialog", rows[i].dialog);
        affect_json_set_string(object, "speaker", rows[i].speaker);
        affect_json_set_string(object, "scenario", rows[i].scenario);
        affect_json_set_number(object, "start", rows[i].start);
    }
    return made;
}

static void check_lookup(affect_lookup lookup, const char *want) {
    int predicted[N];
    bool known = false;
    size_t n = 0;
    CHECK_OK(affect_lookup_predict(predicted, &known, lookup, &table, trains, err));
    CHECK(known);
    for (int i = 0; i < N; i++) {
        if (!evaluated[i]) continue;
        if (predicted[i] + 'a' != want[n])
            fprintf(stderr, "    %s, row %d: %c\n", affect_lookup_names[lookup], i,
                    predicted[i] + 'a');
        CHECK(predicted[i] + 'a' == want[n]);
        n++;
    }
    CHECK(n == strlen(want));
}

/* Of the evaluated rows, in order: truth is a b b b c c a. */
static void test_lookups(void) {
    check_lookup(AFFECT_LOOKUP_MAJORITY, "aaaaaaa");
    check_lookup(AFFECT_LOOKUP_DIALOG, "bbbbaca");
    check_lookup(AFFECT_LOOKUP_DIALOG_AND_SPEAKER, "aaabaca");
    check_lookup(AFFECT_LOOKUP_SCENARIO, "bbbbbca");
    check_lookup(AFFECT_LOOKUP_NEAREST_TURN, "aabaaca");
}

static void test_audit(void) {
    affect_leakage audit;
    CHECK_OK(affect_leakage_audit(&audit, &table, trains, evaluated, err));
    CHECK(audit.n_training == 9 && audit.n_evaluated == 7);
    const affect_leakage_sides *speaker = &audit.sides[0], *dialog = &audit.sides[1],
                               *scenario = &audit.sides[2];
    CHECK(speaker->training == 2 && speaker->evaluated == 2 && speaker->both == 2);
    CHECK(dialog->training == 3 && dialog->evaluated == 4 && dialog->both == 3);
    CHECK(scenario->training == 3 && scenario->evaluated == 3 && scenario->both == 3);
    CHECK(speaker->seen == 7 && dialog->seen == 6 && scenario->seen == 7);
    const affect_lookup_score *scores = audit.lookups;
    CHECK_NEAR(scores[AFFECT_LOOKUP_MAJORITY].accuracy, 2.0 / 7, 1e-15);
    CHECK_NEAR(scores[AFFECT_LOOKUP_DIALOG].accuracy, 5.0 / 7, 1e-15);
    CHECK_NEAR(scores[AFFECT_LOOKUP_DIALOG_AND_SPEAKER].accuracy, 4.0 / 7, 1e-15);
    CHECK_NEAR(scores[AFFECT_LOOKUP_SCENARIO].accuracy, 5.0 / 7, 1e-15);
    CHECK_NEAR(scores[AFFECT_LOOKUP_NEAREST_TURN].accuracy, 4.0 / 7, 1e-15);
    CHECK_NEAR(scores[AFFECT_LOOKUP_DIALOG].uar, (1.0 / 2 + 1 + 1.0 / 2) / 3, 1e-15);
    CHECK(audit.strongest == AFFECT_LOOKUP_DIALOG); /* the first of equals */
}

/* What the corpus does not name is not known, and the majority still is. */
static void test_a_corpus_without_names(void) {
    affect_json *bare = make_manifest(false);
    affect_utterance_table of;
    affect_leakage audit;
    CHECK_OK(affect_utterance_table_make(&of, bare, err));
    CHECK_OK(affect_leakage_audit(&audit, &of, trains, evaluated, err));
    for (int l = 0; l < AFFECT_LOOKUP_COUNT; l++)
        CHECK(audit.lookups[l].known == (l == AFFECT_LOOKUP_MAJORITY));
    for (int a = 0; a < AFFECT_LEAKAGE_ATTRIBUTES; a++) CHECK(!audit.sides[a].known);
    CHECK(audit.strongest == AFFECT_LOOKUP_MAJORITY);
    affect_json *json = affect_json_new_object();
    affect_leakage_print(json, &audit);
    CHECK(affect_json_is_null(affect_json_get(affect_json_get(json, "audit"), "dialog")));
    CHECK(affect_json_is_null(affect_json_get(affect_json_get(json, "baselines"), "scenario")));
    affect_json_free(json);
    affect_utterance_table_free(&of);
    affect_json_free(bare);
}

static void test_nothing_to_compare(void) {
    const bool none[N] = {0};
    affect_leakage audit;
    int predicted[N];
    bool known;
    CHECK(affect_leakage_audit(&audit, &table, none, evaluated, NULL) == AFFECT_STATUS_INVALID);
    CHECK(affect_leakage_audit(&audit, &table, trains, none, NULL) == AFFECT_STATUS_INVALID);
    CHECK(affect_lookup_predict(predicted, &known, AFFECT_LOOKUP_DIALOG, &table, none, NULL) ==
          AFFECT_STATUS_INVALID);
}

/* ---- In a result ---- */

static affect_json *report(double accuracy, bool of_another_dataset) {
    static const char split[] =
        "{\"kind\":\"dialog-disjoint\",\"fold\":1,\"subset\":{\"improvised\":true},"
        "\"utterances\":{\"training\":[\"x\",\"y\"],\"validation\":[\"z\"],\"test\":[\"v\"]}}";
    size_t training[N], tested[N], n_training = 0, n_tested = 0;
    affect_json *json = NULL, *result = affect_json_new_object();
    CHECK_OK(affect_json_parse(&json, split, strlen(split), err));
    for (size_t i = 0; i < N; i++) {
        if (trains[i] && !of_another_dataset) training[n_training++] = i;
        if (evaluated[i]) tested[n_tested++] = i;
    }
    const affect_split_report_input input = {.split = json,
                                             .manifest = manifest,
                                             .training = training,
                                             .n_training = n_training,
                                             .evaluated = tested,
                                             .n_evaluated = n_tested,
                                             .part = "test",
                                             .accuracy = accuracy};
    CHECK_OK(affect_split_report(result, &input, err));
    affect_json_free(json);
    return result;
}

static void test_report(void) {
    affect_json *result = report(5.0 / 7, false); /* as good as the table is not better */
    CHECK(!affect_json_get_bool(result, "beats_baselines", true));
    CHECK(strstr(affect_json_get_string(result, "statement", ""), "does not beat") != NULL);
    CHECK(strstr(affect_json_get_string(result, "statement", ""), "dialog reaches 0.7143"));
    const affect_json *split = affect_json_get(result, "split");
    char *text = affect_json_text(split);
    CHECK_STRING(text,
                 "{\"name\":\"dialog-disjoint\",\"fold\":1,\"held_out\":[\"d1\",\"d2\",\"d3\","
                 "\"d4\"],\"utterances\":{\"training\":2,\"validation\":1,\"test\":1},"
                 "\"warnings\":[]}");
    free(text);
    CHECK(affect_json_get_bool(affect_json_get(result, "subset"), "improvised", false));
    affect_json_free(result);
    result = report(0.75, false);
    CHECK(affect_json_get_bool(result, "beats_baselines", false));
    affect_json_free(result);
    result = report(1, true);
    CHECK(affect_json_is_null(affect_json_get(result, "beats_baselines")));
    CHECK(affect_json_is_null(affect_json_get(result, "audit")));
    affect_json_free(result);
}

static void test_class_warnings(void) {
    affect_json *warnings = affect_json_new_array();
    bool marked[N] = {true};
    affect_split_report_classes(warnings, &table, marked, "trains");
    char *text = affect_json_text(warnings);
    CHECK_STRING(text, "[\"no utterance of class b trains\",\"no utterance of class c trains\"]");
    free(text);
    affect_json_free(warnings);
}

int main(void) {
    manifest = make_manifest(true);
    CHECK_OK(affect_utterance_table_make(&table, manifest, err));
    for (int i = 0; i < N; i++) trains[i] = rows[i].trains, evaluated[i] = rows[i].evaluated;
    TEST_RUN(test_lookups);
    TEST_RUN(test_audit);
    TEST_RUN(test_a_corpus_without_names);
    TEST_RUN(test_nothing_to_compare);
    TEST_RUN(test_report);
    TEST_RUN(test_class_warnings);
    affect_utterance_table_free(&table);
    affect_json_free(manifest);
    return TEST_END();
}
