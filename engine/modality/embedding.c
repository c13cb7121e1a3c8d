/* Embeddings as a modality; see embedding.h. One state a thread: the reader of files, and the
 * numbers of one utterance. */
#include "engine/modality/embedding.h"

#include "engine/modality/array_file.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_SIZE = 65536, MAX_FRAMES = 8192 };

static const affect_field fields[] = {
    AFFECT_FIELD_INTEGER(affect_embedding_config, size, 0, 1, MAX_SIZE,
                         "numbers of a vector, or of a frame", .required = true),
    AFFECT_FIELD_INTEGER(affect_embedding_config, frames, 0, 0, MAX_FRAMES,
                         "frames of an utterance, cut or padded to that; 0: one vector"),
    AFFECT_FIELD_END};

typedef struct {
    affect_embedding_config config;
    char name[AFFECT_FEATURE_NAME_SIZE];
    affect_array_reader *reader;
    float *values; /* (frames or 1, size) */
} embedding_state;

static affect_status check(const void *options, const char *path, affect_error *err) {
    const affect_embedding_config *config = options;
    if (config->size * config->frames > 1 << 24)
        return affect_field_fail(err, path, "frames", "more than %d numbers an utterance", 1 << 24);
    return AFFECT_STATUS_OK;
}

static void get_sizes(size_t sizes[2], const void *options) {
    sizes[0] = (size_t)((const affect_embedding_config *)options)->frames;
    sizes[1] = (size_t)((const affect_embedding_config *)options)->size;
}

static void free_state(void *of) {
    embedding_state *state = of;
    if (!state) return;
    affect_array_reader_free(state->reader);
    free(state->values);
    free(state);
}

static affect_status create_state(void **state, const void *options, const char *feature,
                                  affect_error *err) {
    embedding_state *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "%s: no memory", feature);
    made->config = *(const affect_embedding_config *)options;
    snprintf(made->name, sizeof made->name, "%s", feature);
    size_t rows = made->config.frames ? (size_t)made->config.frames : 1;
    made->values = malloc(rows * (size_t)made->config.size * sizeof *made->values);
    affect_status status = affect_array_reader_create(&made->reader, err);
    if (status == AFFECT_STATUS_OK && !made->values)
        status = affect_fail(err, NO_MEMORY, "%s: no memory", feature);
    if (status == AFFECT_STATUS_OK)
        *state = made;
    else
        free_state(made);
    return status;
}

/* Rows of an array of the right shape: (size), or one row of it, where there are no frames; else
 * (rows, size). 0: it is of another. */
static size_t rows_of(const affect_embedding_config *config, affect_shape shape) {
    if (shape.rank < 1 || shape.rank > 2) return 0;
    if (shape.size[shape.rank - 1] != (size_t)config->size) return 0;
    if (config->frames) return shape.rank == 2 ? shape.size[0] : 0;
    return shape.rank == 1 || shape.size[0] == 1;
}

static affect_status read_array(embedding_state *state, affect_extracted *values,
                                const affect_stream_reading *reading, affect_error *err) {
    affect_array array;
    char got[AFFECT_SHAPE_TEXT_SIZE], want[64];
    const affect_embedding_config *config = &state->config;
    AFFECT_TRY(affect_array_read(&array, state->reader, reading->source, reading->utterance, err));
    size_t n_rows = rows_of(config, array.shape), n_used = n_rows;
    if (!n_rows) {
        snprintf(want, sizeof want, config->frames ? "(frames, %d)" : "(%d)", (int)config->size);
        return affect_fail(err, MALFORMED, "has the shape %s (need %s)",
                           affect_shape_text(got, array.shape), want);
    }
    if (config->frames && n_used > (size_t)config->frames) n_used = (size_t)config->frames;
    AFFECT_TRY(affect_array_copy(state->values, &array, n_used * (size_t)config->size, err));
    values->n_rows = n_used;
    values->values = state->values;
    values->pad_value = 0;
    values->quality[0].present = true;
    *(affect_embedding_quality *)values->quality[0].record =
        (affect_embedding_quality){.n_rows = n_rows, .truncated = n_used < n_rows};
    return AFFECT_STATUS_OK;
}

/* A file of the user's that is not what it should be is malformed, whatever is wrong with it. */
static affect_status read_embedding(void *of, affect_extracted *values,
                                    const affect_stream_reading *reading, affect_error *err) {
    embedding_state *state = of;
    affect_status status = read_array(state, values, reading, err);
    if (status == AFFECT_STATUS_OK) return status;
    bool is_content = status == AFFECT_STATUS_UNSUPPORTED || status == AFFECT_STATUS_INVALID ||
                      (status == AFFECT_STATUS_NOT_FOUND && reading->utterance);
    if (is_content && err) err->status = AFFECT_STATUS_MALFORMED;
    return affect_error_prefix(err, is_content ? AFFECT_STATUS_MALFORMED : status, "%s",
                               state->name);
}

static const affect_embedding_quality *record_of(const affect_quality *quality) {
    return (const affect_embedding_quality *)quality->record;
}

static affect_json *describe(const affect_quality *quality) {
    affect_json *json = affect_json_new_object();
    affect_json_set_bool(json, "present", quality->present);
    if (!quality->present) return json;
    affect_json_set_number(json, "rows", (double)record_of(quality)->n_rows);
    affect_json_set_bool(json, "truncated", record_of(quality)->truncated);
    return json;
}

static void warnings(const affect_quality *quality, void *context,
                     void (*warn)(void *context, const char *text)) {
    if (record_of(quality)->truncated) warn(context, "truncated: more frames than the model's");
}

static bool has_data(const affect_quality *quality) {
    return quality->present;
}

static double seconds(const affect_quality *quality) {
    (void)quality;
    return 0;
}

const affect_extraction affect_embedding_extraction = {.fields = fields,
                                                       .check = check,
                                                       .sizes = get_sizes,
                                                       .create = create_state,
                                                       .free = free_state,
                                                       .read = read_embedding,
                                                       .describe = describe,
                                                       .warnings = warnings,
                                                       .has_data = has_data,
                                                       .seconds = seconds};
