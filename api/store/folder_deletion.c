/* Deleting a folder with its row; see folder_deletion.h. */
#include "api/store/folder_deletion.h"

#include <errno.h>
#include <stdio.h>

affect_status api_folder_deletion_begin(api_folder_deletion *deletion, const char *data_dir,
                                        const char *kind, const char *id, affect_error *err) {
    *deletion = (api_folder_deletion){0};
    AFFECT_TRY(affect_path_join(deletion->folder, err, data_dir, "%s/%s", kind, id));
    AFFECT_TRY(affect_path_join(deletion->aside, err, data_dir, "%s/.%s", kind, id));
    deletion->moved = rename(deletion->folder, deletion->aside) == 0;
    if (!deletion->moved && errno != ENOENT)
        return affect_error_errno(err, errno, "%s", deletion->folder);
    return AFFECT_STATUS_OK;
}

void api_folder_deletion_end(api_folder_deletion *deletion, bool removed) {
    if (!deletion->moved) return;
    if (removed)
        affect_directory_remove(deletion->aside, NULL);
    else
        rename(deletion->aside, deletion->folder);
}
