/* The rows; see reader.h. */
#include "engine/corpus/reader.h"

#include "engine/corpus/folders.h"
#include "engine/corpus/iemocap.h"
#include "engine/corpus/reading.h"
#include "engine/corpus/table.h"

#include <stdio.h>
#include <string.h>

static const affect_corpus_reader readers[] = {
    {"iemocap", AFFECT_IEMOCAP_LABELS, NULL, affect_corpus_no_options, affect_iemocap_select,
     affect_iemocap_open},
    {"folders", NULL, affect_folders_options, affect_folders_check, affect_folders_select,
     affect_folders_open},
    {"table", NULL, affect_table_options, affect_table_check, affect_table_select,
     affect_table_open},
};
enum { N_READERS = sizeof readers / sizeof *readers };

const affect_corpus_reader *affect_corpus_reader_at(size_t i) {
    return i < N_READERS ? &readers[i] : NULL;
}

const affect_corpus_reader *affect_corpus_reader_find(const char *name) {
    for (int i = 0; i < N_READERS; i++)
        if (strcmp(readers[i].name, name) == 0) return &readers[i];
    return NULL;
}

void affect_corpus_reader_names(char names[128]) {
    size_t used = 0;
    for (int i = 0; i < N_READERS; i++)
        used += (size_t)snprintf(names + used, 128 - used, "%s%s", i ? ", " : "", readers[i].name);
}

affect_status affect_corpus_open(affect_corpus *corpus, affect_issues *issues,
                                 const affect_corpus_reader *reader, affect_tree *folder,
                                 const affect_json *options, const affect_sizes *features,
                                 affect_error *err) {
    *corpus = (affect_corpus){.features = features};
    affect_status status = reader->open(corpus, issues, folder, options, err);
    if (status != AFFECT_STATUS_OK)
        affect_corpus_close(corpus);
    else
        affect_corpus_sort(corpus);
    return status;
}
