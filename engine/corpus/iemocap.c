/* Finding and reading the tree of IEMOCAP; see iemocap.h. Names: iemocap_names.c, the text of
 * labels and transcripts: iemocap_text.c. */
#include "engine/corpus/iemocap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES (16u << 20) /* of a label or transcript file; real ones have 100 kB */

static void describe_dialog(affect_corpus_dialog *dialog, const char *id) {
    *dialog = (affect_corpus_dialog){.is_dialog = true};
    snprintf(dialog->id, sizeof dialog->id, "%s", id);
    snprintf(dialog->session, sizeof dialog->session, "%.5s", id);
    snprintf(dialog->wearer, sizeof dialog->wearer, "%.6s", id);
    snprintf(dialog->scenario, sizeof dialog->scenario, "%.24s", id + 7);
    dialog->improvised = id[7] == 'i';
    dialog->scripted = !dialog->improvised;
}

static bool is_fatal(affect_status status) {
    return status == AFFECT_STATUS_NO_MEMORY;
}

static affect_status read_texts(affect_corpus_dialog *dialog, const affect_tree *tree,
                                const char *folder, affect_issues *issues, affect_error *err) {
    char path[AFFECT_PATH_MAX], *text = NULL;
    size_t size = 0;
    affect_error found = {0};
    affect_iemocap_text_path(path, folder, "EmoEvaluation", dialog->id);
    affect_status status = affect_tree_read(&text, &size, tree, path, MAX_TEXT_BYTES, &found);
    if (status != AFFECT_STATUS_OK) {
        affect_issues_add(issues, path, 0, "%s", found.message);
        return is_fatal(status) ? affect_fail(err, NO_MEMORY, "%s: no memory", path)
                                : AFFECT_STATUS_OK;
    }
    status = affect_iemocap_parse_labels(dialog, issues, path, text, size, err);
    free(text);
    AFFECT_TRY(status);
    affect_iemocap_text_path(path, folder, "transcriptions", dialog->id);
    status = affect_tree_read(&text, &size, tree, path, MAX_TEXT_BYTES, &found);
    if (status == AFFECT_STATUS_OK) {
        status = affect_iemocap_parse_transcripts(dialog, text, size, err);
        free(text);
        return status;
    }
    if (status != AFFECT_STATUS_NOT_FOUND) affect_issues_add(issues, path, 0, "%s", found.message);
    return AFFECT_STATUS_OK;
}

static affect_status add_dialog(affect_corpus *corpus, affect_issues *issues, const char *folder,
                                const char *id, affect_error *err) {
    affect_corpus_dialog *dialog = NULL;
    AFFECT_TRY(affect_corpus_add(&dialog, corpus, err));
    uint64_t n_issues = issues->n_all;
    describe_dialog(dialog, id);
    AFFECT_TRY(read_texts(dialog, corpus->tree, folder, issues, err));
    if (dialog->n_utterances) return affect_iemocap_place(dialog, folder, err);
    corpus->n_dialogs--;
    if (issues->n_all == n_issues) {
        char path[AFFECT_PATH_MAX];
        affect_iemocap_text_path(path, folder, "EmoEvaluation", id);
        affect_issues_add(issues, path, 0, "no utterances");
    }
    return AFFECT_STATUS_OK;
}

static bool has_dialog(const affect_corpus *corpus, const char *id) {
    for (size_t i = 0; i < corpus->n_dialogs; i++)
        if (strcmp(corpus->dialogs[i].id, id) == 0) return true;
    return false;
}

/* Files of labels are <dialog>.txt; the sub-folders Attribute/, Categorical/, Self-evaluation/ are
 * other things. */
static affect_status read_session(affect_corpus *corpus, affect_issues *issues, const char *folder,
                                  affect_error *err) {
    char path[AFFECT_PATH_MAX], **names = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/dialog/EmoEvaluation", folder);
    AFFECT_TRY(affect_tree_list(&names, &n, corpus->tree, path, err));
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        size_t length = strlen(names[i]);
        if (length < 5 || strcmp(names[i] + length - 4, ".txt") != 0) continue;
        snprintf(path, sizeof path, "%s/dialog/EmoEvaluation/%.200s", folder, names[i]);
        names[i][length - 4] = '\0';
        if (!affect_iemocap_is_dialog(names[i]))
            affect_issues_add(issues, path, 0, "not a dialog's name");
        else if (atoi(names[i] + 3) % 100 != atoi(folder + 7))
            affect_issues_add(issues, path, 0, "a dialog of another session");
        else if (has_dialog(corpus, names[i]))
            affect_issues_add(issues, path, 0, "the dialog came before");
        else
            status = add_dialog(corpus, issues, folder, names[i], err);
    }
    affect_tree_names_free(names, n);
    return status;
}

/* Numbers of folders in `name` that are sessions with labels. */
static affect_status count_sessions(size_t *n_sessions, const affect_tree *tree, const char *name,
                                    affect_error *err) {
    char **names = NULL;
    size_t n = 0;
    *n_sessions = 0;
    AFFECT_TRY(affect_tree_list(&names, &n, tree, name, err));
    for (size_t i = 0; i < n; i++) *n_sessions += affect_iemocap_is_session(names[i]);
    affect_tree_names_free(names, n);
    return AFFECT_STATUS_OK;
}

static affect_status find_root(affect_tree **found, affect_tree *top, affect_error *err) {
    char **names = NULL, *chosen = NULL;
    size_t n = 0, n_sessions = 0;
    affect_status status = count_sessions(&n_sessions, top, ".", err);
    if (status == AFFECT_STATUS_OK && n_sessions) {
        *found = top;
        return AFFECT_STATUS_OK;
    }
    if (status == AFFECT_STATUS_OK) status = affect_tree_list(&names, &n, top, ".", err);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        if (count_sessions(&n_sessions, top, names[i], NULL) != AFFECT_STATUS_OK || !n_sessions)
            continue;
        if (chosen)
            status = affect_fail(err, INVALID, "both %s and %s hold sessions (name one)", chosen,
                                 names[i]);
        chosen = names[i];
    }
    if (status == AFFECT_STATUS_OK)
        status = chosen ? affect_tree_open_below(found, top, chosen, err)
                        : affect_fail(err, NOT_FOUND,
                                      "no Session1, Session2, ... folder in it or one level below "
                                      "(need an IEMOCAP tree)");
    affect_tree_names_free(names, n);
    affect_tree_close(top);
    return status;
}

affect_status affect_iemocap_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                  const affect_json *options, affect_error *err) {
    char **names = NULL;
    size_t n = 0;
    (void)options;
    affect_status status = find_root(&corpus->tree, folder, err);
    if (status == AFFECT_STATUS_OK) status = affect_tree_list(&names, &n, corpus->tree, ".", err);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++)
        if (affect_iemocap_is_session(names[i]))
            status = read_session(corpus, issues, names[i], err);
    affect_tree_names_free(names, n);
    if (status == AFFECT_STATUS_OK && corpus->n_dialogs == 0)
        status =
            affect_fail(err, NOT_FOUND, "no labels: no Session*/dialog/EmoEvaluation/<dialog>.txt");
    return status;
}
