#include "pfs_histogram_moments.h"

#include <float.h>
#include <math.h>

void pfs_moments_init(pfs_moments *moments)
{
    *moments = (pfs_moments){.min = INFINITY, .max = -INFINITY};
}

/* What the addition sum = a + b rounded away (Knuth's two-sum). */
static double lost(double a, double b, double sum)
{
    double back = sum - a;
    return (a - (sum - back)) + (b - back);
}

/* Squares of deviations between 2^-440 and 2^480, even 2^63 of them, are normal numbers with digits
 * to spare at either end; others are kept in units of 4^scale. */
#define LEAST_SQUARES 0x1p-900
#define MOST_SQUARES  0x1p1000
#define LEAST_SCALED  (-440)
#define MOST_SCALED   480
/* Beyond the exponent of any deviation, and of its sum over all that can be counted. */
#define MOST_SCALE 1150

/* The binary exponent of the root of squares * 4^scale; that of 0 is below all others. */
static int64_t exponent_of(double squares, int64_t scale)
{
    return squares > 0.0 ? scale + (ilogb(squares) >> 1) : INT64_MIN;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Adds squares where a plain sum would overflow, or lose what is small beside nothing: those of
 * `from`, and delta^2 * weight. */
static void add_squares_scaled(pfs_moments *into, const pfs_moments *from, double delta,
                               double weight)
{
    int64_t scale = delta != 0.0 ? ilogb(delta) + (ilogb(weight) >> 1) : INT64_MIN;
    scale = greater(scale, exponent_of(into->squares, into->scale));
    scale = greater(scale, exponent_of(from->squares, from->scale));
    scale = scale >= LEAST_SCALED && scale <= MOST_SCALED ? 0 : scale;
    if (scale == INT64_MIN) {
        into->squares = 0.0;
        into->scale = 0;
        return;
    }
    /* Shifts beyond -10,000 come to nothing anyway: of 0 and of what is tiny beside the rest. */
    int64_t a = greater(2 * (into->scale - scale), -10000);
    int64_t b = greater(2 * (from->scale - scale), -10000);
    double d = ldexp(delta, (int)-scale);
    into->squares = ldexp(into->squares, (int)a) + ldexp(from->squares, (int)b) + d * d * weight;
    into->scale = scale;
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
    double share = (double)b.count / (double)count, weight = (double)into->count * share;
    double delta = (b.mean - into->mean) + (b.mean_low - into->mean_low);
    double squares = into->squares + b.squares + delta * delta * weight;
    if ((into->scale | b.scale) == 0 && squares >= LEAST_SQUARES && squares <= MOST_SQUARES) {
        into->squares = squares;
    } else {
        add_squares_scaled(into, &b, delta, weight);
    }
    if (delta != 0.0) {
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

/* Mean and squares of values some of whose squares are beyond the doubles: in units of the power of
 * two below the greatest. */
static void take_scaled(pfs_moments *block, const double *values)
{
    int exponent = ilogb(block->max);
    exponent = exponent > 1022 ? 1022 : exponent < -1022 ? -1022 : exponent;
    double unit = ldexp(1.0, -exponent), n = (double)block->count;
    double sum = 0.0, first = 0.0, second = 0.0;
    for (size_t i = 0; i < block->count; i++) {
        sum += values[i] * unit;
    }
    double mean = sum / n;
    for (size_t i = 0; i < block->count; i++) {
        double d = values[i] * unit - mean;
        first += d;
        second += d * d;
    }
    second -= first / n * first;
    block->mean = ldexp(mean + first / n, exponent);
    block->squares = second > 0.0 ? second : 0.0;
    block->scale = second > 0.0 ? exponent : 0;
}

pfs_moments pfs_moments_of(const pfs_moments *so_far, const double *values, size_t count,
                           pfs_block_pass *pass)
{
    double n = (double)count;
    double centre = so_far->count != 0 ? so_far->mean : values[0];
    pfs_block_powers r = pfs_block_scan(centre, values, count, pass);
    pass->due_count = 0; /* counted: not again by what follows */
    double squares = r.second - r.first / n * r.first;
    if (pass->inside && !(squares >= r.second * 0x1p-10) && isfinite(r.sum)) {
        centre = r.sum / n;
        r = pfs_block_scan(centre, values, count, pass);
        squares = r.second - r.first / n * r.first;
    }
    pfs_moments block = {.count = count, .sum = r.sum, .min = r.min, .max = r.max};
    if (!pass->inside) {
        return block;
    }
    if (r.min == r.max) {
        block.mean = r.min;
    } else if (isfinite(r.sum) && squares >= LEAST_SQUARES && squares <= MOST_SQUARES) {
        double step = r.first / n;
        block.mean = centre + step;
        block.mean_low = lost(centre, step, block.mean);
        block.squares = squares;
    } else {
        take_scaled(&block, values);
    }
    return block;
}

bool pfs_moments_plausible(const pfs_moments *m)
{
    /* The centre may lie outside by rounding (a huge value, then 2^60 small ones); reading clamps
     * it.  NaN fails every comparison. */
    if (!(m->sum >= 0.0 && fabs(m->sum_low) <= m->sum) || !isfinite(m->sum_low) ||
        !isfinite(m->mean) || !isfinite(m->mean_low)) {
        return false;
    }
    if (m->squares == 0.0) {
        return m->scale == 0;
    }
    /* Half of the greatest value, and a little more for few of them, is the most they can deviate
     * by. */
    return m->squares > 0.0 && m->squares <= DBL_MAX && m->scale >= -MOST_SCALE &&
           m->scale <= MOST_SCALE && exponent_of(m->squares, m->scale) >= -MOST_SCALE &&
           pfs_moments_stdev(m) <= m->max;
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

/* squares / (n - 1), in units of 4^scale. */
static double scaled_variance(const pfs_moments *moments)
{
    return moments->count < 2 ? NAN : moments->squares / (double)(moments->count - 1);
}

double pfs_moments_variance(const pfs_moments *moments)
{
    return ldexp(scaled_variance(moments), (int)(2 * moments->scale));
}

double pfs_moments_stdev(const pfs_moments *moments)
{
    return ldexp(sqrt(scaled_variance(moments)), (int)moments->scale);
}
