/* The states of a job and the table of what may happen in each.
 *
 * Pure: no store, no process. A transition that the table does not have is CONFLICT with the
 * actions that are allowed; the same request twice (cancel of a cancelled job) is no change. */
#ifndef AFFECT_JOBS_JOB_STATE_H
#define AFFECT_JOBS_JOB_STATE_H

#include <stdbool.h>

/*  X(name, text, terminal, active: a worker belongs to it) */
#define API_JOB_STATE_TABLE(X)                                                                     \
    X(QUEUED, "queued", false, false)                                                              \
    X(PREPARING, "preparing", false, true)                                                         \
    X(RUNNING, "running", false, true)                                                             \
    X(PAUSING, "pausing", false, true)                                                             \
    X(PAUSED, "paused", false, false)                                                              \
    X(CANCELLING, "cancelling", false, true)                                                       \
    X(INTERRUPTED, "interrupted", false, false)                                                    \
    X(SUCCEEDED, "succeeded", true, false)                                                         \
    X(FAILED, "failed", true, false)                                                               \
    X(CANCELLED, "cancelled", true, false)

typedef enum {
#define API_JOB_STATE_ENUM(name, text, terminal, active) API_JOB_##name,
    API_JOB_STATE_TABLE(API_JOB_STATE_ENUM)
#undef API_JOB_STATE_ENUM
        API_JOB_STATE_COUNT
} api_job_state;

/* What happens to a job. */
typedef enum {
    API_JOB_START,   /* a worker is about to be started for it */
    API_JOB_RUN,     /* the worker says that the work proper begins */
    API_JOB_CANCEL,  /* a client asks to stop */
    API_JOB_PAUSE,   /* a client asks to keep it for later */
    API_JOB_RESUME,  /* a client asks to resume */
    API_JOB_SUCCEED, /* the worker ended well */
    API_JOB_FAIL,    /* the worker ended with an error, or crashed */
    API_JOB_STOP,    /* the worker ended because it was asked to */
    API_JOB_LOSE,    /* the worker is gone without a word, or its server is */
    API_JOB_REQUEUE, /* an interrupted job waits for a worker again */
    API_JOB_HOLD,    /* the server pauses it: its worker was lost too often, the disk is full */
    API_JOB_GIVE_UP, /* it was interrupted too often */
    API_JOB_ACTION_COUNT
} api_job_action;

const char *api_job_state_name(api_job_state state);
/* API_JOB_STATE_COUNT when there is none of that name. */
api_job_state api_job_state_find(const char *name);
bool api_job_state_terminal(api_job_state state);
bool api_job_state_active(api_job_state state);
/* The state after the action, or API_JOB_STATE_COUNT when the table has no such row. A state that
 * stays itself means: nothing to do. */
api_job_state api_job_state_after(api_job_state state, api_job_action action);

#endif
