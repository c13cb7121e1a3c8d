/* Quality of a stream; see quality.h. */
#include "engine/modality/quality.h"

#include <math.h>

void affect_quality_meter_add(affect_quality_meter *meter, double time_s, const double *values,
                              size_t n_columns) {
    size_t n_missing = 0;
    for (size_t i = 0; i < n_columns; i++) n_missing += !isfinite(values[i]);
    if (meter->n_rows == 0) meter->first_s = meter->last_s = time_s;
    if (time_s < meter->first_s) meter->first_s = time_s;
    if (time_s > meter->last_s) meter->last_s = time_s;
    meter->n_rows++;
    meter->n_values += n_columns;
    meter->n_missing += n_missing;
}

affect_motion_quality affect_quality_meter_result(const affect_quality_meter *meter) {
    return (affect_motion_quality){
        .present = true,
        .n_rows = meter->n_rows,
        .missing = meter->n_values ? (double)meter->n_missing / (double)meter->n_values : 1,
        .seconds = meter->last_s - meter->first_s,
    };
}

affect_json *affect_motion_quality_to_json(const affect_motion_quality *quality) {
    affect_json *json = affect_json_new_object();
    affect_json_set_bool(json, "present", quality->present);
    if (!quality->present) return json;
    affect_json_set_number(json, "rows", (double)quality->n_rows);
    affect_json_set_number(json, "rejected", (double)quality->n_rejected);
    affect_json_set_number(json, "missing", quality->missing);
    affect_json_set_number(json, "seconds", quality->seconds);
    return json;
}
