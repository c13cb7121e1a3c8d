/* See dialog_files.h. */
#include "engine/corpus/dialog_files.h"

#include "engine/core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct {
    char path[AFFECT_PATH_MAX];
    size_t begin, size;
} kept_file;

struct affect_dialog_files {
    char *memory; /* AFFECT_DIALOG_FILES_BYTES */
    size_t used;
    kept_file *list;
    size_t n, capacity;
    char shared_path[AFFECT_PATH_MAX]; /* of the file whose digest was remembered last */
    uint64_t shared_size;
    char shared_digest[AFFECT_DIGEST_TEXT_SIZE];
};

affect_status affect_dialog_files_create(affect_dialog_files **files, affect_error *err) {
    affect_dialog_files *made = calloc(1, sizeof *made);
    void *memory = made ? mmap(NULL, AFFECT_DIALOG_FILES_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                        : MAP_FAILED;
    if (memory == MAP_FAILED) {
        free(made);
        return affect_fail(err, NO_MEMORY, "no memory for a dialog's files");
    }
    made->memory = memory;
    *files = made;
    return AFFECT_STATUS_OK;
}

void affect_dialog_files_free(affect_dialog_files *files) {
    if (!files) return;
    munmap(files->memory, AFFECT_DIALOG_FILES_BYTES);
    free(files->list);
    free(files);
}

void affect_dialog_files_clear(affect_dialog_files *files) {
    files->n = files->used = 0;
}

char *affect_dialog_files_room(affect_dialog_files *files, size_t size) {
    if (size >= AFFECT_DIALOG_FILES_BYTES - files->used) return NULL;
    if (files->n == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 128;
        kept_file *grown = realloc(files->list, capacity * sizeof *grown);
        if (!grown) return NULL;
        files->list = grown;
        files->capacity = capacity;
    }
    return files->memory + files->used;
}

void affect_dialog_files_add(affect_dialog_files *files, const char *path, size_t size) {
    kept_file *file = &files->list[files->n++];
    *file = (kept_file){.begin = files->used, .size = size};
    strncpy(file->path, path, sizeof file->path - 1);
    files->used += (size + 63) / 64 * 64 + 64; /* a gap: readers may look a few bytes ahead */
    if (files->used > AFFECT_DIALOG_FILES_BYTES) files->used = AFFECT_DIALOG_FILES_BYTES;
}

bool affect_dialog_files_find(const affect_dialog_files *files, affect_source *source,
                              const char *path) {
    for (size_t i = 0; i < files->n; i++) {
        if (strcmp(files->list[i].path, path) != 0) continue;
        *source = (affect_source){.data = files->memory + files->list[i].begin,
                                  .size = files->list[i].size};
        return true;
    }
    return false;
}

bool affect_dialog_files_digest(const affect_dialog_files *files,
                                char digest[AFFECT_DIGEST_TEXT_SIZE], const char *path,
                                uint64_t size) {
    if (files->shared_size != size || strcmp(files->shared_path, path) != 0) return false;
    strcpy(digest, files->shared_digest);
    return true;
}

void affect_dialog_files_remember(affect_dialog_files *files, const char *path, uint64_t size,
                                  const char *digest) {
    snprintf(files->shared_path, sizeof files->shared_path, "%s", path);
    snprintf(files->shared_digest, sizeof files->shared_digest, "%s", digest);
    files->shared_size = size;
}
