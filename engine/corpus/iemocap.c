/* The tree and the labels of IEMOCAP; see iemocap.h. */
#include "engine/corpus/iemocap.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_BYTES (16u << 20) /* of a label or transcript file; real ones have 100 kB */
#define MAX_ROW_BYTES  4096
#define MAX_UTTERANCES 1000 /* a dialog; real ones have up to 200 */
#define MAX_SECONDS    120  /* an utterance; real ones have up to 35 */

/* ---- names ---- */

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

static bool is_session_folder(const char *text) {
    if (strncmp(text, "Session", 7) != 0) return false;
    const char *end = skip_digits(text + 7, 1, 2);
    return end && *end == '\0';
}

/* ---- text ---- */

/* A run of bytes of a line, without copying. */
typedef struct {
    const char *data;
    size_t size;
} span;

typedef struct {
    const char *at, *end;
    unsigned line; /* of the span that next_line gave last, from 1 */
} line_reader;

/* LF, CRLF, a missing last newline: the span is without any of them. */
static bool next_line(line_reader *reader, span *line) {
    if (reader->at >= reader->end) return false;
    const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    const char *stop = newline ? newline : reader->end;
    *line = (span){reader->at, (size_t)(stop - reader->at)};
    while (line->size && isspace((unsigned char)line->data[line->size - 1])) line->size--;
    reader->at = newline ? newline + 1 : reader->end;
    reader->line++;
    return true;
}

static span trim(span text) {
    while (text.size && isspace((unsigned char)*text.data)) text.data++, text.size--;
    while (text.size && isspace((unsigned char)text.data[text.size - 1])) text.size--;
    return text;
}

/* Cuts what stands before `separator` off `rest`; without one, takes all of it. */
static span cut(span *rest, char separator) {
    const char *stop = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    span part = {rest->data, stop ? (size_t)(stop - rest->data) : rest->size};
    size_t used = part.size + (stop ? 1 : 0);
    rest->data += used;
    rest->size -= used;
    return part;
}

static bool copy_span(char *to, size_t capacity, span text) {
    if (text.size >= capacity) return false;
    memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    return true;
}

/* A decimal number without exponent, as the release writes them; exact up to 15 digits whatever the
 * locale. */
static bool read_number(span text, double *number) {
    static const double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    text = trim(text);
    bool point = false, negative = text.size && *text.data == '-';
    int n_digits = 0, n_decimals = 0;
    double value = 0;
    for (size_t i = negative; i < text.size; i++) {
        char c = text.data[i];
        if (c == '.' && !point) {
            point = true;
        } else if (is_digit(c) && n_digits < 15) {
            value = value * 10 + (c - '0');
            n_digits++;
            n_decimals += point;
        } else if (!is_digit(c) || !point) {
            return false; /* digits beyond the fifteenth are dropped, behind a point only */
        }
    }
    *number = (negative ? -value : value) / powers[n_decimals];
    return n_digits > 0;
}

/* ---- labels ---- */

typedef struct {
    affect_iemocap_dialog *dialog;
    affect_issues *issues;
    const char *file;
    unsigned line;
    bool has_current; /* the rows of votes belong to the last utterance */
} label_reader;

static void free_utterance(affect_iemocap_utterance *utterance) {
    free(utterance->transcript);
    affect_json_free(utterance->votes);
    affect_json_free(utterance->attributes);
}

static const char *read_times(affect_iemocap_utterance *to, span field) {
    field = trim(field);
    if (field.size < 2 || field.data[0] != '[' || field.data[field.size - 1] != ']')
        return "no [start - end] at its beginning";
    span rest = {field.data + 1, field.size - 2};
    span start = cut(&rest, '-');
    if (!read_number(start, &to->start_s) || !read_number(rest, &to->end_s))
        return "start or end is not a number";
    if (to->start_s < 0 || to->end_s <= to->start_s) return "does not end after its start";
    if (to->end_s > 24 * 3600) return "ends after more than a day";
    if (to->end_s - to->start_s > MAX_SECONDS) return "longer than two minutes";
    return NULL;
}

