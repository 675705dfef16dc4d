#include "pfs_histogram_moments.h"

#include <math.h>

#define LANES 8

void pfs_moments_init(pfs_moments *moments)
{
    *moments = (pfs_moments){.min = INFINITY, .max = -INFINITY};
}

pfs_moments_look pfs_moments_look_at(const double *values, size_t count)
{
    double min[LANES], max[LANES], sum[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        min[lane] = INFINITY;
        max[lane] = -INFINITY;
        sum[lane] = 0.0;
    }
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            double x = values[i + lane];
            min[lane] = x < min[lane] ? x : min[lane];
            max[lane] = x > max[lane] ? x : max[lane];
            sum[lane] += x;
        }
    }
    for (size_t i = whole; i < count; i++) {
        size_t lane = i - whole;
        double x = values[i];
        min[lane] = x < min[lane] ? x : min[lane];
        max[lane] = x > max[lane] ? x : max[lane];
        sum[lane] += x;
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t lane = 0; lane < half; lane++) {
            min[lane] = min[lane + half] < min[lane] ? min[lane + half] : min[lane];
            max[lane] = max[lane + half] > max[lane] ? max[lane + half] : max[lane];
            sum[lane] += sum[lane + half];
        }
    }
    return (pfs_moments_look){min[0], max[0], sum[0]};
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
    double first[LANES] = {0}, second[LANES] = {0};
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            double d = values[i + lane] - centre;
            first[lane] += d;
            second[lane] += d * d;
        }
    }
    for (size_t i = whole; i < count; i++) {
        double d = values[i] - centre;
        first[i - whole] += d;
        second[i - whole] += d * d;
    }
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t lane = 0; lane < half; lane++) {
            first[lane] += first[lane + half];
            second[lane] += second[lane + half];
        }
    }
    /* first[0] is what rounding left of a sum of deviations: it corrects sum, mean and squares. */
    pfs_moments block = {.count = count, .sum = look->sum, .min = look->min, .max = look->max};
    block.sum_low = fma(n, centre, -look->sum) + first[0];
    block.mean = centre;
    block.mean_low = first[0] / n;
    block.squares = second[0] - first[0] / n * first[0];
    if (!(block.squares >= 0.0)) {
        block.squares = isinf(second[0]) ? INFINITY : 0.0;
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
