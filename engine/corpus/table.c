/* Tables; see table.h.
 *
 * Both kinds of files become rows of named values. Each value is a fact by its column's name, or
 * kept as it is; the request's `columns` are applied to the whole row after that, as they may be
 * made of several of its values. */
#include "engine/corpus/table.h"

#include "engine/core/csv.h"
#include "engine/core/fields.h"
#include "engine/corpus/corpus_list.h"
#include "engine/corpus/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_TABLE_BYTES     ((size_t)512 << 20)
#define MAX_LABEL_MAP_BYTES ((size_t)1 << 20)
enum { MAX_VALUE = 64 << 10 };

/* ---- Options ---- */

typedef struct {
    char file[AFFECT_PATH_MAX], audio[AFFECT_PATH_MAX], label_map[AFFECT_PATH_MAX];
    bool label_map_may_be_absent;           /* it is the preset's */
    affect_json *columns, *words, *unknown; /* owned */
} table_options;

static void add_columns(affect_json *schema) {
    affect_corpus_add_preset_names(schema, "configs/columns");
}

const affect_field affect_table_options[] = {
    AFFECT_FIELD_STRING(table_options, file, "", "the table; the only one where it is not given"),
    AFFECT_FIELD_STRING(table_options, audio, "", "folder of the sound files, from the table's"),
    AFFECT_FIELD_STRING(table_options, label_map, "",
                        "a JSON file {value: label} in the table's folder"),
    AFFECT_FIELD_JSON(table_options, columns, "a preset's name, or {fact: column}",
                      .schema = "{'oneOf':[{'type':'string'},"
                                "{'type':'object','additionalProperties':{'type':'string'}}"
                                "]}",
                      .complete = add_columns),
    AFFECT_FIELD_JSON(
        table_options, words, "what values mean, {fact: {value: word}}",
        .schema = "{'type':'object','additionalProperties':{'type':'object','additionalProperties':"
                  "{'type':'string'}}}"),
    AFFECT_FIELD_JSON(table_options, unknown, "values that mean nothing, {fact: value}",
                      .schema = "{'type':'object','additionalProperties':{'type':'string'}}"),
    AFFECT_FIELD_END};

static affect_status check_texts(const affect_json *object, const char *path, const char *name,
                                 affect_error *err) {
    if (object && !affect_json_is_object(object))
        return affect_field_fail(err, path, name, "is not an object");
    for (const affect_json *m = affect_json_first(object); m; m = affect_json_next(m))
        if (!affect_json_is_string(m))
            return affect_field_fail(err, path, name, "\"%.40s\" is not text", affect_json_name(m));
    return AFFECT_STATUS_OK;
}

/* A preset's columns and words, where the request has none of its own. */
static affect_status use_preset(table_options *options, const char *path, affect_error *err) {
    char below[AFFECT_PATH_MAX];
    affect_json *preset = NULL;
    AFFECT_TRY(affect_path_join(below, err, path, "columns"));
    AFFECT_TRY(affect_corpus_preset(&preset, "configs/columns", options->columns, below, err));
    affect_json_free(options->columns);
    options->columns = affect_json_detach(preset, "columns");
    if (!options->words) options->words = affect_json_detach(preset, "words");
    if (!*options->label_map) {
        snprintf(options->label_map, sizeof options->label_map, "%s",
                 affect_json_get_string(preset, "label_map", ""));
        options->label_map_may_be_absent = true;
    }
    if (!options->unknown) options->unknown = affect_json_detach(preset, "unknown");
    affect_json_free(preset);
    return AFFECT_STATUS_OK;
}

/* To be freed in any case. */
static affect_status parse_options(table_options *options, const affect_json *json,
                                   const char *path, affect_error *err) {
    char below[AFFECT_PATH_MAX];
    affect_fields_default(options, affect_table_options);
    options->label_map_may_be_absent = false;
    AFFECT_TRY(affect_fields_parse(options, affect_table_options, json, path, err));
    if (affect_json_is_string(options->columns)) AFFECT_TRY(use_preset(options, path, err));
    AFFECT_TRY(check_texts(options->columns, path, "columns", err));
    AFFECT_TRY(check_texts(options->unknown, path, "unknown", err));
    AFFECT_TRY(affect_path_join(below, err, path, "words"));
    return affect_corpus_words_check(options->words, below, err);
}

