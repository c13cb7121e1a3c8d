/* The import; see import.h.
 *
 * Three stages: find the tree (unpacking an archive first), make the shards that are not in the
 * store yet, write the manifest. In the second, each of n_threads threads takes the next dialog
 * until none is left; a thread holds one dialog's features and one of its files' rows at a time.
 * Which thread took which dialog never shows in a result: shards are addressed by content, and the
 * manifest is written in the order of dialogs. */
#include "engine/corpus/import.h"

#include "engine/core/clock.h"
#include "engine/core/fields.h"
#include "engine/core/parallel.h"
#include "engine/corpus/archive.h"
#include "engine/corpus/dialog_features.h"
#include "engine/corpus/manifest.h"
#include "engine/corpus/reader.h"
#include "engine/dataset/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGING_MARK ".affect-staging"

/* ---- options ---- */

static const affect_field option_fields[] = {
    AFFECT_FIELD_STRING(affect_import_options, type, "import", "kind of job"),
    AFFECT_FIELD_STRING(affect_import_options, job, "", "id of the job"),
    AFFECT_FIELD_STRING(affect_import_options, name, "dataset", "name of the dataset"),
    AFFECT_FIELD_STRING(affect_import_options, layout, "iemocap", "layout of the source"),
    AFFECT_FIELD_STRING(affect_import_options, store, "", "folder of the feature store"),
    AFFECT_FIELD_STRING(affect_import_options, output, "", "folder of the dataset"),
    AFFECT_FIELD_STRING(affect_import_options, staging, "", "folder that archives unpack into"),
    AFFECT_FIELD_INTEGER(affect_import_options, threads, 0, 0, 1024, "0: all cores"),
    AFFECT_FIELD_INTEGER(affect_import_options, max_file_bytes, INT64_C(2) << 30, 1,
                         INT64_C(1) << 50, "bytes of one file of the source"),
    AFFECT_FIELD_INTEGER(affect_import_options, max_bytes, INT64_C(64) << 30, 1, INT64_C(1) << 50,
                         "bytes of all its files that are read"),
    AFFECT_FIELD_JSON(affect_import_options, source, "{\"path\": ...} or {\"archive\": ...}"),
    AFFECT_FIELD_JSON(affect_import_options, options, "of the layout"),
    AFFECT_FIELD_JSON(affect_import_options, features, "feature config"),
    AFFECT_FIELD_JSON(affect_import_options, labels, "label map"),
    AFFECT_FIELD_END};

typedef struct {
    char root[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX], archive[AFFECT_PATH_MAX];
} source_spec;

static const affect_field source_fields[] = {
    AFFECT_FIELD_STRING(source_spec, root, "", "a folder that path is below"),
    AFFECT_FIELD_STRING(source_spec, path, "", "a folder"),
    AFFECT_FIELD_STRING(source_spec, archive, "", "a tar, tar.gz, tar.zst or zip"),
    AFFECT_FIELD_END};

void affect_import_options_default(affect_import_options *options) {
    *options = (affect_import_options){0};
    affect_fields_default(options, option_fields);
}

void affect_import_options_free(affect_import_options *options) {
    affect_fields_free(options, option_fields);
}

static affect_status parse_source(affect_import_options *options, affect_error *err) {
    source_spec source;
    affect_fields_default(&source, source_fields);
    AFFECT_TRY(affect_fields_parse(&source, source_fields, options->source, "/source", err));
    if (!*source.path == !*source.archive)
        return affect_field_fail(err, "", "source", "needs exactly one of \"path\", \"archive\"");
    options->is_archive = *source.archive != '\0';
    if (*source.root && options->is_archive)
        return affect_field_fail(err, "/source", "root", "goes with \"path\" alone");
    strcpy(options->root, source.root);
    strcpy(options->path, options->is_archive ? source.archive : source.path);
    return AFFECT_STATUS_OK;
}

static bool is_name(const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return *name && strchr(letters, *name) && !name[strspn(name, all)];
}

