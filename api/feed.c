/* The feed; see feed.h. */
#include "api/feed.h"

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
#define TAIL_BYTES   (1u << 20) /* of a channel's texts, at most */
#define IDLE_SECONDS 60         /* a channel without readers is forgotten after this */

typedef struct channel channel;

/* One stream: a cursor. Parked readers are in their channel's list. */
typedef struct reader {
    api_feed *feed;
    channel *channel;
    api_exchange *exchange; /* known once it parks */
    int64_t after;          /* the last number it has sent */
    api_feed_format format;
    bool parked;
    struct reader *next;
} reader;

typedef struct waiter {
    api_exchange *exchange;
    channel *channel;
    int64_t state_number;
    double deadline;
    void (*answer)(api_exchange *exchange);
    struct waiter *next;
} waiter;

struct channel {
    char job_id[40];
    int64_t last_seq, state_number;
    bool ended;
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
    pthread_cond_t changed;
    channel *channels;
    waiter *waiters;
    bool closed, stopping;
    pthread_t thread;
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
    int64_t last_seq, state_number;
    bool found, ended;
} job_head;

static affect_status read_head(api_db *db, void *context, affect_error *err) {
    job_head *head = context;
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT last_seq, state_number, ended_ms IS NOT NULL FROM jobs "
                            "WHERE id = ?",
                            "t", head->job_id));
    if (api_rows_next(rows)) {
        head->found = true;
        head->last_seq = api_rows_integer(rows, 0);
        head->state_number = api_rows_integer(rows, 1);
        head->ended = api_rows_integer(rows, 2) != 0;
    }
    return api_rows_end(rows, err);
}

static channel *find_channel(api_feed *feed, const char *job_id) {
    for (channel *c = feed->channels; c; c = c->next)
        if (strcmp(c->job_id, job_id) == 0) return c;
    return NULL;
}

/* The job's channel, made from its row when there is none yet. An event that is committed but not
 * yet published may be counted here already; publishing passes over it then. */
static channel *acquire_channel(api_feed *feed, const char *job_id) {
    channel *c = find_channel(feed, job_id);
    if (!c) {
        job_head head = {.job_id = job_id};
        if (api_store_read(feed->store, read_head, &head, NULL) != AFFECT_STATUS_OK || !head.found)
            return NULL;
        c = calloc(1, sizeof *c);
        if (!c) return NULL;
        snprintf(c->job_id, sizeof c->job_id, "%s", job_id);
        c->last_seq = head.last_seq;
        c->state_number = head.state_number;
        c->ended = head.ended;
        c->tail_first = head.last_seq + 1;
        c->next = feed->channels;
        feed->channels = c;
    }
    c->n_users++;
    return c;
}

static void release_channel(channel *c) {
    c->n_users--;
    c->last_used = affect_clock_seconds();
}

static void drop_first(channel *c) {
    api_event *event = &c->tail[c->tail_first++ % TAIL_EVENTS];
    c->tail_bytes -= strlen(event->data);
    clear_event(event);
}

static void free_channel(channel *c) {
    while (c->tail_first <= c->last_seq) drop_first(c);
    free(c);
}

static void forget_idle_channels(api_feed *feed, double now) {
    for (channel **at = &feed->channels; *at;) {
        channel *c = *at;
        if (c->n_users || now - c->last_used < IDLE_SECONDS) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free_channel(c);
    }
}

static void append(channel *c, api_event *event) {
    if (event->seq <= c->last_seq) {
        if (event->state_number > c->state_number) c->state_number = event->state_number;
        clear_event(event);
        return;
    }
    if (event->seq != c->last_seq + 1) { /* some were never published: the store has them */
        while (c->tail_first <= c->last_seq) drop_first(c);
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
        r->parked = false;
        api_stream_wake(r->exchange);
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

typedef struct {
    reader *reader;
    affect_buffer *buffer;
    size_t max;
} replay;

static affect_status read_stored(api_db *db, void *context, affect_error *err) {
    replay *r = context;
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT seq, kind, data FROM events WHERE job_id = ? AND seq > ? "
                            "ORDER BY seq LIMIT ?",
                            "tii", r->reader->channel->job_id, r->reader->after,
                            (int64_t)REPLAY_EVENTS));
    size_t start = r->buffer->size;
    while (r->buffer->size - start < r->max && api_rows_next(rows)) {
        r->reader->after = api_rows_integer(rows, 0);
        api_feed_print(r->buffer, r->reader->format, r->reader->after, api_rows_text(rows, 1),
                       api_rows_text(rows, 2));
    }
    return api_rows_end(rows, err);
}

