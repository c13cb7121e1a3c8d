/* From the corpus' labels to classes: {"angry": ["ang"], "happy": ["hap", "exc"], ...}, or every
 * label a class of its own.
 *
 * Classes and labels are any text of at most 64 bytes of UTF-8 without control characters. Classes
 * stand in the order of their bytes, which is the order of a network's outputs. A label may belong
 * to one class only. Plain data; const use is shared. */
#ifndef AFFECT_DATASET_LABEL_MAP_H
#define AFFECT_DATASET_LABEL_MAP_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define AFFECT_MAX_CLASSES          64 /* of a dataset, a network, an evaluation: everywhere */
#define AFFECT_LABEL_MAP_MAX_LABELS 256
#define AFFECT_LABEL_MAP_NAME_SIZE  65

typedef struct {
    bool all; /* every label is a class: affect_label_map_set_all says which there are */
    size_t n_classes, n_labels;
    char classes[AFFECT_MAX_CLASSES][AFFECT_LABEL_MAP_NAME_SIZE];
    char labels[AFFECT_LABEL_MAP_MAX_LABELS][AFFECT_LABEL_MAP_NAME_SIZE];
    int class_of[AFFECT_LABEL_MAP_MAX_LABELS]; /* of labels[i] */
} affect_label_map;

/* NULL or null: all, no class yet. INVALID names the member at fault below `path`. */
affect_status affect_label_map_parse(affect_label_map *map, const affect_json *json,
                                     const char *path, affect_error *err);
/* For a map of all labels: those of a corpus, in any order, repeated or not. INVALID when they are
 * more than AFFECT_MAX_CLASSES. */
affect_status affect_label_map_set_all(affect_label_map *map, const char *const *labels, size_t n,
                                       affect_error *err);
/* The object above, classes sorted, labels sorted; owned. */
affect_json *affect_label_map_to_json(const affect_label_map *map);
/* Index of the class of a label, or -1. */
int affect_label_map_class(const affect_label_map *map, const char *label);

#endif
