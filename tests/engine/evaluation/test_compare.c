/* Tables of predictions as files, what is compared of two, and how that is printed. */
#include "engine/core/file.h"
#include "engine/evaluation/compare.h"
#include "tests/engine/core/scratch.h"
#include "tests/test.h"

#define HEADER "utterance,speaker,dialog,label,predicted,"

static affect_status read_text(affect_prediction_table *table, const char *text,
                               affect_error *err) {
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, scratch, "predictions.csv"));
    AFFECT_TRY(affect_file_write(path, text, strlen(text), err));
    return affect_prediction_table_read(table, path, 1 << 20, err);
}

static void test_reading(void) {
    affect_prediction_table t;
    CHECK_OK(read_text(
        &t, HEADER "\"a, b\",c\nu2,s1,,c,c,0.1,0.9\nu1,\"s,2\",d1,\"a, b\",c,0.4,0.6\n", err));
    CHECK(t.n == 2 && t.n_classes == 2);
    CHECK_STRING(t.classes[0], "a, b");
    CHECK_STRING(t.rows[0].utterance, "u1");
    CHECK_STRING(t.rows[0].speaker, "s,2");
    CHECK_STRING(t.rows[1].dialog, "");
    CHECK(t.rows[0].label == 0 && t.rows[0].predicted == 1 && t.rows[1].label == 1);
    affect_prediction_table_free(&t);
}

static void test_what_is_refused(void) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not a table of predictions"},
        {"utterance,label,predicted,a\nu,a,a,1\n", "not a table of predictions"},
        {HEADER "a,a\n", "two columns"},
        {HEADER "a,b\nu,s,d,a,a,1\n", "line 2 has 6 cells"},
        {HEADER "a,b\nu,s,d,a,z,1,0\n", "\"z\" has no column"},
        {HEADER "a,b\nu,s,d,a,a,1,0\nv,s,d,a,a,1,0\nu,s,d,b,b,0,1\n", "\"u\" occurs twice"},
        {HEADER "a,b\nu,\"s,d,a,a,1,0\n", "line 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_prediction_table t;
        affect_error error = {0};
        CHECK(read_text(&t, cases[i].text, &error) == AFFECT_STATUS_MALFORMED);
        CHECK(strstr(error.message, cases[i].why) != NULL);
        if (!strstr(error.message, cases[i].why)) fprintf(stderr, "    %s\n", error.message);
        CHECK(t.n == 0 && !t.rows);
    }
}

/* Classes in another order, one that the first does not know, utterances of one alone. */
static void test_pairs(void) {
    affect_prediction_table tables[2];
    const char *const names[] = {"=cmd|'/c calc'", "b_1 & 50%"};
    CHECK_OK(read_text(&tables[0],
                       HEADER "x,y\nu1,s1,d,x,x,1,0\nu2,s1,d,y,x,1,0\nu3,s2,d,y,y,0,1\n"
                              "u5,s2,d,y,y,0,1\n",
                       err));
    CHECK_OK(read_text(&tables[1],
                       HEADER "z,y,x\nu2,s1,d,y,y,0,1,0\nu3,s2,d,y,z,1,0,0\nu1,s1,d,x,x,0,0,1\n"
                              "u4,s2,d,x,x,0,0,1\nu6,s2,d,x,x,0,0,1\n",
                       err));
    affect_json *json = NULL;
    CHECK_OK(affect_compare(&json, tables, names, 2, err));
    const affect_json *row = affect_json_at(affect_json_get(json, "comparisons"), 0);
    CHECK(affect_json_get_number(row, "common", 0) == 3);
    CHECK(affect_json_get_number(row, "only_first", 0) == 1);
    CHECK(affect_json_get_number(row, "only_second", 0) == 2);
    const affect_json *groups = affect_json_get(row, "groups");
    CHECK(affect_json_get_number(groups, "speaker", 0) == 2);
    CHECK(affect_json_is_null(affect_json_get(groups, "dialog"))); /* one */
    const affect_json *measures = affect_json_get(row, "measures");
    const affect_json *accuracy = affect_json_get(measures, "accuracy");
    CHECK_NEAR(affect_json_get_number(accuracy, "first", 0), 2.0 / 3, 1e-15);
    CHECK_NEAR(affect_json_get_number(accuracy, "second", 0), 2.0 / 3, 1e-15);
    CHECK(affect_json_get_number(accuracy, "difference", 1) == 0);
    CHECK(affect_json_size(affect_json_get(accuracy, "speaker")) == 2);
    CHECK(affect_json_is_null(affect_json_get(accuracy, "dialog")));
    const affect_json *f1 = affect_json_get(measures, "f1_macro"); /* of x, y, z */
    CHECK_NEAR(affect_json_get_number(f1, "first", 0), (2.0 / 3 + 2.0 / 3) / 3, 1e-15);
    CHECK_NEAR(affect_json_get_number(f1, "second", 0), (1 + 2.0 / 3) / 3, 1e-15);
    const affect_json *test = affect_json_get(row, "mcnemar");
    CHECK(affect_json_get_number(test, "first_right", 0) == 1);
    CHECK(affect_json_get_number(test, "second_right", 0) == 1);
    CHECK_STRING(affect_json_get_string(test, "test", ""), "exact");

    affect_buffer text = {0};
    affect_compare_print(&text, json, 1);
    CHECK(strncmp(affect_buffer_string(&text), "first,second,common,", 20) == 0);
    CHECK(strstr(affect_buffer_string(&text), "\n'=cmd|'/c calc',b_1 & 50%,3,1,2,accuracy,0.666"));
    affect_buffer_clear(&text);
    affect_compare_print(&text, json, 2);
    CHECK(strstr(
        affect_buffer_string(&text),
        "\n| =cmd\\|'/c calc' | b\\_1 \\& 50% | 3 | accuracy | 0.6667 | 0.6667 | 0.0000 | "));
    CHECK(strstr(affect_buffer_string(&text), "3 utterances in common, 1 only in =cmd\\|"));
    affect_buffer_clear(&text);
    affect_compare_print(&text, json, 3);
    CHECK(
        strstr(affect_buffer_string(&text), "\n=cmd\\textbar{}'/c calc' & b\\_1 \\& 50\\% & 3 & "));
    CHECK(strstr(affect_buffer_string(&text), " \\\\\n\\hline\n\\end{tabular}\n% "));
    affect_buffer_free(&text);
    affect_json_free(json);
    affect_prediction_table_free(&tables[0]);
    affect_prediction_table_free(&tables[1]);
}