/* Under the lock: takes from the tail what is there, or parks. False: the store must be read. */
static bool read_tail(reader *r, api_exchange *exchange, affect_buffer *buffer, size_t max,
                      api_stream_state *state) {
    channel *c = r->channel;
    if (r->feed->closed) {
        *state = API_STREAM_END;
        return true;
    }
    if (r->after >= c->last_seq) {
        *state = c->ended ? API_STREAM_END : API_STREAM_WAIT;
        if (!c->ended && !r->parked) {
            r->exchange = exchange;
            r->parked = true;
            r->next = c->parked;
            c->parked = r;
        }
        return true;
    }
    if (r->after + 1 < c->tail_first) return false;
    size_t start = buffer->size;
    while (r->after < c->last_seq && buffer->size - start < max) {
        const api_event *event = &c->tail[++r->after % TAIL_EVENTS];
        api_feed_print(buffer, r->format, event->seq, event->kind, event->data);
    }
    *state = API_STREAM_DATA;
    return true;
}

static api_stream_state read_stream(void *context, api_exchange *exchange, affect_buffer *buffer,
                                    size_t max) {
    reader *r = context;
    api_stream_state state = API_STREAM_DATA;
    pthread_mutex_lock(&r->feed->lock);
    bool done = read_tail(r, exchange, buffer, max, &state);
    pthread_mutex_unlock(&r->feed->lock);
    if (done) return state;
    size_t before = buffer->size;
    replay stored = {.reader = r, .buffer = buffer, .max = max};
    affect_status status = api_store_read(r->feed->store, read_stored, &stored, NULL);
    if (status != AFFECT_STATUS_OK || buffer->failed || buffer->size == before)
        return API_STREAM_END; /* the client comes back with its last number */
    return API_STREAM_DATA;
}

static void free_stream(void *context) {
    reader *r = context;
    pthread_mutex_lock(&r->feed->lock);
    for (reader **at = &r->channel->parked; r->parked && *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        break;
    }
    release_channel(r->channel);
    pthread_mutex_unlock(&r->feed->lock);
    free(r);
}

void api_feed_answer(api_feed *feed, api_exchange *exchange, const char *job_id, int64_t after,
                     api_feed_format format) {
    reader *r = calloc(1, sizeof *r);
    pthread_mutex_lock(&feed->lock);
    channel *c = r && !feed->closed ? acquire_channel(feed, job_id) : NULL;
    pthread_mutex_unlock(&feed->lock);
    if (!c) {
        free(r);
        affect_error error = {0};
        affect_fail(&error, BUSY, "the server has no room for another reader, or is stopping");
        api_answer_error(exchange, &error);
        return;
    }
    *r = (reader){.feed = feed, .channel = c, .after = after, .format = format};
    bool sse = format == API_FEED_SSE;
    api_stream stream = {.content_type = sse ? "text/event-stream" : "application/x-ndjson",
                         .heartbeat = sse ? ": still here\n\n" : "\n",
                         .read = read_stream,
                         .free = free_stream,
                         .context = r};
    api_set_header(exchange, "Cache-Control", "no-store, no-transform");
    api_set_header(exchange, "X-Accel-Buffering", "no");
    api_answer_stream(exchange, 200, &stream);
}

/* ---- Waiters: the feed's thread ---- */

void api_feed_wait(api_feed *feed, api_exchange *exchange, const char *job_id, int64_t state_number,
                   double seconds, void (*answer)(api_exchange *exchange)) {
    waiter *w = malloc(sizeof *w);
    pthread_mutex_lock(&feed->lock);
    channel *c = w && !feed->closed ? acquire_channel(feed, job_id) : NULL;
    if (c) {
        *w = (waiter){.exchange = exchange,
                      .channel = c,
                      .state_number = state_number,
                      .deadline = affect_clock_seconds() + seconds,
                      .answer = answer,
                      .next = feed->waiters};
        feed->waiters = w;
        pthread_cond_signal(&feed->changed);
    }
    pthread_mutex_unlock(&feed->lock);
    if (c) return;
    free(w);
    answer(exchange);
}

/* Takes out of the list who is to be answered now. */
static waiter *take_due(api_feed *feed, double now) {
    waiter *due = NULL;
    for (waiter **at = &feed->waiters; *at;) {
        waiter *w = *at;
        if (!feed->closed && now < w->deadline && w->channel->state_number == w->state_number &&
            !w->channel->ended && !api_client_gone(w->exchange)) {
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

/* Sleeps until something changes, a second at most while somebody waits (clients leave silently,
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
            w->answer(w->exchange);
            free(w);
        }
        pthread_mutex_lock(&feed->lock);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

affect_status api_feed_create(api_feed **feed, api_store *store, affect_error *err) {
    api_feed *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "feed: no memory");
    made->store = store;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int error_number = pthread_create(&made->thread, NULL, feed_thread, made);
    if (error_number) {
        free(made);
        return affect_error_errno(err, error_number, "starting the feed's thread");
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

void api_feed_free(api_feed *feed) {
    if (!feed) return;
    pthread_mutex_lock(&feed->lock);
    feed->closed = feed->stopping = true;
    pthread_cond_signal(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    pthread_join(feed->thread, NULL);
    while (feed->channels) {
        channel *c = feed->channels;
        feed->channels = c->next;
        free_channel(c);
    }
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
