/* Splits by group: scikit-learn's folds, the presets on a corpus shaped as IEMOCAP, validation
 * parts inside training parts, subsets, and what is refused with what the corpus lacks. */
#include "engine/evaluation/split.h"
#include "tests/engine/evaluation/split_text.h"
#include "tests/test.h"

/* Five sessions of two speakers and four dialogs of ten turns: impro01 and impro02, script01_1 and
 * script01_2; the first speaker wears the markers in even dialogs. */
enum { SESSIONS = 5, DIALOGS = 4, TURNS = 10, N = SESSIONS * DIALOGS * TURNS, MAX_N = 1000 };

static const char *const class_names[] = {"angry", "happy", "neutral", "sad"};
static affect_json *manifest;
static affect_utterance_table table;
static uint8_t parts[MAX_N], again[MAX_N];

static affect_json *new_manifest(void) {
    affect_json *made = affect_json_new_object(), *names = affect_json_set_array(made, "classes");
    for (int c = 0; c < 4; c++) affect_json_append(names, affect_json_new_string(class_names[c]));
    affect_json_set_array(made, "utterances");
    return made;
}

static affect_json *add_row(affect_json *to, int label) {
    affect_json *rows = affect_json_get(to, "utterances");
    affect_json *row = affect_json_append(rows, affect_json_new_object());
    affect_json_set_string(row, "label", class_names[label]);
    return row;
}

static void set_text(affect_json *row, const char *name, const char *format, int a, int b) {
    char text[64];
    snprintf(text, sizeof text, format, a, b);
    affect_json_set_string(row, name, text);
}

static void add_votes(affect_json *row, int n_same) {
    affect_json *votes = affect_json_set_array(row, "votes");
    for (int v = 0; v < 4; v++) { /* the last is the actor's own, which does not count */
        affect_json *vote = affect_json_append(votes, affect_json_new_object());
        affect_json_set_string(vote, "by", v == 3 ? "F1" : "E2");
        affect_json *labels = affect_json_set_array(vote, "labels");
        affect_json_append(labels, affect_json_new_string("Surprise"));
        if (v < n_same) affect_json_append(labels, affect_json_new_string("Neutral"));
    }
}

static void add_turn(affect_json *to, int session, int dialog, int turn) {
    affect_json *row = add_row(to, (turn + dialog + session) % 4);
    set_text(row, "session", "Ses%02d", session, 0);
    set_text(row, "speaker", turn % 2 ? "Ses%02dM" : "Ses%02dF", session, 0);
    set_text(row, "scenario", dialog < 2 ? "impro%02d" : "script01_%d", dialog % 2 + 1, 0);
    set_text(row, "dialog", "Ses%02d_%d", session, dialog);
    set_text(row, "id", "%03d_%03d", session * 10 + dialog, turn);
    affect_json_set_string(row, "raw_label", "neu");
    affect_json_set_bool(row, "improvised", dialog < 2);
    affect_json_set_bool(row, "own_motion", turn % 2 == dialog % 2);
    affect_json_set_string(affect_json_set_object(row, "columns"), "language",
                           session < 3 ? "en" : "de");
    add_votes(row, turn % 2 ? 3 : 2);
}

static void make_corpus(void) {
    manifest = new_manifest();
    for (int s = 1; s <= SESSIONS; s++)
        for (int d = 0; d < DIALOGS; d++)
            for (int t = 0; t < TURNS; t++) add_turn(manifest, s, d, t);
    CHECK_OK(affect_utterance_table_make(&table, manifest, err));
}

static affect_status split(uint8_t *to, affect_utterance_table *of, const char *text,
                           affect_error *error) {
    affect_split_config config;
    affect_status status = read_config(&config, text, error);
    if (status != AFFECT_STATUS_OK) return status;
    status = affect_split_make(to, &config, of, error);
    affect_split_config_free(&config);
    return status;
}

static const char *text_of(size_t i, const char *attribute) {
    const char *text = affect_utterance_table_text(&table, i, attribute);
    return text ? text : "";
}

static size_t count(affect_part part) {
    size_t n = 0;
    for (size_t i = 0; i < table.n; i++) n += parts[i] == part;
    return n;
}

