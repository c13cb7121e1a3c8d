/* The files of one dialog as they were read for its key, kept until it is computed: every byte of a
 * corpus is read once.
 *
 * One piece of memory of AFFECT_DIALOG_FILES_BYTES (touched only as far as it is used) serves one
 * dialog after another; a file that finds no room is not kept, and is read again where it is
 * needed. Belongs to one thread. */
#ifndef AFFECT_CORPUS_DIALOG_FILES_H
#define AFFECT_CORPUS_DIALOG_FILES_H

#include "engine/core/digest.h"
#include "engine/core/source.h"
#include "engine/core/status.h"

/* IEMOCAP's largest dialogs have about 60 MB of text and sound. */
#define AFFECT_DIALOG_FILES_BYTES ((size_t)192 << 20)

typedef struct affect_dialog_files affect_dialog_files;

affect_status affect_dialog_files_create(affect_dialog_files **files, affect_error *err);
void affect_dialog_files_free(affect_dialog_files *files);
/* Forgets all: the next dialog. */
void affect_dialog_files_clear(affect_dialog_files *files);
/* Room for a file's bytes, NULL when there is none; it counts as kept when it is filled: add. */
char *affect_dialog_files_room(affect_dialog_files *files, size_t size);
void affect_dialog_files_add(affect_dialog_files *files, const char *path, size_t size);
/* The bytes of the file of that path, borrowed until clear; false when it is not kept. */
bool affect_dialog_files_find(const affect_dialog_files *files, affect_source *source,
                              const char *path);

/* SHA-256 of a file of that path and size that was remembered last, though of an earlier dialog: of
 * one that many dialogs share. */
bool affect_dialog_files_digest(const affect_dialog_files *files,
                                char digest[AFFECT_DIGEST_TEXT_SIZE], const char *path,
                                uint64_t size);
void affect_dialog_files_remember(affect_dialog_files *files, const char *path, uint64_t size,
                                  const char *digest);

#endif
