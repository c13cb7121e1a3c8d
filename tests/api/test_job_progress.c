/* How many progress events a job may store. */
#include "api/jobs/job_progress.h"

#include "tests/test.h"

static int count_events(double seconds) {
    int n = 0;
    for (double at = 0; at < seconds; at += api_job_progress_interval(at)) n++;
    return n;
}

int main(void) {
    CHECK(api_job_progress_interval(0) == 0.5);
    CHECK(count_events(10) == 20);
    CHECK(count_events(3600) < 400);
    CHECK(count_events(86400) < 6000);
    CHECK(api_job_progress_interval(1e9) == 15);
    return TEST_END();
}
