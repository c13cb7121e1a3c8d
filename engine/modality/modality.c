/* The table of modalities, and features and sizes on top of it; see modality.h.
 *
 * The rows are all data: an extraction, with its libraries for sound, is a pointer, so that builds
 * without those (the network alone, double precision) have the same table. */
#include "engine/modality/modality.h"

#include "engine/core/fields.h"

#include <stdio.h>
#include <string.h>

#ifdef AFFECT_WITHOUT_EXTRACTION
#define EXTRACTION(name) NULL
#else
#define EXTRACTION(name) (&name)
extern const struct affect_extraction affect_audio_extraction, affect_motion_extraction,
    affect_embedding_extraction;
#endif

#define MAX_SIZE        (1 << 20) /* of any dimension */
#define MAX_NAME_LENGTH 24        /* of a named feature, behind the colon */

/* ---- Rows ---- */

static const affect_stream audio_streams[] = {
    {"audio", "audio", "file", "audio", "sound of the utterance"}};
static const affect_quality_count audio_counts[] = {
    {"truncated", NULL, "utterances are longer than a clip: their ends are not used"},
    {"silent", NULL, "utterances are silent"},
    {"faint", NULL, "utterances are almost silent: too faint for the features"},
    {"from", "dialog",
     "utterances have no sentence file: cut from the dialog's recording, the mean of its channels"},
    {NULL, NULL, NULL}};

static const affect_stream motion_streams[] = {
    {"face", "mocap_face", "motion_face", "face", "motion of the face (MOCAP_rotated)"},
    {"head", "mocap_head", "motion_head", "head", "motion of the head (MOCAP_head)"},
    {"hand", "mocap_hand", "motion_hand", "hand", "motion of the hands (MOCAP_hand)"}};

static const affect_quality_count embedding_counts[] = {
    {"truncated", NULL, "arrays have more frames than the options: their ends are not used"},
    {NULL, NULL, NULL}};

static const affect_modality modalities[] = {
    {.name = "mel",
     .size_names = {"frames", "mels"},
     .default_sizes = {501, 128},
     .size_help = {"of a mel input (501)", "bands of a mel input (128)"},
     .has_channel = true,
     .is_ragged = true,
     .tensors = {"offsets", "mel", "pad_value"},
     .streams = audio_streams,
     .n_streams = 1,
     .must_be_readable = true,
     .window = {"audio_start", "audio_end"},
     .is_utterance_long = true,
     .hours = "audio_hours",
     .counts = audio_counts,
     .extraction = EXTRACTION(affect_audio_extraction)},
    {.name = "motion",
     .size_names = {"parts", "columns"},
     .default_sizes = {200, 189},
     .size_help = {"of a motion input (200)", "of a motion input (189)"},
     .is_normalised = true,
     .tensors = {"motion", "missing"},
     .streams = motion_streams,
     .n_streams = 3,
     .window = {"start", "end"},
     .extraction = EXTRACTION(affect_motion_extraction)},
    {.name = "embedding",
     .is_named = true,
     .size_names = {"frames", "size"},
     .first_size_is_optional = true,
     .is_ragged = true,
     .is_normalised = true,
     .tensors = {".offsets", "", ".pad_value"},
     .must_be_readable = true,
     .must_be_present = true,
     .counts = embedding_counts,
     .extraction = EXTRACTION(affect_embedding_extraction)},
};
enum { N_MODALITIES = sizeof modalities / sizeof *modalities };
_Static_assert(N_MODALITIES <= AFFECT_MAX_MODALITIES, "room for the windows of each");

const affect_modality *affect_modality_at(size_t i) {
    return i < N_MODALITIES ? &modalities[i] : NULL;
}

size_t affect_modality_index(const affect_modality *modality) {
    return (size_t)(modality - modalities);
}

/* ---- Names ---- */

static bool is_feature_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return *name >= 'a' && *name <= 'z' && !name[n] && n <= MAX_NAME_LENGTH;
}

/* What follows "MODALITY:", or NULL. */
static const char *own_name(const char *feature) {
    const char *colon = strchr(feature, ':');
    return colon ? colon + 1 : NULL;
}

const affect_modality *affect_modality_find(const char *feature) {
    const char *name = own_name(feature);
    size_t n = name ? (size_t)(name - feature) - 1 : strlen(feature);
    for (size_t i = 0; i < N_MODALITIES; i++) {
        const affect_modality *m = &modalities[i];
        if (strlen(m->name) != n || memcmp(m->name, feature, n) != 0) continue;
        return m->is_named ? (name && is_feature_name(name) ? m : NULL) : (name ? NULL : m);
    }
    return NULL;
}

