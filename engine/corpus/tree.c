/* Reading beneath a root; see tree.h. */
#include "engine/corpus/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct affect_tree {
    int fd;
    uint64_t max_file_bytes;
};

static affect_status adopt(affect_tree **tree, int fd, uint64_t max_file_bytes, affect_error *err) {
    *tree = malloc(sizeof **tree);
    if (!*tree) {
        close(fd);
        return affect_fail(err, NO_MEMORY, "no memory");
    }
    **tree = (affect_tree){fd, max_file_bytes};
    return AFFECT_STATUS_OK;
}

/* Part by part, refusing every link: for kernels and sandboxes without openat2. */
static int open_walking(int root, const char *name, int flags) {
    char part[256];
    int at = root;
    for (;;) {
        size_t n = strcspn(name, "/");
        bool last = name[n] == '\0', climbs = n == 2 && memcmp(name, "..", 2) == 0;
        int next = -1;
        errno = climbs || (n == 0 && !last) ? EXDEV : ENOENT;
        if (n && n < sizeof part && !climbs) {
            memcpy(part, name, n);
            part[n] = '\0';
            int part_flags = last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC;
            next = openat(at, part, part_flags | O_NOFOLLOW);
        }
        int error_number = errno;
        if (at != root) close(at);
        errno = error_number;
        if (next < 0 || last) return next;
        at = next;
        name += n + 1;
    }
}

/* The one way in: RESOLVE_BENEATH, and `resolve` besides. */
static int open_beneath(int root, const char *name, int flags, uint64_t resolve) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve};
    for (int attempt = 0; attempt < 16; attempt++) {
        int fd = (int)syscall(SYS_openat2, root, name, &how, sizeof how);
        if (fd >= 0) return fd;
        if (errno == ENOSYS || errno == EPERM) return open_walking(root, name, flags | O_CLOEXEC);
        if (errno != EAGAIN && errno != EINTR) return -1; /* EAGAIN: the tree moved meanwhile */
    }
    return -1;
}

/* Why opening `name` failed, for a reader who knows the folder and not openat2. */
static affect_status fail_open(affect_error *err, int error_number, const char *name) {
    if (error_number == EXDEV)
        return affect_fail(err, INVALID, "%s: leads out of the folder (through .., / or a link)",
                           name);
    if (error_number == ELOOP)
        return affect_fail(err, INVALID, "%s: a link, which is not followed", name);
    if (error_number == ENOTDIR)
        return affect_fail(err, INVALID, "%s: not a folder, or no folder on the way to it", name);
    return affect_error_errno(err, error_number, "%s", name);
}

static affect_status open_root(int *fd, const char *root, affect_error *err) {
    *fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0) return AFFECT_STATUS_OK;
    if (errno == ENOTDIR) return affect_fail(err, INVALID, "%s: not a folder", root);
    return affect_error_errno(err, errno, "%s", root);
}

