/* The manifest of a dataset; see manifest.h. Runs on one thread, after all shards are written. */
#include "engine/corpus/manifest.h"

#include "engine/core/file.h"
#include "engine/dataset/shard.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNTS = 8 /* of a modality's quality_counts */ };

/* Names, borrowed, repeated as often as they occur. */
typedef struct {
    const char **names; /* (utterances of the corpus) */
    size_t n;
} name_list;

typedef struct {
    const affect_manifest_input *input;
    affect_json *utterances; /* kept rows: [{...}], in the order of dialogs */
    affect_json *report;
    affect_json *dropped, *warnings;
    size_t n_of_class[AFFECT_MAX_CLASSES], n_of_stream[AFFECT_MAX_INPUT_STREAMS];
    size_t n_counted[AFFECT_MAX_FEATURES][MAX_COUNTS]; /* as the modality's counts */
    double seconds[AFFECT_MAX_FEATURES];
    name_list labels, sessions, speakers; /* one name an utterance, counted at the end */
    affect_issues rejected;
    size_t n_kept, n_rated, n_own, n_improvised, n_scripted, n_warnings;
    size_t n_without_speaker, n_transcripts;
} builder;

static void warn(builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(builder *b, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (b->n_warnings++ < AFFECT_ISSUES_KEPT)
        affect_json_append(b->warnings, affect_json_new_string(text));
}

static const affect_json *quality_of(const affect_json *quality, const affect_feature *feature,
                                     size_t stream) {
    return affect_json_get(quality, affect_feature_stream(feature, stream).name);
}

/* Why an utterance is left out, or NULL. */
static const char *reason_to_drop(char text[300], const affect_sizes *sizes,
                                  const affect_corpus_utterance *u, int label,
                                  const affect_json *quality) {
    bool any = false;
    if (label < 0) {
        snprintf(text, 300, "label %s not in the label map", u->label);
        return text;
    }
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_feature *feature = &sizes->features[f];
        for (size_t s = 0; s < affect_feature_n_streams(feature); s++) {
            const affect_json *of = quality_of(quality, feature, s);
            const char *name = affect_feature_stream(feature, s).name;
            const char *error = affect_json_get_string(of, "error", NULL);
            if (error && feature->modality->must_be_readable) {
                snprintf(text, 300, "%s cannot be read: %.200s", name, error);
                return text;
            }
            bool has_data = affect_quality_has_data(of);
            if (!has_data && feature->modality->must_be_present) {
                snprintf(text, 300, "no %s", name);
                return text;
            }
            any = any || has_data;
        }
    }
    return any ? NULL : "no sound file and no rows of motion";
}

static void drop(builder *b, const affect_corpus_utterance *u, const char *reason) {
    affect_json *row = affect_json_append(b->dropped, affect_json_new_object());
    affect_json_set_string(row, "utterance", u->id);
    affect_json_set_string(row, "label", u->label);
    affect_json_set_string(row, "reason", reason);
}

static void set_known(affect_json *row, const char *name, const char *text) {
    if (*text) affect_json_set_string(row, name, text);
}

static void describe(affect_json *row, const affect_corpus_dialog *dialog,
                     const affect_corpus_utterance *u) {
    affect_json_set_string(row, "id", u->id);
    affect_json_set_string(row, "raw_label", u->label);
    set_known(row, "dialog", dialog->is_dialog ? dialog->id : "");
    set_known(row, "session", dialog->session);
    set_known(row, "scenario", dialog->scenario);
    set_known(row, "speaker", u->speaker);
    set_known(row, "wearer", dialog->wearer);
    if (*dialog->wearer) affect_json_set_bool(row, "own_motion", u->own_motion);
    if (dialog->improvised || dialog->scripted)
        affect_json_set_bool(row, "improvised", dialog->improvised);
    if (u->end_s > 0) {
        affect_json_set_number(row, "start", u->start_s);
        affect_json_set_number(row, "end", u->end_s);
    }
    if (u->attributes || u->valence > 0 || u->activation > 0 || u->dominance > 0) {
        affect_json_set_number(row, "valence", u->valence);
        affect_json_set_number(row, "activation", u->activation);
        affect_json_set_number(row, "dominance", u->dominance);
    }
    if (u->transcript) affect_json_set_string(row, "transcript", u->transcript);
    if (u->votes) affect_json_set(row, "votes", affect_json_copy(u->votes));
    if (u->attributes) affect_json_set(row, "attributes", affect_json_copy(u->attributes));
    if (u->columns) affect_json_set(row, "columns", affect_json_copy(u->columns));
}

