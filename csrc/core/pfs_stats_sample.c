/* Means and rank tests.
 *
 * The bootstrap draws its indices in batches: one 64-bit word x is multiplied by n, the high half
 * is an index in [0, n), the low half goes on as the next word; after k of them the remainder says
 * whether the word was one of the 2^64 mod n^k that would make the draw uneven (Brackett-Rozinsky
 * and Lemire, "Batched Ranged Random Integer Generation", Software: Practice and Experience, 2024).
 * So every index is exactly equally likely at a quarter of a generator's step each.
 *
 * The exact distribution of U is the Gaussian binomial coefficient: the number of arrangements with
 * each U is the coefficient of q^U in prod (1 - q^(n+i)) / (1 - q^i), i = 1..m (Mann and Whitney,
 * Ann. Math. Stat. 18, 1947).  Only the thinner tail is computed, from its end inwards.
 */
#include "pfs_stats.h"

#include <math.h>
#include <string.h>

void pfs_stats_moments(const double *data, size_t n, double *mean, double *squares, double *cubes)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += data[i];
    }
    double centre = sum / (double)n;
    double first = 0.0, second = 0.0, third = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = data[i] - centre;
        first += d;
        second += d * d;
        third += d * d * d;
    }
    double shift = first / (double)n; /* what the rounding of the first sum left over */
    *mean = centre + shift;
    if (!isfinite(second)) { /* not 0, which a difference of infinities could come to */
        *squares = *cubes = INFINITY;
        return;
    }
    *squares = fmax(0.0, second - (double)n * shift * shift);
    *cubes = third - 3.0 * shift * second + 2.0 * (double)n * shift * shift * shift;
}

/* An index below n from *word, which becomes the low half of the product. */
static inline uint64_t draw(uint64_t *word, uint64_t n)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)*word * n;
    *word = (uint64_t)product;
    return (uint64_t)(product >> 64);
#else
    uint64_t a0 = *word & UINT32_MAX, a1 = *word >> 32;
    uint64_t b0 = n & UINT32_MAX, b1 = n >> 32;
    uint64_t p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    uint64_t middle = (p00 >> 32) + (p01 & UINT32_MAX) + (p10 & UINT32_MAX);
    *word = (middle << 32) | (p00 & UINT32_MAX);
    return p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
#endif
}

/* The sum of n values drawn from data[0..n), four indices a word; n < 2^16 so that n^4 fits. */
static double resample_by_four(const double *data, uint64_t n, uint64_t uneven, pfs_rng *rng)
{
    double s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0;
    uint64_t left = n;
    while (left >= 4) {
        uint64_t word = pfs_rng_next(rng);
        uint64_t a = draw(&word, n);
        uint64_t b = draw(&word, n);
        uint64_t c = draw(&word, n);
        uint64_t d = draw(&word, n);
        if (word < uneven) {
            continue;
        }
        s0 += data[a];
        s1 += data[b];
        s2 += data[c];
        s3 += data[d];
        left -= 4;
    }
    while (left > 0) {
        s0 += data[pfs_rng_below(rng, n)];
        left--;
    }
    return (s0 + s1) + (s2 + s3);
}

static double resample(const double *data, uint64_t n, pfs_rng *rng)
{
    double s0 = 0.0, s1 = 0.0;
    uint64_t i = 0;
    for (; i + 2 <= n; i += 2) {
        s0 += data[pfs_rng_below(rng, n)];
        s1 += data[pfs_rng_below(rng, n)];
    }
    if (i < n) {
        s0 += data[pfs_rng_below(rng, n)];
    }
    return s0 + s1;
}

void pfs_stats_bootstrap_means(const double *data, size_t n, pfs_rng *rng, double *means,
                               size_t count)
{
    pfs_rng local = *rng; /* in registers, not behind a pointer that the stores might change */
    uint64_t size = n;
    if (n < 65536) {
        uint64_t power = size * size * size * size;
        uint64_t uneven = (0 - power) % power;
        for (size_t i = 0; i < count; i++) {
            means[i] = resample_by_four(data, size, uneven, &local) / (double)n;
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            means[i] = resample(data, size, &local) / (double)n;
        }
    }
    *rng = local;
}

