/* Averages over parts against numpy's nanmean (tests/reference/make_segments.py), windows, and
 * quality. */
#include "engine/modality/segments.h"

#include "tests/npy.h"
#include "tests/test.h"

#define PARTS 200

static float motion[PARTS * AFFECT_MOTION_COLUMNS];
static uint8_t missing[PARTS * AFFECT_MOTION_COLUMNS];

static affect_segments *make(int64_t parts, int compat) {
    affect_segments *segments = NULL;
    affect_motion_config config = {.parts = parts, .compat = compat};
    CHECK_OK(affect_segments_create(&segments, &config, err));
    if (!segments) exit(1);
    affect_segments_clear(&config, motion, missing);
    return segments;
}

static affect_status on_row(void *context, double time_s, const double *values, affect_error *err) {
    return affect_segments_add(context, time_s, values, err);
}

static affect_motion_quality read_stored(affect_segments *segments, affect_mocap_kind kind,
                                         affect_time_window window) {
    char path[512];
    snprintf(path, sizeof path, "%s/segments/%s.txt", TEST_REFERENCE_DIR,
             affect_mocap_kind_name(kind));
    affect_mocap_callbacks callbacks = {segments, on_row, NULL, NULL};
    affect_segments_begin(segments, kind, window);
    CHECK_OK(affect_mocap_read(NULL, (affect_source){.path = path}, kind, &callbacks, err));
    return affect_segments_average(segments, motion, missing);
}

/* Columns first.. of the parts against a stored (200, columns): NaN where missing, else within one
 * step of float32; returns how many are missing. */
static size_t compare(const char *name, size_t first, bool marks_missing) {
    char file[128];
    snprintf(file, sizeof file, "segments/%s.npy", name);
    npy_array want = npy_read(file);
    CHECK(want.rows == PARTS);
    size_t n_missing = 0, n_wrong = 0, n_inexact = 0;
    for (size_t part = 0; part < PARTS; part++)
        for (size_t c = 0; c < want.columns; c++) {
            size_t at = part * AFFECT_MOTION_COLUMNS + first + c;
            double number = want.values[part * want.columns + c];
            float exact = (float)number, got = motion[at];
            n_missing += missing[at];
            if (missing[at] != (marks_missing && isnan(number)))
                n_wrong++;
            else if (missing[at])
                n_wrong += got != 0;
            else
                n_wrong += got != exact && nextafterf(got, exact) != exact;
            n_inexact += !missing[at] && got != exact;
        }
    fprintf(stderr, "  %-16s %zu of %zu missing, %zu beyond one ulp, %zu not equal\n", name,
            n_missing, want.rows * want.columns, n_wrong, n_inexact);
    CHECK(n_wrong == 0);
    free(want.values);
    return n_missing;
}

static void test_against_numpy(void) {
    affect_segments *segments = make(PARTS, AFFECT_MOTION_COMPAT_NONE);
    affect_time_window whole = {0}, window = {true, 1.0, 14.25};
    affect_motion_quality quality = read_stored(segments, AFFECT_MOCAP_FACE, whole);
    CHECK(quality.present && quality.n_rows == 90);
    CHECK_NEAR(quality.seconds, 89 * 0.00834, 1e-9);
    CHECK(quality.missing > 0.015 && quality.missing < 0.025);
    CHECK(compare("face", 0, true) > 110 * 165); /* 110 empty parts */
    quality = read_stored(segments, AFFECT_MOCAP_HAND, whole);
    CHECK(quality.n_rows == 431);
    CHECK(compare("hand", 171, true) > 0);
    quality = read_stored(segments, AFFECT_MOCAP_HEAD, window);
    CHECK(quality.n_rows == 1589);
    compare("head", 165, true);
    compare("face", 0, true); /* the other streams' columns were left alone */
    affect_segments_free(segments);
}

static void test_reference8(void) {
    affect_segments *segments = make(PARTS, AFFECT_MOTION_COMPAT_REFERENCE8);
    affect_time_window window = {true, 0, 0.00834 * 80};
    affect_motion_quality quality = read_stored(segments, AFFECT_MOCAP_FACE, window);
    CHECK(quality.n_rows == 79);
    CHECK(compare("face_reference8", 24, false) == 0);
    quality = read_stored(segments, AFFECT_MOCAP_HEAD, window);
    CHECK(quality.present && quality.n_rows == 79);
    size_t n_set = 0;
    for (size_t part = 0; part < PARTS; part++)
        for (size_t c = 0; c < 24; c++) n_set += motion[part * AFFECT_MOTION_COLUMNS + c] != 0;
    CHECK(n_set == 0);
    affect_segments_free(segments);
}

