/* The picture of trainings: curves where they belong, a penalty of its own, values that are not
 * numbers left out. With a folder as its argument, the pictures are written there too. */
#include "api/handlers/curves.h"
#include "engine/core/file.h"

#include "tests/test.h"

static const char *folder;

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

/* The picture; borrowed until the next. */
static const char *draw(const char *name, const api_svg_style *style, const api_curve *curves,
                        size_t n) {
    static affect_buffer svg;
    affect_buffer_clear(&svg);
    api_curves_print(&svg, style, "a <title> & \"more\"", curves, n);
    const char *text = affect_buffer_string(&svg);
    CHECK(text && strncmp(text, "<svg ", 5) == 0 && strstr(text, "</svg>\n"));
    CHECK(!strstr(text, "nan") && !strstr(text, "inf"));
    if (folder) {
        char path[AFFECT_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s.svg", folder, name);
        CHECK_OK(affect_file_write(path, svg.data, svg.size, NULL));
    }
    return text;
}

static api_curve_point point_of(double epoch, double slope, double penalty, double deviation) {
    double fall = 1 / (1 + slope * epoch);
    return (api_curve_point){
        .epoch = epoch,
        .mean = {{1.4 * fall, penalty * fall, 1 - 0.75 * fall},
                 {0.5 + fall + 0.01 * slope * epoch, penalty * fall, 0.7 - 0.45 * fall}},
        .deviation = {{deviation, deviation, deviation},
                      {deviation * 2, deviation, deviation / 2}}};
}

static void test_runs(void) {
    static api_curve_point points[8][100];
    api_curve curves[8];
    static char labels[8][40];
    for (int r = 0; r < 8; r++) {
        snprintf(labels[r], sizeof labels[r], "run %d & <%c>", r, 'a' + r);
        for (int i = 0; i < 100; i++)
            points[r][i] = point_of(i + 1, 0.05 * (r + 1), 2.0, r < 2 ? 0.06 : NAN);
        curves[r] = (api_curve){labels[r], points[r], r == 1 ? 60 : 100, 40 + r};
    }
    const api_svg_style none = {0}, dark = {.is_dark = true}, small = {NULL, 480, 320, false};
    const char *text = draw("curves_eight", &none, curves, 8);
    CHECK(strstr(text, "a &lt;title&gt; &amp; &quot;more&quot;") != NULL);
    CHECK(strstr(text, "run 7 &amp; &lt;h&gt;") != NULL);
    CHECK(count(text, "class=\"curve\"") == 3 * 2 * 8 && count(text, "class=\"band\"") == 3 * 2);
    CHECK(count(text, "class=\"best\"") == 3 * 8 + 1);
    CHECK(strstr(text, ">cross-entropy</text>") && strstr(text, ">L2 penalty</text>") &&
          strstr(text, ">accuracy</text>") && strstr(text, "standard deviation"));
    draw("curves_eight_dark", &dark, curves, 8);
    draw("curves_eight_small", &small, curves, 8);
    draw("curves_two", &none, curves, 2);
    draw("curves_two_dark", &dark, curves, 2);
    for (int i = 0; i < 100; i++) points[2][i] = point_of(i + 1, 0.2, 0, NAN);
    text = draw("curves_no_penalty", &none, &curves[2], 1);
    CHECK(!strstr(text, "L2 penalty") && !strstr(text, "standard deviation"));
    CHECK(count(text, "class=\"curve\"") == 2 * 2);
}

/* A curve that falls in value goes down on the page: y grows. */
static void test_direction(void) {
    const api_curve_point points[] = {{1, {{3, 0, .2}, {3, 0, .2}}, {{NAN}, {NAN, NAN, NAN}}},
                                      {2, {{1, 0, .8}, {1, 0, .8}}, {{NAN}, {NAN, NAN, NAN}}}};
    const api_curve curve = {"r", points, 2, 0};
    const char *at =
        strstr(draw("curves_short", &(api_svg_style){0}, &curve, 1), "class=\"curve\"");
    const char *path = at ? strstr(at, " d=\"M60.0 ") : NULL;
    double y1 = 0, x2 = 0, y2 = 0;
    CHECK(path && sscanf(path, " d=\"M60.0 %lfL%lf %lf", &y1, &x2, &y2) == 3);
    CHECK(y2 > y1 && x2 > 64);
}

static void test_little(void) {
    const api_curve_point lone = {
        7, {{1.5, .2, .5}, {1.4, .2, .4}}, {{NAN, NAN, NAN}, {.1, NAN, .1}}};
    const api_curve_point none = {1, {{NAN, INFINITY, NAN}, {NAN, NAN, NAN}}, {{NAN}, {NAN}}};
    const api_curve curves[] = {
        {"empty", NULL, 0, 0}, {"lone", &lone, 1, 7}, {"no numbers", &none, 1, 1}};
    for (size_t i = 0; i < 3; i++) draw("curves_none", &(api_svg_style){0}, &curves[i], 1);
    draw("curves_lone", &(api_svg_style){0}, &curves[1], 1);
}

int main(int argc, char **argv) {
    folder = argc > 1 ? argv[1] : NULL;
    TEST_RUN(test_runs);
    TEST_RUN(test_direction);
    TEST_RUN(test_little);
    return TEST_END();
}
