/* IEMOCAP's labels and transcripts, from bytes to utterances; see iemocap.h. Nothing is copied but
 * what is kept: a line and its fields are spans of the file's text. */
#include "engine/corpus/iemocap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROW_BYTES  4096
#define MAX_UTTERANCES 1000 /* a dialog; real ones have up to 200 */
#define MAX_SECONDS    120  /* an utterance; real ones have up to 35 */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* As isspace in the C locale. */
static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

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
    while (line->size && is_blank(line->data[line->size - 1])) line->size--;
    reader->at = newline ? newline + 1 : reader->end;
    reader->line++;
    return true;
}

static span trim(span text) {
    while (text.size && is_blank(*text.data)) text.data++, text.size--;
    while (text.size && is_blank(text.data[text.size - 1])) text.size--;
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
    affect_corpus_dialog *dialog;
    affect_issues *issues;
    const char *file;
    unsigned line;
    bool has_current; /* the rows of votes belong to the last utterance */
} label_reader;

static const char *read_times(affect_corpus_utterance *to, span field) {
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

static const char *read_id(affect_corpus_utterance *to, const affect_corpus_dialog *dialog,
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

static const char *read_label(affect_corpus_utterance *to, span field) {
    field = trim(field);
    bool letters = field.size == 3;
    for (size_t i = 0; letters && i < 3; i++)
        letters = field.data[i] >= 'a' && field.data[i] <= 'z';
    if (!letters) return "the third field is not a label of three letters";
    copy_span(to->label, sizeof to->label, field);
    return NULL;
}

static bool read_attributes(affect_corpus_utterance *to, span field) {
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

static affect_corpus_utterance *add_utterance(affect_corpus_dialog *dialog) {
    size_t n = dialog->n_utterances;
    if ((n & (n - 1)) == 0) { /* grow at powers of two */
        size_t capacity = n ? 2 * n : 1;
        affect_corpus_utterance *grown = realloc(dialog->utterances, capacity * sizeof *grown);
        if (!grown) return NULL;
        dialog->utterances = grown;
    }
    dialog->utterances[n] = (affect_corpus_utterance){.votes = affect_json_new_array(),
                                                      .attributes = affect_json_new_array()};
    return &dialog->utterances[dialog->n_utterances++];
}

/* [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000] */
static affect_status read_utterance(label_reader *reader, span line, affect_error *err) {
    affect_corpus_utterance read = {0};
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
    affect_corpus_utterance *to = add_utterance(reader->dialog);
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

/* C-F1:<TAB>Neutral; Anger;<TAB>(free text) ; a rater may give none. */
static bool read_vote(affect_json *votes, span line) {
    char by[8], label[64];
    span rest = line;
    if (!read_rater(by, cut(&rest, '\t')) || !rest.size) return false;
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
    return true;
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
    affect_corpus_dialog *dialog = reader->dialog;
    affect_corpus_utterance *to = &dialog->utterances[dialog->n_utterances - 1];
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
    return strcmp(((const affect_corpus_utterance *)a)->id,
                  ((const affect_corpus_utterance *)b)->id);
}

affect_status affect_iemocap_parse_labels(affect_corpus_dialog *dialog, affect_issues *issues,
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

static affect_corpus_utterance *find_utterance(affect_corpus_dialog *dialog, span id) {
    affect_corpus_utterance key;
    if (!copy_span(key.id, sizeof key.id, id) || !dialog->n_utterances) return NULL;
    return bsearch(&key, dialog->utterances, dialog->n_utterances, sizeof *dialog->utterances,
                   compare_utterances);
}

/* Ses01F_impro01_F000 [006.2901-008.2357]: text */
affect_status affect_iemocap_parse_transcripts(affect_corpus_dialog *dialog, const char *text,
                                               size_t size, affect_error *err) {
    line_reader lines = {.at = text, .end = text + size};
    for (span line; next_line(&lines, &line);) {
        span rest = line;
        affect_corpus_utterance *to = find_utterance(dialog, cut(&rest, ' '));
        if (!to || to->transcript || rest.size > MAX_ROW_BYTES) continue;
        cut(&rest, ':');
        rest = trim(rest);
        if (!rest.size || memchr(rest.data, '\0', rest.size)) continue;
        to->transcript = strndup(rest.data, rest.size);
        if (!to->transcript) return affect_fail(err, NO_MEMORY, "%s: no memory", dialog->id);
    }
    return AFFECT_STATUS_OK;
}
