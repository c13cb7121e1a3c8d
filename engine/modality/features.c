/* Features; see features.h. All that depends on a modality is behind its extraction. */
#include "engine/modality/features.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Config ---- */

static affect_feature_options *add_feature(affect_feature_config *config, const affect_modality *m,
                                           const char *name) {
    affect_feature_options *feature = &config->features[config->n++];
    *feature = (affect_feature_options){.modality = m};
    snprintf(feature->name, sizeof feature->name, "%s", name);
    affect_fields_default(feature->options, m->extraction->fields);
    return feature;
}

void affect_feature_config_default(affect_feature_config *config) {
    const affect_modality *m;
    config->n = 0;
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        if (!m->is_named) add_feature(config, m, m->name);
}

void *affect_feature_config_find(affect_feature_config *config, const char *feature) {
    for (size_t i = 0; i < config->n; i++)
        if (strcmp(config->features[i].name, feature) == 0) return config->features[i].options;
    return NULL;
}

static affect_status apply_preset(affect_feature_config *config, const affect_json *json,
                                  const char *path, affect_error *err) {
    const char *name = affect_json_string(json, NULL);
    char known[200] = "";
    if (!name)
        return affect_field_fail(err, path, "preset", "is a %s (need a string)",
                                 affect_json_type_name(json));
    for (size_t i = 0; i < config->n; i++) {
        const affect_extraction *extraction = config->features[i].modality->extraction;
        for (int p = 0; extraction->presets && extraction->presets[p]; p++) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                     extraction->presets[p]);
            if (strcmp(extraction->presets[p], name) != 0) continue;
            extraction->use_preset(config->features[i].options, p);
            return AFFECT_STATUS_OK;
        }
    }
    return affect_field_fail(err, path, "preset", "\"%.80s\" is not one of: %s", name, known);
}

static affect_status parse_feature(affect_feature_options *feature, const affect_json *json,
                                   const char *path, affect_error *err) {
    const affect_extraction *extraction = feature->modality->extraction;
    AFFECT_TRY(affect_fields_parse(feature->options, extraction->fields, json, path, err));
    return extraction->check ? extraction->check(feature->options, path, err) : AFFECT_STATUS_OK;
}

/* The features of a modality of which there may be several: {NAME: {...}}, in the order of names,
 * so that the order of a request's members makes no other features of the same numbers. */
static affect_status parse_named(affect_feature_config *config, const affect_modality *m,
                                 const affect_json *json, const char *path, affect_error *err) {
    size_t first = config->n;
    affect_status status = AFFECT_STATUS_OK;
    if (!affect_json_is_object(json))
        return affect_field_fail(err, path, "", "is a %s (need an object of names)",
                                 affect_json_type_name(json));
    for (const affect_json *one = affect_json_first(json); one; one = affect_json_next(one)) {
        char name[2 * AFFECT_FEATURE_NAME_SIZE], below[256];
        snprintf(name, sizeof name, "%s:%.64s", m->name, affect_json_name(one));
        snprintf(below, sizeof below, "%.120s/%.64s", path, affect_json_name(one));
        if (affect_modality_find(name) != m) {
            AFFECT_CHECK(status, err,
                         affect_field_fail(err, path, affect_json_name(one),
                                           "a name is [a-z][a-z0-9_]* of up to 24 characters"));
            continue;
        }
        if (config->n == AFFECT_MAX_FEATURES)
            return affect_field_fail(err, path, "", "more than %d features in all",
                                     AFFECT_MAX_FEATURES);
        affect_feature_options *feature = add_feature(config, m, name);
        AFFECT_CHECK(status, err, parse_feature(feature, one, below, err));
    }
    for (size_t i = first + 1; i < config->n; i++)
        for (size_t k = i; k > first; k--) {
            affect_feature_options *a = &config->features[k - 1], moved = config->features[k];
            if (strcmp(a->name, moved.name) <= 0) break;
            config->features[k] = *a;
            *a = moved;
        }
    return status;
}

static affect_status fail_unknown(const char *name, const char *path, affect_error *err) {
    char known[200] = "preset";
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", m->name);
    }
    return affect_field_fail(err, path, name, "unknown field (known: %s)", known);
}

/* The member of a modality. */
static affect_status parse_member(affect_feature_config *config, const affect_json *json,
                                  const char *path, affect_error *err) {
    char below[128];
    const affect_modality *m;
    snprintf(below, sizeof below, "%.60s/%.60s", path, affect_json_name(json));
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        if (strcmp(m->name, affect_json_name(json)) != 0) continue;
        if (m->is_named) return parse_named(config, m, json, below, err);
        for (size_t f = 0; f < config->n; f++)
            if (config->features[f].modality == m)
                return parse_feature(&config->features[f], json, below, err);
    }
    return fail_unknown(affect_json_name(json), path, err);
}

