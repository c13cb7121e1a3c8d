/* The picture of trainings; see curves.h.
 *
 * Axes are fitted to all runs of the picture, without their bands, which are cut at the panel's
 * edge. Markers stand at every sixth of the epochs, a little further on for each run, so that those
 * of curves that lie on each other do not. Coordinates have a tenth of a pixel: a picture of eight
 * runs of a thousand epochs stays below a megabyte. */
#include "api/handlers/curves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOP = 72, BOTTOM = 50, LEFT = 60, RIGHT = 24, GAP = 64, ROW = 20, N_MARKERS = 6 };

const char *const api_curve_members[API_CURVE_MEASURES] = {"cross_entropy", "l2", "accuracy"};
static const char *const titles[API_CURVE_MEASURES] = {"cross-entropy", "L2 penalty", "accuracy"};

typedef struct {
    const api_svg *svg;
    api_curve_measure measure;
    api_svg_axis x, y; /* epochs; values */
} panel;

static double value_of(const api_curve_values *values, api_curve_measure measure, bool training) {
    return (training ? values->training : values->validation)[measure];
}

static void widen(double value, double *low, double *high) {
    if (!isfinite(value)) return;
    if (value < *low) *low = value;
    if (value > *high) *high = value;
}

static bool has_penalty(const api_curve *curves, size_t n) {
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < curves[r].n_points; i++)
            for (int t = 0; t < 2; t++) {
                double value = value_of(&curves[r].points[i].mean, API_CURVE_PENALTY, t);
                if (isfinite(value) && value != 0) return true;
            }
    return false;
}

static void fit(panel *p, const api_curve *curves, size_t n) {
    p->x.low = p->y.low = INFINITY;
    p->x.high = p->y.high = -INFINITY;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < curves[r].n_points; i++) {
            const api_curve_point *point = &curves[r].points[i];
            widen(point->epoch, &p->x.low, &p->x.high);
            widen(value_of(&point->mean, p->measure, true), &p->y.low, &p->y.high);
            widen(value_of(&point->mean, p->measure, false), &p->y.low, &p->y.high);
        }
    if (!isfinite(p->x.low)) p->x.low = p->x.high = 1;
    api_svg_axis_fit(&p->y, (int)fmin(fmax((p->y.from - p->y.to) / 40, 2), 5));
}

static void print_axes(const panel *p) {
    char text[32];
    double step = p->y.step;
    for (int i = 0; p->y.low + i * step <= p->y.high + step * 1e-6; i++) {
        double value = p->y.low + i * step, y = api_svg_at(&p->y, value);
        api_svg_line(p->svg, p->x.from, y, p->x.to, y, p->svg->grid, 1, NULL);
        api_svg_tick_text(text, value, step);
        api_svg_text(p->svg,
                     &(api_svg_place){.x = p->x.from - 8, .y = y + 4, .anchor = API_SVG_END}, text);
    }
    double epochs = p->x.high - p->x.low;
    int n_ticks = (int)fmax(2, (p->x.to - p->x.from) / 50);
    step = epochs > 0 ? fmax(1, api_svg_tick_step(epochs, n_ticks)) : 1;
    for (double e = ceil(p->x.low / step) * step; e <= p->x.high; e += step) {
        double x = api_svg_at(&p->x, e);
        api_svg_line(p->svg, x, p->y.from, x, p->y.from + 5, p->svg->ink, 1, NULL);
        api_svg_tick_text(text, e, step);
        api_svg_text(p->svg,
                     &(api_svg_place){.x = x, .y = p->y.from + 19, .anchor = API_SVG_MIDDLE}, text);
    }
    api_svg_line(p->svg, p->x.from, p->y.from, p->x.to, p->y.from, p->svg->ink, 1, NULL);
    api_svg_line(p->svg, p->x.from, p->y.from, p->x.from, p->y.to, p->svg->ink, 1, NULL);
    api_svg_text(p->svg, &(api_svg_place){.x = p->x.from, .y = p->y.to - 12, .is_bold = true},
                 titles[p->measure]);
    api_svg_text(p->svg,
                 &(api_svg_place){
                     .x = (p->x.from + p->x.to) / 2, .y = p->y.from + 38, .anchor = API_SVG_MIDDLE},
                 "epoch");
}

