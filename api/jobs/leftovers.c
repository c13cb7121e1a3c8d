/* What was left behind; see leftovers.h. */
#include "api/jobs/leftovers.h"

#include "api/jobs/job_queue.h"
#include "api/jobs/job_type.h"
#include "api/store/store_jobs.h"
#include "engine/core/file.h"
#include "engine/corpus/import.h"
#include "engine/train/trainer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* *found: there is such a row; else it is empty. */
static affect_status find_job(api_job_row *row, bool *found, api_db *db, const char *id,
                              affect_error *err) {
    *row = (api_job_row){0};
    affect_status status = api_job_row_load(row, db, id, err);
    api_job_row_free(row);
    *found = status == AFFECT_STATUS_OK;
    return status == AFFECT_STATUS_NOT_FOUND ? AFFECT_STATUS_OK : status;
}

static affect_status find_dataset(api_dataset *dataset, bool *found, api_db *db, const char *id,
                                  affect_error *err) {
    *dataset = (api_dataset){0};
    affect_status status = api_store_dataset_find(dataset, db, id, err);
    *found = status == AFFECT_STATUS_OK && strcmp(dataset->id, id) == 0;
    if (!*found) *dataset = (api_dataset){0}; /* one of that name */
    return status == AFFECT_STATUS_NOT_FOUND ? AFFECT_STATUS_OK : status;
}

/* Files that a killed process did not get to rename (affect_file_writer). */
static affect_status remove_aside(void *context, const char *folder, const char *name,
                                  affect_error *err) {
    (void)context;
    char path[AFFECT_PATH_MAX];
    if (!affect_file_is_aside(name)) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", name));
    unlink(path);
    return AFFECT_STATUS_OK;
}

static affect_status clean_job(api_db *db, const char *folder, const char *id, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    api_job_row row;
    bool found;
    AFFECT_TRY(find_job(&row, &found, db, id, err));
    if (found && row.state == API_JOB_SUCCEEDED && api_job_type_of(row.type)->pausable)
        affect_checkpoint_remove(folder);
    AFFECT_TRY(affect_path_join(path, err, folder, API_JOB_UPLOAD));
    if (!affect_file_exists(path)) return AFFECT_STATUS_OK;
    if (found && !api_job_state_terminal(row.state)) return AFFECT_STATUS_OK;
    unlink(path);
    rmdir(folder); /* only if it is empty: the request ended before it became a job */
    return AFFECT_STATUS_OK;
}

static affect_status job_exists(bool *found, api_db *db, const char *id, affect_error *err) {
    api_job_row row;
    return find_job(&row, found, db, id, err);
}

static affect_status clean_dataset(api_db *db, const char *folder, const char *id,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX];
    api_dataset dataset;
    bool found;
    AFFECT_TRY(find_dataset(&dataset, &found, db, id, err));
    if (strcmp(dataset.state, "failed") == 0) return affect_directory_remove(folder, err);
    if (found) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(path, err, folder, AFFECT_IMPORT_STAGING));
    AFFECT_TRY(affect_directory_remove(path, err));
    rmdir(folder);
    return AFFECT_STATUS_OK;
}

static affect_status dataset_exists(bool *found, api_db *db, const char *id, affect_error *err) {
    api_dataset dataset;
    return find_dataset(&dataset, found, db, id, err);
}

typedef struct {
    const char *name;   /* of the folder in DATA */
    const char *prefix; /* of its ids; NULL where no folder is set aside */
    affect_status (*exists)(bool *found, api_db *db, const char *id, affect_error *err);
    affect_status (*clean)(api_db *db, const char *folder, const char *id, affect_error *err);
    api_db *db;
} kind;

/* `.ID`, of a deletion that a kill cut: with a row it gets its name back, else it goes. */
static affect_status finish_deletion(const kind *k, const char *aside, const char *path,
                                     const char *id, affect_error *err) {
    bool found;
    AFFECT_TRY(k->exists(&found, k->db, id, err));
    if (!found) return affect_directory_remove(aside, err);
    return rename(aside, path) == 0 ? AFFECT_STATUS_OK
                                    : affect_error_errno(err, errno, "%s/%s", k->name, id);
}

/* A hidden folder whose name is not that of an id is not of this server's making, and stays. */
static affect_status clean(void *context, const char *folder, const char *name, affect_error *err) {
    const kind *k = context;
    char entry[AFFECT_PATH_MAX], path[AFFECT_PATH_MAX];
    bool aside = name[0] == '.';
    const char *id = name + aside;
    if (aside && (!k->prefix || strncmp(id, k->prefix, strlen(k->prefix)) != 0))
        return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_path_join(entry, err, folder, "%s", name));
    AFFECT_TRY(affect_path_join(path, err, folder, "%s", id));
    if (aside) AFFECT_TRY(finish_deletion(k, entry, path, id, err));
    affect_directory_each(path, remove_aside, NULL, NULL); /* a file, or gone: nothing to remove */
    return k->clean ? k->clean(k->db, path, id, err) : AFFECT_STATUS_OK;
}

static affect_status clean_all(api_db *db, void *context, affect_error *err) {
    const char *data_dir = context;
    char folder[AFFECT_PATH_MAX];
    kind kinds[] = {
        {"jobs", "job_", job_exists, clean_job, db},
        {"datasets", "ds_", dataset_exists, clean_dataset, db},
        {"models", NULL, NULL, NULL, db},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        AFFECT_TRY(affect_path_join(folder, err, data_dir, "%s", kinds[i].name));
        AFFECT_TRY(affect_directory_each(folder, clean, &kinds[i], err));
    }
    return AFFECT_STATUS_OK;
}

affect_status api_leftovers_remove(api_store *store, const char *data_dir, affect_error *err) {
    return api_store_read(store, clean_all, (void *)data_dir, err);
}
