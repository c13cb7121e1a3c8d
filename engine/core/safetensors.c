/* safetensors files; see safetensors.h. */
#include "engine/core/safetensors.h"

#include "engine/core/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER_BYTES 100000000u /* the reference implementation's own limit */

static const struct {
    const char *name;
    size_t size;
} dtypes[AFFECT_DTYPE_COUNT] = {{"F32", 4}, {"F64", 8}, {"I32", 4},
                                {"I64", 8}, {"U8", 1},  {"F16", 2}};

struct affect_safetensors {
    affect_file_map map;
    bool is_borrowed; /* the map: memory of the caller */
    affect_json *header;
    size_t n_tensors;
    affect_safetensor *tensors;
};

size_t affect_dtype_size(affect_dtype dtype) {
    return dtypes[dtype].size;
}

static size_t tensor_bytes(const affect_safetensor *tensor) {
    return affect_shape_count(tensor->shape) * dtypes[tensor->dtype].size;
}

static char *header_text(const affect_safetensor *tensors, size_t n_tensors,
                         const affect_json *metadata) {
    affect_json *header = affect_json_new_object();
    if (metadata) affect_json_set(header, "__metadata__", affect_json_copy(metadata));
    size_t offset = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        affect_json *row = affect_json_new_object();
        affect_json_set_string(row, "dtype", dtypes[tensors[i].dtype].name);
        affect_json *shape = affect_json_set_array(row, "shape");
        for (int d = 0; d < tensors[i].shape.rank; d++)
            affect_json_append(shape, affect_json_new_number((double)tensors[i].shape.size[d]));
        affect_json *offsets = affect_json_set_array(row, "data_offsets");
        affect_json_append(offsets, affect_json_new_number((double)offset));
        offset += tensor_bytes(&tensors[i]);
        affect_json_append(offsets, affect_json_new_number((double)offset));
        affect_json_set(header, tensors[i].name, row);
    }
    char *text = affect_json_text(header);
    affect_json_free(header);
    return text;
}

static affect_status write_ordered(const char *path, const affect_safetensor *tensors,
                                   size_t n_tensors, const affect_json *metadata,
                                   affect_error *err) {
    char *text = header_text(tensors, n_tensors, metadata);
    if (!text) return affect_fail(err, NO_MEMORY, "%s: no memory for the header", path);
    affect_file_writer *writer = NULL;
    affect_status status = affect_file_writer_open(&writer, path, err);
    if (status != AFFECT_STATUS_OK) goto cleanup;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    uint64_t header_size = padded;
    affect_file_writer_append(writer, &header_size, sizeof header_size);
    affect_file_writer_append(writer, text, length);
    affect_file_writer_append(writer, "       ", padded - length);
    for (size_t i = 0; i < n_tensors; i++)
        affect_file_writer_append(writer, tensors[i].data, tensor_bytes(&tensors[i]));
    status = affect_file_writer_commit(writer, err);
cleanup:
    affect_file_writer_free(writer);
    free(text);
    return status;
}

affect_status affect_safetensors_write(const char *path, const affect_safetensor *tensors,
                                       size_t n_tensors, const affect_json *metadata,
                                       affect_error *err) {
    affect_safetensor *ordered = malloc((n_tensors + 1) * sizeof *ordered);
    if (!ordered) return affect_fail(err, NO_MEMORY, "%s: no memory for the header", path);
    size_t n = 0;
    for (size_t size = 8; size > 0; size /= 2)
        for (size_t i = 0; i < n_tensors; i++)
            if (affect_dtype_size(tensors[i].dtype) == size) ordered[n++] = tensors[i];
    affect_status status = write_ordered(path, ordered, n_tensors, metadata, err);
    free(ordered);
    return status;
}

static bool whole_number(const affect_json *json, size_t limit, size_t *number) {
    double value = affect_json_number(json, -1);
    if (value < 0 || value > (double)limit || value != (double)(size_t)value) return false;
    *number = (size_t)value;
    return true;
}

/* Reads one row of the header; every number is bounded by the bytes that are really there. */
static bool read_row(affect_safetensor *tensor, const affect_json *row, const unsigned char *data,
                     size_t n_data, bool is_aligned) {
    const char *dtype = affect_json_get_string(row, "dtype", "");
    int index = 0;
    while (index < AFFECT_DTYPE_COUNT && strcmp(dtypes[index].name, dtype) != 0) index++;
    const affect_json *shape = affect_json_get(row, "shape");
    const affect_json *offsets = affect_json_get(row, "data_offsets");
    size_t begin, end, count = 1, rank = affect_json_size(shape);
    if (index == AFFECT_DTYPE_COUNT || !affect_json_is_array(shape) || rank > AFFECT_MAX_RANK ||
        affect_json_size(offsets) != 2 ||
        !whole_number(affect_json_at(offsets, 0), n_data, &begin) ||
        !whole_number(affect_json_at(offsets, 1), n_data, &end) || begin > end)
        return false;
    tensor->name = affect_json_name(row);
    tensor->dtype = (affect_dtype)index;
    tensor->shape.rank = (int)rank;
    for (size_t d = 0; d < rank; d++) {
        size_t *size = &tensor->shape.size[d];
        if (!whole_number(affect_json_at(shape, d), n_data, size)) return false;
        if (*size && count > n_data / *size) return false;
        count *= *size;
    }
    tensor->data = data + begin;
    if (is_aligned && (uintptr_t)tensor->data % dtypes[index].size)
        return false; /* could not be read in place */
    return count * dtypes[index].size == end - begin;
}