static bool is_counted(const affect_quality_count *count, const affect_json *quality) {
    if (!count->value) return affect_json_get_bool(quality, count->member, false);
    return strcmp(affect_json_get_string(quality, count->member, ""), count->value) == 0;
}

static void count_streams(builder *b, const affect_json *quality) {
    const affect_sizes *sizes = b->input->corpus->features;
    size_t stream = 0;
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_modality *m = sizes->features[f].modality;
        for (size_t s = 0; s < affect_feature_n_streams(&sizes->features[f]); s++) {
            const affect_json *of = quality_of(quality, &sizes->features[f], s);
            b->n_of_stream[stream++] += affect_quality_has_data(of);
            b->seconds[f] += affect_json_get_number(of, "seconds", 0);
            for (int c = 0; m->counts && m->counts[c].member; c++)
                b->n_counted[f][c] += is_counted(&m->counts[c], of);
        }
    }
}

static void count_kept(builder *b, const affect_corpus_dialog *dialog,
                       const affect_corpus_utterance *u, int label, const affect_json *quality) {
    b->n_of_class[label]++;
    if (*dialog->session) b->sessions.names[b->sessions.n++] = dialog->session;
    if (*u->speaker)
        b->speakers.names[b->speakers.n++] = u->speaker;
    else
        b->n_without_speaker++;
    b->n_kept++;
    b->n_own += u->own_motion;
    b->n_improvised += dialog->improvised;
    b->n_scripted += dialog->scripted;
    b->n_transcripts += u->transcript != NULL;
    count_streams(b, quality);
}

static void keep(builder *b, const affect_corpus_dialog *dialog, size_t dialog_index, size_t index,
                 int label, const affect_json *quality) {
    const affect_corpus_utterance *u = &dialog->utterances[index];
    affect_json *row = affect_json_append(b->utterances, affect_json_new_object());
    affect_json_set_string(row, "label", b->input->labels->classes[label]);
    affect_json_set_number(row, "shard", (double)dialog_index);
    affect_json_set_number(row, "index", (double)index);
    describe(row, dialog, u);
    affect_json *streams = affect_json_set_array(row, "streams");
    const affect_sizes *sizes = b->input->corpus->features;
    for (size_t f = 0; f < sizes->n_features; f++)
        for (size_t s = 0; s < affect_feature_n_streams(&sizes->features[f]); s++)
            if (affect_quality_has_data(quality_of(quality, &sizes->features[f], s)))
                affect_json_append(
                    streams,
                    affect_json_new_string(affect_feature_stream(&sizes->features[f], s).name));
    affect_json_set(row, "quality", affect_json_copy(quality));
    count_kept(b, dialog, u, label, quality);
}

static bool has_any_file(const affect_json *quality, const affect_feature *feature) {
    for (size_t s = 0; s < affect_feature_n_streams(feature); s++)
        if (affect_json_get_bool(quality_of(quality, feature, s), "present", false)) return true;
    return false;
}

