/* What readers share; see reading.h. */
#include "engine/corpus/reading.h"

#include "engine/core/embedded.h"
#include "engine/core/fields.h"

#include <string.h>
#include <strings.h>

affect_status affect_corpus_no_options(const affect_json *options, const char *path,
                                       affect_error *err) {
    if (!options || (affect_json_is_object(options) && affect_json_size(options) == 0))
        return AFFECT_STATUS_OK;
    return affect_field_fail(err, path, "", "this layout has no options");
}

void affect_corpus_add_preset_names(affect_json *schema, const char *folder) {
    char name[64];
    affect_json *text = affect_json_at(affect_json_get(schema, "oneOf"), 0);
    affect_json *names = affect_json_set_array(text, "enum");
    for (size_t i = 0; affect_embedded_preset_name(name, folder, i); i++)
        affect_json_append(names, affect_json_new_string(name));
}

affect_status affect_corpus_preset(affect_json **json, const char *folder, const affect_json *name,
                                   const char *path, affect_error *err) {
    char known[200];
    const char *wanted = affect_json_string(name, "");
    const affect_embedded_file *file = affect_embedded_preset(folder, wanted, known, sizeof known);
    if (file) return affect_json_parse(json, file->text, file->size, err);
    return affect_field_fail(err, path, "", "\"%.40s\" is not known (known: %s)", wanted, known);
}

bool affect_corpus_is_sound(const char *name) {
    static const char *const extensions[] = {".wav", ".flac", ".ogg", ".oga",  ".opus", ".mp3",
                                             ".aif", ".aiff", ".au",  ".aifc", ".w64",  ".caf"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof extensions / sizeof *extensions; i++)
        if (strcasecmp(dot, extensions[i]) == 0) return true;
    return false;
}

bool affect_corpus_keep_path(const char *name, char path[AFFECT_PATH_MAX]) {
    size_t n = strlen(name);
    if (n >= AFFECT_PATH_MAX || name[0] == '.' || strstr(name, "/.")) return false;
    if (!affect_json_is_plain_text(name, n)) return false;
    memcpy(path, name, n + 1);
    return true;
}

static bool holds_sound(const affect_tree *tree, const char *folder) {
    char **names = NULL;
    size_t n = 0;
    bool found = false;
    if (affect_tree_list(&names, &n, tree, folder, NULL) != AFFECT_STATUS_OK) return false;
    for (size_t i = 0; i < n; i++) found = found || affect_corpus_is_sound(names[i]);
    affect_tree_names_free(names, n);
    return found;
}

affect_status affect_corpus_descend(affect_tree **tree, bool folders_are_labels,
                                    affect_error *err) {
    affect_tree *below = NULL;
    char **names = NULL;
    size_t n = 0;
    affect_status status = affect_tree_list(&names, &n, *tree, ".", err);
    if (status == AFFECT_STATUS_OK && n == 1 && !affect_tree_has_file(*tree, names[0]) &&
        !(folders_are_labels && holds_sound(*tree, names[0]))) {
        status = affect_tree_open_below(&below, *tree, names[0], err);
        if (status == AFFECT_STATUS_OK) {
            affect_tree_close(*tree);
            *tree = below;
        }
    }
    affect_tree_names_free(names, n);
    return status;
}
