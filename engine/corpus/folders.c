/* Sound files in folders; see folders.h.
 *
 * The tree is walked in byte order into a list of paths; then each path becomes an item, its facts
 * from its folders or from a pattern. Presets are files of configs/patterns/, as a user would write
 * them. */
#include "engine/corpus/folders.h"

#include "engine/core/fields.h"
#include "engine/corpus/corpus_list.h"
#include "engine/corpus/pattern.h"
#include "engine/corpus/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_DEPTH = 12, MAX_FILES = 4000000 };

/* ---- Options ---- */

typedef enum { FOLDERS_AUTO, FOLDERS_LABEL, FOLDERS_SPEAKER_LABEL } folders_kind;
static const char *const folders_names[] = {"auto", "label", "speaker/label", NULL};
static const char *const on_names[] = {"name", "path", NULL};

typedef struct {
    char expression[AFFECT_PATTERN_MAX_BYTES + 1];
    int on; /* of on_names */
    affect_json *words;
} pattern_options;

static const affect_field pattern_fields[] = {
    AFFECT_FIELD_STRING(pattern_options, expression, "", "a regular expression with named groups",
                        .minimum = 1, .required = true),
    AFFECT_FIELD_CHOICE(pattern_options, on, 0, on_names, "what is matched"),
    AFFECT_FIELD_JSON(
        pattern_options, words, "what the groups' values mean",
        .schema = "{'type':'object','additionalProperties':{'type':'object','additionalProperties':"
                  "{'type':'string'}}}"),
    AFFECT_FIELD_END};

typedef struct {
    int folders;
    affect_json *pattern; /* owned */
} folders_options;

static void add_patterns(affect_json *schema) {
    affect_corpus_add_preset_names(schema, "configs/patterns");
}

const affect_field affect_folders_options[] = {
    AFFECT_FIELD_CHOICE(folders_options, folders, FOLDERS_AUTO, folders_names,
                        "what the folders above a file are"),
    AFFECT_FIELD_JSON(folders_options, pattern, "a preset's name, or {\"expression\": ...}",
                      .schema = "{'type':'string'}", .fields = pattern_fields,
                      .complete = add_patterns),
    AFFECT_FIELD_END};

static affect_status parse_pattern(pattern_options *pattern, const affect_json *json,
                                   const char *path, affect_error *err) {
    char below[AFFECT_PATH_MAX];
    affect_json *preset = NULL;
    affect_fields_default(pattern, pattern_fields);
    AFFECT_TRY(affect_path_join(below, err, path, "pattern"));
    if (affect_json_is_string(json))
        AFFECT_TRY(affect_corpus_preset(&preset, "configs/patterns", json, below, err));
    affect_status status =
        affect_fields_parse(pattern, pattern_fields, preset ? preset : json, below, err);
    affect_json_free(preset);
    AFFECT_TRY(status);
    AFFECT_TRY(affect_path_join(below, err, path, "pattern/words"));
    return affect_corpus_words_check(pattern->words, below, err);
}

affect_status affect_folders_check(const affect_json *options, const char *path,
                                   affect_error *err) {
    folders_options parsed;
    pattern_options pattern = {0};
    affect_fields_default(&parsed, affect_folders_options);
    affect_status status = affect_fields_parse(&parsed, affect_folders_options, options, path, err);
    if (status == AFFECT_STATUS_OK && parsed.pattern)
        status = parse_pattern(&pattern, parsed.pattern, path, err);
    if (status == AFFECT_STATUS_OK && parsed.pattern && parsed.folders != FOLDERS_AUTO)
        status = affect_field_fail(err, path, "folders", "does not go with a pattern");
    affect_fields_free(&pattern, pattern_fields);
    affect_fields_free(&parsed, affect_folders_options);
    return status;
}

bool affect_folders_select(const char *name, char path[AFFECT_PATH_MAX]) {
    return affect_corpus_is_sound(name) && affect_corpus_keep_path(name, path);
}

/* ---- The files ---- */

typedef struct {
    const affect_tree *tree;
    affect_issues *issues;
    char **paths; /* owned */
    size_t n, capacity;
} file_list;

static affect_status add_path(file_list *list, const char *path, affect_error *err) {
    if (list->n == MAX_FILES) return affect_fail(err, TOO_LARGE, "over %d sound files", MAX_FILES);
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        char **grown = realloc(list->paths, capacity * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for %zu paths", capacity);
        list->paths = grown;
        list->capacity = capacity;
    }
    list->paths[list->n] = strdup(path);
    return list->paths[list->n++] ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory");
}