/* How many groups of the attribute have utterances of the part. */
static size_t count_groups(affect_part part, const char *attribute) {
    const affect_utterance_groups *groups;
    static bool seen[MAX_N];
    size_t n = 0;
    CHECK_OK(affect_utterance_table_group(&groups, &table, attribute, err));
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < table.n; i++) {
        if (parts[i] != part || groups->of[i] < 0) continue;
        n += !seen[groups->of[i]];
        seen[groups->of[i]] = true;
    }
    return n;
}

static bool is_disjoint(const char *attribute) {
    for (size_t i = 0; i < table.n; i++)
        for (size_t k = 0; k < i; k++)
            if (parts[i] != parts[k] && strcmp(text_of(i, attribute), text_of(k, attribute)) == 0)
                return false;
    return true;
}

static size_t n_folds_of(const char *text) {
    affect_split_config config;
    size_t n = 0;
    CHECK_OK(read_config(&config, text, err));
    CHECK_OK(affect_split_n_folds(&n, &config, &table, err));
    affect_split_config_free(&config);
    return n;
}

/* ---- scikit-learn ---- */

static void check_case(const affect_json *stored) {
    affect_json *corpus = new_manifest();
    affect_utterance_table of;
    char text[200];
    const affect_json *groups = affect_json_get(stored, "groups");
    for (const affect_json *g = affect_json_first(groups); g; g = affect_json_next(g))
        affect_json_set_string(add_row(corpus, 0), "g", affect_json_string(g, ""));
    CHECK_OK(affect_utterance_table_make(&of, corpus, err));
    char *folds = affect_json_text(affect_json_get(stored, "folds"));
    int n_wrong = 0, highest = 0;
    for (int fold = 0; fold <= highest; fold++) {
        snprintf(text, sizeof text,
                 "{\"kind\":\"group-out\",\"by\":\"g\",\"folds\":%s,\"fold\":%d,"
                 "\"validation\":0.3}",
                 folds, fold);
        CHECK_OK(split(parts, &of, text, err));
        size_t i = 0;
        const affect_json *f = affect_json_first(affect_json_get(stored, "fold_of"));
        for (; f; f = affect_json_next(f), i++) {
            int want = (int)affect_json_number(f, -1);
            if (want > highest) highest = want;
            n_wrong += (want == fold) != (parts[i] == AFFECT_PART_TEST);
        }
        CHECK(i == of.n);
    }
    CHECK(n_wrong == 0 && highest > 0);
    free(folds);
    affect_utterance_table_free(&of);
    affect_json_free(corpus);
}

static void test_scikit_learn(void) {
    affect_json *stored = NULL;
    CHECK_OK(affect_json_read(&stored, TEST_REFERENCE_DIR "/splits.json", 1 << 20, err));
    const affect_json *cases = affect_json_get(stored, "cases");
    CHECK(affect_json_size(cases) == 16);
    for (const affect_json *c = affect_json_first(cases); c; c = affect_json_next(c)) check_case(c);
    affect_json_free(stored);
}

/* ---- Presets ---- */

static void test_session_out(void) {
    CHECK(n_folds_of("\"session-out\"") == SESSIONS);
    for (int fold = 0; fold < SESSIONS; fold++) {
        char text[80], session[16];
        snprintf(text, sizeof text, "{\"kind\":\"session-out\",\"fold\":%d}", fold);
        snprintf(session, sizeof session, "Ses%02d", fold + 1);
        CHECK_OK(split(parts, &table, text, err));
        for (size_t i = 0; i < N; i++)
            CHECK((parts[i] == AFFECT_PART_TEST) == (strcmp(text_of(i, "session"), session) == 0));
        CHECK(count(AFFECT_PART_TEST) == 40 && count(AFFECT_PART_VALIDATION) == 20);
        CHECK(count_groups(AFFECT_PART_VALIDATION, "speaker") == 1);
        CHECK(is_disjoint("speaker"));
    }
    CHECK_OK(split(parts, &table, "{\"kind\":\"session-out\",\"fold\":0}", err));
    CHECK_OK(split(again, &table, "\"session-out\"", err)); /* fold 0 is the default */
    CHECK(memcmp(parts, again, N) == 0);
}

