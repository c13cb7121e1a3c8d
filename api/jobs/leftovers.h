/* What killed servers and workers left behind in the data folder.
 *
 * Called once at the start, when the jobs of an earlier server are adopted and no worker runs. Only
 * what nothing can use any more is removed: archives of imports that are not to run, what failed
 * imports made, last checkpoints of trainings that succeeded, files that were written aside, and
 * folders of deletions that were cut (folder_deletion.h). Folders that no row knows keep the rest
 * of what is in them; hidden folders of other names (.snapshot) are left alone. */
#ifndef AFFECT_JOBS_LEFTOVERS_H
#define AFFECT_JOBS_LEFTOVERS_H

#include "api/store/store.h"

affect_status api_leftovers_remove(api_store *store, const char *data_dir, affect_error *err);

#endif
