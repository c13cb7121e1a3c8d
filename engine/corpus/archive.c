/* Untrusted archives; see archive.h. Runs on the caller's thread, one entry after the other.
 *
 * A compressed tar is decompressed here and handed to libarchive block by block, so that every byte
 * up to the end of the file is seen: libarchive itself stops at the tar's end mark and does not
 * verify a gzip's checksum. */
#include "engine/corpus/archive.h"

#include "engine/corpus/gzip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES     (1 << 16)
#define TAR_BLOCK       512
#define ZIP_END_BYTES   22 /* of a zip's end record, without its comment */
#define ZIP_MAX_COMMENT 65535

typedef enum { KIND_NONE, KIND_TAR, KIND_TAR_GZIP, KIND_TAR_ZSTD, KIND_ZIP } archive_kind;

typedef struct {
    struct archive *archive;
    affect_gzip *gzip;    /* of a tar.gz */
    struct archive *zstd; /* of a tar.zst: its decompressed bytes are the one entry */
    uint64_t n_tar;       /* bytes that these have given */
    uint64_t tar_end;     /* behind the last of them that is not 0 */
    affect_error failure; /* of reading them */
    archive_kind kind;
    const char *path;    /* of the archive, for messages */
    const char *staging; /* folder */
    int fd;
    uint64_t n_archive_bytes;
    uint64_t n_read; /* bytes taken out of entries */
    affect_archive_limits limits;
    const affect_archive_callbacks *callbacks;
    affect_archive_counts counts;
    char block[BLOCK_BYTES];
    char tar_block[BLOCK_BYTES];
} unpacking;

affect_archive_limits affect_archive_limits_default(void) {
    return (affect_archive_limits){.entries = 500000,
                                   .file_bytes = UINT64_C(2) << 30,
                                   .total_bytes = UINT64_C(64) << 30,
                                   .read_bytes = UINT64_C(256) << 30,
                                   .ratio = 100,
                                   .ratio_bytes = UINT64_C(256) << 20,
                                   .path_bytes = 1000,
                                   .path_depth = 32};
}

/* A tar header holds the sum of its own bytes, with blanks in place of the sum (POSIX.1, ustar;
 * older tars have no magic but the same sum). */
static bool is_tar_header(const unsigned char *block, size_t size) {
    if (size < 512) return false;
    unsigned sum = 0, stored = 0;
    for (size_t i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? ' ' : block[i];
    for (size_t i = 148; i < 156; i++) {
        if (block[i] == ' ' && stored == 0) continue;
        if (block[i] < '0' || block[i] > '7') break;
        stored = stored * 8 + (unsigned)(block[i] - '0');
    }
    return sum == stored && sum > 256;
}

static archive_kind kind_of(const unsigned char *start, size_t size) {
    if (size >= 4 && memcmp(start, "PK\3\4", 4) == 0) return KIND_ZIP;
    if (size >= 4 && memcmp(start, "\x28\xB5\x2F\xFD", 4) == 0) return KIND_TAR_ZSTD;
    if (size >= 3 && memcmp(start, "\x1F\x8B\x08", 3) == 0) return KIND_TAR_GZIP;
    return is_tar_header(start, size) ? KIND_TAR : KIND_NONE;
}

static affect_status open_file(int *fd, archive_kind *kind, uint64_t *size, const char *path,
                               affect_error *err) {
    unsigned char start[512];
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return affect_error_errno(err, errno, "%s", path);
    affect_status status = AFFECT_STATUS_OK;
    ssize_t n = -1;
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode))
        status = affect_fail(err, INVALID, "%s: not a regular file", path);
    else if ((n = pread(file, start, sizeof start, 0)) < 0)
        status = affect_error_errno(err, errno, "%s", path);
    else if ((*kind = kind_of(start, (size_t)n)) == KIND_NONE)
        status = affect_fail(err, UNSUPPORTED,
                             "%s: not an archive (accepted: tar, tar.gz, tar.zst, zip)", path);
    if (status != AFFECT_STATUS_OK) {
        close(file);
        return status;
    }
    *size = (uint64_t)info.st_size;
    *fd = file;
    return AFFECT_STATUS_OK;
}

