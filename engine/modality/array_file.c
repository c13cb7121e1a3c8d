/* Arrays of the user; see array_file.h.
 *
 * The header of a .npy file is the text of a Python dictionary of three members (numpy.lib.format):
 * {'descr': '<f4', 'fortran_order': False, 'shape': (200, 768), }. It is read by a parser of just
 * that. Float16 becomes float32 by its bits (IEEE 754-2008, binary16). */
#include "engine/modality/array_file.h"

#include "engine/core/file.h"
#include "engine/core/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NPY_MAGIC  "\x93NUMPY"
#define MAX_HEADER (1u << 16)

struct affect_array_reader {
    affect_safetensors *tensors; /* of the file below, or of memory */
    affect_file_map map;         /* of a .npy file */
    bool is_open;                /* the map */
    struct stat info;            /* of the file of `tensors`; st_ino 0: of memory */
};

affect_status affect_array_reader_create(affect_array_reader **reader, affect_error *err) {
    *reader = calloc(1, sizeof **reader);
    return *reader ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "no memory for an array");
}

static void forget(affect_array_reader *reader) {
    affect_safetensors_close(reader->tensors);
    if (reader->is_open) affect_file_map_close(&reader->map);
    *reader = (affect_array_reader){0};
}

void affect_array_reader_free(affect_array_reader *reader) {
    if (!reader) return;
    forget(reader);
    free(reader);
}

/* ---- .npy ---- */

/* What is left of a header's text. */
typedef struct {
    const char *at, *end;
} npy_text;

static void skip_blanks(npy_text *text) {
    while (text->at < text->end && strchr(" \n\t", *text->at) && *text->at) text->at++;
}

static bool take(npy_text *text, const char *token) {
    size_t n = strlen(token);
    skip_blanks(text);
    if ((size_t)(text->end - text->at) < n || memcmp(text->at, token, n) != 0) return false;
    text->at += n;
    return true;
}

/* Text in quotes of up to 31 bytes. */
static bool take_string(npy_text *text, char string[32]) {
    skip_blanks(text);
    if (text->at >= text->end || (*text->at != '\'' && *text->at != '"')) return false;
    char quote = *text->at++;
    const char *close = memchr(text->at, quote, (size_t)(text->end - text->at));
    if (!close || close - text->at > 31) return false;
    snprintf(string, 32, "%.*s", (int)(close - text->at), text->at);
    text->at = close + 1;
    return true;
}

static bool take_size(npy_text *text, size_t *size) {
    size_t n_digits = 0;
    skip_blanks(text);
    *size = 0;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && n_digits++ < 15)
        *size = *size * 10 + (size_t)(*text->at++ - '0');
    return n_digits > 0 && n_digits <= 15;
}

/* (), (768,) or (200, 768). */
static bool take_shape(npy_text *text, affect_shape *shape) {
    *shape = (affect_shape){0};
    if (!take(text, "(")) return false;
    while (!take(text, ")")) {
        if (shape->rank == AFFECT_MAX_RANK || !take_size(text, &shape->size[shape->rank]))
            return false;
        shape->rank++;
        if (!take(text, ",")) return take(text, ")");
    }
    return true;
}

static bool parse_header(npy_text text, char descr[32], bool *fortran_order, affect_shape *shape) {
    bool has_descr = false, has_order = false, has_shape = false;
    if (!take(&text, "{")) return false;
    while (!take(&text, "}")) {
        char name[32];
        if (!take_string(&text, name) || !take(&text, ":")) return false;
        if (strcmp(name, "descr") == 0) {
            has_descr = take_string(&text, descr);
            if (!has_descr) return false;
        } else if (strcmp(name, "fortran_order") == 0) {
            *fortran_order = take(&text, "True");
            has_order = *fortran_order || take(&text, "False");
            if (!has_order) return false;
        } else if (strcmp(name, "shape") == 0) {
            has_shape = take_shape(&text, shape);
            if (!has_shape) return false;
        } else {
            return false;
        }
        if (!take(&text, ",")) {
            if (!take(&text, "}")) return false;
            break;
        }
    }
    skip_blanks(&text);
    return has_descr && has_order && has_shape && text.at == text.end;
}

/* Numbers of a shape, or SIZE_MAX where there are more than `most`. */
static size_t count_within(affect_shape shape, size_t most) {
    size_t count = 1;
    for (int d = 0; d < shape.rank; d++) {
        if (shape.size[d] && count > most / shape.size[d]) return SIZE_MAX;
        count *= shape.size[d];
    }
    return count;
}