affect_status affect_table_check(const affect_json *options, const char *path, affect_error *err) {
    table_options parsed;
    affect_status status = parse_options(&parsed, options, path, err);
    affect_fields_free(&parsed, affect_table_options);
    return status;
}

static bool has_ending(const char *name, const char *ending) {
    size_t n = strlen(name), e = strlen(ending);
    return n > e && strcasecmp(name + n - e, ending) == 0;
}

static bool is_table(const char *name) {
    return has_ending(name, ".csv") || has_ending(name, ".tsv") || has_ending(name, ".jsonl");
}

bool affect_table_select(const char *name, char path[AFFECT_PATH_MAX]) {
    return (affect_corpus_is_sound(name) || is_table(name) || has_ending(name, ".txt") ||
            has_ending(name, ".json") || has_ending(name, ".npy") ||
            has_ending(name, ".safetensors")) &&
           affect_corpus_keep_path(name, path);
}

/* ---- A row ---- */

/* Names and values, borrowed. */
typedef struct {
    size_t line, n;
    const char *names[AFFECT_CSV_MAX_CELLS], *values[AFFECT_CSV_MAX_CELLS];
} row;

typedef struct {
    const table_options *options;
    char folder[AFFECT_PATH_MAX]; /* that paths are below; "": the top */
    affect_corpus_list list;
    affect_issues *issues;
} reading;

static const char *value_of(const row *r, const char *name, size_t length) {
    for (size_t i = 0; i < r->n; i++)
        if (strlen(r->names[i]) == length && strncmp(r->names[i], name, length) == 0)
            return r->values[i];
    return NULL;
}

/* The text of a column, or of a template with columns in braces. NULL: one that is not there. */
static const char *expand(char text[MAX_VALUE], const row *r, const char *source) {
    if (!strchr(source, '{')) return value_of(r, source, strlen(source));
    size_t used = 0;
    while (*source) {
        size_t n = strcspn(source, "{");
        const char *piece = source;
        source += n;
        if (n == 0) {
            size_t length = strcspn(source + 1, "}");
            piece = value_of(r, source + 1, length);
            if (!piece) return NULL;
            n = strlen(piece);
            source += 1 + length + (source[1 + length] == '}');
        }
        if (used + n >= MAX_VALUE) return NULL;
        memcpy(text + used, piece, n);
        used += n;
    }
    text[used] = '\0';
    return text;
}

/* NULL, or why the row is left out. */
static const char *set_fact(reading *r, const char *fact, const char *value,
                            char reason[AFFECT_CORPUS_REASON_SIZE]) {
    char path[AFFECT_PATH_MAX];
    const char *unknown = affect_json_get_string(r->options->unknown, fact, NULL);
    if (!*value || (unknown && strcmp(value, unknown) == 0)) return NULL;
    const char *word = affect_corpus_word(r->options->words, fact, value);
    if (!word) {
        snprintf(reason, AFFECT_CORPUS_REASON_SIZE, "%.40s \"%.60s\" is not among the words", fact,
                 value);
        return reason;
    }
    if (affect_corpus_stream_of(r->list.features, fact) >= 0) {
        while (strncmp(word, "./", 2) == 0) word += 2;
        if (affect_path_join(path, NULL, r->folder, "%s", word) != AFFECT_STATUS_OK)
            return "its path is too long";
        word = *r->folder ? path : word;
    }
    return affect_corpus_list_set(&r->list, fact, word, reason);
}

/* Whether `columns` names this column for some fact. */
static bool is_mapped(const affect_json *columns, const char *column) {
    for (const affect_json *m = affect_json_first(columns); m; m = affect_json_next(m))
        if (strcmp(affect_json_string(m, ""), column) == 0) return true;
    return false;
}

