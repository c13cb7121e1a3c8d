/* The table of job types; see job_type.h.
 *
 * The rows come from job_type_rows.h, so that a type is added by its file and its row. Types know
 * neither the queue nor each other: what they share is in job_draft.c. Links follow from what a
 * type has. */
#include "api/jobs/job_type.h"

#include "api/jobs/job_type_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECLARE_TYPE(name) extern const api_job_type api_job_type_##name;
API_JOB_TYPE_ROWS(DECLARE_TYPE)
#undef DECLARE_TYPE

static const api_job_type *const types[] = {
#define TYPE_ROW(name) &api_job_type_##name,
    API_JOB_TYPE_ROWS(TYPE_ROW)
#undef TYPE_ROW
};

const api_job_type *api_job_type_at(size_t index) {
    return index < sizeof types / sizeof *types ? types[index] : NULL;
}

const api_job_type *api_job_type_find(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (name && strcmp(types[i]->name, name) == 0) return types[i];
    return NULL;
}

const api_job_type *api_job_type_of(const char *name) {
    static const api_job_type unknown = {.name = ""};
    const api_job_type *type = api_job_type_find(name);
    return type ? type : &unknown;
}

affect_status api_job_type_make(api_job_draft *draft, const api_job_type *type,
                                const affect_json *body, affect_error *err) {
    draft->request = calloc(1, type->request_size);
    if (!draft->request) return affect_fail(err, NO_MEMORY, "no memory for a request");
    affect_fields_default(draft->request, type->fields);
    affect_status status = affect_fields_parse(draft->request, type->fields, body, "", err);
    api_job_id_make(draft->id);
    AFFECT_CHECK(status, err, type->make(draft, err));
    affect_fields_free(draft->request, type->fields);
    free(draft->request);
    draft->request = NULL;
    return status;
}

bool api_job_type_can_retry(const api_job_type *type, api_job_state state) {
    return type->make && (state == API_JOB_FAILED || state == API_JOB_CANCELLED);
}

void api_job_type_set_links(affect_json *links, const api_job_type *type, const char *id,
                            api_job_state state) {
    bool has_report = type->has_report && state == API_JOB_SUCCEEDED;
    const struct {
        const char *name, *rest;
        bool has;
    } rows[] = {{"self", "", true},
                {"events", "/events", true},
                {"metrics", "/metrics", type->has_curves},
                {"plot", "/plot.svg", type->has_curves || type->has_runs},
                {"confusion", "/confusion.svg", has_report},
                {"reliability", "/reliability.svg", has_report},
                {"recall", "/recall.svg", has_report},
                {"runs", "/runs", type->has_runs},
                {"table", "/table", type->has_runs && state == API_JOB_SUCCEEDED},
                {"artifacts", "/artifacts", type->has_artifacts},
                {"retry", "/retry", api_job_type_can_retry(type, state)}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char link[128];
        if (!rows[i].has) continue;
        snprintf(link, sizeof link, "/v1/jobs/%s%s", id, rows[i].rest);
        affect_json_set_string(links, rows[i].name, link);
    }
}

void api_job_type_add_names(affect_json *schema) {
    const api_job_type *type;
    affect_json *names = affect_json_set_array(schema, "enum");
    for (size_t i = 0; (type = api_job_type_at(i)); i++)
        affect_json_append(names, affect_json_new_string(type->name));
}
