/* Unpacking of an untrusted archive. The one home of libarchive.
 *
 * Kinds: tar (plain, gzip, zstd) and zip, told by the first bytes, never by a name; exactly the one
 * reader that fits is enabled in libarchive, and none that starts a helper program. Nothing of the
 * archive decides a path on disk: for each regular file `select` looks at the entry's name and
 * writes a name of our own making below the staging folder, or declines.
 *
 * Refused as MALFORMED, naming the entry: a name that is absolute or has a `..`, a link, a device,
 * a second file of the same name, an encrypted entry, an archive that is damaged, truncated (also
 * where an entry ends) or followed by other bytes; checksums of gzip, zstd and zip are verified
 * over the whole file. Refused as
 * TOO_LARGE: anything over the limits. Whatever was unpacked by then is the caller's to remove (it
 * removes the staging folder). */
#ifndef AFFECT_CORPUS_ARCHIVE_H
#define AFFECT_CORPUS_ARCHIVE_H

#include "engine/core/file.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t entries;     /* of any kind */
    uint64_t file_bytes;  /* of one unpacked file */
    uint64_t total_bytes; /* of all unpacked files */
    uint64_t read_bytes;  /* after decompression, unpacked or not */
    double ratio;         /* decompressed : compressed, looked at from ratio_bytes on */
    uint64_t ratio_bytes;
    uint64_t path_bytes; /* of an entry's name */
    uint64_t path_depth; /* folders in it */
} affect_archive_limits;

/* Limits that hold the full release (about 200 000 entries, 25 GB with video) with room. */
affect_archive_limits affect_archive_limits_default(void);

typedef struct {
    void *context;
    /* Whether to unpack the file `name` (no leading slash, no `..`, no empty parts); if so `path`
     * becomes its own relative path. */
    bool (*select)(void *context, const char *name, char path[AFFECT_PATH_MAX]);
    /* Both may be NULL. Bytes of the archive file; `cancelled` returns true to stop. */
    void (*progress)(void *context, double done, double total);
    bool (*cancelled)(void *context);
} affect_archive_callbacks;

typedef struct {
    uint64_t n_entries, n_files, n_skipped, n_bytes; /* n_bytes: of the unpacked files */
} affect_archive_counts;

/* Whether the file begins like one of the kinds above. UNSUPPORTED says what is accepted. */
affect_status affect_archive_check(const char *path, affect_error *err);
/* Unpacks the selected files of `path` below `staging` (an existing folder). limits NULL: the
 * defaults. counts may be NULL. */
affect_status affect_archive_unpack(affect_archive_counts *counts, const char *path,
                                    const char *staging, const affect_archive_limits *limits,
                                    const affect_archive_callbacks *callbacks, affect_error *err);

#endif
