/* From one dialog's files to its shard; see dialog_features.h. Runs on a worker's thread. */
#include "engine/corpus/dialog_features.h"

#include "engine/core/file.h"
#include "engine/dataset/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARD_FORMAT   1 /* raised when what is computed changes: old shards are not found */
#define MAX_FILE_BYTES (1u << 30) /* of one file that is read into memory */
#define MAX_ROWS_NAMED 20         /* of one motion file */

static bool is_cancelled(const affect_dialog_job *job) {
    return job->cancelled && job->cancelled(job->context);
}

static bool stops_all(affect_status status) {
    return status == AFFECT_STATUS_NO_MEMORY || status == AFFECT_STATUS_CANCELLED;
}

/* ---- the address ---- */

/* Adds the bytes of a file, which are kept where `kept` has room for them. */
static affect_status digest_bytes(affect_digest *digest, uint64_t *n_bytes, char *kept,
                                  const affect_dialog_job *job, const char *path, int fd,
                                  size_t size, affect_error *err) {
    char block[1 << 16], *to = kept ? kept : block;
    affect_status status = AFFECT_STATUS_OK;
    size_t done = 0;
    for (;;) {
        size_t room = kept ? size - done : sizeof block;
        if (kept && room == 0) break;
        ssize_t n = read(fd, to, room < sizeof block ? room : sizeof block);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = affect_error_errno(err, errno, "%s", path);
        if (n > 0 && is_cancelled(job)) status = affect_fail(err, CANCELLED, "cancelled");
        if (n <= 0 || status != AFFECT_STATUS_OK) break;
        affect_digest_update(digest, to, (size_t)n);
        *n_bytes += (uint64_t)n;
        if (*n_bytes > job->max_bytes)
            status = affect_fail(err, TOO_LARGE, "the corpus has more bytes than an import reads");
        done += (size_t)n;
        if (kept) to += n;
    }
    if (kept && status == AFFECT_STATUS_OK) affect_dialog_files_add(job->files, path, done);
    return status;
}

/* Adds path, size and bytes; an absent or unreadable file adds nothing. *found tells which. What is
 * read is kept where there is room. Of a file that may hold all utterances' numbers (is_shared) its
 * own digest is added instead of the bytes: it is read once for all dialogs of a thread. */
static affect_status digest_file(affect_digest *digest, uint64_t *n_bytes, bool *found,
                                 const affect_dialog_job *job, const char *path, bool is_shared,
                                 affect_error *err) {
    char line[AFFECT_PATH_MAX + 32], own[AFFECT_DIGEST_TEXT_SIZE];
    int fd;
    uint64_t size;
    affect_status status = AFFECT_STATUS_OK;
    *found = affect_tree_open_file(&fd, &size, job->corpus->tree, path, NULL) == AFFECT_STATUS_OK;
    if (!*found) return AFFECT_STATUS_OK;
    int length = snprintf(line, sizeof line, "%s %llu\n", path, (unsigned long long)size);
    affect_digest_update(digest, line, (size_t)length);
    if (!is_shared) {
        char *kept = affect_dialog_files_room(job->files, size);
        status = digest_bytes(digest, n_bytes, kept, job, path, fd, (size_t)size, err);
    } else if (!affect_dialog_files_digest(job->files, own, path, size)) {
        affect_digest of_file;
        affect_digest_begin(&of_file);
        status = digest_bytes(&of_file, n_bytes, NULL, job, path, fd, (size_t)size, err);
        affect_digest_end(&of_file, own);
        if (status == AFFECT_STATUS_OK) affect_dialog_files_remember(job->files, path, size, own);
    }
    if (is_shared) affect_digest_update(digest, own, strlen(own));
    close(fd);
    return status;
}

/* Of a ragged feature the utterances' own files, and the dialog's where some are absent; of others
 * the dialog's, and else the utterances'. A file that neighbours share counts once. */
static affect_status digest_stream(affect_digest *digest, uint64_t *n_bytes,
                                   const affect_dialog_job *job, int stream,
                                   const affect_modality *modality, affect_error *err) {
    const char *of_dialog = job->dialog->files[stream], *last = NULL;
    bool found = false, all = true, shared = modality->is_named, is_ragged = modality->is_ragged;
    if (!is_ragged && of_dialog)
        AFFECT_TRY(digest_file(digest, n_bytes, &found, job, of_dialog, shared, err));
    if (found) return AFFECT_STATUS_OK;
    for (size_t i = 0; i < job->dialog->n_utterances; i++) {
        const char *path = job->dialog->utterances[i].files[stream];
        if (path && last && strcmp(path, last) == 0) continue;
        found = false;
        if (path) AFFECT_TRY(digest_file(digest, n_bytes, &found, job, path, shared, err));
        all = all && found;
        last = path;
    }
    if (!is_ragged || all || !of_dialog) return AFFECT_STATUS_OK;
    return digest_file(digest, n_bytes, &found, job, of_dialog, shared, err);
}

