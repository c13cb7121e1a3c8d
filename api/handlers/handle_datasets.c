/* /v1/datasets: importing, listing, reports, samples, splits, deleting.
 *
 * A body names its source in one of three ways: JSON with a path below the import root, a multipart
 * form with the archive as a part, or the raw archive with name and layout in the query. All three
 * become one specification, checked by the engine's own parser, and an import job. */
#include "api/context.h"
#include "api/handlers/handlers.h"
#include "api/jobs/job_queue.h"
#include "api/jobs/job_type.h"
#include "api/log.h"
#include "api/schema.h"
#include "api/store/dataset_registry.h"
#include "api/store/shard_collection.h"
#include "engine/corpus/import.h"
#include "engine/corpus/reader.h"
#include "engine/corpus/tree.h"
#include "engine/evaluation/split_list.h"
#include "engine/modality/features.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MANIFEST_BYTES (512u << 20)
#define MAX_TEXT_PART      (64u << 10)

/* What a client asked for. */
typedef struct {
    char name[72], layout[32];
    affect_json *source, *options, *features, *labels; /* owned */
} import_request;

static void add_layouts(affect_json *schema) {
    const affect_corpus_reader *reader;
    affect_json *names = affect_json_set_array(schema, "enum");
    for (size_t i = 0; (reader = affect_corpus_reader_at(i)); i++)
        affect_json_append(names, affect_json_new_string(reader->name));
}

/* One of the layouts', each of which begins with the layout's name. */
static void add_layout_options(affect_json *schema) {
    static const affect_field none[] = {AFFECT_FIELD_END};
    const affect_corpus_reader *reader;
    affect_json *list = affect_json_set_array(schema, "anyOf");
    for (size_t i = 0; (reader = affect_corpus_reader_at(i)); i++) {
        const affect_field *fields = reader->options ? reader->options : none;
        affect_json *options = affect_json_append(list, affect_fields_schema(fields, NULL));
        affect_json_set_string(options, "title", reader->name);
    }
}

typedef struct {
    char path[AFFECT_PATH_MAX];
} request_source;

static const affect_field source_fields[] = {AFFECT_FIELD_STRING(request_source, path, "",
                                                                 "a folder below the import root",
                                                                 .minimum = 1, .required = true),
                                             AFFECT_FIELD_END};

static const affect_field import_fields[] = {
    AFFECT_FIELD_STRING(import_request, name, "", "the dataset's name", .minimum = 1,
                        .required = true, .schema = API_NAME_SCHEMA),
    AFFECT_FIELD_STRING(import_request, layout, "iemocap", "how the corpus is laid out",
                        .complete = add_layouts),
    AFFECT_FIELD_JSON(import_request, source, "where the corpus is", .required = true,
                      .fields = source_fields),
    AFFECT_FIELD_JSON(import_request, options, "of the layout", .complete = add_layout_options),
    AFFECT_FIELD_JSON(import_request, features, "what is made of recordings",
                      .complete = affect_feature_config_describe),
    AFFECT_FIELD_JSON(
        import_request, labels,
        "the corpus' labels by class; null: every label is a class; without it: the layout's own",
        .schema = "{'type':['object','null'],'minProperties':1,'maxProperties':64,"
                  "'additionalProperties':{'type':'array','minItems':1,'items':"
                  "{'type':'string','minLength':1,'maxLength':64}}}"),
    AFFECT_FIELD_END};

