/* Workers that misbehave, and many of them. The worker is this very program: what it does stands in
 * the job's spec.json, a word. */
#include "api/jobs/launcher.h"
#include "api/jobs/worker.h"
#include "engine/core/clock.h"
#include "tests/engine/core/scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* ---- The worker ---- */

static void print(const char *text) {
    if (write(1, text, strlen(text)) < 0) _exit(90);
}

static void print_pid(pid_t pid) {
    char text[64];
    snprintf(text, sizeof text, "{\"event\":\"pid\",\"pid\":%d}\n", (int)pid);
    print(text);
}

static void wait_for_stdin(void) {
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
}

/* Outside of the worker's group, where a kill of that does not reach it. */
static pid_t fork_apart(void) {
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        alarm(15);
    }
    return pid;
}

static void flood(int fd) {
    static const char line[] = "{\"event\":\"flood\"}\n";
    static char lines[3000 * sizeof line];
    size_t n = 0;
    for (int i = 0; i < 3000; i++, n += sizeof line - 1) memcpy(lines + n, line, sizeof line - 1);
    while (write(fd, lines, n) >= 0) {
    }
    _exit(0);
}

static int work(const char *spec) {
    char what[32] = "";
    FILE *file = fopen(spec, "r");
    if (!file || fscanf(file, "%31s", what) != 1) return 91;
    fclose(file);
    alarm(60);
    if (strcmp(what, "silent") == 0) return 3;
    if (strcmp(what, "mute") == 0)
        for (;;) pause();
    if (strcmp(what, "stranger") == 0) {
        print("{\"event\":\"hello\",\"protocol\":99}\n");
        for (;;) pause();
    }
    print("{\"event\":\"hello\",\"protocol\":1}\n");
    if (strcmp(what, "late") == 0) { /* until the test has started all of them */
        char go[AFFECT_PATH_MAX];
        snprintf(go, sizeof go, "%.*s../go", (int)(strrchr(spec, '/') - spec + 1), spec);
        while (!affect_file_exists(go)) poll(NULL, 0, 50);
    }
    print_pid(getpid());
    if (strcmp(what, "late") == 0) wait_for_stdin();
    if (strcmp(what, "waits") == 0) wait_for_stdin();
    if (strcmp(what, "hangs") == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;) pause();
    }
    if (strcmp(what, "sleeps") == 0)
        for (;;) pause();
    for (int fd = 1; fd <= 2; fd++)
        if (strcmp(what, fd == 1 ? "leaves_output" : "leaves_errors") == 0) {
            if (fork_apart() != 0) {
                poll(NULL, 0, 200); /* until the flood has begun */
                return 0;
            }
            fcntl(fd, F_SETPIPE_SZ, 1 << 20); /* so that it is never found empty */
            fork();
            flood(fd);
        }
    if (strcmp(what, "held") == 0) {
        pid_t self = getpid();
        int ready[2];
        char byte;
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        signal(SIGTERM, SIG_IGN);
        if (pipe(ready) != 0) return 92;
        pid_t tracer = fork_apart();
        if (tracer == 0) {
            if (ptrace(PTRACE_SEIZE, self, NULL, NULL) != 0) _exit(0);
            if (write(ready[1], "y", 1) == 1) pause();
            _exit(0);
        }
        close(ready[1]);
        if (read(ready[0], &byte, 1) == 1) print_pid(tracer);
        for (;;) pause();
    }
    if (strcmp(what, "ends") == 0) print("{\"event\":\"end\",\"state\":\"succeeded\"}\n");
    return 0;
}

/* ---- The server's side ---- */

enum { MAX_JOBS = 200 };

