/* What an older schema had in its texts; see upgrade.h.
 *
 * Schema 1 had absolute paths in the specifications of jobs. The folder may have been
 * moved since, so the one that they lie below is not that of today: it is what stands before the
 * key of the job's own output. */
#include "api/store/upgrade.h"

#include "api/store/store.h"
#include "engine/core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The length of DATA/ before "jobs/ID" or "datasets/ID" at the end of the output; 0: of neither. */
static size_t folder_length(const affect_json *spec, const char *id, const char *dataset_id) {
    const char *output = affect_json_get_string(spec, "output", "");
    size_t n = strlen(output);
    const char *keys[][2] = {{"jobs", id}, {"datasets", dataset_id}};
    for (size_t i = 0; i < 2; i++) {
        char key[2 * API_ID_SIZE];
        size_t size = (size_t)snprintf(key, sizeof key, "/%s/%s", keys[i][0], keys[i][1]);
        if (n >= size && strcmp(output + n - size, key) == 0) return n - size + 1;
    }
    return 0;
}

/* Takes the folder away from the members of an object that begin with it. */
static void make_relative(affect_json *object, const char *folder, size_t n) {
    static const char *const names[] = {"dataset", "output", "model", "store", "archive"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = affect_json_get_string(object, names[i], NULL);
        if (!path || strncmp(path, folder, n) != 0) continue;
        char *key = strdup(path + n);
        if (key) affect_json_set_string(object, names[i], key);
        free(key);
    }
}

affect_status api_upgrade_spec(char **text, const char *spec_text, const char *id,
                               const char *dataset_id, affect_error *err) {
    affect_json *spec = NULL;
    AFFECT_TRY(affect_json_parse(&spec, spec_text, strlen(spec_text), err));
    size_t n = folder_length(spec, id, dataset_id);
    char *folder = strdup(affect_json_get_string(spec, "output", ""));
    if (folder && n) {
        affect_json *source = affect_json_get(spec, "source");
        make_relative(spec, folder, n);
        make_relative(source, folder, n);
        if (source) affect_json_free(affect_json_detach(source, "root"));
    }
    *text = folder ? affect_json_text(spec) : NULL;
    free(folder);
    affect_json_free(spec);
    return *text ? AFFECT_STATUS_OK : affect_fail(err, NO_MEMORY, "database: no memory to upgrade");
}
