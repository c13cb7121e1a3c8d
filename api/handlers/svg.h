/* Drawing primitives of the pictures, as SVG.
 *
 * A picture is a function from data to one self-contained document: no scripts, no fonts to load,
 * colours as attributes, so that it reads the same in a browser, a README and a paper. Colours are
 * Okabe and Ito's, told apart by people who see colours differently; a series also has a marker of
 * its own, so that a print in grey can be read. Text is escaped here, whatever it holds.
 *
 * Coordinates are pixels from the top left corner. An object belongs to one thread and borrows the
 * buffer. */
#ifndef AFFECT_HANDLERS_SVG_H
#define AFFECT_HANDLERS_SVG_H

#include "engine/core/buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* What a client chooses. */
typedef struct {
    const char *title; /* NULL: the picture's own; "": none */
    int width, height; /* 0: the picture's own */
    bool is_dark;
} api_svg_style;

typedef struct {
    affect_buffer *out;
    int width, height;
    bool is_dark;
    const char *ink, *faint, *grid, *ground; /* colours: text and axes; lesser text; grids; behind
                                                all */
} api_svg;

/* Writes the document's head, the ground and the title, whose baseline is at y = 28. `title` and
 * the sizes are the picture's own, for what the style leaves open. */
void api_svg_begin(api_svg *svg, affect_buffer *out, const api_svg_style *style, const char *title,
                   int width, int height);
void api_svg_end(api_svg *svg);

/* ---- Series: 0 .. API_SVG_SERIES - 1 ---- */

enum { API_SVG_SERIES = 8 };
const char *api_svg_colour(const api_svg *svg, size_t series);
/* The series' marker around a point; `hollow`: filled with the colour of the ground. */
void api_svg_marker(const api_svg *svg, size_t series, double x, double y, double radius,
                    bool hollow);

/* ---- Shapes ---- */

/* `dash` is a stroke-dasharray, or NULL. */
void api_svg_line(const api_svg *svg, double x1, double y1, double x2, double y2,
                  const char *colour, double width, const char *dash);
void api_svg_rect(const api_svg *svg, double x, double y, double width, double height,
                  const char *fill, double opacity);

/* ---- Text ---- */

typedef enum { API_SVG_START, API_SVG_MIDDLE, API_SVG_END } api_svg_anchor;
typedef struct {
    double x, y; /* of the baseline at the anchor */
    api_svg_anchor anchor;
    double size;        /* of the font; 0: 12 */
    const char *colour; /* NULL: ink */
    double most; /* pixels: a longer text ends in an ellipsis, the whole is its <title>; 0: any */
    double turn; /* degrees clockwise around the anchor */
    bool is_bold;
} api_svg_place;
void api_svg_text(const api_svg *svg, const api_svg_place *place, const char *text);
/* About how wide the text is drawn. */
double api_svg_text_width(const char *text, double size);

/* ---- Axes ---- */

/* Values low..high lie on from..to, in pixels. */
typedef struct {
    double low, high, from, to;
    double step; /* between ticks; set by api_svg_axis_fit */
} api_svg_axis;
double api_svg_at(const api_svg_axis *axis, double value);
/* The step of 1, 2 or 5 times a power of ten that gives at most n ticks over the span, which is
 * above 0. */
double api_svg_tick_step(double span, int n);
/* Chooses the step, and rounds low and high outwards to whole ticks, of which there are about n at
 * most; values that are not finite, or equal, become a span of 1. */
void api_svg_axis_fit(api_svg_axis *axis, int n);
/* A tick's text: as many decimals as the step has. */
void api_svg_tick_text(char text[32], double value, double step);

#endif
