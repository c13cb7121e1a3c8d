/* The store: jobs, datasets, models behind one writing thread with group commit.
 *
 * Questions about them are functions of store_jobs.h, store_datasets.h and store_models.h, in the
 * words of the domain; store_sqlite*.c answer them, and nothing else knows SQL.
 *
 * Work that writes is a function; api_store_write queues it and waits. The store's thread takes all
 * that is queued, runs it in one transaction (each piece in a savepoint of its own, so that one
 * failure takes back only itself), commits once with synchronous=FULL, calls each piece's
 * `committed` in order, and wakes the waiters. That thread owns the only writing connection, which
 * is also the only one that checkpoints: SQLite before 3.51.3 can corrupt a WAL database otherwise.
 * Reading is done on the caller's thread, on a query_only connection of a pool, in a snapshot; it
 * never waits for a commit.
 *
 * A full disk is NO_SPACE: nothing of the batch is stored, and the next write tries anew. */
#ifndef AFFECT_STORE_STORE_H
#define AFFECT_STORE_STORE_H

#include "engine/core/json.h"
#include "engine/core/status.h"

#include <stdbool.h>
#include <stdint.h>

#define API_ID_SIZE 40 /* of an id: a prefix and a ULID */

typedef struct api_store api_store;
/* A connection within a transaction or a snapshot; valid during the work. */
typedef struct api_db api_db;

/* Opens or makes the database at `path` (its folder must exist) and brings it to this version's
 * schema. CONFLICT: another process has it open. UNSUPPORTED: made by a newer version. */
affect_status api_store_open(api_store **store, const char *path, affect_error *err);
/* Waits for queued work, closes the readers first, then the writer. NULL allowed. */
void api_store_close(api_store *store);

typedef affect_status api_store_work(api_db *db, void *context, affect_error *err);

/* Runs `work` on the store's thread and returns when it is durable, or what went wrong (then
 * nothing of it is stored). `committed` (may be NULL) runs on the store's thread after the commit,
 * in the order of the commits, before this returns. Not from the store's thread. */
affect_status api_store_write(api_store *store, api_store_work *work,
                              void (*committed)(void *context), void *context, affect_error *err);
/* The same for work after which there is more space, or less is used: what deletes and what stops a
 * job. On a full disk it gets the space that the store keeps back for it (best effort: a file
 * beside the database, made again when there is room). */
affect_status api_store_write_freeing(api_store *store, api_store_work *work,
                                      void (*committed)(void *context), void *context,
                                      affect_error *err);
/* Runs `work` now, on this thread, in a read-only snapshot. */
affect_status api_store_read(api_store *store, api_store_work *work, void *context,
                             affect_error *err);

/* Uneven while a batch of writes is under way, and another number after each: what was read when it
 * was even, and still is that number, is what would be read now. Changed before a writer returns.
 */
uint64_t api_store_version(const api_store *store);

#endif
