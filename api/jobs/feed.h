/* The feed: readers of jobs' events, from the first to the one that is just being stored.
 *
 * A reader is a cursor. To read is to take what is stored after the cursor; when there is nothing,
 * to park; to be woken when something is appended: replay and live tail are one path. Each job that
 * has readers or was heard of lately has a channel: the number of its newest event and a bounded
 * tail of recent ones, so that a thousand parked readers that wake together read memory, and only a
 * reader far behind needs the store, which a thread of the feed reads for it. What is published
 * after a commit only moves a channel on: events are told by their numbers, in whatever order the
 * commits are heard of, and what was never heard of is read from the store.
 *
 * A channel is guarded by the feed's one lock; a reader decides to park under that lock, so nothing
 * can be appended between its look and its sleep. Another thread of the feed answers waiters
 * (?wait=30) when the state changes or their time is up. */
#ifndef AFFECT_JOBS_FEED_H
#define AFFECT_JOBS_FEED_H

#include "api/api.h"
#include "api/store/store.h"

typedef struct api_feed api_feed;

affect_status api_feed_create(api_feed **feed, api_store *store, affect_error *err);
/* Ends every stream and answers every waiter, now and from now on: first step of a shutdown. */
void api_feed_close(api_feed *feed);
/* After the last stream is freed. NULL allowed. */
void api_feed_free(api_feed *feed);

/* One stored event. kind and data are owned by the struct. */
typedef struct {
    char job_id[40];
    int64_t seq;
    char *kind; /* "epoch" */
    char *data; /* a JSON object, without seq */
    int64_t state_number;
    bool last; /* the job's `end`: nothing follows */
} api_event;

/* Events of one transaction, in order. Zero-initialise. */
typedef struct {
    api_event *items;
    size_t n, capacity;
} api_event_list;

/* Copies texts. NO_MEMORY. */
affect_status api_event_list_add(api_event_list *list, const api_event *event, affect_error *err);
void api_event_list_clear(api_event_list *list); /* keeps the memory of the list itself */
void api_event_list_free(api_event_list *list);

/* After their commit (from a store's `committed`), in any order. Takes the texts. */
void api_feed_publish(api_feed *feed, api_event_list *events);

typedef enum {
    API_FEED_SSE,   /* id, event and data lines */
    API_FEED_LINES, /* one JSON object a line: {"seq", "event", ...} */
} api_feed_format;

/* Answers the request with the stream of a job's events after `after`, ending behind the job's
 * last. Reads the store on the calling thread. Ends the handler's right to the request. */
void api_feed_answer(api_feed *feed, api_request *request, const char *job_id, int64_t after,
                     api_feed_format format);
/* Streams that are open. */
int api_feed_readers(api_feed *feed);
/* Appends one event in a format. */
void api_feed_print(affect_buffer *buffer, api_feed_format format, int64_t seq, const char *kind,
                    const char *data);

/* Calls `answer(request)` once, on the feed's thread, when the job's state number differs from
 * state_number, at the latest after `seconds`, or soon after the client left. The request was
 * deferred. */
void api_feed_wait(api_feed *feed, api_request *request, const char *job_id, int64_t state_number,
                   double seconds, void (*answer)(api_request *request));

#endif
