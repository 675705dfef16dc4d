/* Count, sum, mean, variance, minimum and maximum of a stream of finite numbers, taken in blocks.
 *
 * A block is taken in one pass of vector lanes: minimum, maximum, sum, and the first two powers of
 * the distance from the mean so far, which is near the block's own; if it turns out not to be (more
 * than ten bits would be lost), the block is taken again about its own mean.  It is then merged
 * into the total by Chan, Golub and LeVeque's update ("Updating formulae and a pairwise algorithm
 * for computing sample variances", Stanford STAN-CS-79-773, 1979).  So data that sit far from zero
 * lose no digits, and merging two streams is as exact as having had one.  Total sum and mean carry
 * their rounding errors along (Neumaier): the sum of whole numbers is exact, that of others good to
 * a few units in the last place, however many there were.  Where squares of deviations would leave
 * the range of doubles they are kept in other units.
 *
 * Thread rule: one owner per object.  Nothing here allocates or fails.
 */
#ifndef PFS_HISTOGRAM_MOMENTS_H
#define PFS_HISTOGRAM_MOMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "pfs_histogram_block.h"

typedef struct {
    uint64_t count;
    double sum, sum_low; /* the sum is sum + sum_low; +inf and 0 once it has overflowed */
    /* The centre of `squares` is mean + mean_low: finite even when the sum has overflowed. */
    double mean, mean_low;
    double squares;  /* sum of (x - mean)^2, in units of 4^scale */
    int64_t scale;   /* 0 unless deviations are above 2^480 or all of them below 2^-440 */
    double min, max; /* +inf and -inf while count is 0 */
} pfs_moments;

void pfs_moments_init(pfs_moments *moments);

/* The moments of a block of 1 to PFS_BLOCK_VALUES values alone, ready to be merged into `so_far`,
 * which only says about where they lie.  `pass` is filled as pfs_block_scan says; what was due has
 * been counted, and due_count is 0.  If `inside` comes out false, only sum, minimum and maximum are
 * set: a NaN shows in the sum, and else infinities and negative values in the other two. */
pfs_moments pfs_moments_of(const pfs_moments *so_far, const double *values, size_t count,
                           pfs_block_pass *pass);

/* Adds the finite value x >= 0, `times` times. */
void pfs_moments_add_times(pfs_moments *moments, double x, uint64_t times);

/* `from` may be `into`. */
void pfs_moments_merge(pfs_moments *into, const pfs_moments *from);

/* Whether moments that came from outside, min and max looked at already and some count, can be
 * those of any values: so much that all arithmetic with them is defined. */
bool pfs_moments_plausible(const pfs_moments *moments);

/* 0 when empty. */
double pfs_moments_sum(const pfs_moments *moments);

/* NaN when empty; always within min and max. */
double pfs_moments_mean(const pfs_moments *moments);

/* The sample variance (n - 1 in the denominator); NaN for fewer than two values.  As any square in
 * doubles it is 0 or infinite for deviations below 1e-162 or above 1e154. */
double pfs_moments_variance(const pfs_moments *moments);

/* Its root, of any size. */
double pfs_moments_stdev(const pfs_moments *moments);

#endif
