/* What was left behind; see leftovers.h. */
#include "api/jobs/leftovers.h"

#include "api/jobs/job_queue.h"
#include "engine/core/file.h"
#include "engine/corpus/import.h"
#include "engine/train/trainer.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The first column of the query's first row, "" without one. */
static affect_status find_text(char text[32], api_db *db, const char *sql, const char *id,
                               affect_error *err) {
    api_rows *rows = NULL;
    text[0] = '\0';
    AFFECT_TRY(api_db_query(&rows, db, err, sql, "t", id));
    if (api_rows_next(rows)) snprintf(text, 32, "%s", api_rows_text(rows, 0));
    return api_rows_end(rows, err);
}

/* Files that a killed process did not get to rename (affect_file_writer). */
static void remove_asides(const char *folder) {
    char path[AFFECT_PATH_MAX];
    DIR *entries = opendir(folder);
    if (!entries) return;
    for (struct dirent *e; (e = readdir(entries));)
        if (affect_file_is_aside(e->d_name) &&
            affect_path_join(path, NULL, folder, "%s", e->d_name) == AFFECT_STATUS_OK)
            unlink(path);
    closedir(entries);
}

static affect_status clean_job(api_db *db, const char *folder, const char *id, affect_error *err) {
    char path[AFFECT_PATH_MAX], owner[32];
    AFFECT_TRY(
        find_text(owner, db, "SELECT state FROM jobs WHERE id = ? AND type = 'train'", id, err));
    if (strcmp(owner, "succeeded") == 0) affect_checkpoint_remove(folder);
    AFFECT_TRY(affect_path_join(path, err, folder, API_JOB_UPLOAD));
    if (!affect_file_exists(path)) return AFFECT_STATUS_OK;
    AFFECT_TRY(
        find_text(owner, db, "SELECT state FROM jobs WHERE id = ? AND ended_ms IS NULL", id, err));
    if (owner[0]) return AFFECT_STATUS_OK;
    unlink(path);
    rmdir(folder); /* only if it is empty: the request ended before it became a job */
    return AFFECT_STATUS_OK;
}

static affect_status clean_dataset(api_db *db, const char *folder, const char *id,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX], state[32];
    AFFECT_TRY(find_text(state, db, "SELECT state FROM datasets WHERE id = ?", id, err));
    if (strcmp(state, "failed") == 0) return affect_directory_remove(folder, err);
    if (state[0]) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(path, err, folder, AFFECT_IMPORT_STAGING));
    AFFECT_TRY(affect_directory_remove(path, err));
    rmdir(folder);
    return AFFECT_STATUS_OK;
}

typedef struct {
    const char *data_dir, *name;
    const char *find; /* its row's id; NULL where no folder is set aside */
    affect_status (*clean)(api_db *db, const char *folder, const char *id, affect_error *err);
} kind;

/* `.ID`, of a deletion that a kill cut: with a row it gets its name back, else it goes. */
static affect_status finish_deletion(api_db *db, const kind *k, const char *aside, const char *path,
                                     const char *id, affect_error *err) {
    char found[32];
    AFFECT_TRY(find_text(found, db, k->find, id, err));
    if (!found[0]) return affect_directory_remove(aside, err);
    return rename(aside, path) == 0 ? AFFECT_STATUS_OK
                                    : affect_error_errno(err, errno, "%s/%s", k->name, id);
}

static affect_status clean(api_db *db, const kind *k, const char *name, affect_error *err) {
    char entry[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    const char *id = name[0] == '.' ? name + 1 : name;
    AFFECT_TRY(affect_path_join(entry, err, k->data_dir, "%s/%s", k->name, name));
    AFFECT_TRY(affect_path_join(path, err, k->data_dir, "%s/%s", k->name, id));
    if (id != name) AFFECT_TRY(finish_deletion(db, k, entry, path, id, err));
    remove_asides(path);
    return k->clean ? k->clean(db, path, id, err) : AFFECT_STATUS_OK;
}

static affect_status clean_all(api_db *db, void *context, affect_error *err) {
    const kind *k = context;
    char folder[AFFECT_PATH_MAX];
    affect_status status = AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(folder, err, k->data_dir, "%s", k->name));
    DIR *entries = opendir(folder);
    if (!entries)
        return errno == ENOENT ? AFFECT_STATUS_OK : affect_error_errno(err, errno, "%s", folder);
    for (struct dirent *e; status == AFFECT_STATUS_OK && (e = readdir(entries));) {
        bool aside = e->d_name[0] == '.';
        if (!aside || (k->find && e->d_name[1] != '\0' && e->d_name[1] != '.'))
            status = clean(db, k, e->d_name, err);
    }
    closedir(entries);
    return status;
}

affect_status api_leftovers_remove(api_store *store, const char *data_dir, affect_error *err) {
    kind kinds[] = {{data_dir, "jobs", "SELECT id FROM jobs WHERE id = ?", clean_job},
                    {data_dir, "datasets", "SELECT id FROM datasets WHERE id = ?", clean_dataset},
                    {data_dir, "models", NULL, NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        AFFECT_TRY(api_store_read(store, clean_all, &kinds[i], err));
    return AFFECT_STATUS_OK;
}