affect_status affect_archive_check(const char *path, affect_error *err) {
    int fd;
    archive_kind kind;
    uint64_t size;
    AFFECT_TRY(open_file(&fd, &kind, &size, path, err));
    close(fd);
    return AFFECT_STATUS_OK;
}

/* ---- Bytes of a tar ---- */

#define DAMAGED "archive: damaged or truncated after entry %" PRIu64

static affect_status open_zstd(unpacking *to, affect_error *err) {
    struct archive_entry *entry;
    to->zstd = archive_read_new();
    if (!to->zstd) return affect_fail(err, NO_MEMORY, "%s: no memory", to->path);
    /* ARCHIVE_WARN: the filter would run an external program. */
    if (archive_read_support_filter_zstd(to->zstd) != ARCHIVE_OK ||
        archive_read_support_format_raw(to->zstd) != ARCHIVE_OK)
        return affect_fail(err, UNSUPPORTED, "%s: this build cannot read its compression",
                           to->path);
    if (archive_read_open_fd(to->zstd, to->fd, BLOCK_BYTES) != ARCHIVE_OK ||
        archive_read_next_header(to->zstd, &entry) != ARCHIVE_OK)
        return affect_fail(err, MALFORMED, "archive: %s", archive_error_string(to->zstd));
    return AFFECT_STATUS_OK;
}

/* The next bytes, decompressed, borrowed until the next call; *n is 0 at the end. Of a plain tar:
 * from the file's position on, for its tail. */
static affect_status read_tar(unpacking *from, const void **bytes, size_t *n, affect_error *err) {
    *bytes = from->tar_block;
    if (from->gzip) {
        affect_status status = affect_gzip_read(from->gzip, bytes, n, err);
        if (status != AFFECT_STATUS_OK)
            return affect_error_prefix(err, status, DAMAGED, from->counts.n_entries);
    } else if (from->zstd) {
        la_ssize_t got = archive_read_data(from->zstd, from->tar_block, sizeof from->tar_block);
        if (got < 0)
            return affect_fail(err, MALFORMED, DAMAGED ": %s", from->counts.n_entries,
                               archive_error_string(from->zstd));
        *n = (size_t)got;
    } else {
        ssize_t got;
        do got = read(from->fd, from->tar_block, sizeof from->tar_block);
        while (got < 0 && errno == EINTR);
        if (got < 0) return affect_error_errno(err, errno, "archive");
        *n = (size_t)got;
    }
    const char *block = *bytes;
    bool compressed = from->kind != KIND_TAR && from->n_tar == 0;
    if (compressed && kind_of(*bytes, *n) > KIND_TAR)
        return affect_fail(err, UNSUPPORTED, "archive: compressed more than once");
    for (size_t i = *n; i > 0; i--) {
        if (block[i - 1] == 0) continue;
        from->tar_end = from->n_tar + i;
        break;
    }
    from->n_tar += *n;
    return AFFECT_STATUS_OK;
}

static la_ssize_t on_read(struct archive *archive, void *context, const void **bytes) {
    unpacking *from = context;
    size_t n = 0;
    if (read_tar(from, bytes, &n, &from->failure) == AFFECT_STATUS_OK) return (la_ssize_t)n;
    archive_set_error(archive, EILSEQ, "%s", from->failure.message);
    return -1;
}

/* ---- Opening ---- */

static affect_status fail_reading(unpacking *from, affect_error *err) {
    const char *text = archive_error_string(from->archive);
    if (from->failure.status != AFFECT_STATUS_OK) {
        if (err) *err = from->failure;
        return from->failure.status;
    }
    return affect_fail(err, MALFORMED, DAMAGED ": %s", from->counts.n_entries,
                       text ? text : "unreadable");
}