affect_status affect_dialog_key(char key[AFFECT_DIGEST_TEXT_SIZE], uint64_t *n_bytes,
                                const affect_dialog_job *job, affect_error *err) {
    affect_digest digest;
    char line[512];
    *n_bytes = 0;
    affect_dialog_files_clear(job->files);
    affect_digest_begin(&digest);
    int n = snprintf(line, sizeof line, "affect shard %d\n%s\n", SHARD_FORMAT, job->dialog->id);
    affect_digest_update(&digest, line, (size_t)n);
    affect_digest_update(&digest, job->features_text, strlen(job->features_text));
    for (size_t i = 0; i < job->dialog->n_utterances; i++) {
        const affect_corpus_utterance *u = &job->dialog->utterances[i];
        n = snprintf(line, sizeof line, "\n%s %a %a%s", u->id, u->start_s, u->end_s,
                     u->is_cut ? " cut" : "");
        affect_digest_update(&digest, line, (size_t)n);
    }
    affect_digest_update(&digest, "\n", 1);
    const affect_sizes *sizes = job->corpus->features;
    int stream = 0;
    for (size_t f = 0; f < sizes->n_features; f++)
        for (size_t k = 0; k < affect_feature_n_streams(&sizes->features[f]); k++)
            AFFECT_TRY(
                digest_stream(&digest, n_bytes, job, stream++, sizes->features[f].modality, err));
    affect_digest_end(&digest, key);
    return AFFECT_STATUS_OK;
}

/* ---- the numbers ---- */

/* One feature of all utterances. */
typedef struct {
    int64_t *offsets; /* ragged alone */
    float *values;    /* of a ragged one it grows */
    size_t capacity;
    float *pad_value;            /* ragged alone */
    uint8_t *missing;            /* else */
    affect_extracted *extracted; /* else: (n) views into values and missing */
} feature_work;

/* Everything of a dialog while it is made. */
typedef struct {
    const affect_dialog_job *job;
    const affect_sizes *sizes;
    size_t n;
    feature_work features[AFFECT_MAX_FEATURES];
    affect_json *ids, *quality;
    affect_issues issues;
    char *recording; /* bytes of the dialog's file of a ragged stream, read when first needed */
    size_t n_recording;
    affect_status recording_status; /* of reading it; BUSY before */
    affect_error recording_error;
    const char *stream_file; /* that the listener's lines belong to */
    size_t n_rejected;       /* of its rows */
} work;

static void free_work(work *w) {
    for (size_t f = 0; f < AFFECT_MAX_FEATURES; f++) {
        free(w->features[f].offsets);
        free(w->features[f].values);
        free(w->features[f].pad_value);
        free(w->features[f].missing);
        free(w->features[f].extracted);
    }
    affect_json_free(w->ids);
    affect_json_free(w->quality);
    affect_issues_free(&w->issues);
    free(w->recording);
}

static affect_status begin_feature(work *w, size_t f, affect_error *err) {
    const affect_feature *feature = &w->sizes->features[f];
    feature_work *to = &w->features[f];
    size_t n = w->n, size = affect_shape_count(feature->shape);
    bool complete;
    if (feature->modality->is_ragged) {
        to->offsets = calloc(n + 1, sizeof *to->offsets);
        to->pad_value = calloc(n + 1, sizeof *to->pad_value);
        complete = to->offsets && to->pad_value;
    } else {
        to->values = calloc(n * size + 1, sizeof *to->values);
        to->missing = calloc(n * size + 1, 1);
        to->extracted = calloc(n + 1, sizeof *to->extracted);
        complete = to->values && to->missing && to->extracted;
    }
    if (!complete) return affect_fail(err, NO_MEMORY, "%s: no memory", w->job->dialog->id);
    for (size_t i = 0; to->extracted && i < n; i++) {
        to->extracted[i] =
            (affect_extracted){.all = to->values + i * size, .missing = to->missing + i * size};
        affect_features_clear(w->job->extractor, f, &to->extracted[i]);
    }
    return AFFECT_STATUS_OK;
}

