/* What corpus readers share: options, presets, which files they read. */
#ifndef AFFECT_CORPUS_READING_H
#define AFFECT_CORPUS_READING_H

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/corpus/tree.h"

/* For readers without options: INVALID when there are some. */
affect_status affect_corpus_no_options(const affect_json *options, const char *path,
                                       affect_error *err);

/* The embedded preset FOLDER/NAME.json that `name` (a string) names; *json owned. INVALID at path
 * when there is none, with the names that there are. */
affect_status affect_corpus_preset(affect_json **json, const char *folder, const affect_json *name,
                                   const char *path, affect_error *err);
/* Whether a name ends as a file of sound that libsndfile reads (.wav, .flac, .ogg, .opus, .mp3,
 * .aiff, ...), in either case. */
bool affect_corpus_is_sound(const char *name);
/* Whether a path of an archive may be kept as it is: UTF-8 without control characters, no part that
 * begins with a dot, short enough. */
bool affect_corpus_keep_path(const char *name, char path[AFFECT_PATH_MAX]);
/* Replaces a folder by the one folder in it, when there is nothing else; where folders are labels,
 * only when that holds no sound. */
affect_status affect_corpus_descend(affect_tree **tree, bool folders_are_labels, affect_error *err);

/* Makes the first alternative of a schema, a text, one of the presets' names. */
void affect_corpus_add_preset_names(affect_json *schema, const char *folder);

#endif
