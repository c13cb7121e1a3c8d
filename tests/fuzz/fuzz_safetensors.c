/* safetensors: every byte of every tensor of a file that is accepted can be read, and its metadata.
 */
#include "engine/core/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static unsigned sum; /* keeps the reads */

static void read_tensor(const affect_safetensors *file, const affect_safetensor *tensor) {
    size_t n = affect_dtype_size(tensor->dtype) * affect_shape_count(tensor->shape);
    const unsigned char *bytes = tensor->data;
    for (size_t i = 0; i < n; i++) sum += bytes[i];
    FUZZ_CHECK(affect_safetensors_find(file, tensor->name) == tensor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    affect_safetensors *file = NULL;
    int fd = fuzz_file(path, data, size);
    if (affect_safetensors_open(&file, path, NULL) == AFFECT_STATUS_OK) {
        for (size_t i = 0; i < affect_safetensors_count(file); i++)
            read_tensor(file, affect_safetensors_at(file, i));
        const affect_json *all = affect_safetensors_all_metadata(file);
        for (const affect_json *e = affect_json_first(all); e; e = affect_json_next(e)) {
            affect_json *value = NULL;
            FUZZ_CHECK(affect_safetensors_metadata(file, affect_json_name(e)) != NULL);
            affect_safetensors_metadata_json(&value, file, affect_json_name(e), NULL);
            affect_json_free(value);
        }
        affect_safetensors_close(file);
    }
    close(fd);
    return 0;
}
