/* All handlers, by the file that holds them; routes.c names each in one row. */
#ifndef AFFECT_HANDLERS_HANDLERS_H
#define AFFECT_HANDLERS_HANDLERS_H

#include "api/api.h"
#include "api/jobs/job_type.h"

/* Of a body, for the contract: its schemas by media type, as members of `content`. */
typedef void api_describer(affect_json *content);

/* handle_system.c */
api_handler api_handle_index, api_handle_live, api_handle_ready, api_handle_metrics_text,
    api_handle_openapi, api_handle_system, api_handle_verify;

/* handle_datasets.c */
api_handler api_handle_dataset_create, api_handle_dataset_list, api_handle_dataset,
    api_handle_dataset_report, api_handle_dataset_samples, api_handle_dataset_splits,
    api_handle_dataset_delete;
api_describer api_describe_dataset_create;

/* handle_jobs.c */
api_handler api_handle_job_list, api_handle_job, api_handle_job_runs;
/* Answers with the job's body, its ETag, and with 202 its Location. */
void api_answer_job(api_request *request, int status, const char *id);

/* handle_job_create.c */
api_handler api_handle_job_create, api_handle_job_retry;
api_describer api_describe_job_create;

/* handle_job_actions.c */
api_handler api_handle_job_cancel, api_handle_job_pause, api_handle_job_resume,
    api_handle_job_delete;
/* 409 with `allowed`: what may be asked of a job of that type and state instead. */
void api_refuse_job_action(api_request *request, const api_job_type *type, api_job_state state,
                           const char *done);

/* handle_job_artifacts.c */
api_handler api_handle_job_table, api_handle_job_artifacts, api_handle_job_artifact;

/* handle_compare.c */
api_handler api_handle_compare;

/* handle_events.c */
api_handler api_handle_job_events;

/* handle_metrics.c */
api_handler api_handle_job_metrics;

/* handle_plots.c */
api_handler api_handle_job_plot, api_handle_plot;

/* handle_result_plots.c */
api_handler api_handle_job_confusion, api_handle_job_reliability, api_handle_job_recall;

/* handle_models.c */
api_handler api_handle_model_list, api_handle_model, api_handle_model_version,
    api_handle_model_artifact, api_handle_model_delete, api_handle_model_version_delete;

/* handle_architectures.c */
api_handler api_handle_architecture_list, api_handle_architecture;

/* handle_predictions.c */
api_handler api_handle_prediction;
api_describer api_describe_prediction;

#endif