static affect_status walk(file_list *list, const char *folder, int depth, affect_error *err);

/* A link to a file is that file; one to a folder could be a circle, or the same sounds again. */
static affect_status walk_entry(file_list *list, const char *path, int depth, affect_error *err) {
    int fd = -1;
    affect_error why = {0};
    affect_status opened = affect_tree_open_file(&fd, NULL, list->tree, path, &why);
    bool is_sound = affect_corpus_is_sound(path);
    if (fd >= 0) close(fd);
    if (opened == AFFECT_STATUS_OK) return is_sound ? add_path(list, path, err) : opened;
    if (opened == AFFECT_STATUS_TOO_LARGE) {
        if (is_sound) affect_issues_add(list->issues, path, 0, "%s", why.message);
        return AFFECT_STATUS_OK;
    }
    if (affect_tree_is_link(list->tree, path))
        affect_issues_add(list->issues, path, 0,
                          "a link to a folder, to nothing, or one that leads out of the corpus: "
                          "not followed");
    else if (depth == MAX_DEPTH)
        affect_issues_add(list->issues, path, 0, "below %d folders: not read", MAX_DEPTH);
    else
        return walk(list, path, depth + 1, err);
    return AFFECT_STATUS_OK;
}

static affect_status walk(file_list *list, const char *folder, int depth, affect_error *err) {
    char **names = NULL;
    size_t n = 0;
    affect_error why = {0};
    affect_status status = affect_tree_list(&names, &n, list->tree, folder, &why);
    if (status == AFFECT_STATUS_NO_MEMORY) return affect_fail(err, NO_MEMORY, "%s", why.message);
    if (status != AFFECT_STATUS_OK) { /* a folder that may not be read */
        affect_issues_add(list->issues, folder, 0, "%s", why.message);
        return AFFECT_STATUS_OK;
    }
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++) {
        char path[AFFECT_PATH_MAX];
        bool top = strcmp(folder, ".") == 0;
        int length =
            snprintf(path, sizeof path, "%s%s%s", top ? "" : folder, top ? "" : "/", names[i]);
        if (length >= (int)sizeof path || !affect_json_is_plain_text(path, strlen(path)))
            affect_issues_add(list->issues, folder, 0,
                              "a path in it is too long, or no plain UTF-8");
        else
            status = walk_entry(list, path, depth, err);
    }
    affect_tree_names_free(names, n);
    return status;
}

static void free_list(file_list *list) {
    for (size_t i = 0; i < list->n; i++) free(list->paths[i]);
    free(list->paths);
}

/* ---- Facts from folders ---- */

static int depth_of(const char *path) {
    int depth = 0;
    for (; *path; path++) depth += *path == '/';
    return depth;
}

static affect_status find_kind(int *kind, const file_list *list, affect_error *err) {
    int depth = depth_of(list->paths[0]);
    for (size_t i = 1; i < list->n; i++)
        if (depth_of(list->paths[i]) != depth)
            return affect_fail(
                err, INVALID,
                "%.100s and %.100s are not equally deep: give a pattern, or say with "
                "\"folders\" what the folders are",
                list->paths[0], list->paths[i]);
    if (depth < 1 || depth > 2)
        return affect_fail(err, INVALID,
                           "%.100s: %d folders above a file (need 1: the label, or 2: speaker and "
                           "label; or give a pattern)",
                           list->paths[0], depth);
    *kind = depth == 1 ? FOLDERS_LABEL : FOLDERS_SPEAKER_LABEL;
    return AFFECT_STATUS_OK;
}

/* The name of the folder `above` levels over the file, "" where there is none. */
static void folder_name(char name[AFFECT_PATH_MAX], const char *path, int above) {
    const char *end = strrchr(path, '/');
    for (; end && above > 1; above--) {
        const char *at = end;
        while (at > path && at[-1] != '/') at--;
        end = at > path ? at - 1 : NULL;
    }
    const char *begin = end;
    while (begin && begin > path && begin[-1] != '/') begin--;
    snprintf(name, AFFECT_PATH_MAX, "%.*s", end ? (int)(end - begin) : 0, end ? begin : "");
}