static affect_status begin_work(work *w, const affect_dialog_job *job, affect_error *err) {
    size_t n = job->dialog->n_utterances;
    *w = (work){.job = job, .n = n, .sizes = affect_feature_extractor_sizes(job->extractor)};
    w->ids = affect_json_new_array();
    w->quality = affect_json_new_array();
    w->issues.rows = affect_json_new_array();
    if (!w->ids || !w->quality || !w->issues.rows)
        return affect_fail(err, NO_MEMORY, "%s: no memory", job->dialog->id);
    for (size_t f = 0; f < w->sizes->n_features; f++) AFFECT_TRY(begin_feature(w, f, err));
    for (size_t i = 0; i < n; i++) {
        affect_json_append(w->ids, affect_json_new_string(job->dialog->utterances[i].id));
        affect_json_append(w->quality, affect_json_new_object());
    }
    return AFFECT_STATUS_OK;
}

/* Rows of a ragged feature behind those of the utterance before. */
static affect_status append_rows(work *w, size_t f, size_t i, const affect_extracted *rows,
                                 affect_error *err) {
    feature_work *to = &w->features[f];
    size_t row = affect_feature_row_size(&w->sizes->features[f]);
    size_t begin = (size_t)to->offsets[i], need = (begin + rows->n_rows) * row;
    if (need > to->capacity) {
        size_t capacity = need + need / 2;
        float *grown = realloc(to->values, capacity * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "%s: no memory", w->job->dialog->id);
        to->values = grown;
        to->capacity = capacity;
    }
    if (rows->n_rows)
        memcpy(to->values + begin * row, rows->values, rows->n_rows * row * sizeof *to->values);
    to->offsets[i + 1] = (int64_t)(begin + rows->n_rows);
    to->pad_value[i] = rows->n_rows ? rows->pad_value : 0;
    return AFFECT_STATUS_OK;
}

/* Readers name a file by the path they were given, ours is of no use to a reader of the report. */
static const char *without_path(const char *message, const char *path) {
    const char *at = *path ? strstr(message, path) : NULL;
    if (!at) return message;
    at += strlen(path);
    return at + strspn(at, ": ");
}

/* ---- Ragged features: a file of each utterance ---- */

/* Where a stream of utterance i is. */
typedef struct {
    affect_source source;
    affect_time_window window; /* the part of it */
    const char *path;          /* of the file, "" without one */
    const char *from;
    char open_path[40]; /* of the source, where it is read by its descriptor */
    int fd;             /* to be closed, or -1 */
    char *owned;        /* to be freed */
} stream_place;

/* A part of a long file, and one that other utterances may be in too, is read through its
 * descriptor, so that the rest of it never is; what was opened and checked is what is read. */
static affect_status open_part(stream_place *place, const affect_dialog_job *job,
                               affect_error *err) {
    AFFECT_TRY(affect_tree_open_file(&place->fd, NULL, job->corpus->tree, place->path, err));
    snprintf(place->open_path, sizeof place->open_path, "/proc/self/fd/%d", place->fd);
    place->source.path = place->open_path;
    return AFFECT_STATUS_OK;
}

static affect_status find_own_file(stream_place *place, const affect_dialog_job *job, bool is_part,
                                   affect_error *err) {
    if (affect_dialog_files_find(job->files, &place->source, place->path)) return AFFECT_STATUS_OK;
    if (is_part) return open_part(place, job, err);
    affect_status status = affect_tree_read(&place->owned, &place->source.size, job->corpus->tree,
                                            place->path, MAX_FILE_BYTES, err);
    place->source.data = place->owned;
    return status;
}

static affect_status find_file(work *w, stream_place *place, const affect_modality *modality,
                               int stream, size_t i, affect_error *err) {
    const affect_dialog_job *job = w->job;
    const affect_corpus_utterance *u = &job->dialog->utterances[i];
    *place = (stream_place){.fd = -1, .path = ""};
    if (u->files[stream]) {
        bool is_part = u->is_cut && modality->window[0];
        place->path = u->files[stream];
        place->from = "sentence";
        if (is_part) place->window = (affect_time_window){true, u->start_s, u->end_s};
        affect_status status = find_own_file(place, job, is_part || modality->is_named, err);
        if (status != AFFECT_STATUS_NOT_FOUND) return status;
    }
    if (!job->dialog->files[stream]) return AFFECT_STATUS_OK; /* absent */
    place->path = job->dialog->files[stream];
    place->from = "dialog";
    place->window = (affect_time_window){true, u->start_s, u->end_s};
    if (affect_dialog_files_find(job->files, &place->source, place->path)) return AFFECT_STATUS_OK;
    if (w->recording_status == AFFECT_STATUS_BUSY)
        w->recording_status = affect_tree_read(&w->recording, &w->n_recording, job->corpus->tree,
                                               place->path, MAX_FILE_BYTES, &w->recording_error);
    if (w->recording_status == AFFECT_STATUS_NOT_FOUND) return AFFECT_STATUS_OK; /* absent */
    if (w->recording_status != AFFECT_STATUS_OK) {
        if (err) *err = w->recording_error;
        return w->recording_status;
    }
    place->source = (affect_source){.data = w->recording, .size = w->n_recording};
    return AFFECT_STATUS_OK;
}

