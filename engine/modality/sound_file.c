/* Sound files; see sound_file.h.
 *
 * libsndfile reads through our own byte functions, the same for files and memory, which also see
 * how long the source really is: libsndfile shortens a truncated wav silently, so the size of its
 * data chunk is checked here. Nothing is allocated by what a header claims: samples grow with what
 * has been decoded. */
#include "engine/modality/sound_file.h"

#include "engine/core/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sndfile.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_VALUES     8192
#define UNKNOWN_FRAMES   ((sf_count_t)1 << 40)
#define WAV_SIZE_UNKNOWN 0x7fff0000u /* and above: written by a pipe that did not know */

typedef struct {
    int fd; /* -1: in memory */
    const unsigned char *data;
    sf_count_t size, position;
} byte_stream;

static sf_count_t stream_read_at(const byte_stream *stream, void *to, sf_count_t size,
                                 sf_count_t position) {
    if (position < 0 || position >= stream->size || size <= 0) return 0;
    if (size > stream->size - position) size = stream->size - position;
    if (stream->fd < 0) {
        memcpy(to, stream->data + position, (size_t)size);
        return size;
    }
    sf_count_t done = 0;
    while (done < size) {
        ssize_t n = pread(stream->fd, (char *)to + done, (size_t)(size - done), position + done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += n;
    }
    return done;
}

static sf_count_t io_length(void *user) {
    return ((byte_stream *)user)->size;
}

static sf_count_t io_tell(void *user) {
    return ((byte_stream *)user)->position;
}

static sf_count_t io_seek(sf_count_t offset, int whence, void *user) {
    byte_stream *stream = user;
    sf_count_t base = whence == SEEK_CUR ? stream->position : whence == SEEK_END ? stream->size : 0;
    if (offset > INT64_MAX / 2 || offset < -base) return -1;
    return stream->position = base + offset;
}

static sf_count_t io_read(void *to, sf_count_t size, void *user) {
    byte_stream *stream = user;
    sf_count_t n = stream_read_at(stream, to, size, stream->position);
    stream->position += n;
    return n;
}

static sf_count_t io_write(const void *from, sf_count_t size, void *user) {
    (void)from, (void)size, (void)user;
    return 0;
}

static affect_status stream_open(byte_stream *stream, affect_source source, affect_error *err) {
    *stream = (byte_stream){.fd = -1, .data = source.data, .size = (sf_count_t)source.size};
    if (!source.path) return AFFECT_STATUS_OK;
    size_t size = 0;
    AFFECT_TRY(affect_file_open(&stream->fd, &size, source.path, err));
    stream->size = (sf_count_t)size;
    return AFFECT_STATUS_OK;
}

static void stream_close(byte_stream *stream) {
    if (stream->fd >= 0) close(stream->fd);
}

static uint32_t little_endian(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* The data chunk of a RIFF file must be as long as it says; other formats pass. */
static affect_status check_wav(const byte_stream *stream, affect_error *err) {
    unsigned char head[12];
    if (stream_read_at(stream, head, 12, 0) != 12) return AFFECT_STATUS_OK;
    if (memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) return AFFECT_STATUS_OK;
    sf_count_t position = 12;
    for (int chunk = 0; chunk < 1000; chunk++) {
        if (stream_read_at(stream, head, 8, position) != 8)
            return affect_fail(err, MALFORMED, "truncated wav: the file ends before its samples");
        uint32_t size = little_endian(head + 4);
        sf_count_t there = stream->size - position - 8;
        if (memcmp(head, "data", 4) == 0) {
            if (size >= WAV_SIZE_UNKNOWN || size <= there) return AFFECT_STATUS_OK;
            return affect_fail(err, MALFORMED,
                               "truncated wav: its header announces %u bytes of samples, %lld are "
                               "there",
                               size, (long long)there);
        }
        position += 8 + (sf_count_t)size + (size & 1);
    }
    return affect_fail(err, MALFORMED, "wav with over 1000 chunks before its samples");
}

static affect_status check_info(const SF_INFO *info, affect_error *err) {
    if (info->samplerate < AFFECT_SOUND_MIN_RATE_HZ || info->samplerate > AFFECT_SOUND_MAX_RATE_HZ)
        return affect_fail(err, UNSUPPORTED, "%d samples a second (need %d..%d)", info->samplerate,
                           AFFECT_SOUND_MIN_RATE_HZ, AFFECT_SOUND_MAX_RATE_HZ);
    if (info->channels < 1 || info->channels > AFFECT_SOUND_MAX_CHANNELS)
        return affect_fail(err, UNSUPPORTED, "%d channels (need 1..%d)", info->channels,
                           AFFECT_SOUND_MAX_CHANNELS);
    if (info->frames <= 0) return affect_fail(err, MALFORMED, "no samples (0 seconds of sound)");
    return AFFECT_STATUS_OK;
}

static affect_status grow(affect_sound *sound, size_t n, size_t most, affect_error *err) {
    if (n <= sound->capacity) return AFFECT_STATUS_OK;
    size_t capacity = 2 * sound->capacity;
    if (capacity < 262144) capacity = 262144;
    if (capacity > most) capacity = most;
    if (capacity < n) capacity = n;
    float *samples = realloc(sound->samples, capacity * sizeof *samples);
    if (!samples) return affect_fail(err, NO_MEMORY, "no memory for %zu samples", capacity);
    sound->samples = samples;
    sound->capacity = capacity;
    return AFFECT_STATUS_OK;
}

/* Whether all n values are finite and within the limit. Without branches, for the vectoriser. */
static bool all_within_limit(const float *values, size_t n) {
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) wrong |= !(fabsf(values[i]) <= AFFECT_SOUND_MAX_AMPLITUDE);
    return !wrong;
}

static affect_status check_values(const affect_sound *sound, const float *values, size_t n,
                                  affect_error *err) {
    if (all_within_limit(values, n)) return AFFECT_STATUS_OK;
    size_t i = 0;
    while (fabsf(values[i]) <= AFFECT_SOUND_MAX_AMPLITUDE) i++;
    return affect_fail(err, MALFORMED, "sample %zu is %g: not a finite number within +-%g",
                       sound->n_samples + i / (size_t)sound->n_channels, (double)values[i],
                       (double)AFFECT_SOUND_MAX_AMPLITUDE);
}

/* to[i] = the mean over channels of frame i. */
static void mix(float *to, const float *block, size_t n, size_t n_channels) {
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t c = 0; c < n_channels; c++) sum += block[i * n_channels + c];
        to[i] = sum / (float)n_channels;
    }
}

