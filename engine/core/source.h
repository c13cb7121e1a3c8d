/* Where bytes of a recording come from, and which part of its time is meant.
 *
 * A prediction's bytes are in memory (an upload), an import's are in files; readers of sound and
 * motion take both through affect_source. Plain data, borrows everything. */
#ifndef AFFECT_CORE_SOURCE_H
#define AFFECT_CORE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

/* A file when `path` is set, else `size` bytes at `data`; neither: absent. Zero-initialise. */
typedef struct {
    const char *path;
    const void *data; /* may be "" with size 0: present and empty */
    size_t size;
} affect_source;

static inline bool affect_source_is_absent(affect_source source) {
    return !source.path && !source.data;
}

/* A part of a recording, in seconds of its own clock; zero-initialised: all of it. */
typedef struct {
    bool limited;          /* only start_s <= t < end_s */
    double start_s, end_s; /* end_s HUGE_VAL: open */
} affect_time_window;

#endif
