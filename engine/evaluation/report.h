/* The report of a result: what probabilities on a part of a split come to, and how far that holds.
 *
 *   "intervals", "calibration"   interval.h, calibration.h; bootstrap by speaker and by dialog
 *   "groups"                     {attribute: {group: {"utterances", "accuracy", "recall_mean",
 *                                "f1_macro"}}} of gender, session, own_motion, improvised and
 *                                speaker, as far as the corpus knows them
 *   and the members of split_report.h */
#ifndef AFFECT_EVALUATION_REPORT_H
#define AFFECT_EVALUATION_REPORT_H

#include "engine/evaluation/predictions.h"

#define AFFECT_REPORT_MAX_GROUPS 100 /* of an attribute: one with more is left out */

/* Of evaluate and train jobs alike: adds the members above to `result`. `split` as models carry it
 * ({..., "utterances": {part: [ids]}}), part "test" or "all". n of the predictions at least 1. */
affect_status affect_report_fill(affect_json *result, const affect_predictions *predictions,
                                 const affect_json *split, const char *part, affect_error *err);
/* Adds "temperature": {"value", "calibration": {...}}: the probabilities scaled by it, for its
 * effect beside "calibration"; null where the model has none (0). */
affect_status affect_report_temperature(affect_json *result, const affect_predictions *predictions,
                                        double temperature, affect_error *err);

#endif
