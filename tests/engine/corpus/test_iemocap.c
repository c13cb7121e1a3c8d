/* Labels, transcripts, names and the selection of archive entries: small texts with every quirk. */
#include "engine/corpus/iemocap.h"
#include "tests/test.h"

#include <locale.h>

static const char header[] = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n";

static void begin(affect_corpus_dialog *dialog) {
    *dialog = (affect_corpus_dialog){.id = "Ses01F_impro01", .wearer = "Ses01F"};
}

static void end(affect_corpus_dialog *dialog) {
    for (size_t i = 0; i < dialog->n_utterances; i++) {
        free(dialog->utterances[i].transcript);
        affect_json_free(dialog->utterances[i].votes);
        affect_json_free(dialog->utterances[i].attributes);
    }
    free(dialog->utterances);
}

/* Parses header + rows. */
static void parse(affect_corpus_dialog *dialog, affect_issues *issues, const char *rows) {
    char *text = malloc(strlen(header) + strlen(rows) + 1);
    strcat(strcpy(text, header), rows);
    CHECK_OK(affect_iemocap_parse_labels(dialog, issues, "labels.txt", text, strlen(text), err));
    free(text);
}

static const char *reason(const affect_issues *issues, size_t index, double line) {
    const affect_json *row = affect_json_at(issues->rows, index);
    CHECK(affect_json_get_number(row, "line", -1) == line);
    CHECK_STRING(affect_json_get_string(row, "file", ""), "labels.txt");
    return affect_json_get_string(row, "reason", "");
}

