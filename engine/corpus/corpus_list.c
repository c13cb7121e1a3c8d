/* Corpora that are lists; see corpus_list.h.
 *
 * A list becomes groups by sorting: by session, scenario and dialog, then by id. Duplicates of an
 * id are found before, in the order of ids alone. */
#include "engine/corpus/corpus_list.h"

#include "engine/core/fields.h"
#include "engine/core/file.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_VOTES = 1000 }; /* of an utterance */

/* ---- The list ---- */

affect_corpus_item *affect_corpus_list_add(affect_corpus_list *list, size_t line) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        affect_corpus_item *grown = realloc(list->items, capacity * sizeof *grown);
        if (!grown) return NULL;
        list->items = grown;
        list->capacity = capacity;
    }
    affect_corpus_item *item = &list->items[list->n++];
    *item = (affect_corpus_item){.line = line};
    return item;
}

/* What an issue names as its file: the table's, or the sound where no table lists it. */
static const char *file_of(const char *list_file, const affect_corpus_item *item) {
    const char *sound = item->utterance.files[AFFECT_CORPUS_SOUND];
    return *list_file || !sound ? list_file : sound;
}

void affect_corpus_list_drop(affect_corpus_list *list, affect_issues *issues, const char *format,
                             ...) {
    char reason[400];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    affect_corpus_item *item = &list->items[--list->n];
    affect_issues_add(issues, file_of(list->file, item), item->line, "%s", reason);
    affect_corpus_utterance_free(&item->utterance);
}

void affect_corpus_list_free(affect_corpus_list *list) {
    for (size_t i = 0; i < list->n; i++) affect_corpus_utterance_free(&list->items[i].utterance);
    free(list->items);
    *list = (affect_corpus_list){.file = list->file};
}

/* ---- What an item says ---- */

static const char *set_number(double *number, const char *value, double most, const char *name,
                              char reason[AFFECT_CORPUS_REASON_SIZE]) {
    affect_json *json = NULL;
    bool good = affect_json_parse(&json, value, strlen(value), NULL) == AFFECT_STATUS_OK &&
                affect_json_is_number(json);
    *number = affect_json_number(json, 0);
    affect_json_free(json);
    if (good && *number >= 0 && *number <= most) return NULL;
    *number = 0;
    snprintf(reason, AFFECT_CORPUS_REASON_SIZE, "%s \"%.60s\" is not a number from 0 to %g", name,
             value, most);
    return reason;
}

static const char *refuse_text(char reason[AFFECT_CORPUS_REASON_SIZE], const char *name,
                               size_t most) {
    snprintf(reason, AFFECT_CORPUS_REASON_SIZE,
             "%s is longer than %zu bytes, not UTF-8, or holds control characters", name, most);
    return reason;
}

/* Line ends and tabs become blanks: transcripts in tables hold them. */
static const char *set_copy(char **copy, const char *value, size_t most, const char *name,
                            char reason[AFFECT_CORPUS_REASON_SIZE]) {
    free(*copy);
    *copy = strlen(value) <= most ? strdup(value) : NULL;
    for (char *c = *copy; c && *c; c++)
        if (*c == '\n' || *c == '\r' || *c == '\t') *c = ' ';
    if (*copy && affect_json_is_plain_text(*copy, strlen(*copy))) return NULL;
    free(*copy);
    *copy = NULL;
    return refuse_text(reason, name, most);
}

/* Text of Windows-1252 that went through Latin-1 holds its quotes and dashes as control characters
 * U+0080..U+009F; published tables do (MELD's). They become what was meant, as HTML reads them. */
static char *repair_windows_text(const char *value) {
    static const char *const meant[32] = {"€", "",  "‚", "ƒ", "„", "…", "†", "‡", "ˆ", "‰", "Š",
                                          "‹", "Œ", "",  "Ž", "",  "",  "‘", "’", "“", "”", "•",
                                          "–", "—", "˜", "™", "š", "›", "œ", "",  "ž", "Ÿ"};
    char *text = malloc(2 * strlen(value) + 1), *to = text;
    while (text && *value) {
        unsigned char c = (unsigned char)value[0], next = (unsigned char)value[1];
        if (c == 0xC2 && next >= 0x80 && next < 0xA0 && *meant[next - 0x80]) {
            to = stpcpy(to, meant[next - 0x80]);
            value += 2;
        } else {
            *to++ = *value++;
        }
    }
    if (text) *to = '\0';
    return text;
}

static const char *set_transcript(affect_corpus_utterance *u, const char *value,
                                  char reason[AFFECT_CORPUS_REASON_SIZE]) {
    char *repaired = repair_windows_text(value);
    const char *problem =
        set_copy(&u->transcript, repaired ? repaired : value, 60000, "text", reason);
    free(repaired);
    return problem;
}