const char *affect_modality_names(char names[AFFECT_MODALITY_NAMES_SIZE]) {
    size_t used = 0;
    for (size_t i = 0; i < N_MODALITIES && used < AFFECT_MODALITY_NAMES_SIZE; i++)
        used += (size_t)snprintf(names + used, AFFECT_MODALITY_NAMES_SIZE - used, "%s%s%s",
                                 i ? ", " : "", modalities[i].name,
                                 modalities[i].is_named ? ":NAME" : "");
    return names;
}

bool affect_quality_has_data(const affect_json *quality) {
    return affect_json_get_bool(quality, "present", false) &&
           affect_json_get_number(quality, "rows", 1) > 0 &&
           affect_json_get_number(quality, "missing", 0) < 1;
}

/* ---- Features ---- */

affect_shape affect_modality_shape(const affect_modality *m, size_t first, size_t second) {
    if (m->first_size_is_optional && first == 0) return (affect_shape){1, {second}};
    if (m->has_channel) return (affect_shape){3, {first, second, 1}};
    return (affect_shape){2, {first, second}};
}

/* The two sizes of a feature's shape. */
static size_t size_of(const affect_feature *feature, int i) {
    if (feature->shape.rank == 1) return i ? feature->shape.size[0] : 0;
    return feature->shape.size[i];
}

size_t affect_feature_n_rows(const affect_feature *feature) {
    return feature->shape.rank == 1 ? 1 : feature->shape.size[0];
}

size_t affect_feature_row_size(const affect_feature *feature) {
    return affect_shape_count(feature->shape) / affect_feature_n_rows(feature);
}

size_t affect_feature_n_streams(const affect_feature *feature) {
    return feature->modality->is_named ? 1 : feature->modality->n_streams;
}

affect_stream affect_feature_stream(const affect_feature *feature, size_t i) {
    if (!feature->modality->is_named) return feature->modality->streams[i];
    return (affect_stream){.name = feature->name, .part = feature->name, .column = feature->name};
}

const char *affect_feature_tensor(char name[AFFECT_FEATURE_NAME_SIZE + 16],
                                  const affect_feature *feature, size_t i) {
    snprintf(name, AFFECT_FEATURE_NAME_SIZE + 16, "%s%s",
             feature->modality->is_named ? feature->name : "", feature->modality->tensors[i]);
    return name;
}

/* ---- Sizes ---- */

affect_status affect_sizes_add(affect_sizes *sizes, const char *name, size_t first, size_t second,
                               affect_error *err) {
    const affect_modality *m = affect_modality_find(name);
    char names[AFFECT_MODALITY_NAMES_SIZE];
    if (!m)
        return affect_fail(err, INVALID, "\"%.60s\" is not a feature (known: %s)", name,
                           affect_modality_names(names));
    if (sizes->n_features == AFFECT_MAX_FEATURES)
        return affect_fail(err, INVALID, "more than %d features", AFFECT_MAX_FEATURES);
    if ((!first && !m->first_size_is_optional) || !second || first > MAX_SIZE || second > MAX_SIZE)
        return affect_fail(err, INVALID, "%s: sizes %zu and %zu (need 1..%d)", name, first, second,
                           MAX_SIZE);
    affect_feature *feature = &sizes->features[sizes->n_features++];
    snprintf(feature->name, sizeof feature->name, "%s", name);
    feature->modality = m;
    feature->shape = affect_modality_shape(m, first, second);
    return AFFECT_STATUS_OK;
}

const affect_feature *affect_sizes_find(const affect_sizes *sizes, const char *name) {
    for (size_t i = 0; i < sizes->n_features; i++)
        if (strcmp(sizes->features[i].name, name) == 0) return &sizes->features[i];
    return NULL;
}

/* "frames", or "wav2vec2_frames" of a named feature. */
static void variable_name(char text[80], const affect_feature *feature, int i) {
    const char *name = own_name(feature->name);
    snprintf(text, 80, "%s%s%s", name ? name : "", name ? "_" : "",
             feature->modality->size_names[i]);
}

bool affect_sizes_variable(size_t *value, const affect_sizes *sizes, const char *name) {
    *value = sizes->n_classes;
    if (strcmp(name, "classes") == 0) return true;
    for (size_t i = 0; i < sizes->n_features; i++)
        for (int k = 0; k < 2; k++) {
            char text[80];
            variable_name(text, &sizes->features[i], k);
            *value = size_of(&sizes->features[i], k);
            if (strcmp(text, name) == 0) return true;
        }
    *value = 0;
    for (size_t i = 0; i < N_MODALITIES; i++)
        for (int k = 0; k < 2; k++)
            if (!modalities[i].is_named && strcmp(modalities[i].size_names[k], name) == 0)
                return true;
    return false;
}