static affect_status add_dialog(builder *b, size_t dialog_index, affect_error *err) {
    const affect_corpus_dialog *dialog = &b->input->corpus->dialogs[dialog_index];
    const affect_sizes *sizes = b->input->corpus->features;
    char path[AFFECT_PATH_MAX], text[300];
    affect_shard *shard = NULL;
    bool any_of[AFFECT_MAX_FEATURES] = {false};
    AFFECT_TRY(affect_path_join(path, err, b->input->store, "%s.safetensors",
                                b->input->keys[dialog_index]));
    AFFECT_TRY(affect_shard_open(&shard, path, sizes, err));
    const affect_json *quality = affect_json_first(affect_shard_quality(shard));
    for (size_t i = 0; i < dialog->n_utterances; i++, quality = affect_json_next(quality)) {
        const affect_corpus_utterance *u = &dialog->utterances[i];
        int label = affect_label_map_class(b->input->labels, u->label);
        const char *reason = reason_to_drop(text, sizes, u, label, quality);
        b->n_rated++;
        b->labels.names[b->labels.n++] = u->label;
        for (size_t f = 0; f < sizes->n_features; f++)
            any_of[f] = any_of[f] || has_any_file(quality, &sizes->features[f]);
        if (reason)
            drop(b, u, reason);
        else
            keep(b, dialog, dialog_index, i, label, quality);
    }
    affect_issues_join(&b->rejected, affect_shard_rejected(shard), affect_shard_n_rejected(shard));
    affect_shard_close(shard);
    int stream = 0;
    for (size_t f = 0; f < sizes->n_features; f++) {
        const affect_feature *feature = &sizes->features[f];
        if (!feature->modality->is_ragged && !any_of[f] && dialog->files[stream])
            warn(b, "%s: no %s of its own", dialog->id, feature->name);
        stream += (int)affect_feature_n_streams(feature);
    }
    return AFFECT_STATUS_OK;
}

static void add_warnings(builder *b) {
    const affect_label_map *labels = b->input->labels;
    for (size_t c = 0; c < labels->n_classes; c++)
        if (!b->n_of_class[c]) warn(b, "class %s has no utterances", labels->classes[c]);
    if (b->n_without_speaker)
        warn(b, "%zu utterances name no speaker: no split by speaker is possible",
             b->n_without_speaker);
    for (size_t f = 0; f < b->input->corpus->features->n_features; f++) {
        const affect_quality_count *counts =
            b->input->corpus->features->features[f].modality->counts;
        for (int c = 0; counts && counts[c].member; c++)
            if (b->n_counted[f][c]) warn(b, "%zu %s", b->n_counted[f][c], counts[c].warning);
    }
}

static size_t count_dialogs(const affect_corpus *corpus) {
    size_t n = 0;
    for (size_t d = 0; d < corpus->n_dialogs; d++) n += corpus->dialogs[d].is_dialog;
    return n;
}

static size_t count_utterances(const affect_corpus *corpus) {
    size_t n = 0;
    for (size_t d = 0; d < corpus->n_dialogs; d++) n += corpus->dialogs[d].n_utterances;
    return n;
}

static bool begin_report(builder *b) {
    name_list *lists[] = {&b->labels, &b->sessions, &b->speakers};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        lists[i]->names = calloc(count_utterances(b->input->corpus) + 1, sizeof(char *));
        if (!lists[i]->names) return false;
    }
    b->utterances = affect_json_new_array();
    b->report = affect_json_new_object();
    b->dropped = affect_json_set_array(b->report, "dropped");
    b->warnings = affect_json_set_array(b->report, "warnings");
    return b->utterances && b->warnings;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A member of the report: how often each name occurs, in the order of names. */
static void set_counts(affect_json *report, const char *member, name_list *list) {
    affect_json *counts = affect_json_set_object(report, member);
    if (list->n) qsort(list->names, list->n, sizeof *list->names, compare_names);
    for (size_t begin = 0, end; begin < list->n; begin = end) {
        for (end = begin + 1; end < list->n; end++)
            if (strcmp(list->names[begin], list->names[end]) != 0) break;
        affect_json_add(counts, list->names[begin], affect_json_new_number((double)(end - begin)));
    }
}

