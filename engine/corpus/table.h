/* The reader "table": a list of utterances beside their sound files, CSV or TSV with a header
 * (csv.h), or JSON lines.
 *
 *   {"layout": "table"}                                      the one .csv, .tsv or .jsonl file in
 * it
 *   {"layout": "table", "options": {"file": "labels/train.csv", "audio": "wav",
 *      "columns": {"file": "FileName", "label": "EmoClass", "dialog": "dia{Dialogue_ID}"},
 *      "words": {"label": {"A": "angry"}}, "unknown": {"speaker": "Unknown"}}}
 *   {"layout": "table", "options": {"columns": "meld"}}      a preset of columns and words
 *
 * Columns say what facts they are (corpus_list.h) by their names, in any case; `columns` says it
 * for others: a name, or a text with names in braces. Other columns are kept with the utterance.
 * "label_map": a file of {value: label} in the table's folder, as EmoBox has them; a value that is
 * neither of it is an issue. "unknown": values that mean that a fact is not known. Paths are
 * relative to the table's folder, and below `audio` there. A row that is malformed, names no file
 * that is there or has no label is an issue with its line and left out.
 *
 * Presets: meld, msp-podcast, emobox. */
#ifndef AFFECT_CORPUS_TABLE_H
#define AFFECT_CORPUS_TABLE_H

#include "engine/core/fields.h"
#include "engine/core/file.h"
#include "engine/corpus/corpus.h"

extern const affect_field affect_table_options[]; /* fields of a request's "options" */
affect_status affect_table_check(const affect_json *options, const char *path, affect_error *err);
bool affect_table_select(const char *name, char path[AFFECT_PATH_MAX]);
affect_status affect_table_open(affect_corpus *corpus, affect_issues *issues, affect_tree *folder,
                                const affect_json *options, affect_error *err);

#endif
