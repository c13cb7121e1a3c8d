/* Files; see file.h. */
#include "engine/core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

affect_status affect_path_join(char path[AFFECT_PATH_MAX], affect_error *err, const char *directory,
                               const char *format, ...) {
    char name[AFFECT_PATH_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    if (n < 0 || n >= AFFECT_PATH_MAX || strlen(directory) + 1 + (size_t)n >= AFFECT_PATH_MAX)
        return affect_fail(err, INVALID, "path below %.100s is longer than %d bytes", directory,
                           AFFECT_PATH_MAX - 1);
    size_t length = strlen(directory);
    memcpy(path, directory, length);
    path[length] = '/';
    memcpy(path + length + 1, name, (size_t)n + 1);
    return AFFECT_STATUS_OK;
}

affect_status affect_file_open(int *fd, size_t *size, const char *path, affect_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return affect_error_errno(err, errno, "%s", path);
    struct stat info;
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(*fd);
        return affect_fail(err, INVALID, "%s: not a regular file", path);
    }
    if (size) *size = (size_t)info.st_size;
    return AFFECT_STATUS_OK;
}

affect_status affect_file_read(char **data, size_t *size, const char *path, size_t max_size,
                               affect_error *err) {
    int fd;
    size_t capacity;
    AFFECT_TRY(affect_file_open(&fd, &capacity, path, err));
    affect_status status = AFFECT_STATUS_OK;
    char *bytes = NULL;
    size_t done = 0;
    if (capacity > max_size) {
        status =
            affect_fail(err, TOO_LARGE, "%s: %zu bytes (at most %zu)", path, capacity, max_size);
        goto cleanup;
    }
    bytes = malloc(capacity + 1);
    if (!bytes) {
        status = affect_fail(err, NO_MEMORY, "%s: no memory for %zu bytes", path, capacity);
        goto cleanup;
    }
    while (done < capacity) {
        ssize_t n = read(fd, bytes + done, capacity - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = affect_error_errno(err, errno, "%s", path);
            goto cleanup;
        }
        if (n == 0) break;
        done += (size_t)n;
    }
    bytes[done] = '\0';
    *data = bytes;
    *size = done;
    bytes = NULL;
cleanup:
    free(bytes);
    close(fd);
    return status;
}

size_t affect_file_find_number(const char *path, const char *name) {
    char line[256];
    size_t number = SIZE_MAX, length = strlen(name);
    FILE *file = fopen(path, "re");
    if (!file) return SIZE_MAX;
    while (number == SIZE_MAX && fgets(line, sizeof line, file)) {
        char *end = NULL;
        if (strncmp(line, name, length) != 0) continue;
        unsigned long long value = strtoull(line + length, &end, 10);
        if (end != line + length) number = value;
    }
    fclose(file);
    return number;
}

#define ASIDE ".aside-" /* and six letters behind a file's name, until it is complete */

struct affect_file_writer {
    char path[AFFECT_PATH_MAX];
    char aside[AFFECT_PATH_MAX + 32];
    int fd;
    int error_number; /* of the first failure */
    size_t n_buffered;
    unsigned char buffer[1 << 16];
};

bool affect_file_is_aside(const char *name) {
    size_t n = strlen(name), tail = strlen(ASIDE) + 6;
    return n > tail && strncmp(name + n - tail, ASIDE, strlen(ASIDE)) == 0;
}

