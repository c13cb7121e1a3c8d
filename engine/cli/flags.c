/* Flags as a table; see flags.h. */
#include "engine/cli/flags.h"

#include "engine/cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const affect_flag *find_flag(const affect_flag *flags, const char *argument, size_t length) {
    for (const affect_flag *flag = flags; flag->name; flag++) {
        if (argument[1] == '-') {
            if (strlen(flag->name) == length - 2 && !strncmp(flag->name, argument + 2, length - 2))
                return flag;
        } else if (length == 2 && flag->letter == argument[1]) {
            return flag;
        }
    }
    return NULL;
}

static affect_status set_integer(const affect_flag *flag, const char *text, int64_t most,
                                 affect_error *err) {
    char *end = NULL;
    errno = 0;
    int64_t number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < 0 || number > most)
        return affect_fail(err, INVALID, "--%s: \"%.80s\" is not an integer from 0 to %" PRId64,
                           flag->name, text, most);
    *(int64_t *)flag->value = number;
    return AFFECT_STATUS_OK;
}

static affect_status set_value(const affect_flag *flag, const char *text, affect_error *err) {
    char *end = NULL;
    switch (flag->kind) {
    case AFFECT_FLAG_BOOL:
        if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return affect_fail(err, INVALID, "--%s: \"%.80s\" is not true or false", flag->name,
                               text);
        *(bool *)flag->value = !text || strcmp(text, "true") == 0;
        return AFFECT_STATUS_OK;
    case AFFECT_FLAG_INTEGER:
        return set_integer(flag, text, INT32_MAX, err);
    case AFFECT_FLAG_LARGE:
        return set_integer(flag, text, INT64_C(1) << 53, err);
    case AFFECT_FLAG_NUMBER:
        *(double *)flag->value = strtod(text, &end);
        if (end == text || *end || !isfinite(*(double *)flag->value))
            return affect_fail(err, INVALID, "--%s: \"%.80s\" is not a number", flag->name, text);
        return AFFECT_STATUS_OK;
    case AFFECT_FLAG_STRING:
        *(const char **)flag->value = text;
        return AFFECT_STATUS_OK;
    case AFFECT_FLAG_LIST: {
        affect_flag_list *list = flag->value;
        if (list->n == sizeof list->values / sizeof *list->values)
            return affect_fail(err, INVALID, "--%s: more than %zu", flag->name, list->n);
        list->values[list->n++] = text;
        return AFFECT_STATUS_OK;
    }
    }
    return AFFECT_STATUS_OK;
}

/* Reads the flag at argv[*i]; moves *i past a separate value. */
static affect_status read_flag(const affect_flag *flags, int argc, char **argv, int *i,
                               affect_error *err) {
    const char *argument = argv[*i];
    const char *equals = strchr(argument, '=');
    size_t length = equals ? (size_t)(equals - argument) : strlen(argument);
    const affect_flag *flag = find_flag(flags, argument, length);
    if (!flag)
        return affect_fail(err, INVALID, "unknown flag %.*s (see --help)",
                           (int)(length < 80 ? length : 80), argument);
    const char *text = equals ? equals + 1 : NULL;
    if (!text && flag->kind != AFFECT_FLAG_BOOL) {
        if (*i + 1 >= argc)
            return affect_fail(err, INVALID, "--%s: needs a value (%s)", flag->name,
                               flag->placeholder ? flag->placeholder : "VALUE");
        text = argv[++*i];
    }
    return set_value(flag, text, err);
}

affect_status affect_flags_parse(const affect_flag *flags, int argc, char **argv,
                                 const char **positionals, int max_positionals, int *n, bool *help,
                                 affect_error *err) {
    bool only_positionals = false;
    int count = 0;
    *help = false;
    for (int i = 1; i < argc; i++) {
        if (!only_positionals && strcmp(argv[i], "--") == 0) {
            only_positionals = true;
        } else if (!only_positionals && argv[i][0] == '-' && argv[i][1]) {
            if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
                *help = true;
                return AFFECT_STATUS_OK;
            }
            AFFECT_TRY(read_flag(flags, argc, argv, &i, err));
        } else {
            if (count >= max_positionals)
                return affect_fail(err, INVALID, "unexpected argument \"%.80s\" (at most %d)",
                                   argv[i], max_positionals);
            positionals[count++] = argv[i];
        }
    }
    if (n) *n = count;
    return AFFECT_STATUS_OK;
}

void affect_flags_print(FILE *to, const affect_usage *usage) {
    fprintf(to, "usage: affect %s%s%s%s\n%s\n", usage->command,
            usage->flags->name ? " [flags]" : "", *usage->positionals ? " " : "",
            usage->positionals, usage->about);
    if (usage->flags->name) fputc('\n', to);
    for (const affect_flag *flag = usage->flags; flag->name; flag++) {
        char letter[5] = "    ", left[64];
        if (flag->letter) snprintf(letter, sizeof letter, "-%c, ", flag->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, flag->name,
                 flag->placeholder ? flag->placeholder : "");
        fprintf(to, "  %-32s %s\n", left, flag->help);
    }
}

int affect_flags_read(const affect_usage *usage, int argc, char **argv, const char **positionals,
                      int max_positionals, int *n) {
    affect_error err = {0};
    bool help = false;
    if (affect_flags_parse(usage->flags, argc, argv, positionals, max_positionals, n, &help,
                           &err)) {
        affect_command_fail(usage->command, &err);
        return AFFECT_EXIT_USAGE;
    }
    if (!help) return -1;
    affect_flags_print(stdout, usage);
    return AFFECT_EXIT_OK;
}
