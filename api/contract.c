/* The contract; see contract.h.
 *
 * One pass over the routes. What a row implies is not written in it: a path with a {value} may be
 * 404, one with queries or a body 422, one with a body 400, 413 and 415; all else is the default
 * answer, a problem. Schemas with a title move to components/schemas and leave a reference. */
#include "api/contract.h"

#include "api/jobs/job_type.h"
#include "api/problem.h"
#include "api/routes.h"
#include "api/schema.h"
#include "engine/core/embedded.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME 80

typedef struct {
    affect_json *paths, *schemas; /* borrowed */
    affect_error error;           /* the first */
} contract;

static affect_json *reference(const char *name) {
    affect_json *json = affect_json_new_object();
    char text[MAX_NAME + 32];
    snprintf(text, sizeof text, "#/components/schemas/%s", name);
    affect_json_set_string(json, "$ref", text);
    return json;
}

/* ---- Queries, headers, values of the path ---- */

static void add_parameter(affect_json *list, const char *name, const char *in, const char *help,
                          bool required, affect_json *schema) {
    affect_json *parameter = affect_json_append(list, affect_json_new_object());
    affect_json_set_string(parameter, "name", name);
    affect_json_set_string(parameter, "in", in);
    if (help) affect_json_set_string(parameter, "description", help);
    if (required) affect_json_set_bool(parameter, "required", true);
    affect_json_free(affect_json_detach(schema, "description"));
    affect_json_set(parameter, "schema", schema);
}

static void add_table(affect_json *list, const affect_field *table, const char *in) {
    for (const affect_field *field = table; field && field->name; field++) {
        affect_json *schema = affect_field_schema(field, NULL);
        if (affect_json_is_null(affect_json_get(schema, "default"))) /* none: another meaning */
            affect_json_free(affect_json_detach(schema, "default"));
        add_parameter(list, field->name, in, field->help, field->required, schema);
    }
}

static void add_path_values(affect_json *list, const char *pattern) {
    for (const char *at = strchr(pattern, '{'); at; at = strchr(at + 1, '{')) {
        char name[MAX_NAME];
        affect_json *schema = affect_json_new_object();
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "}"), at + 1);
        affect_json_set_string(schema, "type", "string");
        affect_json_set_number(schema, "minLength", 1);
        add_parameter(list, name, "path", NULL, true, schema);
    }
}

/* ---- Answers ---- */

static void add_problem(affect_json *responses, const char *status, const char *text) {
    if (affect_json_get(responses, status)) return;
    affect_json *response = affect_json_set_object(responses, status);
    affect_json_set_string(response, "description", text);
    affect_json *content = affect_json_set_object(response, "content");
    affect_json *kind = affect_json_set_object(content, "application/problem+json");
    affect_json_set(kind, "schema", reference("Problem"));
}

/* A name of answers.json, or a media type: text, or bytes. */
static void add_content(contract *c, affect_json *content, const char *word) {
    if (!strchr(word, '/')) {
        affect_json *kind = affect_json_set_object(content, "application/json");
        affect_json_set(kind, "schema", reference(word));
        if (!affect_json_get(c->schemas, word))
            affect_fail(&c->error, INTERNAL, "the contract: answers.json has no %s", word);
        return;
    }
    affect_json *kind = affect_json_set_object(content, word);
    affect_json *schema = affect_json_set_object(kind, "schema");
    affect_json_set_string(schema, "type", "string");
    if (strcmp(word, "application/octet-stream") == 0)
        affect_json_set_string(schema, "format", "binary");
}

static void add_location(affect_json *response) {
    affect_json *headers = affect_json_set_object(response, "headers");
    affect_json *location = affect_json_set_object(headers, "Location");
    affect_json_set_string(location, "description", "the job's path");
    affect_json_set_string(affect_json_set_object(location, "schema"), "type", "string");
}

/* One item of a row's answers: "200 Job", "204", "200 Metrics|text/csv". */
static void add_answer(contract *c, affect_json *responses, const api_route *route,
                       const char *item) {
    char status[4], words[160], *rest = words;
    snprintf(status, sizeof status, "%.3s", item);
    snprintf(words, sizeof words, "%s", item[3] ? item + 4 : "");
    if (atoi(status) >= 400) {
        add_problem(responses, status, api_problem_title(atoi(status)));
        return;
    }
    affect_json *response = affect_json_set_object(responses, status);
    affect_json_set_string(response, "description",
                           strcmp(status, "206") == 0   ? "the range that was asked for"
                           : strcmp(status, "304") == 0 ? "If-None-Match names what is there"
                                                        : route->summary);
    if (strcmp(status, "202") == 0) add_location(response);
    affect_json *content = *words ? affect_json_set_object(response, "content") : NULL;
    for (char *word; content && (word = strsep(&rest, "|"));) add_content(c, content, word);
}

static void add_answers(contract *c, affect_json *operation, const api_route *route) {
    affect_json *responses = affect_json_set_object(operation, "responses");
    char text[300], *rest = text;
    snprintf(text, sizeof text, "%s", route->answers);
    for (char *item; (item = strsep(&rest, ","));)
        add_answer(c, responses, route, item + (*item == ' '));
    static const struct {
        const char *status;
        bool of_body, of_query, of_path;
    } implied[] = {{"400", true, false, false},
                   {"404", false, false, true},
                   {"413", true, false, false},
                   {"415", true, false, false},
                   {"422", true, true, false}};
    for (size_t i = 0; i < sizeof implied / sizeof *implied; i++)
        if ((implied[i].of_body && route->bodies) || (implied[i].of_query && route->queries) ||
            (implied[i].of_path && strchr(route->pattern, '{')))
            add_problem(responses, implied[i].status, api_problem_title(atoi(implied[i].status)));
    add_problem(responses, "default", "A problem (RFC 9457)");
}