static affect_status add_row(reading *r, const row *from, affect_error *err) {
    char text[MAX_VALUE], reason[AFFECT_CORPUS_REASON_SIZE];
    const affect_json *columns = r->options->columns;
    const char *problem = NULL;
    if (!affect_corpus_list_add(&r->list, from->line))
        return affect_fail(err, NO_MEMORY, "no memory for %zu utterances", r->list.n + 1);
    for (size_t i = 0; i < from->n && !problem; i++) {
        const char *fact = affect_corpus_fact_of(r->list.features, from->names[i]);
        if (is_mapped(columns, from->names[i]) || (fact && affect_json_get(columns, fact)))
            continue;
        problem = set_fact(r, fact ? fact : from->names[i], from->values[i], reason);
    }
    for (const affect_json *m = affect_json_first(columns); m && !problem;
         m = affect_json_next(m)) {
        const char *value = expand(text, from, affect_json_string(m, ""));
        if (value) problem = set_fact(r, affect_json_name(m), value, reason);
    }
    if (problem) affect_corpus_list_drop(&r->list, r->issues, "%s", problem);
    return AFFECT_STATUS_OK;
}

/* ---- The two kinds of files ---- */

/* The first column whose name is empty or no plain text; n without one. */
static size_t find_nameless(const row *r) {
    size_t i = 0;
    while (i < r->n && *r->names[i] && affect_json_is_plain_text(r->names[i], strlen(r->names[i])))
        i++;
    return i;
}

static affect_status check_header(const reading *r, const row *header, affect_error *err) {
    size_t nameless = find_nameless(header);
    if (nameless < header->n)
        return affect_fail(err, MALFORMED, "%s: column %zu of the header has no name", r->list.file,
                           nameless + 1);
    for (const affect_json *m = affect_json_first(r->options->columns); m;
         m = affect_json_next(m)) {
        char text[MAX_VALUE];
        const char *source = affect_json_string(m, "");
        bool needed =
            strcmp(affect_json_name(m), "file") == 0 || strcmp(affect_json_name(m), "label") == 0;
        if (needed && !expand(text, header, source))
            return affect_fail(err, INVALID, "%s: no column for %s (\"%.100s\")", r->list.file,
                               affect_json_name(m), source);
    }
    if (header->n == 1 && strchr(header->names[0], ';'))
        return affect_fail(err, INVALID,
                           "%s: its separator is \";\" (need \",\", or tabs in a .tsv file)",
                           r->list.file);
    bool has_label = affect_json_get(r->options->columns, "label") != NULL;
    for (size_t i = 0; i < header->n; i++) {
        const char *fact = affect_corpus_fact_of(r->list.features, header->names[i]);
        has_label = has_label || (fact && strcmp(fact, "label") == 0);
    }
    return has_label ? AFFECT_STATUS_OK
                     : affect_fail(err, INVALID,
                                   "%s: no column \"label\" (say with \"columns\" which it is)",
                                   r->list.file);
}

