/* States and transitions of a job; see job_state.h. */
#include "api/jobs/job_state.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    bool terminal, active;
} states[] = {
#define STATE_ROW(name, text, terminal, active) {text, terminal, active},
    API_JOB_STATE_TABLE(STATE_ROW)
#undef STATE_ROW
};

/* A worker that was told to stop may end in any way: the job is cancelled. */
static const struct {
    api_job_state from;
    api_job_action action;
    api_job_state to;
} transitions[] = {
    {API_JOB_QUEUED, API_JOB_START, API_JOB_PREPARING},
    {API_JOB_QUEUED, API_JOB_CANCEL, API_JOB_CANCELLED},
    {API_JOB_PREPARING, API_JOB_RUN, API_JOB_RUNNING},
    {API_JOB_PREPARING, API_JOB_CANCEL, API_JOB_CANCELLING},
    {API_JOB_PREPARING, API_JOB_SUCCEED, API_JOB_SUCCEEDED},
    {API_JOB_PREPARING, API_JOB_FAIL, API_JOB_FAILED},
    {API_JOB_PREPARING, API_JOB_STOP, API_JOB_CANCELLED},
    {API_JOB_PREPARING, API_JOB_LOSE, API_JOB_INTERRUPTED},
    {API_JOB_PAUSING, API_JOB_HOLD, API_JOB_PAUSED},
    {API_JOB_CANCELLING, API_JOB_HOLD, API_JOB_CANCELLED},
    {API_JOB_RUNNING, API_JOB_RUN, API_JOB_RUNNING},
    {API_JOB_RUNNING, API_JOB_CANCEL, API_JOB_CANCELLING},
    {API_JOB_RUNNING, API_JOB_SUCCEED, API_JOB_SUCCEEDED},
    {API_JOB_RUNNING, API_JOB_FAIL, API_JOB_FAILED},
    {API_JOB_RUNNING, API_JOB_STOP, API_JOB_CANCELLED},
    {API_JOB_RUNNING, API_JOB_LOSE, API_JOB_INTERRUPTED},
    {API_JOB_PREPARING, API_JOB_PAUSE, API_JOB_PAUSING},
    {API_JOB_RUNNING, API_JOB_PAUSE, API_JOB_PAUSING},
    /* The worker of a pausing job may have ended by itself before it heard. */
    {API_JOB_PAUSING, API_JOB_RUN, API_JOB_PAUSING},
    {API_JOB_PAUSING, API_JOB_PAUSE, API_JOB_PAUSING},
    {API_JOB_PAUSING, API_JOB_CANCEL, API_JOB_CANCELLING},
    {API_JOB_PAUSING, API_JOB_SUCCEED, API_JOB_SUCCEEDED},
    {API_JOB_PAUSING, API_JOB_FAIL, API_JOB_FAILED},
    {API_JOB_PAUSING, API_JOB_STOP, API_JOB_PAUSED},
    {API_JOB_PAUSING, API_JOB_LOSE, API_JOB_PAUSED},
    {API_JOB_PAUSED, API_JOB_PAUSE, API_JOB_PAUSED},
    {API_JOB_PAUSED, API_JOB_RESUME, API_JOB_QUEUED},
    {API_JOB_PAUSED, API_JOB_CANCEL, API_JOB_CANCELLED},
    {API_JOB_QUEUED, API_JOB_RESUME, API_JOB_QUEUED},
    {API_JOB_PREPARING, API_JOB_RESUME, API_JOB_PREPARING},
    {API_JOB_RUNNING, API_JOB_RESUME, API_JOB_RUNNING},
    {API_JOB_INTERRUPTED, API_JOB_RESUME, API_JOB_INTERRUPTED},
    {API_JOB_CANCELLING, API_JOB_RUN, API_JOB_CANCELLING},
    {API_JOB_CANCELLING, API_JOB_CANCEL, API_JOB_CANCELLING},
    {API_JOB_CANCELLING, API_JOB_SUCCEED, API_JOB_CANCELLED},
    {API_JOB_CANCELLING, API_JOB_FAIL, API_JOB_CANCELLED},
    {API_JOB_CANCELLING, API_JOB_STOP, API_JOB_CANCELLED},
    {API_JOB_CANCELLING, API_JOB_LOSE, API_JOB_CANCELLED},
    {API_JOB_INTERRUPTED, API_JOB_REQUEUE, API_JOB_QUEUED},
    {API_JOB_INTERRUPTED, API_JOB_CANCEL, API_JOB_CANCELLED},
    {API_JOB_INTERRUPTED, API_JOB_GIVE_UP, API_JOB_FAILED},
    {API_JOB_PREPARING, API_JOB_HOLD, API_JOB_PAUSED},
    {API_JOB_RUNNING, API_JOB_HOLD, API_JOB_PAUSED},
    {API_JOB_INTERRUPTED, API_JOB_HOLD, API_JOB_PAUSED},
    {API_JOB_CANCELLED, API_JOB_CANCEL, API_JOB_CANCELLED},
};

const char *api_job_state_name(api_job_state state) {
    return (unsigned)state < API_JOB_STATE_COUNT ? states[state].name : "unknown";
}

api_job_state api_job_state_find(const char *name) {
    for (unsigned i = 0; name && i < API_JOB_STATE_COUNT; i++)
        if (strcmp(states[i].name, name) == 0) return (api_job_state)i;
    return API_JOB_STATE_COUNT;
}

bool api_job_state_terminal(api_job_state state) {
    return (unsigned)state < API_JOB_STATE_COUNT && states[state].terminal;
}

bool api_job_state_active(api_job_state state) {
    return (unsigned)state < API_JOB_STATE_COUNT && states[state].active;
}

api_job_state api_job_state_after(api_job_state state, api_job_action action) {
    for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++)
        if (transitions[i].from == state && transitions[i].action == action)
            return transitions[i].to;
    return API_JOB_STATE_COUNT;
}
