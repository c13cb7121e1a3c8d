/* Subcommands of `affect`: one file each, one row in main.c's table.
 *
 * A subcommand gets argv[0] = its own name and the arguments after it, prints to stdout what was
 * asked for and to stderr what went wrong, and returns an exit code. This folder is the one place
 * of engine/ that prints. Adding a subcommand: a file with affect_command_NAME, a declaration
 * here, a row in main.c. */
#ifndef AFFECT_CLI_COMMAND_H
#define AFFECT_CLI_COMMAND_H

#include "engine/core/confine.h"
#include "engine/core/status.h"

enum { AFFECT_EXIT_OK = 0, AFFECT_EXIT_FAILED = 1, AFFECT_EXIT_USAGE = 2 };

int affect_command_import(int argc, char **argv);
int affect_command_train(int argc, char **argv);
int affect_command_evaluate(int argc, char **argv);
int affect_command_sweep(int argc, char **argv);
int affect_command_compare(int argc, char **argv);
int affect_command_predict(int argc, char **argv);
int affect_command_inspect(int argc, char **argv);

/* Prints "affect COMMAND: message" (and the JSON pointer, if any) to stderr; returns the exit code
 * for it: AFFECT_EXIT_FAILED. */
int affect_command_fail(const char *command, const affect_error *err);
/* affect_confine; where the kernel has no filters a line on stderr reports it, and the process
 * continues with the rest. */
affect_status affect_command_confine(const affect_confine_options *options, affect_error *err);

#endif