/* JSON, a form with the same fields as text and an archive, or an archive with queries. */
void api_describe_dataset_create(affect_json *content) {
    affect_json *json = affect_json_set_object(content, "application/json");
    affect_json_set(json, "schema", api_schema_of(import_fields, "DatasetRequest"));
    affect_json *form =
        affect_json_set_object(affect_json_set_object(content, "multipart/form-data"), "schema");
    affect_json_set_string(form, "type", "object");
    affect_json *parts = affect_json_set_object(form, "properties");
    for (const affect_field *field = import_fields; field->name; field++) {
        if (strcmp(field->name, "source") == 0) continue;
        affect_json *part = affect_json_set_object(parts, field->name);
        bool text = field->kind == AFFECT_FIELD_KIND_STRING;
        affect_json_set_string(part, "type", "string");
        affect_json_set_string(part, "description", field->help);
        if (!text) affect_json_set_string(part, "contentMediaType", "application/json");
    }
    api_schema_add_file(parts, "archive", "tar, tar.gz, tar.zst or zip");
    affect_json *required = affect_json_set_array(form, "required");
    affect_json_append(required, affect_json_new_string("name"));
    affect_json_append(required, affect_json_new_string("archive"));
    affect_json_set_bool(form, "additionalProperties", false);
    for (size_t i = 0; api_archive_types[i]; i++)
        api_schema_add_file(affect_json_set_object(content, api_archive_types[i]), "schema",
                            "the archive");
}

/* One creation on its way. */
typedef struct {
    api_request *request;
    const api_context *context;
    import_request import;
    const api_part *archive;
    char job_id[API_ID_SIZE], dataset_id[API_DATASET_ID_SIZE];
    char folder[AFFECT_PATH_MAX]; /* of the job */
    affect_json *stored, *spec;   /* owned: the request as it is kept; the worker's */
} creation;

/* ---- The three kinds of bodies ---- */

static affect_status copy_text(char *to, size_t size, const char *name, const api_part *part,
                               affect_error *err) {
    if (!part->data || part->size >= size || memchr(part->data, 0, part->size))
        return affect_field_fail(err, "", name, "is longer than %zu bytes, or no text", size - 1);
    memcpy(to, part->data, part->size);
    to[part->size] = '\0';
    return AFFECT_STATUS_OK;
}

static affect_status parse_json_part(affect_json **json, const char *name, const api_part *part,
                                     affect_error *err) {
    if (!part->data || part->size > MAX_TEXT_PART)
        return affect_field_fail(err, "", name, "is longer than %u bytes", MAX_TEXT_PART);
    affect_json_free(*json);
    *json = NULL;
    affect_error why = {0};
    if (affect_json_parse(json, part->data, part->size, &why) != AFFECT_STATUS_OK)
        return affect_field_fail(err, "", name, "%.300s", why.message);
    return AFFECT_STATUS_OK;
}

static affect_status read_part(creation *c, const api_part *part, affect_error *err) {
    import_request *r = &c->import;
    if (strcmp(part->name, "name") == 0)
        return copy_text(r->name, sizeof r->name, "name", part, err);
    if (strcmp(part->name, "layout") == 0)
        return copy_text(r->layout, sizeof r->layout, "layout", part, err);
    if (strcmp(part->name, "options") == 0)
        return parse_json_part(&r->options, "options", part, err);
    if (strcmp(part->name, "features") == 0)
        return parse_json_part(&r->features, "features", part, err);
    if (strcmp(part->name, "labels") == 0) return parse_json_part(&r->labels, "labels", part, err);
    if (strcmp(part->name, "archive") != 0)
        return affect_field_fail(err, "", part->name,
                                 "unknown part (known: name, layout, options, features, labels, "
                                 "archive)");
    c->archive = part;
    return AFFECT_STATUS_OK;
}

/* False: already answered. */
static bool read_body(creation *c, affect_error *err, affect_status *status) {
    import_request *r = &c->import;
    const api_part *first = api_part_at(c->request, 0);
    const char *name = api_query(c->request, "name"), *layout = api_query(c->request, "layout");
    affect_fields_default(r, import_fields);
    *status = AFFECT_STATUS_OK;
    if (api_has_media_type(c->request, "application/json")) {
        const affect_json *json = api_body_json(c->request);
        if (!json) return false;
        *status = affect_fields_parse(r, import_fields, json, "", err);
        return true;
    }
    if (name && strlen(name) < sizeof r->name) snprintf(r->name, sizeof r->name, "%s", name);
    if (layout && strlen(layout) < sizeof r->layout)
        snprintf(r->layout, sizeof r->layout, "%s", layout);
    if (first && !first->name[0]) {
        c->archive = first;
        return true;
    }
    for (size_t i = 0; i < api_n_parts(c->request); i++)
        AFFECT_CHECK(*status, err, read_part(c, api_part_at(c->request, i), err));
    return true;
}

