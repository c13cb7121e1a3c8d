/* Schemas of bodies; see schema.h.
 *
 * The named tables are those that clients meet in several places, or that would otherwise get a
 * made-up name in a generated client. */
#include "api/schema.h"

#include "engine/evaluation/split.h"
#include "engine/train/job_spec.h"

const char *const api_archive_types[] = {"application/gzip", "application/zip", "application/x-tar",
                                         "application/zstd", NULL};

static const struct {
    const affect_field *table;
    const char *name;
} named[] = {{affect_split_fields, "Split"}, {affect_training_fields, "Training"}};
enum { N_NAMED = sizeof named / sizeof *named };

const affect_field *api_schema_table(size_t i) {
    return i < N_NAMED ? named[i].table : NULL;
}

const char *api_schema_name(const affect_field *table) {
    for (int i = 0; i < N_NAMED; i++)
        if (named[i].table == table) return named[i].name;
    return NULL;
}

affect_json *api_schema_of(const affect_field *table, const char *title) {
    affect_json *schema = affect_fields_schema(table, api_schema_name);
    affect_json_set_string(schema, "title", title);
    return schema;
}

void api_schema_add_file(affect_json *object, const char *name, const char *help) {
    affect_json *file = affect_json_set_object(object, name);
    affect_json_set_string(file, "type", "string");
    affect_json_set_string(file, "format", "binary");
    affect_json_set_string(file, "description", help);
}