/* A line through the finite values; broken where one is not. A lone value is a dot. */
static void print_line(const panel *p, const api_curve *curve, size_t series, bool training,
                       bool is_thin) {
    bool drawing = false;
    affect_buffer *out = p->svg->out;
    affect_buffer_printf(out,
                         "<path class=\"curve\" fill=\"none\" stroke=\"%s\" stroke-width=\"%g\" "
                         "stroke-linejoin=\"round\" stroke-linecap=\"round\"%s d=\"",
                         api_svg_colour(p->svg, series), training && is_thin ? 1.2 : 2.0,
                         training ? " stroke-dasharray=\"5 4\"" : "");
    for (size_t i = 0; i < curve->n_points; i++) {
        double value = value_of(&curve->points[i].mean, p->measure, training);
        if (!isfinite(value)) {
            drawing = false;
            continue;
        }
        affect_buffer_printf(out, "%c%.1f %.1f", drawing ? 'L' : 'M',
                             api_svg_at(&p->x, curve->points[i].epoch), api_svg_at(&p->y, value));
        if (!drawing && (i + 1 == curve->n_points ||
                         !isfinite(value_of(&curve->points[i + 1].mean, p->measure, training))))
            affect_buffer_append_string(out, "h0.1");
        drawing = true;
    }
    affect_buffer_append_string(out, "\"/>\n");
}

static bool is_banded(const panel *p, const api_curve_point *point) {
    return isfinite(value_of(&point->mean, p->measure, false)) &&
           isfinite(value_of(&point->deviation, p->measure, false));
}

static void print_edge(const panel *p, const api_curve_point *point, double sign, char command) {
    double value = value_of(&point->mean, p->measure, false) +
                   sign * value_of(&point->deviation, p->measure, false);
    double y = api_svg_at(&p->y, value);
    affect_buffer_printf(p->svg->out, "%c%.1f %.1f", command, api_svg_at(&p->x, point->epoch),
                         fmin(fmax(y, p->y.to), p->y.from));
}

/* One standard deviation around the validation's mean, over each stretch of epochs that has it. */
static void print_band(const panel *p, const api_curve *curve, size_t series) {
    for (size_t begin = 0, end; begin < curve->n_points; begin = end) {
        end = begin + 1;
        if (!is_banded(p, &curve->points[begin])) continue;
        while (end < curve->n_points && is_banded(p, &curve->points[end])) end++;
        affect_buffer_printf(p->svg->out,
                             "<path class=\"band\" fill=\"%s\" fill-opacity=\"0.18\" d=\"",
                             api_svg_colour(p->svg, series));
        for (size_t i = begin; i < end; i++)
            print_edge(p, &curve->points[i], 1, i == begin ? 'M' : 'L');
        for (size_t i = end; i-- > begin;) print_edge(p, &curve->points[i], -1, 'L');
        affect_buffer_append_string(p->svg->out, "Z\"/>\n");
    }
}

/* The only epoch of a training has a hollow marker where the line would be. */
static void print_markers(const panel *p, const api_curve *curve, size_t series, size_t n) {
    size_t every = curve->n_points / N_MARKERS + 1;
    for (size_t i = every * series / n; i < curve->n_points; i += every)
        for (int training = 0; training < (curve->n_points == 1 ? 2 : 1); training++) {
            double value = value_of(&curve->points[i].mean, p->measure, training);
            if (isfinite(value))
                api_svg_marker(p->svg, series, api_svg_at(&p->x, curve->points[i].epoch),
                               api_svg_at(&p->y, value), 3.6, training);
        }
}

static void print_best(const api_svg *svg, double x, double y, const char *colour) {
    affect_buffer_printf(svg->out,
                         "<circle class=\"best\" cx=\"%.1f\" cy=\"%.1f\" r=\"7\" fill=\"none\" "
                         "stroke=\"%s\" stroke-width=\"1.8\"/>\n",
                         x, y, colour);
}

static void print_panel(const panel *p, const api_curve *curves, size_t n) {
    print_axes(p);
    for (size_t r = 0; r < n; r++) print_band(p, &curves[r], r);
    for (size_t r = 0; r < n; r++) {
        print_line(p, &curves[r], r, true, n > 2);
        print_line(p, &curves[r], r, false, n > 2);
        print_markers(p, &curves[r], r, n);
    }
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < curves[r].n_points; i++) {
            const api_curve_point *point = &curves[r].points[i];
            double value = value_of(&point->mean, p->measure, false);
            if (point->epoch == curves[r].best_epoch && isfinite(value))
                print_best(p->svg, api_svg_at(&p->x, point->epoch), api_svg_at(&p->y, value),
                           api_svg_colour(p->svg, r));
        }
}

