/* From one dialog's files to its shard; see dialog_features.h. Runs on a worker's thread. */
#include "engine/corpus/dialog_features.h"

#include "engine/dataset/shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARD_FORMAT    1 /* raised when what is computed changes: old shards are not found */
#define MAX_SOUND_BYTES (1u << 30) /* of one sound file */
#define MAX_ROWS_NAMED  20         /* of one motion file */

static const affect_corpus_stream stream_of[AFFECT_MOCAP_KIND_COUNT] = {
    [AFFECT_MOCAP_FACE] = AFFECT_CORPUS_FACE,
    [AFFECT_MOCAP_HEAD] = AFFECT_CORPUS_HEAD,
    [AFFECT_MOCAP_HAND] = AFFECT_CORPUS_HAND};

static bool is_cancelled(const affect_dialog_job *job) {
    return job->cancelled && job->cancelled(job->context);
}

static bool stops_all(affect_status status) {
    return status == AFFECT_STATUS_NO_MEMORY || status == AFFECT_STATUS_CANCELLED;
}

/* ---- the address ---- */

/* Adds path, size and bytes; an absent or unreadable file adds nothing. *found tells which. What is
 * read is kept where there is room. */
static affect_status digest_file(affect_digest *digest, uint64_t *n_bytes, bool *found,
                                 const affect_dialog_job *job, const char *path,
                                 affect_error *err) {
    char block[1 << 16];
    int fd;
    uint64_t size;
    *found = affect_tree_open_file(&fd, &size, job->corpus->tree, path, NULL) == AFFECT_STATUS_OK;
    if (!*found) return AFFECT_STATUS_OK;
    int length = snprintf(block, sizeof block, "%s %llu\n", path, (unsigned long long)size);
    affect_digest_update(digest, block, (size_t)length);
    affect_status status = AFFECT_STATUS_OK;
    char *kept = affect_dialog_files_room(job->files, size), *to = kept ? kept : block;
    size_t done = 0;
    for (;;) {
        size_t room = kept ? (size_t)size - done : sizeof block;
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
    close(fd);
    if (kept && status == AFFECT_STATUS_OK) affect_dialog_files_add(job->files, path, done);
    return status;
}

/* The dialog's file of a stream, or else its utterances'. For sound it is the other way round: the
 * dialog's recording stands in for sentences that are absent. A file that neighbours share counts
 * once. */
static affect_status digest_stream(affect_digest *digest, uint64_t *n_bytes,
                                   const affect_dialog_job *job, affect_corpus_stream stream,
                                   affect_error *err) {
    const char *of_dialog = job->dialog->files[stream], *last = NULL;
    bool found = false, all = true, is_sound = stream == AFFECT_CORPUS_SOUND;
    if (!is_sound && of_dialog)
        AFFECT_TRY(digest_file(digest, n_bytes, &found, job, of_dialog, err));
    if (found) return AFFECT_STATUS_OK;
    for (size_t i = 0; i < job->dialog->n_utterances; i++) {
        const char *path = job->dialog->utterances[i].files[stream];
        if (path && last && strcmp(path, last) == 0) continue;
        found = false;
        if (path) AFFECT_TRY(digest_file(digest, n_bytes, &found, job, path, err));
        all = all && found;
        last = path;
    }
    if (!is_sound || all || !of_dialog) return AFFECT_STATUS_OK;
    return digest_file(digest, n_bytes, &found, job, of_dialog, err);
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
    for (int stream = 0; stream < AFFECT_CORPUS_STREAM_COUNT; stream++)
        AFFECT_TRY(digest_stream(&digest, n_bytes, job, (affect_corpus_stream)stream, err));
    affect_digest_end(&digest, key);
    return AFFECT_STATUS_OK;
}

/* ---- the numbers ---- */

/* Everything of a dialog while it is made. */
typedef struct {
    const affect_dialog_job *job;
    affect_feature_sizes sizes;
    size_t n;
    int64_t *offsets;
    float *mel; /* grows */
    size_t mel_capacity;
    float *pad_value, *motion;
    uint8_t *missing;
    affect_motion_features *views; /* into motion and missing */
    affect_json *ids, *quality;
    affect_issues issues;
    char *recording; /* bytes of the dialog's sound, read when first needed */
    size_t n_recording;
    affect_status recording_status; /* of reading it; BUSY before */
    affect_error recording_error;
    const char *stream_file; /* that the listener's lines belong to */
    size_t n_rejected;       /* of its rows */
} work;

static void free_work(work *w) {
    free(w->offsets);
    free(w->mel);
    free(w->pad_value);
    free(w->motion);
    free(w->missing);
    free(w->views);
    affect_json_free(w->ids);
    affect_json_free(w->quality);
    affect_issues_free(&w->issues);
    free(w->recording);
}

static affect_status begin_work(work *w, const affect_dialog_job *job, affect_error *err) {
    size_t n = job->dialog->n_utterances;
    *w = (work){.job = job, .n = n, .recording_status = AFFECT_STATUS_BUSY};
    w->sizes = affect_feature_config_sizes(affect_feature_extractor_config(job->extractor));
    size_t n_motion = w->sizes.n_parts * w->sizes.n_columns;
    w->offsets = calloc(n + 1, sizeof *w->offsets);
    w->pad_value = calloc(n + 1, sizeof *w->pad_value);
    w->motion = calloc(n * n_motion + 1, sizeof *w->motion);
    w->missing = calloc(n * n_motion + 1, 1);
    w->views = calloc(n + 1, sizeof *w->views);
    w->ids = affect_json_new_array();
    w->quality = affect_json_new_array();
    w->issues.rows = affect_json_new_array();
    if (!w->offsets || !w->pad_value || !w->motion || !w->missing || !w->views || !w->ids ||
        !w->quality || !w->issues.rows)
        return affect_fail(err, NO_MEMORY, "%s: no memory", job->dialog->id);
    for (size_t i = 0; i < n; i++) {
        w->views[i].motion = w->motion + i * n_motion;
        w->views[i].missing = w->missing + i * n_motion;
        affect_features_clear_motion(job->extractor, &w->views[i]);
        affect_json_append(w->ids, affect_json_new_string(job->dialog->utterances[i].id));
        affect_json_append(w->quality, affect_json_new_object());
    }
    return AFFECT_STATUS_OK;
}

static affect_status append_mel(work *w, size_t i, const affect_audio_features *audio,
                                affect_error *err) {
    size_t begin = (size_t)w->offsets[i], need = (begin + audio->n_frames) * w->sizes.n_mels;
    if (need > w->mel_capacity) {
        size_t capacity = need + need / 2;
        float *grown = realloc(w->mel, capacity * sizeof *grown);
        if (!grown) return affect_fail(err, NO_MEMORY, "%s: no memory", w->job->dialog->id);
        w->mel = grown;
        w->mel_capacity = capacity;
    }
    if (audio->n_frames)
        memcpy(w->mel + begin * w->sizes.n_mels, audio->mel,
               audio->n_frames * w->sizes.n_mels * sizeof *w->mel);
    w->offsets[i + 1] = (int64_t)(begin + audio->n_frames);
    w->pad_value[i] = audio->n_frames ? audio->pad_value : 0;
    return AFFECT_STATUS_OK;
}

/* Readers name a file by the path they were given, ours is of no use to a reader of the report. */
static const char *without_path(const char *message, const char *path) {
    const char *at = *path ? strstr(message, path) : NULL;
    if (!at) return message;
    at += strlen(path);
    return at + strspn(at, ": ");
}

/* Where the sound of utterance i is. */
typedef struct {
    affect_source source;
    affect_time_window window; /* the part of it */
    const char *path;          /* of the file, "" without one */
    const char *from;
    char open_path[40]; /* of the source, where it is read by its descriptor */
    int fd;             /* to be closed, or -1 */
    char *owned;        /* to be freed */
} sound_place;

/* A part of a long file is read through its descriptor, so that the rest of it never is; what was
 * opened and checked is what is read. */
static affect_status open_part(sound_place *place, const affect_dialog_job *job,
                               affect_error *err) {
    AFFECT_TRY(affect_tree_open_file(&place->fd, NULL, job->corpus->tree, place->path, err));
    snprintf(place->open_path, sizeof place->open_path, "/proc/self/fd/%d", place->fd);
    place->source.path = place->open_path;
    return AFFECT_STATUS_OK;
}

static affect_status find_own_sound(sound_place *place, const affect_dialog_job *job,
                                    const affect_corpus_utterance *u, affect_error *err) {
    place->path = u->files[AFFECT_CORPUS_SOUND];
    place->from = "sentence";
    if (u->is_cut) place->window = (affect_time_window){true, u->start_s, u->end_s};
    if (affect_dialog_files_find(job->files, &place->source, place->path)) return AFFECT_STATUS_OK;
    if (u->is_cut) return open_part(place, job, err);
    affect_status status = affect_tree_read(&place->owned, &place->source.size, job->corpus->tree,
                                            place->path, MAX_SOUND_BYTES, err);
    place->source.data = place->owned;
    return status;
}

static affect_status find_sound(work *w, sound_place *place, size_t i, affect_error *err) {
    const affect_dialog_job *job = w->job;
    const affect_corpus_utterance *u = &job->dialog->utterances[i];
    *place = (sound_place){.fd = -1, .path = ""};
    if (u->files[AFFECT_CORPUS_SOUND]) {
        affect_status status = find_own_sound(place, job, u, err);
        if (status != AFFECT_STATUS_NOT_FOUND) return status;
    }
    if (!job->dialog->files[AFFECT_CORPUS_SOUND]) return AFFECT_STATUS_OK; /* absent */
    place->path = job->dialog->files[AFFECT_CORPUS_SOUND];
    place->from = "dialog";
    place->window = (affect_time_window){true, u->start_s, u->end_s};
    if (affect_dialog_files_find(job->files, &place->source, place->path)) return AFFECT_STATUS_OK;
    if (w->recording_status == AFFECT_STATUS_BUSY)
        w->recording_status = affect_tree_read(&w->recording, &w->n_recording, job->corpus->tree,
                                               place->path, MAX_SOUND_BYTES, &w->recording_error);
    if (w->recording_status == AFFECT_STATUS_NOT_FOUND) return AFFECT_STATUS_OK; /* absent */
    if (w->recording_status != AFFECT_STATUS_OK) {
        if (err) *err = w->recording_error;
        return w->recording_status;
    }
    place->source = (affect_source){.data = w->recording, .size = w->n_recording};
    return AFFECT_STATUS_OK;
}

static affect_status read_sound(work *w, size_t i, affect_json *quality, affect_error *err) {
    affect_audio_features audio = {0};
    affect_error found = {0};
    sound_place place;
    affect_status status = find_sound(w, &place, i, &found);
    if (status == AFFECT_STATUS_OK)
        status = affect_features_read_audio(w->job->extractor, &audio, place.source, place.window,
                                            &found);
    if (place.fd >= 0) close(place.fd);
    free(place.owned);
    if (stops_all(status)) {
        if (err) *err = found;
        return status;
    }
    if (status != AFFECT_STATUS_OK) audio = (affect_audio_features){0};
    affect_json *sound =
        affect_json_set(quality, "audio", affect_audio_quality_to_json(&audio.quality));
    if (status != AFFECT_STATUS_OK) {
        const char *reason = without_path(found.message, place.open_path);
        affect_issues_add(&w->issues, place.path, 0, "%s", reason);
        affect_json_set_string(sound, "error", reason);
    } else if (audio.quality.present) {
        affect_json_set_string(sound, "from", place.from);
    }
    return append_mel(w, i, &audio, err);
}

static affect_status read_sounds(work *w, affect_error *err) {
    affect_json *quality = affect_json_first(w->quality);
    for (size_t i = 0; i < w->n; i++, quality = affect_json_next(quality)) {
        if (is_cancelled(w->job)) return affect_fail(err, CANCELLED, "cancelled");
        AFFECT_TRY(read_sound(w, i, quality, err));
    }
    return AFFECT_STATUS_OK;
}

static void on_rejected(void *context, affect_mocap_kind kind, size_t line, const char *reason) {
    work *w = context;
    (void)kind;
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

static affect_status read_motion_source(work *w, affect_mocap_kind kind, const char *path,
                                        affect_source source, affect_motion_features *views,
                                        const affect_time_window *windows, size_t n,
                                        affect_error *err) {
    const affect_features_listener listener = {w, on_rejected, on_progress};
    w->stream_file = path;
    w->n_rejected = 0;
    affect_status status = affect_features_read_motion(w->job->extractor, views, windows, n, kind,
                                                       source, &listener, err);
    end_rejected(w);
    return status;
}

/* One motion file for some utterances. *found: the file is there. */
static affect_status read_motion_file(work *w, bool *found, affect_mocap_kind kind,
                                      const char *path, affect_motion_features *views,
                                      const affect_time_window *windows, size_t n,
                                      affect_error *err) {
    int fd = -1;
    char open_path[40] = "/proc/self/fd/";
    affect_source source = {.path = open_path};
    affect_error failure = {0};
    affect_status status = AFFECT_STATUS_OK;
    if (!affect_dialog_files_find(w->job->files, &source, path)) {
        status = affect_tree_open_file(&fd, NULL, w->job->corpus->tree, path, &failure);
        /* Through the descriptor, so that what was checked is what is read. */
        snprintf(open_path, sizeof open_path, "/proc/self/fd/%d", fd);
    }
    *found = status != AFFECT_STATUS_NOT_FOUND;
    if (!*found) return AFFECT_STATUS_OK;
    if (status == AFFECT_STATUS_OK)
        status = read_motion_source(w, kind, path, source, views, windows, n, &failure);
    if (fd >= 0) close(fd);
    if (stops_all(status)) {
        if (err) *err = failure;
        return status;
    }
    if (status != AFFECT_STATUS_OK)
        affect_issues_add(&w->issues, path, 0, "%s", without_path(failure.message, open_path));
    return AFFECT_STATUS_OK;
}

static affect_status read_motion(work *w, affect_mocap_kind kind, affect_error *err) {
    const affect_corpus_dialog *dialog = w->job->dialog;
    affect_corpus_stream stream = stream_of[kind];
    bool found = false;
    affect_status status = AFFECT_STATUS_OK;
    affect_time_window *windows = calloc(w->n + 1, sizeof *windows);
    if (!windows) return affect_fail(err, NO_MEMORY, "%s: no memory", dialog->id);
    for (size_t i = 0; i < w->n; i++)
        windows[i] =
            (affect_time_window){true, dialog->utterances[i].start_s, dialog->utterances[i].end_s};
    if (dialog->files[stream])
        status =
            read_motion_file(w, &found, kind, dialog->files[stream], w->views, windows, w->n, err);
    free(windows);
    if (found || status != AFFECT_STATUS_OK) return status;
    const affect_time_window everything = {0};
    for (size_t i = 0; i < w->n && status == AFFECT_STATUS_OK; i++) {
        const char *path = dialog->utterances[i].files[stream];
        if (path)
            status = read_motion_file(w, &found, kind, path, &w->views[i], &everything, 1, err);
    }
    return status;
}

/* Whether a file of motion is named, there or not. */
static bool has_motion(const affect_corpus_dialog *dialog) {
    for (int kind = 0; kind < AFFECT_MOCAP_KIND_COUNT; kind++) {
        if (dialog->files[stream_of[kind]]) return true;
        for (size_t i = 0; i < dialog->n_utterances; i++)
            if (dialog->utterances[i].files[stream_of[kind]]) return true;
    }
    return false;
}

static affect_status read_motions(work *w, affect_error *err) {
    if (!has_motion(w->job->dialog)) return AFFECT_STATUS_OK;
    for (int kind = 0; kind < AFFECT_MOCAP_KIND_COUNT; kind++)
        AFFECT_TRY(read_motion(w, (affect_mocap_kind)kind, err));
    affect_json *quality = affect_json_first(w->quality);
    for (size_t i = 0; i < w->n; i++, quality = affect_json_next(quality))
        for (int kind = 0; kind < AFFECT_MOCAP_KIND_COUNT; kind++)
            affect_json_set(quality, affect_mocap_kind_name((affect_mocap_kind)kind),
                            affect_motion_quality_to_json(&w->views[i].quality[kind]));
    return AFFECT_STATUS_OK;
}

static affect_status write_shard(const work *w, const char *path, affect_error *err) {
    const affect_shard_content content = {
        .n_utterances = w->n,
        .sizes = {w->sizes.n_frames, w->sizes.n_mels, w->sizes.n_parts, w->sizes.n_columns},
        .offsets = w->offsets,
        .mel = w->mel,
        .pad_value = w->pad_value,
        .motion = has_motion(w->job->dialog) ? w->motion : NULL,
        .missing = has_motion(w->job->dialog) ? w->missing : NULL,
        .features = w->job->features,
        .utterances = w->ids,
        .quality = w->quality,
        .rejected = w->issues.rows,
        .n_rejected = w->issues.n_all};
    return affect_shard_write(path, &content, err);
}

affect_status affect_dialog_compute(const affect_dialog_job *job, const char *path,
                                    affect_error *err) {
    work w;
    affect_status status = begin_work(&w, job, err);
    if (status == AFFECT_STATUS_OK) status = read_sounds(&w, err);
    if (status == AFFECT_STATUS_OK) status = read_motions(&w, err);
    if (status == AFFECT_STATUS_OK) status = write_shard(&w, path, err);
    free_work(&w);
    return status;
}