static const char *read_id(affect_iemocap_utterance *to, const affect_iemocap_dialog *dialog,
                           span field) {
    if (!copy_span(to->id, sizeof to->id, trim(field)) || !affect_iemocap_is_utterance(to->id))
        return "the second field is not an utterance's name";
    size_t n = strlen(dialog->id);
    if (strncmp(to->id, dialog->id, n) != 0 || to->id[n] != '_')
        return "the utterance belongs to another dialog";
    for (size_t i = 0; i < dialog->n_utterances; i++)
        if (strcmp(dialog->utterances[i].id, to->id) == 0) return "the utterance came before";
    snprintf(to->speaker, sizeof to->speaker, "%.5s%c", to->id, to->id[n + 1]);
    to->own_motion = to->id[5] == to->id[n + 1];
    return NULL;
}

static const char *read_label(affect_iemocap_utterance *to, span field) {
    field = trim(field);
    bool letters = field.size == 3;
    for (size_t i = 0; letters && i < 3; i++)
        letters = field.data[i] >= 'a' && field.data[i] <= 'z';
    if (!letters) return "the third field is not a label of three letters";
    copy_span(to->label, sizeof to->label, field);
    return NULL;
}

static bool read_attributes(affect_iemocap_utterance *to, span field) {
    double *values[3] = {&to->valence, &to->activation, &to->dominance};
    field = trim(field);
    if (field.size < 2 || field.data[0] != '[' || field.data[field.size - 1] != ']') return false;
    span rest = {field.data + 1, field.size - 2};
    for (int i = 0; i < 3; i++)
        if (!read_number(cut(&rest, ','), values[i])) {
            to->valence = to->activation = to->dominance = 0;
            return false;
        }
    return rest.size == 0;
}

static affect_iemocap_utterance *add_utterance(affect_iemocap_dialog *dialog) {
    size_t n = dialog->n_utterances;
    if ((n & (n - 1)) == 0) { /* grow at powers of two */
        size_t capacity = n ? 2 * n : 1;
        affect_iemocap_utterance *grown = realloc(dialog->utterances, capacity * sizeof *grown);
        if (!grown) return NULL;
        dialog->utterances = grown;
    }
    dialog->utterances[n] = (affect_iemocap_utterance){.votes = affect_json_new_array(),
                                                       .attributes = affect_json_new_array()};
    return &dialog->utterances[dialog->n_utterances++];
}

/* [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000] */
static affect_status read_utterance(label_reader *reader, span line, affect_error *err) {
    affect_iemocap_utterance read = {0};
    span rest = line;
    const char *reason = read_times(&read, cut(&rest, '\t'));
    if (!reason) reason = read_id(&read, reader->dialog, cut(&rest, '\t'));
    if (!reason) reason = read_label(&read, cut(&rest, '\t'));
    if (!reason && reader->dialog->n_utterances >= MAX_UTTERANCES) reason = "too many rows";
    reader->has_current = !reason;
    if (reason) {
        affect_issues_add(reader->issues, reader->file, reader->line, "%s", reason);
        return AFFECT_STATUS_OK;
    }
    if (!read_attributes(&read, rest))
        affect_issues_add(reader->issues, reader->file, reader->line,
                          "valence, activation, dominance unreadable (the label is kept)");
    affect_iemocap_utterance *to = add_utterance(reader->dialog);
    if (!to) return affect_fail(err, NO_MEMORY, "%s: no memory", reader->file);
    read.votes = to->votes;
    read.attributes = to->attributes;
    *to = read;
    return AFFECT_STATUS_OK;
}

/* "C-E2:" -> "E2" */
static bool read_rater(char by[8], span field) {
    field = trim(field);
    if (field.size < 4 || field.data[field.size - 1] != ':') return false;
    return copy_span(by, 8, (span){field.data + 2, field.size - 3});
}

