/* Clocks and ULIDs; see clock.h. */
#include "engine/core/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

double affect_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t affect_clock_unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void affect_clock_text(char text[AFFECT_CLOCK_TEXT_SIZE], int64_t unix_ms) {
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t n = strftime(text, AFFECT_CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + n, AFFECT_CLOCK_TEXT_SIZE - n, ".%03dZ", (int)(unix_ms % 1000));
}

void affect_ulid_make(char text[AFFECT_ULID_SIZE]) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t last_ms;
    static unsigned char last_random[10];
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    pthread_mutex_lock(&lock);
    uint64_t now_ms = (uint64_t)affect_clock_unix_ms();
    if (now_ms > last_ms) {
        last_ms = now_ms;
        if (getrandom(last_random, sizeof last_random, 0) != sizeof last_random)
            memset(last_random, 0, sizeof last_random);
    } else {
        for (int i = 9; i >= 0 && ++last_random[i] == 0; i--) {
        }
    }
    unsigned char bytes[16];
    for (int i = 0; i < 6; i++) bytes[i] = (unsigned char)(last_ms >> (40 - 8 * i));
    memcpy(bytes + 6, last_random, sizeof last_random);
    pthread_mutex_unlock(&lock);

    /* 128 bits as 26 digits of 5: the first digit holds the upper 3. */
    for (int digit = 0; digit < 26; digit++) {
        int value = 0;
        for (int bit = 0; bit < 5; bit++) {
            int position = digit * 5 + bit - 2;
            value = value * 2 + (position < 0 ? 0 : bytes[position / 8] >> (7 - position % 8) & 1);
        }
        text[digit] = digits[value];
    }
    text[26] = '\0';
}