/* A zip ends with a record that says how long the comment is that ends the file. */
static affect_status check_zip_end(const unpacking *from, affect_error *err) {
    uint64_t room = ZIP_END_BYTES + ZIP_MAX_COMMENT;
    uint64_t n = from->n_archive_bytes < room ? from->n_archive_bytes : room;
    unsigned char *tail = malloc(n + 1);
    if (!tail) return affect_fail(err, NO_MEMORY, "%s: no memory", from->path);
    bool found = pread(from->fd, tail, n, (off_t)(from->n_archive_bytes - n)) == (ssize_t)n;
    uint64_t comment = 0;
    for (found = found && n >= ZIP_END_BYTES; found; comment++) {
        const unsigned char *record = tail + n - ZIP_END_BYTES - comment;
        if (memcmp(record, "PK\5\6", 4) == 0 && record[20] + 256u * record[21] == comment) break;
        found = comment < n - ZIP_END_BYTES;
    }
    free(tail);
    return found ? AFFECT_STATUS_OK
                 : affect_fail(err, MALFORMED,
                               "archive: truncated, or followed by bytes that are no part of it");
}

static affect_status open_reader(unpacking *to, affect_error *err) {
    to->archive = archive_read_new();
    if (!to->archive) return affect_fail(err, NO_MEMORY, "%s: no memory", to->path);
    /* A zip by its directory at the end alone: what the directory lacks is not there. */
    int result = to->kind == KIND_ZIP ? archive_read_support_format_zip_seekable(to->archive)
                                      : archive_read_support_format_tar(to->archive);
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
        return affect_fail(err, UNSUPPORTED, "%s: this build cannot read the format", to->path);
    if (to->kind == KIND_ZIP) AFFECT_TRY(check_zip_end(to, err));
    if (to->kind == KIND_TAR_GZIP) AFFECT_TRY(affect_gzip_open(&to->gzip, to->fd, err));
    if (to->kind == KIND_TAR_ZSTD) AFFECT_TRY(open_zstd(to, err));
    result = to->gzip || to->zstd ? archive_read_open(to->archive, to, NULL, on_read, NULL)
                                  : archive_read_open_fd(to->archive, to->fd, BLOCK_BYTES);
    return result == ARCHIVE_OK ? AFFECT_STATUS_OK : fail_reading(to, err);
}

/* ---- Entries ---- */

static affect_status fail_entry(unpacking *from, const char *name, const char *reason,
                                affect_error *err) {
    return affect_fail(err, MALFORMED, "archive: entry %" PRIu64 " \"%.120s\" %s",
                       from->counts.n_entries, name, reason);
}

/* Looked at after every block: how much came out of how little. */
static affect_status check_volume(unpacking *from, affect_error *err) {
    uint64_t read = from->kind == KIND_ZIP   ? from->n_read
                    : from->kind == KIND_TAR ? (uint64_t)archive_filter_bytes(from->archive, 0)
                                             : from->n_tar;
    uint64_t compressed =
        from->kind == KIND_ZIP ? from->n_archive_bytes : (uint64_t)lseek(from->fd, 0, SEEK_CUR);
    if (read > from->limits.read_bytes || from->counts.n_bytes > from->limits.total_bytes)
        return affect_fail(err, TOO_LARGE, "archive: unpacks to more than %" PRIu64 " bytes",
                           from->counts.n_bytes > from->limits.total_bytes
                               ? from->limits.total_bytes
                               : from->limits.read_bytes);
    if (read > from->limits.ratio_bytes && (double)read > from->limits.ratio * (double)compressed)
        return affect_fail(err, TOO_LARGE,
                           "archive: unpacks to over %.0f times its size (a compression bomb)",
                           from->limits.ratio);
    if (from->callbacks->cancelled && from->callbacks->cancelled(from->callbacks->context))
        return affect_fail(err, CANCELLED, "cancelled while unpacking");
    return AFFECT_STATUS_OK;
}

