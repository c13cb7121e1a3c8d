/* Files: whole reads, durable atomic writes, maps, directories, locks.
 *
 * A write that matters goes through affect_file_write: written aside, fsynced, renamed, directory
 * fsynced, so that after a crash the old or the new content is there, never a mixture. */
#ifndef AFFECT_CORE_FILE_H
#define AFFECT_CORE_FILE_H

#include "engine/core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AFFECT_PATH_MAX 1024

/* "a/b" from "a" and "b", formatted. INVALID when longer than AFFECT_PATH_MAX - 1. */
affect_status affect_path_join(char path[AFFECT_PATH_MAX], affect_error *err, const char *directory,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Opens for reading what is a regular file: anything else, a pipe that nothing writes to say, is
 * INVALID at once. *fd owned (close); size may be NULL. */
affect_status affect_file_open(int *fd, size_t *size, const char *path, affect_error *err);
/* Moves a complete file to its place in the same file system, durably: its bytes, then its name. */
affect_status affect_file_rename(const char *from, const char *to, affect_error *err);
/* The whole regular file, followed by a 0; *data owned (free). TOO_LARGE above max_size. */
affect_status affect_file_read(char **data, size_t *size, const char *path, size_t max_size,
                               affect_error *err);
/* The number behind `name` at the start of a line of a file of /proc or /sys (which call themselves
 * empty, so affect_file_read does not read them); SIZE_MAX when there is none. */
size_t affect_file_find_number(const char *path, const char *name);
/* Replaces (or makes) the file atomically and durably, mode 0644. */
affect_status affect_file_write(const char *path, const void *data, size_t size, affect_error *err);

/* The same for a file that is made piece by piece. Open, append, then commit or free (which removes
 * what was written unless committed). The first failure sticks; commit reports it. */
typedef struct affect_file_writer affect_file_writer;
affect_status affect_file_writer_open(affect_file_writer **writer, const char *path,
                                      affect_error *err);
void affect_file_writer_append(affect_file_writer *writer, const void *data, size_t size);
affect_status affect_file_writer_commit(affect_file_writer *writer, affect_error *err);
void affect_file_writer_free(affect_file_writer *writer);

/* Whether a file of that name is what a killed process had not yet committed. */
bool affect_file_is_aside(const char *name);

/* A file mapped read-only. data is borrowed until unmap; an empty file maps to "" of size 0. */
typedef struct {
    const unsigned char *data;
    size_t size;
} affect_file_map;
affect_status affect_file_map_open(affect_file_map *map, const char *path, affect_error *err);
void affect_file_map_close(affect_file_map *map);

/* mkdir -p (mode 0755); new names are on the disk when it returns. */
affect_status affect_directory_make(const char *path, affect_error *err);
/* Removes a directory and all below it, not following links; absent is fine. */
affect_status affect_directory_remove(const char *path, affect_error *err);
bool affect_file_exists(const char *path);
/* Calls `visit` for each entry of `folder` but "." and "..", in no order; an absent folder has
 * none. The first status that is not OK ends the walk and is returned. */
typedef affect_status affect_directory_visit(void *context, const char *folder, const char *name,
                                             affect_error *err);
affect_status affect_directory_each(const char *folder, affect_directory_visit *visit,
                                    void *context, affect_error *err);

/* An exclusive lock on `path` (made if absent), held until closed or the process ends. *fd owned
 * (close). CONFLICT when another process holds it. */
affect_status affect_file_lock(int *fd, const char *path, affect_error *err);

void affect_file_close(int *fd); /* closes when >= 0 and sets -1 */
/* Opens /dev/null as those of the descriptors 0, 1 and 2 that are closed, so that no file that is
 * opened later becomes stdin or gets what is printed. First thing in main. */
void affect_file_hold_standard(void);

#endif
