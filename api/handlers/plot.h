/* The picture of a training: loss and accuracy by epoch, training and validation, as SVG.
 *
 * Two panels side by side with their own axes; one or two runs, told apart by colour, training
 * drawn dashed and validation solid. Self-contained: no scripts, no fonts to load, a white ground,
 * so that it reads the same in a browser, a README and a paper. */
#ifndef AFFECT_HANDLERS_PLOT_H
#define AFFECT_HANDLERS_PLOT_H

#include "engine/core/buffer.h"

#include <stddef.h>

typedef struct {
    double epoch, loss, val_loss, accuracy, val_accuracy; /* NaN: not known */
} api_plot_point;

typedef struct {
    const char *label; /* in the legend */
    const api_plot_point *points;
    size_t n_points;
    double best_epoch; /* marked on the validation curves; 0: none */
} api_plot_run;

/* Appends the document. Text is escaped here. n_runs 1 or 2. */
void api_plot_print(affect_buffer *svg, const char *title, const api_plot_run *runs, size_t n_runs);

#endif