static affect_status check_texts(const affect_import_options *options, affect_error *err) {
    affect_status status = AFFECT_STATUS_OK;
    if (strcmp(options->type, "import") != 0)
        AFFECT_CHECK(
            status, err,
            affect_field_fail(err, "", "type", "is \"%s\" (need \"import\")", options->type));
    if (!options->reader) {
        char names[128];
        affect_corpus_reader_names(names);
        AFFECT_CHECK(status, err,
                     affect_field_fail(err, "", "layout", "\"%s\" is not known (known: %s)",
                                       options->layout, names));
    } else {
        AFFECT_CHECK(status, err, options->reader->check(options->options, "/options", err));
    }
    if (!is_name(options->name))
        AFFECT_CHECK(status, err,
                     affect_field_fail(err, "", "name", "\"%s\" is not [A-Za-z0-9][A-Za-z0-9._-]*",
                                       options->name));
    if (!*options->store)
        AFFECT_CHECK(status, err, affect_field_fail(err, "", "store", "is missing"));
    if (!*options->output)
        AFFECT_CHECK(status, err, affect_field_fail(err, "", "output", "is missing"));
    return status;
}

/* The map of the request, or that of its layout. */
static affect_status parse_labels(affect_label_map *labels, const affect_import_options *options,
                                  affect_error *err) {
    const char *text = options->labels || !options->reader ? NULL : options->reader->labels;
    if (!text) return affect_label_map_parse(labels, options->labels, "/labels", err);
    affect_json *own = NULL;
    AFFECT_TRY(affect_json_parse(&own, text, strlen(text), err));
    affect_status status = affect_label_map_parse(labels, own, "/labels", err);
    affect_json_free(own);
    return status;
}

affect_status affect_import_options_parse(affect_import_options *options, const affect_json *json,
                                          affect_error *err) {
    affect_feature_config config;
    affect_label_map labels;
    affect_import_options_default(options);
    affect_status status = affect_fields_parse(options, option_fields, json, "", err);
    options->reader = affect_corpus_reader_find(options->layout);
    AFFECT_CHECK(status, err, check_texts(options, err));
    AFFECT_CHECK(status, err, parse_source(options, err));
    affect_feature_config_default(&config);
    AFFECT_CHECK(status, err,
                 affect_feature_config_parse(&config, options->features, "/features", err));
    AFFECT_CHECK(status, err, parse_labels(&labels, options, err));
    return status;
}

/* ---- the run ---- */

typedef struct {
    const affect_import_options *options;
    const affect_import_callbacks *callbacks;
    affect_feature_config config;
    affect_json *features; /* the complete config */
    char *features_text;
    affect_sizes sizes;
    affect_label_map labels;
    affect_corpus corpus;
    affect_issues issues;
    affect_shard_key *keys; /* (n_dialogs) */
    bool is_staged;         /* the staging folder is of this run */
    atomic_size_t next;     /* the next dialog to be taken */
    atomic_bool stopped;
    pthread_mutex_t lock; /* guards the callbacks and everything below */
    affect_status status; /* the first failure */
    affect_error error;
    size_t n_done, n_utterances; /* utterances */
    size_t n_reused, n_computed; /* shards */
    uint64_t n_bytes;
} import_run;

static bool is_cancelled(void *context) {
    import_run *run = context;
    if (atomic_load_explicit(&run->stopped, memory_order_relaxed)) return true;
    if (!run->callbacks->cancelled) return false;
    pthread_mutex_lock(&run->lock);
    bool cancelled = run->callbacks->cancelled(run->callbacks->context);
    pthread_mutex_unlock(&run->lock);
    return cancelled;
}

static void tell_progress(import_run *run, const char *stage, size_t done, size_t total) {
    if (run->callbacks->progress)
        run->callbacks->progress(run->callbacks->context, stage, done, total);
}

static void tell_warning(import_run *run, const char *message) {
    if (run->callbacks->warning) run->callbacks->warning(run->callbacks->context, message);
}

