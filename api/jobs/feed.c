/* The feed; see feed.h.
 *
 * The one lock is held for memory only, never across a read of the store: a handler's thread reads
 * a job's row to make a channel, and the first block of a reader that is behind; the replay thread
 * reads all later blocks. An HTTP thread that finds a reader behind its channel's tail queues it
 * there and parks; it is woken when the block is in memory.
 *
 * A channel is entered in the list before its row is read, so that what is published meanwhile is
 * appended to it; the row only ever moves it forward. A reader that leaves while the replay thread
 * works for it is freed by that thread. */
#include "api/jobs/feed.h"

#include "api/store/store_jobs.h"
#include "engine/core/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TAIL_EVENTS = 256,  /* of a channel, at most */
    REPLAY_EVENTS = 64, /* read from the store at once */
};
#define TAIL_BYTES   (1u << 20)  /* of a channel's texts, at most */
#define REPLAY_BYTES (64u << 10) /* of a block: none is begun that would start behind this */
#define IDLE_SECONDS 60          /* a channel without readers is forgotten after this */

typedef struct channel channel;

typedef enum { READER_RUNS, READER_PARKED, READER_REPLAYS } reader_state;

/* One stream: a cursor. A parked reader is in its channel's list; one that replays is in the feed's
 * queue or in the replay thread's hands, and so is its block. */
typedef struct reader {
    api_feed *feed;
    channel *channel;
    api_request *request; /* known once it parks */
    int64_t after;        /* the last number that it has taken */
    api_feed_format format;
    reader_state state;
    bool left;           /* freed while it replays */
    affect_status ended; /* of the replay: anything but OK ends the stream */
    affect_buffer block; /* from the store, to be sent */
    struct reader *next;
} reader;

typedef struct waiter {
    api_request *request;
    channel *channel;
    int64_t state_number;
    double deadline;
    void (*answer)(api_request *request);
    struct waiter *next;
} waiter;

struct channel {
    char job_id[40];
    int64_t last_seq, state_number;
    bool ended, loaded;          /* loaded: the job's row was read */
    api_event tail[TAIL_EVENTS]; /* a ring: number s at s % TAIL_EVENTS */
    int64_t tail_first;          /* first number in the ring; last_seq + 1: it is empty */
    size_t tail_bytes;
    reader *parked;
    size_t n_users; /* readers and waiters */
    double last_used;
    channel *next;
};

struct api_feed {
    api_store *store;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed, replay_queued;
    channel *channels;
    waiter *waiters;
    reader *replays, **replays_end;
    int n_readers;
    bool closed, stopping;
    pthread_t thread, replay_thread;
};

/* ---- Lists of events ---- */

static void clear_event(api_event *event) {
    free(event->kind);
    free(event->data);
    event->kind = event->data = NULL;
}

affect_status api_event_list_add(api_event_list *list, const api_event *event, affect_error *err) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        api_event *items = realloc(list->items, capacity * sizeof *items);
        if (!items) return affect_fail(err, NO_MEMORY, "no memory for an event");
        list->items = items;
        list->capacity = capacity;
    }
    api_event copy = *event;
    copy.kind = strdup(event->kind);
    copy.data = strdup(event->data);
    if (!copy.kind || !copy.data) {
        clear_event(&copy);
        return affect_fail(err, NO_MEMORY, "no memory for an event");
    }
    list->items[list->n++] = copy;
    return AFFECT_STATUS_OK;
}

void api_event_list_clear(api_event_list *list) {
    for (size_t i = 0; i < list->n; i++) clear_event(&list->items[i]);
    list->n = 0;
}

void api_event_list_free(api_event_list *list) {
    api_event_list_clear(list);
    free(list->items);
    *list = (api_event_list){0};
}

/* ---- Channels (under the lock) ---- */

typedef struct {
    const char *job_id;
    api_job_head head;
} head_question;