static void check_refused(const char *first, const char *second, const char *why) {
    affect_prediction_table tables[2];
    const char *const names[] = {"one", "two"};
    affect_json *json = NULL;
    affect_error error = {0};
    CHECK_OK(read_text(&tables[0], first, err));
    CHECK_OK(read_text(&tables[1], second, err));
    CHECK(affect_compare(&json, tables, names, 2, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.message, why);
    CHECK(!json);
    CHECK(affect_compare(&json, tables, names, 1, &error) == AFFECT_STATUS_INVALID);
    affect_prediction_table_free(&tables[0]);
    affect_prediction_table_free(&tables[1]);
}

static void test_what_cannot_be_compared(void) {
    check_refused(HEADER "a,b\nu1,,,a,a,1,0\n", HEADER "a,b\nu2,,,a,a,1,0\n",
                  "one and two: the results have no utterance in common");
    check_refused(HEADER "a,b\n", HEADER "a,b\nu2,,,a,a,1,0\n",
                  "one and two: the results have no utterance in common");
    check_refused(HEADER "a,b\nu1,,,a,a,1,0\n", HEADER "b,a\nu1,,,b,a,1,0\n",
                  "one and two: the utterance \"u1\" is labelled a in one result and b in the "
                  "other");
}

/* Each format's own characters, line ends, and numbers that are none. */
static void test_tables(void) {
    static const char *const names[] = {"a", "b", NULL};
    static const char *const want[] = {"a,b\n\"'=1,\"\"2\"\"\",-0.5\n\"x\ny\",\n",
                                       "| a | b |\n|---|---|\n| =1,\"2\" | -0.50 |\n| x y | - |\n",
                                       "\\begin{tabular}{ll}\n\\hline\na & b \\\\\n\\hline\n"
                                       "=1,\\textquotedbl{}2\\textquotedbl{} & -0.50 \\\\\nx y & - "
                                       "\\\\\n\\hline\n\\end{tabular}\n"};
    for (int format = 0; format < AFFECT_TEXT_TABLE_COUNT; format++) {
        affect_buffer text = {0};
        affect_text_table table;
        affect_text_table_begin(&table, &text, (affect_text_table_format)format, names);
        affect_text_table_text(&table, "=1,\"2\"");
        affect_text_table_number(&table, -0.5, 2);
        affect_text_table_text(&table, "x\ny");
        affect_text_table_number(&table, NAN, 2);
        affect_text_table_end(&table);
        CHECK_STRING(affect_buffer_string(&text), want[format]);
        affect_buffer_free(&text);
    }
    affect_buffer text = {0};
    affect_text_table_escape(&text, AFFECT_TEXT_TABLE_LATEX, "\\x{1}$2^3~#%<>|");
    CHECK_STRING(affect_buffer_string(&text),
                 "\\textbackslash{}x\\{1\\}\\$2\\textasciicircum{}3\\textasciitilde{}\\#\\%"
                 "\\textless{}\\textgreater{}\\textbar{}");
    affect_buffer_clear(&text);
    affect_text_table_escape(&text, AFFECT_TEXT_TABLE_MARKDOWN, "[a](b) <i> `*_|\\");
    CHECK_STRING(affect_buffer_string(&text), "\\[a\\](b) \\<i\\> \\`\\*\\_\\|\\\\");
    affect_buffer_free(&text);
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_reading);
    TEST_RUN(test_what_is_refused);
    TEST_RUN(test_pairs);
    TEST_RUN(test_what_cannot_be_compared);
    TEST_RUN(test_tables);
    scratch_end();
    return TEST_END();
}