static affect_status copy_header(char **owned, row *r, const affect_csv *csv, affect_error *err) {
    size_t size = 1;
    for (size_t i = 0; i < csv->n; i++) size += strlen(csv->cells[i]) + 1;
    char *to = *owned = malloc(size);
    if (!to) return affect_fail(err, NO_MEMORY, "no memory for a header");
    for (r->n = 0; r->n < csv->n; r->n++) {
        r->names[r->n] = r->values[r->n] = to;
        to = stpcpy(to, csv->cells[r->n]) + 1;
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_csv(reading *r, const char *text, size_t size, char separator,
                              affect_error *err) {
    affect_csv csv;
    row line = {0};
    char *names = NULL;
    bool more = false;
    affect_csv_begin(&csv, text, size, separator);
    if (size >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0))
        return affect_fail(err, MALFORMED, "%s: is UTF-16 (need UTF-8)", r->list.file);
    affect_status status = affect_csv_next(&csv, &more, err);
    if (status == AFFECT_STATUS_OK && !more)
        status = affect_fail(err, MALFORMED, "%s: is empty", r->list.file);
    if (status == AFFECT_STATUS_OK) status = copy_header(&names, &line, &csv, err);
    if (status == AFFECT_STATUS_OK) status = check_header(r, &line, err);
    size_t n_columns = line.n;
    while (status == AFFECT_STATUS_OK) {
        affect_error why = {0};
        affect_status read = affect_csv_next(&csv, &more, &why);
        if (read == AFFECT_STATUS_OK && !more) break;
        line.line = csv.line;
        line.n = csv.n;
        for (size_t i = 0; i < csv.n; i++) line.values[i] = csv.cells[i];
        if (read == AFFECT_STATUS_NO_MEMORY)
            status = affect_fail(err, NO_MEMORY, "%s", why.message);
        else if (read != AFFECT_STATUS_OK)
            affect_issues_add(r->issues, r->list.file, csv.line, "%s", why.message);
        else if (csv.n != n_columns)
            affect_issues_add(r->issues, r->list.file, csv.line, "%zu cells (the header has %zu)",
                              csv.n, n_columns);
        else
            status = add_row(r, &line, err);
    }
    free(names);
    affect_csv_end(&csv);
    return status;
}

/* The members of one object as names and values; numbers become text in `numbers`. */
static affect_status add_object(reading *r, const affect_json *object, size_t line,
                                affect_error *err) {
    row from = {.line = line};
    affect_buffer numbers = {0};
    size_t offsets[AFFECT_CSV_MAX_CELLS];
    for (const affect_json *m = affect_json_first(object); m && from.n < AFFECT_CSV_MAX_CELLS;
         m = affect_json_next(m)) {
        bool is_text = affect_json_is_string(m);
        if (!is_text && !affect_json_is_number(m) && !affect_json_is_bool(m)) continue;
        offsets[from.n] = numbers.size;
        if (!is_text) affect_json_print(&numbers, m);
        affect_buffer_append(&numbers, "", 1);
        from.names[from.n] = affect_json_name(m);
        from.values[from.n++] = is_text ? affect_json_string(m, "") : NULL;
    }
    affect_status status = AFFECT_STATUS_OK;
    if (numbers.failed) status = affect_fail(err, NO_MEMORY, "no memory for a row");
    size_t nameless = find_nameless(&from);
    if (status == AFFECT_STATUS_OK && nameless < from.n) {
        affect_issues_add(r->issues, r->list.file, line, "member %zu has no name", nameless + 1);
        affect_buffer_free(&numbers);
        return AFFECT_STATUS_OK;
    }
    for (size_t i = 0; i < from.n && status == AFFECT_STATUS_OK; i++)
        if (!from.values[i]) from.values[i] = numbers.data + offsets[i];
    if (status == AFFECT_STATUS_OK) status = add_row(r, &from, err);
    affect_buffer_free(&numbers);
    return status;
}

static affect_status read_lines(reading *r, const char *text, size_t size, affect_error *err) {
    const char *end = text + size;
    affect_status status = AFFECT_STATUS_OK;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3;
    for (size_t line = 1; text < end && status == AFFECT_STATUS_OK; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop ? stop : end) - text);
        affect_json *object = NULL;
        affect_error why = {0};
        affect_status parsed = AFFECT_STATUS_OK;
        if (n && text[n - 1] == '\r') n--;
        if (n) parsed = affect_json_parse(&object, text, n, &why);
        if (parsed == AFFECT_STATUS_OK && n && !affect_json_is_object(object))
            parsed = affect_fail(&why, MALFORMED, "not an object");
        if (parsed != AFFECT_STATUS_OK)
            affect_issues_add(r->issues, r->list.file, line, "%s", why.message);
        else if (n)
            status = add_object(r, object, line, err);
        affect_json_free(object);
        text = stop ? stop + 1 : end;
    }
    return status;
}

/* ---- The reader ---- */

/* The one table at the top of the tree, or in the one folder there. */
static affect_status find_table(char file[AFFECT_PATH_MAX], affect_tree **top, affect_error *err) {
    char **names = NULL;
    size_t n = 0;
    AFFECT_TRY(affect_corpus_descend(top, false, err));
    const affect_tree *tree = *top;
    affect_status status = affect_tree_list(&names, &n, tree, ".", err);
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        if (!is_table(names[i]) || !affect_tree_has_file(tree, names[i])) continue;
        if (*file)
            status = affect_fail(err, INVALID, "both %.100s and %.100s are tables: name one", file,
                                 names[i]);
        else
            snprintf(file, AFFECT_PATH_MAX, "%s", names[i]);
    }
    affect_tree_names_free(names, n);
    if (status == AFFECT_STATUS_OK && !*file)
        status = affect_fail(err, NOT_FOUND, "no .csv, .tsv or .jsonl file in it");
    return status;
}

