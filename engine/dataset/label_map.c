/* Label maps; see label_map.h. */
#include "engine/dataset/label_map.h"

#include "engine/core/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int affect_label_map_class(const affect_label_map *map, const char *label) {
    for (size_t i = 0; i < map->n_labels; i++)
        if (strcmp(map->labels[i], label) == 0) return map->class_of[i];
    return -1;
}

static bool is_name(const char *text) {
    size_t n = strlen(text);
    return n > 0 && n < AFFECT_LABEL_MAP_NAME_SIZE && affect_json_is_plain_text(text, n);
}

static affect_status add_class(affect_label_map *map, const char *name, const char *path,
                               affect_error *err) {
    if (!is_name(name))
        return affect_field_fail(err, path, "",
                                 "\"%.40s\" is not a class name (1 to %d bytes, no control "
                                 "characters)",
                                 name, AFFECT_LABEL_MAP_NAME_SIZE - 1);
    if (map->n_classes == AFFECT_MAX_CLASSES)
        return affect_field_fail(err, path, name, "over %d classes", AFFECT_MAX_CLASSES);
    snprintf(map->classes[map->n_classes++], AFFECT_LABEL_MAP_NAME_SIZE, "%s", name);
    return AFFECT_STATUS_OK;
}

/* Adds a label to the class added last. */
static affect_status add_label(affect_label_map *map, const affect_json *json, const char *path,
                               affect_error *err) {
    const char *class_name = map->classes[map->n_classes - 1];
    const char *label = affect_json_string(json, "");
    if (!is_name(label))
        return affect_field_fail(err, path, class_name,
                                 "\"%.40s\" is not a label (1 to %d bytes, no control characters)",
                                 label, AFFECT_LABEL_MAP_NAME_SIZE - 1);
    if (affect_label_map_class(map, label) >= 0)
        return affect_field_fail(err, path, class_name, "\"%s\" belongs to another class already",
                                 label);
    if (map->n_labels == AFFECT_LABEL_MAP_MAX_LABELS)
        return affect_field_fail(err, path, class_name, "over %d labels",
                                 AFFECT_LABEL_MAP_MAX_LABELS);
    snprintf(map->labels[map->n_labels], sizeof map->labels[0], "%s", label);
    map->class_of[map->n_labels++] = (int)map->n_classes - 1;
    return AFFECT_STATUS_OK;
}

static int compare_members(const void *a, const void *b) {
    return strcmp(affect_json_name(*(affect_json *const *)a),
                  affect_json_name(*(affect_json *const *)b));
}

static affect_status read_sorted(affect_label_map *map, affect_json **members, size_t n,
                                 const char *path, affect_error *err) {
    qsort(members, n, sizeof *members, compare_members);
    for (size_t i = 0; i < n; i++) {
        const char *name = affect_json_name(members[i]);
        AFFECT_TRY(add_class(map, name, path, err));
        if (!affect_json_is_array(members[i]) || !affect_json_first(members[i]))
            return affect_field_fail(err, path, name, "is not a list of labels");
        for (const affect_json *label = affect_json_first(members[i]); label;
             label = affect_json_next(label))
            AFFECT_TRY(add_label(map, label, path, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status read_object(affect_label_map *map, const affect_json *json, const char *path,
                                 affect_error *err) {
    size_t n = affect_json_size(json), i = 0;
    if (!affect_json_is_object(json) || n == 0)
        return affect_field_fail(
            err, path, "", "is not an object of classes (as {\"happy\": [\"hap\", \"exc\"]})");
    affect_json **members = calloc(n, sizeof *members);
    if (!members) return affect_fail(err, NO_MEMORY, "no memory");
    for (affect_json *m = affect_json_first(json); m; m = affect_json_next(m)) members[i++] = m;
    affect_status status = read_sorted(map, members, n, path, err);
    free(members);
    return status;
}

affect_status affect_label_map_parse(affect_label_map *map, const affect_json *json,
                                     const char *path, affect_error *err) {
    *map = (affect_label_map){.all = !json || affect_json_is_null(json)};
    return map->all ? AFFECT_STATUS_OK : read_object(map, json, path, err);
}

static int compare_labels(const void *a, const void *b) {
    return strcmp(a, b);
}

affect_status affect_label_map_set_all(affect_label_map *map, const char *const *labels, size_t n,
                                       affect_error *err) {
    map->n_labels = map->n_classes = 0;
    for (size_t i = 0; i < n; i++) {
        if (affect_label_map_class(map, labels[i]) >= 0) continue;
        if (map->n_classes == AFFECT_MAX_CLASSES)
            return affect_fail(err, INVALID,
                               "the corpus has over %d labels: say with \"labels\" which are "
                               "classes (as {\"happy\": [\"hap\", \"exc\"]})",
                               AFFECT_MAX_CLASSES);
        snprintf(map->classes[map->n_classes++], sizeof map->classes[0], "%s", labels[i]);
        snprintf(map->labels[map->n_labels], sizeof map->labels[0], "%s", labels[i]);
        map->class_of[map->n_labels] = (int)map->n_labels;
        map->n_labels++;
    }
    qsort(map->classes, map->n_classes, sizeof map->classes[0], compare_labels);
    qsort(map->labels, map->n_labels, sizeof map->labels[0], compare_labels);
    return AFFECT_STATUS_OK;
}

affect_json *affect_label_map_to_json(const affect_label_map *map) {
    affect_json *json = affect_json_new_object();
    char labels[AFFECT_LABEL_MAP_MAX_LABELS][AFFECT_LABEL_MAP_NAME_SIZE];
    memcpy(labels, map->labels, sizeof labels);
    qsort(labels, map->n_labels, sizeof labels[0], compare_labels);
    for (size_t c = 0; c < map->n_classes; c++) {
        affect_json *list = affect_json_set_array(json, map->classes[c]);
        for (size_t i = 0; i < map->n_labels; i++)
            if (affect_label_map_class(map, labels[i]) == (int)c)
                affect_json_append(list, affect_json_new_string(labels[i]));
    }
    return json;
}