static void test_speaker_out(void) {
    CHECK(n_folds_of("\"speaker-out\"") == 2 * SESSIONS);
    for (int fold = 0; fold < 2 * SESSIONS; fold++) {
        char text[80];
        snprintf(text, sizeof text, "{\"kind\":\"speaker-out\",\"fold\":%d}", fold);
        CHECK_OK(split(parts, &table, text, err));
        CHECK(count_groups(AFFECT_PART_TEST, "speaker") == 1);
        CHECK(count_groups(AFFECT_PART_VALIDATION, "speaker") == 1);
        CHECK(is_disjoint("speaker"));
        const char *session = NULL; /* of the tested: the other speaker's too, and only theirs */
        for (size_t i = 0; i < N; i++)
            if (parts[i] == AFFECT_PART_TEST) session = text_of(i, "session");
        for (size_t i = 0; i < N; i++)
            CHECK((parts[i] == AFFECT_PART_TRAINING) !=
                  (session && strcmp(text_of(i, "session"), session) == 0));
    }
}

static void check_disjoint(const char *name, const char *attribute, size_t n_folds) {
    uint8_t tested[N] = {0};
    char text[80];
    snprintf(text, sizeof text, "\"%s\"", name);
    CHECK(n_folds_of(text) == n_folds);
    for (size_t fold = 0; fold < n_folds; fold++) {
        snprintf(text, sizeof text, "{\"kind\":\"%s\",\"fold\":%zu}", name, fold);
        CHECK_OK(split(parts, &table, text, err));
        CHECK(is_disjoint(attribute));
        CHECK(count(AFFECT_PART_VALIDATION) >= (N - count(AFFECT_PART_TEST)) / 10);
        for (size_t i = 0; i < N; i++) tested[i] += parts[i] == AFFECT_PART_TEST;
    }
    for (size_t i = 0; i < N; i++) CHECK(tested[i] == 1);
}

static void test_disjoint(void) {
    check_disjoint("dialog-disjoint", "dialog", 5);
    check_disjoint("script-disjoint", "scenario", 4); /* as many as there are */
}

static void test_improvised_only(void) {
    CHECK_OK(split(parts, &table, "{\"kind\":\"improvised-only\",\"fold\":2}", err));
    for (size_t i = 0; i < N; i++)
        CHECK((parts[i] == AFFECT_PART_NONE) == (strcmp(text_of(i, "improvised"), "false") == 0));
    CHECK(count(AFFECT_PART_TEST) == 20 && count(AFFECT_PART_VALIDATION) == 10);
    CHECK_OK(split(again, &table,
                   "{\"kind\":\"session-out\",\"fold\":2,\"subset\":{\"improvised\":true}}", err));
    CHECK(memcmp(parts, again, N) == 0);
}

static void test_paper_random(void) {
    CHECK_OK(split(parts, &table, "{\"kind\":\"paper-random\",\"seed\":5}", err));
    CHECK_OK(split(again, &table, "{\"kind\":\"random\",\"validation\":0.2,\"seed\":5}", err));
    CHECK(memcmp(parts, again, N) == 0);
    CHECK(count(AFFECT_PART_VALIDATION) == N / 5 && count(AFFECT_PART_TEST) == 0);
}

/* ---- Validation parts ---- */

static void test_validation_parts(void) {
    const char *const by_dialog = "{\"kind\":\"speaker-out\",\"fold\":1,\"validation\":{\"by\":"
                                  "\"dialog\",\"groups\":3}}";
    CHECK_OK(split(parts, &table, by_dialog, err));
    CHECK(count_groups(AFFECT_PART_VALIDATION, "dialog") == 3);
    CHECK(count(AFFECT_PART_TEST) == 20);
    CHECK_OK(split(parts, &table, "{\"kind\":\"session-out\",\"validation\":0.25}", err));
    CHECK(count(AFFECT_PART_VALIDATION) == 40 && count(AFFECT_PART_TEST) == 40);
    for (int c = 0; c < 4; c++) { /* each class alike */
        size_t n = 0;
        for (size_t i = 0; i < N; i++)
            n += parts[i] == AFFECT_PART_VALIDATION && table.labels[i] == c;
        CHECK(n == 10);
    }
    CHECK_OK(split(parts, &table,
                   "{\"kind\":\"session-out\",\"validation\":{\"by\":\"session\",\"share\":0.3}}",
                   err));
    CHECK(count(AFFECT_PART_VALIDATION) == 80); /* one of four is too few */
    CHECK_OK(split(parts, &table, "{\"test\":0.2,\"validation\":{\"by\":\"dialog\",\"share\":0.5}}",
                   err));
    CHECK(count(AFFECT_PART_TEST) == 40);
}