/* Where paths of the table begin: its folder, and the folder of sound in it. */
static affect_status set_folder(reading *r, affect_error *err) {
    const char *slash = strrchr(r->list.file, '/'), *audio = r->options->audio;
    int n =
        snprintf(r->folder, sizeof r->folder, "%.*s%s%s", slash ? (int)(slash - r->list.file) : 0,
                 r->list.file, slash && *audio ? "/" : "", audio);
    if (n >= (int)sizeof r->folder)
        return affect_fail(err, INVALID, "/options/audio: too long a path");
    while (n > 0 && r->folder[n - 1] == '/') r->folder[--n] = '\0';
    return AFFECT_STATUS_OK;
}

/* The labels that a file beside the table gives to values; a label stands for itself too. Words of
 * the request come before it. */
static affect_status use_label_map(table_options *options, const affect_tree *tree,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX], *text = NULL;
    const char *slash = strrchr(options->file, '/');
    size_t size = 0;
    affect_json *map = NULL;
    if (!*options->label_map || affect_json_get(options->words, "label")) return AFFECT_STATUS_OK;
    int n = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - options->file) + 1 : 0,
                     options->file, options->label_map);
    if (n >= (int)sizeof path)
        return affect_fail(err, INVALID, "/options/label_map: too long a path");
    affect_status status = affect_tree_read(&text, &size, tree, path, MAX_LABEL_MAP_BYTES, err);
    if (status == AFFECT_STATUS_NOT_FOUND && options->label_map_may_be_absent) {
        if (err) *err = (affect_error){.fields = err->fields};
        return AFFECT_STATUS_OK;
    }
    if (status == AFFECT_STATUS_OK) status = affect_json_parse(&map, text, size, err);
    free(text);
    if (status != AFFECT_STATUS_OK) return affect_error_prefix(err, status, "%s", path);
    status = check_texts(map, path, "", err);
    affect_json *labels = status == AFFECT_STATUS_OK ? affect_json_copy(map) : NULL;
    for (const affect_json *m = affect_json_first(map); labels && m; m = affect_json_next(m)) {
        const char *label = affect_json_string(m, "");
        if (!affect_json_get(labels, label)) affect_json_set_string(labels, label, label);
    }
    affect_json_free(map);
    if (status != AFFECT_STATUS_OK) return status;
    if (!options->words) options->words = affect_json_new_object();
    return affect_json_set(options->words, "label", labels)
               ? AFFECT_STATUS_OK
               : affect_fail(err, NO_MEMORY, "no memory for a label map");
}

static affect_status read_table(affect_corpus *corpus, affect_issues *issues,
                                table_options *options, affect_error *err) {
    char *text = NULL;
    size_t size = 0;
    if (!*options->file) AFFECT_TRY(find_table(options->file, &corpus->tree, err));
    reading r = {.options = options,
                 .issues = issues,
                 .list = {.file = options->file, .features = corpus->features}};
    AFFECT_TRY(set_folder(&r, err));
    AFFECT_TRY(use_label_map(options, corpus->tree, err));
    AFFECT_TRY(affect_tree_read(&text, &size, corpus->tree, options->file, MAX_TABLE_BYTES, err));
    affect_status status =
        has_ending(options->file, ".jsonl")
            ? read_lines(&r, text, size, err)
            : read_csv(&r, text, size, has_ending(options->file, ".tsv") ? '\t' : ',', err);
    free(text);
    if (status == AFFECT_STATUS_OK) return affect_corpus_list_finish(corpus, issues, &r.list, err);
    affect_corpus_list_free(&r.list);
    return status;
}

affect_status affect_table_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                const affect_json *options, affect_error *err) {
    table_options parsed = {0};
    corpus->tree = folder;
    affect_status status = parse_options(&parsed, options, "/options", err);
    if (status == AFFECT_STATUS_OK) status = read_table(corpus, issues, &parsed, err);
    affect_fields_free(&parsed, affect_table_options);
    return status;
}
