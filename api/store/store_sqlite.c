/* The store in SQLite: connections, statements, commits, schemas; see store.h. The one home of
 * SQLite. */
#include "api/store/store_sqlite.h"

#include "api/store/upgrade.h"
#include "engine/core/clock.h"
#include "engine/core/embedded.h"
#include "engine/core/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEMA_VERSION  3
#define RESERVE_BYTES   (4 << 20) /* the pages that a large deletion touches */
#define RESERVE_SECONDS 1.0       /* between tries to make the reserve */
enum { MAX_STATEMENTS = 96, N_READERS = 12 };

typedef struct {
    const char *sql; /* the literal: compared as a pointer */
    sqlite3_stmt *statement;
    bool busy;
} cached_statement;

struct api_db {
    sqlite3 *handle;
    cached_statement statements[MAX_STATEMENTS];
    size_t n_statements;
    api_db *next; /* in the pool of idle readers */
};

struct api_rows {
    api_db *db;
    sqlite3_stmt *statement;
    cached_statement *cached; /* NULL: finalized at the end */
    int code;                 /* of the last step */
};

/* One piece of work that waits for its commit; lives on its waiter's stack. */
typedef struct write_request {
    api_store_work *work;
    void (*committed)(void *context);
    void *context;
    affect_status status;
    affect_error error;
    bool frees, done; /* frees: it may use the reserve */
    struct write_request *next;
} write_request;

struct api_store {
    char path[AFFECT_PATH_MAX];
    int lock_fd;
    api_db writer;    /* the store thread's own, as the next two */
    bool has_reserve; /* PATH.reserve is there */
    double reserve_tried;
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock;            /* guards all below */
    pthread_cond_t queued, finished; /* to the thread; to waiters */
    write_request *first, **last;
    bool stopping;
    atomic_uint_least64_t version;
    pthread_mutex_t readers_lock; /* guards the pool: reads do not meet writes */
    pthread_cond_t reader_idle;
    api_db *idle_readers;
    api_db readers[N_READERS]; /* opened at the start: the number of descriptors stays the same */
};

/* ---- Connections and errors ---- */

static affect_status status_of(sqlite3 *handle, int code) {
    int system_error = sqlite3_system_errno(handle);
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return AFFECT_STATUS_OK;
    case SQLITE_FULL:
        return AFFECT_STATUS_NO_SPACE;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return system_error == ENOSPC || system_error == EDQUOT ? AFFECT_STATUS_NO_SPACE
                                                                : AFFECT_STATUS_IO;
    case SQLITE_NOMEM:
        return AFFECT_STATUS_NO_MEMORY;
    case SQLITE_CONSTRAINT:
        return AFFECT_STATUS_CONFLICT;
    case SQLITE_BUSY:
        return AFFECT_STATUS_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return AFFECT_STATUS_MALFORMED;
    default:
        return AFFECT_STATUS_INTERNAL;
    }
}

static affect_status fail(affect_error *err, sqlite3 *handle, int code, const char *what) {
    affect_status status = status_of(handle, code);
    if (status == AFFECT_STATUS_NO_SPACE)
        return affect_fail(err, NO_SPACE, "the disk that holds the database is full");
    return affect_error_set(err, status, "database: %.120s: %s (%d)", what,
                            handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code),
                            sqlite3_extended_errcode(handle));
}

static affect_status execute(api_db *db, const char *sql, affect_error *err) {
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? AFFECT_STATUS_OK : fail(err, db->handle, code, sql);
}

static void close_connection(api_db *db) {
    for (size_t i = 0; i < db->n_statements; i++) sqlite3_finalize(db->statements[i].statement);
    db->n_statements = 0;
    sqlite3_close(db->handle);
    db->handle = NULL;
}

static affect_status open_connection(api_db *db, const char *path, const char *pragmas,
                                     bool checkpoints, affect_error *err) {
    memset(db, 0, sizeof *db);
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (checkpoints ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
    affect_status status =
        code == SQLITE_OK ? AFFECT_STATUS_OK : fail(err, db->handle, code, "opening");
    if (status == AFFECT_STATUS_OK) {
        sqlite3_extended_result_codes(db->handle, 1);
        sqlite3_busy_timeout(db->handle, 5000);
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !checkpoints, NULL);
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        status = execute(db, pragmas, err);
    }
    if (status != AFFECT_STATUS_OK) close_connection(db);
    return status;
}

/* ---- Statements ---- */

