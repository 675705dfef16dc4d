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

#define PAIRS 4
#define LANES (2 * PAIRS)

pfs_moments_look pfs_moments_look_at(const double *values, size_t count)
{
    pair min[PAIRS], max[PAIRS], sum[PAIRS];
    for (size_t p = 0; p < PAIRS; p++) {
        min[p] = pair_of(INFINITY);
        max[p] = pair_of(-INFINITY);
        sum[p] = pair_of(0.0);
    }
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t p = 0; p < PAIRS; p++) {
            pair x = pair_at(values + i + 2 * p);
            min[p] = pair_min(x, min[p]);
            max[p] = pair_max(x, max[p]);
            sum[p] = pair_add(sum[p], x);
        }
    }
    for (size_t half = PAIRS / 2; half > 0; half /= 2) {
        for (size_t p = 0; p < half; p++) {
            min[p] = pair_min(min[p], min[p + half]);
            max[p] = pair_max(max[p], max[p + half]);
            sum[p] = pair_add(sum[p], sum[p + half]);
        }
    }
    pfs_moments_look look = {pair_low(min[0]), pair_low(max[0]),
                             pair_low(sum[0]) + pair_high(sum[0])};
    look.min = pair_high(min[0]) < look.min ? pair_high(min[0]) : look.min;
    look.max = pair_high(max[0]) > look.max ? pair_high(max[0]) : look.max;
    double rest = 0.0; /* apart, so that a few small ones are not lost one by one */
    for (; i < count; i++) {
        look.min = values[i] < look.min ? values[i] : look.min;
        look.max = values[i] > look.max ? values[i] : look.max;
        rest += values[i];
    }
    look.sum += rest;
    return look;
}

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

void pfs_moments_add(pfs_moments *moments, const double *values, size_t count,
                     const pfs_moments_look *look)
{
    if (!isfinite(look->sum)) { /* values near the largest double: their block's sum overflows */
        for (size_t i = 0; i < count; i++) {
            pfs_moments_add_times(moments, values[i], 1);
        }
        return;
    }
    double n = (double)count;
    double centre = look->sum / n;
    pair centres = pair_of(centre), firsts[PAIRS], seconds[PAIRS];
    for (size_t p = 0; p < PAIRS; p++) {
        firsts[p] = seconds[p] = pair_of(0.0);
    }
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t p = 0; p < PAIRS; p++) {
            pair d = pair_sub(pair_at(values + i + 2 * p), centres);
            firsts[p] = pair_add(firsts[p], d);
            seconds[p] = pair_add(seconds[p], pair_mul(d, d));
        }
    }
    for (size_t half = PAIRS / 2; half > 0; half /= 2) {
        for (size_t p = 0; p < half; p++) {
            firsts[p] = pair_add(firsts[p], firsts[p + half]);
            seconds[p] = pair_add(seconds[p], seconds[p + half]);
        }
    }
    double first = pair_low(firsts[0]) + pair_high(firsts[0]);
    double second = pair_low(seconds[0]) + pair_high(seconds[0]);
    for (; i < count; i++) {
        double d = values[i] - centre;
        first += d;
        second += d * d;
    }
    /* first is what rounding left of a sum of deviations: it corrects sum, mean and squares. */
    pfs_moments block = {.count = count, .sum = look->sum, .min = look->min, .max = look->max};
    block.sum_low = fma(n, centre, -look->sum) + first;
    block.mean = centre;
    block.mean_low = first / n;
    block.squares = second - first / n * first;
    if (!(block.squares >= 0.0)) {
        block.squares = isinf(second) ? INFINITY : 0.0;
    }
    pfs_moments_merge(moments, &block);
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
