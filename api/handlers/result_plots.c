/* Pictures of a result; see result_plots.h.
 *
 * Sizes follow from the data: cells, rows and margins are computed from the number of classes and
 * the widest label, and shrink when the client asks for a smaller picture. A shade is a mixture of
 * the ground and one colour, so that it keeps its order in grey; text on it is black or white,
 * whichever has the greater contrast. */
#include "api/handlers/result_plots.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TITLE_HEIGHT = 48, FONT = 12 };

static double clamp(double value, double low, double high) {
    return value < low ? low : value > high ? high : value;
}

static void print_axis_title(const api_svg *svg, double x, double y, double turn, double most,
                             const char *text) {
    api_svg_text(
        svg,
        &(api_svg_place){
            .x = x, .y = y, .anchor = API_SVG_MIDDLE, .turn = turn, .most = most, .is_bold = true},
        text);
}

/* ---- The confusion matrix ---- */

typedef struct {
    const api_svg *svg;
    const api_confusion_data *data;
    double left, top, cell;
} matrix;

/* The mixture of the ground and the colour of a full cell; *ink can be read on it. */
static void shade(char colour[8], const char **ink, const api_svg *svg, double share) {
    static const double light[2][3] = {{255, 255, 255}, {8, 48, 107}},
                        dark[2][3] = {{20, 23, 28}, {158, 202, 225}};
    const double(*ends)[3] = svg->is_dark ? dark : light;
    unsigned char c[3];
    for (int i = 0; i < 3; i++)
        c[i] = (unsigned char)lround(ends[0][i] + clamp(share, 0, 1) * (ends[1][i] - ends[0][i]));
    snprintf(colour, 8, "#%02x%02x%02x", c[0], c[1], c[2]);
    *ink = 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] > 128 ? "#111111" : "#f5f5f5";
}

static double row_sum(const api_confusion_data *data, size_t row) {
    double sum = 0;
    for (size_t c = 0; c < data->n; c++) sum += data->counts[row * data->n + c];
    return sum;
}

static void print_cell(const matrix *m, size_t row, size_t column, double sum) {
    char colour[8], text[64];
    const char *ink;
    double count = m->data->counts[row * m->data->n + column], share = sum > 0 ? count / sum : 0;
    double x = m->left + (double)column * m->cell, y = m->top + (double)row * m->cell;
    bool has_text = m->cell >= 24, has_count = m->cell >= 44;
    shade(colour, &ink, m->svg, share);
    affect_buffer_printf(m->svg->out,
                         "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
                         "stroke=\"%s\" stroke-width=\"%g\"",
                         x, y, m->cell, m->cell, colour, m->svg->grid, m->cell >= 8 ? 1.0 : 0.3);
    if (!has_text) {
        affect_buffer_printf(m->svg->out, "><title>%.0f of %.0f</title></rect>\n", count, sum);
        return;
    }
    affect_buffer_append_string(m->svg->out, "/>\n");
    double size = m->cell >= 64 ? 14 : m->cell >= 32 ? 12 : 10;
    api_svg_place place = {.x = x + m->cell / 2,
                           .y = y + m->cell / 2 + (has_count ? -1 : size * 0.35),
                           .anchor = API_SVG_MIDDLE,
                           .size = size,
                           .colour = ink,
                           .is_bold = row == column && sum > 0};
    snprintf(text, sizeof text, has_count ? "%.0f %%" : "%.0f", 100 * share);
    api_svg_text(m->svg, &place, sum > 0 ? text : "\xe2\x80\x93");
    if (!has_count) return;
    snprintf(text, sizeof text, "%.0f", count);
    place.y = y + m->cell / 2 + size;
    place.size = size - 2;
    place.most = m->cell - 4;
    place.is_bold = false;
    api_svg_text(m->svg, &place, text);
}

/* The share of each shade, where cells hold no text. */
static void print_scale(const matrix *m) {
    enum { STEPS = 20 };
    double size = m->cell * (double)m->data->n, x = m->left + size + 18;
    for (int i = 0; i < STEPS; i++) {
        char colour[8];
        const char *ink;
        shade(colour, &ink, m->svg, (STEPS - i - 0.5) / STEPS);
        api_svg_rect(m->svg, x, m->top + size * i / STEPS, 12, size / STEPS + 0.3, colour, 1);
    }
    for (int i = 0; i <= 4; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d %%", 25 * i);
        api_svg_text(
            m->svg, &(api_svg_place){.x = x + 17, .y = m->top + size * (4 - i) / 4 + 4, .size = 11},
            text);
    }
}

