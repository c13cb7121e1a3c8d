/* Model files: one that is accepted and small can be loaded into a session of its architecture. */
#include "engine/device/backend.h"
#include "engine/model/model_file.h"
#include "tests/fuzz/fuzz.h"

#define MAX_NUMBERS ((size_t)1 << 20)

static void load(const affect_model *model, affect_backend *backend) {
    const affect_architecture *architecture = affect_model_architecture(model);
    const affect_session_options options = {.max_batch = 1};
    affect_session_plan plan = {0};
    affect_session *session = NULL;
    if (affect_session_measure(&plan, backend, architecture, options, NULL) != AFFECT_STATUS_OK)
        return;
    if (plan.parameters + plan.activations + plan.workspace + plan.inputs > 4 * MAX_NUMBERS) return;
    if (affect_session_create(&session, backend, architecture, options, NULL) != AFFECT_STATUS_OK)
        return;
    FUZZ_CHECK(affect_model_load(model, session, NULL) == AFFECT_STATUS_OK);
    affect_session_free(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static affect_backend *backend;
    const affect_backend_options options = {.device = "cpu", .n_threads = 1};
    if (!backend) FUZZ_CHECK(affect_backend_open(&backend, options, NULL) == AFFECT_STATUS_OK);
    char path[64];
    affect_model *model = NULL;
    int fd = fuzz_file(path, data, size);
    if (affect_model_open(&model, path, NULL) == AFFECT_STATUS_OK) {
        FUZZ_CHECK(affect_json_is_object(affect_model_metadata(model, NULL)));
        load(model, backend);
        affect_model_close(model);
    }
    close(fd);
    return 0;
}
