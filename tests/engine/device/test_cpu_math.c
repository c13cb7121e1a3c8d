/* Our exp, tanh and sigmoid against libm in double: the error in units of the last place. */
#include "engine/core/status.h"
#include "engine/device/cpu/cpu_math.h"
#include "tests/test.h"

static double worst_ulp(float (*ours)(float), double (*theirs)(double), float low, float high) {
    double worst = 0;
    for (int i = 0; i <= 200000; i++) {
        float x = low + (high - low) * (float)i / 200000;
        double want = theirs((double)x), got = (double)ours(x);
        double ulp = (double)(nextafterf((float)fabs(want), INFINITY) - (float)fabs(want));
        worst = fmax(worst, fabs(got - want) / ulp);
    }
    return worst;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void test_accuracy(void) {
    double e = worst_ulp(affect_exp, exp, -80, 80), t = worst_ulp(affect_tanh, tanh, -20, 20);
    double s = worst_ulp(affect_sigmoid, sigmoid, -30, 30);
    fprintf(stderr, "ulp: exp %.2f, tanh %.2f, sigmoid %.2f\n", e, t, s);
    CHECK(e <= 2 && t <= 2 && s <= 3);
}

static void test_extremes(void) {
    CHECK(affect_sigmoid(-1000) >= 0 && affect_sigmoid(-1000) < 1e-30f);
    CHECK(affect_sigmoid(1000) == 1);
    CHECK(affect_tanh(1000) == 1 && affect_tanh(-1000) == -1 && affect_tanh(0) == 0);
    CHECK(isnan(affect_tanh(NAN)) && isnan(affect_sigmoid(NAN)));
}

int main(void) {
    TEST_RUN(test_accuracy);
    TEST_RUN(test_extremes);
    return TEST_END();
}
