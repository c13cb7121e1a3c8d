/* The table of states: which actions are possible, and that every job can end. */
#include "api/jobs/job_state.h"

#include "tests/test.h"

static void test_names(void) {
    for (int s = 0; s < API_JOB_STATE_COUNT; s++)
        CHECK(api_job_state_find(api_job_state_name((api_job_state)s)) == (api_job_state)s);
    CHECK(api_job_state_find("dancing") == API_JOB_STATE_COUNT);
    CHECK(api_job_state_find(NULL) == API_JOB_STATE_COUNT);
}

static void test_main_path(void) {
    api_job_state s = API_JOB_QUEUED;
    s = api_job_state_after(s, API_JOB_START);
    CHECK(s == API_JOB_PREPARING);
    s = api_job_state_after(s, API_JOB_RUN);
    CHECK(s == API_JOB_RUNNING);
    s = api_job_state_after(s, API_JOB_SUCCEED);
    CHECK(s == API_JOB_SUCCEEDED && api_job_state_terminal(s) && !api_job_state_active(s));
}

static void test_cancel(void) {
    CHECK(api_job_state_after(API_JOB_QUEUED, API_JOB_CANCEL) == API_JOB_CANCELLED);
    CHECK(api_job_state_after(API_JOB_INTERRUPTED, API_JOB_CANCEL) == API_JOB_CANCELLED);
    CHECK(api_job_state_after(API_JOB_RUNNING, API_JOB_CANCEL) == API_JOB_CANCELLING);
    CHECK(api_job_state_after(API_JOB_CANCELLED, API_JOB_CANCEL) == API_JOB_CANCELLED);
    CHECK(api_job_state_after(API_JOB_SUCCEEDED, API_JOB_CANCEL) == API_JOB_STATE_COUNT);
    CHECK(api_job_state_after(API_JOB_FAILED, API_JOB_CANCEL) == API_JOB_STATE_COUNT);
    /* Whatever a worker that was told to stop says, its job is cancelled. */
    const api_job_action ends[] = {API_JOB_SUCCEED, API_JOB_FAIL, API_JOB_STOP, API_JOB_LOSE};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        CHECK(api_job_state_after(API_JOB_CANCELLING, ends[i]) == API_JOB_CANCELLED);
}

static void test_pause(void) {
    CHECK(api_job_state_after(API_JOB_RUNNING, API_JOB_PAUSE) == API_JOB_PAUSING);
    CHECK(api_job_state_after(API_JOB_QUEUED, API_JOB_PAUSE) == API_JOB_STATE_COUNT);
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_RESUME) == API_JOB_STATE_COUNT);
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_CANCEL) == API_JOB_CANCELLING);
    /* Stopped as asked, or lost with its server: paused. Ended by itself before it heard: ended. */
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_STOP) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_LOSE) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_SUCCEED) == API_JOB_SUCCEEDED);
    CHECK(api_job_state_after(API_JOB_PAUSED, API_JOB_RESUME) == API_JOB_QUEUED);
    CHECK(!api_job_state_active(API_JOB_PAUSED) && !api_job_state_terminal(API_JOB_PAUSED));
}

/* A full disk: kept for a resume, unless someone wanted it to end. */
static void test_hold(void) {
    CHECK(api_job_state_after(API_JOB_PREPARING, API_JOB_HOLD) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_RUNNING, API_JOB_HOLD) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_PAUSING, API_JOB_HOLD) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_CANCELLING, API_JOB_HOLD) == API_JOB_CANCELLED);
}

static void test_lost_workers(void) {
    CHECK(api_job_state_after(API_JOB_RUNNING, API_JOB_LOSE) == API_JOB_INTERRUPTED);
    CHECK(api_job_state_after(API_JOB_INTERRUPTED, API_JOB_REQUEUE) == API_JOB_QUEUED);
    CHECK(api_job_state_after(API_JOB_INTERRUPTED, API_JOB_GIVE_UP) == API_JOB_FAILED);
    CHECK(api_job_state_after(API_JOB_INTERRUPTED, API_JOB_HOLD) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_RUNNING, API_JOB_HOLD) == API_JOB_PAUSED);
    CHECK(api_job_state_after(API_JOB_QUEUED, API_JOB_LOSE) == API_JOB_STATE_COUNT);
}

/* Terminal states never change; from every other state a terminal one can be reached. */
static void test_ends(void) {
    for (int s = 0; s < API_JOB_STATE_COUNT; s++) {
        bool reached[API_JOB_STATE_COUNT] = {false}, ends = false;
        reached[s] = true;
        for (int round = 0; round < API_JOB_STATE_COUNT; round++) {
            for (int from = 0; from < API_JOB_STATE_COUNT; from++) {
                for (int a = 0; reached[from] && a < API_JOB_ACTION_COUNT; a++) {
                    api_job_state to = api_job_state_after((api_job_state)from, (api_job_action)a);
                    if (to == API_JOB_STATE_COUNT) continue;
                    reached[to] = true;
                    if (api_job_state_terminal((api_job_state)s)) CHECK((int)to == s);
                }
            }
        }
        for (int to = 0; to < API_JOB_STATE_COUNT; to++)
            ends = ends || (reached[to] && api_job_state_terminal((api_job_state)to));
        CHECK(ends);
    }
}

int main(void) {
    TEST_RUN(test_names);
    TEST_RUN(test_main_path);
    TEST_RUN(test_cancel);
    TEST_RUN(test_pause);
    TEST_RUN(test_hold);
    TEST_RUN(test_lost_workers);
    TEST_RUN(test_ends);
    return TEST_END();
}
