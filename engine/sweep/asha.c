/* ASHA's decisions: from the values at the rungs alone, so that they are the same after a restart.
 */
#include "engine/sweep/asha.h"

static const char *const types[] = {"asha", NULL};

const affect_field affect_asha_fields[] = {
    AFFECT_FIELD_CHOICE(affect_asha_config, type, 0, types, "asha", .required = true),
    AFFECT_FIELD_INTEGER(affect_asha_config, grace_period, 1, 1, 100000,
                         "epochs before the first decision"),
    AFFECT_FIELD_INTEGER(affect_asha_config, reduction_factor, 4, 2, 100,
                         "one of so many points goes on at each rung"),
    AFFECT_FIELD_INTEGER(affect_asha_config, max_t, 100, 1, 100000,
                         "epochs at and behind which nothing is decided"),
    AFFECT_FIELD_END};

size_t affect_asha_rungs(int64_t rungs[AFFECT_ASHA_MAX_RUNGS], const affect_asha_config *config) {
    size_t n = 0;
    for (int64_t epoch = config->grace_period; epoch < config->max_t && n < AFFECT_ASHA_MAX_RUNGS;
         epoch *= config->reduction_factor)
        rungs[n++] = epoch;
    return n;
}

static bool has_reached(const affect_asha_point *p, size_t rung) {
    return p->n_passed > rung || (p->n_passed == rung && p->waits);
}

/* How many points are before this one at the rung. */
static size_t count_better(const affect_asha_point *points, size_t n, size_t point, size_t rung,
                           bool minimize) {
    size_t n_better = 0;
    double own = points[point].values[rung];
    for (size_t i = 0; i < n; i++) {
        if (i == point || !has_reached(&points[i], rung)) continue;
        double other = points[i].values[rung];
        n_better += (minimize ? other < own : other > own) || (other == own && i < point);
    }
    return n_better;
}

bool affect_asha_promote(affect_asha_decision *decision, const affect_asha_point *points, size_t n,
                         const affect_asha_config *config, bool minimize, bool last) {
    for (size_t rung = AFFECT_ASHA_MAX_RUNGS; rung-- > 0;) {
        size_t n_reached = 0, best = n, best_rank = n + 1;
        double threshold = 0;
        for (size_t i = 0; i < n; i++) n_reached += has_reached(&points[i], rung);
        size_t n_on = n_reached / (size_t)config->reduction_factor;
        for (size_t i = 0; i < n; i++) {
            if (!has_reached(&points[i], rung)) continue;
            size_t rank = 1 + count_better(points, n, i, rung, minimize);
            if (rank == n_on) threshold = points[i].values[rung];
            if (points[i].waits && points[i].n_passed == rung && rank < best_rank) {
                best = i;
                best_rank = rank;
            }
        }
        if (best == n || (best_rank > n_on && !last)) continue;
        double value = points[best].values[rung];
        *decision = (affect_asha_decision){best,      rung,  best_rank,
                                           n_reached, value, best_rank > n_on ? value : threshold};
        return true;
    }
    return false;
}