/* Seed and fold choose who validates; who is tested does not depend on the seed. */
static void test_a_seed_is_a_split(void) {
    int n_other = 0;
    CHECK_OK(split(parts, &table, "{\"kind\":\"session-out\",\"fold\":3,\"seed\":1}", err));
    CHECK_OK(split(again, &table, "{\"kind\":\"session-out\",\"fold\":3,\"seed\":1}", err));
    CHECK(memcmp(parts, again, N) == 0);
    for (int seed = 2; seed < 8; seed++) {
        char text[80];
        snprintf(text, sizeof text, "{\"kind\":\"session-out\",\"fold\":3,\"seed\":%d}", seed);
        CHECK_OK(split(again, &table, text, err));
        n_other += memcmp(parts, again, N) != 0;
        for (size_t i = 0; i < N; i++)
            CHECK((parts[i] == AFFECT_PART_TEST) == (again[i] == AFFECT_PART_TEST));
    }
    CHECK(n_other > 2);
}

/* Stored: who validates, by place among the speakers that are not tested, stays the same with later
 * versions; each fold draws anew. */
static void test_stored_draws(void) {
    static const int places[SESSIONS] = {0, 3, 7, 1, 4};
    for (int fold = 0; fold < SESSIONS; fold++) {
        char text[80];
        int place = -1, n = 0;
        snprintf(text, sizeof text, "{\"kind\":\"session-out\",\"fold\":%d,\"seed\":1}", fold);
        CHECK_OK(split(parts, &table, text, err));
        const affect_utterance_groups *groups;
        CHECK_OK(affect_utterance_table_group(&groups, &table, "speaker", err));
        for (size_t g = 0; g < groups->n; g++) {
            size_t i = 0;
            while (groups->of[i] != (int)g) i++;
            if (parts[i] == AFFECT_PART_VALIDATION) place = n;
            n += parts[i] != AFFECT_PART_TEST;
        }
        CHECK(n == 2 * SESSIONS - 2 && place == places[fold]);
    }
}

/* The same utterances in another order are in the same parts. */
static void test_order_does_not_matter(void) {
    static const char *const texts[] = {"\"session-out\"", "\"speaker-out\"", "\"dialog-disjoint\"",
                                        "\"script-disjoint\"", "\"improvised-only\""};
    affect_json *reversed = new_manifest(), *rows = affect_json_get(reversed, "utterances");
    affect_utterance_table other;
    for (size_t i = N; i-- > 0;) affect_json_append(rows, affect_json_copy(table.rows[i]));
    CHECK_OK(affect_utterance_table_make(&other, reversed, err));
    for (size_t s = 0; s < sizeof texts / sizeof *texts; s++) {
        CHECK_OK(split(parts, &table, texts[s], err));
        CHECK_OK(split(again, &other, texts[s], err));
        for (size_t i = 0; i < N; i++) CHECK(parts[i] == again[N - 1 - i]);
    }
    affect_utterance_table_free(&other);
    affect_json_free(reversed);
}

/* ---- Subsets ---- */

static void check_subset(const char *subset, size_t n) {
    char text[200];
    snprintf(text, sizeof text, "{\"kind\":\"random\",\"subset\":%s}", subset);
    CHECK_OK(split(parts, &table, text, err));
    CHECK(N - count(AFFECT_PART_NONE) == n);
    CHECK(count(AFFECT_PART_VALIDATION) == (n + 4) / 5);
}

static void test_subsets(void) {
    check_subset("{\"improvised\":true}", N / 2);
    check_subset("{\"own_motion\":true}", N / 2);
    check_subset("{\"own_motion\":true,\"improvised\":false}", N / 4);
    check_subset("{\"agreement\":1.0}", N / 2);
    check_subset("{\"agreement\":0.6}", N);
    check_subset("{\"label\":[\"angry\",\"sad\"]}", N / 2);
    check_subset("{\"session\":\"Ses03\"}", N / 5);
    check_subset("{\"language\":\"de\"}", 3 * N / 5); /* another column of the corpus */
    check_subset("{}", N);
}

/* ---- The corpus' own parts ---- */

