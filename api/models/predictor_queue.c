/* Predictions that wait: copied into sealed shared memory, kept in a list in the order of their
 * arrival, taken out in batches of one model. Any thread submits, the predictor's thread takes. */
#include "api/models/predictor_state.h"
#include "engine/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void api_predictor_wake(api_predictor *predictor) {
    uint64_t one = 1;
    if (write(predictor->wake_fd, &one, sizeof one) < 0) { /* full: it is awake */
    }
}

/* ---- A request ---- */

static void free_request(api_prediction *r) {
    if (!r) return;
    affect_file_close(&r->memory_fd);
    free(r);
}

void api_prediction_finish(api_prediction *r, affect_status status, affect_json *result,
                           const affect_error *error) {
    r->done(r->context, status, result, error);
    free_request(r);
}

void api_prediction_fail(api_prediction *r, affect_status status, const char *message) {
    affect_error error = {0};
    affect_error_set(&error, status, "%s", message);
    api_prediction_finish(r, status, NULL, &error);
}

static affect_status write_all(int fd, const char *data, size_t size, affect_error *err) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return affect_error_errno(err, errno, "shared memory of a prediction");
        data += n;
        size -= (size_t)n;
    }
    return AFFECT_STATUS_OK;
}

static affect_status copy_file(int to, const char *path, affect_error *err) {
    char bytes[1 << 16];
    int from = -1;
    affect_status status = affect_file_open(&from, NULL, path, err);
    if (status != AFFECT_STATUS_OK) return affect_fail(err, INTERNAL, "a spooled part is gone");
    while (status == AFFECT_STATUS_OK) {
        ssize_t n = read(from, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = affect_error_errno(err, errno, "a spooled part");
        if (n <= 0) break;
        status = write_all(to, bytes, (size_t)n, err);
    }
    close(from);
    return status;
}

/* All parts, one behind the other, in memory that no process can change any more. */
static affect_status fill_memory(api_prediction *r, const api_predictor_request *given,
                                 affect_error *err) {
    if (given->n_parts > API_PREDICTOR_MAX_PARTS)
        return affect_fail(err, INVALID, "at most %d parts", API_PREDICTOR_MAX_PARTS);
    r->memory_fd = memfd_create("prediction", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->memory_fd < 0) return affect_error_errno(err, errno, "shared memory of a prediction");
    size_t offset = 0;
    for (size_t i = 0; i < given->n_parts; i++) {
        const api_predictor_part *part = &given->parts[i];
        snprintf(r->parts[i].name, sizeof r->parts[i].name, "%s", part->name);
        r->parts[i].offset = offset;
        r->parts[i].size = part->size;
        offset += part->size;
        AFFECT_TRY(part->data ? write_all(r->memory_fd, part->data, part->size, err)
                              : copy_file(r->memory_fd, part->path, err));
    }
    r->n_parts = given->n_parts;
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (fcntl(r->memory_fd, F_ADD_SEALS, seals) != 0)
        return affect_error_errno(err, errno, "sealing a prediction's memory");
    return AFFECT_STATUS_OK;
}

/* ---- In ---- */

/* Whether one more may wait; asked before the parts are copied too, so that a full queue costs
 * nothing. */
static affect_status check_room(api_predictor *predictor, affect_error *err) {
    int n_queued = predictor->counts.n_queued;
    if (predictor->stopping) return affect_fail(err, CANCELLED, "the server is stopping");
    if (n_queued < predictor->options.max_queued) return AFFECT_STATUS_OK;
    predictor->counts.n_refused++;
    return affect_fail(err, BUSY, "%d predictions wait already (at most %d)", n_queued,
                       predictor->options.max_queued);
}

static affect_status enqueue(api_predictor *predictor, api_prediction *r, affect_error *err) {
    pthread_mutex_lock(&predictor->lock);
    affect_status status = check_room(predictor, err);
    if (status == AFFECT_STATUS_OK && r) {
        r->id = ++predictor->next_id;
        *predictor->last = r;
        predictor->last = &r->next;
        predictor->counts.n_queued++;
    }
    pthread_mutex_unlock(&predictor->lock);
    return status;
}

affect_status api_predictor_submit(api_predictor *predictor, const api_predictor_request *given,
                                   affect_error *err) {
    AFFECT_TRY(enqueue(predictor, NULL, err));
    api_prediction *r = calloc(1, sizeof *r);
    if (!r) return affect_fail(err, NO_MEMORY, "no memory for a prediction");
    r->memory_fd = -1;
    snprintf(r->model, sizeof r->model, "%s", given->model);
    memcpy(r->windows, given->windows, sizeof r->windows);
    r->calibrated = given->calibrated;
    r->submitted = affect_clock_seconds();
    r->deadline = r->submitted + predictor->options.deadline_s;
    r->done = given->done;
    r->gone = given->gone;
    r->context = given->context;
    affect_status status = fill_memory(r, given, err);
    if (status == AFFECT_STATUS_OK) status = enqueue(predictor, r, err);
    if (status != AFFECT_STATUS_OK)
        free_request(r);
    else
        api_predictor_wake(predictor);
    return status;
}

/* ---- Out; the predictor's thread ---- */

/* Takes *at out of the queue, which is locked; the caller repairs `last`. */
static api_prediction *unlink_at(api_predictor *predictor, api_prediction **at) {
    api_prediction *r = *at;
    *at = r->next;
    r->next = NULL;
    predictor->counts.n_queued--;
    return r;
}

static void repair_last(api_predictor *predictor) {
    predictor->last = &predictor->first;
    while (*predictor->last) predictor->last = &(*predictor->last)->next;
}

void api_predictor_sweep(api_predictor *predictor, double now) {
    api_prediction *out = NULL;
    pthread_mutex_lock(&predictor->lock);
    for (api_prediction **at = &predictor->first; *at;) {
        bool late = now >= (*at)->deadline, gone = (*at)->gone && (*at)->gone((*at)->context);
        if (!late && !gone) {
            at = &(*at)->next;
            continue;
        }
        *(gone ? &predictor->counts.n_left : &predictor->counts.n_expired) += 1;
        api_prediction *r = unlink_at(predictor, at);
        r->next = out;
        out = r;
    }
    if (out) repair_last(predictor);
    pthread_mutex_unlock(&predictor->lock);
    for (api_prediction *r = out, *next; r; r = next) {
        next = r->next;
        if (now >= r->deadline)
            api_prediction_fail(r, AFFECT_STATUS_TIMEOUT,
                                "the prediction waited too long for its turn");
        else
            api_prediction_fail(r, AFFECT_STATUS_CANCELLED, "the client left");
    }
}

static size_t count_of_model(const api_predictor *predictor, const char *model) {
    size_t n = 0;
    for (const api_prediction *r = predictor->first; r; r = r->next)
        n += strcmp(r->model, model) == 0;
    return n;
}

/* How many of the head's model to take now; 0: wait, the window is open. Batch peers are waited for
 * only where the last batch had some: a lone client's request goes at once. */
static size_t choose_size(api_predictor *predictor, int n_idle, double now) {
    const api_prediction *head = predictor->first;
    size_t most = (size_t)predictor->options.max_batch, n = count_of_model(predictor, head->model);
    double due = head->submitted + predictor->options.batch_window_s;
    if (n < most && now < due && predictor->last_batch > 1) {
        predictor->next_due = due;
        return 0;
    }
    size_t share = (n + (size_t)n_idle - 1) / (size_t)n_idle;
    return share < most ? share : most;
}

static void count_batch(api_predictor_counts *counts, size_t n) {
    int bucket = 0;
    while (bucket < API_PREDICTOR_BUCKETS - 1 && n > (size_t)1 << bucket) bucket++;
    counts->batches[bucket]++;
    counts->n_predictions += n;
}

api_prediction *api_predictor_take_batch(api_predictor *predictor, int n_idle, double now) {
    api_prediction *batch = NULL, **end = &batch;
    pthread_mutex_lock(&predictor->lock);
    size_t size = predictor->first ? choose_size(predictor, n_idle, now) : 0, n = 0;
    for (api_prediction **at = &predictor->first; *at && n < size;) {
        if (batch && strcmp((*at)->model, batch->model) != 0) {
            at = &(*at)->next;
            continue;
        }
        *end = unlink_at(predictor, at);
        predictor->counts.wait_s += now - (*end)->submitted;
        end = &(*end)->next;
        n++;
    }
    if (n) {
        repair_last(predictor);
        count_batch(&predictor->counts, n);
        predictor->last_batch = n;
    }
    pthread_mutex_unlock(&predictor->lock);
    return batch;
}

api_prediction *api_predictor_take_one(api_predictor *predictor) {
    pthread_mutex_lock(&predictor->lock);
    api_prediction *r = predictor->first ? unlink_at(predictor, &predictor->first) : NULL;
    repair_last(predictor);
    pthread_mutex_unlock(&predictor->lock);
    return r;
}