/* ---- Sources ---- */

/* A folder below the import root: opened here to refuse what is none, and once more by the worker,
 * which reads what it opened. */
static affect_status check_below_root(const char *root, const char *path, affect_error *err) {
    affect_tree *folder = NULL;
    affect_error why = {0};
    affect_status status = affect_tree_open(&folder, root, path, &why);
    affect_tree_close(folder);
    if (status == AFFECT_STATUS_OK) return status;
    return affect_field_fail(err, "/source", "path", "no folder below the import root: %.300s",
                             why.message);
}

static affect_status set_path_source(creation *c, affect_json *source, affect_error *err) {
    const api_settings *settings = c->context->settings;
    if (!affect_json_is_object(c->import.source)) /* an array's elements have no names */
        return affect_field_fail(err, "", "source", "need an object with path");
    for (const affect_json *m = affect_json_first(c->import.source); m; m = affect_json_next(m))
        if (strcmp(affect_json_name(m), "path") != 0)
            return affect_field_fail(err, "/source", affect_json_name(m),
                                     "unknown field (known: path)");
    const char *path = affect_json_get_string(c->import.source, "path", NULL);
    if (!path) return affect_field_fail(err, "/source", "path", "is missing, or no string");
    if (!settings->import_root[0])
        return affect_field_fail(err, "/source", "path",
                                 "this server imports no folders (start it with --import-root)");
    char root[PATH_MAX];
    if (!realpath(settings->import_root, root))
        return affect_error_errno(err, errno, "the import root");
    AFFECT_TRY(check_below_root(root, path, err));
    affect_json_set_string(source, "path", path);
    return AFFECT_STATUS_OK;
}

static affect_status set_archive_source(creation *c, affect_json *source, affect_error *err) {
    char key[2 * API_ID_SIZE];
    if (!c->archive && api_has_media_type(c->request, "application/json"))
        return AFFECT_STATUS_INVALID; /* the table has said so */
    if (!c->archive)
        return affect_field_fail(err, "", "archive",
                                 "is missing: need an archive, or JSON with a source");
    if (!c->archive->size) return affect_field_fail(err, "", "archive", "is empty");
    snprintf(key, sizeof key, "jobs/%s/%s", c->job_id, API_JOB_UPLOAD);
    affect_json_set_string(source, "archive", key);
    return AFFECT_STATUS_OK;
}

static void set_copy(affect_json *to, const char *name, const affect_json *value) {
    if (value) affect_json_set(to, name, affect_json_copy(value));
}

/* ---- The job ---- */

static affect_status make_spec(creation *c, affect_error *err) {
    const import_request *r = &c->import;
    char key[2 * API_ID_SIZE];
    AFFECT_TRY(affect_path_join(c->folder, err, c->context->settings->data, "jobs/%s", c->job_id));
    affect_json *spec = c->spec = affect_json_new_object();
    affect_json_set_string(spec, "type", api_job_type_import.name);
    affect_json_set_string(spec, "name", r->name);
    affect_json_set_string(spec, "layout", r->layout);
    affect_json *source = affect_json_set_object(spec, "source");
    affect_status status =
        r->source ? set_path_source(c, source, err) : set_archive_source(c, source, err);
    if (status != AFFECT_STATUS_OK) /* what else is wrong does not depend on it */
        affect_json_set_string(source, "path", "/");
    set_copy(spec, "options", r->options);
    set_copy(spec, "features", r->features);
    set_copy(spec, "labels", r->labels);
    affect_json_set_string(spec, "store", "features");
    snprintf(key, sizeof key, "datasets/%s", c->dataset_id);
    affect_json_set_string(spec, "output", key);
    const api_settings *settings = c->context->settings;
    affect_json_set_number(spec, "threads", (double)settings->job_threads);
    affect_json_set_number(spec, "max_file_bytes", (double)settings->max_import_file_bytes);
    affect_json_set_number(spec, "max_bytes", (double)settings->max_import_bytes);
    affect_import_options options;
    affect_import_options_default(&options);
    AFFECT_CHECK(status, err, affect_import_options_parse(&options, spec, err));
    affect_import_options_free(&options);
    return status;
}