static affect_status read_own(work *w, size_t f, int stream, size_t i, affect_json *quality,
                              affect_error *err) {
    const affect_feature *feature = &w->sizes->features[f];
    affect_extracted rows = {0};
    affect_error found = {0};
    stream_place place;
    affect_status status = find_file(w, &place, feature->modality, stream, i, &found);
    if (status == AFFECT_STATUS_OK) {
        const affect_stream_reading reading = {.source = place.source,
                                               .windows = &place.window,
                                               .n = 1,
                                               .utterance = w->job->dialog->utterances[i].id};
        status = affect_features_read(w->job->extractor, f, &rows, &reading, &found);
    }
    if (place.fd >= 0) close(place.fd);
    free(place.owned);
    if (stops_all(status)) {
        if (err) *err = found;
        return status;
    }
    if (status != AFFECT_STATUS_OK) rows = (affect_extracted){0};
    affect_json *record = affect_json_set(quality, affect_feature_stream(feature, 0).name,
                                          feature->modality->extraction->describe(rows.quality));
    if (status != AFFECT_STATUS_OK) {
        const char *reason = without_path(found.message, place.open_path);
        affect_issues_add(&w->issues, place.path, 0, "%s", reason);
        affect_json_set_string(record, "error", reason);
    } else if (rows.quality[0].present) {
        affect_json_set_string(record, "from", place.from);
    }
    return append_rows(w, f, i, &rows, err);
}

static affect_status read_ragged(work *w, size_t f, int stream, affect_error *err) {
    affect_json *quality = affect_json_first(w->quality);
    affect_status status = AFFECT_STATUS_OK;
    w->recording_status = AFFECT_STATUS_BUSY;
    for (size_t i = 0; i < w->n && status == AFFECT_STATUS_OK;
         i++, quality = affect_json_next(quality))
        status = is_cancelled(w->job) ? affect_fail(err, CANCELLED, "cancelled")
                                      : read_own(w, f, stream, i, quality, err);
    free(w->recording);
    w->recording = NULL;
    return status;
}

/* ---- Others: a file of the dialog in one pass, or of each utterance ---- */

static void on_rejected(void *context, const char *stream, size_t line, const char *reason) {
    work *w = context;
    (void)stream;
    if (++w->n_rejected <= MAX_ROWS_NAMED)
        affect_issues_add(&w->issues, w->stream_file, line, "%s", reason);
    else
        w->issues.n_all++;
}

/* One damaged file must not fill the list: its first rows are named, the others counted. */
static void end_rejected(work *w) {
    if (w->n_rejected <= MAX_ROWS_NAMED) return;
    affect_issues_add(&w->issues, w->stream_file, 0, "and %zu more rows of this file",
                      w->n_rejected - MAX_ROWS_NAMED);
    w->issues.n_all--; /* a remark, not another row */
}

static bool on_progress(void *context, size_t n_bytes) {
    (void)n_bytes;
    return !is_cancelled(((work *)context)->job);
}

/* One file for the n utterances from `first` on. *found: the file is there. */
static affect_status read_file(work *w, bool *found, size_t f, const char *path,
                               const affect_stream_reading *of, size_t first, affect_error *err) {
    const affect_features_listener listener = {w, on_rejected, on_progress};
    int fd = -1;
    char open_path[40] = "/proc/self/fd/";
    affect_stream_reading reading = *of;
    affect_error failure = {0};
    affect_status status = AFFECT_STATUS_OK;
    reading.listener = &listener;
    if (!affect_dialog_files_find(w->job->files, &reading.source, path)) {
        status = affect_tree_open_file(&fd, NULL, w->job->corpus->tree, path, &failure);
        /* Through the descriptor, so that what was checked is what is read. */
        snprintf(open_path, sizeof open_path, "/proc/self/fd/%d", fd);
        reading.source = (affect_source){.path = open_path};
    }
    *found = status != AFFECT_STATUS_NOT_FOUND;
    if (!*found) return AFFECT_STATUS_OK;
    w->stream_file = path;
    w->n_rejected = 0;
    if (status == AFFECT_STATUS_OK)
        status = affect_features_read(w->job->extractor, f, w->features[f].extracted + first,
                                      &reading, &failure);
    end_rejected(w);
    if (fd >= 0) close(fd);
    if (stops_all(status)) {
        if (err) *err = failure;
        return status;
    }
    if (status != AFFECT_STATUS_OK)
        affect_issues_add(&w->issues, path, 0, "%s", without_path(failure.message, open_path));
    return AFFECT_STATUS_OK;
}

