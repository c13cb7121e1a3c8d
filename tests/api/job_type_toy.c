/* A toy type of jobs, added to a build of affectd as README's recipe says: this file and a row. */
#include "api/jobs/job_type.h"
#include "engine/device/backend.h"

#include <stdio.h>

typedef struct {
    char type[16], dataset[72];
} toy_request;

static const affect_field fields[] = {
    AFFECT_FIELD_STRING(toy_request, type, "", "toy", .required = true,
                        .schema = "{'enum':['toy']}"),
    AFFECT_FIELD_STRING(toy_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_END};

static affect_status make(api_job_draft *draft, affect_error *err) {
    const toy_request *r = draft->request;
    AFFECT_TRY(api_job_draft_find_dataset(draft, r->dataset, err));
    return api_job_draft_begin_spec(draft, "toy", "cpu", AFFECT_PRECISION_AUTO, err);
}

static const char *const keys[] = {"dataset", "output", NULL};

extern const api_job_type api_job_type_toy;
const api_job_type api_job_type_toy = {.name = "toy",
                                       .fields = fields,
                                       .request_size = sizeof(toy_request),
                                       .make = make,
                                       .keys = keys,
                                       .has_artifacts = true};