/* Columns of the legend: as many as have room for the widest label, two at least where rows would
 * leave no room for the panels. */
static size_t legend_columns(const api_svg *svg, const api_curve *curves, size_t n) {
    double widest = 1, room = svg->width - LEFT - RIGHT;
    for (size_t r = 0; r < n; r++)
        widest = fmax(widest, api_svg_text_width(curves[r].label, 12) + 62);
    size_t least = ROW * n > (size_t)svg->height / 4 ? 2 : 1;
    return (size_t)fmin(fmax(floor(room / widest), (double)least), 4);
}

/* Below the panels: what the lines are, then the runs. */
static void print_legend(const api_svg *svg, double y, size_t n_columns, const api_curve *curves,
                         size_t n) {
    double wide = (svg->width - LEFT - RIGHT) / (double)n_columns;
    bool is_ringed = false, has_band = false;
    for (size_t r = 0; r < n; r++) {
        is_ringed = is_ringed || curves[r].best_epoch > 0;
        for (size_t i = 0; i < curves[r].n_points; i++)
            has_band =
                has_band || isfinite(curves[r].points[i].deviation.validation[API_CURVE_ACCURACY]);
    }
    api_svg_line(svg, LEFT, y - 4, LEFT + 30, y - 4, svg->ink, 2, NULL);
    api_svg_text(svg, &(api_svg_place){.x = LEFT + 38, .y = y}, "validation");
    api_svg_line(svg, LEFT + 114, y - 4, LEFT + 144, y - 4, svg->ink, 1.5, "5 4");
    api_svg_text(svg, &(api_svg_place){.x = LEFT + 152, .y = y}, "training");
    if (is_ringed) {
        print_best(svg, LEFT + 226, y - 4, svg->ink);
        api_svg_text(svg, &(api_svg_place){.x = LEFT + 240, .y = y}, "best epoch");
    }
    if (has_band) {
        double x = LEFT + (is_ringed ? 320 : 220);
        api_svg_rect(svg, x, y - 10, 24, 12, svg->ink, 0.2);
        api_svg_text(svg, &(api_svg_place){.x = x + 32, .y = y, .most = svg->width - x - 40},
                     "\xc2\xb1 1 standard deviation");
    }
    for (size_t r = 0; r < n; r++) {
        double row = y + ROW * (double)(r / n_columns + 1),
               x = LEFT + wide * (double)(r % n_columns);
        api_svg_line(svg, x, row - 4, x + 30, row - 4, api_svg_colour(svg, r), 2, NULL);
        api_svg_marker(svg, r, x + 15, row - 4, 3.6, false);
        api_svg_text(svg, &(api_svg_place){.x = x + 38, .y = row, .most = wide - 46},
                     curves[r].label);
    }
}

void api_curves_print(affect_buffer *out, const api_svg_style *style, const char *title,
                      const api_curve *curves, size_t n) {
    api_svg svg = {.width = style->width, .height = style->height};
    bool penalty = has_penalty(curves, n);
    int width = penalty ? 1200 : 960, n_panels = penalty ? 3 : 2;
    if (!svg.width) svg.width = width;
    if (!svg.height) svg.height = 430;
    size_t n_columns = legend_columns(&svg, curves, n);
    int legend = ROW * (int)((n + n_columns - 1) / n_columns + 1) + 8;
    api_svg_begin(&svg, out, style, title, width, TOP + 270 + BOTTOM + legend);
    double bottom = svg.height - BOTTOM - legend;
    double wide = (svg.width - LEFT - RIGHT - GAP * (n_panels - 1.0)) / n_panels, x = LEFT;
    for (int m = 0; m < API_CURVE_MEASURES; m++) {
        if (m == API_CURVE_PENALTY && !penalty) continue;
        panel p = {.svg = &svg, .measure = (api_curve_measure)m};
        p.x.from = x;
        p.x.to = x + wide;
        p.y.from = bottom;
        p.y.to = TOP;
        fit(&p, curves, n);
        print_panel(&p, curves, n);
        x += wide + GAP;
    }
    print_legend(&svg, bottom + BOTTOM + 14, n_columns, curves, n);
    api_svg_end(&svg);
}
