/* Reads numpy's .npy files (format 1 and 2; float32, float64; C order; up to two dimensions) as
 * doubles. A file that is missing or of another kind ends the test program: references are part of
 * the tree. */
#ifndef AFFECT_TESTS_NPY_H
#define AFFECT_TESTS_NPY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t rows, columns; /* a vector has one column */
    double *values;       /* (rows, columns), owned: free */
} npy_array;

static inline void npy_fail(const char *path, const char *why) {
    fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
}

/* One array below tests/reference/. */
static inline npy_array npy_read(const char *name) {
    char path[512], header[1024] = "";
    unsigned char start[12];
    snprintf(path, sizeof path, "%s/%s", TEST_REFERENCE_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file || fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0)
        npy_fail(path, "no such .npy file");
    if (start[6] > 1 && fread(start + 10, 1, 2, file) != 2) npy_fail(path, "short");
    size_t length = (size_t)start[8] | (size_t)start[9] << 8;
    if (length >= sizeof header || fread(header, 1, length, file) != length)
        npy_fail(path, "bad header");
    int is_double = strstr(header, "'<f8'") != NULL;
    const char *shape = strstr(header, "'shape': (");
    if ((!is_double && !strstr(header, "'<f4'")) || !shape) npy_fail(path, "not of floats");
    npy_array array = {0, 1, NULL};
    int n = sscanf(shape, "'shape': (%zu, %zu", &array.rows, &array.columns);
    if (n < 1 || (n == 2 && strstr(header, "'fortran_order': True"))) npy_fail(path, "not C order");
    size_t count = array.rows * array.columns, item = is_double ? 8 : 4;
    char *bytes = malloc(count * item);
    array.values = malloc(count * sizeof(double));
    if (!bytes || !array.values || fread(bytes, item, count, file) != count)
        npy_fail(path, "short");
    for (size_t i = 0; i < count; i++) {
        float single;
        if (is_double)
            memcpy(&array.values[i], bytes + 8 * i, 8);
        else
            memcpy(&single, bytes + 4 * i, 4), array.values[i] = (double)single;
    }
    free(bytes);
    fclose(file);
    return array;
}

#endif
