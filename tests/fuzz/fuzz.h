/* What the fuzz targets share. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput; it is
 * built twice over: with libFuzzer (clang, -DAFFECT_FUZZ=ON), and with any compiler and replay.c's
 * main, as a test that runs through the inputs in corpus/NAME. */
#ifndef AFFECT_TESTS_FUZZ_FUZZ_H
#define AFFECT_TESTS_FUZZ_FUZZ_H

#include "engine/core/file.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that was found broken: ends the process, so that the input is kept. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Puts the input into a file in memory and writes a path that opens it; returns its descriptor. */
static inline int fuzz_file(char path[64], const uint8_t *data, size_t size) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* A folder of this process, removed at its end. Borrowed for ever. */
static char fuzz_folder_path[AFFECT_PATH_MAX];
static inline void fuzz_folder_remove(void) {
    affect_directory_remove(fuzz_folder_path, NULL);
}
static inline const char *fuzz_folder(void) {
    if (*fuzz_folder_path) return fuzz_folder_path;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/affect-fuzz-XXXXXX", base);
    FUZZ_CHECK(mkdtemp(fuzz_folder_path) != NULL);
    atexit(fuzz_folder_remove);
    return fuzz_folder_path;
}

#endif
