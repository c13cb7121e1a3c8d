/* A model file of version 0.1 (commit 168d432, before modalities were a table: "normalizer" is of
 * motion alone, "sizes" has four numbers) answers as it did then. reference/README.md says how it
 * was made. Levels of vector instructions sum in other orders: hence a tolerance. */
#include "engine/predict/predict.h"
#include "tests/test.h"

#define MODEL    TEST_REFERENCE_DIR "/models/version1.safetensors"
#define SOUND    TEST_REFERENCE_DIR "/librosa/speech_16k.wav"
#define SEGMENTS TEST_REFERENCE_DIR "/segments/"

static void test_answer(void) {
    static const double stored[] = {0.22747483849525452, 0.24594330787658691, 0.1755973845720291,
                                    0.35098448395729065};
    affect_predictor *predictor = NULL;
    affect_prediction prediction;
    affect_features_input input = {0};
    affect_predictor_options options;
    affect_predictor_options_default(&options);
    options.device = "cpu";
    affect_features_input_set(&input, "audio", (affect_source){.path = SOUND});
    affect_features_input_set(&input, "mocap_face", (affect_source){.path = SEGMENTS "face.txt"});
    affect_features_input_set(&input, "mocap_head", (affect_source){.path = SEGMENTS "head.txt"});
    affect_features_input_set(&input, "mocap_hand", (affect_source){.path = SEGMENTS "hand.txt"});
    CHECK_OK(affect_predictor_open(&predictor, MODEL, &options, err));
    if (!predictor) return;
    CHECK_OK(affect_predictor_run_batch(predictor, &prediction, &input, 1, err));
    CHECK(prediction.status == AFFECT_STATUS_OK);
    for (size_t c = 0; c < 4; c++) CHECK_NEAR(prediction.probabilities[c], stored[c], 1e-6);
    affect_predictor_close(predictor);
}

int main(void) {
    TEST_RUN(test_answer);
    return TEST_END();
}