/* ---- Bodies ---- */

/* A schema with a title becomes one of components/schemas. Takes it over; owned. */
static affect_json *move_titled(contract *c, affect_json *schema) {
    char title[MAX_NAME];
    snprintf(title, sizeof title, "%s", affect_json_get_string(schema, "title", ""));
    if (!*title) return schema;
    affect_json_set(c->schemas, title, schema);
    return reference(title);
}

static void add_schema(contract *c, affect_json *kind) {
    affect_json *schema = affect_json_get(kind, "schema");
    affect_json *list = affect_json_detach(schema, "oneOf");
    affect_json *moved = list ? affect_json_set_array(schema, "oneOf") : NULL;
    for (const affect_json *e = affect_json_first(list); e; e = affect_json_next(e))
        affect_json_append(moved, move_titled(c, affect_json_copy(e)));
    affect_json_free(list);
    if (*affect_json_get_string(schema, "title", ""))
        affect_json_set(kind, "schema", move_titled(c, affect_json_detach(kind, "schema")));
}

static void add_body(contract *c, affect_json *operation, const api_route *route) {
    if (!route->bodies) return;
    affect_json *body = affect_json_set_object(operation, "requestBody");
    affect_json_set_bool(body, "required", route->describe != NULL);
    affect_json *content = affect_json_set_object(body, "content");
    if (!route->describe) {
        affect_json *kind = affect_json_set_object(content, "application/json");
        affect_json *schema = affect_json_set_object(kind, "schema");
        affect_json_set_string(schema, "type", "object");
        affect_json_set_string(schema, "description", "nothing, or an object without members");
        affect_json_set_number(schema, "maxProperties", 0);
        return;
    }
    route->describe(content);
    for (affect_json *kind = affect_json_first(content); kind; kind = affect_json_next(kind))
        add_schema(c, kind);
}

/* ---- All of it ---- */

/* "get_v1_jobs_job", and the resource as a tag. */
static void add_names(affect_json *operation, const char *method, const char *pattern) {
    char id[MAX_NAME + 40], tag[MAX_NAME] = "server";
    size_t n = (size_t)snprintf(id, sizeof id, "%s", method);
    bool parted = true; /* "_" follows before the next letter */
    for (const char *c = pattern; *c && n + 2 < sizeof id; c++) {
        if (!isalnum((unsigned char)*c)) {
            parted = true;
            continue;
        }
        if (parted) id[n++] = '_';
        parted = false;
        id[n++] = *c;
        id[n] = '\0';
    }
    if (strncmp(pattern, "/v1/", 4) == 0)
        snprintf(tag, sizeof tag, "%.*s", (int)strcspn(pattern + 4, "/"), pattern + 4);
    affect_json_set_string(operation, "operationId", id);
    affect_json_append(affect_json_set_array(operation, "tags"), affect_json_new_string(tag));
}

static void add_route(contract *c, const api_route *route) {
    char method[16];
    size_t n = 0;
    for (; route->method[n] && n + 1 < sizeof method; n++)
        method[n] = (char)tolower((unsigned char)route->method[n]);
    method[n] = '\0';
    affect_json *path = affect_json_get(c->paths, route->pattern);
    if (!path) path = affect_json_set_object(c->paths, route->pattern);
    affect_json *operation = affect_json_set_object(path, method);
    affect_json_set_string(operation, "summary", route->summary);
    add_names(operation, method, route->pattern);
    affect_json *parameters = affect_json_set_array(operation, "parameters");
    add_path_values(parameters, route->pattern);
    add_table(parameters, route->queries, "query");
    add_table(parameters, route->headers, "header");
    if (affect_json_size(parameters) == 0)
        affect_json_free(affect_json_detach(operation, "parameters"));
    add_body(c, operation, route);
    add_answers(c, operation, route);
}

affect_status api_contract_make(affect_json **made, affect_error *err) {
    affect_json *answers = NULL, *json = affect_json_new_object();
    const affect_embedded_file *file = affect_embedded_find("api/answers.json");
    if (!file) return affect_fail(err, INTERNAL, "answers.json is not embedded");
    AFFECT_TRY(affect_json_parse(&answers, file->text, file->size, err));
    affect_json_set_string(json, "openapi", "3.1.0");
    affect_json *info = affect_json_set_object(json, "info");
    affect_json_set_string(info, "title", "affectd");
    affect_json_set_string(info, "version", AFFECT_VERSION);
    affect_json_set_string(info, "description",
                           "Emotion recognition from speech and motion capture: import a corpus, "
                           "train, follow the epochs, predict.");
    affect_json *license = affect_json_set_object(info, "license");
    affect_json_set_string(license, "name", "Apache-2.0");
    affect_json_set_string(license, "identifier", "Apache-2.0");
    contract c = {.paths = affect_json_set_object(json, "paths"), .schemas = answers};
    api_job_type_add_names(
        affect_json_get(affect_json_get(affect_json_get(answers, "Job"), "properties"), "type"));
    for (size_t i = 0; api_schema_table(i); i++) {
        const affect_field *table = api_schema_table(i);
        affect_json_set(answers, api_schema_name(table),
                        affect_fields_schema(table, api_schema_name));
    }
    for (const api_route *route = api_routes; route->method; route++) add_route(&c, route);
    affect_json_set(affect_json_set_object(json, "components"), "schemas", answers);
    if (c.error.status == AFFECT_STATUS_OK) {
        *made = json;
        return AFFECT_STATUS_OK;
    }
    affect_json_free(json);
    return affect_error_set(err, c.error.status, "%s", c.error.message);
}
