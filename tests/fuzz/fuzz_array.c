/* Arrays: from memory and as a file the same numbers, all finite, of a shape that fits the bytes.
 */
#include "engine/modality/array_file.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    affect_array_reader *reader = NULL;
    affect_array array, other;
    affect_error err = {0};
    char path[64];
    FUZZ_CHECK(affect_array_reader_create(&reader, NULL) == AFFECT_STATUS_OK);
    const char *name = size && data[size - 1] & 1 ? "u0" : NULL;
    affect_status status =
        affect_array_read(&array, reader, (affect_source){.data = data, .size = size}, name, &err);
    FUZZ_CHECK(status == AFFECT_STATUS_OK || err.message[0]);
    size_t n = status == AFFECT_STATUS_OK ? affect_shape_count(array.shape) : 0;
    FUZZ_CHECK(n * 2 <= size);
    float *numbers = malloc((n + 1) * sizeof *numbers), *again = malloc((n + 1) * sizeof *again);
    affect_status copied = AFFECT_STATUS_OK;
    if (n) copied = affect_array_copy(numbers, &array, n, NULL);
    for (size_t i = 0; copied == AFFECT_STATUS_OK && i < n; i++) FUZZ_CHECK(isfinite(numbers[i]));
    int fd = fuzz_file(path, data, size);
    for (int round = 0; round < 2; round++) { /* opened, and kept from before */
        affect_status as_file =
            affect_array_read(&other, reader, (affect_source){.path = path}, name, NULL);
        FUZZ_CHECK(as_file == status);
        if (status != AFFECT_STATUS_OK || copied != AFFECT_STATUS_OK) continue;
        FUZZ_CHECK(affect_shape_equal(other.shape, array.shape));
        FUZZ_CHECK(affect_array_copy(again, &other, n, NULL) == AFFECT_STATUS_OK);
        FUZZ_CHECK(memcmp(again, numbers, n * sizeof *numbers) == 0);
    }
    close(fd);
    free(numbers);
    free(again);
    affect_array_reader_free(reader);
    return 0;
}