/* The p-quantile of means[0..count), interpolated between order statistics as numpy does. */
static double interpolated(double *means, size_t count, double p)
{
    double place = p * (double)(count - 1);
    size_t below = (size_t)place;
    if (below + 1 >= count) {
        pfs_stats_select(means, count, count - 1);
        return means[count - 1];
    }
    size_t ranks[2] = {below, below + 1};
    pfs_stats_select_many(means, count, ranks, 2);
    return means[below] + (place - (double)below) * (means[below + 1] - means[below]);
}

void pfs_stats_bca(const double *data, size_t n, double *means, size_t count, double confidence,
                   double *low, double *high)
{
    double mean, squares, cubes;
    pfs_stats_moments(data, n, &mean, &squares, &cubes);
    if (squares == 0.0) {
        *low = *high = mean;
        return;
    }
    size_t below = 0, equal = 0;
    for (size_t i = 0; i < count; i++) {
        below += means[i] < mean;
        equal += means[i] == mean;
    }
    double share = ((double)below + 0.5 * (double)equal) / (double)count;
    double edge = 0.5 / (double)count; /* all on one side: as far out as `count` can tell */
    double bias = pfs_stats_normal_quantile(fmin(fmax(share, edge), 1.0 - edge));
    /* For the mean the jackknife's acceleration has a closed form. */
    double acceleration = cubes / (6.0 * squares * sqrt(squares));
    if (!isfinite(acceleration)) { /* powers of huge deviations overflow: then without it */
        acceleration = 0.0;
    }
    double z = pfs_stats_normal_quantile(0.5 + 0.5 * confidence);
    double ends[2];
    for (int side = 0; side < 2; side++) {
        double shifted = bias + (side == 0 ? -z : z);
        double room = 1.0 - acceleration * shifted;
        double adjusted = room > 0.0 ? bias + shifted / room : (side == 0 ? -INFINITY : INFINITY);
        ends[side] = interpolated(means, count, pfs_stats_normal_tail(-adjusted));
    }
    *low = ends[0];
    *high = ends[1];
}

#define EXACT_SAMPLES 8 /* as scipy: exact up to here, if nothing is tied */
#define EXACT_ENTRIES ((size_t)1 << 22)

/* P(U >= u), without ties. */
static pfs_status exact_tail(size_t nx, size_t ny, double u, const pfs_alloc *alloc, double *p)
{
    size_t m = nx < ny ? nx : ny, n = nx < ny ? ny : nx;
    size_t product = m * n;
    size_t at = (size_t)u;
    /* P(U >= u) = P(U <= product - u); the thinner of that and its complement is summed. */
    bool complement = product - at >= at;
    if (at == 0) {
        *p = 1.0;
        return PFS_OK;
    }
    size_t top = complement ? at - 1 : product - at;
    double *ways = pfs_alloc_zeroed(alloc, top + 1, sizeof *ways);
    if (ways == NULL) {
        return PFS_ENOMEM;
    }
    ways[0] = 1.0;
    double all = 1.0;
    for (size_t i = 1; i <= m; i++) {
        size_t times = n + i;
        for (size_t k = top + 1; k-- > times;) {
            ways[k] -= ways[k - times];
        }
        for (size_t k = i; k <= top; k++) {
            ways[k] += ways[k - i];
        }
        all *= (double)(n + i) / (double)i;
    }
    double sum = 0.0;
    for (size_t k = 0; k <= top; k++) {
        sum += ways[k];
    }
    pfs_alloc_release(alloc, ways);
    *p = complement ? 1.0 - sum / all : sum / all;
    return PFS_OK;
}

/* From both samples as sorted keys: the number of pairs with y below x; returns whether any value
 * occurs twice. */