static void set_from_folders(affect_corpus_list *list, affect_issues *issues, int kind,
                             const char *path) {
    char name[AFFECT_PATH_MAX], reason[AFFECT_CORPUS_REASON_SIZE];
    folder_name(name, path, 1);
    const char *problem = affect_corpus_list_set(list, "label", name, reason);
    if (!problem && kind == FOLDERS_SPEAKER_LABEL) {
        folder_name(name, path, 2);
        problem = affect_corpus_list_set(list, "speaker", name, reason);
    }
    if (problem) affect_corpus_list_drop(list, issues, "%s", problem);
}

/* ---- Facts from a pattern ---- */

/* The status is that of matching; what is wrong with the name is an issue. */
static affect_status set_from_pattern(affect_corpus_list *list, affect_issues *issues,
                                      const pattern_options *options, affect_pattern *pattern,
                                      const char *path, affect_error *err) {
    const char *slash = strrchr(path, '/');
    const char *text = options->on || !slash ? path : slash + 1;
    char reason[AFFECT_CORPUS_REASON_SIZE];
    bool matches = false;
    AFFECT_TRY(affect_pattern_match(&matches, pattern, text, err));
    if (!matches) {
        affect_corpus_list_drop(list, issues, "does not match the pattern");
        return AFFECT_STATUS_OK;
    }
    for (size_t g = 0; g < affect_pattern_n_groups(pattern); g++) {
        const char *name = affect_pattern_group_name(pattern, g);
        const char *value = affect_pattern_group(pattern, g), *problem = NULL;
        const char *word = *value ? affect_corpus_word(options->words, name, value) : "";
        if (word) problem = affect_corpus_list_set(list, name, word, reason);
        if (word && !problem) continue;
        if (problem)
            affect_corpus_list_drop(list, issues, "%s", problem);
        else
            affect_corpus_list_drop(list, issues, "%s \"%.60s\" is not among the words", name,
                                    value);
        return AFFECT_STATUS_OK;
    }
    return AFFECT_STATUS_OK;
}

/* ---- The reader ---- */

static affect_status read_files(affect_corpus *corpus, affect_issues *issues,
                                const file_list *files, int kind, const pattern_options *options,
                                affect_error *err) {
    affect_corpus_list list = {.file = "", .features = corpus->features};
    affect_pattern *pattern = NULL;
    affect_status status = AFFECT_STATUS_OK;
    if (*options->expression) status = affect_pattern_create(&pattern, options->expression, err);
    for (size_t i = 0; i < files->n && status == AFFECT_STATUS_OK; i++) {
        affect_corpus_item *item = affect_corpus_list_add(&list, 0);
        char **file = item ? &item->utterance.files[AFFECT_CORPUS_SOUND] : NULL;
        if (!item || !(*file = strdup(files->paths[i])))
            status = affect_fail(err, NO_MEMORY, "no memory for %zu utterances", i + 1);
        else if (pattern)
            status = set_from_pattern(&list, issues, options, pattern, files->paths[i], err);
        else
            set_from_folders(&list, issues, kind, files->paths[i]);
    }
    affect_pattern_free(pattern);
    if (status == AFFECT_STATUS_OK) return affect_corpus_list_finish(corpus, issues, &list, err);
    affect_corpus_list_free(&list);
    return status;
}

affect_status affect_folders_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                  const affect_json *options, affect_error *err) {
    folders_options parsed;
    pattern_options pattern = {0};
    file_list files = {.issues = issues};
    affect_fields_default(&parsed, affect_folders_options);
    corpus->tree = folder;
    affect_status status =
        affect_fields_parse(&parsed, affect_folders_options, options, "/options", err);
    if (status == AFFECT_STATUS_OK && parsed.pattern)
        status = parse_pattern(&pattern, parsed.pattern, "/options", err);
    else if (status == AFFECT_STATUS_OK && parsed.folders == FOLDERS_AUTO)
        status = affect_corpus_descend(&corpus->tree, true, err);
    files.tree = corpus->tree;
    if (status == AFFECT_STATUS_OK) status = walk(&files, ".", 0, err);
    if (status == AFFECT_STATUS_OK && files.n == 0)
        status = affect_fail(err, NOT_FOUND, "no sound file (.wav, .flac, .ogg, ...) in it");
    int kind = parsed.folders;
    if (status == AFFECT_STATUS_OK && !parsed.pattern && kind == FOLDERS_AUTO)
        status = find_kind(&kind, &files, err);
    if (status == AFFECT_STATUS_OK)
        status = read_files(corpus, issues, &files, kind, &pattern, err);
    free_list(&files);
    affect_fields_free(&pattern, pattern_fields);
    affect_fields_free(&parsed, affect_folders_options);
    return status;
}