/* "neu;neu;sad": one vote each, of annotators without a name. */
static const char *set_votes(affect_corpus_item *item, const char *value,
                             char reason[AFFECT_CORPUS_REASON_SIZE]) {
    char label[AFFECT_CORPUS_LABEL_SIZE], by[24];
    affect_json_free(item->utterance.votes);
    item->utterance.votes = affect_json_new_array();
    for (size_t n, i = 1; *value; value += n + (value[n] == ';'), i++) {
        n = strcspn(value, ";");
        if (n == 0) continue; /* an annotator who gave none */
        if (i > MAX_VOTES || n >= sizeof label || !affect_json_is_plain_text(value, n)) {
            snprintf(reason, AFFECT_CORPUS_REASON_SIZE,
                     "votes are over %d, or one is longer than %zu bytes, not UTF-8, or holds "
                     "control characters",
                     MAX_VOTES, sizeof label - 1);
            return reason;
        }
        snprintf(label, sizeof label, "%.*s", (int)n, value);
        snprintf(by, sizeof by, "%zu", i);
        affect_json *vote = affect_json_append(item->utterance.votes, affect_json_new_object());
        affect_json_set_string(vote, "by", by);
        affect_json_append(affect_json_set_array(vote, "labels"), affect_json_new_string(label));
    }
    return NULL;
}

static const char *set_column(affect_corpus_item *item, const char *name, const char *value,
                              char reason[AFFECT_CORPUS_REASON_SIZE]) {
    char *checked = NULL;
    if (set_copy(&checked, value, 1000, name, reason)) return reason;
    if (!item->utterance.columns) item->utterance.columns = affect_json_new_object();
    affect_json_set_string(item->utterance.columns, name, checked);
    free(checked);
    return NULL;
}

/* ---- Facts ---- */

typedef enum { FACT_TEXT, FACT_NUMBER, FACT_TRANSCRIPT, FACT_VOTES, FACT_COLUMN } fact_kind;

typedef struct {
    const char *name;
    fact_kind kind;
    size_t offset, size; /* of its field in an item */
    double most;         /* number */
} fact;

#define FACT(fact_name, fact_kind, field)                                                          \
    .name = (fact_name), .kind = (fact_kind), .offset = offsetof(affect_corpus_item, field),       \
    .size = sizeof(((affect_corpus_item *)0)->field)

static const fact facts[] = {
    {FACT("id", FACT_TEXT, utterance.id)},
    {FACT("label", FACT_TEXT, utterance.label)},
    {FACT("speaker", FACT_TEXT, utterance.speaker)},
    {FACT("session", FACT_TEXT, session)},
    {FACT("dialog", FACT_TEXT, dialog)},
    {FACT("scenario", FACT_TEXT, scenario)},
    {FACT("text", FACT_TRANSCRIPT, utterance.transcript)},
    {FACT("start", FACT_NUMBER, utterance.start_s), .most = 1e7},
    {FACT("end", FACT_NUMBER, utterance.end_s), .most = 1e7},
    {FACT("valence", FACT_NUMBER, utterance.valence), .most = 1e3},
    {FACT("activation", FACT_NUMBER, utterance.activation), .most = 1e3},
    {FACT("arousal", FACT_NUMBER, utterance.activation), .most = 1e3},
    {FACT("dominance", FACT_NUMBER, utterance.dominance), .most = 1e3},
    {FACT("votes", FACT_VOTES, utterance.votes)},
    {FACT("gender", FACT_COLUMN, utterance.columns)}, /* columns whose names splits know */
    {FACT("split", FACT_COLUMN, utterance.columns)},
};

static const fact *find_fact(const char *name, int (*compare)(const char *, const char *)) {
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (compare(facts[i].name, name) == 0) return &facts[i];
    return NULL;
}

const char *affect_corpus_fact_of(const affect_sizes *features, const char *column) {
    const fact *found = find_fact(column, strcasecmp);
    if (found) return found->name;
    for (size_t f = 0; f < features->n_features; f++)
        for (size_t s = 0; s < affect_feature_n_streams(&features->features[f]); s++) {
            const char *name = affect_feature_stream(&features->features[f], s).column;
            if (strcasecmp(name, column) == 0) return name;
        }
    return NULL;
}

