/* From the corpus' labels to classes: {"angry": ["ang"], "happy": ["hap", "exc"], ...}.
 *
 * Classes stand in alphabetical order, which is the order of a network's outputs. A label may
 * belong to one class only. Plain data; const use is shared. */
#ifndef AFFECT_DATASET_LABEL_MAP_H
#define AFFECT_DATASET_LABEL_MAP_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stddef.h>

#define AFFECT_MAX_CLASSES          64 /* of a dataset, a network, an evaluation: everywhere */
#define AFFECT_LABEL_MAP_MAX_LABELS 64
#define AFFECT_LABEL_MAP_NAME_SIZE  32

typedef struct {
    size_t n_classes, n_labels;
    char classes[AFFECT_MAX_CLASSES][AFFECT_LABEL_MAP_NAME_SIZE];
    char labels[AFFECT_LABEL_MAP_MAX_LABELS][8];
    int class_of[AFFECT_LABEL_MAP_MAX_LABELS]; /* of labels[i] */
} affect_label_map;

/* NULL json: the study's four (angry: ang; happy: hap, exc; neutral: neu; sad: sad). INVALID names
 * the member at fault below `path`: classes are [a-z][a-z0-9_-]*, labels three lower-case letters.
 */
affect_status affect_label_map_parse(affect_label_map *map, const affect_json *json,
                                     const char *path, affect_error *err);
/* The object above, classes sorted, labels sorted; owned. */
affect_json *affect_label_map_to_json(const affect_label_map *map);
/* Index of the class of a label, or -1. */
int affect_label_map_class(const affect_label_map *map, const char *label);

#endif
