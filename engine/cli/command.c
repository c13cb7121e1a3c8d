/* What subcommands share: how they fail, and how they give up privileges before they read what came
 * from elsewhere. */
#include "engine/cli/command.h"

#include <stdio.h>

int affect_command_fail(const char *command, const affect_error *err) {
    fprintf(stderr, "affect %s: %s%s%s%s\n", command, err->message, *err->pointer ? " (at " : "",
            err->pointer, *err->pointer ? ")" : "");
    return AFFECT_EXIT_FAILED;
}

affect_status affect_command_confine(const affect_confine_options *options, affect_error *err) {
    affect_error missing = {0};
    affect_status status = affect_confine(options, &missing);
    if (status == AFFECT_STATUS_UNSUPPORTED) {
        fprintf(stderr, "affect: %s\n", missing.message);
        return AFFECT_STATUS_OK;
    }
    if (err) *err = missing;
    return status;
}