void affect_feature_config_describe(affect_json *schema) {
    const affect_modality *m;
    affect_json_set_string(schema, "type", "object");
    affect_json *properties = affect_json_set_object(schema, "properties");
    affect_json *preset = affect_json_set_object(properties, "preset");
    affect_json_set_string(preset, "type", "string");
    affect_json *presets = affect_json_set_array(preset, "enum");
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        const char *const *names = m->extraction->presets;
        for (int p = 0; names && names[p]; p++)
            affect_json_append(presets, affect_json_new_string(names[p]));
        affect_json *options = affect_fields_schema(m->extraction->fields, NULL), *all = options;
        if (m->is_named) {
            all = affect_json_new_object();
            affect_json_set_string(all, "type", "object");
            affect_json *one = affect_json_set_object(all, "patternProperties");
            affect_json_set(one, AFFECT_FEATURE_NAME_PATTERN, options);
            affect_json_set_bool(all, "additionalProperties", false);
        }
        affect_json_set(properties, m->name, all);
    }
    affect_json_set_bool(schema, "additionalProperties", false);
}

affect_status affect_feature_config_parse(affect_feature_config *config, const affect_json *json,
                                          const char *path, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    const affect_json *preset = affect_json_get(json, "preset");
    affect_feature_config_default(config);
    if (json && !affect_json_is_object(json))
        return affect_field_fail(err, path, "", "is a %s (need an object)",
                                 affect_json_type_name(json));
    if (preset) AFFECT_CHECK(status, err, apply_preset(config, preset, path, err));
    for (const affect_json *m = affect_json_first(json); m; m = affect_json_next(m))
        if (m != preset) AFFECT_CHECK(status, err, parse_member(config, m, path, err));
    return status;
}

affect_json *affect_feature_config_to_json(const affect_feature_config *config) {
    affect_json *json = affect_json_new_object();
    for (size_t i = 0; i < config->n; i++) {
        const affect_feature_options *feature = &config->features[i];
        const affect_modality *m = feature->modality;
        affect_json *to = affect_json_get(json, m->name);
        if (!to) to = affect_json_set_object(json, m->name);
        if (m->is_named) to = affect_json_set_object(to, strchr(feature->name, ':') + 1);
        affect_fields_print(to, feature->options, m->extraction->fields);
    }
    return json;
}

char *affect_feature_config_text(const affect_feature_config *config) {
    affect_json *json = affect_feature_config_to_json(config);
    char *text = affect_json_canonical_text(json);
    affect_json_free(json);
    return text;
}

affect_sizes affect_feature_config_sizes(const affect_feature_config *config) {
    affect_sizes sizes = {0};
    for (size_t i = 0; i < config->n; i++) {
        const affect_feature_options *feature = &config->features[i];
        size_t of[2] = {0};
        feature->modality->extraction->sizes(of, feature->options);
        affect_status status = affect_sizes_add(&sizes, feature->name, of[0], of[1], NULL);
        assert(status == AFFECT_STATUS_OK); /* the bounds of fields are within those of sizes */
        (void)status;
    }
    return sizes;
}

/* ---- Extractor ---- */

struct affect_feature_extractor {
    affect_feature_config config;
    affect_sizes sizes;
    void *states[AFFECT_MAX_FEATURES];
    float *all[AFFECT_MAX_FEATURES];       /* of affect_features_extract, where not ragged; made */
    uint8_t *missing[AFFECT_MAX_FEATURES]; /* when it is first needed */
};

static const affect_extraction *extraction_of(const affect_feature_extractor *extractor,
                                              size_t feature) {
    return extractor->config.features[feature].modality->extraction;
}

affect_status affect_feature_extractor_create(affect_feature_extractor **extractor,
                                              const affect_feature_config *config,
                                              affect_error *err) {
    affect_feature_extractor *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "features: no memory");
    made->config = *config;
    made->sizes = affect_feature_config_sizes(config);
    affect_status status = AFFECT_STATUS_OK;
    for (size_t f = 0; f < config->n && status == AFFECT_STATUS_OK; f++) {
        const affect_feature_options *feature = &made->config.features[f];
        status =
            extraction_of(made, f)->create(&made->states[f], feature->options, feature->name, err);
    }
    if (status != AFFECT_STATUS_OK) {
        affect_feature_extractor_free(made);
        return status;
    }
    *extractor = made;
    return AFFECT_STATUS_OK;
}