static affect_status read_head(api_db *db, void *context, affect_error *err) {
    head_question *q = context;
    return api_store_job_head(&q->head, db, q->job_id, err);
}

static channel *find_channel(api_feed *feed, const char *job_id) {
    for (channel *c = feed->channels; c; c = c->next)
        if (strcmp(c->job_id, job_id) == 0) return c;
    return NULL;
}

static void drop_first(channel *c) {
    api_event *event = &c->tail[c->tail_first++ % TAIL_EVENTS];
    c->tail_bytes -= strlen(event->data);
    clear_event(event);
}

static void drop_tail(channel *c) {
    while (c->tail_first <= c->last_seq) drop_first(c);
}

/* The row says where the job stands; events that were published meanwhile may be ahead of it. An
 * event that is committed but not yet published may be counted here already: publishing passes over
 * it then. */
static void load_channel(channel *c, const api_job_head *head) {
    if (head->last_seq > c->last_seq) {
        drop_tail(c);
        c->last_seq = head->last_seq;
        c->tail_first = head->last_seq + 1;
    }
    if (head->state_number > c->state_number) c->state_number = head->state_number;
    if (head->ended) c->ended = true;
    c->loaded = true;
}

static channel *enter_channel(api_feed *feed, const char *job_id) {
    channel *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    snprintf(c->job_id, sizeof c->job_id, "%s", job_id);
    c->tail_first = 1;
    c->next = feed->channels;
    feed->channels = c;
    return c;
}

static void release_channel(channel *c) {
    c->n_users--;
    c->last_used = affect_clock_seconds();
}

static void free_channel(channel *c) {
    drop_tail(c);
    free(c);
}

