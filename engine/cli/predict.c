/* `affect predict`: one prediction from files, or, with --serve, a server's predictor child. */
#include "engine/predict/predict.h"
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/predict/serve.h"
#include "engine/train/job_event.h"

#include <math.h>

#define SERVE_SOCKET 3 /* where the server puts its socket pair's end */

static affect_status predict_files(const char *model, const affect_features_input *input,
                                   const affect_predictor_options *options, affect_error *err) {
    affect_predictor *predictor = NULL;
    affect_json *result = NULL;
    AFFECT_TRY(affect_predictor_open(&predictor, model, options, err));
    affect_status status = affect_predictor_run(predictor, &result, input, err);
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

/* NAN: not given, open on that side. */
static affect_time_window window_of(double start_s, double end_s) {
    return (affect_time_window){.limited = !isnan(start_s) || !isnan(end_s),
                                .start_s = isnan(start_s) ? 0 : start_s,
                                .end_s = isnan(end_s) ? HUGE_VAL : end_s};
}

int affect_command_predict(int argc, char **argv) {
    const char *model = NULL, *device = "auto", *audio = NULL;
    const char *face = NULL, *head = NULL, *hand = NULL;
    double start = NAN, end = NAN, audio_start = NAN, audio_end = NAN;
    int64_t threads = 0, batch = 1;
    bool serve = false;
    const affect_flag flags[] = {
        {"model", 'm', AFFECT_FLAG_STRING, &model, "FILE", "a model file"},
        {"audio", 0, AFFECT_FLAG_STRING, &audio, "FILE", "sound of the utterance"},
        {"face", 0, AFFECT_FLAG_STRING, &face, "FILE", "motion of the face (MOCAP_rotated)"},
        {"head", 0, AFFECT_FLAG_STRING, &head, "FILE", "motion of the head (MOCAP_head)"},
        {"hand", 0, AFFECT_FLAG_STRING, &hand, "FILE", "motion of the hands (MOCAP_hand)"},
        {"start", 0, AFFECT_FLAG_NUMBER, &start, "SECONDS",
         "where the utterance starts in motion files of a whole dialog"},
        {"end", 0, AFFECT_FLAG_NUMBER, &end, "SECONDS", "where it ends"},
        {"audio-start", 0, AFFECT_FLAG_NUMBER, &audio_start, "SECONDS",
         "where it starts in the sound of a whole dialog"},
        {"audio-end", 0, AFFECT_FLAG_NUMBER, &audio_end, "SECONDS", "where it ends"},
        {"device", 0, AFFECT_FLAG_STRING, &device, "NAME", "cpu, cuda, cuda:N or auto"},
        {"threads", 't', AFFECT_FLAG_INTEGER, &threads, "N", "0: all cores"},
        {"batch", 0, AFFECT_FLAG_INTEGER, &batch, "N",
         "with --serve: predictions at once, 1 to 64"},
        {"serve", 0, AFFECT_FLAG_BOOL, &serve, NULL,
         "answer the requests that come over descriptor 3 (the server's predictors)"},
        {0}};
    const affect_usage usage = {"predict", "", "Classifies one utterance.", flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, NULL, 0, &n);
    if (code >= 0) return code;

    affect_error err = {0};
    affect_features_input input = {.audio = {.path = audio}};
    input.motion[AFFECT_MOCAP_FACE].path = face;
    input.motion[AFFECT_MOCAP_HEAD].path = head;
    input.motion[AFFECT_MOCAP_HAND].path = hand;
    input.motion_window = window_of(start, end);
    input.audio_window = window_of(audio_start, audio_end);
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
    } else {
        status = predict_files(model, &input, &options, &err);
    }
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : affect_command_fail("predict", &err);
}
