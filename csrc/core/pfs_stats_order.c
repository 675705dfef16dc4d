/* Order statistics: sorting, selection, and the interval of a quantile.
 *
 * The interval needs no assumption on the distribution.  The number of n independent samples that
 * lie at or below the population's q-quantile is Binomial(n, q); so [x_(l), x_(u)] misses it below
 * with probability P(B < l) and above with P(B >= u) (David and Nagaraja, Order Statistics, 2003,
 * section 7.1).  Each side takes as much of the allowance alpha = 1 - confidence as half of it
 * buys.  In the tail one side may not be had for half: 299 samples reach p99 from above only with
 * 0.99^299 = 4.95 %.  Then that side, the one that is harder to have, gets what it needs of alpha
 * and the other the rest.  What cannot be had for all of alpha stays open (rank 0), and the other
 * side gets all of it: never an interval that pretends.
 *
 * With an effective size that is no integer the binomial's tail is the incomplete beta function.
 */
#include "pfs_stats.h"

#include <math.h>
#include <string.h>

uint64_t pfs_stats_key(double value)
{
    value += 0.0; /* -0.0 becomes 0.0 */
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ ((0 - (bits >> 63)) | (UINT64_C(1) << 63));
}

double pfs_stats_value(uint64_t key)
{
    uint64_t bits = key ^ (((key >> 63) - 1) | (UINT64_C(1) << 63));
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define DIGIT  11
#define RADIX  (1u << DIGIT)
#define DIGITS 6 /* of 11 bits: 66 >= 64 */
#define LEAD   3 /* the digits that nearly always decide */

/* Finishes an array that is nearly sorted; false, with the array still a permutation of itself,
 * when that takes more than `moves`. */
static bool insertion_sort(uint64_t *keys, size_t n, size_t moves)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) {
            keys[j] = keys[j - 1];
        }
        keys[j] = key;
        if (i - j > moves) {
            return false;
        }
        moves -= i - j;
    }
    return true;
}

/* Stable counting sorts on `digits` digits from bit `shift` of key - least upwards, all counted in
 * one pass, digits that are all alike skipped. */
static void sort_digits(uint64_t *keys, uint64_t *spare, size_t n, uint64_t least, unsigned shift,
                        unsigned digits, uint32_t *counts)
{
    memset(counts, 0, (size_t)digits * RADIX * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = (keys[i] - least) >> shift;
        for (unsigned d = 0; d < digits; d++) {
            counts[d * RADIX + (bits >> (d * DIGIT) & (RADIX - 1))]++;
        }
    }
    uint64_t *from = keys, *to = spare;
    for (unsigned d = 0; d < digits; d++) {
        uint32_t *starts = counts + (size_t)d * RADIX, sum = 0;
        unsigned low = shift + d * DIGIT;
        if (starts[(from[0] - least) >> low & (RADIX - 1)] == n) {
            continue;
        }
        for (size_t digit = 0; digit < RADIX; digit++) {
            uint32_t count = starts[digit];
            starts[digit] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) {
            to[starts[(from[i] - least) >> low & (RADIX - 1)]++] = from[i];
        }
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys) {
        memcpy(keys, from, n * sizeof *keys);
    }
}

/* Radix sort of the leading 33 bits of the range that the keys span, then insertion: below that,
 * measurements hardly differ.  Where they do (one outlier far from all else), all 64 bits. */
pfs_status pfs_stats_sort_keys(uint64_t *keys, uint64_t *spare, size_t n, const pfs_alloc *alloc)
{
    if (n <= 64) {
        (void)insertion_sort(keys, n, n * n);
        return PFS_OK;
    }
    if (n > UINT32_MAX) {
        return PFS_ERANGE;
    }
    uint32_t *counts = pfs_alloc_array(alloc, (size_t)DIGITS * RADIX, sizeof *counts);
    if (counts == NULL) {
        return PFS_ENOMEM;
    }
    uint64_t least = keys[0], most = keys[0];
    for (size_t i = 1; i < n; i++) {
        least = keys[i] < least ? keys[i] : least;
        most = keys[i] > most ? keys[i] : most;
    }
    unsigned bits = 0;
    while (bits < 64 && (most - least) >> bits != 0) {
        bits++;
    }
    unsigned shift = bits > LEAD * DIGIT ? bits - LEAD * DIGIT : 0;
    sort_digits(keys, spare, n, least, shift, LEAD, counts);
    if (shift > 0 && !insertion_sort(keys, n, 4 * n)) {
        sort_digits(keys, spare, n, 0, 0, DIGITS, counts);
    }
    pfs_alloc_release(alloc, counts);
    return PFS_OK;
}

static void swap_values(double *a, double *b)
{
    double kept = *a;
    *a = *b;
    *b = kept;
}

/* The median of three values taken at random places, so that no order of the data is bad. */
static double choose_pivot(const double *data, size_t n, uint64_t *state)
{
    double sample[3];
    for (int i = 0; i < 3; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sample[i] = data[(size_t)(*state >> 11) % n];
    }
    double low = sample[0] < sample[1] ? sample[0] : sample[1];
    double high = sample[0] < sample[1] ? sample[1] : sample[0];
    return sample[2] < low ? low : sample[2] > high ? high : sample[2];
}