/* A row of the matrix with its label, and the label of the column of the same class. */
static void print_class(const matrix *m, size_t index, double label_width) {
    const char *name = m->data->classes[index];
    char label[400];
    double middle = ((double)index + 0.5) * m->cell, sum = row_sum(m->data, index);
    double font = fmin(FONT, m->cell * 0.9), bottom = m->top + m->cell * (double)m->data->n;
    bool is_flat = api_svg_text_width(name, FONT) <= m->cell - 6;
    snprintf(label, sizeof label, "%.300s (%.0f)", name, sum);
    api_svg_text(m->svg,
                 &(api_svg_place){.x = m->left - 8,
                                  .y = m->top + middle + font * 0.35,
                                  .anchor = API_SVG_END,
                                  .size = font,
                                  .most = label_width},
                 label);
    api_svg_text(m->svg,
                 &(api_svg_place){.x = m->left + middle + (is_flat ? 0 : font * 0.35),
                                  .y = bottom + (is_flat ? 18 : 8),
                                  .anchor = is_flat ? API_SVG_MIDDLE : API_SVG_END,
                                  .size = font,
                                  .most = label_width,
                                  .turn = is_flat ? 0 : -90},
                 name);
    for (size_t c = 0; c < m->data->n; c++) print_cell(m, index, c, sum);
}

/* The widest label of a row, and whether each column's fits a cell without being turned. */
static double widest_label(bool *are_flat, const api_confusion_data *data, double cell) {
    double widest = 0;
    *are_flat = true;
    for (size_t c = 0; c < data->n; c++) {
        char label[400];
        snprintf(label, sizeof label, "%.300s (%.0f)", data->classes[c], row_sum(data, c));
        widest = fmax(widest, api_svg_text_width(label, FONT));
        *are_flat = *are_flat && api_svg_text_width(data->classes[c], FONT) <= cell - 6;
    }
    return widest;
}

void api_confusion_print(affect_buffer *out, const api_svg_style *style, const char *title,
                         const api_confusion_data *data) {
    enum { AXIS_TITLE = 30, FLAT = 24, RIGHT = 24, SCALE = 76 };
    api_svg svg;
    bool are_flat, is_sized = style->width || style->height;
    double n = (double)data->n, most = style->width ? clamp(style->width * 0.25, 30, 150) : 150;
    double cell = data->n <= 6 ? 84 : data->n <= 12 ? 56 : clamp(900 / n, 12, 40);
    double label_width = fmin(widest_label(&are_flat, data, cell), most) + 4;
    double left = AXIS_TITLE + label_width + 8, right = cell >= 24 ? RIGHT : SCALE;
    double bottom = AXIS_TITLE + (are_flat ? FLAT : label_width + 12);
    api_svg_begin(&svg, out, style, title, (int)ceil(fmax(left + n * cell + right, 360)),
                  (int)ceil(TITLE_HEIGHT + n * cell + bottom));
    if (is_sized) { /* labels that stop fitting a smaller cell are turned, and take more room */
        double wide = svg.width - left, high = svg.height - TITLE_HEIGHT - AXIS_TITLE;
        cell = fmin(wide - RIGHT, high - FLAT) / n;
        widest_label(&are_flat, data, cell);
        if (!are_flat) cell = fmin(wide - RIGHT, high - label_width - 12) / n;
        if (cell < 24) cell = fmax(fmin(wide - SCALE, high - label_width - 12) / n, 1);
        right = cell >= 24 ? RIGHT : SCALE;
    }
    double size = cell * n, font = fmin(FONT, cell * 0.9);
    label_width *= font / FONT;
    left = fmax((svg.width - AXIS_TITLE - label_width - 8 - size - right) / 2, 0) + AXIS_TITLE +
           label_width + 8;
    bottom = are_flat ? FLAT : label_width + 12;
    const matrix m = {&svg, data, left, TITLE_HEIGHT, cell};
    for (size_t r = 0; r < data->n; r++) print_class(&m, r, label_width);
    if (cell < 24) print_scale(&m);
    print_axis_title(&svg, left - label_width - 18, m.top + size / 2, -90, 0, "true (utterances)");
    print_axis_title(&svg, left + size / 2, m.top + size + bottom + 20, 0, 0,
                     "predicted (% of true)");
    api_svg_end(&svg);
}

/* ---- The reliability diagram ---- */

static void print_unit_grid(const api_svg *svg, const api_svg_axis *x, const api_svg_axis *y,
                            double tick_y) {
    char text[32];
    for (int i = 0; i <= 5; i++) {
        double value = i / 5.0, at = api_svg_at(x, value), up = api_svg_at(y, value);
        api_svg_tick_text(text, value, 0.2);
        api_svg_line(svg, x->from, up, x->to, up, svg->grid, 1, NULL);
        api_svg_line(svg, at, y->to, at, y->from, svg->grid, 1, NULL);
        api_svg_text(svg, &(api_svg_place){.x = x->from - 8, .y = up + 4, .anchor = API_SVG_END},
                     text);
        api_svg_text(svg, &(api_svg_place){.x = at, .y = tick_y, .anchor = API_SVG_MIDDLE}, text);
    }
}