/* A shard that is there and holds together; anything else is made again. */
static bool is_made(import_run *run, const affect_corpus_dialog *dialog, const char *path) {
    affect_error why = {0};
    affect_shard *shard = NULL;
    affect_status status = affect_shard_open(&shard, path, &run->sizes, &why);
    if (status == AFFECT_STATUS_OK) status = affect_shard_verify(shard, &why);
    bool same =
        status == AFFECT_STATUS_OK && affect_shard_n_utterances(shard) == dialog->n_utterances;
    for (size_t i = 0; same && i < dialog->n_utterances; i++)
        same = strcmp(affect_shard_utterance(shard, i), dialog->utterances[i].id) == 0;
    affect_shard_close(shard);
    if (!same && status != AFFECT_STATUS_NOT_FOUND) {
        pthread_mutex_lock(&run->lock);
        tell_warning(run, "a damaged shard of the store is made again");
        pthread_mutex_unlock(&run->lock);
    }
    return same;
}

static uint64_t bytes_left(import_run *run) {
    pthread_mutex_lock(&run->lock);
    uint64_t limit = (uint64_t)run->options->max_bytes, read = run->n_bytes;
    pthread_mutex_unlock(&run->lock);
    return limit > read ? limit - read : 0;
}

static affect_status fail_too_large(const import_run *run, affect_error *err) {
    return affect_fail(err, TOO_LARGE, "the corpus' files have more than %" PRId64 " bytes",
                       run->options->max_bytes);
}

static affect_status import_dialog(import_run *run, affect_feature_extractor *extractor,
                                   affect_dialog_files *files, size_t index, affect_error *err) {
    const affect_corpus_dialog *dialog = &run->corpus.dialogs[index];
    const affect_dialog_job job = {.corpus = &run->corpus,
                                   .dialog = dialog,
                                   .extractor = extractor,
                                   .files = files,
                                   .features = run->features,
                                   .features_text = run->features_text,
                                   .max_bytes = bytes_left(run),
                                   .context = run,
                                   .cancelled = is_cancelled};
    char path[AFFECT_PATH_MAX];
    uint64_t n_bytes = 0;
    affect_status status = affect_dialog_key(run->keys[index], &n_bytes, &job, err);
    if (status == AFFECT_STATUS_TOO_LARGE) return fail_too_large(run, err);
    if (status != AFFECT_STATUS_OK) return status;
    AFFECT_TRY(
        affect_path_join(path, err, run->options->store, "%s.safetensors", run->keys[index]));
    bool made = is_made(run, dialog, path);
    if (!made) AFFECT_TRY(affect_dialog_compute(&job, path, err));
    pthread_mutex_lock(&run->lock);
    run->n_bytes += n_bytes;
    bool too_large = run->n_bytes > (uint64_t)run->options->max_bytes; /* threads, all together */
    *(made ? &run->n_reused : &run->n_computed) += 1;
    run->n_done += dialog->n_utterances;
    tell_progress(run, "import", run->n_done, run->n_utterances);
    pthread_mutex_unlock(&run->lock);
    return too_large ? fail_too_large(run, err) : AFFECT_STATUS_OK;
}

static void keep_failure(import_run *run, affect_status status, const affect_error *error) {
    if (status == AFFECT_STATUS_OK) return;
    pthread_mutex_lock(&run->lock);
    if (run->status == AFFECT_STATUS_OK) {
        run->status = status;
        run->error = *error;
    }
    pthread_mutex_unlock(&run->lock);
    atomic_store(&run->stopped, true);
}

/* One thread's share: dialogs, until none is left or another thread failed. */
static void import_dialogs(void *context, size_t begin, size_t end, int thread) {
    import_run *run = context;
    affect_feature_extractor *extractor = NULL;
    affect_dialog_files *files = NULL;
    affect_error error = {0};
    (void)thread;
    if (begin == end) return;
    affect_status status = affect_feature_extractor_create(&extractor, &run->config, &error);
    if (status == AFFECT_STATUS_OK) status = affect_dialog_files_create(&files, &error);
    while (status == AFFECT_STATUS_OK) {
        size_t index = atomic_fetch_add(&run->next, 1);
        if (index >= run->corpus.n_dialogs) break;
        status = is_cancelled(run) ? affect_fail(&error, CANCELLED, "cancelled")
                                   : import_dialog(run, extractor, files, index, &error);
    }
    keep_failure(run, status, &error);
    affect_dialog_files_free(files);
    affect_feature_extractor_free(extractor);
}

