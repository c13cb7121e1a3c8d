/* Clocks: seconds for measuring, RFC 3339 text and ULIDs for people and rows. */
#ifndef AFFECT_CORE_CLOCK_H
#define AFFECT_CORE_CLOCK_H

#include <stdint.h>

/* Seconds since an arbitrary start, never going back (CLOCK_MONOTONIC). */
double affect_clock_seconds(void);
/* Milliseconds since 1970 UTC (CLOCK_REALTIME). */
int64_t affect_clock_unix_ms(void);

#define AFFECT_CLOCK_TEXT_SIZE 25
/* "2026-11-23T05:00:00.123Z" */
void affect_clock_text(char text[AFFECT_CLOCK_TEXT_SIZE], int64_t unix_ms);

#define AFFECT_ULID_SIZE 27
/* A sortable id: 48 bits of milliseconds and 80 random bits, Crockford base 32
 * (github.com/ulid/spec). Two made in the same millisecond by one process are in order. Any thread.
 */
void affect_ulid_make(char text[AFFECT_ULID_SIZE]);

#endif
