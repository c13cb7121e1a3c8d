/* `affect compare`: results of evaluations or trainings against the first, over the utterances that
 * both have. */
#include "engine/evaluation/compare.h"
#include "engine/cli/command.h"
#include "engine/cli/flags.h"
#include "engine/core/file.h"

#include <string.h>
#include <sys/stat.h>

#define MAX_TABLE_BYTES ((size_t)1 << 30)

/* A folder stands for its predictions.csv. */
static affect_status read_table(affect_prediction_table *table, const char *path,
                                affect_error *err) {
    struct stat status;
    char inside[AFFECT_PATH_MAX];
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
        return affect_prediction_table_read(table, path, MAX_TABLE_BYTES, err);
    AFFECT_TRY(affect_path_join(inside, err, path, "%s", AFFECT_PREDICTIONS_TABLE));
    return affect_prediction_table_read(table, inside, MAX_TABLE_BYTES, err);
}

static affect_status find_format(size_t *format, const char *name, affect_error *err) {
    for (*format = 0; affect_compare_formats[*format]; ++*format)
        if (strcmp(affect_compare_formats[*format], name) == 0) return AFFECT_STATUS_OK;
    return affect_fail(err, INVALID, "--format: \"%.40s\" is none of json, csv, md, latex", name);
}

static affect_status compare(affect_buffer *text, const char *const *paths, size_t n,
                             const char *format_name, affect_error *err) {
    affect_prediction_table tables[AFFECT_COMPARE_MAX] = {0};
    affect_json *json = NULL;
    size_t format;
    AFFECT_TRY(find_format(&format, format_name, err));
    affect_status status = AFFECT_STATUS_OK;
    for (size_t i = 0; i < n && status == AFFECT_STATUS_OK; i++)
        status = read_table(&tables[i], paths[i], err);
    if (status == AFFECT_STATUS_OK) status = affect_compare(&json, tables, paths, n, err);
    if (status == AFFECT_STATUS_OK) affect_compare_print(text, json, format);
    if (text->failed) status = affect_fail(err, NO_MEMORY, "no memory for the comparison");
    affect_json_free(json);
    for (size_t i = 0; i < n; i++) affect_prediction_table_free(&tables[i]);
    return status;
}

int affect_command_compare(int argc, char **argv) {
    const char *format = "md", *paths[AFFECT_COMPARE_MAX];
    const affect_flag flags[] = {{"format", 'f', AFFECT_FLAG_STRING, &format, "NAME",
                                  "md (the default), csv, latex or json"},
                                 {0}};
    const affect_usage usage = {
        "compare", "FIRST SECOND...",
        "Compares results, folders or their predictions.csv, with the first of them: differences\n"
        "with intervals by speaker and by dialog, and McNemar's test.",
        flags};
    int n = 0, code = affect_flags_read(&usage, argc, argv, paths, AFFECT_COMPARE_MAX, &n);
    if (code >= 0) return code;
    affect_error err = {0};
    affect_buffer text = {0};
    affect_status status = compare(&text, paths, (size_t)n, format, &err);
    if (status == AFFECT_STATUS_OK)
        fwrite(text.data, 1, text.size, stdout);
    else
        code = affect_command_fail("compare", &err);
    affect_buffer_free(&text);
    return status == AFFECT_STATUS_OK ? AFFECT_EXIT_OK : code;
}
