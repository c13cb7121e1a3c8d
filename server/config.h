/* Settings from everywhere: table <- configuration file <- environment <- flags. */
#ifndef AFFECTD_SERVER_CONFIG_H
#define AFFECTD_SERVER_CONFIG_H

#include "api/settings.h"

typedef struct {
    bool help, version, healthcheck, contract,
        recover; /* what the command line asked for instead of serving */
} config_command;

/* Flags: --listen, --data, --import-root, --config FILE, --device, --allow-anonymous, --log-level,
 * --set NAME=VALUE for any row of the table; --help, --version, --healthcheck, --contract. INVALID
 * names what is unknown or wrong, and where it came from. The word `recover` selects that command.
 */
affect_status config_load(api_settings *settings, config_command *command, int argc, char **argv,
                          affect_error *err);
/* Usage and the whole table with defaults, for --help. */
void config_print_help(void);

#endif
