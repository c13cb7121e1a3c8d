/* Names and places of IEMOCAP's files: the grammar that a name must fit before it becomes a path;
 * see iemocap.h. */
#include "engine/corpus/iemocap.h"

#include <stdio.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Steps over low..high digits; NULL when there are fewer. */
static const char *skip_digits(const char *text, int low, int high) {
    int n = 0;
    while (n < high && is_digit(text[n])) n++;
    return n >= low ? text + n : NULL;
}

/* Steps over "Ses01F_impro01a" or "Ses01F_script01_1b"; NULL when it is not there. */
static const char *skip_dialog(const char *text) {
    if (strncmp(text, "Ses", 3) != 0 || !is_digit(text[3]) || !is_digit(text[4]) ||
        (text[5] != 'F' && text[5] != 'M') || text[6] != '_')
        return NULL;
    const char *at = text + 7;
    if (strncmp(at, "impro", 5) == 0) {
        at = skip_digits(at + 5, 2, 2);
    } else if (strncmp(at, "script", 6) == 0) {
        at = skip_digits(at + 6, 2, 2);
        if (at) at = *at == '_' ? skip_digits(at + 1, 1, 2) : NULL;
    } else {
        return NULL;
    }
    if (at && *at >= 'a' && *at <= 'z') at++;
    return at;
}

bool affect_iemocap_is_dialog(const char *text) {
    const char *end = skip_dialog(text);
    return end && *end == '\0';
}

bool affect_iemocap_is_utterance(const char *text) {
    const char *at = skip_dialog(text);
    if (!at || at[0] != '_' || (at[1] != 'F' && at[1] != 'M')) return false;
    at = skip_digits(at + 2, 3, 4);
    return at && *at == '\0' && at - text < AFFECT_IEMOCAP_NAME_SIZE;
}

bool affect_iemocap_is_session(const char *text) {
    if (strncmp(text, "Session", 7) != 0) return false;
    const char *end = skip_digits(text + 7, 1, 2);
    return end && *end == '\0';
}

void affect_iemocap_text_path(char path[AFFECT_PATH_MAX], const char *folder, const char *kind,
                              const char *dialog) {
    snprintf(path, AFFECT_PATH_MAX, "%s/dialog/%s/%s.txt", folder, kind, dialog);
}

static const char *const stream_folders[AFFECT_CORPUS_N_KNOWN] = {
    [AFFECT_CORPUS_SOUND] = "wav",
    [AFFECT_CORPUS_FACE] = "MOCAP_rotated",
    [AFFECT_CORPUS_HEAD] = "MOCAP_head",
    [AFFECT_CORPUS_HAND] = "MOCAP_hand"};

affect_status affect_iemocap_place(affect_corpus_dialog *dialog, const char *folder,
                                   affect_error *err) {
    bool complete = true;
    for (int s = 0; s < AFFECT_CORPUS_N_KNOWN; s++) {
        char path[AFFECT_PATH_MAX];
        const char *extension = s == AFFECT_CORPUS_SOUND ? "wav" : "txt";
        snprintf(path, sizeof path, "%s/dialog/%s/%s.%s", folder, stream_folders[s], dialog->id,
                 extension);
        complete = complete && (dialog->files[s] = strdup(path));
        for (size_t i = 0; i < dialog->n_utterances && complete; i++) {
            snprintf(path, sizeof path, "%s/sentences/%s/%s/%s.%s", folder, stream_folders[s],
                     dialog->id, dialog->utterances[i].id, extension);
            complete = (dialog->utterances[i].files[s] = strdup(path));
        }
    }
    return complete ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "%s: no memory", dialog->id);
}

/* Takes ".txt" or ".wav" off; false when it is not there. */
static bool strip_extension(char *name, const char *extension) {
    size_t n = strlen(name), e = strlen(extension);
    if (n <= e || strcmp(name + n - e, extension) != 0) return false;
    name[n - e] = '\0';
    return true;
}

static bool select_dialog_file(char path[AFFECT_PATH_MAX], const char *session, const char *kind,
                               char *file) {
    static const char *const kinds[] = {"EmoEvaluation", "transcriptions", "MOCAP_rotated",
                                        "MOCAP_head",    "MOCAP_hand",     "wav"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *extension = strcmp(kinds[i], "wav") == 0 ? ".wav" : ".txt";
        if (strcmp(kind, kinds[i]) != 0) continue;
        if (!strip_extension(file, extension) || !affect_iemocap_is_dialog(file)) return false;
        snprintf(path, AFFECT_PATH_MAX, "%s/dialog/%s/%s%s", session, kinds[i], file, extension);
        return true;
    }
    return false;
}

static bool select_sentence_file(char path[AFFECT_PATH_MAX], const char *session, const char *kind,
                                 const char *dialog, char *file) {
    static const char *const kinds[] = {"MOCAP_rotated", "MOCAP_head", "MOCAP_hand", "wav"};
    if (!affect_iemocap_is_dialog(dialog)) return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *extension = strcmp(kinds[i], "wav") == 0 ? ".wav" : ".txt";
        if (strcmp(kind, kinds[i]) != 0) continue;
        if (!strip_extension(file, extension) || !affect_iemocap_is_utterance(file)) return false;
        snprintf(path, AFFECT_PATH_MAX, "%s/sentences/%s/%s/%s%s", session, kinds[i], dialog, file,
                 extension);
        return true;
    }
    return false;
}

bool affect_iemocap_select(const char *name, char path[AFFECT_PATH_MAX]) {
    char copy[AFFECT_PATH_MAX], *parts[40], *state = NULL;
    size_t n = 0;
    if (strlen(name) >= sizeof copy) return false;
    strcpy(copy, name);
    for (char *part = strtok_r(copy, "/", &state); part; part = strtok_r(NULL, "/", &state)) {
        if (n == sizeof parts / sizeof *parts) return false;
        parts[n++] = part;
    }
    if (n >= 4 && strcmp(parts[n - 3], "dialog") == 0 && affect_iemocap_is_session(parts[n - 4]))
        return select_dialog_file(path, parts[n - 4], parts[n - 2], parts[n - 1]);
    if (n >= 5 && strcmp(parts[n - 4], "sentences") == 0 && affect_iemocap_is_session(parts[n - 5]))
        return select_sentence_file(path, parts[n - 5], parts[n - 3], parts[n - 2], parts[n - 1]);
    return false;
}