/* C-F1:<TAB>Neutral; Anger;<TAB>(free text) */
static bool read_vote(affect_json *votes, span line) {
    char by[8], label[64];
    span rest = line;
    if (!read_rater(by, cut(&rest, '\t'))) return false;
    span list = cut(&rest, '\t');
    affect_json *names = affect_json_new_array();
    while (list.size) {
        span name = trim(cut(&list, ';'));
        if (name.size && copy_span(label, sizeof label, name))
            affect_json_append(names, affect_json_new_string(label));
    }
    bool any = affect_json_size(names) > 0;
    affect_json *vote = any ? affect_json_append(votes, affect_json_new_object()) : NULL;
    affect_json_set_string(vote, "by", by);
    affect_json_set(vote, "labels", names);
    return any;
}

/* A-E3:<TAB>val 3; act 2; dom  2;<TAB>() ; a rater may leave one out. */
static bool read_rating(affect_json *attributes, span line) {
    char by[8], name[8];
    span rest = line;
    if (!read_rater(by, cut(&rest, '\t'))) return false;
    span list = cut(&rest, '\t');
    affect_json *rating = affect_json_new_object();
    bool any = false, clean = true;
    while (list.size) {
        double value;
        span item = trim(cut(&list, ';'));
        if (!item.size) continue;
        span key = trim(cut(&item, ' '));
        bool known = copy_span(name, sizeof name, key) &&
                     (!strcmp(name, "val") || !strcmp(name, "act") || !strcmp(name, "dom"));
        if (!known || (trim(item).size && !read_number(item, &value))) {
            clean = false;
        } else if (trim(item).size) {
            affect_json_set_number(rating, name, value);
            any = true;
        }
    }
    if (any && clean) {
        affect_json_set_string(rating, "by", by);
        affect_json_append(attributes, rating);
    } else {
        affect_json_free(rating);
    }
    return clean;
}

static void read_rater_row(label_reader *reader, span line) {
    if (!reader->has_current) return; /* of a row that was named already */
    affect_iemocap_dialog *dialog = reader->dialog;
    affect_iemocap_utterance *to = &dialog->utterances[dialog->n_utterances - 1];
    bool read = *line.data == 'C' ? read_vote(to->votes, line) : read_rating(to->attributes, line);
    if (!read)
        affect_issues_add(reader->issues, reader->file, reader->line,
                          "unreadable %s of a rater (the label is kept)",
                          *line.data == 'C' ? "vote" : "rating");
}

static affect_status read_label_line(label_reader *reader, span line, affect_error *err) {
    if (line.size == 0 || *line.data == '%') return AFFECT_STATUS_OK;
    if (line.size > MAX_ROW_BYTES || memchr(line.data, '\0', line.size)) {
        reader->has_current = false;
        affect_issues_add(reader->issues, reader->file, reader->line, "%s",
                          line.size > MAX_ROW_BYTES ? "longer than 4096 bytes" : "a NUL byte");
        return AFFECT_STATUS_OK;
    }
    if (line.size > 2 && line.data[1] == '-' && (*line.data == 'C' || *line.data == 'A')) {
        read_rater_row(reader, line);
        return AFFECT_STATUS_OK;
    }
    return read_utterance(reader, line, err);
}

static int compare_utterances(const void *a, const void *b) {
    return strcmp(((const affect_iemocap_utterance *)a)->id,
                  ((const affect_iemocap_utterance *)b)->id);
}

affect_status affect_iemocap_parse_labels(affect_iemocap_dialog *dialog, affect_issues *issues,
                                          const char *file, const char *text, size_t size,
                                          affect_error *err) {
    label_reader reader = {.dialog = dialog, .issues = issues, .file = file};
    line_reader lines = {.at = text, .end = text + size};
    for (span line; next_line(&lines, &line);) {
        reader.line = lines.line;
        AFFECT_TRY(read_label_line(&reader, line, err));
    }
    if (dialog->n_utterances)
        qsort(dialog->utterances, dialog->n_utterances, sizeof *dialog->utterances,
              compare_utterances);
    return AFFECT_STATUS_OK;
}

/* ---- transcripts ---- */

static affect_iemocap_utterance *find_utterance(affect_iemocap_dialog *dialog, span id) {
    affect_iemocap_utterance key;
    if (!copy_span(key.id, sizeof key.id, id) || !dialog->n_utterances) return NULL;
    return bsearch(&key, dialog->utterances, dialog->n_utterances, sizeof *dialog->utterances,
                   compare_utterances);
}

