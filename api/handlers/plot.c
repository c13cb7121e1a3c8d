/* The picture of a training; see plot.h. */
#include "api/handlers/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Geometry in pixels of the picture. */
enum {
    WIDTH = 960,
    HEIGHT = 430,
    TOP = 64,
    PANEL_WIDTH = 390,
    PANEL_HEIGHT = 270,
    LEFT = 64,
    GAP = 80,
};

/* Told apart by people who see colours differently (Okabe and Ito's palette). */
static const char *const colours[] = {"#0072b2", "#d55e00"};

typedef double value_of(const api_plot_point *point);

static double loss_of(const api_plot_point *p) {
    return p->loss;
}
static double val_loss_of(const api_plot_point *p) {
    return p->val_loss;
}
static double accuracy_of(const api_plot_point *p) {
    return p->accuracy;
}
static double val_accuracy_of(const api_plot_point *p) {
    return p->val_accuracy;
}

typedef struct {
    const char *title;
    value_of *training, *validation;
    double x, y_low, y_high; /* left edge in pixels; axis in values */
    double epoch_low, epoch_high;
} panel;

static void print_text(affect_buffer *svg, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            affect_buffer_append_string(svg, "&lt;");
        else if (*text == '>')
            affect_buffer_append_string(svg, "&gt;");
        else if (*text == '&')
            affect_buffer_append_string(svg, "&amp;");
        else if (*text == '"')
            affect_buffer_append_string(svg, "&quot;");
        else if ((unsigned char)*text >= 0x20)
            affect_buffer_append(svg, text, 1);
    }
}

static double x_of(const panel *p, double epoch) {
    double span = p->epoch_high - p->epoch_low;
    return p->x + (span > 0 ? (epoch - p->epoch_low) / span : 0.5) * PANEL_WIDTH;
}

static double y_of(const panel *p, double value) {
    return TOP + (1 - (value - p->y_low) / (p->y_high - p->y_low)) * PANEL_HEIGHT;
}

/* The step of 1, 2 or 5 times a power of ten that gives at most `n` ticks over the span. */
static double tick_step(double span, int n) {
    double raw = span / n, power = pow(10, floor(log10(raw)));
    double digit = raw / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static void widen(double value, double *low, double *high) {
    if (!isfinite(value)) return;
    if (value < *low) *low = value;
    if (value > *high) *high = value;
}

/* Rounds the axis outwards to whole ticks. */
static void fit_axis(panel *p, const api_plot_run *runs, size_t n_runs) {
    double low = INFINITY, high = -INFINITY;
    for (size_t r = 0; r < n_runs; r++) {
        for (size_t i = 0; i < runs[r].n_points; i++) {
            widen(p->training(&runs[r].points[i]), &low, &high);
            widen(p->validation(&runs[r].points[i]), &low, &high);
        }
    }
    if (!isfinite(low)) low = 0, high = 1;
    if (high - low < 1e-9 * fmax(1, fabs(high))) low -= 0.5, high += 0.5;
    double step = tick_step(high - low, 5);
    p->y_low = floor(low / step + 1e-9) * step;
    p->y_high = ceil(high / step - 1e-9) * step;
}

static void fit_epochs(panel *p, const api_plot_run *runs, size_t n_runs) {
    double low = INFINITY, high = -INFINITY;
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < runs[r].n_points; i++) widen(runs[r].points[i].epoch, &low, &high);
    p->epoch_low = isfinite(low) ? low : 1;
    p->epoch_high = isfinite(high) ? high : 1;
}

static void print_axes(affect_buffer *svg, const panel *p) {
    double step = tick_step(p->y_high - p->y_low, 5), bottom = TOP + PANEL_HEIGHT;
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    for (int i = 0; p->y_low + i * step <= p->y_high + step * 1e-6; i++) {
        double value = p->y_low + i * step, y = y_of(p, value);
        affect_buffer_printf(svg,
                             "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                             "y2=\"%.1f\"/><text class=\"y\" x=\"%.1f\" y=\"%.1f\">%.*f</text>\n",
                             p->x, y, p->x + PANEL_WIDTH, y, p->x - 8, y + 4, decimals,
                             fabs(value) < step * 1e-6 ? 0.0 : value);
    }
    double epochs = p->epoch_high - p->epoch_low;
    double epoch_step = epochs > 0 ? fmax(1, tick_step(epochs, 8)) : 1;
    for (double e = ceil(p->epoch_low / epoch_step) * epoch_step; e <= p->epoch_high;
         e += epoch_step) {
        double x = x_of(p, e);
        affect_buffer_printf(svg,
                             "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                             "y2=\"%.1f\"/><text class=\"x\" x=\"%.1f\" y=\"%.1f\">%.0f</text>\n",
                             x, bottom, x, bottom + 5, x, bottom + 20, e);
    }
    affect_buffer_printf(svg,
                         "<path class=\"axis\" d=\"M%.1f %dV%.1fH%.1f\"/>\n"
                         "<text class=\"title\" x=\"%.1f\" y=\"%d\">%s</text>\n"
                         "<text class=\"x\" x=\"%.1f\" y=\"%.1f\">epoch</text>\n",
                         p->x, TOP, bottom, p->x + PANEL_WIDTH, p->x, TOP - 12, p->title,
                         p->x + PANEL_WIDTH / 2.0, bottom + 38);
}