static void print_numbers(const api_svg *svg, double x, double y, const affect_calibration *c,
                          size_t n) {
    const struct {
        const char *name;
        double value;
    } rows[] = {{"ECE", c->ece}, {"Brier", c->brier}, {"NLL", c->nll}};
    char text[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "%s %.3f", rows[i].name, rows[i].value);
        api_svg_text(svg, &(api_svg_place){.x = x, .y = y + 17 * (double)i}, text);
    }
    snprintf(text, sizeof text, "%zu utterances", n);
    api_svg_text(svg, &(api_svg_place){.x = x, .y = y + 51, .colour = svg->faint}, text);
}

/* `tall`: of the counts. */
static void print_bins(const api_svg *svg, const api_svg_axis *x, const api_svg_axis *y,
                       const api_svg_axis *tall, const affect_calibration_bin *bins) {
    const char *bar = api_svg_colour(svg, 0), *gap = api_svg_colour(svg, 1);
    for (int b = 0; b < AFFECT_CALIBRATION_BINS; b++) {
        double from = api_svg_at(x, (double)b / AFFECT_CALIBRATION_BINS) + 1;
        double width = api_svg_at(x, (b + 1.0) / AFFECT_CALIBRATION_BINS) - 1 - from;
        double share = api_svg_at(y, bins[b].accuracy), n = api_svg_at(tall, (double)bins[b].n);
        if (bins[b].n == 0) continue;
        api_svg_rect(svg, from, share, width, y->from - share, bar, 0.35);
        api_svg_rect(svg, from, n, width, tall->from - n, svg->faint, 0.8);
    }
    api_svg_line(svg, x->from, y->from, x->to, y->to, svg->ink, 1.2, "5 4");
    for (int b = 0; b < AFFECT_CALIBRATION_BINS; b++) {
        double at = api_svg_at(x, bins[b].confidence), share = api_svg_at(y, bins[b].accuracy);
        if (bins[b].n == 0) continue;
        api_svg_line(svg, at, share, at, api_svg_at(y, bins[b].confidence), gap, 2, NULL);
        api_svg_marker(svg, 0, at, share, 4, false);
    }
}

void api_reliability_print(affect_buffer *out, const api_svg_style *style, const char *title,
                           const affect_calibration *calibration) {
    enum { LEFT = 64, RIGHT = 20, BOTTOM = 52, GAP = 14 };
    const affect_calibration_bin *bins = calibration->bins;
    api_svg svg;
    size_t n = 0, most = 1;
    char text[32];
    for (int b = 0; b < AFFECT_CALIBRATION_BINS; b++) {
        n += bins[b].n;
        if (bins[b].n > most) most = bins[b].n;
    }
    api_svg_begin(&svg, out, style, title, 480, 600);
    double room = svg.height - TITLE_HEIGHT - BOTTOM - GAP, counts = room * 0.2;
    double side = fmin(room - counts, svg.width - LEFT - RIGHT), top = TITLE_HEIGHT;
    const api_svg_axis x = {0, 1, LEFT, LEFT + side, 0.2}, y = {0, 1, top + side, top, 0.2};
    const api_svg_axis tall = {0, (double)most, y.from + GAP + counts, y.from + GAP, 1};
    print_unit_grid(&svg, &x, &y, tall.from + 18);
    print_bins(&svg, &x, &y, &tall, bins);
    api_svg_line(&svg, x.from, y.from, x.to, y.from, svg.ink, 1, NULL);
    api_svg_line(&svg, x.from, y.from, x.from, y.to, svg.ink, 1, NULL);
    api_svg_line(&svg, x.from, tall.from, x.to, tall.from, svg.ink, 1, NULL);
    snprintf(text, sizeof text, "%zu", most);
    api_svg_text(&svg, &(api_svg_place){.x = x.from - 8, .y = tall.to + 10, .anchor = API_SVG_END},
                 text);
    print_axis_title(&svg, (x.from + x.to) / 2, tall.from + 38, 0, 0, "confidence");
    print_axis_title(&svg, 20, (y.from + y.to) / 2, -90, 0, "accuracy");
    print_axis_title(&svg, 20, (tall.from + tall.to) / 2, -90, counts + GAP, "count");
    bool has_room = svg.width - x.to > 120;
    print_numbers(&svg, has_room ? x.to + 16 : x.from + 12, y.to + (has_room ? 10 : 20),
                  calibration, n);
    api_svg_end(&svg);
}

