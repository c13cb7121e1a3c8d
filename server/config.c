/* Settings from everywhere; see config.h. */
#include "server/config.h"

#include "engine/core/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CONFIG_BYTES (1u << 20)
#define ENVIRONMENT      "AFFECTD_"

/* Flags that are settings under a name of their own. */
static const struct {
    const char *flag, *setting;
    bool takes_value;
} flags[] = {{"--listen", "listen", true},
             {"--data", "data", true},
             {"--import-root", "import_root", true},
             {"--device", "device", true},
             {"--predict-device", "predict_device", true},
             {"--log-level", "log_level", true},
             {"--port-file", "port_file", true},
             {"--allow-anonymous", "allow_anonymous", false}};

static affect_status set(api_settings *settings, const char *name, const char *text,
                         const char *where, affect_error *err) {
    const affect_field *field = affect_fields_find(api_settings_fields, name);
    if (!field) return affect_fail(err, INVALID, "%s: no setting is called \"%.60s\"", where, name);
    affect_status status = affect_fields_parse_text(settings, field, text, err);
    return status == AFFECT_STATUS_OK ? status : affect_error_prefix(err, status, "%s", where);
}

static affect_status read_file(api_settings *settings, const char *path, affect_error *err) {
    affect_json *json = NULL;
    AFFECT_TRY(affect_json_read(&json, path, MAX_CONFIG_BYTES, err));
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    affect_status status = affect_fields_parse(settings, api_settings_fields, json, "", &error);
    affect_json_free(json);
    if (status == AFFECT_STATUS_OK) return status;
    affect_error_set(err, status, "%s: %s", path, wrong.n ? wrong.items[0].message : error.message);
    for (size_t i = 1; i < wrong.n; i++) {
        size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, "; %s", wrong.items[i].message);
    }
    return status;
}

static affect_status read_environment(api_settings *settings, affect_error *err) {
    for (char **variable = environ; *variable; variable++) {
        if (strncmp(*variable, ENVIRONMENT, strlen(ENVIRONMENT)) != 0) continue;
        char name[64];
        const char *from = *variable + strlen(ENVIRONMENT), *equals = strchr(from, '=');
        if (!equals || (size_t)(equals - from) >= sizeof name) continue;
        size_t n = (size_t)(equals - from);
        for (size_t i = 0; i < n; i++) name[i] = (char)tolower((unsigned char)from[i]);
        name[n] = '\0';
        if (strcmp(name, "config") == 0) continue; /* read before */
        AFFECT_TRY(set(settings, name, equals + 1, "environment", err));
    }
    return AFFECT_STATUS_OK;
}

/* The value of argv[*i]: after '=', or the next argument. */
static const char *value_of(int argc, char **argv, int *i) {
    const char *equals = strchr(argv[*i], '=');
    if (equals) return equals + 1;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

static bool is_flag(const char *argument, const char *flag) {
    size_t n = strlen(flag);
    return strncmp(argument, flag, n) == 0 && (!argument[n] || argument[n] == '=');
}

static affect_status set_pair(api_settings *settings, const char *pair, affect_error *err) {
    char name[64];
    const char *equals = strchr(pair, '=');
    if (!equals || (size_t)(equals - pair) >= sizeof name)
        return affect_fail(err, INVALID, "--set %.60s: need NAME=VALUE", pair);
    snprintf(name, sizeof name, "%.*s", (int)(equals - pair), pair);
    return set(settings, name, equals + 1, "--set", err);
}

static affect_status read_flag(api_settings *settings, int argc, char **argv, int *i,
                               affect_error *err) {
    const char *argument = argv[*i];
    for (size_t f = 0; f < sizeof flags / sizeof *flags; f++) {
        if (!is_flag(argument, flags[f].flag)) continue;
        if (!flags[f].takes_value)
            return set(settings, flags[f].setting, "true", flags[f].flag, err);
        const char *value = value_of(argc, argv, i);
        if (!value) return affect_fail(err, INVALID, "%s: needs a value", flags[f].flag);
        return set(settings, flags[f].setting, value, flags[f].flag, err);
    }
    if (is_flag(argument, "--set")) {
        const char *pair = strcmp(argument, "--set") == 0 ? value_of(argc, argv, i) : argument + 6;
        return set_pair(settings, pair ? pair : "", err);
    }
    return affect_fail(err, INVALID, "unknown argument %.80s (--help lists them)", argument);
}

/* Notes what is no setting; true when it was one of those. */
static bool read_command(config_command *command, const char **config, int argc, char **argv,
                         int *i) {
    if (strcmp(argv[*i], "--help") == 0 || strcmp(argv[*i], "-h") == 0)
        command->help = true;
    else if (strcmp(argv[*i], "--version") == 0)
        command->version = true;
    else if (strcmp(argv[*i], "--healthcheck") == 0)
        command->healthcheck = true;
    else if (strcmp(argv[*i], "--contract") == 0)
        command->contract = true;
    else if (strcmp(argv[*i], "recover") == 0)
        command->recover = true;
    else if (is_flag(argv[*i], "--config")) {
        const char *value = value_of(argc, argv, i);
        *config = value ? value : "";
    } else
        return false;
    return true;
}

affect_status config_load(api_settings *settings, config_command *command, int argc, char **argv,
                          affect_error *err) {
    const char *config = getenv(ENVIRONMENT "CONFIG");
    *command = (config_command){0};
    affect_fields_default(settings, api_settings_fields);
    for (int i = 1; i < argc; i++) read_command(command, &config, argc, argv, &i);
    if (config && !*config) return affect_fail(err, INVALID, "--config: needs the name of a file");
    if (config) AFFECT_TRY(read_file(settings, config, err));
    AFFECT_TRY(read_environment(settings, err));
    for (int i = 1; i < argc; i++) {
        config_command ignored;
        const char *also_ignored;
        if (!read_command(&ignored, &also_ignored, argc, argv, &i))
            AFFECT_TRY(read_flag(settings, argc, argv, &i, err));
    }
    return AFFECT_STATUS_OK;
}

void config_print_help(void) {
    api_settings defaults;
    affect_fields_default(&defaults, api_settings_fields);
    affect_json *json = affect_json_new_object();
    affect_fields_print(json, &defaults, api_settings_fields);
    printf("usage: affectd [--listen HOST:PORT] [--data DIR] [--import-root DIR] [--device NAME]\n"
           "               [--predict-device NAME] [--config FILE] [--allow-anonymous] [--set "
           "NAME=VALUE]...\n"
           "               [--healthcheck] [--contract] [--version] [--help]\n"
           "       affectd recover [--data DIR]   a lost database anew from datasets and models\n\n"
           "A setting's value is the last of: its default, --config FILE (or " ENVIRONMENT
           "CONFIG), the\nenvironment (" ENVIRONMENT "JOB_SLOTS=2), flags.\n\n");
    for (const affect_field *field = api_settings_fields; field->name; field++) {
        char *text = affect_json_text(affect_json_get(json, field->name));
        printf("  %-28s %s (default %s)\n", field->name, field->help, text ? text : "?");
        free(text);
    }
    affect_json_free(json);
}
