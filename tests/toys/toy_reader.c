/* A corpus reader for a test: a file "list.toy" of lines "SOUND LOUDNESS LABEL". */
#include "engine/corpus/corpus_list.h"
#include "engine/corpus/reader.h"
#include "engine/corpus/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

affect_status affect_toy_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                              const affect_json *options, affect_error *err);
bool affect_toy_select(const char *name, char path[AFFECT_PATH_MAX]);

bool affect_toy_select(const char *name, char path[AFFECT_PATH_MAX]) {
    return affect_corpus_keep_path(name, path);
}

affect_status affect_toy_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                              const affect_json *options, affect_error *err) {
    static const char *const names[] = {"file", "file_loudness", "label"};
    affect_corpus_list list = {.file = "list.toy", .features = corpus->features};
    char *text = NULL, *rest = NULL, reason[AFFECT_CORPUS_REASON_SIZE];
    size_t size = 0, number = 0;
    (void)options;
    corpus->tree = folder;
    AFFECT_TRY(affect_tree_read(&text, &size, folder, "list.toy", 1 << 20, err));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *cells = NULL;
        affect_corpus_list_add(&list, ++number);
        for (int i = 0; i < 3; i++) {
            char *cell = strtok_r(i ? NULL : line, " ", &cells);
            if (cell) affect_corpus_list_set(&list, names[i], cell, reason);
        }
    }
    free(text);
    return affect_corpus_list_finish(corpus, issues, &list, err);
}
