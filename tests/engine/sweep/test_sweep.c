/* Points, runs and digests of sweeps, and the interval of a difference. */
#include "engine/sweep/sweep.h"
#include "engine/sweep/sweep_report.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static affect_json *parse(const char *text) {
    affect_json *json = NULL;
    CHECK(affect_json_parse(&json, text, strlen(text), NULL) == AFFECT_STATUS_OK);
    return json;
}

static affect_status read_config(affect_sweep_config *config, const char *text, affect_error *err) {
    affect_json *json = parse(text);
    affect_status status = affect_sweep_config_parse(config, json, err);
    affect_json_free(json);
    return status;
}

static void check_points(const char *text, const char *expected) {
    affect_sweep_config config;
    affect_json *points = NULL;
    CHECK_OK(read_config(&config, text, err));
    CHECK_OK(affect_sweep_points(&points, &config, err));
    char *found = affect_json_text(points);
    CHECK(found && strcmp(found, expected) == 0);
    free(found);
    affect_json_free(points);
    affect_sweep_config_free(&config);
}

static void test_grid(void) {
    check_points("{\"type\":\"sweep\",\"base\":{}}", "[{}]");
    check_points("{\"type\":\"sweep\",\"base\":{},\"parameters\":{\"variables.dropout\":{"
                 "\"values\":[0,0.3]},"
                 "\"precision\":{\"value\":\"fp32\"},\"architecture\":{\"values\":[\"a\",\"b\"]}}}",
                 "[{\"variables.dropout\":0,\"precision\":\"fp32\",\"architecture\":\"a\"},"
                 "{\"variables.dropout\":0,\"precision\":\"fp32\",\"architecture\":\"b\"},"
                 "{\"variables.dropout\":0.3,\"precision\":\"fp32\",\"architecture\":\"a\"},"
                 "{\"variables.dropout\":0.3,\"precision\":\"fp32\",\"architecture\":\"b\"}]");
}

static const char random_sweep[] =
    "{\"type\":\"sweep\",\"base\":{},\"method\":\"random\",\"run_cap\":%d,\"parameters\":{"
    "\"training.learning_rate\":{\"distribution\":\"log_uniform_values\",\"min\":1e-4,\"max\":1e-2}"
    ","
    "\"training.batch_size\":{\"distribution\":\"q_uniform\",\"min\":16,\"max\":64,\"q\":16},"
    "\"training.epochs\":{\"distribution\":\"int_uniform\",\"min\":1,\"max\":4},"
    "\"variables.dropout\":{\"values\":[0,1],\"probabilities\":[0.9,0.1]}}}";

/* Bounds, shares, and that a longer sweep begins with the points of a shorter one. */
static void test_random(void) {
    enum { N = 1000 };
    affect_json *points[2] = {NULL};
    for (int i = 0; i < 2; i++) {
        char text[1024];
        affect_sweep_config config;
        snprintf(text, sizeof text, random_sweep, i ? N : 10);
        CHECK_OK(read_config(&config, text, err));
        CHECK_OK(affect_sweep_points(&points[i], &config, err));
        affect_sweep_config_free(&config);
    }
    CHECK(affect_json_size(points[0]) == 10 && affect_json_size(points[1]) == N);
    const affect_json *a = affect_json_first(points[0]), *b = affect_json_first(points[1]);
    double logs = 0, n_dropout = 0, n_four = 0;
    for (int i = 0; b; b = affect_json_next(b), i++) {
        double rate = affect_json_get_number(b, "training.learning_rate", 0);
        double batch = affect_json_get_number(b, "training.batch_size", 0);
        double epochs = affect_json_get_number(b, "training.epochs", 0);
        if (i < 10) {
            CHECK(rate == affect_json_get_number(a, "training.learning_rate", 0));
            a = affect_json_next(a);
        }
        CHECK(rate >= 1e-4 && rate <= 1e-2 && batch >= 16 && batch <= 64 && fmod(batch, 16) == 0);
        CHECK(epochs >= 1 && epochs <= 4 && epochs == floor(epochs));
        logs += log10(rate);
        n_dropout += affect_json_get_number(b, "variables.dropout", 0);
        n_four += epochs == 4;
    }
    CHECK(fabs(logs / N + 3) < 0.06);         /* deviation of the mean: 0.018 */
    CHECK(n_dropout > 60 && n_dropout < 140); /* 100, deviation 9.5 */
    CHECK(n_four > 190 && n_four < 310);      /* 250, deviation 14 */
    affect_json_free(points[0]);
    affect_json_free(points[1]);
}