static void end_report(builder *b) {
    const affect_sizes *sizes = b->input->corpus->features;
    const affect_label_map *labels = b->input->labels;
    affect_json *report = b->report;
    affect_json_set_number(report, "utterances", (double)b->n_kept);
    affect_json_set_number(report, "rated", (double)b->n_rated);
    affect_json_set_number(report, "dialogs", (double)count_dialogs(b->input->corpus));
    affect_json_set_number(report, "improvised", (double)b->n_improvised);
    affect_json_set_number(report, "scripted", (double)b->n_scripted);
    affect_json_set_number(report, "transcripts", (double)b->n_transcripts);
    for (size_t f = 0; f < sizes->n_features; f++)
        if (sizes->features[f].modality->hours)
            affect_json_set_number(report, sizes->features[f].modality->hours,
                                   b->seconds[f] / 3600);
    affect_json_set_number(report, "n_dropped", (double)affect_json_size(b->dropped));
    affect_json_set_number(report, "n_rejected", (double)b->rejected.n_all);
    affect_json_set_number(report, "n_warnings", (double)b->n_warnings);
    affect_json *rows = b->rejected.rows ? b->rejected.rows : affect_json_new_array();
    b->rejected.rows = NULL;
    affect_json_set(report, "rejected", rows);
    affect_json *classes = affect_json_set_object(report, "classes");
    for (size_t c = 0; c < labels->n_classes; c++)
        affect_json_set_number(classes, labels->classes[c], (double)b->n_of_class[c]);
    set_counts(report, "labels", &b->labels);
    set_counts(report, "sessions", &b->sessions);
    set_counts(report, "speakers", &b->speakers);
    affect_json *streams = affect_json_set_object(report, "streams");
    size_t stream = 0;
    for (size_t f = 0; f < sizes->n_features; f++)
        for (size_t s = 0; s < affect_feature_n_streams(&sizes->features[f]); s++)
            affect_json_set_number(streams, affect_feature_stream(&sizes->features[f], s).name,
                                   (double)b->n_of_stream[stream++]);
    affect_json_set_number(streams, "own_motion", (double)b->n_own);
}

static int compare_rows(const affect_json *a, const affect_json *b) {
    return strcmp(affect_json_get_string(a, "id", ""), affect_json_get_string(b, "id", ""));
}

/* `store` as seen from `directory`; both exist. Absolute only when there is no other way. */
static affect_status relative_path(char path[AFFECT_PATH_MAX], const char *directory,
                                   const char *store, affect_error *err) {
    char *from = realpath(directory, NULL), *to = realpath(store, NULL);
    affect_status status = AFFECT_STATUS_OK;
    if (!from || !to) status = affect_error_errno(err, errno, "%s", from ? store : directory);
    if (status == AFFECT_STATUS_OK) {
        size_t common = 0, used = 0;
        for (size_t i = 0; from[i] == to[i] || !from[i] || !to[i]; i++) {
            if ((from[i] == '/' || !from[i]) && (to[i] == '/' || !to[i])) common = i;
            if (!from[i] || !to[i]) break;
        }
        path[0] = '\0';
        for (const char *c = from + common; *c; c++)
            if (*c == '/' && c[1] && used + 4 < AFFECT_PATH_MAX)
                used += (size_t)sprintf(path + used, "%s..", used ? "/" : "");
        const char *rest = to + common + strspn(to + common, "/");
        if (used + strlen(rest) + 2 >= AFFECT_PATH_MAX)
            status = affect_fail(err, INVALID, "%s: path too long", store);
        else
            sprintf(path + used, "%s%s", used && *rest ? "/" : "", *rest || used ? rest : ".");
    }
    free(from);
    free(to);
    return status;
}

