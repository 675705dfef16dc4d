/* Statistics: quantiles and their intervals, rank test, bootstrap, trend, change points, and the
 * few distributions that they need.
 *
 * Every function is pure: it reads arrays that the caller owns, takes scratch from `alloc` and
 * gives it back before it returns, and may run in any thread.  Data must be finite (the binding
 * sees to that); what an infinite or NaN value would do is not defined, except that memory stays
 * safe.
 */
#ifndef PFS_STATS_H
#define PFS_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_rng.h"
#include "pfs_status.h"

/* ---- distributions (pfs_stats_dist.c): NaN outside the domain, never an error ---- */

/* The regularised incomplete beta function I_x(a, b), a > 0, b > 0, 0 <= x <= 1: relative error
 * about 1e-13 for a + b up to 1e7.  P(Binomial(n, q) >= k) is I_q(k, n - k + 1). */
double pfs_stats_beta_cdf(double a, double b, double x);

/* The x of I_x(a, b) = p, 0 <= p <= 1. */
double pfs_stats_beta_quantile(double a, double b, double p);

/* P(T > t) of Student's t with df > 0 degrees of freedom; precise in the far tail. */
double pfs_stats_t_tail(double t, double df);

/* The t of P(T <= t) = p, 0 < p < 1; the infinities at 0 and 1. */
double pfs_stats_t_quantile(double p, double df);

double pfs_stats_normal_tail(double z);
double pfs_stats_normal_quantile(double p);

/* ---- order (pfs_stats_order.c) ---- */

/* A key whose unsigned order is the order of finite doubles and infinities; -0.0 is 0.0. */
uint64_t pfs_stats_key(double value);
double pfs_stats_value(uint64_t key);

/* Sorts keys ascending; `spare` is of the same length.  PFS_ENOMEM leaves an unspecified order. */
pfs_status pfs_stats_sort_keys(uint64_t *keys, uint64_t *spare, size_t n, const pfs_alloc *alloc);

/* Reorders data[0..n) so that data[rank] (0-based, rank < n) is what sorting would put there, with
 * nothing larger before it and nothing smaller after it.  O(n) expected whatever the data. */
void pfs_stats_select(double *data, size_t n, size_t rank);

/* The same for `count` ascending ranks at once. */
void pfs_stats_select_many(double *data, size_t n, const size_t *ranks, size_t count);

/* The nearest rank of the q-quantile of n values, 1-based: ceil(q n), where a product that is an
 * integer but for rounding counts as that integer (0.07 of 100 is 7).  n >= 1, 0 <= q <= 1. */
size_t pfs_stats_nearest_rank(size_t n, double q);

/* The 1-based ranks of the two order statistics whose interval holds the q-quantile of the
 * population with at least `confidence`, whatever its distribution: essay in pfs_stats_order.c.
 * `n` may be an effective size that is not an integer; then a high rank of ceil(n) is the maximum.
 * *low is 0 and *high is 0 where that side is open.  PFS_EINVAL unless n > 0, 0 < q < 1 and
 * 0 < confidence < 1. */
pfs_status pfs_stats_quantile_ranks(double n, double q, double confidence, double *low,
                                    double *high);

/* The least n for which neither side of that interval is open; 0 outside the domain. */
double pfs_stats_samples_needed(double q, double confidence);

/* ---- means and tests (pfs_stats_sample.c) ---- */

/* Mean and the sum of squares of deviations from it; n >= 1. */
void pfs_stats_moments(const double *data, size_t n, double *mean, double *squares, double *cubes);

/* Writes the means of `count` resamples of data[0..n) drawn with replacement, every index exactly
 * equally likely.  n >= 1.  Calls continue the generator, so that a long run can be cut into
 * pieces without changing the result. */
void pfs_stats_bootstrap_means(const double *data, size_t n, pfs_rng *rng, double *means,
                               size_t count);

/* The interval of the mean from its bootstrap means (reordered): BCa, Efron 1987.  A sample without
 * variance gives a point; one whose deviations' cubes overflow is not corrected for its skew.
 * count >= 2. */
void pfs_stats_bca(const double *data, size_t n, double *means, size_t count, double confidence,
                   double *low, double *high);

typedef enum { PFS_STATS_TWO_SIDED, PFS_STATS_LESS, PFS_STATS_GREATER } pfs_stats_alternative;

/* Mann and Whitney's U of x and its p value, as scipy.stats.mannwhitneyu gives them by default:
 * exact where a sample has at most 8 values and there are no ties (and the table has at most 2^22
 * entries), else the normal approximation with corrections for ties and continuity.
 * PFS_EEMPTY, PFS_ENOMEM. */
pfs_status pfs_stats_mann_whitney(const double *x, size_t nx, const double *y, size_t ny,
                                  pfs_stats_alternative alternative, const pfs_alloc *alloc,
                                  double *statistic, double *p_value);

/* ---- series (pfs_stats_trend.c, pfs_stats_series.c) ---- */

typedef struct {
    double slope, intercept, low, high;
} pfs_stats_line;

/* Theil and Sen's line of y over t, with Sen's interval of the slope (1968), widened as for
 * n_effective independent points (Hamed and Rao 1998); n_effective <= 0 means n.  A bound that so
 * few points cannot give is infinite.  Exact: the median
 * of all pairwise slopes, in O(n log n) time and bounded memory; above 1,448 points two slopes
 * closer than the rounding of y - slope * t may be taken for one another.
 * PFS_EINVAL: n < 2 or confidence outside (0, 1); PFS_EEMPTY: all t are equal; PFS_ERANGE: a slope
 * is too large for a double; PFS_ENOMEM. */
pfs_status pfs_stats_trend(const double *y, const double *t, size_t n, double confidence,
                           double n_effective, const pfs_alloc *alloc, pfs_stats_line *line);

/* How many independent values the mean of this series is worth, between 1 and n: n divided by the
 * integrated autocorrelation time of Geyer's initial monotone sequence (Statistical Science 7,
 * 1992).  A constant series is worth n.  PFS_EEMPTY, PFS_ENOMEM. */
pfs_status pfs_stats_effective_size(const double *series, size_t n, const pfs_alloc *alloc,
                                    double *size);

/* E-divisive change points: the start of each new segment, ascending, at most n of them, written to
 * points[0..n).  See pfs_stats_series.c.  `stop` (may be NULL) is asked now and then; when it
 * returns true the call ends with PFS_ECALLBACK.  PFS_EINVAL: min_segment < 2, alpha outside (0, 1)
 * or permutations < 1; PFS_ENOMEM. */
pfs_status pfs_stats_change_points(const double *series, size_t n, size_t min_segment, double alpha,
                                   unsigned permutations, uint64_t seed, bool (*stop)(void *),
                                   void *context, const pfs_alloc *alloc, size_t *points,
                                   size_t *count);

#endif
