/* Statements of SQLite, for store_sqlite_*.c alone.
 *
 * A statement's text must be a literal: it is the key of the cache of prepared statements. */
#ifndef AFFECT_STORE_STORE_SQLITE_H
#define AFFECT_STORE_STORE_SQLITE_H

#include "api/store/store.h"

/* The rows of a query, the current one at a time. */
typedef struct api_rows api_rows;

/* Parameters of statements follow `types`, a letter each: t text (const char *, NULL is null),
 * i int64_t, d double. */

/* A statement without rows. CONFLICT when a constraint is broken. */
affect_status api_db_run(api_db *db, affect_error *err, const char *sql, const char *types, ...);
/* A statement with rows:
 *   AFFECT_TRY(api_db_query(&rows, db, err, "SELECT ...", "t", id));
 *   while (api_rows_next(rows)) ... api_rows_text(rows, 0) ...
 *   return api_rows_end(rows, err); */
affect_status api_db_query(api_rows **rows, api_db *db, affect_error *err, const char *sql,
                           const char *types, ...);
bool api_rows_next(api_rows *rows);
/* Ends the query, reports what stopped it. Always call it. */
affect_status api_rows_end(api_rows *rows, affect_error *err);
/* Columns, from 0. Text is borrowed until the next row; NULL for null. */
const char *api_rows_text(api_rows *rows, int column);
int64_t api_rows_integer(api_rows *rows, int column);
double api_rows_number(api_rows *rows, int column);
bool api_rows_is_null(api_rows *rows, int column);
/* JSON of a column of text; RFC 3339 text of a column of milliseconds. Owned; null for NULL. */
affect_json *api_rows_json(api_rows *rows, int column);
affect_json *api_rows_time(api_rows *rows, int column);
/* Rows that the last api_db_run changed. */
int64_t api_db_changes(api_db *db);
/* A page of a query that asked for one row more than `limit`: {"data": [body...], "more"}; *json
 * owned. Ends the query. */
affect_status api_rows_page(affect_json **json, api_rows *rows, int64_t limit,
                            affect_json *(*body)(api_rows *rows), affect_error *err);

#endif
