/* The store: commits, savepoints, order, reading beside writing, a full disk, other schemas. */
#include "api/store/store_sqlite.h"

#include "engine/core/file.h"
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mount.h>
#include <unistd.h>

static char folder[] = "/tmp/affect-store-XXXXXX";

static void path_of(char path[AFFECT_PATH_MAX], const char *name) {
    CHECK_OK(affect_path_join(path, err, folder, "%s", name));
}

typedef struct {
    int64_t epoch;
    bool fails, wrong;
    size_t size;
    int n_committed;
} insertion;

static affect_status insert(api_db *db, void *context, affect_error *err) {
    const insertion *i = context;
    char *text = calloc(1, i->size + 1);
    memset(text, 'x', i->size);
    affect_status status = api_db_run(
        db, err, "INSERT INTO idempotency (key, digest, job_id, created_ms) VALUES (?, ?, 'j', ?)",
        "tti", NULL, text, i->epoch);
    if (status == AFFECT_STATUS_OK)
        status =
            api_db_run(db, err, "INSERT INTO models (name, latest, created_ms) VALUES (?, ?, ?)",
                       "tid", text[0] ? text : "model", i->epoch, 0.5);
    free(text);
    if (status == AFFECT_STATUS_OK && i->wrong)
        status = api_db_run(db, err, "INSERT INTO nowhere VALUES (1)", "");
    if (status == AFFECT_STATUS_OK && i->fails)
        status = affect_fail(err, INVALID, "changed my mind");
    return status;
}

static void committed(void *context) {
    ((insertion *)context)->n_committed++;
}

static affect_status count(api_db *db, void *context, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT count(*) FROM idempotency", ""));
    *(int64_t *)context = api_rows_next(rows) ? api_rows_integer(rows, 0) : -1;
    return api_rows_end(rows, err);
}

static affect_status write_in_read(api_db *db, void *context, affect_error *err) {
    (void)context;
    return api_db_run(db, err, "DELETE FROM idempotency", "");
}

static void test_savepoints(void) {
    char path[AFFECT_PATH_MAX];
    api_store *store = NULL;
    int64_t n = -1;
    path_of(path, "a.db");
    CHECK_OK(api_store_open(&store, path, err));
    insertion good = {.epoch = 1}, bad = {.epoch = 2, .size = 3, .fails = true};
    insertion wrong = {.epoch = 3, .size = 4, .wrong = true};
    CHECK_OK(api_store_write(store, insert, committed, &good, err));
    affect_error error = {0};
    CHECK(api_store_write(store, insert, committed, &bad, &error) == AFFECT_STATUS_INVALID);
    CHECK_STRING(error.message, "changed my mind");
    CHECK(api_store_write(store, insert, committed, &wrong, &error) == AFFECT_STATUS_INTERNAL);
    CHECK(good.n_committed == 1 && bad.n_committed == 0 && wrong.n_committed == 0);
    CHECK_OK(api_store_read(store, count, &n, err));
    CHECK(n == 1);
    /* The same name again breaks a constraint. */
    CHECK(api_store_write(store, insert, NULL, &good, NULL) == AFFECT_STATUS_CONFLICT);
    CHECK(api_store_read(store, write_in_read, NULL, NULL) != AFFECT_STATUS_OK);
    CHECK_OK(api_store_read(store, count, &n, err));
    CHECK(n == 1);
    /* A second server is kept out; after a close the rows are there. */
    api_store *other = NULL;
    CHECK(api_store_open(&other, path, NULL) == AFFECT_STATUS_CONFLICT);
    api_store_close(store);
    CHECK_OK(api_store_open(&store, path, err));
    CHECK_OK(api_store_read(store, count, &n, err));
    CHECK(n == 1);
    api_store_close(store);
}

enum { WRITERS = 8, EACH = 50 };

typedef struct {
    api_store *store;
    int64_t first;
    int64_t *order;
    _Atomic int *n;
    int64_t number;
} writer;

static affect_status add(api_db *db, void *context, affect_error *err) {
    const writer *w = context;
    return api_db_run(db, err,
                      "INSERT INTO idempotency (key, digest, job_id, created_ms) "
                      "VALUES (?, '', '', (SELECT count(*) FROM idempotency))",
                      "i", w->number);
}

static void note(void *context) {
    const writer *w = context;
    w->order[(*w->n)++] = w->number;
}