static int prepare(api_db *db, const char *sql, sqlite3_stmt **statement,
                   cached_statement **cached) {
    *cached = NULL;
    for (size_t i = 0; i < db->n_statements; i++) {
        cached_statement *known = &db->statements[i];
        if (known->sql != sql || known->busy) continue;
        known->busy = true;
        *cached = known;
        *statement = known->statement;
        return SQLITE_OK;
    }
    int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    if (code == SQLITE_OK && db->n_statements < MAX_STATEMENTS) {
        *cached = &db->statements[db->n_statements++];
        **cached = (cached_statement){.sql = sql, .statement = *statement, .busy = true};
    }
    return code;
}

static int bind(sqlite3_stmt *statement, const char *types, va_list args) {
    int code = SQLITE_OK;
    for (int i = 1; *types && code == SQLITE_OK; types++, i++) {
        if (*types == 't')
            code =
                sqlite3_bind_text(statement, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
        else if (*types == 'i')
            code = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
        else
            code = sqlite3_bind_double(statement, i, va_arg(args, double));
    }
    return code;
}

static affect_status begin_rows(api_rows **rows, api_db *db, affect_error *err, const char *sql,
                                const char *types, va_list args) {
    api_rows *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "database: no memory for a query");
    made->db = db;
    int code = prepare(db, sql, &made->statement, &made->cached);
    if (code == SQLITE_OK) {
        assert((size_t)sqlite3_bind_parameter_count(made->statement) == strlen(types));
        code = bind(made->statement, types, args);
    }
    made->code = code;
    if (code != SQLITE_OK) return api_rows_end(made, err);
    *rows = made;
    return AFFECT_STATUS_OK;
}

affect_status api_db_query(api_rows **rows, api_db *db, affect_error *err, const char *sql,
                           const char *types, ...) {
    va_list args;
    va_start(args, types);
    affect_status status = begin_rows(rows, db, err, sql, types, args);
    va_end(args);
    return status;
}

affect_status api_db_run(api_db *db, affect_error *err, const char *sql, const char *types, ...) {
    api_rows *rows = NULL;
    va_list args;
    va_start(args, types);
    affect_status status = begin_rows(&rows, db, err, sql, types, args);
    va_end(args);
    AFFECT_TRY(status);
    while (api_rows_next(rows)) {
    }
    return api_rows_end(rows, err);
}

bool api_rows_next(api_rows *rows) {
    rows->code = sqlite3_step(rows->statement);
    return rows->code == SQLITE_ROW;
}

affect_status api_rows_end(api_rows *rows, affect_error *err) {
    int code = rows->code;
    affect_status status = AFFECT_STATUS_OK;
    if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = fail(err, rows->db->handle, code,
                      rows->statement ? sqlite3_sql(rows->statement) : "a statement");
    if (rows->cached) {
        sqlite3_reset(rows->statement);
        sqlite3_clear_bindings(rows->statement);
        rows->cached->busy = false;
    } else {
        sqlite3_finalize(rows->statement);
    }
    free(rows);
    return status;
}

const char *api_rows_text(api_rows *rows, int column) {
    return (const char *)sqlite3_column_text(rows->statement, column);
}

int64_t api_rows_integer(api_rows *rows, int column) {
    return sqlite3_column_int64(rows->statement, column);
}

double api_rows_number(api_rows *rows, int column) {
    return sqlite3_column_double(rows->statement, column);
}

bool api_rows_is_null(api_rows *rows, int column) {
    return sqlite3_column_type(rows->statement, column) == SQLITE_NULL;
}

affect_json *api_rows_json(api_rows *rows, int column) {
    const char *text = api_rows_text(rows, column);
    affect_json *json = NULL;
    if (text) affect_json_parse(&json, text, strlen(text), NULL);
    return json ? json : affect_json_new_null();
}

affect_json *api_rows_time(api_rows *rows, int column) {
    if (api_rows_is_null(rows, column)) return affect_json_new_null();
    char text[AFFECT_CLOCK_TEXT_SIZE];
    affect_clock_text(text, api_rows_integer(rows, column));
    return affect_json_new_string(text);
}

affect_status api_rows_page(affect_json **json, api_rows *rows, int64_t limit,
                            affect_json *(*body)(api_rows *rows), affect_error *err) {
    affect_json *page = affect_json_new_object(), *data = affect_json_set_array(page, "data");
    int64_t n = 0;
    while (api_rows_next(rows) && n++ < limit) affect_json_append(data, body(rows));
    affect_json_set_bool(page, "more", n > limit);
    affect_status status = api_rows_end(rows, err);
    if (status != AFFECT_STATUS_OK) {
        affect_json_free(page);
        page = NULL;
    }
    *json = page;
    return status;
}

