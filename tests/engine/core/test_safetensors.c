/* safetensors: files that come back as they went, and headers that lie about every number. */
#include "engine/core/safetensors.h"
#include "tests/engine/core/scratch.h"

static void test_round_trip(void) {
    const float numbers[6] = {1, -2.5f, 3e-8f, 0, 5, 6};
    const double doubles[2] = {0.1, -1e300};
    const unsigned char bytes[3] = {0, 127, 255};
    const affect_safetensor tensors[] = {{"a.kernel", AFFECT_DTYPE_F32, {2, {2, 3}}, numbers},
                                         {"double", AFFECT_DTYPE_F64, {1, {2}}, doubles},
                                         {"none", AFFECT_DTYPE_I32, {2, {0, 4}}, ""},
                                         {"single", AFFECT_DTYPE_F32, {0, {0}}, numbers + 1},
                                         {"bytes", AFFECT_DTYPE_U8, {1, {3}}, bytes}};
    affect_json *metadata = affect_json_new_object();
    affect_json_set_string(metadata, "document", "{\"labels\":[\"angry\"]}");
    CHECK_OK(affect_safetensors_write(scratch_path("t"), tensors, 5, metadata, err));
    affect_json_free(metadata);
    affect_safetensors *file = NULL;
    CHECK_OK(affect_safetensors_open(&file, scratch_path("t"), err));
    CHECK(affect_safetensors_count(file) == 5);
    const void *data = NULL;
    const affect_shape shape = {2, {2, 3}}, other = {2, {3, 2}};
    CHECK_OK(affect_safetensors_get(&data, file, "a.kernel", AFFECT_DTYPE_F32, shape, err));
    CHECK(memcmp(data, numbers, sizeof numbers) == 0);
    CHECK(affect_safetensors_get(&data, file, "a.kernel", AFFECT_DTYPE_F32, other, NULL) ==
          AFFECT_STATUS_SHAPE);
    CHECK(affect_safetensors_get(&data, file, "a.kernel", AFFECT_DTYPE_F64, shape, NULL) !=
          AFFECT_STATUS_OK);
    CHECK(affect_safetensors_get(&data, file, "b", AFFECT_DTYPE_F32, shape, NULL) ==
          AFFECT_STATUS_NOT_FOUND);
    for (size_t i = 0; i < 5; i++) {
        const affect_safetensor *t = affect_safetensors_find(file, tensors[i].name);
        CHECK(t && t->dtype == tensors[i].dtype && affect_shape_equal(t->shape, tensors[i].shape));
        CHECK(t && memcmp(t->data, tensors[i].data,
                          affect_shape_count(t->shape) * affect_dtype_size(t->dtype)) == 0);
    }
    affect_json *document = NULL;
    CHECK_OK(affect_safetensors_metadata_json(&document, file, "document", err));
    CHECK(affect_json_size(affect_json_get(document, "labels")) == 1);
    affect_json_free(document);
    CHECK(affect_safetensors_metadata_json(&document, file, "absent", NULL) ==
          AFFECT_STATUS_NOT_FOUND);
    affect_safetensors_close(file);
}

/* A file with this header and n_data bytes after it; n_header: what the file says of its size. */
static affect_status open_with(const char *header, uint64_t n_header, size_t n_data,
                               affect_error *error) {
    static unsigned char bytes[4096];
    size_t length = strlen(header);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &n_header, 8);
    memcpy(bytes + 8, header, length);
    CHECK_OK(affect_file_write(scratch_path("hostile"), bytes, 8 + length + n_data, err));
    affect_safetensors *file = NULL;
    affect_status status = affect_safetensors_open(&file, scratch_path("hostile"), error);
    if (status == AFFECT_STATUS_OK) affect_safetensors_close(file);
    return status;
}

static void test_good_by_hand(void) {
    const char *good = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}          ";
    affect_error error = {0};
    CHECK(open_with(good, strlen(good), 8, &error) == AFFECT_STATUS_OK);
    CHECK(open_with("{}", 2, 0, &error) == AFFECT_STATUS_OK);
}