/* Decodes up to `wanted` frames from where the file stands; one channel goes straight to its place.
 */
static affect_status read_frames(affect_sound *sound, SNDFILE *file, sf_count_t wanted,
                                 affect_error *err) {
    float block[BLOCK_VALUES];
    size_t n_channels = (size_t)sound->n_channels;
    sf_count_t block_frames = BLOCK_VALUES / sound->n_channels;
    while ((sf_count_t)sound->n_samples < wanted) {
        sf_count_t n = wanted - (sf_count_t)sound->n_samples;
        if (n > block_frames) n = block_frames;
        AFFECT_TRY(grow(sound, sound->n_samples + (size_t)n, (size_t)wanted, err));
        float *to = sound->samples + sound->n_samples, *values = n_channels == 1 ? to : block;
        n = sf_readf_float(file, values, n);
        if (n <= 0) break;
        AFFECT_TRY(check_values(sound, values, (size_t)n * n_channels, err));
        if (n_channels > 1) mix(to, block, (size_t)n, n_channels);
        sound->n_samples += (size_t)n;
    }
    return AFFECT_STATUS_OK;
}

/* Which frames the window and the limit ask for: first, count (decoded), whole (of the window). */
typedef struct {
    sf_count_t first, count, whole;
} frame_range;

static affect_status choose_frames(frame_range *range, const SF_INFO *info,
                                   affect_time_window window, double limit_s, affect_error *err) {
    double rate = info->samplerate;
    *range = (frame_range){.whole = info->frames};
    if (window.limited) {
        if (!(window.start_s >= 0 && window.end_s > window.start_s))
            return affect_fail(err, INVALID, "window %g..%g s (need 0 <= start < end)",
                               window.start_s, window.end_s);
        double all = (double)info->frames;
        range->first = (sf_count_t)fmin(round(window.start_s * rate), all);
        sf_count_t end = (sf_count_t)fmin(round(window.end_s * rate), all);
        range->whole = end - range->first;
        if (range->whole <= 0)
            return affect_fail(err, MALFORMED, "no samples from %g to %g s (the sound has %.3f s)",
                               window.start_s, window.end_s, (double)info->frames / rate);
    }
    sf_count_t limit = (sf_count_t)ceil(limit_s * rate);
    range->count = range->whole < limit ? range->whole : limit;
    return AFFECT_STATUS_OK;
}

