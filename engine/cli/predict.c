/* `affect predict`: one prediction from files, or, with --serve, a server's predictor child. */
#include "engine/predict/predict.h"
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/predict/serve.h"
#include "engine/train/job_event.h"

#include <math.h>
#include <string.h>

#define SERVE_SOCKET 3 /* where the server puts its socket pair's end */

static affect_status predict_files(const char *model, const affect_features_input *input,
                                   const affect_predictor_options *options, bool calibrated,
                                   affect_error *err) {
    affect_predictor *predictor = NULL;
    affect_json *result = NULL;
    AFFECT_TRY(affect_predictor_open(&predictor, model, options, err));
    affect_status status = affect_predictor_run(predictor, &result, input, calibrated, err);
    if (status == AFFECT_STATUS_OK) {
        affect_buffer text = {0};
        affect_json_print_pretty(&text, result);
        if (!text.failed) printf("%s\n", text.data);
        affect_buffer_free(&text);
    }
    affect_json_free(result);
    affect_predictor_close(predictor);
    return status;
}

/* Files and windows as flags: those of the table's streams, and --embedding NAME=FILE any number of
 * times. */
typedef struct {
    const char *files[AFFECT_MAX_MODALITIES * AFFECT_MODALITY_MAX_STREAMS];
    affect_flag_list named[AFFECT_MAX_MODALITIES];
    double windows[AFFECT_MAX_MODALITIES][2];        /* NAN: not given, open on that side */
    char window_flags[AFFECT_MAX_MODALITIES][2][32]; /* "audio-start" of "audio_start" */
    char named_parts[AFFECT_MAX_INPUT_STREAMS][AFFECT_FEATURE_NAME_SIZE];
} input_flags;

static void window_flag(char flag[32], const char *part) {
    snprintf(flag, 32, "%s", part);
    for (char *c = flag; *c; c++)
        if (*c == '_') *c = '-';
}

/* Appends the flags of every modality; their number. */
static size_t list_flags(affect_flag *flags, input_flags *values) {
    size_t n = 0, n_files = 0;
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        if (m->is_named)
            flags[n++] = (affect_flag){m->name,          0,
                                       AFFECT_FLAG_LIST, &values->named[i],
                                       "NAME=FILE",      "an array of that name; may be repeated"};
        for (size_t s = 0; s < m->n_streams; s++)
            flags[n++] = (affect_flag){m->streams[s].flag,        0,      AFFECT_FLAG_STRING,
                                       &values->files[n_files++], "FILE", m->streams[s].help};
    }
    for (size_t i = 0; (m = affect_modality_at(i)); i++)
        for (int end = 0; end < 2 && m->window[0]; end++) {
            values->windows[i][end] = NAN;
            window_flag(values->window_flags[i][end], m->window[end]);
            flags[n++] = (affect_flag){values->window_flags[i][end],
                                       0,
                                       AFFECT_FLAG_NUMBER,
                                       &values->windows[i][end],
                                       "SECONDS",
                                       end ? "where it ends"
                                           : "where the utterance starts in a file of a whole "
                                             "dialog"};
        }
    return n;
}

/* "NAME=FILE" as a part "embedding:NAME". */
static affect_status set_named(affect_features_input *input, char part[AFFECT_FEATURE_NAME_SIZE],
                               const affect_modality *m, const char *text, affect_error *err) {
    const char *equals = strchr(text, '=');
    char name[2 * AFFECT_FEATURE_NAME_SIZE];
    snprintf(name, sizeof name, "%s:%.*s", m->name, equals ? (int)(equals - text) : 0, text);
    if (!equals || affect_modality_find(name) != m)
        return affect_fail(err, INVALID, "--%s: \"%.80s\" is not NAME=FILE", m->name, text);
    snprintf(part, AFFECT_FEATURE_NAME_SIZE, "%s", name);
    if (!affect_source_is_absent(affect_features_input_find(input, part)))
        return affect_fail(err, INVALID, "--%s: %s is given twice", m->name, part);
    if (!affect_features_input_set(input, part, (affect_source){.path = equals + 1}))
        return affect_fail(err, INVALID, "more than %d files", AFFECT_MAX_INPUT_STREAMS);
    return AFFECT_STATUS_OK;
}

static affect_status set_input(affect_features_input *input, input_flags *values,
                               affect_error *err) {
    size_t n_files = 0, n_named = 0;
    const affect_modality *m;
    for (size_t i = 0; (m = affect_modality_at(i)); i++) {
        double start = values->windows[i][0], end = values->windows[i][1];
        for (size_t s = 0; s < m->n_streams; s++)
            affect_features_input_set(input, m->streams[s].part,
                                      (affect_source){.path = values->files[n_files++]});
        for (size_t k = 0; k < values->named[i].n; k++) {
            if (n_named == AFFECT_MAX_INPUT_STREAMS)
                return affect_fail(err, INVALID, "more than %d files", AFFECT_MAX_INPUT_STREAMS);
            AFFECT_TRY(set_named(input, values->named_parts[n_named++], m,
                                 values->named[i].values[k], err));
        }
        if (m->window[0])
            input->windows[i] = (affect_time_window){.limited = !isnan(start) || !isnan(end),
                                                     .start_s = isnan(start) ? 0 : start,
                                                     .end_s = isnan(end) ? HUGE_VAL : end};
    }
    return AFFECT_STATUS_OK;
}

int affect_command_predict(int argc, char **argv) {
    const char *model = NULL, *device = "auto";
    int64_t threads = 0, batch = 1;
    bool serve = false, calibrated = false;
    input_flags values = {0};
    affect_flag flags[8 + AFFECT_MAX_MODALITIES * (AFFECT_MODALITY_MAX_STREAMS + 2)] = {
        {"model", 'm', AFFECT_FLAG_STRING, &model, "FILE", "a model file"}};
    const affect_flag others[] = {
        {"device", 0, AFFECT_FLAG_STRING, &device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &threads, "N", "0: all cores"},
        {"calibrated", 0, AFFECT_FLAG_BOOL, &calibrated, NULL,
         "scale the probabilities by the model's temperature"},
        {"batch", 0, AFFECT_FLAG_INTEGER, &batch, "N",
         "with --serve: predictions at once, 1 to 64"},
        {"serve", 0, AFFECT_FLAG_BOOL, &serve, NULL,
         "answer the requests that come over descriptor 3 (the server's predictors)"}};
    memcpy(flags + 1 + list_flags(flags + 1, &values), others, sizeof others);
    const affect_usage usage = {"predict", "", "Classifies one utterance.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;

    affect_error err = {0};
    affect_features_input input = {0};
    affect_predictor_options options = {device, AFFECT_PRECISION_AUTO, (int)threads, (size_t)batch};
    affect_status status;
    if (serve) {
        const affect_confine_options confinement = {.gpu = affect_confine_needs_gpu(device)};
        status = affect_command_confine(&confinement, &err);
        if (status == AFFECT_STATUS_OK) status = affect_job_supervise(true, &err);
        if (status == AFFECT_STATUS_OK) status = affect_predict_serve(SERVE_SOCKET, &options, &err);
    } else if (!model) {
        affect_fail(&err, INVALID, "--model is missing");
        affect_command_fail("predict", &err);
        return AFFECT_EXIT_USAGE;
    } else if (set_input(&input, &values, &err) != AFFECT_STATUS_OK) {
        affect_command_fail("predict", &err);
        return AFFECT_EXIT_USAGE;
    } else {
        status = predict_files(model, &input, &options, calibrated, &err);
    }
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : affect_command_fail("predict", &err);
}
