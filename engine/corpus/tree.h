/* A folder of the user's, read and never left.
 *
 * Every name is relative to the root and resolved beneath it: `..` and symbolic links that lead out
 * are refused by the kernel (openat2, RESOLVE_BENEATH); where that call is missing no link is
 * followed at all. What was opened and checked is what is read: nothing is looked up by path again.
 * Files are opened only if regular, so a pipe or a device in the tree cannot block an import.
 * Immutable once opened and limited; shared by threads. */
#ifndef AFFECT_CORPUS_TREE_H
#define AFFECT_CORPUS_TREE_H

#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct affect_tree affect_tree;

/* The folder `root`, which may be a link, or the folder `below` it (not NULL: a relative path
 * without a link on it). NOT_FOUND, or INVALID when it is not a folder or leads out of root. */
affect_status affect_tree_open(affect_tree **tree, const char *root, const char *below,
                               affect_error *err);
/* The folder `name` below `tree` as a tree of its own. */
affect_status affect_tree_open_below(affect_tree **tree, const affect_tree *above, const char *name,
                                     affect_error *err);
void affect_tree_close(affect_tree *tree);
/* Files that are larger are TOO_LARGE from now on, also in trees opened below this one: a sparse
 * file has terabytes that cost its maker nothing. */
void affect_tree_limit_files(affect_tree *tree, uint64_t max_file_bytes);

/* Names in folder `name` ("." = the root) in byte order, without those that begin with a dot
 * (AppleDouble `._*`, `.DS_Store`). *names owned: affect_tree_names_free. An absent folder has no
 * names. */
affect_status affect_tree_list(char ***names, size_t *n, const affect_tree *tree, const char *name,
                               affect_error *err);
void affect_tree_names_free(char **names, size_t n);

/* A regular file, opened for reading; *fd owned (close). size may be NULL. NOT_FOUND, or INVALID
 * for what is not a regular file or lies outside, TOO_LARGE. */
affect_status affect_tree_open_file(int *fd, uint64_t *size, const affect_tree *tree,
                                    const char *name, affect_error *err);
bool affect_tree_has_file(const affect_tree *tree, const char *name);
/* Whether the last part of the name is a symbolic link, wherever it leads. */
bool affect_tree_is_link(const affect_tree *tree, const char *name);
/* The whole file, followed by a 0; *data owned (free). TOO_LARGE above max_size. */
affect_status affect_tree_read(char **data, size_t *size, const affect_tree *tree, const char *name,
                               size_t max_size, affect_error *err);

#endif