int64_t api_db_changes(api_db *db) {
    return sqlite3_changes64(db->handle);
}

/* ---- Writing: the store's thread ---- */

/* Runs one piece in a savepoint. False: SQLite took back the whole transaction (a full disk, no
 * memory), with what earlier pieces did. */
static bool run_piece(api_db *db, write_request *request) {
    affect_error *err = &request->error;
    request->status = execute(db, "SAVEPOINT piece", err);
    if (request->status == AFFECT_STATUS_OK) {
        request->status = request->work(db, request->context, err);
        if (sqlite3_get_autocommit(db->handle)) {
            if (request->status == AFFECT_STATUS_OK)
                request->status = affect_fail(err, INTERNAL, "database: transaction lost");
            return false;
        }
        if (request->status != AFFECT_STATUS_OK) execute(db, "ROLLBACK TO piece", NULL);
        execute(db, "RELEASE piece", NULL);
    }
    return !sqlite3_get_autocommit(db->handle);
}

static void fail_pieces(write_request *from, const write_request *until, affect_status status,
                        const affect_error *error) {
    for (write_request *r = from; r != until; r = r->next) {
        if (r->status != AFFECT_STATUS_OK) continue;
        r->status = status;
        r->error = *error;
    }
}

/* One transaction over the pieces; on return each has its final status. */
static void run_batch(api_db *db, write_request *first) {
    affect_error error = {0};
    affect_status status = execute(db, "BEGIN IMMEDIATE", &error);
    for (write_request *r = first; r; r = r->next) r->status = AFFECT_STATUS_OK;
    for (write_request *r = first; r && status == AFFECT_STATUS_OK; r = r->next) {
        if (run_piece(db, r)) continue;
        fail_pieces(first, r, r->status, &r->error);
        first = r->next;
        if (first) status = execute(db, "BEGIN IMMEDIATE", &error);
    }
    if (!first) return;
    if (status == AFFECT_STATUS_OK) status = execute(db, "COMMIT", &error);
    if (status == AFFECT_STATUS_OK) return;
    if (!sqlite3_get_autocommit(db->handle)) execute(db, "ROLLBACK", NULL);
    fail_pieces(first, NULL, status, &error);
}

/* ---- The reserve: a file that gives its blocks to work that frees space ---- */

static void reserve_path(char path[AFFECT_PATH_MAX + 16], const api_store *store) {
    snprintf(path, AFFECT_PATH_MAX + 16, "%s.reserve", store->path);
}

static void make_reserve(api_store *store) {
    char path[AFFECT_PATH_MAX + 16];
    double now = affect_clock_seconds();
    if (store->has_reserve || now - store->reserve_tried < RESERVE_SECONDS) return;
    store->reserve_tried = now;
    reserve_path(path, store);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return;
    store->has_reserve = posix_fallocate(fd, 0, RESERVE_BYTES) == 0;
    close(fd);
    if (!store->has_reserve) unlink(path);
}

static bool lacks_space(const write_request *request) {
    return request->frees && request->status == AFFECT_STATUS_NO_SPACE;
}

/* What frees space and met a full disk runs again, alone, in the room of the reserve. */
static void retry_in_reserve(api_store *store, write_request *batch) {
    for (write_request *r = batch, *next; r; r = next) {
        next = r->next;
        if (!lacks_space(r)) continue;
        if (store->has_reserve) {
            char path[AFFECT_PATH_MAX + 16];
            reserve_path(path, store);
            unlink(path);
            store->has_reserve = false;
            store->reserve_tried = affect_clock_seconds();
        }
        r->next = NULL;
        run_batch(&store->writer, r);
        r->next = next;
    }
}