static void test_given(void) {
    static const char *const words[] = {"Train", "development", "Test1", "train", "Test2"};
    affect_json *corpus = new_manifest();
    affect_utterance_table of;
    for (int i = 0; i < 5; i++) affect_json_set_string(add_row(corpus, 0), "split", words[i]);
    CHECK_OK(affect_utterance_table_make(&of, corpus, err));
    CHECK_OK(split(parts, &of, "\"given\"", err));
    CHECK(memcmp(parts, "\0\1\2\0\2", 5) == 0);
    affect_utterance_table_free(&of);
    affect_json_set_string(affect_json_at(affect_json_get(corpus, "utterances"), 1), "split",
                           "train"); /* then a part of it validates */
    CHECK_OK(affect_utterance_table_make(&of, corpus, err));
    CHECK_OK(split(parts, &of, "\"given\"", err));
    CHECK((parts[0] == 1) + (parts[1] == 1) + (parts[3] == 1) == 1);
    CHECK(parts[2] == 2 && parts[4] == 2);
    affect_utterance_table_free(&of);
    affect_json_set_string(affect_json_at(affect_json_get(corpus, "utterances"), 4), "split",
                           "dunno");
    CHECK_OK(affect_utterance_table_make(&of, corpus, err));
    affect_error error = {0};
    CHECK(split(parts, &of, "\"given\"", &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, "dunno") != NULL);
    affect_utterance_table_free(&of);
    affect_json_free(corpus);
}

/* ---- What is refused ---- */

