/* Pictures of results: well-formed whatever the labels hold, and their numbers as text. With a
 * folder as its argument, the pictures are written there too (tests/service/test_pictures.py parses
 * them; people look at them). */
#include "api/handlers/result_plots.h"
#include "engine/core/file.h"

#include "tests/test.h"

#define HOSTILE "<b onload=\"x\">&amp;]]>'\x01\x7f\xc3\x28\xed\xa0\x80\xff"

static const char *folder;

/* Ends a picture: keeps it in the folder, if there is one. */
static const char *finish(affect_buffer *svg, const char *name) {
    const char *text = affect_buffer_string(svg);
    CHECK(text && strncmp(text, "<svg ", 5) == 0 && strstr(text, "</svg>\n"));
    CHECK(!strstr(text, "nan") && !strstr(text, "inf") && !strstr(text, "onload=\""));
    if (folder) {
        char path[AFFECT_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s.svg", folder, name);
        CHECK_OK(affect_file_write(path, svg->data, svg->size, NULL));
    }
    return text;
}

static void confusion(const char *name, const api_svg_style *style, const char *const *classes,
                      size_t n, const char *expected) {
    static double counts[64 * 64];
    affect_buffer svg = {0};
    for (size_t r = 0; r < n; r++)
        for (size_t c = 0; c < n; c++)
            counts[r * n + c] = r == n - 1 && n > 4 ? 0
                                : r == c            ? 61
                                                    : (double)((7 * r + 3 * c) % 23);
    const api_confusion_data data = {classes, n, counts};
    api_confusion_print(&svg, style, "Confusion of first:1 on the test part", &data);
    const char *text = finish(&svg, name);
    CHECK(text && strstr(text, expected));
    affect_buffer_free(&svg);
}

static void test_confusion(void) {
    static char names[64][24];
    static const char *many[64], *const four[] = {"angry", "happy", "neutral", "sad"};
    static const char *const odd[] = {
        "a", HOSTILE, "\xe5\x96\x9c\xe3\x81\xb3\xe3\x81\xa8\xe6\x82\xb2\xe3\x81\x97\xe3\x81\xbf",
        "excitement and other long names of emotions that nobody would ever print in a table",
        "sad"};
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "emotion number %d", i);
        many[i] = names[i];
    }
    const api_svg_style none = {0}, dark = {.is_dark = true}, small = {NULL, 480, 320, false};
    const api_svg_style titled = {.title = HOSTILE};
    confusion("confusion", &none, four, 4, ">61</text>");
    confusion("confusion_dark", &dark, four, 4, ">61</text>");
    confusion("confusion_two", &none, four, 2, "angry (");
    confusion("confusion_odd", &titled, odd, 5, "&lt;b onload=&quot;x&quot;&gt;&amp;amp;]]&gt;");
    confusion("confusion_many", &none, many, 64, "emotion number 63 (0)");
    confusion("confusion_many_dark", &dark, many, 64, "<title>61 of ");
    confusion("confusion_twenty", &none, many, 20, "emotion number 3 (");
    confusion("confusion_small", &small, four, 4, "angry (");
    confusion("confusion_many_small", &small, many, 64, "<title>61 of ");
}

static void reliability(const char *name, const api_svg_style *style, size_t scale) {
    affect_calibration c = {.nll = 1.234, .brier = 0.567, .ece = 0.089};
    affect_buffer svg = {0};
    for (int b = 3; b < AFFECT_CALIBRATION_BINS; b++)
        c.bins[b] = (affect_calibration_bin){(size_t)(b * b) * scale, (b + 0.6) / 15,
                                             b == 4    ? 0
                                             : b == 14 ? 0.81
                                                       : (b + 0.2) / 18};
    if (!scale) c = (affect_calibration){0};
    api_reliability_print(&svg, style, "Reliability of first:1 on the test part", &c);
    const char *text = finish(&svg, name);
    CHECK(text && strstr(text, scale ? "ECE 0.089" : "ECE 0.000"));
    affect_buffer_free(&svg);
}

static void test_reliability(void) {
    reliability("reliability", &(api_svg_style){0}, 1);
    reliability("reliability_dark", &(api_svg_style){.is_dark = true}, 1);
    reliability("reliability_large", &(api_svg_style){NULL, 900, 900, false}, 100000);
    reliability("reliability_small", &(api_svg_style){NULL, 480, 320, false}, 1);
    reliability("reliability_empty", &(api_svg_style){0}, 0);
}

static void test_recall(void) {
    api_recall_row rows[90] = {{"class", "angry", 0.612, 0.51, 0.70, 98},
                               {NULL, "happy", 0.331, 0.2, 0.49, 41},
                               {NULL, "neutral", 0, 0, 0.08, 44},
                               {NULL, HOSTILE, NAN, NAN, NAN, 0},
                               {"gender (mean recall)", "F", 0.55, NAN, NAN, 120},
                               {NULL, "M", 0.41, NAN, NAN, 63},
                               {"session (mean recall)", "Ses01", 1, NAN, NAN, 183}};
    const struct {
        const char *name;
        api_svg_style style;
        size_t n;
    } cases[] = {{"recall", {0}, 7},
                 {"recall_dark", {.is_dark = true}, 7},
                 {"recall_many", {0}, 90},
                 {"recall_small", {NULL, 480, 320, false}, 90},
                 {"recall_large", {NULL, 1200, 900, false}, 7},
                 {"recall_one", {.title = ""}, 1}};
    for (int i = 7; i < 90; i++) rows[i] = (api_recall_row){NULL, "speaker", i / 90.0, NAN, NAN, i};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_buffer svg = {0};
        api_recall_print(&svg, &cases[i].style, "Recall of first:1", rows, cases[i].n, 0.48);
        const char *text = finish(&svg, cases[i].name);
        CHECK(text && strstr(text, ">0.612</text>") && strstr(text, "mean recall 0.480"));
        affect_buffer_free(&svg);
    }
}

int main(int argc, char **argv) {
    folder = argc > 1 ? argv[1] : NULL;
    TEST_RUN(test_confusion);
    TEST_RUN(test_reliability);
    TEST_RUN(test_recall);
    return TEST_END();
}