static affect_status next_block(unpacking *from, size_t *n, affect_error *err) {
    la_ssize_t got = archive_read_data(from->archive, from->block, sizeof from->block);
    if (got < 0) return fail_reading(from, err);
    *n = (size_t)got;
    from->n_read += (uint64_t)got;
    return check_volume(from, err);
}

/* Read through, with the limits looked at, where skipping would decompress unseen. */
static affect_status skip_file(unpacking *from, affect_error *err) {
    from->counts.n_skipped++;
    if (from->kind == KIND_ZIP || from->kind == KIND_TAR)
        return archive_read_data_skip(from->archive) < ARCHIVE_WARN ? fail_reading(from, err)
                                                                    : check_volume(from, err);
    size_t n = 1;
    while (n) AFFECT_TRY(next_block(from, &n, err));
    return AFFECT_STATUS_OK;
}

static affect_status write_block(int fd, const char *path, const char *data, size_t size,
                                 affect_error *err) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return affect_error_errno(err, errno, "%s", path);
        data += n;
        size -= (size_t)n;
    }
    return AFFECT_STATUS_OK;
}

static affect_status copy_file(unpacking *from, int fd, const char *own, affect_error *err) {
    uint64_t size = 0;
    for (size_t n = 1; n;) {
        AFFECT_TRY(next_block(from, &n, err));
        size += n;
        from->counts.n_bytes += n;
        if (size > from->limits.file_bytes)
            return affect_fail(err, TOO_LARGE, "archive: %s is over %" PRIu64 " bytes", own,
                               from->limits.file_bytes);
        AFFECT_TRY(write_block(fd, own, from->block, n, err));
    }
    return AFFECT_STATUS_OK;
}

static affect_status unpack_file(unpacking *from, const char *name, const char *own,
                                 affect_error *err) {
    char path[AFFECT_PATH_MAX], folder[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(path, err, from->staging, "%s", own));
    strcpy(folder, path);
    AFFECT_TRY(affect_directory_make(dirname(folder), err));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) return fail_entry(from, name, "comes twice", err);
    if (fd < 0) return affect_error_errno(err, errno, "%s", path);
    affect_status status = copy_file(from, fd, own, err);
    if (close(fd) != 0 && status == AFFECT_STATUS_OK)
        status = affect_error_errno(err, errno, "%s", path);
    from->counts.n_files++;
    return status;
}

/* Checks the name and writes it without `.` and empty parts. */
static affect_status clean_name(unpacking *from, char clean[AFFECT_PATH_MAX], const char *name,
                                affect_error *err) {
    if (strlen(name) > from->limits.path_bytes || strlen(name) >= AFFECT_PATH_MAX)
        return affect_fail(err, TOO_LARGE,
                           "archive: entry %" PRIu64 " has a name over %" PRIu64 " bytes",
                           from->counts.n_entries, from->limits.path_bytes);
    if (*name == '/') return fail_entry(from, name, "has an absolute path (refused)", err);
    uint64_t depth = 0;
    size_t used = 0;
    for (const char *part = name; *part;) {
        size_t n = strcspn(part, "/");
        if (n == 2 && memcmp(part, "..", 2) == 0)
            return fail_entry(from, name, "climbs out of its folder with .. (refused)", err);
        if (n && !(n == 1 && *part == '.')) {
            if (used) clean[used++] = '/';
            memcpy(clean + used, part, n);
            used += n;
            depth++;
        }
        part += n + (part[n] == '/');
    }
    clean[used] = '\0';
    if (depth > from->limits.path_depth)
        return affect_fail(err, TOO_LARGE,
                           "archive: entry %" PRIu64 " lies over %" PRIu64 " folders deep",
                           from->counts.n_entries, from->limits.path_depth);
    return AFFECT_STATUS_OK;
}

