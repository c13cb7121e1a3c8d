/* Learning rate and stopping at their edges; whole runs against Keras are in test_keras_schedule.
 */
#include "engine/train/schedule.h"
#include "tests/test.h"

static affect_schedule_config plateau(int64_t patience, int64_t cooldown) {
    affect_schedule_config config;
    affect_fields_default(&config, affect_schedule_fields);
    config.kind = AFFECT_SCHEDULE_PLATEAU;
    config.factor = 0.5;
    config.patience = patience;
    config.cooldown = cooldown;
    return config;
}

static double rate_after(const affect_schedule_config *config, double rate, const double *losses,
                         int n) {
    affect_schedule schedule;
    affect_schedule_begin(&schedule, rate);
    for (int i = 0; i < n; i++) affect_schedule_update(&schedule, config, losses[i]);
    return schedule.learning_rate;
}

static const double flat[20] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void test_constant(void) {
    affect_schedule_config config;
    affect_fields_default(&config, affect_schedule_fields);
    CHECK(config.kind == AFFECT_SCHEDULE_CONSTANT);
    CHECK_NEAR(rate_after(&config, 0.25, flat, 20), 0.25, 0);
}

static void test_patience(void) {
    affect_schedule_config config = plateau(3, 0);
    CHECK_NEAR(rate_after(&config, 0.5, flat, 3), 0.5, 0); /* the first epoch improves on nothing */
    CHECK_NEAR(rate_after(&config, 0.5, flat, 4), 0.25, 0);
    CHECK_NEAR(rate_after(&config, 0.5, flat, 6), 0.25, 0);
    CHECK_NEAR(rate_after(&config, 0.5, flat, 7), 0.125, 0);
}

/* Patience 0 and 1 are the same in Keras: the wait is counted before it is compared. */
static void test_no_patience(void) {
    affect_schedule_config none = plateau(0, 0), one = plateau(1, 0);
    for (int n = 1; n < 6; n++)
        CHECK(rate_after(&none, 1, flat, n) == rate_after(&one, 1, flat, n));
    CHECK_NEAR(rate_after(&one, 1, flat, 3), 0.25, 0);
}

static void test_min_delta(void) {
    affect_schedule_config config = plateau(2, 0);
    config.min_delta = 0.1;
    const double slowly[] = {1, 0.95, 0.91}; /* never 0.1 below the best */
    const double just[] = {1, 0.95, 0.89};
    CHECK_NEAR(rate_after(&config, 1, slowly, 3), 0.5, 0);
    CHECK_NEAR(rate_after(&config, 1, just, 3), 1, 0);
}

static void test_cooldown(void) {
    affect_schedule_config config = plateau(2, 3);
    CHECK_NEAR(rate_after(&config, 1, flat, 3), 0.5, 0);
    CHECK_NEAR(rate_after(&config, 1, flat, 6), 0.5, 0);
    CHECK_NEAR(rate_after(&config, 1, flat, 7), 0.25, 0); /* Keras 3: the third waits already */
}

static void test_floor(void) {
    affect_schedule_config config = plateau(1, 0);
    config.min_learning_rate = 0.2;
    CHECK_NEAR(rate_after(&config, 1, flat, 3), 0.25, 0);
    CHECK_NEAR(rate_after(&config, 1, flat, 4), (float)0.2, 0);
    CHECK_NEAR(rate_after(&config, 1, flat, 20), (float)0.2, 0);
    CHECK_NEAR(rate_after(&config, 0.1, flat, 20), (float)0.1, 0); /* below it: never raised */
}

static void test_a_loss_that_is_no_number(void) {
    affect_schedule_config config = plateau(2, 0);
    const double losses[] = {NAN, NAN};
    CHECK_NEAR(rate_after(&config, 1, losses, 2), 0.5, 0);
}

static int stops_at(int64_t patience, double min_delta, const double *losses, int n) {
    affect_stopping_config config = {.patience = patience, .min_delta = min_delta};
    affect_stopping stopping;
    affect_stopping_begin(&stopping);
    for (int i = 0; i < n; i++)
        if (affect_stopping_update(&stopping, &config, losses[i])) return i + 1;
    return 0;
}

static void test_stopping(void) {
    const double falls_late[] = {1, 0.9, 0.95, 0.93, 0.8, 0.85, 0.85, 0.85};
    CHECK(stops_at(0, 0, flat, 20) == 0); /* never */
    CHECK(stops_at(3, 0, flat, 20) == 4);
    CHECK(stops_at(1, 0, flat, 20) == 2);
    CHECK(stops_at(3, 0, falls_late, 8) == 8);
    CHECK(stops_at(2, 0, falls_late, 8) == 4);
    CHECK(stops_at(3, 0.15, falls_late, 8) == 4); /* 0.9 is no improvement on 1 */
}

int main(void) {
    TEST_RUN(test_constant);
    TEST_RUN(test_patience);
    TEST_RUN(test_no_patience);
    TEST_RUN(test_min_delta);
    TEST_RUN(test_cooldown);
    TEST_RUN(test_floor);
    TEST_RUN(test_a_loss_that_is_no_number);
    TEST_RUN(test_stopping);
    return TEST_END();
}
