/* The feed while the store does not answer: its lock stays free, a stream's `read` returns at once,
 * and a reader that leaves meanwhile leaves nothing behind. */
#include "api/jobs/feed.h"
#include "api/request.h"
#include "api/store/store_jobs.h"
#include "api/store/store_sqlite.h"
#include "engine/core/file.h"
#include "tests/test.h"

#include <pthread.h>
#include <unistd.h>

enum { N_EVENTS = 300, N_BLOCKERS = 64 };

static char folder[] = "/tmp/affect-feed-XXXXXX";
static api_store *store;
static atomic_int n_answered, n_woken;

static void on_answered(api_request *request) {
    (void)request;
    atomic_fetch_add(&n_answered, 1);
}

static void on_wake(api_request *request) {
    (void)request;
    atomic_fetch_add(&n_woken, 1);
}

static const api_transport transport = {on_answered, on_wake};

static void wait_for(atomic_int *number, int least) {
    for (int i = 0; atomic_load(number) < least && i < 3000; i++) usleep(10000);
    CHECK(atomic_load(number) >= least);
}

/* ---- A store that does not answer: every read connection is taken ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool is_open;
static atomic_int n_blocked;

static affect_status block(api_db *db, void *context, affect_error *err) {
    (void)db, (void)context, (void)err;
    atomic_fetch_add(&n_blocked, 1);
    pthread_mutex_lock(&gate);
    while (!is_open) pthread_cond_wait(&opened, &gate);
    pthread_mutex_unlock(&gate);
    return AFFECT_STATUS_OK;
}

static void *run_blocker(void *unused) {
    (void)unused;
    api_store_read(store, block, NULL, NULL);
    return NULL;
}

static void close_gate(pthread_t threads[N_BLOCKERS]) {
    is_open = false;
    atomic_store(&n_blocked, 0);
    for (int i = 0; i < N_BLOCKERS; i++) pthread_create(&threads[i], NULL, run_blocker, NULL);
    wait_for(&n_blocked, 2);
    for (int before = 0; before != atomic_load(&n_blocked); usleep(200000)) before = n_blocked;
}

static void open_gate(pthread_t threads[N_BLOCKERS]) {
    pthread_mutex_lock(&gate);
    is_open = true;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < N_BLOCKERS; i++) pthread_join(threads[i], NULL);
}

/* ---- A job with events ---- */

static affect_status insert(api_db *db, void *context, affect_error *err) {
    AFFECT_TRY(api_db_run(db, err,
                          "INSERT INTO jobs (id, type, state, state_number, last_seq, request, "
                          "spec, created_ms) VALUES (?, 'train', 'running', 1, ?, '{}', '{}', 0)",
                          "ti", context, (int64_t)N_EVENTS));
    for (int64_t seq = 1; seq <= N_EVENTS; seq++)
        AFFECT_TRY(api_db_run(db, err,
                              "INSERT INTO events (job_id, seq, kind, data) VALUES (?, ?, 'log', "
                              "'{\"message\":\"x\"}')",
                              "ti", context, seq));
    return AFFECT_STATUS_OK;
}

static void make_job(const char *id) {
    CHECK_OK(api_store_write(store, insert, NULL, (void *)id, err));
}

static void publish(api_feed *feed, const char *id, int64_t seq) {
    api_event_list list = {0};
    char kind[] = "log", data[] = "{\"message\":\"x\"}";
    api_event event = {.seq = seq, .kind = kind, .data = data, .state_number = 1};
    snprintf(event.job_id, sizeof event.job_id, "%s", id);
    CHECK_OK(api_event_list_add(&list, &event, err));
    api_feed_publish(feed, &list);
    api_event_list_free(&list);
}

static api_request *answer(api_feed *feed, const char *id, int64_t after) {
    api_request *request = api_request_create(NULL, &transport);
    api_feed_answer(feed, request, id, after, API_FEED_LINES);
    CHECK(request->answer.kind == API_ANSWER_STREAM);
    return request;
}

static api_stream_state read_some(api_request *request, affect_buffer *buffer) {
    const api_stream *stream = &request->answer.stream;
    return stream->read(stream->context, request, buffer, 1000);
}

/* Reads what there is until the stream parks; returns the number of lines. */
static int read_all(api_request *request) {
    affect_buffer text = {0};
    for (int idle = 0; idle < 300;) {
        size_t before = text.size;
        CHECK(read_some(request, &text) != API_STREAM_END);
        idle = text.size > before ? 0 : idle + 1;
        if (idle) usleep(1000);
    }
    int n = 0;
    for (size_t i = 0; i < text.size; i++) n += text.data[i] == '\n';
    affect_buffer_free(&text);
    return n;
}

static affect_status append_three(api_db *db, void *context, affect_error *err) {
    for (int64_t seq = N_EVENTS + 1; seq <= N_EVENTS + 3; seq++)
        AFFECT_TRY(api_store_event_append(db, context, seq, "log", "{\"message\":\"y\"}", err));
    return AFFECT_STATUS_OK;
}

/* ---- Tests ---- */

/* Commits that are heard of in another order than they were made, one of them never: a reader gets
 * each event once, by its number. */
