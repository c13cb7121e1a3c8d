/* Deleting a folder together with the row that knows it, at once or not at all.
 *
 * The folder KIND/ID is renamed to KIND/.ID (no id begins with a dot) while the row goes, and is
 * removed after the row is gone. A server that ends in between finds at its next start what to do
 * (api_leftovers_remove): a renamed folder whose id has a row gets its name back, any other is
 * removed. */
#ifndef AFFECT_STORE_FOLDER_DELETION_H
#define AFFECT_STORE_FOLDER_DELETION_H

#include "engine/core/file.h"

typedef struct {
    char folder[AFFECT_PATH_MAX], aside[AFFECT_PATH_MAX];
    bool moved;
} api_folder_deletion;

/* Sets DATA/kind/id aside; an absent folder is fine. To be ended unless it fails. */
affect_status api_folder_deletion_begin(api_folder_deletion *deletion, const char *data_dir,
                                        const char *kind, const char *id, affect_error *err);
/* removed: the row is gone, the folder goes; else it gets its name back. What resists is tried
 * again at the next start. */
void api_folder_deletion_end(api_folder_deletion *deletion, bool removed);

#endif