/* Ses01F_impro01_F000 [006.2901-008.2357]: text */
affect_status affect_iemocap_parse_transcripts(affect_iemocap_dialog *dialog, const char *text,
                                               size_t size, affect_error *err) {
    line_reader lines = {.at = text, .end = text + size};
    for (span line; next_line(&lines, &line);) {
        span rest = line;
        affect_iemocap_utterance *to = find_utterance(dialog, cut(&rest, ' '));
        if (!to || to->transcript || rest.size > MAX_ROW_BYTES) continue;
        cut(&rest, ':');
        rest = trim(rest);
        if (!rest.size || memchr(rest.data, '\0', rest.size)) continue;
        to->transcript = strndup(rest.data, rest.size);
        if (!to->transcript) return affect_fail(err, NO_MEMORY, "%s: no memory", dialog->id);
    }
    return AFFECT_STATUS_OK;
}

/* ---- the tree ---- */

static void describe_dialog(affect_iemocap_dialog *dialog, const char *folder, const char *id) {
    *dialog = (affect_iemocap_dialog){0};
    snprintf(dialog->id, sizeof dialog->id, "%s", id);
    snprintf(dialog->folder, sizeof dialog->folder, "%.11s", folder);
    snprintf(dialog->session, sizeof dialog->session, "%.5s", id);
    snprintf(dialog->wearer, sizeof dialog->wearer, "%.6s", id);
    snprintf(dialog->scenario, sizeof dialog->scenario, "%.24s", id + 7);
    dialog->improvised = id[7] == 'i';
}

static void free_dialog(affect_iemocap_dialog *dialog) {
    for (size_t i = 0; i < dialog->n_utterances; i++) free_utterance(&dialog->utterances[i]);
    free(dialog->utterances);
}

void affect_iemocap_close(affect_iemocap *corpus) {
    for (size_t i = 0; i < corpus->n_dialogs; i++) free_dialog(&corpus->dialogs[i]);
    free(corpus->dialogs);
    affect_tree_close(corpus->tree);
    *corpus = (affect_iemocap){0};
}

static bool is_fatal(affect_status status) {
    return status == AFFECT_STATUS_NO_MEMORY;
}

static affect_status read_texts(affect_iemocap_dialog *dialog, const affect_tree *tree,
                                affect_issues *issues, affect_error *err) {
    char path[AFFECT_PATH_MAX], *text = NULL;
    size_t size = 0;
    affect_error found = {0};
    affect_iemocap_dialog_path(path, dialog, "EmoEvaluation");
    affect_status status = affect_tree_read(&text, &size, tree, path, MAX_TEXT_BYTES, &found);
    if (status != AFFECT_STATUS_OK) {
        affect_issues_add(issues, path, 0, "%s", found.message);
        return is_fatal(status) ? affect_fail(err, NO_MEMORY, "%s: no memory", path)
                                : AFFECT_STATUS_OK;
    }
    status = affect_iemocap_parse_labels(dialog, issues, path, text, size, err);
    free(text);
    AFFECT_TRY(status);
    affect_iemocap_dialog_path(path, dialog, "transcriptions");
    status = affect_tree_read(&text, &size, tree, path, MAX_TEXT_BYTES, &found);
    if (status == AFFECT_STATUS_OK) {
        status = affect_iemocap_parse_transcripts(dialog, text, size, err);
        free(text);
        return status;
    }
    if (status != AFFECT_STATUS_NOT_FOUND) affect_issues_add(issues, path, 0, "%s", found.message);
    return AFFECT_STATUS_OK;
}