static void *write_thread(void *context) {
    api_store *store = context;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (!store->first && !store->stopping) pthread_cond_wait(&store->queued, &store->lock);
        write_request *batch = store->first;
        if (!batch) break;
        store->first = NULL;
        store->last = &store->first;
        pthread_mutex_unlock(&store->lock);

        atomic_fetch_add(&store->version, 1);
        run_batch(&store->writer, batch);
        retry_in_reserve(store, batch);
        atomic_fetch_add(&store->version, 1);
        for (write_request *r = batch; r; r = r->next)
            if (r->status == AFFECT_STATUS_OK && r->committed) r->committed(r->context);

        pthread_mutex_lock(&store->lock);
        for (write_request *r = batch, *next; r; r = next) {
            next = r->next;
            r->done = true;
        }
        pthread_cond_broadcast(&store->finished);
        if (store->has_reserve) continue;
        pthread_mutex_unlock(&store->lock);
        make_reserve(store);
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static affect_status enqueue(api_store *store, write_request request, affect_error *err) {
    assert(!pthread_equal(pthread_self(), store->thread));
    pthread_mutex_lock(&store->lock);
    if (store->stopping) {
        pthread_mutex_unlock(&store->lock);
        return affect_fail(err, BUSY, "the server is stopping");
    }
    *store->last = &request;
    store->last = &request.next;
    pthread_cond_signal(&store->queued);
    while (!request.done) pthread_cond_wait(&store->finished, &store->lock);
    pthread_mutex_unlock(&store->lock);
    if (request.status != AFFECT_STATUS_OK && err) *err = request.error;
    return request.status;
}

affect_status api_store_write(api_store *store, api_store_work *work,
                              void (*committed)(void *context), void *context, affect_error *err) {
    return enqueue(store, (write_request){.work = work, .committed = committed, .context = context},
                   err);
}

affect_status api_store_write_freeing(api_store *store, api_store_work *work,
                                      void (*committed)(void *context), void *context,
                                      affect_error *err) {
    return enqueue(
        store,
        (write_request){.work = work, .committed = committed, .context = context, .frees = true},
        err);
}

/* ---- Reading: a pool of connections ---- */

static const char reader_pragmas[] = "PRAGMA query_only = ON; PRAGMA mmap_size = 0;"
                                     "PRAGMA cache_size = -2000; PRAGMA temp_store = MEMORY;";

static api_db *take_reader(api_store *store) {
    pthread_mutex_lock(&store->readers_lock);
    while (!store->idle_readers) pthread_cond_wait(&store->reader_idle, &store->readers_lock);
    api_db *db = store->idle_readers;
    store->idle_readers = db->next;
    pthread_mutex_unlock(&store->readers_lock);
    return db;
}

static void give_reader(api_store *store, api_db *db) {
    pthread_mutex_lock(&store->readers_lock);
    db->next = store->idle_readers;
    store->idle_readers = db;
    pthread_cond_signal(&store->reader_idle);
    pthread_mutex_unlock(&store->readers_lock);
}

affect_status api_store_read(api_store *store, api_store_work *work, void *context,
                             affect_error *err) {
    api_db *db = take_reader(store);
    affect_status status = api_db_run(db, err, "BEGIN", "");
    if (status == AFFECT_STATUS_OK) {
        status = work(db, context, err);
        if (!sqlite3_get_autocommit(db->handle)) api_db_run(db, NULL, "ROLLBACK", "");
    }
    give_reader(store, db);
    return status;
}

/* ---- Open and close ---- */

/* The first job behind *id, rewritten; *id becomes its. False in *found: there is none. */
static affect_status rewrite_next(bool *found, char id[API_ID_SIZE], api_db *db,
                                  affect_error *err) {
    api_rows *rows = NULL;
    char *text = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err,
                            "SELECT id, spec, coalesce(dataset_id, '') FROM jobs WHERE id > ? "
                            "ORDER BY id LIMIT 1",
                            "t", id));
    affect_status status = AFFECT_STATUS_OK;
    *found = api_rows_next(rows);
    if (*found) {
        snprintf(id, API_ID_SIZE, "%s", api_rows_text(rows, 0));
        status = api_upgrade_spec(&text, api_rows_text(rows, 1), id, api_rows_text(rows, 2), err);
    }
    affect_status ended = api_rows_end(rows, err);
    if (status == AFFECT_STATUS_OK) status = ended;
    if (status == AFFECT_STATUS_OK && *found)
        status = api_db_run(db, err, "UPDATE jobs SET spec = ? WHERE id = ?", "tt", text, id);
    free(text);
    return status;
}

static affect_status rewrite_specs(api_db *db, affect_error *err) {
    char id[API_ID_SIZE] = "";
    bool found = true;
    while (found) AFFECT_TRY(rewrite_next(&found, id, db, err));
    return AFFECT_STATUS_OK;
}

static affect_status run_file(api_db *db, const char *name, affect_error *err) {
    const affect_embedded_file *file = affect_embedded_find(name);
    assert(file);
    return execute(db, file->text, err);
}