static void make_told(creation *c) {
    const import_request *r = &c->import;
    c->stored = affect_json_new_object();
    affect_json_set_string(c->stored, "type", api_job_type_import.name);
    affect_json_set_string(c->stored, "name", r->name);
    affect_json_set_string(c->stored, "layout", r->layout);
    set_copy(c->stored, "source", r->source);
    set_copy(c->stored, "options", r->options);
    set_copy(c->stored, "features", r->features);
    set_copy(c->stored, "labels", r->labels);
    if (c->archive) affect_json_set_number(c->stored, "archive_bytes", (double)c->archive->size);
}

static affect_status keep_archive(creation *c, affect_error *err) {
    char path[AFFECT_PATH_MAX];
    if (!c->archive) return AFFECT_STATUS_OK;
    AFFECT_TRY(affect_directory_make(c->folder, err));
    AFFECT_TRY(affect_path_join(path, err, c->folder, API_JOB_UPLOAD));
    return api_part_keep(c->archive, path, err);
}

static affect_status check(creation *c, affect_status status, affect_error *err) {
    if (c->import.source && c->archive)
        AFFECT_CHECK(status, err,
                     affect_field_fail(err, "", "source", "and an archive: need one of them"));
    AFFECT_CHECK(status, err, api_name_check(c->import.name, "/name", err));
    AFFECT_CHECK(status, err, make_spec(c, err));
    return status;
}

/* `status` is that of reading the body: what else is wrong with it comes in the same answer. */
static affect_status create(creation *c, affect_status status, affect_error *err) {
    api_job_id_make(c->job_id);
    api_dataset_id_make(c->dataset_id);
    status = check(c, status, err);
    if (status != AFFECT_STATUS_OK) return status;
    make_told(c);
    status = keep_archive(c, err);
    api_dataset_record dataset = {.id = c->dataset_id,
                                  .name = c->import.name,
                                  .job_id = c->job_id,
                                  .layout = c->import.layout,
                                  .created_ms = affect_clock_unix_ms()};
    const api_job_new job = {.type = api_job_type_import.name,
                             .id = c->job_id,
                             .request = c->stored,
                             .spec = c->spec,
                             .dataset_id = c->dataset_id,
                             .also = api_dataset_insert,
                             .also_context = &dataset};
    char id[API_ID_SIZE];
    bool existed;
    if (status == AFFECT_STATUS_OK)
        status = api_job_create(c->context->jobs, &job, id, &existed, err);
    if (status != AFFECT_STATUS_OK) affect_directory_remove(c->folder, NULL);
    return status;
}

void api_handle_dataset_create(api_request *request) {
    creation c = {.request = request, .context = api_context_of(request)};
    affect_field_errors wrong = {0};
    affect_error error = {.fields = &wrong};
    affect_status status;
    bool open = read_body(&c, &error, &status);
    if (open) status = create(&c, status, &error);
    if (open && status == AFFECT_STATUS_OK)
        api_answer_job(request, 202, c.job_id);
    else if (open && status == AFFECT_STATUS_CONFLICT)
        api_answer_problem(request, "name_taken", "%s", error.message);
    else if (open)
        api_answer_error(request, &error);
    affect_fields_free(&c.import, import_fields);
    affect_json_free(c.stored);
    affect_json_free(c.spec);
}

/* ---- Reading ---- */

void api_handle_dataset_list(api_request *request) {
    int64_t limit = api_query_integer(request, "limit");
    const char *after = api_query(request, "after");
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status =
        api_dataset_list(&json, api_context_of(request)->store, after ? after : "", limit, &error);
    api_answer_document(request, status, json, &error);
}

void api_handle_dataset(api_request *request) {
    affect_error error = {0};
    affect_json *json = NULL;
    affect_status status = api_dataset_get(&json, api_context_of(request)->store,
                                           api_path_value(request, "dataset"), &error);
    api_answer_document(request, status, json, &error);
}