static void *write_many(void *context) {
    writer *w = context;
    for (int i = 0; i < EACH; i++) {
        w->number = w->first + i;
        CHECK_OK(api_store_write(w->store, add, note, w, err));
        int64_t n = 0;
        CHECK_OK(api_store_read(w->store, count, &n, err));
        CHECK(n > i);
    }
    return NULL;
}

static affect_status check_order(api_db *db, void *context, affect_error *err) {
    const int64_t *order = context;
    api_rows *rows = NULL;
    int i = 0;
    AFFECT_TRY(api_db_query(&rows, db, err, "SELECT key FROM idempotency ORDER BY created_ms", ""));
    while (api_rows_next(rows)) CHECK(api_rows_integer(rows, 0) == order[i++]);
    CHECK(i == WRITERS * EACH);
    return api_rows_end(rows, err);
}

/* Eight threads write; what `committed` saw is the order of the transactions. */
static void test_order(void) {
    char path[AFFECT_PATH_MAX];
    api_store *store = NULL;
    path_of(path, "b.db");
    CHECK_OK(api_store_open(&store, path, err));
    static int64_t order[WRITERS * EACH];
    _Atomic int n = 0;
    pthread_t threads[WRITERS];
    writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.store = store, .first = i * 1000, .order = order, .n = &n};
        pthread_create(&threads[i], NULL, write_many, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    CHECK(n == WRITERS * EACH);
    CHECK_OK(api_store_read(store, check_order, order, err));
    api_store_close(store);
}

static affect_status set_version(api_db *db, void *context, affect_error *err) {
    (void)context;
    return api_db_run(db, err, "PRAGMA user_version = 99", "");
}

static void test_schema(void) {
    char path[AFFECT_PATH_MAX];
    api_store *store = NULL;
    path_of(path, "c.db");
    CHECK_OK(api_store_open(&store, path, err));
    CHECK_OK(api_store_write(store, set_version, NULL, NULL, err));
    api_store_close(store);
    affect_error error = {0};
    store = NULL;
    CHECK(api_store_open(&store, path, &error) == AFFECT_STATUS_UNSUPPORTED);
    CHECK(strstr(error.message, "99") != NULL);
    CHECK_OK(affect_file_write(path, "this is no database, but long enough", 36, err));
    CHECK(api_store_open(&store, path, NULL) != AFFECT_STATUS_OK && !store);
}

/* On a file system of 2 MB: NO_SPACE, nothing lost, and when there is room again it goes on. */
static void test_full_disk(void) {
    char path[AFFECT_PATH_MAX], mountpoint[AFFECT_PATH_MAX], ballast[AFFECT_PATH_MAX];
    path_of(mountpoint, "small");
    path_of(path, "small/d.db");
    path_of(ballast, "small/ballast");
    CHECK_OK(affect_directory_make(mountpoint, err));
    if (mount("tmpfs", mountpoint, "tmpfs", 0, "size=2m") != 0) {
        fprintf(stderr, "    skipped: mounting a small tmpfs: %s\n", strerror(errno));
        return;
    }
    api_store *store = NULL;
    int64_t n = 0, before = 0;
    CHECK_OK(api_store_open(&store, path, err));
    CHECK_OK(affect_file_write(ballast, mountpoint, 1, err));
    CHECK(truncate(ballast, 0) == 0);
    affect_status status = AFFECT_STATUS_OK;
    for (int i = 0; i < 1000 && status == AFFECT_STATUS_OK; i++) {
        insertion big = {.epoch = i, .size = 20000u + (size_t)i};
        status = api_store_write(store, insert, NULL, &big, NULL);
        before += status == AFFECT_STATUS_OK;
    }
    CHECK(status == AFFECT_STATUS_NO_SPACE);
    CHECK_OK(api_store_read(store, count, &n, err));
    CHECK(n == before && n > 10);
    insertion more = {.epoch = 5000, .size = 50000};
    CHECK(api_store_write(store, insert, NULL, &more, NULL) == AFFECT_STATUS_NO_SPACE);
    CHECK(mount("tmpfs", mountpoint, "tmpfs", MS_REMOUNT, "size=8m") == 0);
    CHECK_OK(api_store_write(store, insert, NULL, &more, err));
    api_store_close(store);
    CHECK_OK(api_store_open(&store, path, err));
    CHECK_OK(api_store_read(store, count, &n, err));
    CHECK(n == before + 1);
    api_store_close(store);
    umount(mountpoint);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    TEST_RUN(test_savepoints);
    TEST_RUN(test_order);
    TEST_RUN(test_schema);
    TEST_RUN(test_full_disk);
    CHECK_OK(affect_directory_remove(folder, err));
    return TEST_END();
}
