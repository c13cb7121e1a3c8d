/* Drawing primitives; see svg.h.
 *
 * Everything is appended to a buffer whose first failure sticks, so no call fails by itself. The
 * fonts of the viewer are not known: a text's width is estimated from its characters, of which
 * those of East Asian scripts and emoji count twice; what is cut off stays in a <title>, which
 * browsers show under the pointer. XML 1.0 has no place for control characters, for halves of
 * surrogates or for U+FFFE and U+FFFF: they and bytes that are not UTF-8 become U+FFFD. */
#include "api/handlers/svg.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FONT_SIZE       12.0
#define CHARACTER_WIDTH 0.56 /* of the font's size, on average, in common sans-serif fonts */
#define REPLACEMENT     0xfffdu

/* Yellow, black and the darker ones are replaced where they would vanish on the ground. */
static const char *const light_colours[API_SVG_SERIES] = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#857a00"};
static const char *const dark_colours[API_SVG_SERIES] = {
    "#56b4e9", "#e69f00", "#1fc796", "#cc79a7", "#f0e442", "#f27b24", "#ffffff", "#4f94e8"};

/* ---- Text ---- */

/* The character at *text, which moves behind it. */
static uint32_t next_character(const char **text) {
    const unsigned char *p = (const unsigned char *)*text;
    uint32_t c = p[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    bool is_good = c < 0x80 || (c >= 0xc2 && c < 0xf5);
    if (n > 1) c &= 0x7fu >> n;
    for (size_t i = 1; is_good && i < n; i++) {
        is_good = (p[i] & 0xc0) == 0x80;
        c = c << 6 | (p[i] & 0x3fu);
    }
    is_good = is_good && (n < 3 || c >= 0x800) && (n < 4 || (c >= 0x10000 && c <= 0x10ffff));
    *text += is_good ? n : 1;
    bool is_xml = (c >= 0x20 || c == '\t' || c == '\n') && c != 0x7f &&
                  !(c >= 0xd800 && c < 0xe000) && c != 0xfffe && c != 0xffff;
    return is_good && is_xml ? c : REPLACEMENT;
}

static void print_character(affect_buffer *out, uint32_t c) {
    const char *escaped = c == '<'   ? "&lt;"
                          : c == '>' ? "&gt;"
                          : c == '&' ? "&amp;"
                          : c == '"' ? "&quot;"
                                     : NULL;
    char bytes[5] = "";
    if (c < 0x80) {
        bytes[0] = (char)c;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6), bytes[1] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12), bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (c & 0x3f));
    } else {
        bytes[0] = (char)(0xf0 | c >> 18), bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[2] = (char)(0x80 | (c >> 6 & 0x3f)), bytes[3] = (char)(0x80 | (c & 0x3f));
    }
    affect_buffer_append_string(out, escaped ? escaped : bytes);
}

