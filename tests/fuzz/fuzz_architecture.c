/* Architectures: one that is accepted prints, counts its numbers, and its resolved document is
 * accepted too and has as many. */
#include "engine/model/architecture.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sizes.h"

static const network_sizes sizes = {
    .frames = 9, .mels = 16, .parts = 20, .columns = 18, .classes = 4};

static void check(const affect_architecture *architecture) {
    affect_buffer text = {0};
    affect_architecture_print(&text, architecture);
    FUZZ_CHECK(!text.failed && text.size);
    affect_buffer_free(&text);
    affect_architecture *again = NULL;
    FUZZ_CHECK(create_architecture(&again, affect_architecture_document(architecture), NULL, sizes,
                                   NULL) == AFFECT_STATUS_OK);
    FUZZ_CHECK(affect_architecture_n_trainable(again) ==
               affect_architecture_n_trainable(architecture));
    FUZZ_CHECK(affect_architecture_n_parameters(again) ==
               affect_architecture_n_parameters(architecture));
    affect_architecture_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    affect_json *document = NULL;
    affect_architecture *architecture = NULL;
    affect_error err = {0};
    if (affect_json_parse(&document, (const char *)data, size, NULL) != AFFECT_STATUS_OK) return 0;
    if (create_architecture(&architecture, document, NULL, sizes, &err) == AFFECT_STATUS_OK) {
        check(architecture);
        affect_architecture_free(architecture);
    } else {
        FUZZ_CHECK(err.message[0]);
    }
    affect_json_free(document);
    return 0;
}