/* The manifest of a dataset that is ready; owned. */
static affect_status read_manifest(affect_json **manifest, api_request *request,
                                   affect_error *err) {
    const api_context *context = api_context_of(request);
    api_dataset dataset;
    char path[AFFECT_PATH_MAX];
    AFFECT_TRY(api_dataset_find(&dataset, context->store, api_path_value(request, "dataset"), err));
    if (strcmp(dataset.state, "ready") != 0)
        return affect_fail(err, CONFLICT, "dataset %s is %s (need ready)", dataset.name,
                           dataset.state);
    AFFECT_TRY(affect_path_join(path, err, context->settings->data, "datasets/%s/dataset.json",
                                dataset.id));
    affect_status status = affect_json_read(manifest, path, MAX_MANIFEST_BYTES, err);
    bool whole = status == AFFECT_STATUS_OK &&
                 affect_json_is_object(affect_json_get(*manifest, "report")) &&
                 affect_json_is_array(affect_json_get(*manifest, "utterances"));
    if (whole || status == AFFECT_STATUS_NO_MEMORY) return status;
    api_log(API_LOG_ERROR, "damaged manifest", "dataset", dataset.id, "detail",
            status == AFFECT_STATUS_OK ? "no report or no utterances" : err->message, NULL);
    return affect_fail(err, INTERNAL, "the manifest of dataset %s is missing or damaged",
                       dataset.name);
}

void api_handle_dataset_report(api_request *request) {
    affect_error error = {0};
    affect_json *manifest = NULL, *report = NULL;
    affect_status status = read_manifest(&manifest, request, &error);
    if (status == AFFECT_STATUS_OK) report = affect_json_detach(manifest, "report");
    affect_json_free(manifest);
    api_answer_result(request, status, report, &error);
}

static const char *id_of(const affect_json *utterance) {
    return affect_json_get_string(utterance, "id", "");
}

static affect_json *page_of(const affect_json *utterances, const char *after, int64_t limit) {
    affect_json *page = affect_json_new_object(), *data = affect_json_set_array(page, "data");
    const affect_json *u = affect_json_first(utterances);
    while (u && after && strcmp(id_of(u), after) != 0) u = affect_json_next(u);
    if (u && after) u = affect_json_next(u);
    for (int64_t n = 0; u && n < limit; n++, u = affect_json_next(u))
        affect_json_append(data, affect_json_copy(u));
    affect_json_set_bool(page, "more", u != NULL);
    return page;
}

void api_handle_dataset_samples(api_request *request) {
    int64_t limit = api_query_integer(request, "limit");
    affect_error error = {0};
    affect_json *manifest = NULL, *page = NULL;
    affect_status status = read_manifest(&manifest, request, &error);
    if (status == AFFECT_STATUS_OK)
        page = page_of(affect_json_get(manifest, "utterances"), api_query(request, "after"), limit);
    affect_json_free(manifest);
    api_answer_result(request, status, page, &error);
}

void api_handle_dataset_splits(api_request *request) {
    affect_error error = {0};
    affect_json *manifest = NULL, *list = NULL;
    affect_status status = read_manifest(&manifest, request, &error);
    if (status == AFFECT_STATUS_OK) status = affect_split_list(&list, manifest, &error);
    affect_json_free(manifest);
    api_answer_result(request, status, list, &error);
}

void api_handle_dataset_delete(api_request *request) {
    const api_context *context = api_context_of(request);
    const char *data_dir = context->settings->data;
    affect_error error = {0};
    api_dataset dataset;
    affect_status status =
        api_dataset_find(&dataset, context->store, api_path_value(request, "dataset"), &error);
    if (status == AFFECT_STATUS_OK)
        status = api_dataset_delete(context->store, data_dir, dataset.id, &error);
    if (status == AFFECT_STATUS_OK) api_shards_collect(context->store, data_dir);
    if (status == AFFECT_STATUS_OK)
        api_answer_empty(request, 204);
    else if (status == AFFECT_STATUS_CONFLICT)
        api_answer_problem(request, "in_use", "%s", error.message);
    else
        api_answer_error(request, &error);
}