const char *affect_corpus_list_set(affect_corpus_list *list, const char *name, const char *value,
                                   char reason[AFFECT_CORPUS_REASON_SIZE]) {
    affect_corpus_item *item = &list->items[list->n - 1];
    const fact *found = find_fact(name, strcmp);
    int stream = affect_corpus_stream_of(list->features, name);
    void *field = found ? (char *)item + found->offset : NULL;
    if (!*value) return NULL;
    if (stream >= 0) return set_copy(&item->utterance.files[stream], value, 1000, name, reason);
    const affect_modality *named = found ? NULL : affect_modality_find(name);
    if (named && named->is_named) {
        snprintf(
            reason, AFFECT_CORPUS_REASON_SIZE,
            "the features of the request do not name %s (as {\"%s\": {\"%s\": {\"%s\": 768}}})",
            name, named->name, name + strlen(named->name) + 1, named->size_names[1]);
        return reason;
    }
    switch (found ? found->kind : FACT_COLUMN) {
    case FACT_TEXT:
        if (affect_corpus_set_text(field, found->size, value)) return NULL;
        return refuse_text(reason, name, found->size - 1);
    case FACT_NUMBER:
        return set_number(field, value, found->most, name, reason);
    case FACT_TRANSCRIPT:
        return set_transcript(&item->utterance, value, reason);
    case FACT_VOTES:
        return set_votes(item, value, reason);
    case FACT_COLUMN:
        break;
    }
    return set_column(item, name, value, reason);
}

affect_status affect_corpus_words_check(const affect_json *words, const char *path,
                                        affect_error *err) {
    if (words && !affect_json_is_object(words))
        return affect_field_fail(err, path, "",
                                 "is not an object (as {\"label\": {\"W\": \"angry\"}})");
    for (const affect_json *m = affect_json_first(words); m; m = affect_json_next(m)) {
        if (!affect_json_is_object(m))
            return affect_field_fail(err, path, affect_json_name(m), "is not an object of words");
        for (const affect_json *w = affect_json_first(m); w; w = affect_json_next(w))
            if (!affect_json_is_string(w))
                return affect_field_fail(err, path, affect_json_name(m), "\"%.40s\" is not text",
                                         affect_json_name(w));
    }
    return AFFECT_STATUS_OK;
}

const char *affect_corpus_word(const affect_json *words, const char *name, const char *value) {
    const affect_json *own = affect_json_get(words, name);
    return own ? affect_json_get_string(own, value, NULL) : value;
}

/* ---- Completion ---- */

/* Why a file that is not there leaves its utterance out. Corpora of films come as video, of which
 * the sound is to be taken once. */
static const char *explain_absence(const affect_tree *tree, const char *file,
                                   char reason[AFFECT_CORPUS_REASON_SIZE]) {
    char video[AFFECT_PATH_MAX];
    const char *dot = strrchr(file, '.');
    int n = (int)(dot ? (size_t)(dot - file) : strlen(file));
    int length = snprintf(video, sizeof video, "%.*s.mp4", n, file);
    affect_error why = {0};
    int fd = -1;
    affect_status status = affect_tree_open_file(&fd, NULL, tree, file, &why);
    if (fd >= 0) close(fd);
    if (status == AFFECT_STATUS_TOO_LARGE)
        snprintf(reason, AFFECT_CORPUS_REASON_SIZE, "%s", why.message);
    else if (length < (int)sizeof video && strcmp(video, file) != 0 &&
             affect_tree_has_file(tree, video))
        snprintf(reason, AFFECT_CORPUS_REASON_SIZE,
                 "no file %.50s, but its video: for f in ./*.mp4; do ffmpeg -i \"$f\" -vn -ac 1 "
                 "\"${f%%.mp4}.wav\"; done",
                 file);
    else
        snprintf(reason, AFFECT_CORPUS_REASON_SIZE, "no file %.120s", file);
    return reason;
}

/* NULL, or why the item is left out. */
static const char *complete(affect_corpus_item *item, const affect_tree *tree,
                            char reason[AFFECT_CORPUS_REASON_SIZE]) {
    affect_corpus_utterance *u = &item->utterance;
    const char *file = u->files[AFFECT_CORPUS_SOUND];
    if (!*u->label) return "no label";
    bool any = false;
    for (int s = 0; s < AFFECT_MAX_INPUT_STREAMS; s++) {
        any = any || u->files[s];
        if (!u->files[s] || affect_tree_has_file(tree, u->files[s])) continue;
        return explain_absence(tree, u->files[s], reason);
    }
    if (!any) return "no file is named";
    if (u->start_s > 0 || u->end_s > 0) {
        if (u->end_s <= u->start_s) return "its end is not after its start";
        u->is_cut = true;
    }
    if (*u->id) return NULL;
    if (!file) return "neither an id nor a sound file";
    const char *dot = strrchr(file, '.'), *slash = strrchr(file, '/');
    int n = (int)(dot && (!slash || dot > slash) ? (size_t)(dot - file) : strlen(file));
    char id[2 * AFFECT_CORPUS_NAME_SIZE];
    int length = u->is_cut ? snprintf(id, sizeof id, "%.*s#%.3f", n, file, u->start_s)
                           : snprintf(id, sizeof id, "%.*s", n, file);
    if (length < (int)sizeof id && affect_corpus_set_text(u->id, sizeof u->id, id)) return NULL;
    return "its path is too long for an id (127 bytes)";
}