/* Selects ranks[0..count) (ascending, relative to `data`) in data[0..n). */
static void select_ranks(double *data, size_t n, const size_t *ranks, size_t count, size_t base,
                         uint64_t *state)
{
    while (count > 0 && n > 1) {
        double pivot = choose_pivot(data, n, state);
        /* Hoare's partition: equal values are spread over both sides. */
        size_t i = 0, j = n - 1;
        for (;;) {
            while (data[i] < pivot) {
                i++;
            }
            while (pivot < data[j]) {
                j--;
            }
            if (i >= j) {
                break;
            }
            swap_values(&data[i], &data[j]);
            i++;
            j--;
        }
        /* data[0..i) <= pivot <= data[i..n), i is neither 0 nor past the end: see below. */
        size_t split = i == 0 ? 1 : i;
        size_t left = 0;
        while (left < count && ranks[left] - base < split) {
            left++;
        }
        if (left == count) {
            n = split;
        } else if (left == 0) {
            data += split;
            base += split;
            n -= split;
        } else {
            select_ranks(data, split, ranks, left, base, state);
            data += split;
            base += split;
            n -= split;
            ranks += left;
            count -= left;
        }
    }
}

void pfs_stats_select_many(double *data, size_t n, const size_t *ranks, size_t count)
{
    uint64_t state = n;
    select_ranks(data, n, ranks, count, 0, &state);
}

void pfs_stats_select(double *data, size_t n, size_t rank)
{
    pfs_stats_select_many(data, n, &rank, 1);
}

size_t pfs_stats_nearest_rank(size_t n, double q)
{
    double exact = q * (double)n;
    double whole = nearbyint(exact);
    double rank = fabs(exact - whole) <= 1e-12 * fmax(1.0, exact) ? whole : ceil(exact);
    if (!(rank >= 1.0)) {
        return 1;
    }
    return rank >= (double)n ? n : (size_t)rank;
}

/* What the interval misses for B ~ Binomial(n, q), n not always an integer, 1 <= rank <= ceil(n):
 * above a high rank u, P(B >= u); below a low rank l, P(B < l).  A rank of ceil(n) is the maximum.
 */
static double missed_above(double n, double q, double rank)
{
    return rank >= n ? exp(n * log(q)) : pfs_stats_beta_cdf(rank, n - rank + 1.0, q);
}

static double missed_below(double n, double q, double rank)
{
    return rank <= 1.0 ? exp(n * log1p(-q)) : pfs_stats_beta_cdf(n - rank + 1.0, rank, 1.0 - q);
}

/* The least high rank that misses no more than `allowed`, 0 if there is none; *spent is its miss.
 */
static double high_rank(double n, double q, double allowed, double *spent)
{
    double low = 0.0, high = ceil(n);
    *spent = missed_above(n, q, high);
    if (!(*spent <= allowed)) {
        *spent = 0.0;
        return 0.0;
    }
    while (high - low > 1.0) { /* `high` will do, `low` will not */
        double middle = floor(0.5 * (low + high));
        double missed = missed_above(n, q, middle);
        if (missed <= allowed) {
            high = middle;
            *spent = missed;
        } else {
            low = middle;
        }
    }
    return high;
}

/* The greatest low rank that misses no more than `allowed`, 0 if there is none. */
static double low_rank(double n, double q, double allowed, double *spent)
{
    double low = 1.0, high = floor(n) + 1.0;
    *spent = missed_below(n, q, low);
    if (!(*spent <= allowed)) {
        *spent = 0.0;
        return 0.0;
    }
    while (high - low > 1.0) { /* `low` will do, `high` will not */
        double middle = floor(0.5 * (low + high));
        double missed = missed_below(n, q, middle);
        if (missed <= allowed) {
            low = middle;
            *spent = missed;
        } else {
            high = middle;
        }
    }
    return low;
}

pfs_status pfs_stats_quantile_ranks(double n, double q, double confidence, double *low,
                                    double *high)
{
    if (!(n > 0.0 && n <= 0x1p53 && q > 0.0 && q < 1.0 && confidence > 0.0 && confidence < 1.0)) {
        return PFS_EINVAL;
    }
    double alpha = 1.0 - confidence, spent;
    /* The harder side to have is the one with less probability beyond it. */
    bool upper_is_hard = q >= 0.5;
    double (*hard_rank)(double, double, double, double *) = upper_is_hard ? high_rank : low_rank;
    double (*easy_rank)(double, double, double, double *) = upper_is_hard ? low_rank : high_rank;
    double hard = hard_rank(n, q, 0.5 * alpha, &spent);
    double easy = 0.0, unused;
    if (hard != 0.0) {
        easy = easy_rank(n, q, 0.5 * alpha, &unused);
    } else {
        hard = hard_rank(n, q, alpha, &spent); /* nothing short of the extreme value, if that */
    }
    if (easy == 0.0) {
        easy = easy_rank(n, q, alpha - spent, &unused);
    }
    *low = upper_is_hard ? easy : hard;
    *high = upper_is_hard ? hard : easy;
    return PFS_OK;
}

double pfs_stats_samples_needed(double q, double confidence)
{
    if (!(q > 0.0 && q < 1.0 && confidence > 0.0 && confidence < 1.0)) {
        return 0.0;
    }
    double hard_q = q < 0.5 ? 1.0 - q : q;
    /* q^n + (1 - q)^n <= alpha; the second term is what a few steps make up for. */
    double n = fmax(1.0, floor(log(1.0 - confidence) / log(hard_q)) - 1.0);
    for (;;) {
        double low, high;
        pfs_status status = pfs_stats_quantile_ranks(n, q, confidence, &low, &high);
        if (status != PFS_OK) {
            return 0.0;
        }
        if (low != 0.0 && high != 0.0) {
            return n;
        }
        n += 1.0;
    }
}
