/* The reader "folders": sound files whose labels are in the names of their folders or their own.
 *
 *   {"layout": "folders"}                                           LABEL/x.wav,
 * SPEAKER/LABEL/x.wav
 *   {"layout": "folders", "options": {"folders": "speaker/label"}}  the second, said
 *   {"layout": "folders", "options": {"pattern": "ravdess"}}        03-01-05-01-02-01-12.wav,
 * anywhere
 *   {"layout": "folders", "options": {"pattern": {
 *      "expression": "^(?<speaker>..)_(?<label>.)", "words": {"label": {"a": "angry"}}}}}
 *
 * Without options all files are as deep as each other: one folder above them is the label, two are
 * speaker and label; a folder that holds all the others does not count (archives often have one).
 * With a pattern, each named group of the expression is a fact of the utterance (corpus_list.h),
 * replaced by its word where the group has words; "on": "path" matches the whole path. A file that
 * does not match, or has a value that is not among the words, is an issue and left out.
 *
 * Presets: configs/patterns/; names and codes as published with these corpora. */
#ifndef AFFECT_CORPUS_FOLDERS_H
#define AFFECT_CORPUS_FOLDERS_H

#include "engine/core/fields.h"
#include "engine/core/file.h"
#include "engine/corpus/corpus.h"

extern const affect_field affect_folders_options[]; /* fields of a request's "options" */
affect_status affect_folders_check(const affect_json *options, const char *path, affect_error *err);
bool affect_folders_select(const char *name, char path[AFFECT_PATH_MAX]);
affect_status affect_folders_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                  const affect_json *options, affect_error *err);

#endif