static affect_status check_metadata(const affect_json *metadata, const char *path,
                                    affect_error *err) {
    bool good = affect_json_is_object(metadata);
    for (const affect_json *e = affect_json_first(metadata); e; e = affect_json_next(e))
        good = good && affect_json_is_string(e);
    return good ? AFFECT_STATUS_OK
                : affect_fail(err, MALFORMED, "%s: __metadata__ is not an object of strings", path);
}

static affect_status read_header(affect_safetensors *file, const char *path, affect_error *err) {
    uint64_t n_header = 0;
    if (file->map.size < sizeof n_header)
        return affect_fail(err, MALFORMED, "%s: not a safetensors file (%zu bytes)", path,
                           file->map.size);
    memcpy(&n_header, file->map.data, sizeof n_header);
    if (n_header > MAX_HEADER_BYTES || n_header > file->map.size - sizeof n_header)
        return affect_fail(err, MALFORMED,
                           "%s: not a safetensors file (header of %" PRIu64 " bytes)", path,
                           n_header);
    const char *text = (const char *)file->map.data + sizeof n_header;
    affect_status status = affect_json_parse(&file->header, text, n_header, err);
    if (status != AFFECT_STATUS_OK) return affect_error_prefix(err, status, "%s: header", path);
    if (!affect_json_is_object(file->header))
        return affect_fail(err, MALFORMED, "%s: header: is a %s (need an object)", path,
                           affect_json_type_name(file->header));
    file->tensors = calloc(affect_json_size(file->header) + 1, sizeof *file->tensors);
    if (!file->tensors) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
    const unsigned char *data = (const unsigned char *)text + n_header;
    size_t n_data = file->map.size - sizeof n_header - n_header;
    for (const affect_json *row = affect_json_first(file->header); row;
         row = affect_json_next(row)) {
        if (strcmp(affect_json_name(row), "__metadata__") == 0) {
            AFFECT_TRY(check_metadata(row, path, err));
            continue;
        }
        if (!read_row(&file->tensors[file->n_tensors], row, data, n_data, !file->is_borrowed))
            return affect_fail(err, MALFORMED, "%s: tensor \"%s\": wrong dtype, shape or offsets",
                               path, affect_json_name(row));
        file->n_tensors++;
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_safetensors_open(affect_safetensors **file, const char *path,
                                      affect_error *err) {
    affect_safetensors *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", path);
    affect_status status = affect_file_map_open(&made->map, path, err);
    if (status == AFFECT_STATUS_OK) status = read_header(made, path, err);
    if (status != AFFECT_STATUS_OK) {
        affect_safetensors_close(made);
        return status;
    }
    *file = made;
    return AFFECT_STATUS_OK;
}

affect_status affect_safetensors_open_memory(affect_safetensors **file, const void *data,
                                             size_t size, const char *name, affect_error *err) {
    affect_safetensors *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", name);
    made->map = (affect_file_map){.data = data, .size = size};
    made->is_borrowed = true;
    affect_status status = read_header(made, name, err);
    if (status != AFFECT_STATUS_OK) {
        affect_safetensors_close(made);
        return status;
    }
    *file = made;
    return AFFECT_STATUS_OK;
}

void affect_safetensors_close(affect_safetensors *file) {
    if (!file) return;
    if (!file->is_borrowed) affect_file_map_close(&file->map);
    affect_json_free(file->header);
    free(file->tensors);
    free(file);
}

size_t affect_safetensors_count(const affect_safetensors *file) {
    return file->n_tensors;
}

const affect_safetensor *affect_safetensors_at(const affect_safetensors *file, size_t index) {
    return index < file->n_tensors ? &file->tensors[index] : NULL;
}

const affect_safetensor *affect_safetensors_find(const affect_safetensors *file, const char *name) {
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}

affect_status affect_safetensors_get(const void **data, const affect_safetensors *file,
                                     const char *name, affect_dtype dtype, affect_shape shape,
                                     affect_error *err) {
    const affect_safetensor *tensor = affect_safetensors_find(file, name);
    if (!tensor) return affect_fail(err, NOT_FOUND, "no tensor \"%s\"", name);
    char got[AFFECT_SHAPE_TEXT_SIZE], want[AFFECT_SHAPE_TEXT_SIZE];
    if (tensor->dtype != dtype || !affect_shape_equal(tensor->shape, shape))
        return affect_fail(err, SHAPE, "tensor \"%s\" is %s %s (need %s %s)", name,
                           dtypes[tensor->dtype].name, affect_shape_text(got, tensor->shape),
                           dtypes[dtype].name, affect_shape_text(want, shape));
    *data = tensor->data;
    return AFFECT_STATUS_OK;
}

const affect_json *affect_safetensors_all_metadata(const affect_safetensors *file) {
    return affect_json_get(file->header, "__metadata__");
}

const char *affect_safetensors_metadata(const affect_safetensors *file, const char *name) {
    return affect_json_get_string(affect_json_get(file->header, "__metadata__"), name, NULL);
}

affect_status affect_safetensors_metadata_json(affect_json **json, const affect_safetensors *file,
                                               const char *name, affect_error *err) {
    const char *text = affect_safetensors_metadata(file, name);
    if (!text) return affect_fail(err, NOT_FOUND, "no metadata \"%s\"", name);
    affect_status status = affect_json_parse(json, text, strlen(text), err);
    return status == AFFECT_STATUS_OK ? status
                                      : affect_error_prefix(err, status, "metadata %s", name);
}