static affect_status read_stream(work *w, size_t f, size_t k, int stream, affect_error *err) {
    const affect_corpus_dialog *dialog = w->job->dialog;
    bool found = false;
    affect_status status = AFFECT_STATUS_OK;
    affect_time_window *windows = calloc(w->n + 1, sizeof *windows);
    if (!windows) return affect_fail(err, NO_MEMORY, "%s: no memory", dialog->id);
    for (size_t i = 0; i < w->n; i++)
        windows[i] =
            (affect_time_window){true, dialog->utterances[i].start_s, dialog->utterances[i].end_s};
    const affect_stream_reading of_dialog = {.stream = k, .windows = windows, .n = w->n};
    if (dialog->files[stream])
        status = read_file(w, &found, f, dialog->files[stream], &of_dialog, 0, err);
    free(windows);
    if (found || status != AFFECT_STATUS_OK) return status;
    const affect_time_window everything = {0};
    const affect_stream_reading own = {.stream = k, .windows = &everything, .n = 1};
    for (size_t i = 0; i < w->n && status == AFFECT_STATUS_OK; i++) {
        const char *path = dialog->utterances[i].files[stream];
        if (path) status = read_file(w, &found, f, path, &own, i, err);
    }
    return status;
}

/* Whether a file of any of its streams is named, there or not. */
static bool is_named(const affect_corpus_dialog *dialog, int first, size_t n_streams) {
    for (int stream = first; stream < first + (int)n_streams; stream++) {
        if (dialog->files[stream]) return true;
        for (size_t i = 0; i < dialog->n_utterances; i++)
            if (dialog->utterances[i].files[stream]) return true;
    }
    return false;
}

static affect_status read_even(work *w, size_t f, int first, affect_error *err) {
    const affect_feature *feature = &w->sizes->features[f];
    feature_work *to = &w->features[f];
    size_t n_streams = affect_feature_n_streams(feature);
    if (!is_named(w->job->dialog, first, n_streams)) { /* a shard without any */
        free(to->values);
        free(to->missing);
        to->values = NULL;
        to->missing = NULL;
        return AFFECT_STATUS_OK;
    }
    for (size_t k = 0; k < n_streams; k++) AFFECT_TRY(read_stream(w, f, k, first + (int)k, err));
    affect_json *quality = affect_json_first(w->quality);
    for (size_t i = 0; i < w->n; i++, quality = affect_json_next(quality))
        for (size_t k = 0; k < n_streams; k++)
            affect_json_set(quality, affect_feature_stream(feature, k).name,
                            feature->modality->extraction->describe(&to->extracted[i].quality[k]));
    return AFFECT_STATUS_OK;
}

/* ---- All of it ---- */

static affect_status write_shard(const work *w, const char *path, affect_error *err) {
    affect_shard_content content = {.n_utterances = w->n,
                                    .sizes = w->sizes,
                                    .features = w->job->features,
                                    .utterances = w->ids,
                                    .quality = w->quality,
                                    .rejected = w->issues.rows,
                                    .n_rejected = w->issues.n_all};
    for (size_t f = 0; f < w->sizes->n_features; f++)
        content.values[f] = (affect_shard_values){.offsets = w->features[f].offsets,
                                                  .values = w->features[f].values,
                                                  .pad_value = w->features[f].pad_value,
                                                  .missing = w->features[f].missing};
    return affect_shard_write(path, &content, err);
}

affect_status affect_dialog_compute(const affect_dialog_job *job, const char *path,
                                    affect_error *err) {
    work w;
    int stream = 0;
    affect_status status = begin_work(&w, job, err);
    for (size_t f = 0; status == AFFECT_STATUS_OK && f < w.sizes->n_features; f++) {
        const affect_feature *feature = &w.sizes->features[f];
        status = feature->modality->is_ragged ? read_ragged(&w, f, stream, err)
                                              : read_even(&w, f, stream, err);
        stream += (int)affect_feature_n_streams(feature);
    }
    if (status == AFFECT_STATUS_OK) status = write_shard(&w, path, err);
    free_work(&w);
    return status;
}
