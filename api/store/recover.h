/* A lost database made anew from what lies in the data folder.
 *
 * Datasets come back from their manifests, model versions from their files: names, numbers, digests
 * and contents are what they were. Jobs, their events and curves are gone with the database.
 * Nothing in the folders is changed. */
#ifndef AFFECT_STORE_RECOVER_H
#define AFFECT_STORE_RECOVER_H

#include "api/store/store.h"

typedef struct {
    size_t n_datasets, n_versions, n_skipped; /* skipped: could not be read; each is logged */
} api_recovered;

/* Whether the database at `path` is missing or empty while `data_dir` holds datasets or models:
 * CONFLICT, with a sentence that says what to do. */
affect_status api_recover_needed(const char *data_dir, const char *path, affect_error *err);

/* Fills the tables of a new store, in one write: all or nothing. */
affect_status api_recover(api_recovered *found, api_store *store, const char *data_dir,
                          affect_error *err);

#endif
