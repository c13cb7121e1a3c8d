/* The table of corpus readers: one row and one file a layout of corpora.
 *
 * A reader turns a folder into an affect_corpus (corpus.h); all that follows (features, shards,
 * manifest) is the same for each. To add one: a file with its open, select and check (reading.h has
 * what they share), a row in reader.c. */
#ifndef AFFECT_CORPUS_READER_H
#define AFFECT_CORPUS_READER_H

#include "engine/core/fields.h"
#include "engine/core/file.h"
#include "engine/corpus/corpus.h"

typedef struct affect_corpus_reader {
    const char *name;   /* the "layout" of a request */
    const char *labels; /* JSON of the label map where the request has none; NULL: every label is a
                           class */
    const affect_field *options; /* fields of the request's "options"; NULL: none */
    /* Checks the request's "options" (NULL: none) without reading anything. INVALID with a pointer
     * below path. */
    affect_status (*check)(const affect_json *options, const char *path, affect_error *err);
    /* Of an archive: whether an import reads the member `name` (no leading slash, no `..`); `path`
     * becomes its place below the root. */
    bool (*select)(const char *name, char path[AFFECT_PATH_MAX]);
    /* Reads labels and finds files. Takes `folder` over in any case: it, or one below it, becomes
     * corpus->tree. What is wrong in the data is an issue and left out. `corpus` is empty before,
     * but for its features, and closed by the caller also after a failure. NOT_FOUND or INVALID:
     * nothing that it reads.
     */
    affect_status (*open)(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                          const affect_json *options, affect_error *err);
} affect_corpus_reader;

/* Row i, NULL beyond the last. */
const affect_corpus_reader *affect_corpus_reader_at(size_t i);
/* The row of that name, NULL without one. */
const affect_corpus_reader *affect_corpus_reader_find(const char *name);
/* "iemocap, folders, ...": for messages. */
void affect_corpus_reader_names(char names[128]);
/* The row's open, with dialogs in the order of their ids afterwards. `features` (borrowed as long
 * as the corpus): what is to be read of it. */
affect_status affect_corpus_open(affect_corpus *corpus, affect_issues *issues,
                                 const affect_corpus_reader *reader, affect_tree *folder,
                                 const affect_json *options, const affect_sizes *features,
                                 affect_error *err);

#endif