static affect_status decode(affect_sound *sound, SNDFILE *file, const SF_INFO *info,
                            affect_time_window window, double limit_s, affect_error *err) {
    AFFECT_TRY(check_info(info, err));
    frame_range range;
    AFFECT_TRY(choose_frames(&range, info, window, limit_s, err));
    sound->sample_rate_hz = info->samplerate;
    sound->n_channels = info->channels;
    if (range.first > 0 && sf_seek(file, range.first, SEEK_SET) != range.first)
        return affect_fail(err, MALFORMED, "cannot seek to %g s", window.start_s);
    AFFECT_TRY(read_frames(sound, file, range.count, err));
    bool known = info->frames < UNKNOWN_FRAMES && /* an mp3's length is an estimate */
                 (info->format & SF_FORMAT_TYPEMASK) != SF_FORMAT_MPEG;
    if (sound->n_samples == 0) return affect_fail(err, MALFORMED, "no samples could be decoded");
    if (known && (sf_count_t)sound->n_samples < range.count)
        return affect_fail(err, MALFORMED, "truncated or damaged: %.3f of %.3f s could be decoded",
                           (double)sound->n_samples / info->samplerate,
                           (double)range.count / info->samplerate);
    sound->truncated = range.whole > range.count && (sf_count_t)sound->n_samples == range.count;
    sf_count_t total = known || sound->truncated ? range.whole : (sf_count_t)sound->n_samples;
    if (total >= UNKNOWN_FRAMES / 2) total = (sf_count_t)sound->n_samples;
    sound->total_seconds = (double)total / info->samplerate;
    return AFFECT_STATUS_OK;
}

affect_status affect_sound_read(affect_sound *sound, affect_source source,
                                affect_time_window window, double limit_s, affect_error *err) {
    assert(!affect_source_is_absent(source));
    assert(limit_s > 0 && limit_s <= AFFECT_SOUND_MAX_SECONDS);
    sound->n_samples = 0;
    sound->truncated = false;
    byte_stream stream;
    AFFECT_TRY(stream_open(&stream, source, err));
    SNDFILE *file = NULL;
    affect_status status = AFFECT_STATUS_OK;
    if (stream.size == 0) {
        status = affect_fail(err, MALFORMED, "empty: 0 bytes");
        goto cleanup;
    }
    if ((status = check_wav(&stream, err)) != AFFECT_STATUS_OK) goto cleanup;
    SF_VIRTUAL_IO io = {io_length, io_seek, io_read, io_write, io_tell};
    SF_INFO info = {0};
    file = sf_open_virtual(&io, SFM_READ, &info, &stream);
    if (!file) {
        status =
            affect_fail(err, MALFORMED, "cannot be read as a sound file: %s", sf_strerror(NULL));
        goto cleanup;
    }
    status = decode(sound, file, &info, window, limit_s, err);
cleanup:
    if (status != AFFECT_STATUS_OK) sound->n_samples = 0;
    if (file) sf_close(file);
    stream_close(&stream);
    return status;
}

void affect_sound_free(affect_sound *sound) {
    if (!sound) return;
    free(sound->samples);
    *sound = (affect_sound){0};
}
