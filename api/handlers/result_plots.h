/* Pictures of the result of one evaluated part, as SVG: each a function from numbers to a document.
 *
 * All arrays are borrowed. Text is escaped; labels that are too long end in an ellipsis. */
#ifndef AFFECT_HANDLERS_RESULT_PLOTS_H
#define AFFECT_HANDLERS_RESULT_PLOTS_H

#include "api/handlers/svg.h"
#include "engine/evaluation/calibration.h"

/* The confusion matrix: a row a true class, whose cells hold the share of the row and the count;
 * the darker (on a dark ground: the lighter), the larger the share. With many classes the cells
 * hold no text, and the scale beside them gives the share of a shade. */
typedef struct {
    const char *const *classes; /* (n) */
    size_t n;
    const double *counts; /* (n, n) [true][predicted] */
} api_confusion_data;
void api_confusion_print(affect_buffer *out, const api_svg_style *style, const char *title,
                         const api_confusion_data *data);

/* The reliability diagram: accuracy by confidence against the diagonal, over bins of equal width;
 * below it the number of utterances of each bin; ECE, Brier score and NLL as text. */
void api_reliability_print(affect_buffer *out, const api_svg_style *style, const char *title,
                           const affect_calibration *calibration);

/* A bar a class or group, in sections. A dotted line is the mean recall of all; NaN: none. */
typedef struct {
    const char *heading; /* begins a section before this row; NULL: the section goes on */
    const char *name;
    double recall;    /* NaN: not known */
    double low, high; /* of its interval; NaN: none */
    double n;         /* utterances */
} api_recall_row;
void api_recall_print(affect_buffer *out, const api_svg_style *style, const char *title,
                      const api_recall_row *rows, size_t n_rows, double uar);

#endif
