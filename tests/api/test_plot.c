/* The plot: well-formed SVG, curves where they belong, values that are not numbers left out. */
#include "api/handlers/plot.h"

#include "tests/test.h"

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

static const char *draw(affect_buffer *svg, const api_plot_run *runs, size_t n) {
    affect_buffer_clear(svg);
    api_plot_print(svg, "a <title> & \"more\"", runs, n);
    return affect_buffer_string(svg);
}

/* Elements are closed, in order. */
static void check_well_formed(const char *text) {
    char open[16][16];
    int depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        CHECK(end != NULL);
        if (!end) return;
        if (end[-1] == '/') continue;
        char name[16] = "";
        sscanf(at + (at[1] == '/' ? 2 : 1), "%15[a-z]", name);
        if (at[1] == '/') {
            CHECK(depth > 0 && strcmp(open[depth - 1], name) == 0);
            depth--;
        } else if (depth < 16) {
            strcpy(open[depth++], name);
        }
    }
    CHECK(depth == 0);
    CHECK(strstr(text, "nan") == NULL && strstr(text, "inf") == NULL);
}

static void test_two_runs(void) {
    api_plot_point points[100];
    for (int i = 0; i < 100; i++)
        points[i] = (api_plot_point){i + 1, 2.0 / (i + 1), 0.5 + 1.0 / (i + 1), 1 - 1.0 / (i + 1),
                                     0.7 - 0.5 / (i + 1)};
    api_plot_run runs[] = {{"first & <one>", points, 100, 40}, {"second", points, 60, 0}};
    affect_buffer svg = {0};
    const char *text = draw(&svg, runs, 2);
    check_well_formed(text);
    CHECK(strstr(text, "a &lt;title&gt; &amp; &quot;more&quot;") != NULL);
    CHECK(strstr(text, "first &amp; &lt;one&gt;") != NULL);
    CHECK(count(text, "class=\"curve\"") == 2 * 4 + 2 * 2); /* panels x lines + legend */
    CHECK(count(text, "<circle") == 2 + 1);                 /* the best epoch twice, the legend */
    CHECK(strstr(text, ">loss</text>") && strstr(text, ">accuracy</text>"));
    affect_buffer_free(&svg);
}

/* A curve that falls in value goes down on the page: y grows. */
static void test_direction(void) {
    const api_plot_point points[] = {{1, 3, 3, 0.2, 0.2}, {2, 1, 1, 0.8, 0.8}};
    const api_plot_run run = {"r", points, 2, 0};
    affect_buffer svg = {0};
    const char *curve = strstr(draw(&svg, &run, 1), "class=\"curve\"");
    const char *path = curve ? strstr(curve, " d=\"M64.0 ") : NULL;
    double y1 = 0, x2 = 0, y2 = 0;
    CHECK(path && sscanf(path, " d=\"M64.0 %lfL%lf %lf", &y1, &x2, &y2) == 3);
    CHECK(y2 > y1 && x2 > 64);
    affect_buffer_free(&svg);
}

static void test_little(void) {
    const api_plot_point lone = {7, 1.5, NAN, 0.5, NAN}, none = {1, NAN, INFINITY, NAN, NAN};
    const api_plot_run runs[] = {
        {"empty", NULL, 0, 0}, {"lone", &lone, 1, 7}, {"no numbers", &none, 1, 1}};
    affect_buffer svg = {0};
    for (int i = 0; i < 3; i++) check_well_formed(draw(&svg, &runs[i], 1));
    affect_buffer_free(&svg);
}

int main(void) {
    TEST_RUN(test_two_runs);
    TEST_RUN(test_direction);
    TEST_RUN(test_little);
    return TEST_END();
}