/* 7 rows in 3 parts: 3 + 2 + 2, as array_split; bounds; not-a-numbers. */
static void test_small(void) {
    affect_segments *segments = make(3, AFFECT_MOTION_COMPAT_NONE);
    affect_segments_begin(segments, AFFECT_MOCAP_HEAD, (affect_time_window){true, 1, 8});
    for (int i = 0; i <= 8; i++) {
        double values[6] = {i, NAN, i == 4 ? NAN : i, INFINITY, 1e300, i < 4 ? NAN : i};
        CHECK_OK(affect_segments_add(segments, i, values, err));
    }
    affect_motion_quality quality = affect_segments_average(segments, motion, missing);
    CHECK(quality.n_rows == 7 && quality.seconds == 6);
    CHECK_NEAR(quality.missing, (7 + 1 + 7 + 3) / 42.0, 1e-12);
    const float *first = motion + 165, *second = first + 189, *third = second + 189;
    CHECK(first[0] == 2 && second[0] == 4.5f && third[0] == 6.5f);
    CHECK(second[2] == 5 && first[1] == 0 && first[3] == 0);
    CHECK(missing[165] == 0 && missing[166] == 1 && missing[168] == 1);
    CHECK(missing[170] == 1 && missing[170 + 189] == 0 && second[5] == 4.5f);
    CHECK(missing[0] == 1 && missing[171] == 1); /* the streams that were not there */
    CHECK(first[4] == 0 && missing[169] == 1);   /* 1e300 is beyond what a network can take */

    affect_segments_begin(segments, AFFECT_MOCAP_HEAD, (affect_time_window){true, 50, 60});
    double values[6] = {1, 2, 3, 4, 5, 6};
    CHECK_OK(affect_segments_add(segments, 49.999, values, err));
    CHECK_OK(affect_segments_add(segments, 60, values, err));
    quality = affect_segments_average(segments, motion, missing);
    CHECK(quality.present && quality.n_rows == 0 && quality.missing == 1 && quality.seconds == 0);
    CHECK(first[0] == 0 && missing[165] == 1);
    CHECK_OK(affect_segments_add(segments, 50, values, err)); /* one row: parts 2 and 3 are empty */
    affect_segments_average(segments, motion, missing);
    CHECK(first[5] == 6 && missing[165] == 0 && missing[165 + 189] == 1);
    affect_segments_free(segments);
}

static void test_limit(void) {
    affect_segments *segments = make(3, AFFECT_MOTION_COMPAT_NONE);
    affect_segments_begin(segments, AFFECT_MOCAP_HEAD, (affect_time_window){0});
    double values[6] = {0};
    for (int i = 0; i < AFFECT_SEGMENTS_MAX_ROWS; i++)
        if (affect_segments_add(segments, i, values, NULL)) CHECK(!"a row was refused");
    affect_error err = {0};
    CHECK(affect_segments_add(segments, 0, values, &err) == AFFECT_STATUS_TOO_LARGE);
    CHECK(strstr(err.message, "start and end") != NULL);
    affect_segments_free(segments);
}

static void test_quality_json(void) {
    affect_motion_quality quality = {
        .present = true, .n_rows = 371, .n_rejected = 2, .missing = 0.25, .seconds = 3.5};
    affect_json *json = affect_motion_quality_to_json(&quality);
    char *text = affect_json_text(json);
    CHECK_STRING(text,
                 "{\"present\":true,\"rows\":371,\"rejected\":2,\"missing\":0.25,\"seconds\":3.5}");
    free(text);
    affect_json_free(json);
    json = affect_motion_quality_to_json(&(affect_motion_quality){0});
    text = affect_json_text(json);
    CHECK_STRING(text, "{\"present\":false}");
    free(text);
    affect_json_free(json);
}

int main(void) {
    TEST_RUN(test_against_numpy);
    TEST_RUN(test_reference8);
    TEST_RUN(test_small);
    TEST_RUN(test_limit);
    TEST_RUN(test_quality_json);
    return TEST_END();
}
