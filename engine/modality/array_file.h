/* Arrays of the user: NumPy's .npy files and safetensors.
 *
 * A .npy file (NumPy's format, versions 1 to 3) holds one array, a safetensors file one or several;
 * of several the one that has the utterance's id as its name is meant. Numbers are float32 or
 * float16, little-endian, in C order. Nothing of a header is believed before it is compared with
 * the bytes that are there.
 *
 * A reader belongs to one thread. It keeps the last file that was opened by its path, so that a
 * file with the tensors of all utterances is mapped and parsed once. */
#ifndef AFFECT_MODALITY_ARRAY_FILE_H
#define AFFECT_MODALITY_ARRAY_FILE_H

#include "engine/core/source.h"
#include "engine/core/status.h"
#include "engine/core/tensor.h"

#include <stdint.h>

typedef struct affect_array_reader affect_array_reader;

typedef struct {
    affect_shape shape;
    size_t n_bytes; /* of a number: 4 or 2 */
    const void *data;
} affect_array;

affect_status affect_array_reader_create(affect_array_reader **reader, affect_error *err);
void affect_array_reader_free(affect_array_reader *reader);
/* The array of a source; utterance NULL: the only one. *array is borrowed until the next one, and
 * from a source in memory. MALFORMED: neither kind of file, or damaged; UNSUPPORTED: other numbers
 * or order; NOT_FOUND: no tensor of that name, no file; INVALID: several tensors and no utterance.
 */
affect_status affect_array_read(affect_array *array, affect_array_reader *reader,
                                affect_source source, const char *utterance, affect_error *err);
/* Its first n numbers as float32. MALFORMED: one is not finite. */
affect_status affect_array_copy(float *to, const affect_array *array, size_t n, affect_error *err);

#endif
