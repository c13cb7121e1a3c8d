/* Corpora in memory: what they own, and how it grows; see corpus.h. */
#include "engine/corpus/corpus.h"

#include <stdlib.h>
#include <string.h>

void affect_corpus_utterance_free(affect_corpus_utterance *u) {
    free(u->transcript);
    affect_json_free(u->votes);
    affect_json_free(u->attributes);
    affect_json_free(u->columns);
    for (int s = 0; s < AFFECT_MAX_INPUT_STREAMS; s++) free(u->files[s]);
    *u = (affect_corpus_utterance){0};
}

int affect_corpus_stream_of(const affect_sizes *features, const char *column) {
    int stream = 0;
    for (size_t f = 0; f < features->n_features; f++)
        for (size_t s = 0; s < affect_feature_n_streams(&features->features[f]); s++, stream++)
            if (strcmp(affect_feature_stream(&features->features[f], s).column, column) == 0)
                return stream;
    return -1;
}

affect_status affect_corpus_add(affect_corpus_dialog **dialog, affect_corpus *corpus,
                                affect_error *err) {
    size_t n = corpus->n_dialogs;
    if ((n & (n - 1)) == 0) { /* full: every power of two */
        affect_corpus_dialog *grown =
            realloc(corpus->dialogs, (n ? 2 * n : 1) * sizeof *corpus->dialogs);
        if (!grown) return affect_fail(err, NO_MEMORY, "no memory for %zu dialogs", n + 1);
        corpus->dialogs = grown;
    }
    *dialog = &corpus->dialogs[corpus->n_dialogs++];
    **dialog = (affect_corpus_dialog){0};
    return AFFECT_STATUS_OK;
}

static int compare_dialogs(const void *a, const void *b) {
    return strcmp(((const affect_corpus_dialog *)a)->id, ((const affect_corpus_dialog *)b)->id);
}

void affect_corpus_sort(affect_corpus *corpus) {
    if (corpus->n_dialogs)
        qsort(corpus->dialogs, corpus->n_dialogs, sizeof *corpus->dialogs, compare_dialogs);
}

void affect_corpus_close(affect_corpus *corpus) {
    for (size_t d = 0; d < corpus->n_dialogs; d++) {
        affect_corpus_dialog *dialog = &corpus->dialogs[d];
        for (size_t i = 0; i < dialog->n_utterances; i++)
            affect_corpus_utterance_free(&dialog->utterances[i]);
        free(dialog->utterances);
        for (int s = 0; s < AFFECT_MAX_INPUT_STREAMS; s++) free(dialog->files[s]);
    }
    free(corpus->dialogs);
    affect_tree_close(corpus->tree);
    *corpus = (affect_corpus){0};
}

bool affect_corpus_set_text(char *field, size_t size, const char *text) {
    size_t n = strlen(text);
    if (n >= size || !affect_json_is_plain_text(text, n)) return false;
    memcpy(field, text, n + 1);
    return true;
}
