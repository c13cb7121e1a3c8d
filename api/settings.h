/* Settings of the server: one table with name, bounds, default and help of each.
 *
 * The values come, each over the one before, from the table, a configuration file (JSON, any
 * subset), the environment (AFFECTD_ and the name in capitals: AFFECTD_JOB_SLOTS=2) and flags
 * (server/config.h). configs/server.json shows the defaults; a test holds it equal to the table.
 * Immutable once the server runs, shared by all threads. */
#ifndef AFFECT_API_SETTINGS_H
#define AFFECT_API_SETTINGS_H

#include "engine/core/fields.h"

typedef struct api_settings {
    char listen[128];       /* HOST:PORT; port 0: any free one */
    char data[1024];        /* folder of everything that lasts */
    char import_root[1024]; /* "" : no import from folders */
    char device[32];
    char predict_device[32];  /* "": as device */
    char worker_binary[1024]; /* "" : `affect` beside the server's own binary */
    char log_level[16];
    char log_file[1024];  /* "": stderr */
    char port_file[1024]; /* "" : none; the port in use is written here once the server listens */
    bool allow_anonymous;

    int64_t job_slots, job_queue, job_threads, job_max_restarts;
    int64_t job_retention_count;
    double dry_run_deadline_seconds, job_retention_days, job_cancel_grace_seconds;
    int64_t predictors, predictor_threads, prediction_queue, prediction_max_batch;
    double prediction_batch_window_ms, prediction_deadline_seconds;

    char allowed_hosts[1024]; /* names, with blanks between them, beside loopback's and listen's */
    int64_t http_threads, api_threads, api_queue, max_connections, max_connections_per_address;
    int64_t max_event_readers;
    double idle_timeout_seconds, header_timeout_seconds, body_timeout_seconds;
    int64_t min_body_bytes_per_second;
    double heartbeat_seconds, drain_seconds;

    int64_t max_json_bytes, max_prediction_bytes, max_upload_bytes, spool_bytes;
    int64_t max_import_file_bytes, max_import_bytes;
    int64_t max_parts, disk_reserve_bytes;
} api_settings;

extern const affect_field api_settings_fields[];

#endif
