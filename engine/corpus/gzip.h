/* gzip, decompressed as a stream with every check of the format. The one home of zlib.
 *
 * Members may follow one another, and zero bytes may pad the last one (RFC 1952; tapes). CRC-32 and
 * length of each member are verified at its end; a truncated file, or other bytes behind the last
 * member, are MALFORMED. (libarchive's own filter verifies neither.) Belongs to one thread. */
#ifndef AFFECT_CORPUS_GZIP_H
#define AFFECT_CORPUS_GZIP_H

#include "engine/core/status.h"

#include <stddef.h>

typedef struct affect_gzip affect_gzip;

/* Reads from fd's position on; fd is borrowed. */
affect_status affect_gzip_open(affect_gzip **gzip, int fd, affect_error *err);
void affect_gzip_close(affect_gzip *gzip);
/* The next bytes, borrowed until the next call; *n is 0 at the end and never before. */
affect_status affect_gzip_read(affect_gzip *gzip, const void **bytes, size_t *n, affect_error *err);

#endif
