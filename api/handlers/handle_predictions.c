/* /v1/predictions: an utterance's parts go to a predictor, its answer comes back.
 *
 * Nothing is computed here: the parts are checked by name, copied into shared memory and queued;
 * the answer is given from the predictors' thread. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/models/model_registry.h"
#include "api/models/predictor.h"
#include "api/schema.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 128, MAX_SECONDS = 1000000 };
static const char *const truth[] = {"false", "true"};

/* A prediction that is asked for; `waiting` lives until the answer. */
typedef struct {
    api_request *request;
    char model[API_MODEL_NAME_SIZE];
    int64_t version;
} waiting;

typedef struct {
    char model[MAX_TEXT];
    api_predictor_part parts[AFFECT_MAX_INPUT_STREAMS];
    size_t n_parts;
    affect_time_window windows[AFFECT_MAX_MODALITIES];
    bool calibrated;
} prediction;

/* A form: the model, the streams of all modalities, and seconds to cut them. That one stream is
 * there at least is said by the number of parts: of named ones no list can be made. */
void api_describe_prediction(affect_json *content) {
    const affect_modality *m;
    affect_json *form =
        affect_json_set_object(affect_json_set_object(content, "multipart/form-data"), "schema");
    affect_json_set_string(form, "type", "object");
    affect_json *parts = affect_json_set_object(form, "properties"), *named = NULL;
    affect_json *model = affect_json_set_object(parts, "model");
    affect_json_set_string(model, "type", "string");
    affect_json_set_number(model, "minLength", 1);
    affect_json_set_number(model, "maxLength", MAX_TEXT - 1);
    affect_json_set_string(model, "description", "name (its newest version) or name:version");
    affect_json_append(affect_json_set_array(form, "required"), affect_json_new_string("model"));
    affect_json *calibrated = affect_json_set_object(parts, "calibrated");
    affect_json *words = affect_json_set_array(calibrated, "enum");
    for (size_t i = 0; i < 2; i++) affect_json_append(words, affect_json_new_string(truth[i]));
    affect_json_set_string(calibrated, "description",
                           "true: probabilities are scaled by the model's temperature, which was "
                           "fitted on its validation part");
    affect_json_set_number(form, "minProperties", 2);
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        for (size_t s = 0; s < m->n_streams; s++)
            api_schema_add_file(parts, m->streams[s].part, m->streams[s].help);
        for (int end = 0; end < 2 && m->window[end]; end++) {
            affect_json *part = affect_json_set_object(parts, m->window[end]);
            affect_json_set_string(part, "type", "number");
            affect_json_set_number(part, "minimum", 0);
            affect_json_set_number(part, "maximum", MAX_SECONDS);
            affect_json_set_string(part, "description", "seconds: where the streams are cut");
        }
        if (!m->is_named) continue;
        char pattern[80]; /* "^embedding:[a-z]..." */
        snprintf(pattern, sizeof pattern, "^%s:%s", m->name, &AFFECT_FEATURE_NAME_PATTERN[1]);
        if (!named) named = affect_json_set_object(form, "patternProperties");
        api_schema_add_file(named, pattern, "the array of a feature of that name");
    }
    affect_json_set_bool(form, "additionalProperties", false);
}

static affect_status text_of(char text[MAX_TEXT], const api_part *part, affect_error *err) {
    if (!part->data || part->size >= MAX_TEXT || memchr(part->data, 0, part->size))
        return affect_field_fail(err, "", part->name, "is longer than %d bytes, or no text",
                                 MAX_TEXT - 1);
    memcpy(text, part->data, part->size);
    text[part->size] = '\0';
    return AFFECT_STATUS_OK;
}

static affect_status truth_of(bool *value, const api_part *part, affect_error *err) {
    char text[MAX_TEXT];
    AFFECT_TRY(text_of(text, part, err));
    *value = strcmp(text, truth[1]) == 0;
    if (*value || strcmp(text, truth[0]) == 0) return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", part->name, "need true or false");
}

static affect_status seconds_of(double *seconds, const api_part *part, affect_error *err) {
    char text[MAX_TEXT], *end = NULL;
    AFFECT_TRY(text_of(text, part, err));
    *seconds = strtod(text, &end);
    if (end == text || *end || !(*seconds >= 0 && *seconds <= MAX_SECONDS))
        return affect_field_fail(err, "", part->name, "need seconds in 0..1e6");
    return AFFECT_STATUS_OK;
}

/* A side that is not given is open. */
static affect_status read_window(affect_time_window *window, const char *start_name,
                                 const char *end_name, const api_request *request,
                                 affect_error *err) {
    const api_part *start = api_part_find(request, start_name);
    const api_part *end = api_part_find(request, end_name);
    *window = (affect_time_window){.limited = start || end, .end_s = HUGE_VAL};
    if (start) AFFECT_TRY(seconds_of(&window->start_s, start, err));
    if (end) AFFECT_TRY(seconds_of(&window->end_s, end, err));
    if (window->end_s <= window->start_s)
        return affect_field_fail(err, "", end_name, "must be later than %s", start_name);
    return AFFECT_STATUS_OK;
}

