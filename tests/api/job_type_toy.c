/* A toy type of jobs, added to a build of affectd as README's recipe says: this file and a row. */
#include "api/jobs/job_type.h"

#include <stdio.h>

static const affect_field fields[] = {
    AFFECT_FIELD_STRING(api_job_request, type, "", "toy", .required = true,
                        .schema = "{'enum':['toy']}"),
    AFFECT_FIELD_STRING(api_job_request, dataset, "", "a dataset's name or id", .minimum = 1,
                        .required = true),
    AFFECT_FIELD_END};

static affect_status make(api_job_draft *draft, affect_error *err) {
    AFFECT_TRY(api_job_draft_find_dataset(draft, err));
    return api_job_draft_begin_spec(draft, "toy", err);
}

static const char *const keys[] = {"dataset", "output", NULL};

extern const api_job_type api_job_type_toy;
const api_job_type api_job_type_toy = {
    .name = "toy", .fields = fields, .make = make, .keys = keys, .has_artifacts = true};