/* Takes the rows and the report over: of large corpora there is room for one of each. */
static affect_json *build_document(builder *b) {
    const affect_manifest_input *input = b->input;
    affect_json *document = affect_json_new_object();
    affect_json_set(document, "features", affect_json_copy(input->features));
    affect_json_set(document, "sizes", affect_sizes_to_json(input->corpus->features));
    affect_json_set(document, "labels", affect_label_map_to_json(input->labels));
    affect_json *classes = affect_json_set_array(document, "classes");
    for (size_t c = 0; c < input->labels->n_classes; c++)
        affect_json_append(classes, affect_json_new_string(input->labels->classes[c]));
    affect_json *shards = affect_json_set_array(document, "shards");
    for (size_t d = 0; d < input->corpus->n_dialogs; d++)
        affect_json_append(shards, affect_json_new_string(input->keys[d]));
    bool sorted = affect_json_sort(b->utterances, compare_rows);
    affect_json_set(document, "utterances", b->utterances);
    b->utterances = NULL;
    if (sorted) return document;
    affect_json_free(document);
    return NULL;
}

/* The digest is of what training depends on: not of the dataset's name, place or report. */
static bool set_digest(affect_json *document) {
    char digest[AFFECT_DIGEST_TEXT_SIZE];
    if (affect_digest_json(digest, document, NULL) != AFFECT_STATUS_OK) return false;
    affect_json_set_string(document, "digest", digest);
    return true;
}

static affect_status write_document(builder *b, affect_json *document, affect_error *err) {
    char path[AFFECT_PATH_MAX], store[AFFECT_PATH_MAX];
    AFFECT_TRY(relative_path(store, b->input->directory, b->input->store, err));
    if (!set_digest(document)) return affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    affect_json_set_string(document, "format", "affect-dataset");
    affect_json_set_number(document, "version", 1);
    affect_json_set_string(document, "name", b->input->name);
    affect_json_set_string(document, "layout", b->input->layout);
    affect_json_set_string(document, "store", store);
    affect_json_set(document, "report", b->report);
    b->report = NULL;
    AFFECT_TRY(affect_path_join(path, err, b->input->directory, "dataset.json"));
    char *text = affect_json_text(document);
    if (!text || !affect_json_get(document, "report")) {
        free(text);
        return affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    }
    affect_status status = affect_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static affect_status fail_empty(const builder *b, affect_error *err) {
    const affect_json *first = affect_json_first(b->dropped);
    return affect_fail(err, INVALID, "no utterance is left of %zu%s%s%s%s", b->n_rated,
                       first ? ": the first, " : "", affect_json_get_string(first, "utterance", ""),
                       first ? ": " : "", affect_json_get_string(first, "reason", ""));
}

affect_status affect_manifest_write(affect_json **manifest, const affect_manifest_input *input,
                                    affect_error *err) {
    builder b = {.input = input};
    affect_json *document = NULL;
    affect_status status = AFFECT_STATUS_OK;
    if (!begin_report(&b)) status = affect_fail(err, NO_MEMORY, "dataset.json: no memory");
    if (input->issues->rows)
        affect_issues_join(&b.rejected, input->issues->rows, input->issues->n_all);
    for (size_t d = 0; d < input->corpus->n_dialogs && status == AFFECT_STATUS_OK; d++)
        status = add_dialog(&b, d, err);
    if (status == AFFECT_STATUS_OK && b.n_kept == 0) status = fail_empty(&b, err);
    if (status == AFFECT_STATUS_OK) {
        add_warnings(&b);
        end_report(&b);
        document = build_document(&b);
        status = write_document(&b, document, err);
    }
    affect_json_free(b.utterances);
    affect_json_free(b.report);
    affect_issues_free(&b.rejected);
    free(b.labels.names);
    free(b.sessions.names);
    free(b.speakers.names);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(document);
        return status;
    }
    *manifest = document;
    return AFFECT_STATUS_OK;
}
