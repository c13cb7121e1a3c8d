/* Sizes of the features "mel" and "motion" as numbers, for tests that make datasets and
 * architectures of them. */
#ifndef AFFECT_TESTS_SIZES_H
#define AFFECT_TESTS_SIZES_H

#include "engine/model/architecture.h"

/* A feature of which a size is 0 is left out. */
typedef struct {
    size_t frames, mels, parts, columns, classes;
} network_sizes;

static inline affect_sizes sizes_of(network_sizes numbers) {
    affect_sizes sizes = {.n_classes = numbers.classes};
    if (numbers.frames && numbers.mels)
        affect_sizes_add(&sizes, "mel", numbers.frames, numbers.mels, NULL);
    if (numbers.parts && numbers.columns)
        affect_sizes_add(&sizes, "motion", numbers.parts, numbers.columns, NULL);
    return sizes;
}

static inline affect_status create_architecture(affect_architecture **architecture,
                                                const affect_json *document,
                                                const affect_json *variables, network_sizes numbers,
                                                affect_error *err) {
    affect_sizes sizes = sizes_of(numbers);
    return affect_architecture_create(architecture, document, variables, &sizes, err);
}

#endif