static void forget_idle_channels(api_feed *feed, double now) {
    for (channel **at = &feed->channels; *at;) {
        channel *c = *at;
        if (c->n_users || (c->loaded && now - c->last_used < IDLE_SECONDS)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free_channel(c);
    }
}

/* The job's channel, made from its row when there is none yet; NULL: the feed is closed, there is
 * no such job, or no memory. The caller holds no lock. */
static channel *acquire_channel(api_feed *feed, const char *job_id) {
    pthread_mutex_lock(&feed->lock);
    channel *c = feed->closed ? NULL : find_channel(feed, job_id);
    if (!c && !feed->closed) c = enter_channel(feed, job_id);
    if (c) c->n_users++;
    bool loaded = !c || c->loaded;
    pthread_mutex_unlock(&feed->lock);
    if (loaded) return c;
    head_question q = {.job_id = job_id};
    affect_status status = api_store_read(feed->store, read_head, &q, NULL);
    pthread_mutex_lock(&feed->lock);
    if (status == AFFECT_STATUS_OK) {
        load_channel(c, &q.head);
    } else {
        release_channel(c);
        c = NULL;
    }
    pthread_mutex_unlock(&feed->lock);
    return c;
}

/* Events may be published in another order than they were stored, or not at all (by another
 * server): number n is stored only after n - 1, so the newest number that was heard of is the
 * tail's end, and what is not in memory is in the store. */
static void append(channel *c, api_event *event) {
    if (event->seq <= c->last_seq) {
        if (event->state_number > c->state_number) c->state_number = event->state_number;
        clear_event(event);
        return;
    }
    if (event->seq != c->last_seq + 1) { /* some were never published: the store has them */
        drop_tail(c);
        c->tail_first = event->seq;
    }
    c->tail_bytes += strlen(event->data);
    c->last_seq = event->seq;
    c->state_number = event->state_number;
    c->ended = event->last;
    c->tail[event->seq % TAIL_EVENTS] = *event;
    event->kind = event->data = NULL;
    while (c->last_seq - c->tail_first >= TAIL_EVENTS - 1 ||
           (c->tail_bytes > TAIL_BYTES && c->tail_first < c->last_seq))
        drop_first(c);
}

static void wake_parked(channel *c) {
    while (c->parked) {
        reader *r = c->parked;
        c->parked = r->next;
        r->state = READER_RUNS;
        api_stream_wake(r->request);
    }
}

void api_feed_publish(api_feed *feed, api_event_list *events) {
    pthread_mutex_lock(&feed->lock);
    double now = affect_clock_seconds();
    channel *c = NULL;
    for (size_t i = 0; i < events->n; i++) {
        api_event *event = &events->items[i];
        if (!c || strcmp(c->job_id, event->job_id) != 0) c = find_channel(feed, event->job_id);
        if (!c) {
            clear_event(event);
            continue;
        }
        append(c, event);
        c->last_used = now;
    }
    events->n = 0;
    for (c = feed->channels; c; c = c->next)
        if (c->parked && c->last_used == now) wake_parked(c);
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

/* ---- Streams ---- */

void api_feed_print(affect_buffer *buffer, api_feed_format format, int64_t seq, const char *kind,
                    const char *data) {
    const char *rest = data[1] == '}' ? "" : ",";
    if (format == API_FEED_SSE)
        affect_buffer_printf(buffer, "id: %lld\nevent: %s\ndata: {\"seq\":%lld%s", (long long)seq,
                             kind, (long long)seq, rest);
    else
        affect_buffer_printf(buffer, "{\"seq\":%lld,\"event\":\"%s\"%s", (long long)seq, kind,
                             rest);
    affect_buffer_append_string(buffer, data + 1);
    affect_buffer_append_string(buffer, format == API_FEED_SSE ? "\n\n" : "\n");
}

/* A block of stored events behind a cursor. */
typedef struct {
    const char *job_id;
    int64_t after;
    api_feed_format format;
    affect_buffer *block;
} replay;

static bool print_stored(void *context, int64_t seq, const char *kind, const char *data) {
    replay *r = context;
    r->after = seq;
    api_feed_print(r->block, r->format, seq, kind, data);
    return r->block->size < REPLAY_BYTES;
}

static affect_status read_stored(api_db *db, void *context, affect_error *err) {
    replay *r = context;
    return api_store_events_read(db, r->job_id, r->after, REPLAY_EVENTS, print_stored, r, err);
}

/* Reads the reader's next block and moves its cursor. The caller owns both; no lock is held. */
static affect_status read_block(reader *r, affect_error *err) {
    replay q = {r->channel->job_id, r->after, r->format, &r->block};
    affect_buffer_clear(&r->block);
    AFFECT_TRY(api_store_read(r->feed->store, read_stored, &q, err));
    if (r->block.failed) return affect_fail(err, NO_MEMORY, "no memory for events");
    if (r->block.size == 0) return affect_fail(err, NOT_FOUND, "the events are gone");
    r->after = q.after;
    return AFFECT_STATUS_OK;
}

/* Under the lock, as all below until free_stream. */
static bool is_behind(const reader *r) {
    return r->after < r->channel->last_seq && r->after + 1 < r->channel->tail_first;
}

static void park(reader *r) {
    r->state = READER_PARKED;
    r->next = r->channel->parked;
    r->channel->parked = r;
}

static void queue_replay(reader *r) {
    api_feed *feed = r->feed;
    r->state = READER_REPLAYS;
    r->next = NULL;
    *feed->replays_end = r;
    feed->replays_end = &r->next;
    pthread_cond_signal(&feed->replay_queued);
}

static api_stream_state read_on(reader *r, affect_buffer *buffer, size_t max) {
    channel *c = r->channel;
    if (r->feed->closed || r->ended != AFFECT_STATUS_OK) return API_STREAM_END;
    if (r->state != READER_RUNS) return API_STREAM_WAIT; /* after a heartbeat */
    if (r->block.size) {
        affect_buffer_append(buffer, r->block.data, r->block.size);
        affect_buffer_free(&r->block); /* most readers are behind once */
        return API_STREAM_DATA;
    }
    if (r->after >= c->last_seq) {
        if (c->ended) return API_STREAM_END;
        park(r);
        return API_STREAM_WAIT;
    }
    if (is_behind(r)) {
        queue_replay(r);
        return API_STREAM_WAIT;
    }
    size_t start = buffer->size;
    while (r->after < c->last_seq && buffer->size - start < max) {
        const api_event *event = &c->tail[++r->after % TAIL_EVENTS];
        api_feed_print(buffer, r->format, event->seq, event->kind, event->data);
    }
    return API_STREAM_DATA;
}

static api_stream_state read_stream(void *context, api_request *request, affect_buffer *buffer,
                                    size_t max) {
    reader *r = context;
    pthread_mutex_lock(&r->feed->lock);
    r->request = request;
    api_stream_state state = read_on(r, buffer, max);
    pthread_mutex_unlock(&r->feed->lock);
    return state;
}

static void free_reader(reader *r) {
    release_channel(r->channel);
    r->feed->n_readers--;
    affect_buffer_free(&r->block);
    free(r);
}

static void free_stream(void *context) {
    reader *r = context;
    api_feed *feed = r->feed;
    pthread_mutex_lock(&feed->lock);
    for (reader **at = &r->channel->parked; r->state == READER_PARKED && *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        break;
    }
    if (r->state == READER_REPLAYS)
        r->left = true;
    else
        free_reader(r);
    pthread_mutex_unlock(&feed->lock);
}

static void *replay_thread(void *context) {
    api_feed *feed = context;
    pthread_mutex_lock(&feed->lock);
    for (;;) {
        while (!feed->replays && !feed->stopping)
            pthread_cond_wait(&feed->replay_queued, &feed->lock);
        reader *r = feed->replays;
        if (!r) break;
        feed->replays = r->next;
        if (!feed->replays) feed->replays_end = &feed->replays;
        if (!r->left && !feed->closed) {
            pthread_mutex_unlock(&feed->lock);
            affect_status status = read_block(r, NULL);
            pthread_mutex_lock(&feed->lock);
            r->ended = status; /* the client comes back with its last number */
        }
        if (r->left) {
            free_reader(r);
            continue;
        }
        r->state = READER_RUNS;
        api_stream_wake(r->request);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

/* A reader at a job's cursor, with its first block when it is behind. NULL: `err` says why. */
static reader *open_reader(api_feed *feed, const char *job_id, int64_t after,
                           api_feed_format format, affect_error *err) {
    reader *r = calloc(1, sizeof *r);
    channel *c = r ? acquire_channel(feed, job_id) : NULL;
    if (!c) {
        free(r);
        affect_fail(err, BUSY, "the server has no room for another reader, or is stopping");
        return NULL;
    }
    *r = (reader){.feed = feed, .channel = c, .after = after, .format = format};
    pthread_mutex_lock(&feed->lock);
    feed->n_readers++;
    bool behind = is_behind(r);
    pthread_mutex_unlock(&feed->lock);
    if (!behind || read_block(r, err) == AFFECT_STATUS_OK) return r;
    pthread_mutex_lock(&feed->lock);
    free_reader(r);
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

void api_feed_answer(api_feed *feed, api_request *request, const char *job_id, int64_t after,
                     api_feed_format format) {
    affect_error error = {0};
    reader *r = open_reader(feed, job_id, after, format, &error);
    if (!r) {
        api_answer_error(request, &error);
        return;
    }
    bool sse = format == API_FEED_SSE;
    api_stream stream = {.content_type = sse ? "text/event-stream" : "application/x-ndjson",
                         .heartbeat = sse ? ": still here\n\n" : "\n",
                         .read = read_stream,
                         .free = free_stream,
                         .context = r};
    api_set_header(request, "Cache-Control", "no-store, no-transform");
    api_set_header(request, "X-Accel-Buffering", "no");
    api_answer_stream(request, 200, &stream);
}

/* ---- Waiters ---- */

void api_feed_wait(api_feed *feed, api_request *request, const char *job_id, int64_t state_number,
                   double seconds, void (*answer)(api_request *request)) {
    waiter *w = malloc(sizeof *w);
    channel *c = w ? acquire_channel(feed, job_id) : NULL;
    if (!c) {
        free(w);
        answer(request);
        return;
    }
    *w = (waiter){.request = request,
                  .channel = c,
                  .state_number = state_number,
                  .deadline = affect_clock_seconds() + seconds,
                  .answer = answer};
    pthread_mutex_lock(&feed->lock);
    w->next = feed->waiters;
    feed->waiters = w;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

/* Takes out of the list who is to be answered now. */
static waiter *take_due(api_feed *feed, double now) {
    waiter *due = NULL;
    for (waiter **at = &feed->waiters; *at;) {
        waiter *w = *at;
        if (!feed->closed && now < w->deadline && w->channel->state_number == w->state_number &&
            !w->channel->ended && !api_client_gone(w->request)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        release_channel(w->channel);
        w->next = due;
        due = w;
    }
    return due;
}

/* Sleeps until something changes, a second at most while a reader waits (clients leave silently,
 * and time runs out). */
static void sleep_thread(api_feed *feed) {
    double seconds = feed->waiters ? 0.5 : 10, now = affect_clock_seconds();
    for (const waiter *w = feed->waiters; w; w = w->next)
        if (w->deadline - now < seconds) seconds = w->deadline - now;
    if (seconds <= 0) return;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
}

static void *feed_thread(void *context) {
    api_feed *feed = context;
    pthread_mutex_lock(&feed->lock);
    while (!feed->stopping) {
        double now = affect_clock_seconds();
        forget_idle_channels(feed, now);
        waiter *due = take_due(feed, now);
        if (!due) {
            sleep_thread(feed);
            continue;
        }
        pthread_mutex_unlock(&feed->lock);
        while (due) {
            waiter *w = due;
            due = w->next;
            w->answer(w->request);
            free(w);
        }
        pthread_mutex_lock(&feed->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

static void end_thread(api_feed *feed, pthread_t thread) {
    pthread_mutex_lock(&feed->lock);
    feed->closed = feed->stopping = true;
    pthread_cond_signal(&feed->changed);
    pthread_cond_signal(&feed->replay_queued);
    pthread_mutex_unlock(&feed->lock);
    pthread_join(thread, NULL);
}

affect_status api_feed_create(api_feed **feed, api_store *store, affect_error *err) {
    api_feed *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "feed: no memory");
    made->store = store;
    made->replays_end = &made->replays;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_cond_init(&made->replay_queued, NULL);
    int error_number = pthread_create(&made->thread, NULL, feed_thread, made);
    if (error_number) {
        free(made);
        return affect_error_errno(err, error_number, "starting the feed's thread");
    }
    error_number = pthread_create(&made->replay_thread, NULL, replay_thread, made);
    if (error_number) {
        end_thread(made, made->thread);
        free(made);
        return affect_error_errno(err, error_number, "starting the feed's replay thread");
    }
    *feed = made;
    return AFFECT_STATUS_OK;
}

void api_feed_close(api_feed *feed) {
    pthread_mutex_lock(&feed->lock);
    feed->closed = true;
    for (channel *c = feed->channels; c; c = c->next) wake_parked(c);
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

int api_feed_readers(api_feed *feed) {
    pthread_mutex_lock(&feed->lock);
    int n = feed->n_readers;
    pthread_mutex_unlock(&feed->lock);
    return n;
}

void api_feed_free(api_feed *feed) {
    if (!feed) return;
    end_thread(feed, feed->replay_thread);
    end_thread(feed, feed->thread);
    while (feed->channels) {
        channel *c = feed->channels;
        feed->channels = c->next;
        free_channel(c);
    }
    pthread_cond_destroy(&feed->changed);
    pthread_cond_destroy(&feed->replay_queued);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
