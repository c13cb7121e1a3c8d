/* A modality for a test: "loudness", a few numbers an utterance, as text in a file. */
#include "engine/core/file.h"
#include "engine/modality/features.h"

#include <stdlib.h>

#define SIZE 3

typedef struct {
    int64_t scale;
} loudness;

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(loudness, scale, 1, 1, 100, "that the numbers are multiplied by"),
    AFFECT_FIELD_END};

typedef struct {
    loudness options;
    float values[SIZE];
} state;

static void get_sizes(size_t sizes[2], const void *options) {
    (void)options;
    sizes[0] = 1;
    sizes[1] = SIZE;
}

static affect_status create(void **made, const void *options, const char *feature,
                            affect_error *err) {
    state *s = calloc(1, sizeof *s);
    if (!s) return affect_fail(err, NO_MEMORY, "%s: no memory", feature);
    s->options = *(const loudness *)options;
    *made = s;
    return AFFECT_STATUS_OK;
}

static affect_status read_text(void *of, affect_extracted *values,
                               const affect_stream_reading *reading, affect_error *err) {
    state *s = of;
    char *owned = NULL, *at;
    size_t size = reading->source.size;
    if (reading->source.path)
        AFFECT_TRY(affect_file_read(&owned, &size, reading->source.path, 1000, err));
    char text[1001] = "";
    for (size_t i = 0; i < size && i < 1000; i++)
        text[i] = (owned ? owned : (const char *)reading->source.data)[i];
    free(owned);
    at = text;
    for (int i = 0; i < SIZE; i++) s->values[i] = strtof(at, &at) * (float)s->options.scale;
    values->n_rows = 1;
    values->values = s->values;
    values->quality[0].present = true;
    return AFFECT_STATUS_OK;
}

static affect_json *describe(const affect_quality *quality) {
    affect_json *json = affect_json_new_object();
    affect_json_set_bool(json, "present", quality->present);
    return json;
}

static void warnings(const affect_quality *quality, void *context,
                     void (*warn)(void *context, const char *text)) {
    (void)quality, (void)context, (void)warn;
}

static bool has_data(const affect_quality *quality) {
    return quality->present;
}

static double seconds(const affect_quality *quality) {
    (void)quality;
    return 0;
}

const affect_extraction affect_loudness_extraction = {.fields = fields,
                                                      .sizes = get_sizes,
                                                      .create = create,
                                                      .free = free,
                                                      .read = read_text,
                                                      .describe = describe,
                                                      .warnings = warnings,
                                                      .has_data = has_data,
                                                      .seconds = seconds};