static struct {
    pthread_mutex_t lock;
    int n_pid_events, n_exits;
    pid_t pids[MAX_JOBS]; /* of "pid" events, in their order */
    api_worker_exit last;
    bool last_has_end;
    char problem[200];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static affect_status on_events(void *context, const char *job_id, affect_json *const *lines,
                               size_t n, affect_error *err) {
    (void)context, (void)job_id, (void)err;
    pthread_mutex_lock(&seen.lock);
    for (size_t i = 0; i < n; i++) {
        const char *kind = affect_json_get_string(lines[i], "event", "");
        if (strcmp(kind, "pid") == 0 && seen.n_pid_events < MAX_JOBS)
            seen.pids[seen.n_pid_events++] = (pid_t)affect_json_get_number(lines[i], "pid", 0);
    }
    pthread_mutex_unlock(&seen.lock);
    return AFFECT_STATUS_OK;
}

static affect_status on_exited(void *context, const char *job_id, const api_worker_exit *how,
                               affect_error *err) {
    (void)context, (void)job_id, (void)err;
    pthread_mutex_lock(&seen.lock);
    seen.n_exits++;
    seen.last = *how;
    seen.last_has_end = how->end != NULL;
    snprintf(seen.problem, sizeof seen.problem, "%s", how->problem ? how->problem : "");
    pthread_mutex_unlock(&seen.lock);
    return AFFECT_STATUS_OK;
}

static api_workers *create(double handshake_s, double cancel_grace_s) {
    pthread_mutex_lock(&seen.lock);
    seen.n_pid_events = seen.n_exits = 0;
    pthread_mutex_unlock(&seen.lock);
    api_workers *workers = NULL;
    api_worker_options options;
    api_worker_options_default(&options);
    options.binary = "/proc/self/exe";
    options.handshake_s = handshake_s;
    options.cancel_grace_s = cancel_grace_s;
    options.max_log_bytes = 1000;
    const api_worker_callbacks callbacks = {.events = on_events, .exited = on_exited};
    CHECK_OK(api_workers_create(&workers, &options, &callbacks, err));
    return workers;
}

static void start(api_workers *workers, const char *job, const char *what) {
    char spec[AFFECT_PATH_MAX];
    CHECK_OK(affect_directory_make(scratch_path(job), err));
    CHECK_OK(affect_path_join(spec, err, scratch, "%s/spec.json", job));
    FILE *file = fopen(spec, "w");
    CHECK(file && fputs(what, file) >= 0 && fclose(file) == 0);
    CHECK_OK(api_workers_start(workers, job, "train", scratch_path(job), err));
}

/* Whether the counter reaches n in that time. */
static bool reaches(const int *counter, int n, double seconds) {
    double until = affect_clock_seconds() + seconds;
    for (;;) {
        pthread_mutex_lock(&seen.lock);
        bool reached = *counter >= n;
        pthread_mutex_unlock(&seen.lock);
        if (reached || affect_clock_seconds() > until) return reached;
        poll(NULL, 0, 5);
    }
}

/* Starts one and waits for its end, which is left in `seen`. */
static bool run(const char *what, double seconds) {
    api_workers *workers = create(60, 0.5);
    double began = affect_clock_seconds();
    start(workers, what, what);
    bool ended = reaches(&seen.n_exits, 1, seconds);
    CHECK(ended);
    fprintf(stderr, "    %s: %g s\n", what, affect_clock_seconds() - began);
    api_workers_free(workers);
    return ended;
}

static void test_ends(void) {
    if (run("ends", 10)) CHECK(seen.last.exit_code == 0 && seen.last_has_end);
    if (run("silent", 10)) CHECK(seen.last.exit_code == 3 && !seen.last_has_end);
    if (run("stranger", 10)) {
        CHECK(strstr(seen.problem, "protocol 99 (need 1)") != NULL);
        CHECK(seen.last.signal == SIGKILL && !seen.last.out_of_memory);
    }
}

static void test_no_handshake(void) {
    api_workers *workers = create(0.3, 60);
    double began = affect_clock_seconds();
    start(workers, "mute", "mute");
    CHECK(reaches(&seen.n_exits, 1, 10) && affect_clock_seconds() - began >= 0.3);
    CHECK(strstr(seen.problem, "no handshake within 0.3 s") != NULL);
    api_workers_free(workers);
}

static void test_stop(void) {
    api_workers *workers = create(60, 0.5);
    start(workers, "sleeps", "sleeps");
    CHECK(reaches(&seen.n_pid_events, 1, 10));
    CHECK(api_workers_stop(workers, "sleeps") && !api_workers_stop(workers, "another"));
    CHECK(reaches(&seen.n_exits, 1, 10) && seen.last.signal == SIGTERM && !seen.last.killed_by_us);
    start(workers, "hangs", "hangs");
    CHECK(reaches(&seen.n_pid_events, 2, 10));
    poll(NULL, 0, 100); /* until it ignores the signal */
    double began = affect_clock_seconds();
    CHECK(api_workers_stop(workers, "hangs") && reaches(&seen.n_exits, 2, 10));
    CHECK(affect_clock_seconds() - began >= 0.5);
    CHECK(seen.last.signal == SIGKILL && seen.last.killed_by_us && !seen.last.out_of_memory);
    affect_error error = {0};
    start(workers, "twice", "waits");
    CHECK(api_workers_start(workers, "twice", "train", scratch_path("twice"), &error) ==
          AFFECT_STATUS_CONFLICT);
    began = affect_clock_seconds();
    api_workers_free(workers);
    CHECK(affect_clock_seconds() - began < 5);
}

/* All of them are read, not the first 127. */
static void test_many(void) {
    enum { N = 140 };
    char job[16];
    api_workers *workers = create(60, 5);
    for (int i = 0; i < N; i++) {
        snprintf(job, sizeof job, "many%d", i);
        start(workers, job, "late");
    }
    FILE *go = fopen(scratch_path("go"), "w");
    CHECK(go && fclose(go) == 0);
    bool all = reaches(&seen.n_pid_events, N, 30);
    CHECK(all);
    if (!all) fprintf(stderr, "    %d of %d were read\n", seen.n_pid_events, N);
    api_workers_free(workers);
    CHECK(seen.n_exits == N);
}

/* A process of the worker's that outlives it and writes for ever does not hold up its end. */
static void test_what_is_left_behind(void) {
    run("leaves_output", 3);
    run("leaves_errors", 3);
}

/* A worker that is reaped elsewhere is lost: its end is reported, its number left alone. */
static void test_reaped_elsewhere(void) {
    api_workers *workers = create(60, 60);
    start(workers, "stolen", "waits");
    CHECK(reaches(&seen.n_pid_events, 1, 10));
    pid_t pid = seen.pids[0];
    kill(pid, SIGKILL); /* this thread waits for it, the workers' thread checks each 50 ms */
    bool stolen = waitpid(pid, NULL, 0) == pid;
    CHECK(reaches(&seen.n_exits, 1, 10));
    CHECK(seen.last.signal == SIGKILL && !seen.last.killed_by_us);
    fprintf(stderr, "    %s\n", stolen ? "reaped by the test" : "reaped by the workers' thread");
    api_workers_free(workers);
}

/* One that a killed process's tracer keeps, as a driver would, does not keep the server. */
static void test_one_that_does_not_die(void) {
    api_workers *workers = create(60, 0.3);
    start(workers, "held", "held");
    if (!reaches(&seen.n_pid_events, 2, 5)) {
        fprintf(stderr, "    no tracing here: not tested\n");
        api_workers_free(workers);
        return;
    }
    double began = affect_clock_seconds();
    api_workers_free(workers);
    CHECK(affect_clock_seconds() - began < 4);
    CHECK(seen.n_exits == 0);
    kill(seen.pids[1], SIGKILL);
    waitpid(seen.pids[0], NULL, 0);
}

static void test_launchers(void) {
    const api_launcher *launcher = NULL;
    affect_error error = {0};
    CHECK_OK(api_launcher_find(&launcher, "local", err));
    CHECK(launcher == &api_launcher_local);
    CHECK(api_launcher_find(&launcher, "pigeon", &error) == AFFECT_STATUS_INVALID);
    CHECK(strstr(error.message, "pigeon") != NULL);
    api_launch launch;
    const api_launch_options options = {"/nonexistent/affect", "train", scratch};
    CHECK(launcher->start(&launch, &options, &error) == AFFECT_STATUS_NOT_FOUND);
}

int main(int argc, char **argv) {
    if (argc > 3) return work(argv[3]);
    scratch_begin();
    TEST_RUN(test_launchers);
    TEST_RUN(test_ends);
    TEST_RUN(test_no_handshake);
    TEST_RUN(test_stop);
    TEST_RUN(test_many);
    TEST_RUN(test_what_is_left_behind);
    TEST_RUN(test_reaped_elsewhere);
    TEST_RUN(test_one_that_does_not_die);
    scratch_end();
    return TEST_END();
}