static affect_status read_npy(affect_array *array, const unsigned char *data, size_t size,
                              affect_error *err) {
    char descr[32] = "";
    bool fortran_order = false;
    if (size < 12) return affect_fail(err, MALFORMED, "a .npy file of %zu bytes", size);
    size_t begin = data[6] == 1 ? 10 : 12;
    size_t n_header = (size_t)data[8] | (size_t)data[9] << 8;
    if (data[6] != 1) n_header |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (data[6] < 1 || data[6] > 3 || n_header > MAX_HEADER || n_header > size - begin)
        return affect_fail(err, MALFORMED, "its .npy header has version %d and %zu bytes", data[6],
                           n_header);
    const npy_text text = {(const char *)data + begin, (const char *)data + begin + n_header};
    if (!parse_header(text, descr, &fortran_order, &array->shape))
        return affect_fail(err, MALFORMED, "its .npy header is damaged");
    array->n_bytes = strcmp(descr, "<f4") == 0 ? 4 : strcmp(descr, "<f2") == 0 ? 2 : 0;
    if (!array->n_bytes || (fortran_order && array->shape.rank > 1))
        return affect_fail(err, UNSUPPORTED,
                           "its numbers are \"%s\"%s (need <f4 or <f2 in C order)", descr,
                           fortran_order ? " in Fortran's order" : "");
    size_t n_data = size - begin - n_header;
    size_t count = count_within(array->shape, n_data);
    if (count == SIZE_MAX || count * array->n_bytes != n_data) {
        char shape[AFFECT_SHAPE_TEXT_SIZE];
        return affect_fail(err, MALFORMED, "has %zu bytes of numbers for the shape %s", n_data,
                           affect_shape_text(shape, array->shape));
    }
    array->data = data + begin + n_header;
    return AFFECT_STATUS_OK;
}

/* ---- safetensors ---- */

static affect_status choose_tensor(affect_array *array, const affect_safetensors *file,
                                   const char *utterance, affect_error *err) {
    size_t n = affect_safetensors_count(file);
    const affect_safetensor *tensor =
        utterance ? affect_safetensors_find(file, utterance) : affect_safetensors_at(file, 0);
    if (!utterance && n != 1) return affect_fail(err, INVALID, "has %zu tensors (need one)", n);
    if (!tensor) return affect_fail(err, NOT_FOUND, "no tensor \"%.127s\" in it", utterance);
    if (tensor->dtype != AFFECT_DTYPE_F32 && tensor->dtype != AFFECT_DTYPE_F16)
        return affect_fail(err, UNSUPPORTED, "tensor \"%.127s\" is not of F32 or F16",
                           tensor->name);
    *array = (affect_array){tensor->shape, affect_dtype_size(tensor->dtype), tensor->data};
    return AFFECT_STATUS_OK;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static affect_status read_memory(affect_array *array, affect_array_reader *reader,
                                 const unsigned char *data, size_t size, const char *utterance,
                                 affect_error *err) {
    if (size >= 6 && memcmp(data, NPY_MAGIC, 6) == 0) return read_npy(array, data, size, err);
    affect_status status =
        affect_safetensors_open_memory(&reader->tensors, data, size, "array", err);
    if (status != AFFECT_STATUS_OK)
        return affect_fail(err, MALFORMED, "is neither a .npy nor a safetensors file");
    return choose_tensor(array, reader->tensors, utterance, err);
}

affect_status affect_array_read(affect_array *array, affect_array_reader *reader,
                                affect_source source, const char *utterance, affect_error *err) {
    struct stat info;
    if (!source.path) {
        forget(reader);
        return read_memory(array, reader, source.data, source.size, utterance, err);
    }
    bool known = reader->tensors && reader->info.st_ino && stat(source.path, &info) == 0 &&
                 is_same_file(&info, &reader->info);
    if (known) return choose_tensor(array, reader->tensors, utterance, err);
    forget(reader);
    AFFECT_TRY(affect_file_map_open(&reader->map, source.path, err));
    reader->is_open = true;
    AFFECT_TRY(read_memory(array, reader, reader->map.data, reader->map.size, utterance, err));
    if (reader->tensors && stat(source.path, &info) == 0) reader->info = info;
    return AFFECT_STATUS_OK;
}

/* ---- Numbers ---- */

/* binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. */
static float half_to_float(uint16_t half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value = exponent == 0    ? ldexpf((float)fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexpf((float)(fraction + 1024), exponent - 25);
    return half >> 15 ? -value : value;
}

affect_status affect_array_copy(float *to, const affect_array *array, size_t n, affect_error *err) {
    const unsigned char *from = array->data;
    for (size_t i = 0; i < n; i++, from += array->n_bytes) {
        uint16_t half;
        if (array->n_bytes == 4) {
            memcpy(&to[i], from, sizeof to[i]);
        } else {
            memcpy(&half, from, sizeof half);
            to[i] = half_to_float(half);
        }
        if (!isfinite(to[i])) return affect_fail(err, MALFORMED, "number %zu is not finite", i);
    }
    return AFFECT_STATUS_OK;
}
