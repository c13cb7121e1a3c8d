/* The table of launchers: a new one is a row here and a file that defines it. */
#include "api/jobs/launcher.h"

#include <string.h>

static const api_launcher *const launchers[] = {&api_launcher_local};

affect_status api_launcher_find(const api_launcher **launcher, const char *name,
                                affect_error *err) {
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        if (strcmp(launchers[i]->name, name) != 0) continue;
        *launcher = launchers[i];
        return AFFECT_STATUS_OK;
    }
    return affect_fail(err, INVALID, "there is no launcher \"%.40s\"", name);
}
