/* Series in time: how much a dependent series is worth, and where it changes.
 *
 * Change points are found by E-divisive (D. Matteson and N. James, "A Nonparametric Approach for
 * Multiple Change Point Analysis of Multivariate Data", JASA 109, 2014), as MongoDB's, Hunter's and
 * Otava's tools do.  A segment is cut where the energy statistic
 *     Q = m k / (m + k) * (2 mean|X - Y| - mean|X - X'| - mean|Y - Y'|)
 * between its m left and k right values is largest; the best cut of all segments stands if it beats
 * the best cuts of the same segments with their values shuffled, in all but alpha of the shuffles;
 * then its two halves are segments in turn.
 *
 * For one variable Q needs no matrix of distances: moving the cut by one value changes the three
 * sums by the distances of that value to either side, which a Fenwick tree over ranks (how many,
 * and their sum) answers in O(log n).
 */
#include "pfs_stats.h"

#include <math.h>
#include <string.h>

#define LONGEST 32768 /* above, averages of neighbours stand in for the values */

static double covariance(const double *d, size_t n, size_t lag)
{
    double sum = 0.0;
    for (size_t i = lag; i < n; i++) {
        sum += d[i] * d[i - lag];
    }
    return sum / (double)n;
}

pfs_status pfs_stats_effective_size(const double *series, size_t n, const pfs_alloc *alloc,
                                    double *size)
{
    if (n == 0) {
        return PFS_EEMPTY;
    }
    double mean, squares, cubes;
    pfs_stats_moments(series, n, &mean, &squares, &cubes);
    if (!(squares > 0.0) || n < 4) {
        *size = (double)n;
        return PFS_OK;
    }
    size_t width = (n + LONGEST - 1) / LONGEST, groups = n / width;
    double *d = pfs_alloc_array(alloc, groups, sizeof *d);
    if (d == NULL) {
        return PFS_ENOMEM;
    }
    /* In units of the standard deviation, so that no product over- or underflows. */
    double unit = sqrt(squares / (double)n);
    for (size_t g = 0; g < groups; g++) {
        double sum = 0.0;
        for (size_t i = 0; i < width; i++) {
            sum += (series[g * width + i] - mean) / unit;
        }
        d[g] = sum / (double)width;
    }
    /* Sums of neighbouring autocovariances are positive and decreasing in a reversible chain: what
     * is not is noise, and ends or bounds the sum. */
    double first = covariance(d, groups, 0);
    double sum = 0.0, last = INFINITY;
    for (size_t lag = 0; lag + 1 < groups; lag += 2) {
        double pair = covariance(d, groups, lag) + covariance(d, groups, lag + 1);
        if (pair <= 0.0) {
            break;
        }
        last = fmin(last, pair);
        sum += last;
    }
    pfs_alloc_release(alloc, d);
    /* variance of the mean = (2 sum - first) / groups; of one value: 1, by the choice of unit. */
    double of_mean = (2.0 * sum - first) / (double)groups;
    double worth = of_mean > 0.0 ? 1.0 / of_mean : (double)n;
    *size = fmin(fmax(worth, 1.0), (double)n);
    return PFS_OK;
}

typedef struct {
    double *values;  /* in the order of the series (or shuffled within segments) */
    uint32_t *ranks; /* rank of each among all, from 1; moves with its value */
    double *total;   /* by rank: the sum of its distances to all of its segment */
    double *sums;    /* Fenwick tree over ranks: sum of the values left of the cut */
    uint32_t *tree;  /* the same for their number */
    double *by_rank; /* value of each rank */
    size_t n;
} energy;

/* The sum of |value of rank - v| over the m values left of the cut, whose sum is `all`. */
static double distance_left(const energy *e, uint32_t rank, size_t m, double all)
{
    double value = e->by_rank[rank], sum = 0.0;
    size_t count = 0;
    for (uint32_t i = rank; i > 0; i &= i - 1) {
        sum += e->sums[i];
        count += e->tree[i];
    }
    return value * (double)count - sum + (all - sum) - value * (double)(m - count);
}

/* Fills total[] for the ranks of values[from..to).  The set of values of a segment does not change
 * when they are shuffled, so this is done once for each segment. */
