/* `affect inspect`: what a model file holds; the library's devices. */
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/core/embedded.h"

#include <string.h>

int affect_command_inspect(int argc, char **argv) {
    const affect_flag flags[] = {{0}};
    const affect_usage usage = {"inspect", "", "Lists the presets of architectures", flags};
    int code = affect_flags_read(&usage, argc, argv, NULL, 0, NULL);
    if (code >= 0) return code;
    for (const affect_embedded_file *file = affect_embedded_files; file->name; file++)
        if (strncmp(file->name, "configs/models/", 15) == 0) printf("%s\n", file->name + 15);
    return AFFECT_EXIT_OK;
}