static bool count_pairs(const uint64_t *x, size_t nx, const uint64_t *y, size_t ny, double *below)
{
    /* Merged from both ends at once, without branches: which sample comes next cannot be predicted,
     * and two chains of steps wait for each other less than one.  Equal values count x as first. */
    size_t i = 0, j = 0, last_x = nx, last_y = ny;
    uint64_t less = 0, any = 0;
    while (last_x - i >= 2 && last_y - j >= 2) {
        uint64_t a = x[i], b = y[j], c = x[last_x - 1], d = y[last_y - 1];
        size_t front_x = a <= b, back_x = c > d;
        any |= (a == b) | (c == d);
        less += (0 - (uint64_t)front_x) & j;
        less += (0 - (uint64_t)back_x) & last_y;
        i += front_x;
        j += 1 - front_x;
        last_x -= back_x;
        last_y -= 1 - back_x;
    }
    while (i < last_x && j < last_y) {
        size_t front_x = x[i] <= y[j];
        any |= x[i] == y[j];
        less += (0 - (uint64_t)front_x) & j;
        i += front_x;
        j += 1 - front_x;
    }
    less += (uint64_t)(last_x - i) * last_y;
    for (size_t at = 1; at < nx; at++) {
        any |= x[at] == x[at - 1];
    }
    for (size_t at = 1; at < ny; at++) {
        any |= y[at] == y[at - 1];
    }
    *below = (double)less;
    return any != 0;
}

/* The number of tied pairs, and the sum of t^3 - t over groups of t equal values in both. */
static double count_ties(const uint64_t *x, size_t nx, const uint64_t *y, size_t ny, double *tied)
{
    double term = 0.0;
    for (size_t i = 0, j = 0; i < nx || j < ny;) {
        uint64_t value = j == ny || (i < nx && x[i] < y[j]) ? x[i] : y[j];
        size_t first_x = i, first_y = j;
        while (i < nx && x[i] == value) {
            i++;
        }
        while (j < ny && y[j] == value) {
            j++;
        }
        double of_x = (double)(i - first_x), of_y = (double)(j - first_y), group = of_x + of_y;
        term += group * group * group - group;
        *tied += of_x * of_y;
    }
    return term;
}

pfs_status pfs_stats_mann_whitney(const double *x, size_t nx, const double *y, size_t ny,
                                  pfs_stats_alternative alternative, const pfs_alloc *alloc,
                                  double *statistic, double *p_value)
{
    if (nx == 0 || ny == 0) {
        return PFS_EEMPTY;
    }
    if (nx > SIZE_MAX / 4 - ny) {
        return PFS_ENOMEM;
    }
    size_t total = nx + ny;
    uint64_t *keys = pfs_alloc_array(alloc, total, 2 * sizeof *keys);
    if (keys == NULL) {
        return PFS_ENOMEM;
    }
    uint64_t *spare = keys + total;
    for (size_t i = 0; i < nx; i++) {
        keys[i] = pfs_stats_key(x[i]);
    }
    for (size_t i = 0; i < ny; i++) {
        keys[nx + i] = pfs_stats_key(y[i]);
    }
    pfs_status status = pfs_stats_sort_keys(keys, spare, nx, alloc);
    if (status == PFS_OK) {
        status = pfs_stats_sort_keys(keys + nx, spare, ny, alloc);
    }
    double below = 0.0, tied = 0.0, term = 0.0;
    if (status == PFS_OK) {
        if (count_pairs(keys, nx, keys + nx, ny, &below)) {
            term = count_ties(keys, nx, keys + nx, ny, &tied);
        }
    }
    pfs_alloc_release(alloc, keys);
    if (status != PFS_OK) {
        return status;
    }
    double pairs = (double)nx * (double)ny;
    double u_x = below + 0.5 * tied, u_y = pairs - u_x;
    double u = alternative == PFS_STATS_LESS ? u_y : u_x;
    double factor = 1.0;
    if (alternative == PFS_STATS_TWO_SIDED) {
        u = fmax(u_x, u_y);
        factor = 2.0;
    }
    double p;
    bool small = nx <= EXACT_SAMPLES || ny <= EXACT_SAMPLES;
    if (small && term == 0.0 && pairs <= (double)EXACT_ENTRIES) {
        status = exact_tail(nx, ny, u, alloc, &p);
        if (status != PFS_OK) {
            return status;
        }
    } else {
        double n = (double)total;
        double variance = pairs / 12.0 * (n + 1.0 - term / (n * (n - 1.0)));
        double z = (u - 0.5 * pairs - 0.5) / sqrt(variance);
        p = variance > 0.0 ? pfs_stats_normal_tail(z) : 1.0; /* all values are one value */
    }
    *statistic = u_x;
    *p_value = fmin(1.0, factor * p);
    return PFS_OK;
}