const char *affect_sizes_variables(char names[AFFECT_SIZES_NAMES_SIZE], const affect_sizes *sizes) {
    size_t used = 0;
    for (size_t i = 0; i < sizes->n_features; i++)
        for (int k = 0; k < 2 && used < AFFECT_SIZES_NAMES_SIZE; k++) {
            char text[80];
            if (size_of(&sizes->features[i], k) == 0) continue;
            variable_name(text, &sizes->features[i], k);
            used += (size_t)snprintf(names + used, AFFECT_SIZES_NAMES_SIZE - used, "%s, ", text);
        }
    if (used < AFFECT_SIZES_NAMES_SIZE)
        snprintf(names + used, AFFECT_SIZES_NAMES_SIZE - used, "classes");
    return names;
}

static void set_sizes(affect_json *json, const affect_feature *feature) {
    for (int k = 0; k < 2; k++)
        affect_json_set_number(json, feature->modality->size_names[k], (double)size_of(feature, k));
}

affect_json *affect_sizes_to_json(const affect_sizes *sizes) {
    affect_json *json = affect_json_new_object();
    for (size_t i = 0; i < N_MODALITIES; i++)
        for (int k = 0; k < 2 && !modalities[i].is_named; k++)
            affect_json_set_number(json, modalities[i].size_names[k], 0);
    for (size_t i = 0; i < sizes->n_features; i++) {
        const affect_feature *feature = &sizes->features[i];
        affect_json *of = json;
        if (feature->modality->is_named) {
            of = affect_json_get(json, feature->modality->name);
            if (!of) of = affect_json_set_object(json, feature->modality->name);
            of = affect_json_set_object(of, own_name(feature->name));
        }
        set_sizes(of, feature);
    }
    if (sizes->n_classes) affect_json_set_number(json, "classes", (double)sizes->n_classes);
    return json;
}

static affect_status read_size(size_t *size, const affect_json *json, const char *path,
                               const char *name, affect_error *err) {
    const affect_json *member = affect_json_get(json, name);
    double number = affect_json_number(member, -1);
    *size = 0;
    if (!member) return AFFECT_STATUS_OK;
    if (!(number >= 0 && number <= MAX_SIZE) || number != (double)(size_t)number)
        return affect_field_fail(err, path, name, "is not an integer of 0..%d", MAX_SIZE);
    *size = (size_t)number;
    return AFFECT_STATUS_OK;
}

static affect_status read_feature(affect_sizes *sizes, const affect_json *json, const char *path,
                                  const affect_modality *m, const char *name, affect_error *err) {
    size_t size[2];
    for (int k = 0; k < 2; k++) AFFECT_TRY(read_size(&size[k], json, path, m->size_names[k], err));
    if (!m->is_named && (!size[0] || !size[1])) return AFFECT_STATUS_OK; /* the data lacks it */
    return affect_sizes_add(sizes, name, size[0], size[1], err);
}

/* Whether "sizes" may have a member of that name. */
static bool is_member(const char *name) {
    if (strcmp(name, "classes") == 0) return true;
    for (size_t i = 0; i < N_MODALITIES; i++) {
        const affect_modality *m = &modalities[i];
        if (m->is_named ? strcmp(m->name, name) == 0
                        : strcmp(m->size_names[0], name) == 0 || !strcmp(m->size_names[1], name))
            return true;
    }
    return false;
}

static affect_status read_named(affect_sizes *sizes, const affect_json *json, const char *path,
                                const affect_modality *m, affect_error *err) {
    const affect_json *all = affect_json_get(json, m->name);
    if (all && !affect_json_is_object(all))
        return affect_field_fail(err, path, m->name, "is not an object");
    for (const affect_json *one = affect_json_first(all); one; one = affect_json_next(one)) {
        char name[2 * AFFECT_FEATURE_NAME_SIZE], below[256];
        snprintf(name, sizeof name, "%s:%.60s", m->name, affect_json_name(one));
        snprintf(below, sizeof below, "%.100s/%s/%.60s", path, m->name, affect_json_name(one));
        if (!affect_json_is_object(one))
            return affect_field_fail(err, below, "", "is not an object");
        AFFECT_TRY(read_feature(sizes, one, below, m, name, err));
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_sizes_from_json(affect_sizes *sizes, const affect_json *json, const char *path,
                                     affect_error *err) {
    *sizes = (affect_sizes){0};
    if (json && !affect_json_is_object(json))
        return affect_field_fail(err, path, "", "is not an object");
    for (const affect_json *m = affect_json_first(json); m; m = affect_json_next(m))
        if (!is_member(affect_json_name(m)))
            return affect_field_fail(err, path, affect_json_name(m), "unknown field");
    for (size_t i = 0; i < N_MODALITIES; i++) {
        const affect_modality *m = &modalities[i];
        AFFECT_TRY(m->is_named ? read_named(sizes, json, path, m, err)
                               : read_feature(sizes, json, path, m, m->name, err));
    }
    return read_size(&sizes->n_classes, json, path, "classes", err);
}