static void test_any_order_of_commits(void) {
    static const int64_t heard[][3] = {{3, 1, 2}, {3, 0, 0}, {2, 3, 1}, {1, 3, 0}, {2, 1, 3}};
    for (size_t i = 0; i < sizeof heard / sizeof *heard; i++) {
        char id[40], line[80];
        api_feed *feed = NULL;
        snprintf(id, sizeof id, "job_order_%zu", i);
        make_job(id);
        CHECK_OK(api_feed_create(&feed, store, err));
        api_request *request = answer(feed, id, N_EVENTS);
        affect_buffer text = {0};
        CHECK(read_some(request, &text) == API_STREAM_WAIT);
        CHECK_OK(api_store_write(store, append_three, NULL, id, err));
        for (int k = 0; k < 3; k++) {
            if (heard[i][k]) publish(feed, id, N_EVENTS + heard[i][k]);
            for (int idle = 0; idle < 20; idle++, usleep(1000)) read_some(request, &text);
        }
        affect_buffer_append(&text, "", 1);
        const char *at = text.data;
        for (int64_t seq = N_EVENTS + 1; seq <= N_EVENTS + 3; seq++) {
            snprintf(line, sizeof line, "{\"seq\":%lld,", (long long)seq);
            CHECK(at && strncmp(at, line, strlen(line)) == 0);
            at = at ? strchr(at, '\n') : NULL;
            if (at) at++;
        }
        CHECK(at && !*at);
        affect_buffer_free(&text);
        api_request_free(request);
        api_feed_free(feed);
    }
}

/* A stream that was never sent (its client reset the connection first) ends with its request. */
static void test_unsent_stream(void) {
    api_feed *feed = NULL;
    make_job("job_unsent");
    CHECK_OK(api_feed_create(&feed, store, err));
    api_request_free(answer(feed, "job_unsent", 0));
    CHECK(api_feed_readers(feed) == 0);
    api_feed_free(feed);
}

static void test_read_never_waits(void) {
    api_feed *feed = NULL;
    pthread_t blockers[N_BLOCKERS];
    make_job("job_a");
    CHECK_OK(api_feed_create(&feed, store, err));
    api_request *first = answer(feed, "job_a", 0), *second = answer(feed, "job_a", 0);
    affect_buffer text = {0}, other = {0};
    while (read_some(first, &text) == API_STREAM_DATA && text.size == 0) {
    }
    close_gate(blockers);
    alarm(60); /* a hang ends the test */
    while (read_some(first, &text) == API_STREAM_DATA) {
    }
    while (read_some(second, &other) == API_STREAM_DATA) {
    }
    CHECK(read_some(first, &text) == API_STREAM_WAIT); /* a heartbeat's look */
    CHECK(text.size > 0 && other.size > 0);
    publish(feed, "job_a", N_EVENTS + 1);
    api_request_free(second); /* leaves while its block is being read */
    open_gate(blockers);
    wait_for(&n_woken, 1);
    int n = 0;
    for (size_t i = 0; i < text.size; i++) n += text.data[i] == '\n';
    CHECK(n + read_all(first) == N_EVENTS + 1);
    alarm(0);
    affect_buffer_free(&text);
    affect_buffer_free(&other);
    api_request_free(first);
    for (int i = 0; api_feed_readers(feed) > 0 && i < 1000; i++) usleep(10000);
    CHECK(api_feed_readers(feed) == 0);
    api_feed_free(feed);
}

static api_feed *shared_feed;

static void *open_late(void *unused) {
    (void)unused;
    return answer(shared_feed, "job_b", N_EVENTS);
}

/* While a handler's thread waits for a job's row, others are served, and what is published
 * meanwhile reaches the reader. */
static void test_lock_is_free(void) {
    pthread_t blockers[N_BLOCKERS], opening;
    void *request = NULL;
    make_job("job_b");
    make_job("job_c");
    CHECK_OK(api_feed_create(&shared_feed, store, err));
    api_request *other = answer(shared_feed, "job_c", N_EVENTS);
    close_gate(blockers);
    alarm(60);
    pthread_create(&opening, NULL, open_late, NULL);
    usleep(200000);
    affect_buffer text = {0};
    CHECK(read_some(other, &text) == API_STREAM_WAIT);
    publish(shared_feed, "job_c", N_EVENTS + 1);
    publish(shared_feed, "job_b", N_EVENTS + 1);
    CHECK(read_some(other, &text) == API_STREAM_DATA);
    open_gate(blockers);
    pthread_join(opening, &request);
    CHECK(read_all(request) == 1);
    alarm(0);
    affect_buffer_free(&text);
    api_request_free(request);
    api_request_free(other);
    api_feed_free(shared_feed);
}

int main(void) {
    char path[AFFECT_PATH_MAX];
    CHECK(mkdtemp(folder) != NULL);
    CHECK_OK(affect_path_join(path, err, folder, "test.sqlite"));
    CHECK_OK(api_store_open(&store, path, err));
    TEST_RUN(test_unsent_stream);
    TEST_RUN(test_any_order_of_commits);
    TEST_RUN(test_read_never_waits);
    TEST_RUN(test_lock_is_free);
    api_store_close(store);
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