affect_status affect_file_writer_open(affect_file_writer **writer, const char *path,
                                      affect_error *err) {
    if (strlen(path) >= AFFECT_PATH_MAX)
        return affect_fail(err, INVALID, "path longer than %d bytes", AFFECT_PATH_MAX - 1);
    affect_file_writer *made = malloc(sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
    strcpy(made->path, path);
    snprintf(made->aside, sizeof made->aside, "%s" ASIDE "XXXXXX", path);
    made->error_number = 0;
    made->n_buffered = 0;
    made->fd = mkostemp(made->aside, O_CLOEXEC);
    if (made->fd < 0) {
        affect_status status = affect_error_errno(err, errno, "%s", path);
        free(made);
        return status;
    }
    fchmod(made->fd, 0644);
    *writer = made;
    return AFFECT_STATUS_OK;
}

static void write_all(affect_file_writer *writer, const unsigned char *data, size_t size) {
    while (size && !writer->error_number) {
        ssize_t n = write(writer->fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            writer->error_number = errno;
        } else {
            data += n;
            size -= (size_t)n;
        }
    }
}

static void flush_buffer(affect_file_writer *writer) {
    write_all(writer, writer->buffer, writer->n_buffered);
    writer->n_buffered = 0;
}

void affect_file_writer_append(affect_file_writer *writer, const void *data, size_t size) {
    if (size >= sizeof writer->buffer) {
        flush_buffer(writer);
        write_all(writer, data, size);
        return;
    }
    if (writer->n_buffered + size > sizeof writer->buffer) flush_buffer(writer);
    if (size) memcpy(writer->buffer + writer->n_buffered, data, size);
    writer->n_buffered += size;
}

static int sync_directory_of(const char *path) {
    char copy[AFFECT_PATH_MAX];
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error_number = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return error_number;
}

affect_status affect_file_writer_commit(affect_file_writer *writer, affect_error *err) {
    flush_buffer(writer);
    if (!writer->error_number && fsync(writer->fd) != 0) writer->error_number = errno;
    if (!writer->error_number && rename(writer->aside, writer->path) != 0)
        writer->error_number = errno;
    if (writer->error_number)
        return affect_error_errno(err, writer->error_number, "%s: not written", writer->path);
    writer->aside[0] = '\0';
    int error_number = sync_directory_of(writer->path);
    if (error_number) return affect_error_errno(err, error_number, "%s: folder", writer->path);
    return AFFECT_STATUS_OK;
}

void affect_file_writer_free(affect_file_writer *writer) {
    if (!writer) return;
    close(writer->fd);
    if (writer->aside[0]) unlink(writer->aside);
    free(writer);
}

affect_status affect_file_write(const char *path, const void *data, size_t size,
                                affect_error *err) {
    affect_file_writer *writer = NULL;
    AFFECT_TRY(affect_file_writer_open(&writer, path, err));
    affect_file_writer_append(writer, data, size);
    affect_status status = affect_file_writer_commit(writer, err);
    affect_file_writer_free(writer);
    return status;
}

affect_status affect_file_rename(const char *from, const char *to, affect_error *err) {
    int fd = -1;
    AFFECT_TRY(affect_file_open(&fd, NULL, from, err));
    int error_number = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    if (!error_number && rename(from, to) != 0) error_number = errno;
    if (!error_number) error_number = sync_directory_of(to);
    return error_number ? affect_error_errno(err, error_number, "%s", to) : AFFECT_STATUS_OK;
}

affect_status affect_file_map_open(affect_file_map *map, const char *path, affect_error *err) {
    int fd;
    size_t size;
    AFFECT_TRY(affect_file_open(&fd, &size, path, err));
    void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : (void *)"";
    int error_number = errno;
    close(fd);
    if (data == MAP_FAILED) return affect_error_errno(err, error_number, "%s: mmap", path);
    *map = (affect_file_map){.data = data, .size = size};
    return AFFECT_STATUS_OK;
}

void affect_file_map_close(affect_file_map *map) {
    if (map->size) munmap((void *)map->data, map->size);
    *map = (affect_file_map){0};
}

affect_status affect_directory_make(const char *path, affect_error *err) {
    char partial[AFFECT_PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof partial)
        return affect_fail(err, INVALID, "path longer than %d bytes", AFFECT_PATH_MAX - 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        int error_number = mkdir(partial, 0755) == 0 ? sync_directory_of(partial) : errno;
        if (error_number && error_number != EEXIST)
            return affect_error_errno(err, error_number, "%s", partial);
    }
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return affect_fail(err, CONFLICT, "%s: not a folder", path);
    return AFFECT_STATUS_OK;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

affect_status affect_directory_remove(const char *path, affect_error *err) {
    if (nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return affect_error_errno(err, errno, "%s: not removed", path);
    return AFFECT_STATUS_OK;
}

bool affect_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

affect_status affect_directory_each(const char *folder, affect_directory_visit *visit,
                                    void *context, affect_error *err) {
    DIR *entries = opendir(folder);
    if (!entries)
        return errno == ENOENT ? AFFECT_STATUS_OK : affect_error_errno(err, errno, "%s", folder);
    affect_status status = AFFECT_STATUS_OK;
    for (struct dirent *e; status == AFFECT_STATUS_OK && (e = readdir(entries));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            status = visit(context, folder, e->d_name, err);
    closedir(entries);
    return status;
}

affect_status affect_file_lock(int *fd, const char *path, affect_error *err) {
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) return affect_error_errno(err, errno, "%s", path);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return affect_fail(err, CONFLICT, "%s: held by another process", path);
    }
    *fd = lock;
    return AFFECT_STATUS_OK;
}

void affect_file_close(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void affect_file_hold_standard(void) {
    int fd = 0;
    while (fd >= 0 && fd <= STDERR_FILENO) fd = open("/dev/null", O_RDWR);
    affect_file_close(&fd);
}
