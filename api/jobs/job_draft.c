/* A job that is being made; see job_draft.h.
 *
 * Runs on a handler's thread. Nothing of a draft is stored: what it found may be gone when its row
 * is inserted, and is looked up again in that transaction (api_dataset_require). */
#include "api/jobs/job_draft.h"

#include "api/jobs/devices.h"
#include "engine/core/clock.h"
#include "engine/device/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_job_id_make(char id[API_ID_SIZE]) {
    char ulid[AFFECT_ULID_SIZE];
    affect_ulid_make(ulid);
    snprintf(id, API_ID_SIZE, "job_%s", ulid);
}

affect_status api_job_draft_as_field_error(affect_error *err, affect_status status,
                                           const char *field) {
    if (status != AFFECT_STATUS_NOT_FOUND) return status;
    char message[300];
    snprintf(message, sizeof message, "%.290s", err->message);
    return affect_field_fail(err, "", field, "%s", message);
}

affect_status api_job_draft_find_dataset(api_job_draft *draft, const char *name,
                                         affect_error *err) {
    if (!name[0]) return AFFECT_STATUS_INVALID; /* the table has said so */
    affect_status status = api_dataset_find(&draft->dataset, draft->context->store, name, err);
    AFFECT_TRY(api_job_draft_as_field_error(err, status, "dataset"));
    if (strcmp(draft->dataset.state, "ready") == 0) return AFFECT_STATUS_OK;
    return affect_fail(err, CONFLICT, "dataset %s is %s (need ready)", draft->dataset.name,
                       draft->dataset.state);
}

/* A GPU that a job names is there, and a CPU is asked for no precision that it does not have. */
static affect_status check_device(const api_job_draft *draft, const char *device, int precision,
                                  affect_error *err) {
    AFFECT_TRY(api_devices_check(device, draft->context, err));
    if (strcmp(device, "cpu") != 0 || precision == AFFECT_PRECISION_FP32 ||
        precision == AFFECT_PRECISION_AUTO)
        return AFFECT_STATUS_OK;
    return affect_field_fail(err, "", "precision", "%s: a CPU computes in fp32",
                             affect_precision_names[precision]);
}

affect_status api_job_draft_begin_spec(api_job_draft *draft, const char *type, const char *device,
                                       int precision, affect_error *err) {
    char key[2 * API_ID_SIZE];
    const api_settings *settings = draft->context->settings;
    affect_json *spec = draft->spec = affect_json_new_object();
    affect_json_set_string(spec, "type", type);
    affect_json_set_string(spec, "job", draft->id);
    snprintf(key, sizeof key, "datasets/%s", draft->dataset.id);
    affect_json_set_string(spec, "dataset", key);
    snprintf(key, sizeof key, "jobs/%s", draft->id);
    affect_json_set_string(spec, "output", key);
    if (!device[0]) device = settings->device;
    AFFECT_TRY(check_device(draft, device, precision, err));
    affect_json_set_string(spec, "device", device);
    affect_json_set_string(spec, "precision", affect_precision_names[precision]);
    affect_json_set_number(spec, "threads", (double)settings->job_threads);
    return AFFECT_STATUS_OK;
}

affect_dataset *api_job_draft_open_dataset(const api_job_draft *draft) {
    affect_dataset *dataset = NULL;
    char folder[AFFECT_PATH_MAX];
    if (affect_path_join(folder, NULL, draft->context->settings->data, "datasets/%s",
                         draft->dataset.id) == AFFECT_STATUS_OK)
        affect_dataset_open(&dataset, folder, NULL, NULL);
    return dataset;
}

void api_job_draft_free(api_job_draft *draft) {
    affect_json_free(draft->spec);
    for (size_t i = 0; i < draft->n_runs; i++) {
        affect_json_free(draft->runs[i].request);
        affect_json_free(draft->runs[i].spec);
        affect_json_free(draft->runs[i].run);
    }
    free(draft->runs);
    draft->spec = NULL;
    draft->runs = NULL;
    draft->n_runs = 0;
}