static void check_refused(affect_utterance_table *of, const char *text, const char *pointer,
                          const char *words) {
    affect_error error = {0};
    CHECK(split(parts, of, text, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.pointer, pointer);
    bool named = strstr(error.message, words) != NULL;
    if (!named) fprintf(stderr, "    %s: %s\n", text, error.message);
    CHECK(named);
}

static void test_refused_configs(void) {
    check_refused(&table, "\"session\"", "/split", "session-out");
    check_refused(&table, "{\"kind\":\"magic\",\"by\":\"x\"}", "/split/kind", "group-out");
    check_refused(&table, "{\"kind\":\"group-out\"}", "/split/by", "missing");
    check_refused(&table, "{\"kind\":\"session-out\",\"by\":\"speaker\"}", "/split/by",
                  "not for session-out");
    check_refused(&table, "{\"kind\":\"random\",\"fold\":1}", "/split/fold", "not for random");
    check_refused(&table, "{\"kind\":\"paper-random\",\"validation\":0.3}", "/split/validation",
                  "not for paper-random");
    check_refused(&table, "{\"kind\":\"session-out\",\"folds\":1}", "/split/folds", "2..");
    check_refused(&table, "{\"kind\":\"session-out\",\"folds\":2.5}", "/split/folds", "2..");
    check_refused(&table, "{\"kind\":\"session-out\",\"folds\":\"most\"}", "/split/folds", "all");
    check_refused(&table, "{\"kind\":\"session-out\",\"fold\":-1}", "/split/fold", "bounds");
    check_refused(&table, "{\"kind\":\"session-out\",\"validation\":1}", "/split/validation",
                  "bounds");
    check_refused(&table, "{\"kind\":\"session-out\",\"validation\":[\"a\"]}", "/split/validation",
                  "array");
    check_refused(&table, "{\"kind\":\"session-out\",\"validation\":{\"groups\":1}}",
                  "/split/validation/by", "missing");
    check_refused(&table,
                  "{\"kind\":\"session-out\",\"validation\":{\"by\":\"speaker\",\"groups\":1,"
                  "\"share\":0.1}}",
                  "/split/validation", "one of");
    check_refused(&table, "{\"subset\":[]}", "/split/subset", "object");
    check_refused(&table, "{\"subset\":{\"agreement\":2}}", "/split/subset/agreement", "0..1");
    check_refused(&table, "{\"subset\":{\"label\":[]}}", "/split/subset/label", "texts");
    check_refused(&table, "{\"kind\":\"improvised-only\",\"subset\":{\"improvised\":false}}",
                  "/split/subset", "contradicts");
    char many[1000] = "{\"subset\":{\"label\":[\"sad\"",
         conditions[1000] = "{\"subset\":{\"c\":true";
    for (int i = 1; i <= AFFECT_MAX_WANTED; i++) strcat(many, ",\"sad\"");
    check_refused(&table, strcat(many, "]}}"), "/split/subset/label", "64");
    for (int i = 0; i < AFFECT_MAX_CONDITIONS; i++)
        sprintf(conditions + strlen(conditions), ",\"c%d\":true", i);
    check_refused(&table, strcat(conditions, "}}"), "/split/subset", "17 conditions");
}

static void test_what_the_corpus_lacks(void) {
    check_refused(&table, "{\"kind\":\"group-out\",\"by\":\"gender\"}", "/split", "no gender");
    check_refused(&table, "\"given\"", "/split", "no split of its own");
    check_refused(&table, "{\"kind\":\"session-out\",\"fold\":5}", "/split/fold", "0..4");
    check_refused(&table, "{\"kind\":\"session-out\",\"folds\":6}", "/split/folds", "5 groups");
    check_refused(&table, "{\"kind\":\"session-out\",\"subset\":{\"session\":\"Ses01\"}}", "/split",
                  "one session (Ses01)");
    check_refused(&table, "{\"subset\":{\"gender\":\"F\"}}", "/split/subset/gender",
                  "does not have");
    check_refused(&table, "{\"subset\":{\"label\":[\"joy\"]}}", "/split/subset/label",
                  "no utterance");
    check_refused(&table, "{\"subset\":{\"session\":\"Ses01\",\"language\":\"de\"}}",
                  "/split/subset", "all conditions");
    check_refused(&table,
                  "{\"kind\":\"session-out\",\"validation\":{\"by\":\"session\",\"groups\":4}}",
                  "/split/validation", "4 of session");
    affect_json *corpus = new_manifest();
    affect_utterance_table of;
    affect_json_set_string(add_row(corpus, 0), "speaker", "a");
    affect_json_set_string(add_row(corpus, 0), "speaker", "b");
    add_row(corpus, 0);
    CHECK_OK(affect_utterance_table_make(&of, corpus, err));
    check_refused(&of, "\"speaker-out\"", "/split", "1 of 3 utterances have no speaker");
    check_refused(&of, "\"session-out\"", "/split", "the corpus has no session");
    affect_utterance_table_free(&of);
    affect_json_free(corpus);
}

/* ---- Printing ---- */

static void check_print(const char *text) {
    char *printed[2];
    affect_json *json = NULL;
    CHECK_OK(affect_json_parse(&json, text, strlen(text), err));
    for (int i = 0; i < 2; i++) {
        affect_split_config config;
        CHECK_OK(affect_split_config_parse(&config, json, "/split", err));
        CHECK_OK(affect_split_make(i ? again : parts, &config, &table, err));
        affect_json_free(json);
        json = affect_json_new_object();
        affect_split_config_print(json, &config);
        printed[i] = affect_json_text(json);
        affect_split_config_free(&config);
    }
    affect_json_free(json);
    CHECK_STRING(printed[1], printed[0]);
    CHECK(memcmp(parts, again, N) == 0);
    free(printed[0]);
    free(printed[1]);
}

static void test_print_reads_back(void) {
    char text[80];
    for (const affect_split_kind *kind = affect_split_kinds; kind->name; kind++) {
        if (kind->method == AFFECT_SPLIT_SPEAKERS || kind->method == AFFECT_SPLIT_GIVEN ||
            (kind->method == AFFECT_SPLIT_GROUP_OUT && !kind->by))
            continue;
        snprintf(text, sizeof text, "\"%s\"", kind->name);
        check_print(text);
    }
    check_print("{\"kind\":\"group-out\",\"by\":\"dialog\",\"folds\":7,\"fold\":3,\"seed\":9}");
    check_print("{\"kind\":\"group-out\",\"by\":\"speaker\",\"validation\":0.1}");
    check_print("{\"kind\":\"random\",\"validation\":{\"by\":\"speaker\",\"groups\":2},"
                "\"test\":0.1,\"subset\":{\"improvised\":false}}");
}

int main(void) {
    make_corpus();
    TEST_RUN(test_scikit_learn);
    TEST_RUN(test_session_out);
    TEST_RUN(test_speaker_out);
    TEST_RUN(test_disjoint);
    TEST_RUN(test_improvised_only);
    TEST_RUN(test_paper_random);
    TEST_RUN(test_validation_parts);
    TEST_RUN(test_a_seed_is_a_split);
    TEST_RUN(test_stored_draws);
    TEST_RUN(test_order_does_not_matter);
    TEST_RUN(test_subsets);
    TEST_RUN(test_given);
    TEST_RUN(test_refused_configs);
    TEST_RUN(test_what_the_corpus_lacks);
    TEST_RUN(test_print_reads_back);
    affect_utterance_table_free(&table);
    affect_json_free(manifest);
    return TEST_END();
}
