/* ASHA: points that are worse than their like at a rung are not trained on.
 *
 * Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), algorithm 2:
 * rungs lie at grace_period * reduction_factor^k epochs. A point that reaches one waits there; of
 * those that have reached it, the best n / reduction_factor go on to the next, as soon as they are
 * among them. Field names are those of Ray's ASHAScheduler. A point's value at a rung is the mean,
 * over its folds and seeds, of each run's best metric up to there. */
#ifndef AFFECT_SWEEP_ASHA_H
#define AFFECT_SWEEP_ASHA_H

#include "engine/core/fields.h"

#include <stdbool.h>

#define AFFECT_ASHA_MAX_RUNGS 20

typedef struct {
    int type; /* 0: "asha" */
    int64_t grace_period, reduction_factor, max_t;
} affect_asha_config;
extern const affect_field affect_asha_fields[];

/* The epochs of the rungs, below max_t; at most AFFECT_ASHA_MAX_RUNGS. */
size_t affect_asha_rungs(int64_t rungs[AFFECT_ASHA_MAX_RUNGS], const affect_asha_config *config);

/* A point, as far as it has come. */
typedef struct {
    size_t n_passed;                      /* rungs that it has left behind */
    bool waits;                           /* at rung n_passed */
    double values[AFFECT_ASHA_MAX_RUNGS]; /* of rungs passed and the one that it waits at */
} affect_asha_point;

typedef struct {
    size_t point, rung;
    size_t rank, n_recorded; /* of the point at the rung, from 1; points that reached it */
    double value, threshold; /* its own; the worst value that goes on */
} affect_asha_decision;

/* The point that goes on next: the highest rung first, the best of it first, the first of equals.
 * False: none may yet. With `last` none will come any more: then the best of the highest rung at
 * which one waits. */
bool affect_asha_promote(affect_asha_decision *decision, const affect_asha_point *points, size_t n,
                         const affect_asha_config *config, bool minimize, bool last);

#endif
