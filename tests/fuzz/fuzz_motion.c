/* Motion text: the first byte tells kind and size of the pieces, the rest is the file. In pieces it
 * has the rows that it has as a whole, and their averages are finite. */
#include "engine/modality/segments.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>

static affect_status add_row(void *context, double time_s, const double *values,
                             affect_error *err) {
    FUZZ_CHECK(isfinite(time_s));
    return affect_segments_add(context, time_s, values, err);
}

static affect_mocap_counts read_pieces(affect_mocap_reader *reader, const char *text, size_t size,
                                       size_t piece) {
    affect_status status = AFFECT_STATUS_OK;
    for (size_t at = 0; at < size && status == AFFECT_STATUS_OK; at += piece)
        status = affect_mocap_reader_feed(reader, text + at, size - at < piece ? size - at : piece,
                                          NULL);
    if (status == AFFECT_STATUS_OK) affect_mocap_reader_finish(reader, NULL);
    return affect_mocap_reader_counts(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const affect_motion_config config = {.parts = 5, .compat = AFFECT_MOTION_COMPAT_NONE};
    static float motion[5 * AFFECT_MOTION_COLUMNS];
    static uint8_t missing[5 * AFFECT_MOTION_COLUMNS];
    if (size < 1) return 0;
    affect_mocap_kind kind = data[0] % AFFECT_MOCAP_KIND_COUNT;
    size_t piece = data[0] / AFFECT_MOCAP_KIND_COUNT + 1;
    const char *text = (const char *)data + 1;
    affect_segments *segments = NULL;
    affect_mocap_reader *reader = NULL;
    affect_mocap_counts whole = {0};
    FUZZ_CHECK(affect_segments_create(&segments, &config, NULL) == AFFECT_STATUS_OK);
    const affect_mocap_callbacks callbacks = {.context = segments, .row = add_row};
    FUZZ_CHECK(affect_mocap_reader_create(&reader, kind, &callbacks, NULL) == AFFECT_STATUS_OK);
    affect_segments_begin(segments, kind, (affect_time_window){0});
    affect_mocap_read(&whole, (affect_source){.data = text, .size = size - 1}, kind, &callbacks,
                      NULL);
    affect_segments_begin(segments, kind, (affect_time_window){0});
    affect_mocap_counts pieces = read_pieces(reader, text, size - 1, piece);
    FUZZ_CHECK(whole.n_rows == pieces.n_rows && whole.n_rejected == pieces.n_rejected &&
               whole.n_lines == pieces.n_lines);
    affect_segments_clear(&config, motion, missing);
    affect_segments_average(segments, motion, missing);
    for (size_t i = 0; i < sizeof motion / sizeof *motion; i++) FUZZ_CHECK(isfinite(motion[i]));
    affect_mocap_reader_free(reader);
    affect_segments_free(segments);
    return 0;
}