static double width_of(uint32_t c, double size) {
    bool is_wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                   (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                   (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                   (c >= 0x1f300 && c <= 0x1faff) || c == REPLACEMENT || c >= 0x20000;
    bool is_narrow = c < 0x80 && c && strchr("fijlrtI .,:;|!'()[]/-", (int)c);
    bool is_broad = c == 'm' || c == 'w' || (c >= 'A' && c <= 'Z');
    return size * (is_wide ? 1.1 : is_narrow ? 0.34 : is_broad ? 0.74 : CHARACTER_WIDTH);
}

double api_svg_text_width(const char *text, double size) {
    double width = 0;
    while (*text) width += width_of(next_character(&text), size);
    return width;
}

static void print_text(affect_buffer *out, const char *text, double size, double most) {
    double width = 0;
    bool is_cut = most > 0 && api_svg_text_width(text, size) > most;
    while (*text) {
        uint32_t c = next_character(&text);
        width += width_of(c, size);
        if (is_cut && width > most - size) break;
        print_character(out, c);
    }
    if (is_cut) print_character(out, 0x2026);
}

void api_svg_text(const api_svg *svg, const api_svg_place *place, const char *text) {
    static const char *const anchors[] = {"start", "middle", "end"};
    double size = place->size > 0 ? place->size : FONT_SIZE;
    if (!*text) return;
    affect_buffer_printf(svg->out, "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" text-anchor=\"%s\"",
                         place->x, place->y, place->colour ? place->colour : svg->ink,
                         anchors[place->anchor]);
    if (size != FONT_SIZE) affect_buffer_printf(svg->out, " font-size=\"%g\"", size);
    if (place->is_bold) affect_buffer_append_string(svg->out, " font-weight=\"bold\"");
    if (place->turn != 0)
        affect_buffer_printf(svg->out, " transform=\"rotate(%g %.1f %.1f)\"", place->turn, place->x,
                             place->y);
    affect_buffer_append_string(svg->out, ">");
    if (place->most > 0 && api_svg_text_width(text, size) > place->most) {
        affect_buffer_append_string(svg->out, "<title>");
        print_text(svg->out, text, size, 0);
        affect_buffer_append_string(svg->out, "</title>");
    }
    print_text(svg->out, text, size, place->most);
    affect_buffer_append_string(svg->out, "</text>\n");
}

/* ---- The document ---- */

void api_svg_begin(api_svg *svg, affect_buffer *out, const api_svg_style *style, const char *title,
                   int width, int height) {
    if (style->title) title = style->title;
    *svg = (api_svg){.out = out,
                     .width = style->width ? style->width : width,
                     .height = style->height ? style->height : height,
                     .is_dark = style->is_dark,
                     .ink = style->is_dark ? "#e6e6e6" : "#222222",
                     .faint = style->is_dark ? "#a8adb3" : "#5c6066",
                     .grid = style->is_dark ? "#353a41" : "#e0e0e0",
                     .ground = style->is_dark ? "#14171c" : "#ffffff"};
    affect_buffer_printf(out,
                         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                         "viewBox=\"0 0 %d %d\" role=\"img\" font-family=\"sans-serif\" "
                         "font-size=\"%g\">\n",
                         svg->width, svg->height, svg->width, svg->height, FONT_SIZE);
    if (*title) {
        affect_buffer_append_string(out, "<title>");
        print_text(out, title, FONT_SIZE, 0);
        affect_buffer_append_string(out, "</title>\n");
    }
    affect_buffer_printf(out, "<rect width=\"100%%\" height=\"100%%\" fill=\"%s\"/>\n",
                         svg->ground);
    api_svg_text(svg, &(api_svg_place){.x = 20, .y = 28, .size = 16, .most = svg->width - 40.0},
                 title);
}

void api_svg_end(api_svg *svg) {
    affect_buffer_append_string(svg->out, "</svg>\n");
}

/* ---- Shapes ---- */

void api_svg_line(const api_svg *svg, double x1, double y1, double x2, double y2,
                  const char *colour, double width, const char *dash) {
    affect_buffer_printf(svg->out,
                         "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
                         "stroke-width=\"%g\"",
                         x1, y1, x2, y2, colour, width);
    if (dash) affect_buffer_printf(svg->out, " stroke-dasharray=\"%s\"", dash);
    affect_buffer_append_string(svg->out, "/>\n");
}

void api_svg_rect(const api_svg *svg, double x, double y, double width, double height,
                  const char *fill, double opacity) {
    affect_buffer_printf(svg->out,
                         "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"",
                         x, y, fmax(width, 0), fmax(height, 0), fill);
    if (opacity < 1) affect_buffer_printf(svg->out, " fill-opacity=\"%g\"", opacity);
    affect_buffer_append_string(svg->out, "/>\n");
}

const char *api_svg_colour(const api_svg *svg, size_t series) {
    return (svg->is_dark ? dark_colours : light_colours)[series % API_SVG_SERIES];
}

void api_svg_marker(const api_svg *svg, size_t series, double x, double y, double radius,
                    bool hollow) {
    /* Around 0 0, with a radius of 1; the first is a circle. */
    static const char *const shapes[API_SVG_SERIES] = {
        NULL,
        "M-.9 -.9H.9V.9H-.9Z",
        "M0 -1.15L1.05 .8H-1.05Z",
        "M0 -1.25L1.1 0L0 1.25L-1.1 0Z",
        "M0 1.15L1.05 -.8H-1.05Z",
        "M-.35 -1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
        "M-1 -.5H1V.5H-1Z",
        "M-.5 -1H.5V1H-.5Z"};
    const char *colour = api_svg_colour(svg, series), *fill = hollow ? svg->ground : colour;
    const char *shape = shapes[series % API_SVG_SERIES];
    if (!shape)
        affect_buffer_printf(svg->out,
                             "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%g\" fill=\"%s\" stroke=\"%s\" "
                             "stroke-width=\"1.5\"/>\n",
                             x, y, radius, fill, colour);
    else
        affect_buffer_printf(svg->out,
                             "<path d=\"%s\" transform=\"translate(%.1f %.1f) scale(%g)\" "
                             "fill=\"%s\" stroke=\"%s\" stroke-width=\"%.2f\"/>\n",
                             shape, x, y, radius, fill, colour, 1.5 / radius);
}

/* ---- Axes ---- */

double api_svg_at(const api_svg_axis *axis, double value) {
    double span = axis->high - axis->low;
    return axis->from + (span > 0 ? (value - axis->low) / span : 0.5) * (axis->to - axis->from);
}

double api_svg_tick_step(double span, int n) {
    double raw = span / n, power = pow(10, floor(log10(raw)));
    double digit = raw / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

void api_svg_axis_fit(api_svg_axis *axis, int n) {
    if (!isfinite(axis->low) || !isfinite(axis->high)) axis->low = 0, axis->high = 1;
    if (axis->high - axis->low < 1e-9 * fmax(1, fabs(axis->high))) {
        axis->low -= 0.5;
        axis->high += 0.5;
    }
    double step = axis->step = api_svg_tick_step(axis->high - axis->low, n);
    axis->low = floor(axis->low / step + 1e-9) * step;
    axis->high = ceil(axis->high / step - 1e-9) * step;
}

void api_svg_tick_text(char text[32], double value, double step) {
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    snprintf(text, 32, "%.*f", decimals > 9 ? 9 : decimals,
             fabs(value) < step * 1e-6 ? 0.0 : value);
}
