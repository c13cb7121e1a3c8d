/* Flags of a subcommand as a table: each row names a flag, the variable it sets, and its help.
 *
 *   const char *device = "auto"; int64_t threads = 0; bool events = false;
 *   const affect_flag flags[] = {
 *       {"device", 0, AFFECT_FLAG_STRING, &device, "NAME", "cpu, cuda or auto"},
 *       {"threads", 't', AFFECT_FLAG_INTEGER, &threads, "N", "0: all cores"},
 *       {"events", 0, AFFECT_FLAG_BOOL, &events, NULL, "print JSON lines"},
 *       {0}};
 *   const affect_usage usage = {"train", "SPEC.json", "Trains a network", flags};
 *   int code = affect_flags_read(&usage, argc, argv, files, 1, &n_files);
 *   if (code >= 0) return code;
 *
 * Written --flag value, --flag=value, -f value; a bool is --flag or --flag=true|false. What starts
 * without a dash is positional; after "--" everything is. Variables keep what they hold when their
 * flag is absent, so the default is the variable's initial value. */
#ifndef AFFECT_CLI_FLAGS_H
#define AFFECT_CLI_FLAGS_H

#include "engine/core/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum {
    AFFECT_FLAG_BOOL,    /* bool */
    AFFECT_FLAG_INTEGER, /* int64_t, 0..INT32_MAX */
    AFFECT_FLAG_LARGE,   /* int64_t, 0..2^53: what a JSON number holds exactly */
    AFFECT_FLAG_NUMBER,  /* double, finite */
    AFFECT_FLAG_STRING,  /* const char *, borrowed from argv */
    AFFECT_FLAG_LIST     /* affect_flag_list: the flag may be repeated */
} affect_flag_kind;

typedef struct {
    const char *values[16]; /* borrowed from argv */
    size_t n;
} affect_flag_list;

typedef struct {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* the short form, or 0 */
    affect_flag_kind kind;
    void *value;
    const char *placeholder; /* "FILE" in the help; NULL for a bool */
    const char *help;
} affect_flag;

typedef struct {
    const char *command;
    const char *positionals; /* "MODEL [FILE...]" in the help, or "" */
    const char *about;       /* one sentence */
    const affect_flag *flags;
} affect_usage;

/* INVALID names the flag at fault. positionals[0..*n) are borrowed from argv; more than
 * max_positionals is INVALID. *help becomes true for --help (then nothing else is checked). */
affect_status affect_flags_parse(const affect_flag *flags, int argc, char **argv,
                                 const char **positionals, int max_positionals, int *n, bool *help,
                                 affect_error *err);
void affect_flags_print(FILE *to, const affect_usage *usage);

/* What a subcommand calls: parses; prints help to stdout or the error to stderr. Returns -1 to go
 * on, else the exit code. */
int affect_flags_read(const affect_usage *usage, int argc, char **argv, const char **positionals,
                      int max_positionals, int *n);

#endif