static pfs_status measure_segment(energy *e, size_t from, size_t to, const pfs_alloc *alloc)
{
    size_t n = to - from;
    uint64_t *keys = pfs_alloc_array(alloc, n, 2 * sizeof *keys);
    if (keys == NULL) {
        return PFS_ENOMEM;
    }
    double all = 0.0;
    for (size_t i = 0; i < n; i++) {
        keys[i] = e->ranks[from + i];
        all += e->values[from + i];
    }
    pfs_status status = pfs_stats_sort_keys(keys, keys + n, n, alloc);
    double before = 0.0;
    for (size_t i = 0; status == PFS_OK && i < n; i++) {
        double value = e->by_rank[keys[i]];
        e->total[keys[i]] = value * (double)i - before + (all - before) - value * (double)(n - i);
        before += value;
    }
    pfs_alloc_release(alloc, keys);
    return status;
}

/* The best cut of values[from..to): Q, or -1 when it is too short; *cut is the first value on the
 * right. */
static double best_cut(energy *e, size_t from, size_t to, size_t least, size_t *cut)
{
    size_t n = to - from;
    if (n < 2 * least) {
        return -1.0;
    }
    memset(e->sums, 0, (e->n + 1) * sizeof *e->sums);
    memset(e->tree, 0, (e->n + 1) * sizeof *e->tree);
    double right = 0.0, left = 0.0, cross = 0.0, all = 0.0, best = -1.0;
    for (size_t i = from; i < to; i++) {
        right += e->total[e->ranks[i]];
    }
    right *= 0.5; /* every pair was counted twice */
    for (size_t m = 1; m + least <= n; m++) {
        uint32_t rank = e->ranks[from + m - 1];
        double to_left = distance_left(e, rank, m - 1, all);
        double to_right = e->total[rank] - to_left;
        left += to_left;
        right -= to_right;
        cross += to_right - to_left;
        for (size_t i = rank; i <= e->n; i += i & (0 - i)) {
            e->sums[i] += e->values[from + m - 1];
            e->tree[i]++;
        }
        all += e->values[from + m - 1];
        if (m < least) {
            continue;
        }
        double a = (double)m, b = (double)(n - m);
        double q =
            a * b / (a + b) *
            (2.0 * cross / (a * b) - 2.0 * left / (a * (a - 1.0)) - 2.0 * right / (b * (b - 1.0)));
        if (q > best) {
            best = q;
            *cut = from + m;
        }
    }
    return best;
}

static void shuffle(energy *e, size_t from, size_t to, pfs_rng *rng)
{
    for (size_t i = to - from; i > 1; i--) {
        size_t a = from + i - 1, b = from + (size_t)pfs_rng_below(rng, i);
        double value = e->values[a];
        uint32_t rank = e->ranks[a];
        e->values[a] = e->values[b];
        e->ranks[a] = e->ranks[b];
        e->values[b] = value;
        e->ranks[b] = rank;
    }
}

/* The largest Q over the segments that bounds[0..segments] delimit. */
static double best_of_all(energy *e, const size_t *bounds, size_t segments, size_t least,
                          size_t *cut, size_t *segment)
{
    double best = -1.0;
    for (size_t s = 0; s < segments; s++) {
        size_t at = 0;
        double q = best_cut(e, bounds[s], bounds[s + 1], least, &at);
        if (q > best) {
            best = q;
            *cut = at;
            *segment = s;
        }
    }
    return best;
}