void affect_feature_extractor_free(affect_feature_extractor *extractor) {
    if (!extractor) return;
    for (size_t f = 0; f < extractor->config.n; f++) {
        extraction_of(extractor, f)->free(extractor->states[f]);
        free(extractor->all[f]);
        free(extractor->missing[f]);
    }
    free(extractor);
}

const affect_sizes *affect_feature_extractor_sizes(const affect_feature_extractor *extractor) {
    return &extractor->sizes;
}

void affect_features_clear(const affect_feature_extractor *extractor, size_t feature,
                           affect_extracted *values) {
    *values = (affect_extracted){.all = values->all, .missing = values->missing};
    if (values->all)
        extraction_of(extractor, feature)
            ->clear(extractor->config.features[feature].options, values->all, values->missing);
}

affect_status affect_features_read(affect_feature_extractor *extractor, size_t feature,
                                   affect_extracted *values, const affect_stream_reading *reading,
                                   affect_error *err) {
    if (affect_source_is_absent(reading->source) || reading->n == 0) return AFFECT_STATUS_OK;
    return extraction_of(extractor, feature)
        ->read(extractor->states[feature], values, reading, err);
}

void affect_features_fill(const affect_feature_extractor *extractor, size_t feature, float *to,
                          const affect_extracted *values) {
    const affect_feature *of = &extractor->sizes.features[feature];
    size_t n = values->n_rows * affect_feature_row_size(of), all = affect_shape_count(of->shape);
    if (n) memcpy(to, values->values, n * sizeof *to);
    for (size_t i = n; i < all; i++) to[i] = values->pad_value;
}

/* ---- One utterance ---- */

bool affect_features_input_set(affect_features_input *input, const char *part,
                               affect_source source) {
    size_t i = 0;
    while (i < input->n_parts && strcmp(input->parts[i].name, part) != 0) i++;
    if (i == AFFECT_MAX_INPUT_STREAMS) return false;
    input->parts[i].name = part;
    input->parts[i].source = source;
    if (i == input->n_parts) input->n_parts++;
    return true;
}

affect_source affect_features_input_find(const affect_features_input *input, const char *part) {
    for (size_t i = 0; i < input->n_parts; i++)
        if (strcmp(input->parts[i].name, part) == 0) return input->parts[i].source;
    return (affect_source){0};
}

static affect_status read_feature(affect_feature_extractor *extractor, bool *present, size_t f,
                                  affect_extracted *values, const affect_features_input *input,
                                  const affect_features_listener *listener, affect_error *err) {
    const affect_feature *feature = &extractor->sizes.features[f];
    const affect_time_window *window = &input->windows[affect_modality_index(feature->modality)];
    for (size_t s = 0; s < affect_feature_n_streams(feature); s++) {
        const affect_stream_reading reading = {
            .stream = s,
            .source = affect_features_input_find(input, affect_feature_stream(feature, s).part),
            .windows = window,
            .n = 1,
            .listener = listener};
        *present = *present || !affect_source_is_absent(reading.source);
        AFFECT_TRY(affect_features_read(extractor, f, values, &reading, err));
    }
    return AFFECT_STATUS_OK;
}

affect_status affect_features_extract(affect_feature_extractor *extractor,
                                      affect_extracted values[AFFECT_MAX_FEATURES],
                                      const affect_features_input *input,
                                      const affect_features_listener *listener, affect_error *err) {
    bool present = false;
    for (size_t f = 0; f < extractor->config.n; f++) {
        const affect_feature *feature = &extractor->sizes.features[f];
        size_t n = affect_shape_count(feature->shape);
        if (!feature->modality->is_ragged && !extractor->all[f]) {
            extractor->all[f] = calloc(n, sizeof *extractor->all[f]);
            extractor->missing[f] = calloc(n, sizeof *extractor->missing[f]);
            if (!extractor->all[f] || !extractor->missing[f])
                return affect_fail(err, NO_MEMORY, "features: no memory for %zu numbers", n);
        }
        values[f] = (affect_extracted){.all = extractor->all[f], .missing = extractor->missing[f]};
        affect_features_clear(extractor, f, &values[f]);
    }
    for (size_t f = 0; f < extractor->config.n; f++)
        AFFECT_TRY(read_feature(extractor, &present, f, &values[f], input, listener, err));
    return present ? AFFECT_STATUS_OK : affect_fail(err, INVALID, "no stream is given");
}