static void test_names(void) {
    static const char *const good[] = {"Ses01F_impro01", "Ses05M_script01_1b", "Ses03M_impro05a",
                                       "Ses02F_script03_2", "Ses12M_script01_10"};
    static const char *const bad[] = {"",
                                      "Ses01F",
                                      "Ses01F_impro1",
                                      "Ses1F_impro01",
                                      "Ses01X_impro01",
                                      "Ses01F_impro01_F000",
                                      "Ses01F_impro01/../x",
                                      "Ses01F_script01",
                                      "ses01F_impro01",
                                      "Ses01F_impro01ab",
                                      "._Ses01F_impro01"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(affect_iemocap_is_dialog(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!affect_iemocap_is_dialog(bad[i]));
    CHECK(affect_iemocap_is_utterance("Ses05M_script01_1b_F012"));
    CHECK(affect_iemocap_is_utterance("Ses01F_impro01_M000"));
    CHECK(!affect_iemocap_is_utterance("Ses01F_impro01_MXX0"));
    CHECK(!affect_iemocap_is_utterance("Ses01F_impro01_M00"));
    CHECK(!affect_iemocap_is_utterance("Ses01F_impro01_M000.txt"));
    CHECK(!affect_iemocap_is_utterance("Ses01F_impro01"));
}

static void test_blocks(void) {
    affect_corpus_dialog dialog;
    affect_issues issues = {0};
    begin(&dialog);
    parse(&dialog, &issues,
          "[6.2901 - 8.2357]\tSes01F_impro01_M000\tneu\t[2.5000, 2.0000, 3.5000]\r\n"
          "C-E2:\tNeutral;\t()\r\n"
          "C-F1:\tNeutral; Anger;\t(free text)\r\n"
          "A-E3:\tval 3; act 2; dom  2;\t()\r\n"
          "A-M1:\tval 4; act ; dom  1;\t()\r\n"
          "\r\n"
          "[0.5 - 6.0]\tSes01F_impro01_F000\texc\t[4.0000, 4.5000, 3.0000]"); /* no newline */
    CHECK(issues.n_all == 0 && dialog.n_utterances == 2);
    const affect_corpus_utterance *f = &dialog.utterances[0], *m = &dialog.utterances[1];
    CHECK_STRING(f->id, "Ses01F_impro01_F000"); /* sorted */
    CHECK_STRING(f->speaker, "Ses01F");
    CHECK(f->own_motion && !m->own_motion);
    CHECK_STRING(m->speaker, "Ses01M");
    CHECK_STRING(m->label, "neu");
    CHECK(m->start_s == 6.2901 && m->end_s == 8.2357); /* exactly what strtod reads */
    CHECK(m->valence == 2.5 && m->activation == 2.0 && m->dominance == 3.5);
    char *votes = affect_json_text(m->votes), *ratings = affect_json_text(m->attributes);
    CHECK_STRING(votes, "[{\"by\":\"E2\",\"labels\":[\"Neutral\"]},"
                        "{\"by\":\"F1\",\"labels\":[\"Neutral\",\"Anger\"]}]");
    CHECK_STRING(ratings, "[{\"val\":3,\"act\":2,\"dom\":2,\"by\":\"E3\"},"
                          "{\"val\":4,\"dom\":1,\"by\":\"M1\"}]");
    free(votes);
    free(ratings);
    end(&dialog);
    affect_issues_free(&issues);
}

static void test_malformed_rows(void) {
    affect_corpus_dialog dialog;
    affect_issues issues = {0};
    begin(&dialog);
    parse(&dialog, &issues,
          "[x - 8.2]\tSes01F_impro01_F001\tneu\t[2, 2, 2]\n"     /* 3 */
          "C-E1:\tNeutral;\t()\n"                                /* of that row: silent */
          "[8.2 - 6.1]\tSes01F_impro01_F002\tneu\t[2, 2, 2]\n"   /* 5 */
          "[1.0 - 2.0]\tSes01F_impro02_F000\tneu\t[2, 2, 2]\n"   /* 6 */
          "[1.0 - 2.0]\t../../etc/passwd\tneu\t[2, 2, 2]\n"      /* 7 */
          "[1.0 - 2.0]\tSes01F_impro01_F003\tNEUTRAL\t[2, 2]\n"  /* 8 */
          "[1.0 - 2.0]\tSes01F_impro01_F004\tang\t[2, two, 2]\n" /* 9: label kept */
          "[1.0 - 2.0]\tSes01F_impro01_F004\tang\t[2, 2, 2]\n"   /* 10: twice */
          "no tabs at all\n"                                     /* 11 */
          "[1e1 - 2e1]\tSes01F_impro01_F005\tang\t[2, 2, 2]\n"   /* 12 */
          "[2.0 - 3.0]\tSes01F_impro01_F006\tsad\t[2, 2, 2]\n"
          "C-E1 Neutral;\n"              /* 14: vote unreadable */
          "C-E2:\t;\t()\n"               /* 15: none given: no fault */
          "A-E1:\tval x; act 2;\t()\n"); /* 16 */
    CHECK(dialog.n_utterances == 2);
    CHECK_STRING(dialog.utterances[0].id, "Ses01F_impro01_F004");
    CHECK_STRING(dialog.utterances[1].id, "Ses01F_impro01_F006");
    CHECK(dialog.utterances[0].valence == 0 && dialog.utterances[0].dominance == 0);
    static const int lines[] = {3, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16};
    CHECK(issues.n_all == sizeof lines / sizeof *lines);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        CHECK(strlen(reason(&issues, i, lines[i])) > 5);
    CHECK(strstr(reason(&issues, 2, 6), "another dialog") != NULL);
    CHECK(strstr(reason(&issues, 6, 10), "came before") != NULL);
    end(&dialog);
    affect_issues_free(&issues);
}

static void test_hostile_text(void) {
    affect_corpus_dialog dialog;
    affect_issues issues = {0};
    begin(&dialog);
    size_t n = 10u << 20; /* one line of 10 MB, NUL bytes, then a good row */
    char *text = malloc(n + 200);
    memset(text, 'x', n);
    int tail = sprintf(text + n,
                       "\n[0.0 - 1.0]\tSes01F%cimpro01_F000\tneu\t[2, 2, 2]\n"
                       "[0.0 - 1.0]\tSes01F_impro01_F001\tneu\t[2, 2, 2]\n",
                       0);
    CHECK_OK(
        affect_iemocap_parse_labels(&dialog, &issues, "labels.txt", text, n + (size_t)tail, err));
    CHECK(dialog.n_utterances == 1 && issues.n_all == 2);
    CHECK(strstr(reason(&issues, 0, 1), "longer") != NULL);
    CHECK(strstr(reason(&issues, 1, 2), "NUL") != NULL);
    free(text);
    end(&dialog);
    affect_issues_free(&issues);
}

static void test_locale(void) {
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) {
        fprintf(stderr, "  (no German locale here: only the C locale was tried)\n");
        return;
    }
    test_blocks();
    setlocale(LC_ALL, "C");
}

static void test_transcripts(void) {
    affect_corpus_dialog dialog;
    affect_issues issues = {0};
    begin(&dialog);
    parse(&dialog, &issues,
          "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2, 2, 2]\n"
          "[9.0000 - 9.5000]\tSes01F_impro01_M000\tneu\t[2, 2, 2]\n");
    static const char text[] = "M: Yeah.\r\n"
                               "Ses01F_impro01_FXX0 [001.0000-002.0000]: not counted\r\n"
                               "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me: who?  \r\n"
                               "Ses01F_impro01_F009 [006.2901-008.2357]: unknown\r\n"
                               "Ses01F_impro01_F000 [006.2901-008.2357]: again";
    CHECK_OK(affect_iemocap_parse_transcripts(&dialog, text, sizeof text - 1, err));
    CHECK_STRING(dialog.utterances[0].transcript, "Excuse me: who?");
    CHECK(dialog.utterances[1].transcript == NULL);
    end(&dialog);
    affect_issues_free(&issues);
}

static void check_select(const char *name, const char *want) {
    char path[AFFECT_PATH_MAX] = "";
    bool taken = affect_iemocap_select(name, path);
    CHECK(taken == (want != NULL));
    if (taken && want) CHECK_STRING(path, want);
}

static void test_selection(void) {
    check_select("IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
                 "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt");
    check_select("Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F000.wav",
                 "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F000.wav");
    check_select("a/b/Session2/dialog/MOCAP_hand/Ses02F_impro01.txt",
                 "Session2/dialog/MOCAP_hand/Ses02F_impro01.txt");
    check_select("Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt", NULL);
    check_select("Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt", NULL);
    check_select("Session1/dialog/avi/DivX/Ses01F_impro01.avi", NULL);
    check_select("Session1/dialog/wav/Ses01F_impro01.txt", NULL);
    check_select("Session1/sentences/wav/x/Ses01F_impro01_F000.wav", NULL);
    check_select("Sessions/dialog/wav/Ses01F_impro01.wav", NULL);
    check_select("README.txt", NULL);
    check_select("", NULL);
}

static void test_issue_list(void) {
    affect_issues issues = {0}, all = {0};
    for (int i = 0; i < AFFECT_ISSUES_KEPT + 5; i++)
        affect_issues_add(&issues, "f", (uint64_t)i, "row %d", i);
    CHECK(issues.n_all == AFFECT_ISSUES_KEPT + 5);
    CHECK(affect_json_size(issues.rows) == AFFECT_ISSUES_KEPT);
    affect_issues_add(&all, "g", 0, "first");
    affect_issues_join(&all, issues.rows, issues.n_all);
    CHECK(all.n_all == AFFECT_ISSUES_KEPT + 6);
    CHECK(affect_json_size(all.rows) == AFFECT_ISSUES_KEPT);
    affect_issues_free(&issues);
    affect_issues_free(&all);
}

int main(void) {
    TEST_RUN(test_names);
    TEST_RUN(test_blocks);
    TEST_RUN(test_malformed_rows);
    TEST_RUN(test_hostile_text);
    TEST_RUN(test_locale);
    TEST_RUN(test_transcripts);
    TEST_RUN(test_selection);
    TEST_RUN(test_issue_list);
    return TEST_END();
}
