/* A session's passes with what they count: each call waits. */
#ifndef AFFECT_TESTS_COUNTED_H
#define AFFECT_TESTS_COUNTED_H

#include "engine/model/session.h"

enum { MAX_TOTALS = 3 + 8 * 8 };

/* Adds the batch's loss and confusion matrix (2 + classes^2) to stats. */
static inline affect_status add_totals(double *stats, affect_session *session, affect_error *err) {
    double totals[MAX_TOTALS];
    AFFECT_TRY(affect_session_read_totals(totals, session, err));
    for (size_t i = 0; i + 1 < affect_session_n_totals(session); i++) stats[i] += totals[i];
    return affect_session_set_totals(session, NULL, err);
}

static inline affect_status count_batch(affect_session *session, double *stats,
                                        const affect_session_batch *batch, affect_error *err) {
    AFFECT_TRY(affect_session_accumulate(session, batch, err));
    return add_totals(stats, session, err);
}

static inline affect_status count_evaluation(affect_session *session, double *stats,
                                             float *probabilities,
                                             const affect_session_batch *batch, affect_error *err) {
    AFFECT_TRY(affect_session_evaluate(session, probabilities, batch, err));
    return add_totals(stats, session, err);
}

/* *l2: the penalty before the step. */
static inline affect_status count_step(affect_session *session, double *l2,
                                       const affect_adam_shape *adam, affect_error *err) {
    double totals[MAX_TOTALS];
    AFFECT_TRY(affect_session_step(session, 2, adam, err));
    AFFECT_TRY(affect_session_read_totals(totals, session, err));
    *l2 = totals[affect_session_n_totals(session) - 1] / 2;
    return affect_session_set_totals(session, NULL, err);
}

#endif
