/* Count, sum, mean, variance, minimum and maximum of a stream of finite numbers, taken in blocks.
 *
 * A block is summed in lanes (so that compilers use vectors without being allowed to reorder),
 * then its squares are taken about its own mean, and the block is merged into the total by
 * Chan, Golub and LeVeque's update ("Updating formulae and a pairwise algorithm for computing
 * sample variances", Stanford STAN-CS-79-773, 1979).  Nothing is ever squared about zero, so data
 * that sit far from it lose no digits, and merging two streams is as exact as having had one.
 * The sum carries its own rounding error along (Neumaier), so that it is good to about one unit in
 * the last place however many values there were.
 *
 * Thread rule: one owner per object.  Nothing here allocates or fails.
 */
#ifndef PFS_HISTOGRAM_MOMENTS_H
#define PFS_HISTOGRAM_MOMENTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t count;
    double sum, sum_low; /* the sum is sum + sum_low; +inf and 0 once it has overflowed */
    /* The centre of `squares` is mean + mean_low: finite even when the sum has overflowed. */
    double mean, mean_low;
    double squares;  /* sum of (x - mean)^2 */
    double min, max; /* +inf and -inf while count is 0 */
} pfs_moments;

/* One look at a block: `min` and `max` pass over NaN, `sum` does not. */
typedef struct {
    double min, max, sum;
} pfs_moments_look;

void pfs_moments_init(pfs_moments *moments);

pfs_moments_look pfs_moments_look_at(const double *values, size_t count);

/* Adds a block of 1 to 2^20 finite values >= 0; `look` is what pfs_moments_look_at said of it. */
void pfs_moments_add(pfs_moments *moments, const double *values, size_t count,
                     const pfs_moments_look *look);

/* Adds the finite value x >= 0, `times` times. */
void pfs_moments_add_times(pfs_moments *moments, double x, uint64_t times);

/* `from` may be `into`. */
void pfs_moments_merge(pfs_moments *into, const pfs_moments *from);

/* 0 when empty. */
double pfs_moments_sum(const pfs_moments *moments);

/* NaN when empty; always within min and max. */
double pfs_moments_mean(const pfs_moments *moments);

/* The sample variance (n - 1 in the denominator); NaN for fewer than two values. */
double pfs_moments_variance(const pfs_moments *moments);

#endif