/* A line through the finite values; broken where one is not. A lone value is a dot. */
static void print_curve(affect_buffer *svg, const panel *p, const api_plot_run *run,
                        value_of *value, const char *colour, bool dashed) {
    bool drawing = false;
    affect_buffer_printf(svg, "<path class=\"curve\" stroke=\"%s\"%s d=\"", colour,
                         dashed ? " stroke-dasharray=\"6 4\"" : "");
    for (size_t i = 0; i < run->n_points; i++) {
        double v = value(&run->points[i]);
        if (!isfinite(v)) {
            drawing = false;
            continue;
        }
        affect_buffer_printf(svg, "%c%.1f %.1f", drawing ? 'L' : 'M', x_of(p, run->points[i].epoch),
                             y_of(p, v));
        if (!drawing && (i + 1 == run->n_points || !isfinite(value(&run->points[i + 1]))))
            affect_buffer_append_string(svg, "h0.1");
        drawing = true;
    }
    affect_buffer_append_string(svg, "\"/>\n");
}

static void print_best(affect_buffer *svg, const panel *p, const api_plot_run *run,
                       const char *colour) {
    for (size_t i = 0; i < run->n_points; i++) {
        double v = p->validation(&run->points[i]);
        if (run->points[i].epoch != run->best_epoch || !isfinite(v)) continue;
        affect_buffer_printf(svg,
                             "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"#fff\" "
                             "stroke=\"%s\" stroke-width=\"2\"/>\n",
                             x_of(p, run->points[i].epoch), y_of(p, v), colour);
    }
}

static void print_panel(affect_buffer *svg, const panel *p, const api_plot_run *runs,
                        size_t n_runs) {
    print_axes(svg, p);
    for (size_t r = 0; r < n_runs; r++) {
        print_curve(svg, p, &runs[r], p->training, colours[r], true);
        print_curve(svg, p, &runs[r], p->validation, colours[r], false);
        print_best(svg, p, &runs[r], colours[r]);
    }
}

/* One row below the panels: each run's two lines, then what the ring means. */
static void print_legend(affect_buffer *svg, const api_plot_run *runs, size_t n_runs) {
    for (size_t r = 0; r < n_runs; r++) {
        int y = HEIGHT - 34 + 18 * (int)r;
        affect_buffer_printf(
            svg,
            "<path class=\"curve\" stroke=\"%s\" stroke-dasharray=\"6 4\" d=\"M%d %dh30\"/>"
            "<text x=\"%d\" y=\"%d\">training</text>"
            "<path class=\"curve\" stroke=\"%s\" d=\"M%d %dh30\"/>"
            "<text x=\"%d\" y=\"%d\">validation</text>"
            "<text x=\"%d\" y=\"%d\">",
            colours[r], LEFT, y, LEFT + 38, y + 4, colours[r], LEFT + 110, y, LEFT + 148, y + 4,
            LEFT + 240, y + 4);
        print_text(svg, runs[r].label);
        affect_buffer_append_string(svg, "</text>\n");
    }
    bool marked = false;
    for (size_t r = 0; r < n_runs; r++) marked = marked || runs[r].best_epoch > 0;
    if (marked)
        affect_buffer_printf(svg,
                             "<circle cx=\"%d\" cy=\"%d\" r=\"4.5\" fill=\"#fff\" stroke=\"#555\" "
                             "stroke-width=\"2\"/><text x=\"%d\" y=\"%d\">best epoch</text>\n",
                             WIDTH - 110, HEIGHT - 34, WIDTH - 98, HEIGHT - 30);
}

void api_plot_print(affect_buffer *svg, const char *title, const api_plot_run *runs,
                    size_t n_runs) {
    panel panels[] = {
        {.title = "loss", .training = loss_of, .validation = val_loss_of, .x = LEFT},
        {.title = "accuracy",
         .training = accuracy_of,
         .validation = val_accuracy_of,
         .x = LEFT + PANEL_WIDTH + GAP},
    };
    affect_buffer_printf(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "viewBox=\"0 0 %d %d\" role=\"img\">\n<style>\n"
        "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}\n"
        ".x{text-anchor:middle}.y{text-anchor:end}.grid{stroke:#e3e3e3}\n"
        ".axis{stroke:#333;fill:none}.curve{fill:none;stroke-width:2;stroke-linejoin:round;"
        "stroke-linecap:round}\n</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
        "<text x=\"%d\" y=\"28\" style=\"font-size:16px\">",
        WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    print_text(svg, title);
    affect_buffer_append_string(svg, "</text>\n");
    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) {
        fit_axis(&panels[i], runs, n_runs);
        fit_epochs(&panels[i], runs, n_runs);
        print_panel(svg, &panels[i], runs, n_runs);
    }
    print_legend(svg, runs, n_runs);
    affect_buffer_append_string(svg, "</svg>\n");
}