/* All that can be told apart, then it ends. */
static void test_exhausted(void) {
    affect_sweep_config config;
    affect_json *points = NULL;
    CHECK_OK(read_config(&config,
                         "{\"type\":\"sweep\",\"base\":{},\"method\":\"random\",\"run_cap\":64,"
                         "\"parameters\":{\"training.epochs\":{\"values\":[1,2]},"
                         "\"training.batch_size\":{\"values\":[8,16]}}}",
                         err));
    CHECK_OK(affect_sweep_points(&points, &config, err));
    CHECK(affect_json_size(points) == 4);
    affect_json_free(points);
    affect_sweep_config_free(&config);
}

static void test_digests(void) {
    static const char *const specs[] = {
        "{\"job\":\"a\",\"output\":\"x\",\"threads\":1,\"training\":{\"seed\":1,\"epochs\":2}}",
        "{\"training\":{\"epochs\":2,\"seed\":1},\"threads\":1,\"job\":\"b\",\"output\":\"y\"}",
        "{\"threads\":2,\"training\":{\"epochs\":2,\"seed\":1}}",
        "{\"threads\":1,\"training\":{\"epochs\":2,\"seed\":2}}"};
    char digests[5][AFFECT_DIGEST_TEXT_SIZE];
    for (int i = 0; i < 4; i++) {
        affect_json *spec = parse(specs[i]);
        CHECK(affect_sweep_digest(digests[i], spec, "d", NULL) == AFFECT_STATUS_OK);
        if (i == 0) CHECK(affect_sweep_digest(digests[4], spec, "e", NULL) == AFFECT_STATUS_OK);
        affect_json_free(spec);
    }
    CHECK(strcmp(digests[0], digests[1]) == 0);
    for (int i = 2; i < 5; i++) CHECK(strcmp(digests[0], digests[i]) != 0);
}

/* statsmodels 0.14: confint_proportions_2indep(..., method="newcomb"). */
static void test_newcombe(void) {
    static const struct {
        size_t right1, n1, right2, n2;
        double low, high;
    } cases[] = {{56, 70, 48, 80, 0.05243147240236498, 0.33387265403690614},
                 {9, 10, 3, 10, 0.1705227239345029, 0.809017973535488},
                 {5, 56, 0, 29, -0.038137147903536936, 0.19256001385511165}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        affect_interval found =
            affect_sweep_newcombe(cases[i].right1, cases[i].n1, cases[i].right2, cases[i].n2);
        CHECK(fabs(found.low - cases[i].low) < 1e-12);
        CHECK(fabs(found.high - cases[i].high) < 1e-12);
    }
}

/* Every format escapes for itself: names come from clients. */
static void test_hostile_cells(void) {
    affect_json *report =
        parse("{\"statement\":\"a|b & 5 "
              "%\",\"points\":[{\"parameters\":{\"architecture\":\"=1+1|\\\"x\\\",&_$\"},"
              "\"splits\":[{\"split\":\"speaker-out\",\"n_runs\":2,\"accuracy\":0.5}, null]}]}");
    affect_buffer text = {0};
    CHECK(affect_sweep_table(&text, report, "csv", NULL) == AFFECT_STATUS_OK);
    CHECK(strstr(affect_buffer_string(&text), "\n\"'=1+1|\"\"x\"\",&_$\",speaker-out,2,"));
    affect_buffer_clear(&text);
    CHECK(affect_sweep_table(&text, report, "md", NULL) == AFFECT_STATUS_OK);
    CHECK(strstr(affect_buffer_string(&text), "\n| =1+1\\|\"x\",\\&\\_\\$ | speaker-out"));
    affect_buffer_clear(&text);
    CHECK(affect_sweep_table(&text, report, "latex", NULL) == AFFECT_STATUS_OK);
    CHECK(strstr(affect_buffer_string(&text),
                 "=1+1\\textbar{}\\textquotedbl{}x\\textquotedbl{},\\&\\_\\$ & speaker-out"));
    CHECK(affect_sweep_table(&text, report, "html", NULL) == AFFECT_STATUS_INVALID);
    affect_buffer_free(&text);
    affect_json_free(report);
}

int main(void) {
    TEST_RUN(test_grid);
    TEST_RUN(test_random);
    TEST_RUN(test_exhausted);
    TEST_RUN(test_digests);
    TEST_RUN(test_newcombe);
    TEST_RUN(test_hostile_cells);
    return TEST_END();
}