/* Of the names of windows' parts. */
static bool is_seconds(const char *name) {
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        for (int end = 0; end < 2; end++)
            if (m->window[end] && strcmp(name, m->window[end]) == 0) return true;
    return false;
}

/* Whether a stream of some modality is called so. */
static bool is_stream(const char *name) {
    const affect_modality *m = affect_modality_find(name);
    if (m && m->is_named) return true;
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        for (size_t s = 0; s < m->n_streams; s++)
            if (strcmp(name, m->streams[s].part) == 0) return true;
    return false;
}

/* "audio, mocap_face, ...": all streams, and with `windows` the names of seconds. */
static const char *known_parts(char text[300], bool windows) {
    size_t used = 0;
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        for (size_t s = 0; s < m->n_streams; s++)
            used += (size_t)snprintf(text + used, 300 - used, "%s%s", used ? ", " : "",
                                     m->streams[s].part);
        if (m->is_named)
            used +=
                (size_t)snprintf(text + used, 300 - used, "%s%s:NAME", used ? ", " : "", m->name);
    }
    for (size_t i = 0; windows && (m = affect_modality_at(i)); i++)
        if (m->window[0])
            used +=
                (size_t)snprintf(text + used, 300 - used, ", %s, %s", m->window[0], m->window[1]);
    return text;
}

static affect_status read_part(prediction *p, const api_part *part, affect_error *err) {
    char known[300];
    if (strcmp(part->name, "model") == 0) return text_of(p->model, part, err);
    if (strcmp(part->name, "calibrated") == 0) return truth_of(&p->calibrated, part, err);
    if (is_seconds(part->name)) return AFFECT_STATUS_OK; /* read_window */
    if (!is_stream(part->name))
        return affect_field_fail(err, "", part->name, "unknown part (known: model, calibrated, %s)",
                                 known_parts(known, true));
    if (p->n_parts == AFFECT_MAX_INPUT_STREAMS)
        return affect_field_fail(err, "", part->name, "more than %d streams",
                                 AFFECT_MAX_INPUT_STREAMS);
    p->parts[p->n_parts++] = (api_predictor_part){
        .name = part->name, .data = part->data, .path = part->path, .size = part->size};
    return AFFECT_STATUS_OK;
}

static affect_status read_request(prediction *p, const api_request *request, affect_error *err) {
    char known[300];
    const affect_modality *m;
    for (size_t i = 0; i < api_n_parts(request); i++)
        AFFECT_TRY(read_part(p, api_part_at(request, i), err));
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        if (m->window[0])
            AFFECT_TRY(read_window(&p->windows[i], m->window[0], m->window[1], request, err));
    if (!p->model[0]) return affect_field_fail(err, "", "model", "is missing");
    if (!p->n_parts)
        return affect_fail(err, INVALID, "no stream is given (need one of %s)",
                           known_parts(known, false));
    return AFFECT_STATUS_OK;
}

static bool is_gone(void *context) {
    return api_client_gone(((waiting *)context)->request);
}

/* On the predictors' thread. */
static void answer(void *context, affect_status status, affect_json *result,
                   const affect_error *error) {
    waiting *w = context;
    api_request *request = w->request;
    if (status != AFFECT_STATUS_OK) {
        free(w);
        api_answer_error(request, error);
        return;
    }
    affect_json *json = affect_json_new_object();
    affect_json_set_string(json, "model", w->model);
    affect_json_set_number(json, "version", (double)w->version);
    for (const affect_json *m = affect_json_first(result); m; m = affect_json_next(m))
        affect_json_set(json, affect_json_name(m), affect_json_copy(m));
    affect_json_free(result);
    free(w);
    api_answer_json(request, 200, json);
}

static affect_status submit(const prediction *p, api_request *request, affect_error *err) {
    const api_context *context = api_context_of(request);
    api_model_version version;
    char path[PATH_MAX];
    AFFECT_TRY(api_model_resolve(context->models, p->model, &version, err));
    AFFECT_TRY(api_model_verify(context->models, &version, err));
    if (!realpath(version.path, path)) return affect_error_errno(err, errno, "the model's file");
    waiting *w = malloc(sizeof *w);
    if (!w) return affect_fail(err, NO_MEMORY, "no memory for a prediction");
    *w = (waiting){.request = request, .version = version.version};
    snprintf(w->model, sizeof w->model, "%s", version.name);
    api_predictor_request work = {.model = path,
                                  .parts = p->parts,
                                  .n_parts = p->n_parts,
                                  .calibrated = p->calibrated,
                                  .done = answer,
                                  .gone = is_gone,
                                  .context = w};
    memcpy(work.windows, p->windows, sizeof work.windows);
    api_defer(request);
    affect_status status = api_predictor_submit(context->predictor, &work, err);
    if (status != AFFECT_STATUS_OK) free(w);
    return status;
}

void api_handle_prediction(api_request *request) {
    prediction p = {0};
    affect_error error = {0};
    affect_status status = read_request(&p, request, &error);
    if (status == AFFECT_STATUS_OK) status = submit(&p, request, &error);
    if (status != AFFECT_STATUS_OK) api_answer_error(request, &error);
}
