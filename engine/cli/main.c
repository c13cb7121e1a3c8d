/* `affect`: import, train, evaluate, compare, predict and inspect from a shell.
 *
 * Only a table of subcommands and their dispatch. Exit codes: 0 done, 1 failed, 2 wrong usage. */
#include "engine/cli/command.h"
#include "engine/core/file.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* one line */
} commands[] = {
    {"import", affect_command_import, "make a dataset of a corpus: a folder or an archive"},
    {"train", affect_command_train, "train a network on a dataset"},
    {"evaluate", affect_command_evaluate, "evaluate a model on a part of its split"},
    {"sweep", affect_command_sweep, "train every point, fold and seed of an experiment"},
    {"compare", affect_command_compare, "compare results over the utterances that both have"},
    {"predict", affect_command_predict, "classify one utterance"},
    {"inspect", affect_command_inspect, "show a model file, or make one with initial weights"},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to) {
    fprintf(to, "usage: affect COMMAND [flags]   (details: affect COMMAND --help)\n"
                "Emotion recognition from speech and motion capture.\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n  --version    print the version\n  --help       print this\n");
}

int main(int argc, char **argv) {
    affect_file_hold_standard();
    if (argc < 2) {
        print_help(stderr);
        return AFFECT_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("affect %s\n", AFFECT_VERSION);
        return AFFECT_EXIT_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return AFFECT_EXIT_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, argv[1]) == 0) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "affect: unknown command \"%s\" (affect --help lists them)\n", argv[1]);
    return AFFECT_EXIT_USAGE;
}