affect_status affect_tree_open(affect_tree **tree, const char *root, const char *below,
                               affect_error *err) {
    int top, fd, error_number;
    AFFECT_TRY(open_root(&top, root, err));
    if (!below) return adopt(tree, top, UINT64_MAX, err);
    fd = open_beneath(top, below, O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
    error_number = errno;
    close(top);
    return fd < 0 ? fail_open(err, error_number, below) : adopt(tree, fd, UINT64_MAX, err);
}

affect_status affect_tree_open_below(affect_tree **tree, const affect_tree *above, const char *name,
                                     affect_error *err) {
    int fd = open_beneath(above->fd, name, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? fail_open(err, errno, name) : adopt(tree, fd, above->max_file_bytes, err);
}

void affect_tree_limit_files(affect_tree *tree, uint64_t max_file_bytes) {
    tree->max_file_bytes = max_file_bytes;
}

void affect_tree_close(affect_tree *tree) {
    if (!tree) return;
    close(tree->fd);
    free(tree);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_name(char ***names, size_t *n, const char *name) {
    if ((*n & (*n - 1)) == 0) { /* grow at powers of two */
        char **grown = realloc(*names, (*n ? 2 * *n : 1) * sizeof *grown);
        if (!grown) return false;
        *names = grown;
    }
    char *copy = strdup(name);
    if (!copy) return false;
    (*names)[(*n)++] = copy;
    return true;
}

affect_status affect_tree_list(char ***names, size_t *n, const affect_tree *tree, const char *name,
                               affect_error *err) {
    *names = NULL;
    *n = 0;
    int fd = open_beneath(tree->fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return AFFECT_STATUS_OK;
    if (fd < 0) return fail_open(err, errno, name);
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return affect_fail(err, NO_MEMORY, "%s: no memory", name);
    }
    bool complete = true;
    for (struct dirent *entry; complete && (entry = readdir(directory));)
        if (entry->d_name[0] != '.') complete = add_name(names, n, entry->d_name);
    closedir(directory);
    if (!complete) {
        affect_tree_names_free(*names, *n);
        *names = NULL;
        *n = 0;
        return affect_fail(err, NO_MEMORY, "%s: no memory", name);
    }
    if (*n) qsort(*names, *n, sizeof **names, compare_names);
    return AFFECT_STATUS_OK;
}

void affect_tree_names_free(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

affect_status affect_tree_open_file(int *fd, uint64_t *size, const affect_tree *tree,
                                    const char *name, affect_error *err) {
    int file = open_beneath(tree->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (file < 0) return fail_open(err, errno, name);
    struct stat info;
    affect_status status = AFFECT_STATUS_OK;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode))
        status = affect_fail(err, INVALID, "%s: not a regular file", name);
    else if ((uint64_t)info.st_size > tree->max_file_bytes)
        status = affect_fail(err, TOO_LARGE, "%s: %lld bytes (at most %llu)", name,
                             (long long)info.st_size, (unsigned long long)tree->max_file_bytes);
    if (status != AFFECT_STATUS_OK) {
        close(file);
        return status;
    }
    if (size) *size = (uint64_t)info.st_size;
    *fd = file;
    return AFFECT_STATUS_OK;
}

bool affect_tree_has_file(const affect_tree *tree, const char *name) {
    int fd;
    if (affect_tree_open_file(&fd, NULL, tree, name, NULL) != AFFECT_STATUS_OK) return false;
    close(fd);
    return true;
}

bool affect_tree_is_link(const affect_tree *tree, const char *name) {
    struct stat info;
    int fd = open_beneath(tree->fd, name, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0) return false;
    bool is_link = fstat(fd, &info) == 0 && S_ISLNK(info.st_mode);
    close(fd);
    return is_link;
}

affect_status affect_tree_read(char **data, size_t *size, const affect_tree *tree, const char *name,
                               size_t max_size, affect_error *err) {
    int fd;
    uint64_t n_bytes;
    AFFECT_TRY(affect_tree_open_file(&fd, &n_bytes, tree, name, err));
    affect_status status = AFFECT_STATUS_OK;
    size_t done = 0;
    char *bytes = NULL;
    if (n_bytes > max_size)
        status = affect_fail(err, TOO_LARGE, "%s: %llu bytes (at most %zu)", name,
                             (unsigned long long)n_bytes, max_size);
    else if (!(bytes = malloc((size_t)n_bytes + 1)))
        status = affect_fail(err, NO_MEMORY, "%s: no memory", name);
    while (status == AFFECT_STATUS_OK && done < n_bytes) {
        ssize_t n = read(fd, bytes + done, (size_t)n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = affect_error_errno(err, errno, "%s", name);
        if (n <= 0) break;
        done += (size_t)n;
    }
    close(fd);
    if (status != AFFECT_STATUS_OK) {
        free(bytes);
        return status;
    }
    bytes[done] = '\0';
    *data = bytes;
    *size = done;
    return AFFECT_STATUS_OK;
}
