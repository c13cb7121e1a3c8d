/* gzip; see gzip.h. zlib verifies a member's checksum and length; what is done here is to find the
 * end: of the input, of a member, and of the last one. */
#include "engine/corpus/gzip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define BLOCK_BYTES (1 << 16)
#define ANY_WINDOW  15
#define GZIP_ONLY   16 /* zlib's flag: a gzip header and trailer, nothing else */

struct affect_gzip {
    z_stream stream;
    int fd;
    bool in_member, at_end; /* at_end: of the input */
    unsigned char input[BLOCK_BYTES], output[BLOCK_BYTES];
};

affect_status affect_gzip_open(affect_gzip **gzip, int fd, affect_error *err) {
    affect_gzip *made = calloc(1, sizeof *made);
    if (!made || inflateInit2(&made->stream, ANY_WINDOW + GZIP_ONLY) != Z_OK) {
        free(made);
        return affect_fail(err, NO_MEMORY, "gzip: no memory");
    }
    made->fd = fd;
    made->in_member = true;
    *gzip = made;
    return AFFECT_STATUS_OK;
}

void affect_gzip_close(affect_gzip *gzip) {
    if (!gzip) return;
    inflateEnd(&gzip->stream);
    free(gzip);
}

static affect_status fill_input(affect_gzip *gzip, affect_error *err) {
    ssize_t n;
    do n = read(gzip->fd, gzip->input, sizeof gzip->input);
    while (n < 0 && errno == EINTR);
    if (n < 0) return affect_error_errno(err, errno, "gzip");
    gzip->at_end = n == 0;
    gzip->stream.next_in = gzip->input;
    gzip->stream.avail_in = (uInt)n;
    return AFFECT_STATUS_OK;
}

/* Between members: skips padding; a byte that is not 0 begins another member. */
static void find_member(affect_gzip *gzip) {
    z_stream *stream = &gzip->stream;
    for (; stream->avail_in && *stream->next_in == 0; stream->avail_in--) stream->next_in++;
    if (!stream->avail_in) return;
    inflateReset(stream);
    gzip->in_member = true;
}

static affect_status inflate_some(affect_gzip *gzip, affect_error *err) {
    int result = inflate(&gzip->stream, Z_NO_FLUSH);
    if (result == Z_STREAM_END) gzip->in_member = false;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return AFFECT_STATUS_OK;
    if (result == Z_MEM_ERROR) return affect_fail(err, NO_MEMORY, "gzip: no memory");
    return affect_fail(err, MALFORMED, "gzip: %s",
                       gzip->stream.msg ? gzip->stream.msg : "damaged data");
}

affect_status affect_gzip_read(affect_gzip *gzip, const void **bytes, size_t *n,
                               affect_error *err) {
    z_stream *stream = &gzip->stream;
    stream->next_out = gzip->output;
    stream->avail_out = sizeof gzip->output;
    while (stream->avail_out) {
        if (!stream->avail_in && !gzip->at_end) AFFECT_TRY(fill_input(gzip, err));
        if (!gzip->in_member) find_member(gzip);
        bool no_input = !stream->avail_in && gzip->at_end;
        uInt room = stream->avail_out;
        if (gzip->in_member) AFFECT_TRY(inflate_some(gzip, err)); /* also what zlib still holds */
        if (no_input && stream->avail_out == room) break;
    }
    *bytes = gzip->output;
    *n = sizeof gzip->output - stream->avail_out;
    if (*n == 0 && gzip->in_member) return affect_fail(err, MALFORMED, "gzip: truncated");
    return AFFECT_STATUS_OK;
}