static affect_status take_entry(unpacking *from, struct archive_entry *entry, affect_error *err) {
    char clean[AFFECT_PATH_MAX], own[AFFECT_PATH_MAX];
    if (++from->counts.n_entries > from->limits.entries)
        return affect_fail(err, TOO_LARGE, "archive: over %" PRIu64 " entries",
                           from->limits.entries);
    const char *name = archive_entry_pathname(entry);
    if (!name) name = archive_entry_pathname_utf8(entry);
    if (!name) return skip_file(from, err);
    AFFECT_TRY(clean_name(from, clean, name, err));
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry) ||
        archive_entry_filetype(entry) == AE_IFLNK)
        return fail_entry(from, name, "is a link (only files and folders are accepted)", err);
    if (archive_entry_filetype(entry) == AE_IFDIR) return check_volume(from, err);
    if (archive_entry_filetype(entry) != AE_IFREG)
        return fail_entry(from, name, "is a device (only files and folders are accepted)", err);
    bool selected = *clean && from->callbacks->select(from->callbacks->context, clean, own);
    if (!selected) return skip_file(from, err); /* also the file "." */
    if (archive_entry_is_encrypted(entry)) return fail_entry(from, name, "is encrypted", err);
    return unpack_file(from, name, own, err);
}

/* Sees the file to its end: a tar ends with a block of zeros, and only zeros may follow. `mark` is
 * where its last entry ends. */
static affect_status check_tar_end(unpacking *from, uint64_t mark, affect_error *err) {
    size_t n = 1;
    const void *bytes;
    if (from->kind == KIND_TAR) {
        from->n_tar = from->tar_end = mark;
        if (lseek(from->fd, (off_t)mark, SEEK_SET) < 0)
            return affect_error_errno(err, errno, "archive");
    }
    while (n) {
        AFFECT_TRY(read_tar(from, &bytes, &n, err));
        AFFECT_TRY(check_volume(from, err));
    }
    if (from->n_tar < mark + TAR_BLOCK)
        return affect_fail(err, MALFORMED,
                           "archive: truncated after entry %" PRIu64 ": it has no end mark",
                           from->counts.n_entries);
    if (from->tar_end > mark)
        return affect_fail(err, MALFORMED, "archive: bytes follow its end mark (trailing garbage)");
    return AFFECT_STATUS_OK;
}

static affect_status unpack_all(unpacking *from, affect_error *err) {
    AFFECT_TRY(open_reader(from, err));
    for (;;) {
        struct archive_entry *entry = NULL;
        int result = archive_read_next_header(from->archive, &entry);
        if (result == ARCHIVE_EOF && from->kind == KIND_ZIP) return AFFECT_STATUS_OK;
        if (result == ARCHIVE_EOF)
            return check_tar_end(from, (uint64_t)archive_read_header_position(from->archive), err);
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return fail_reading(from, err);
        AFFECT_TRY(take_entry(from, entry, err));
        if (from->callbacks->progress)
            from->callbacks->progress(from->callbacks->context,
                                      (double)lseek(from->fd, 0, SEEK_CUR),
                                      (double)from->n_archive_bytes);
    }
}

affect_status affect_archive_unpack(affect_archive_counts *counts, const char *path,
                                    const char *staging, const affect_archive_limits *limits,
                                    const affect_archive_callbacks *callbacks, affect_error *err) {
    unpacking *from = calloc(1, sizeof *from);
    if (!from) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
    from->path = path;
    from->staging = staging;
    from->limits = limits ? *limits : affect_archive_limits_default();
    from->callbacks = callbacks;
    affect_status status = open_file(&from->fd, &from->kind, &from->n_archive_bytes, path, err);
    if (status == AFFECT_STATUS_OK) {
        status = unpack_all(from, err);
        archive_read_free(from->archive);
        archive_read_free(from->zstd);
        affect_gzip_close(from->gzip);
        close(from->fd);
    }
    if (counts) *counts = from->counts;
    free(from);
    return status;
}