static affect_status make_shards(import_run *run, affect_error *err) {
    affect_parallel *pool = NULL;
    run->keys = calloc(run->corpus.n_dialogs, sizeof *run->keys);
    if (!run->keys) return affect_fail(err, NO_MEMORY, "no memory");
    for (size_t d = 0; d < run->corpus.n_dialogs; d++)
        run->n_utterances += run->corpus.dialogs[d].n_utterances;
    AFFECT_TRY(affect_parallel_create(&pool, (int)run->options->threads, err));
    tell_progress(run, "import", 0, run->n_utterances);
    affect_parallel_for(pool, (size_t)affect_parallel_n_threads(pool), import_dialogs, run);
    affect_parallel_free(pool);
    if (run->status != AFFECT_STATUS_OK && err) *err = run->error;
    return run->status;
}

/* ---- archives ---- */

static bool select_entry(void *context, const char *name, char path[AFFECT_PATH_MAX]) {
    const import_run *run = context;
    return run->options->reader->select(name, path);
}

static void unpack_progress(void *context, double done, double total) {
    tell_progress(context, "unpacking", (size_t)(done / 1e6), (size_t)(total / 1e6) + 1);
}

/* A new folder with a mark in it. The mark tells what a killed run left, which is removed, from a
 * folder of the user's, which is not. */
static affect_status begin_staging(const char *staging, affect_error *err) {
    char mark[AFFECT_PATH_MAX], parent[AFFECT_PATH_MAX];
    AFFECT_TRY(affect_path_join(mark, err, staging, STAGING_MARK));
    if (affect_file_exists(mark)) AFFECT_TRY(affect_directory_remove(staging, err));
    strcpy(parent, staging);
    AFFECT_TRY(affect_directory_make(dirname(parent), err));
    rmdir(staging); /* killed before the mark: empty */
    if (mkdir(staging, 0755) == 0) return affect_file_write(mark, "", 0, err);
    if (errno != EEXIST) return affect_error_errno(err, errno, "%s", staging);
    return affect_fail(err, CONFLICT,
                       "%s: is there already and was not made by an import (it is left as it is; "
                       "unpacking needs a new folder)",
                       staging);
}

static affect_status unpack(import_run *run, const char *staging, affect_error *err) {
    const affect_archive_callbacks callbacks = {.context = run,
                                                .select = select_entry,
                                                .progress = unpack_progress,
                                                .cancelled = is_cancelled};
    AFFECT_TRY(begin_staging(staging, err));
    run->is_staged = true;
    affect_archive_limits limits = affect_archive_limits_default();
    limits.file_bytes = (uint64_t)run->options->max_file_bytes;
    limits.total_bytes = (uint64_t)run->options->max_bytes;
    return affect_archive_unpack(NULL, run->options->path, staging, &limits, &callbacks, err);
}

/* ---- all of it ---- */