static void drop_incomplete(affect_corpus_list *list, const affect_tree *tree,
                            affect_issues *issues) {
    size_t n_kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        char text[AFFECT_CORPUS_REASON_SIZE];
        affect_corpus_item item = list->items[i];
        const char *reason = complete(&item, tree, text);
        if (!reason) {
            list->items[n_kept++] = item;
            continue;
        }
        affect_issues_add(issues, file_of(list->file, &item), item.line, "%s", reason);
        affect_corpus_utterance_free(&item.utterance);
    }
    list->n = n_kept;
}

/* ---- Groups ---- */

static int compare_ids(const void *a, const void *b) {
    const affect_corpus_item *x = a, *y = b;
    int order = strcmp(x->utterance.id, y->utterance.id);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int compare_groups(const affect_corpus_item *x, const affect_corpus_item *y) {
    int order = strcmp(x->session, y->session);
    if (!order) order = strcmp(x->scenario, y->scenario);
    return order ? order : strcmp(x->dialog, y->dialog);
}

static int compare_items(const void *a, const void *b) {
    int order = compare_groups(a, b);
    return order ? order : compare_ids(a, b);
}

/* Keeps the first of each id, in the order of ids. */
static size_t drop_repeated(affect_corpus_item *items, size_t n, affect_issues *issues,
                            const char *file) {
    size_t n_kept = 0;
    if (n) qsort(items, n, sizeof *items, compare_ids);
    for (size_t i = 0; i < n; i++) {
        if (n_kept && strcmp(items[n_kept - 1].utterance.id, items[i].utterance.id) == 0) {
            affect_issues_add(issues, file_of(file, &items[i]), items[i].line,
                              "the id \"%.100s\" came before", items[i].utterance.id);
            affect_corpus_utterance_free(&items[i].utterance);
        } else {
            affect_corpus_item item = items[i];
            items[n_kept++] = item;
        }
    }
    return n_kept;
}

/* Moves items into a group of their own; its id is that of the dialog, or of the first. */
static affect_status add_group(affect_corpus *corpus, affect_corpus_item *items, size_t n,
                               affect_error *err) {
    affect_corpus_dialog *group = NULL;
    AFFECT_TRY(affect_corpus_add(&group, corpus, err));
    group->is_dialog = items->dialog[0] != '\0';
    group->utterances = calloc(n, sizeof *group->utterances);
    if (!group->utterances) return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", n);
    snprintf(group->id, sizeof group->id, "%s",
             group->is_dialog ? items->dialog : items->utterance.id);
    snprintf(group->session, sizeof group->session, "%s", items->session);
    snprintf(group->scenario, sizeof group->scenario, "%s", items->scenario);
    group->n_utterances = n;
    for (size_t i = 0; i < n; i++) {
        group->utterances[i] = items[i].utterance;
        items[i].utterance = (affect_corpus_utterance){0};
    }
    return AFFECT_STATUS_OK;
}

static affect_status make_groups(affect_corpus *corpus, affect_corpus_item *items, size_t n,
                                 affect_error *err) {
    if (n) qsort(items, n, sizeof *items, compare_items);
    for (size_t begin = 0, end; begin < n; begin = end) {
        size_t most = items[begin].dialog[0] ? n : AFFECT_CORPUS_GROUP;
        for (end = begin + 1; end < n && end - begin < most; end++)
            if (compare_groups(&items[begin], &items[end]) != 0) break;
        AFFECT_TRY(add_group(corpus, items + begin, end - begin, err));
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_corpus_list_finish(affect_corpus *corpus, affect_issues *issues,
                                        affect_corpus_list *list, affect_error *err) {
    drop_incomplete(list, corpus->tree, issues);
    list->n = drop_repeated(list->items, list->n, issues, list->file);
    affect_status status = AFFECT_STATUS_OK;
    if (list->n) {
        status = make_groups(corpus, list->items, list->n, err);
    } else {
        const affect_json *first = affect_json_first(issues->rows);
        status =
            affect_fail(err, NOT_FOUND, "no utterance is left%s%s%s%s",
                        first ? ": the first, " : "", affect_json_get_string(first, "file", ""),
                        first ? ": " : "", affect_json_get_string(first, "reason", ""));
    }
    affect_corpus_list_free(list);
    return status;
}
