#include "pfs_histogram_moments.h"

#include <math.h>

void pfs_moments_init(pfs_moments *moments)
{
    *moments = (pfs_moments){.min = INFINITY, .max = -INFINITY};
}

/* Two lanes.  Compilers may not reorder sums, nor pick minima by vectors, of their own accord. */
#ifdef __SSE2__
#include <emmintrin.h>
typedef __m128d pair;
#define pair_of(x)     _mm_set1_pd(x)
#define pair_at(p)     _mm_loadu_pd(p)
#define pair_add(a, b) _mm_add_pd(a, b)
#define pair_sub(a, b) _mm_sub_pd(a, b)
#define pair_mul(a, b) _mm_mul_pd(a, b)
#define pair_min(a, b) _mm_min_pd(a, b) /* b where either is NaN */
#define pair_max(a, b) _mm_max_pd(a, b)
#define pair_low(a)    _mm_cvtsd_f64(a)
#define pair_high(a)   _mm_cvtsd_f64(_mm_unpackhi_pd(a, a))
#else
typedef struct {
    double low, high;
} pair;

static inline pair pair_of(double x)
{
    return (pair){x, x};
}

static inline pair pair_at(const double *p)
{
    return (pair){p[0], p[1]};
}

static inline pair pair_add(pair a, pair b)
{
    return (pair){a.low + b.low, a.high + b.high};
}

static inline pair pair_sub(pair a, pair b)
{
    return (pair){a.low - b.low, a.high - b.high};
}

static inline pair pair_mul(pair a, pair b)
{
    return (pair){a.low * b.low, a.high * b.high};
}

static inline pair pair_min(pair a, pair b)
{
    return (pair){a.low < b.low ? a.low : b.low, a.high < b.high ? a.high : b.high};
}

static inline pair pair_max(pair a, pair b)
{
    return (pair){a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
}

static inline double pair_low(pair a)
{
    return a.low;
}

static inline double pair_high(pair a)
{
    return a.high;
}
#endif

/* What the addition sum = a + b rounded away (Knuth's two-sum). */
static double lost(double a, double b, double sum)
{
    double back = sum - a;
    return (a - (sum - back)) + (b - back);
}

void pfs_moments_merge(pfs_moments *into, const pfs_moments *from)
{
    if (from->count == 0) {
        return;
    }
    pfs_moments b = *from; /* `from` may be `into` */
    if (into->count == 0) {
        *into = b;
        return;
    }
    uint64_t count = into->count + b.count;
    double share = (double)b.count / (double)count;
    double delta = (b.mean - into->mean) + (b.mean_low - into->mean_low);
    into->squares += b.squares;
    if (delta != 0.0) {
        into->squares += delta * delta * ((double)into->count * share);
        double step = delta * share, mean = into->mean + step;
        into->mean_low += lost(into->mean, step, mean);
        into->mean = mean;
    }
    double sum = into->sum + b.sum;
    into->sum_low = isfinite(sum) ? into->sum_low + b.sum_low + lost(into->sum, b.sum, sum) : 0.0;
    into->sum = sum;
    into->min = b.min < into->min ? b.min : into->min;
    into->max = b.max > into->max ? b.max : into->max;
    into->count = count;
}

void pfs_moments_add_times(pfs_moments *moments, double x, uint64_t times)
{
    if (times == 0) {
        return;
    }
    pfs_moments same = {.count = times, .mean = x, .min = x, .max = x};
    same.sum = x * (double)times;
    if (isfinite(same.sum)) {
        same.sum_low = fma(x, (double)times, -same.sum);
    }
    pfs_moments_merge(moments, &same);
}

#define WIDE 2 /* pairs at a time: five accumulators of each still fit in sixteen registers */

typedef struct {
    double min, max, sum, first, second; /* powers of the distance from a centre */
} powers;

static powers powers_about(double centre, const double *values, size_t count)
{
    pair centres = pair_of(centre), min[WIDE], max[WIDE], sum[WIDE], first[WIDE], second[WIDE];
    for (size_t p = 0; p < WIDE; p++) {
        min[p] = pair_of(INFINITY);
        max[p] = pair_of(-INFINITY);
        sum[p] = first[p] = second[p] = pair_of(0.0);
    }
    size_t i = 0;
    for (; i + 2 * WIDE <= count; i += 2 * WIDE) {
        for (size_t p = 0; p < WIDE; p++) {
            pair x = pair_at(values + i + 2 * p), d = pair_sub(x, centres);
            min[p] = pair_min(x, min[p]);
            max[p] = pair_max(x, max[p]);
            sum[p] = pair_add(sum[p], x);
            first[p] = pair_add(first[p], d);
            second[p] = pair_add(second[p], pair_mul(d, d));
        }
    }
    powers r = {INFINITY, -INFINITY, 0.0, 0.0, 0.0};
    for (; i < count; i++) {
        double x = values[i], d = x - centre;
        r.min = x < r.min ? x : r.min;
        r.max = x > r.max ? x : r.max;
        r.sum += x;
        r.first += d;
        r.second += d * d;
    }
    pair low = pair_min(min[0], min[1]), high = pair_max(max[0], max[1]);
    sum[0] = pair_add(sum[0], sum[1]);
    first[0] = pair_add(first[0], first[1]);
    second[0] = pair_add(second[0], second[1]);
    r.min = pair_low(low) < r.min ? pair_low(low) : r.min;
    r.min = pair_high(low) < r.min ? pair_high(low) : r.min;
    r.max = pair_low(high) > r.max ? pair_low(high) : r.max;
    r.max = pair_high(high) > r.max ? pair_high(high) : r.max;
    r.sum += pair_low(sum[0]) + pair_high(sum[0]);
    r.first += pair_low(first[0]) + pair_high(first[0]);
    r.second += pair_low(second[0]) + pair_high(second[0]);
    return r;
}

pfs_moments pfs_moments_of(const pfs_moments *so_far, const double *values, size_t count)
{
    double n = (double)count;
    double centre = so_far->count != 0 ? so_far->mean : values[0];
    powers r = powers_about(centre, values, count);
    double squares = r.second - r.first / n * r.first;
    if (!(squares >= r.second * 0x1p-10) && isfinite(r.sum)) {
        centre = r.sum / n;
        r = powers_about(centre, values, count);
        squares = r.second - r.first / n * r.first;
    }
    pfs_moments block = {.count = count, .sum = r.sum, .min = r.min, .max = r.max};
    if (!isfinite(r.sum) || !isfinite(r.first)) { /* near the largest double: one by one */
        pfs_moments_init(&block);
        for (size_t i = 0; i < count; i++) {
            pfs_moments_add_times(&block, values[i], 1);
        }
        return block;
    }
    if (!(squares >= 0.0)) { /* rounding, or an overflow of the squares */
        squares = isinf(r.second) ? INFINITY : 0.0;
    }
    double step = r.first / n;
    block.mean = centre + step;
    block.mean_low = lost(centre, step, block.mean);
    block.squares = squares;
    return block;
}

double pfs_moments_sum(const pfs_moments *moments)
{
    return moments->sum + moments->sum_low;
}

double pfs_moments_mean(const pfs_moments *moments)
{
    if (moments->count == 0) {
        return NAN;
    }
    double sum = pfs_moments_sum(moments);
    double mean = isfinite(sum) ? sum / (double)moments->count : moments->mean + moments->mean_low;
    mean = mean < moments->min ? moments->min : mean;
    return mean > moments->max ? moments->max : mean;
}

double pfs_moments_variance(const pfs_moments *moments)
{
    return moments->count < 2 ? NAN : moments->squares / (double)(moments->count - 1);
}