static void test_lies(void) {
    static const char *const rows[] = {
        "\"F32\",\"shape\":[2],\"data_offsets\":[0,16]", /* longer than its shape */
        "\"F32\",\"shape\":[4],\"data_offsets\":[0,16]", /* beyond the file */
        "\"F32\",\"shape\":[2],\"data_offsets\":[8,0]",  /* backwards */
        "\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]", /* negative */
        "\"F32\",\"shape\":[2],\"data_offsets\":[0.5,8.5]",
        "\"F32\",\"shape\":[2],\"data_offsets\":[0]",
        "\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]",
        "\"F32\",\"shape\":[2],\"data_offsets\":[0,1e300]",
        "\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]",
        "\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]",   /* 2^62 + 2, times 4 */
        "\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]", /* wraps to 0 */
        "\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]",             /* rank 5 */
        "\"F32\",\"shape\":{},\"data_offsets\":[0,4]",
        "\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]",
        "\"F33\",\"shape\":[2],\"data_offsets\":[0,8]",
        "32,\"shape\":[2],\"data_offsets\":[0,8]",
        "\"F32\",\"shape\":[1],\"data_offsets\":[3,7]", /* not where a float may lie */
        "\"F32\",\"data_offsets\":[0,8]",
        "\"F32\",\"shape\":[2]"};
    char header[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        affect_error error = {0};
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":%s}}", rows[i]);
        size_t length = strlen(header);
        memset(header + length, ' ', 8 - length % 8);
        header[length + 8 - length % 8] = '\0';
        affect_status status = open_with(header, strlen(header), 8, &error);
        if (status != AFFECT_STATUS_MALFORMED) fprintf(stderr, "    accepted: %s\n", rows[i]);
        CHECK(status == AFFECT_STATUS_MALFORMED && error.message[0]);
    }
}

static void test_header_sizes_that_lie(void) {
    const uint64_t sizes[] = {0,         1,          3,          10,         11,
                              100000001, 1ull << 32, 1ull << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        CHECK(open_with("{}", sizes[i], 8, NULL) == AFFECT_STATUS_MALFORMED);
}

static void test_other_headers(void) {
    static const char *const headers[] = {"[]",
                                          "1",
                                          "null",
                                          "{\"a\":1}",
                                          "{\"a\":[]}",
                                          "{\"__metadata__\":{\"a\":1}}",
                                          "{\"__metadata__\":[]}",
                                          "{\"a\":{}}",
                                          "{",
                                          "\xFF\xFE"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        affect_status status = open_with(headers[i], strlen(headers[i]), 0, NULL);
        if (status != AFFECT_STATUS_MALFORMED) fprintf(stderr, "    accepted: %s\n", headers[i]);
        CHECK(status == AFFECT_STATUS_MALFORMED);
    }
}

static void test_every_cut_of_a_file(void) {
    const float numbers[4] = {1, 2, 3, 4};
    const affect_safetensor tensor = {"a", AFFECT_DTYPE_F32, {1, {4}}, numbers};
    CHECK_OK(affect_safetensors_write(scratch_path("whole"), &tensor, 1, NULL, err));
    char *bytes = NULL;
    size_t size = 0;
    CHECK_OK(affect_file_read(&bytes, &size, scratch_path("whole"), 4096, err));
    for (size_t n = 0; n < size; n++) {
        affect_safetensors *file = NULL;
        FILE *cut = fopen(scratch_path("cut"), "wb");
        CHECK(cut && fwrite(bytes, 1, n, cut) == n && fclose(cut) == 0);
        CHECK(affect_safetensors_open(&file, scratch_path("cut"), NULL) == AFFECT_STATUS_MALFORMED);
    }
    free(bytes);
}

int main(void) {
    scratch_begin();
    TEST_RUN(test_round_trip);
    TEST_RUN(test_good_by_hand);
    TEST_RUN(test_lies);
    TEST_RUN(test_header_sizes_that_lie);
    TEST_RUN(test_other_headers);
    TEST_RUN(test_every_cut_of_a_file);
    scratch_end();
    return TEST_END();
}