/* ---- Recall of classes and groups ---- */

static void print_interval(const api_svg *svg, const api_svg_axis *x, const api_recall_row *row,
                           double y, double cap) {
    if (!isfinite(row->low) || !isfinite(row->high)) return;
    double low = api_svg_at(x, row->low), high = api_svg_at(x, row->high);
    api_svg_line(svg, low, y, high, y, svg->ink, 1.3, NULL);
    api_svg_line(svg, low, y - cap, low, y + cap, svg->ink, 1.3, NULL);
    api_svg_line(svg, high, y - cap, high, y + cap, svg->ink, 1.3, NULL);
}

static void print_recall_row(const api_svg *svg, const api_svg_axis *x, const api_recall_row *row,
                             size_t series, double middle, double height) {
    char text[64];
    double font = fmin(FONT, height * 0.8), bar = height * 0.55, y = middle + font * 0.35;
    api_svg_text(
        svg,
        &(api_svg_place){
            .x = x->from - 8, .y = y, .anchor = API_SVG_END, .size = font, .most = x->from - 16},
        row->name);
    snprintf(text, sizeof text, "%.3f", row->recall);
    api_svg_text(svg, &(api_svg_place){.x = x->to + 12, .y = y, .size = font},
                 isfinite(row->recall) ? text : "\xe2\x80\x93");
    snprintf(text, sizeof text, "n = %.0f", row->n);
    api_svg_text(
        svg,
        &(api_svg_place){.x = x->to + 56, .y = y, .size = font, .colour = svg->faint, .most = 76},
        text);
    if (!isfinite(row->recall)) return;
    api_svg_rect(svg, x->from, middle - bar / 2, api_svg_at(x, row->recall) - x->from, bar,
                 api_svg_colour(svg, series), series ? 0.5 : 0.75);
    print_interval(svg, x, row, middle, bar * 0.3);
}

/* On a piece of ground, without the lines of the grid. */
static void print_heading(const api_svg *svg, double y, double size, const char *text) {
    double width = 1.1 * api_svg_text_width(text, size);
    api_svg_rect(svg, 14, y - size, width, size * 1.3, svg->ground, 1);
    api_svg_text(svg, &(api_svg_place){.x = 16, .y = y, .size = size, .is_bold = true}, text);
}

void api_recall_print(affect_buffer *out, const api_svg_style *style, const char *title,
                      const api_recall_row *rows, size_t n_rows, double uar) {
    enum { RIGHT = 136, BOTTOM = 52, ROW = 22, HEADING = 30 };
    api_svg svg;
    size_t n_headings = 0, section = 0;
    double widest = 40;
    char text[64];
    for (size_t i = 0; i < n_rows; i++) {
        n_headings += rows[i].heading != NULL;
        widest = fmax(widest, api_svg_text_width(rows[i].name, FONT));
    }
    double natural = (double)(n_rows * ROW + n_headings * HEADING);
    api_svg_begin(&svg, out, style, title, 720, TITLE_HEIGHT + (int)natural + BOTTOM);
    /* Rows shrink and do not grow. */
    double scale = fmin((svg.height - TITLE_HEIGHT - BOTTOM) / natural, 1), y = TITLE_HEIGHT;
    double bottom = TITLE_HEIGHT + natural * scale;
    const api_svg_axis x = {0, 1, 24 + fmin(widest, svg.width * 0.3), svg.width - RIGHT, 0.2};
    for (int i = 0; i <= 5; i++) {
        double at = api_svg_at(&x, i / 5.0);
        api_svg_tick_text(text, i / 5.0, 0.2);
        api_svg_line(&svg, at, TITLE_HEIGHT, at, bottom, svg.grid, 1, NULL);
        api_svg_text(&svg, &(api_svg_place){.x = at, .y = bottom + 18, .anchor = API_SVG_MIDDLE},
                     text);
    }
    if (isfinite(uar)) {
        double at = api_svg_at(&x, uar);
        snprintf(text, sizeof text, "mean recall %.3f", uar);
        api_svg_line(&svg, at, TITLE_HEIGHT, at, bottom + 24, svg.ink, 1.2, "2 3");
        api_svg_text(&svg,
                     &(api_svg_place){.x = clamp(at, x.from + 50, x.to - 50),
                                      .y = bottom + 38,
                                      .anchor = API_SVG_MIDDLE},
                     text);
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].heading) {
            section += i > 0;
            y += HEADING * scale;
            print_heading(&svg, y - 8 * scale, fmin(FONT, HEADING * scale * 0.6), rows[i].heading);
        }
        print_recall_row(&svg, &x, &rows[i], section ? 1 : 0, y + ROW * scale / 2, ROW * scale);
        y += ROW * scale;
    }
    api_svg_end(&svg);
}
