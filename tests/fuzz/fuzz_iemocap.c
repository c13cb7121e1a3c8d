/* IEMOCAP's text files and names: labels, a 0, then transcripts; the same bytes as a name. */
#include "engine/corpus/iemocap.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void read_texts(const char *text, size_t size) {
    affect_corpus_dialog dialog = {.id = "Ses01F_impro01", .wearer = "Ses01F"};
    affect_issues issues = {0};
    size_t labels = strnlen(text, size), rest = labels < size ? labels + 1 : size;
    FUZZ_CHECK(affect_iemocap_parse_labels(&dialog, &issues, "labels", text, labels, NULL) ==
               AFFECT_STATUS_OK);
    FUZZ_CHECK(affect_iemocap_parse_transcripts(&dialog, text + rest, size - rest, NULL) ==
               AFFECT_STATUS_OK);
    for (size_t i = 0; i < dialog.n_utterances; i++) {
        affect_corpus_utterance *u = &dialog.utterances[i];
        FUZZ_CHECK(affect_iemocap_is_utterance(u->id) && 0 <= u->start_s && u->start_s < u->end_s);
        FUZZ_CHECK(i == 0 || strcmp(dialog.utterances[i - 1].id, u->id) < 0);
        affect_json_free(u->votes);
        affect_json_free(u->attributes);
        free(u->transcript);
    }
    free(dialog.utterances);
    affect_issues_free(&issues);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[AFFECT_PATH_MAX], *text = malloc(size + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (affect_iemocap_select(text, path)) FUZZ_CHECK(path[0] != '/' && !strstr(path, ".."));
    free(text);
    char *exact = malloc(size ? size : 1); /* without a 0 behind it */
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, data, size);
    read_texts(exact, size);
    free(exact);
    return 0;
}
