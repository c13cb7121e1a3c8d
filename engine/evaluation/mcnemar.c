/* McNemar's test; see mcnemar.h. The binomial coefficients of up to 24 pairs are exact in double,
 * and so is their sum over 2^n; the tail of chi-squared with one degree of freedom is that of a
 * squared normal: P(X > x) = erfc(sqrt(x / 2)). */
#include "engine/evaluation/mcnemar.h"

#include <math.h>

affect_mcnemar affect_mcnemar_test(size_t only_first, size_t only_second) {
    size_t n = only_first + only_second,
           least = only_first < only_second ? only_first : only_second;
    if (n >= AFFECT_MCNEMAR_EXACT_BELOW) {
        double apart = (double)(n - 2 * least);
        double statistic = apart > 0 ? (apart - 1) * (apart - 1) / (double)n : 0;
        return (affect_mcnemar){false, statistic, erfc(sqrt(statistic / 2))};
    }
    double ways = 1, sum = 0; /* ways: n choose k */
    for (size_t k = 0; k <= least; k++) {
        sum += ways;
        ways = ways * (double)(n - k) / (double)(k + 1);
    }
    return (affect_mcnemar){true, (double)least, fmin(1, 2 * ldexp(sum, -(int)n))};
}