static pfs_status divide(energy *e, energy *shuffled, size_t *bounds, size_t *segments,
                         size_t least, double alpha, unsigned permutations, pfs_rng *rng,
                         bool (*stop)(void *), void *context, const pfs_alloc *alloc)
{
    pfs_status status = measure_segment(e, 0, e->n, alloc);
    while (status == PFS_OK) {
        size_t cut = 0, segment = 0, unused;
        double q = best_of_all(e, bounds, *segments, least, &cut, &segment);
        if (!(q > 0.0)) {
            return PFS_OK;
        }
        memcpy(shuffled->values, e->values, e->n * sizeof *e->values);
        memcpy(shuffled->ranks, e->ranks, e->n * sizeof *e->ranks);
        /* p = (beaten + 1) / (permutations + 1); once above alpha the rest cannot change it. */
        double allowed = alpha * ((double)permutations + 1.0) - 1.0;
        double beaten = 0.0;
        for (unsigned r = 0; r < permutations && beaten <= allowed; r++) {
            if (stop != NULL && stop(context)) {
                return PFS_ECALLBACK;
            }
            for (size_t s = 0; s < *segments; s++) {
                shuffle(shuffled, bounds[s], bounds[s + 1], rng);
            }
            double other = best_of_all(shuffled, bounds, *segments, least, &unused, &unused);
            beaten += other >= q * (1.0 - 1e-12) ? 1.0 : 0.0;
        }
        if (beaten > allowed) {
            return PFS_OK;
        }
        memmove(bounds + segment + 2, bounds + segment + 1, (*segments - segment) * sizeof *bounds);
        bounds[segment + 1] = cut;
        *segments += 1;
        status = measure_segment(e, bounds[segment], cut, alloc);
        if (status == PFS_OK) {
            status = measure_segment(e, cut, bounds[segment + 2], alloc);
        }
    }
    return status;
}

/* Ranks from 1 in the order of the values (equal values in the order of the series). */
static pfs_status assign_ranks(energy *e, const double *series, const pfs_alloc *alloc)
{
    size_t n = e->n;
    uint64_t *keys = pfs_alloc_array(alloc, n, 2 * sizeof *keys);
    if (keys == NULL) {
        return PFS_ENOMEM;
    }
    double centre = series[0];
    for (size_t i = 0; i < n; i++) {
        e->values[i] = series[i] - centre;
        keys[i] = pfs_stats_key(e->values[i]);
    }
    pfs_status status = pfs_stats_sort_keys(keys, keys + n, n, alloc);
    memset(e->tree, 0, (n + 1) * sizeof *e->tree);
    for (size_t i = 0; status == PFS_OK && i < n; i++) {
        uint64_t key = pfs_stats_key(e->values[i]);
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (keys[middle] < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        uint32_t rank = (uint32_t)(low + 1) + e->tree[low]++; /* how many equals came before */
        e->ranks[i] = rank;
        e->by_rank[rank] = e->values[i];
    }
    pfs_alloc_release(alloc, keys);
    return status;
}

pfs_status pfs_stats_change_points(const double *series, size_t n, size_t min_segment, double alpha,
                                   unsigned permutations, uint64_t seed, bool (*stop)(void *),
                                   void *context, const pfs_alloc *alloc, size_t *points,
                                   size_t *count)
{
    if (min_segment < 2 || !(alpha > 0.0 && alpha < 1.0) || permutations < 1) {
        return PFS_EINVAL;
    }
    if (n > UINT32_MAX / 2) {
        return PFS_ERANGE;
    }
    if (n / 2 < min_segment) {
        *count = 0;
        return PFS_OK;
    }
    /* One block: doubles first, so that all parts are aligned. */
    size_t doubles = n * 2 + (n + 1) * 3, words = n * 2 + (n + 1);
    double *block = pfs_alloc_array(alloc, doubles + (words + 1) / 2, sizeof *block);
    size_t *bounds = pfs_alloc_array(alloc, n / min_segment + 3, sizeof *bounds);
    pfs_status status = block == NULL || bounds == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        uint32_t *word = (uint32_t *)(void *)(block + doubles);
        energy e = {.values = block,
                    .total = block + 2 * n,
                    .sums = block + 2 * n + (n + 1),
                    .by_rank = block + 2 * n + 2 * (n + 1),
                    .ranks = word,
                    .tree = word + 2 * n,
                    .n = n};
        energy shuffled = e; /* shares what is indexed by rank */
        shuffled.values = block + n;
        shuffled.ranks = word + n;
        size_t segments = 1;
        bounds[0] = 0;
        bounds[1] = n;
        pfs_rng rng;
        pfs_rng_seed(&rng, seed);
        status = assign_ranks(&e, series, alloc);
        if (status == PFS_OK) {
            status = divide(&e, &shuffled, bounds, &segments, min_segment, alpha, permutations,
                            &rng, stop, context, alloc);
        }
        if (status == PFS_OK) {
            memcpy(points, bounds + 1, (segments - 1) * sizeof *points);
            *count = segments - 1;
        }
    }
    pfs_alloc_release(alloc, bounds);
    pfs_alloc_release(alloc, block);
    return status;
}
