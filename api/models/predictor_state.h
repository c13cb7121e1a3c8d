/* The inside of an api_predictor, shared by predictor.c (thread, start, stop), predictor_queue.c
 * (requests that wait) and predictor_child.c (processes and their packets).
 *
 * Children and all requests that were handed to them belong to the predictor's thread; the queue,
 * the counts and writing of a child's state are under the lock. */
#ifndef AFFECT_MODELS_PREDICTOR_STATE_H
#define AFFECT_MODELS_PREDICTOR_STATE_H

#include "api/models/predictor.h"
#include "engine/core/child.h"

#include <pthread.h>

#define API_PREDICTOR_PROTOCOL   4
#define API_PREDICTOR_MAX_PACKET (128u << 10)
enum { API_PREDICTOR_MAX_PARTS = AFFECT_MAX_INPUT_STREAMS, API_PREDICTOR_MAX_CHILDREN = 64 };

typedef struct {
    char name[AFFECT_FEATURE_NAME_SIZE];
    size_t offset, size;
} api_part_place;

typedef struct api_prediction {
    int64_t id;
    char model[AFFECT_PATH_MAX];
    api_part_place parts[API_PREDICTOR_MAX_PARTS];
    size_t n_parts;
    int memory_fd;
    affect_time_window windows[AFFECT_MAX_MODALITIES];
    bool calibrated;
    double submitted, deadline;
    void (*done)(void *context, affect_status status, affect_json *result,
                 const affect_error *error);
    bool (*gone)(void *context);
    void *context;
    struct api_prediction *next;
} api_prediction;

typedef enum { API_CHILD_DEAD, API_CHILD_STARTING, API_CHILD_IDLE, API_CHILD_BUSY } api_child_state;

/* A prediction that a child works on; the request is NULL once it was answered (it was late). */
typedef struct {
    int64_t id; /* 0: the child has answered */
    api_prediction *request;
} api_child_slot;

typedef struct {
    api_child_state state;
    affect_child process; /* of a dead one, maybe not yet gone */
    int fd;
    double started, restart_at, dispatched;
    int n_failures; /* in a row, without an answer between */
    api_child_slot slots[API_PREDICTOR_MAX_BATCH];
    size_t n_slots, n_open; /* of the batch; those that the child has not answered */
} api_predictor_child;

struct api_predictor {
    char binary[AFFECT_PATH_MAX], device[32], log_path[AFFECT_PATH_MAX];
    api_predictor_options options;
    api_predictor_child children[API_PREDICTOR_MAX_CHILDREN];
    int wake_fd;
    double log_due;    /* when its size is checked again; the thread's own */
    char *packet;      /* API_PREDICTOR_MAX_PACKET, the thread's own */
    size_t last_batch; /* size of the newest; the thread's own */
    double next_due;   /* when the oldest request's window ends, 0: none waits; the thread's own */
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards all below, and writing of children[].state */
    api_prediction *first, **last;
    api_predictor_counts counts; /* n_ready and n_busy are made when asked for */
    int64_t next_id;
    bool stopping;
};

/* Answers and frees a request that is in no list; result is handed over. */
void api_prediction_finish(api_prediction *r, affect_status status, affect_json *result,
                           const affect_error *error);
void api_prediction_fail(api_prediction *r, affect_status status, const char *message);

/* Answers those that waited too long, lets go those whose client left. */
void api_predictor_sweep(api_predictor *predictor, double now);
/* Takes a batch for one of n_idle children out of the queue, oldest first, all of one model: a
 * list, or NULL when nothing waits or its window is still open (then next_due is set). */
api_prediction *api_predictor_take_batch(api_predictor *predictor, int n_idle, double now);
/* The oldest request, or NULL. */
api_prediction *api_predictor_take_one(api_predictor *predictor);

/* Empties the log when it is longer than it may be: its writers append. Once a second at most. */
void api_predictor_bound_log(api_predictor *predictor, double now);
void api_predictor_start_child(api_predictor *predictor, api_predictor_child *c, double now);
/* Ends the child, whatever it does; its requests end with the status. */
void api_predictor_end_child(api_predictor *predictor, api_predictor_child *c, double now,
                             affect_status status, const char *why);
/* Hands a list of requests to an idle child. */
void api_predictor_hand_over(api_predictor *predictor, api_predictor_child *c,
                             api_prediction *batch, double now);
/* Answers requests of the child's batch that are late. */
void api_predictor_drop_late(api_predictor *predictor, api_predictor_child *c, double now);
/* Reads what the child has sent; false: its socket is closed, or it broke the protocol. */
bool api_predictor_read_child(api_predictor *predictor, api_predictor_child *c);

#endif
