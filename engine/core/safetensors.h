/* safetensors files: named tensors and text metadata (github.com/huggingface/safetensors, format
 * v1).
 *
 * The one container of affectd: feature stores, model files, checkpoints. A file is 8 bytes of
 * header size (little-endian), a JSON header, and the tensors' bytes. Reading maps the file, so a
 * tensor's data is a pointer into it; every size and offset is checked before it is believed. Data
 * starts at a multiple of 8. Opens in Python's `safetensors` as it is. */
#ifndef AFFECT_CORE_SAFETENSORS_H
#define AFFECT_CORE_SAFETENSORS_H

#include "engine/core/json.h"
#include "engine/core/status.h"
#include "engine/core/tensor.h"

typedef enum {
    AFFECT_DTYPE_F32,
    AFFECT_DTYPE_F64,
    AFFECT_DTYPE_I32,
    AFFECT_DTYPE_I64,
    AFFECT_DTYPE_U8,
    AFFECT_DTYPE_F16,
    AFFECT_DTYPE_COUNT
} affect_dtype;

size_t affect_dtype_size(affect_dtype dtype);

typedef struct {
    const char *name;
    affect_dtype dtype;
    affect_shape shape;
    const void *data; /* little-endian, row-major */
} affect_safetensor;

/* Writes all tensors and metadata (an object whose members are strings; NULL for none) atomically
 * and durably, those of larger numbers first, so that all are aligned. Names must be distinct.
 * Borrows everything. */
affect_status affect_safetensors_write(const char *path, const affect_safetensor *tensors,
                                       size_t n_tensors, const affect_json *metadata,
                                       affect_error *err);

typedef struct affect_safetensors affect_safetensors;

/* Maps the file and checks its whole header. MALFORMED names what is wrong. */
affect_status affect_safetensors_open(affect_safetensors **file, const char *path,
                                      affect_error *err);
/* The same of `size` bytes at `data`, borrowed until close; `name` is for messages. Where data does
 * not start at a multiple of 8, neither does that of the tensors. */
affect_status affect_safetensors_open_memory(affect_safetensors **file, const void *data,
                                             size_t size, const char *name, affect_error *err);
void affect_safetensors_close(affect_safetensors *file);
/* Borrowed until close. */
size_t affect_safetensors_count(const affect_safetensors *file);
const affect_safetensor *affect_safetensors_at(const affect_safetensors *file, size_t index);
const affect_safetensor *affect_safetensors_find(const affect_safetensors *file, const char *name);
/* The tensor of that name, dtype and shape; NOT_FOUND or SHAPE names the difference. */
affect_status affect_safetensors_get(const void **data, const affect_safetensors *file,
                                     const char *name, affect_dtype dtype, affect_shape shape,
                                     affect_error *err);
/* All metadata: an object of strings, borrowed until close; NULL when the file has none. */
const affect_json *affect_safetensors_all_metadata(const affect_safetensors *file);
/* A metadata string, or NULL. */
const char *affect_safetensors_metadata(const affect_safetensors *file, const char *name);
/* A metadata string that holds JSON, parsed; *json owned. NOT_FOUND when absent. */
affect_status affect_safetensors_metadata_json(affect_json **json, const affect_safetensors *file,
                                               const char *name, affect_error *err);

#endif