static affect_status write_result(affect_json **result, import_run *run, double started,
                                  affect_error *err) {
    const affect_import_options *options = run->options;
    affect_json *manifest = NULL;
    const affect_manifest_input input = {.name = options->name,
                                         .layout = options->layout,
                                         .directory = options->output,
                                         .store = options->store,
                                         .features = run->features,
                                         .labels = &run->labels,
                                         .corpus = &run->corpus,
                                         .keys = run->keys,
                                         .issues = &run->issues};
    AFFECT_TRY(affect_manifest_write(&manifest, &input, err));
    affect_json *report = affect_json_detach(manifest, "report");
    for (const affect_json *w = affect_json_first(affect_json_get(report, "warnings")); w;
         w = affect_json_next(w))
        tell_warning(run, affect_json_string(w, ""));
    static const char *const lists[] = {"dropped", "rejected", "warnings"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        affect_json_free(affect_json_detach(report, lists[i]));
    affect_json_set_string(report, "name", options->name);
    affect_json_set_string(report, "digest", affect_json_get_string(manifest, "digest", ""));
    affect_json_set_string(report, "dataset", options->output);
    affect_json *shards = affect_json_set_object(report, "shards");
    affect_json_set_number(shards, "total", (double)run->corpus.n_dialogs);
    affect_json_set_number(shards, "reused", (double)run->n_reused);
    affect_json_set_number(shards, "computed", (double)run->n_computed);
    affect_json_set_number(report, "read_bytes", (double)run->n_bytes);
    affect_json_set_number(report, "seconds", affect_clock_seconds() - started);
    affect_json_free(manifest);
    *result = report;
    return AFFECT_STATUS_OK;
}

static affect_status prepare(import_run *run, affect_error *err) {
    const affect_import_options *options = run->options;
    affect_feature_config_default(&run->config);
    AFFECT_TRY(affect_feature_config_parse(&run->config, options->features, "/features", err));
    AFFECT_TRY(parse_labels(&run->labels, options, err));
    run->sizes = affect_feature_config_sizes(&run->config);
    run->features = affect_feature_config_to_json(&run->config);
    run->features_text = affect_feature_config_text(&run->config);
    if (!run->features || !run->features_text) return affect_fail(err, NO_MEMORY, "no memory");
    AFFECT_TRY(affect_directory_make(options->output, err));
    return affect_directory_make(options->store, err);
}

static affect_status set_all_labels(import_run *run, affect_error *err) {
    const affect_corpus *corpus = &run->corpus;
    affect_status status = AFFECT_STATUS_OK;
    size_t n = 0, all = 0;
    for (size_t d = 0; d < corpus->n_dialogs; d++) all += corpus->dialogs[d].n_utterances;
    const char **labels = calloc(all + 1, sizeof *labels);
    if (!labels) return affect_fail(err, NO_MEMORY, "no memory for %zu labels", all);
    for (size_t d = 0; d < corpus->n_dialogs; d++)
        for (size_t u = 0; u < corpus->dialogs[d].n_utterances; u++)
            labels[n++] = corpus->dialogs[d].utterances[u].label;
    status = affect_label_map_set_all(&run->labels, labels, n, err);
    free(labels);
    return status;
}

static affect_status import_all(affect_json **result, import_run *run, const char *staging,
                                affect_error *err) {
    double started = affect_clock_seconds();
    const affect_import_options *options = run->options;
    affect_tree *folder = NULL;
    AFFECT_TRY(prepare(run, err));
    if (options->is_archive) AFFECT_TRY(unpack(run, staging, err));
    if (*options->root)
        AFFECT_TRY(affect_tree_open(&folder, options->root, options->path, err));
    else
        AFFECT_TRY(
            affect_tree_open(&folder, options->is_archive ? staging : options->path, NULL, err));
    affect_tree_limit_files(folder, (uint64_t)options->max_file_bytes);
    AFFECT_TRY(affect_corpus_open(&run->corpus, &run->issues, options->reader, folder,
                                  options->options, &run->sizes, err));
    if (run->labels.all) AFFECT_TRY(set_all_labels(run, err));
    AFFECT_TRY(make_shards(run, err));
    return write_result(result, run, started, err);
}

affect_status affect_import_run(affect_json **result, const affect_import_options *options,
                                const affect_import_callbacks *callbacks, affect_error *err) {
    static const affect_import_callbacks none;
    char staging[AFFECT_PATH_MAX];
    if (*options->staging)
        strcpy(staging, options->staging);
    else
        AFFECT_TRY(affect_path_join(staging, err, options->output, AFFECT_IMPORT_STAGING));
    import_run run = {.options = options, .callbacks = callbacks ? callbacks : &none};
    pthread_mutex_init(&run.lock, NULL);
    affect_status status = import_all(result, &run, staging, err);
    if (run.is_staged) affect_directory_remove(staging, NULL);
    if (status != AFFECT_STATUS_OK) rmdir(options->output); /* only if it is empty */
    affect_corpus_close(&run.corpus);
    affect_issues_free(&run.issues);
    affect_json_free(run.features);
    free(run.features_text);
    free(run.keys);
    pthread_mutex_destroy(&run.lock);
    return status;
}