/* From `version` (0: an empty database) to this program's, in the transaction that is open. */
static affect_status change_schema(api_db *db, int64_t version, affect_error *err) {
    char name[64];
    if (version == 0) return run_file(db, "api/store/schema.sql", err);
    for (; version < SCHEMA_VERSION; version++) {
        snprintf(name, sizeof name, "api/store/upgrade_%lld.sql", (long long)version + 1);
        AFFECT_TRY(run_file(db, name, err));
        if (version == 1) AFFECT_TRY(rewrite_specs(db, err));
    }
    return AFFECT_STATUS_OK;
}

#define TEXT_OF(x)   #x
#define NUMBER_OF(x) TEXT_OF(x)

/* One transaction: a server that is killed in it leaves the older schema, whole. */
static affect_status bring_schema(api_db *db, affect_error *err) {
    api_rows *rows = NULL;
    AFFECT_TRY(api_db_query(&rows, db, err, "PRAGMA user_version", ""));
    int64_t version = api_rows_next(rows) ? api_rows_integer(rows, 0) : -1;
    AFFECT_TRY(api_rows_end(rows, err));
    if (version == SCHEMA_VERSION) return AFFECT_STATUS_OK;
    if (version < 0 || version > SCHEMA_VERSION)
        return affect_fail(err, UNSUPPORTED,
                           "the database has schema %lld, of a newer affectd (this one knows 1 to "
                           "%d): start that one",
                           (long long)version, SCHEMA_VERSION);
    AFFECT_TRY(execute(db, "BEGIN IMMEDIATE", err));
    affect_status status = change_schema(db, version, err);
    if (status == AFFECT_STATUS_OK)
        status = execute(db, "PRAGMA user_version = " NUMBER_OF(SCHEMA_VERSION), err);
    if (status == AFFECT_STATUS_OK) status = execute(db, "COMMIT", err);
    if (status != AFFECT_STATUS_OK && !sqlite3_get_autocommit(db->handle))
        execute(db, "ROLLBACK", NULL);
    return status;
}

static const char writer_pragmas[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0;"
    "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 1000; PRAGMA temp_store = MEMORY;"
    "PRAGMA journal_size_limit = 16777216;";

static affect_status start(api_store *store, affect_error *err) {
    char lock_path[AFFECT_PATH_MAX + 8];
    snprintf(lock_path, sizeof lock_path, "%s.lock", store->path);
    AFFECT_TRY(affect_file_lock(&store->lock_fd, lock_path, err));
    AFFECT_TRY(open_connection(&store->writer, store->path, writer_pragmas, true, err));
    AFFECT_TRY(bring_schema(&store->writer, err));
    for (int i = 0; i < N_READERS; i++) {
        AFFECT_TRY(open_connection(&store->readers[i], store->path, reader_pragmas, false, err));
        give_reader(store, &store->readers[i]);
    }
    make_reserve(store);
    int error_number = pthread_create(&store->thread, NULL, write_thread, store);
    if (error_number) return affect_error_errno(err, error_number, "starting the store's thread");
    store->thread_started = true;
    return AFFECT_STATUS_OK;
}

uint64_t api_store_version(const api_store *store) {
    return atomic_load(&store->version);
}

affect_status api_store_open(api_store **store, const char *path, affect_error *err) {
    if (strlen(path) >= AFFECT_PATH_MAX)
        return affect_fail(err, INVALID, "database: path longer than %d bytes",
                           AFFECT_PATH_MAX - 1);
    if (!sqlite3_threadsafe())
        return affect_fail(err, UNSUPPORTED, "this SQLite was built without threads");
    api_store *made = calloc(1, sizeof *made);
    if (!made) return affect_fail(err, NO_MEMORY, "database: no memory");
    strcpy(made->path, path);
    made->lock_fd = -1;
    made->last = &made->first;
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->readers_lock, NULL);
    pthread_cond_init(&made->queued, NULL);
    pthread_cond_init(&made->finished, NULL);
    pthread_cond_init(&made->reader_idle, NULL);
    affect_status status = start(made, err);
    if (status == AFFECT_STATUS_OK)
        *store = made;
    else
        api_store_close(made);
    return status;
}

void api_store_close(api_store *store) {
    if (!store) return;
    if (store->thread_started) {
        pthread_mutex_lock(&store->lock);
        store->stopping = true;
        pthread_cond_signal(&store->queued);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->thread, NULL);
    }
    for (int i = 0; i < N_READERS; i++) close_connection(&store->readers[i]);
    close_connection(&store->writer);
    if (store->lock_fd >= 0) close(store->lock_fd);
    pthread_cond_destroy(&store->queued);
    pthread_cond_destroy(&store->finished);
    pthread_cond_destroy(&store->reader_idle);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->readers_lock);
    free(store);
}