static affect_status add_dialog(affect_iemocap *corpus, affect_issues *issues, const char *folder,
                                const char *id, affect_error *err) {
    affect_iemocap_dialog *grown =
        realloc(corpus->dialogs, (corpus->n_dialogs + 1) * sizeof *grown);
    if (!grown) return affect_fail(err, NO_MEMORY, "%s: no memory", id);
    corpus->dialogs = grown;
    affect_iemocap_dialog *dialog = &grown[corpus->n_dialogs++];
    uint64_t n_issues = issues->n_all;
    describe_dialog(dialog, folder, id);
    AFFECT_TRY(read_texts(dialog, corpus->tree, issues, err));
    if (dialog->n_utterances) return AFFECT_STATUS_OK;
    corpus->n_dialogs--;
    if (issues->n_all == n_issues) {
        char path[AFFECT_PATH_MAX];
        affect_iemocap_dialog_path(path, dialog, "EmoEvaluation");
        affect_issues_add(issues, path, 0, "no utterances");
    }
    return AFFECT_STATUS_OK;
}

static bool has_dialog(const affect_iemocap *corpus, const char *id) {
    for (size_t i = 0; i < corpus->n_dialogs; i++)
        if (strcmp(corpus->dialogs[i].id, id) == 0) return true;
    return false;
}

/* Files of labels are <dialog>.txt; the sub-folders Attribute/, Categorical/, Self-evaluation/ are
 * other things. */
static affect_status read_session(affect_iemocap *corpus, affect_issues *issues, const char *folder,
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
    for (size_t i = 0; i < n; i++) *n_sessions += is_session_folder(names[i]);
    affect_tree_names_free(names, n);
    return AFFECT_STATUS_OK;
}

static affect_status find_root(affect_tree **found, const char *root, affect_error *err) {
    affect_tree *top = NULL;
    char **names = NULL, *chosen = NULL;
    size_t n = 0, n_sessions = 0;
    AFFECT_TRY(affect_tree_open(&top, root, err));
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

static int compare_dialogs(const void *a, const void *b) {
    return strcmp(((const affect_iemocap_dialog *)a)->id, ((const affect_iemocap_dialog *)b)->id);
}

affect_status affect_iemocap_open(affect_iemocap *corpus, affect_issues *issues, const char *root,
                                  affect_error *err) {
    char **names = NULL;
    size_t n = 0;
    *corpus = (affect_iemocap){0};
    affect_status status = find_root(&corpus->tree, root, err);
    if (status == AFFECT_STATUS_OK) status = affect_tree_list(&names, &n, corpus->tree, ".", err);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++)
        if (is_session_folder(names[i])) status = read_session(corpus, issues, names[i], err);
    affect_tree_names_free(names, n);
    if (status == AFFECT_STATUS_OK && corpus->n_dialogs == 0)
        status =
            affect_fail(err, NOT_FOUND, "no labels: no Session*/dialog/EmoEvaluation/<dialog>.txt");
    if (status != AFFECT_STATUS_OK) {
        affect_iemocap_close(corpus);
        return status;
    }
    qsort(corpus->dialogs, corpus->n_dialogs, sizeof *corpus->dialogs, compare_dialogs);
    return AFFECT_STATUS_OK;
}

/* ---- places of files ---- */

void affect_iemocap_sentence_path(char path[AFFECT_PATH_MAX], const affect_iemocap_dialog *dialog,
                                  const affect_iemocap_utterance *utterance, const char *stream) {
    snprintf(path, AFFECT_PATH_MAX, "%s/sentences/%s/%s/%s.%s", dialog->folder, stream, dialog->id,
             utterance->id, strcmp(stream, "wav") == 0 ? "wav" : "txt");
}

void affect_iemocap_dialog_path(char path[AFFECT_PATH_MAX], const affect_iemocap_dialog *dialog,
                                const char *stream) {
    snprintf(path, AFFECT_PATH_MAX, "%s/dialog/%s/%s.%s", dialog->folder, stream, dialog->id,
             strcmp(stream, "wav") == 0 ? "wav" : "txt");
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
    if (n >= 4 && strcmp(parts[n - 3], "dialog") == 0 && is_session_folder(parts[n - 4]))
        return select_dialog_file(path, parts[n - 4], parts[n - 2], parts[n - 1]);
    if (n >= 5 && strcmp(parts[n - 4], "sentences") == 0 && is_session_folder(parts[n - 5]))
        return select_sentence_file(path, parts[n - 5], parts[n - 3], parts[n - 2], parts[n - 1]);
    return false;
}
