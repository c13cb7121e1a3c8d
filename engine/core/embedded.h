/* Files of configs/ and api/ that are compiled into the library.
 *
 * A program thus needs no file beside it, and no client's name ever opens one: a preset is looked
 * up in this table. Built by embed.cmake; immutable, shared by all threads. */
#ifndef AFFECT_CORE_EMBEDDED_H
#define AFFECT_CORE_EMBEDDED_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name; /* path below the source tree, as "configs/models/paper-base.json" */
    const char *text; /* the bytes, followed by a 0 that size does not count */
    size_t size;
} affect_embedded_file;

/* All files, ended by a row whose name is NULL. */
extern const affect_embedded_file affect_embedded_files[];

/* The file of that path, or NULL. Borrowed for ever. */
const affect_embedded_file *affect_embedded_find(const char *name);

/* Presets: the names of FOLDER/NAME.json, in the order of the table. False: fewer than i + 1. */
bool affect_embedded_preset_name(char name[64], const char *folder, size_t i);
/* The preset of that name, or NULL; then `known` (of `size` bytes) becomes "a, b, c". */
const affect_embedded_file *affect_embedded_preset(const char *folder, const char *name,
                                                   char *known, size_t size);

#endif
