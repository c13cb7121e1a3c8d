/* Specifications of workers; see job_spec_file.h.
 *
 * Folders are made absolute when a worker starts, not when the server does: a worker runs in a
 * folder of its own. */
#include "api/jobs/job_spec_file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The object that holds "a/b", and *name "b"; NULL: there is none. */
static affect_json *holder_of(affect_json *spec, const char **name) {
    char first[32];
    const char *slash = strchr(*name, '/');
    if (!slash || (size_t)(slash - *name) >= sizeof first) return spec;
    memcpy(first, *name, (size_t)(slash - *name));
    first[slash - *name] = '\0';
    *name = slash + 1;
    return affect_json_get(spec, first);
}

static affect_status make_absolute(affect_json *spec, const char *key, const char *data,
                                   affect_error *err) {
    char path[AFFECT_PATH_MAX];
    affect_json *holder = holder_of(spec, &key);
    const char *value = affect_json_get_string(holder, key, NULL);
    if (!value) return AFFECT_STATUS_OK;
    if (value[0] == '/')
        return affect_fail(err, INTERNAL, "a job's specification has a path in place of a key");
    AFFECT_TRY(affect_path_join(path, err, data, "%s", value));
    affect_json_set_string(holder, key, path);
    return AFFECT_STATUS_OK;
}

affect_status api_job_spec_resolve(affect_json *spec, const api_job_type *type,
                                   const char *data_dir, const char *import_root,
                                   affect_error *err) {
    char data[PATH_MAX], root[PATH_MAX];
    if (!realpath(data_dir, data)) return affect_error_errno(err, errno, "the data folder");
    for (const char *const *key = type->keys; key && *key; key++)
        AFFECT_TRY(make_absolute(spec, *key, data, err));
    affect_json *source = type->reads_import_root ? affect_json_get(spec, "source") : NULL;
    if (!affect_json_get_string(source, "path", NULL)) return AFFECT_STATUS_OK;
    if (!import_root[0])
        return affect_fail(err, INVALID,
                           "this server imports no folders (start it with --import-root)");
    if (!realpath(import_root, root)) return affect_error_errno(err, errno, "the import root");
    affect_json_set_string(source, "root", root);
    return AFFECT_STATUS_OK;
}
