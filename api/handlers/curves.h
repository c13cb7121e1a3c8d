/* The picture of trainings: cross-entropy, L2 penalty and accuracy by epoch, training and
 * validation, as SVG.
 *
 * A panel a measure, side by side, each with its own axis; the penalty has one only where some run
 * has a penalty: the sum of both would hide what regularisation does to either. Runs are told apart
 * by colour and marker, training drawn dashed and validation solid, the best epoch ringed. A run
 * may be the mean of several trainings: then a band is one standard deviation to both sides. */
#ifndef AFFECT_HANDLERS_CURVES_H
#define AFFECT_HANDLERS_CURVES_H

#include "api/handlers/svg.h"

enum { API_CURVES_MAX = API_SVG_SERIES }; /* runs of a picture */

typedef enum {
    API_CURVE_CROSS_ENTROPY,
    API_CURVE_PENALTY,
    API_CURVE_ACCURACY,
    API_CURVE_MEASURES
} api_curve_measure;
/* As an epoch's report names them; with "val_" before it of the validation part. */
extern const char *const api_curve_members[API_CURVE_MEASURES];

/* By measure; NaN: not known. */
typedef struct {
    double training[API_CURVE_MEASURES], validation[API_CURVE_MEASURES];
} api_curve_values;

typedef struct {
    double epoch;
    api_curve_values mean;
    api_curve_values deviation; /* of several trainings; NaN: no band */
} api_curve_point;

typedef struct {
    const char *label; /* in the legend */
    const api_curve_point *points;
    size_t n_points;
    double best_epoch; /* marked on the validation curves; 0: none */
} api_curve;

/* Appends the document. Text is escaped here. n from 1 to API_CURVES_MAX. */
void api_curves_print(affect_buffer *out, const api_svg_style *style, const char *title,
                      const api_curve *curves, size_t n);

#endif
