/* Counting many values.
 *
 * A run of equal keys makes every increment wait for the one before it (a store and a load of the
 * same cell), so four tables take turns and are added up at the end; 32-bit cells keep them in the
 * nearest cache.  The moments of a block come first.  If its minimum, maximum and sum say that
 * it has nothing but positive normal numbers, every key lies between those of the minimum and the
 * maximum and the counting loop needs no check; else the block goes value by value.
 */
#include "pfs_histogram_tally.h"

#include <float.h>
#include <math.h>

#define TABLES 4
#define BLOCK  512
/* A table stays small enough to be worth clearing and adding up; wilder blocks go one by one. */
#define MAX_CELLS (1u << 16)
/* Below this many values the tables cost more than they save. */
#define WORTH_A_TALLY 2048

pfs_status pfs_tally_init(pfs_tally *tally, unsigned precision, const pfs_alloc *alloc)
{
    pfs_status status = pfs_histogram_init(&tally->histogram, precision, alloc);
    if (status == PFS_OK) {
        tally->scratch = NULL;
        tally->first = 0;
        tally->length = 0;
        tally->held = 0;
        tally->limit = UINT32_MAX;
    }
    return status;
}

void pfs_tally_clear(pfs_tally *tally)
{
    pfs_alloc_release(tally->histogram.alloc, tally->scratch);
    tally->scratch = NULL;
    pfs_histogram_clear(&tally->histogram);
}

/* Empties the tables into the histogram.  PFS_ENOMEM: they are as they were. */
static pfs_status empty(pfs_tally *tally)
{
    if (tally->held == 0) {
        return PFS_OK;
    }
    pfs_histogram *h = &tally->histogram;
    pfs_status status =
        pfs_histogram_reserve(h, tally->first, tally->first + (int64_t)tally->length - 1);
    if (status != PFS_OK) {
        return status;
    }
    size_t length = tally->length;
    const uint32_t *scratch = tally->scratch;
    for (size_t i = 0; i < length; i++) {
        uint64_t n = (uint64_t)scratch[i] + scratch[i + length] + scratch[i + 2 * length] +
                     scratch[i + 3 * length];
        if (n != 0) {
            pfs_histogram_put(h, tally->first + (int64_t)i, n);
        }
    }
    memset(tally->scratch, 0, TABLES * length * sizeof *scratch);
    tally->held = 0;
    return PFS_OK;
}

/* Makes the tables reach from `low` to `high`.  Sets *fits to whether they can. */
static pfs_status cover(pfs_tally *tally, int64_t low, int64_t high, bool *fits)
{
    int64_t end = tally->first + (int64_t)tally->length;
    *fits = true;
    if (low >= tally->first && high < end) {
        return PFS_OK;
    }
    int64_t octave = INT64_C(1) << tally->histogram.precision;
    low &= -octave;
    high = (high & -octave) + octave;
    if (tally->length != 0) {
        low = low < tally->first ? low : tally->first;
        high = high > end ? high : end;
    }
    if (high - low > MAX_CELLS) {
        *fits = false;
        return PFS_OK;
    }
    pfs_status status = empty(tally);
    if (status != PFS_OK) {
        return status;
    }
    const pfs_alloc *alloc = tally->histogram.alloc;
    uint32_t *scratch = pfs_alloc_zeroed(alloc, TABLES * (size_t)(high - low), sizeof *scratch);
    if (scratch == NULL) {
        return PFS_ENOMEM;
    }
    pfs_alloc_release(alloc, tally->scratch);
    tally->scratch = scratch;
    tally->first = low;
    tally->length = (size_t)(high - low);
    return PFS_OK;
}

static inline size_t cell(double x, uint32_t shift, uint64_t first)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (size_t)((bits >> shift) - first);
}

static void count_block(pfs_tally *tally, const double *values, size_t n)
{
    uint32_t shift = tally->histogram.shift;
    uint64_t first = (uint64_t)tally->first;
    uint32_t *a = tally->scratch, *b = a + tally->length;
    uint32_t *c = b + tally->length, *d = c + tally->length;
    size_t i = 0;
    for (; i + TABLES <= n; i += TABLES) {
        a[cell(values[i], shift, first)]++;
        b[cell(values[i + 1], shift, first)]++;
        c[cell(values[i + 2], shift, first)]++;
        d[cell(values[i + 3], shift, first)]++;
    }
    for (; i < n; i++) {
        a[cell(values[i], shift, first)]++;
    }
    tally->held += n;
}

static pfs_status add_singly(pfs_histogram *h, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pfs_status status = pfs_histogram_record(h, values[i]);
        if (status != PFS_OK) {
            return status;
        }
    }
    return PFS_OK;
}

pfs_status pfs_tally_add(pfs_tally *tally, const double *values, size_t n)
{
    pfs_histogram *h = &tally->histogram;
    while (n != 0) {
        size_t block = n < BLOCK ? n : BLOCK;
        pfs_moments moments = pfs_moments_of(&h->moments, values, block);
        pfs_status status = PFS_OK;
        /* A NaN shows in the sum only, which an overflow makes infinite but not NaN. */
        bool plain = moments.min >= DBL_MIN && moments.max <= DBL_MAX && moments.sum == moments.sum;
        if (plain) {
            if (tally->held > tally->limit - block) {
                status = empty(tally);
            }
            if (status == PFS_OK) {
                status = cover(tally, pfs_histogram_key(h, moments.min),
                               pfs_histogram_key(h, moments.max), &plain);
            }
        }
        if (status == PFS_OK) {
            if (plain) {
                count_block(tally, values, block);
                pfs_moments_merge(&h->moments, &moments);
            } else {
                status = add_singly(h, values, block);
            }
        }
        if (status != PFS_OK) {
            return status;
        }
        values += block;
        n -= block;
    }
    return PFS_OK;
}

pfs_status pfs_tally_merge(pfs_tally *tally, pfs_histogram *h)
{
    pfs_status status = empty(tally);
    if (status == PFS_OK) {
        status = pfs_histogram_merge(h, &tally->histogram);
    }
    if (status == PFS_OK) {
        pfs_histogram_reset(&tally->histogram);
    }
    return status;
}

pfs_status pfs_histogram_record_many(pfs_histogram *h, const double *values, size_t n)
{
    if (n >= WORTH_A_TALLY) {
        pfs_tally tally;
        pfs_status status = pfs_tally_init(&tally, h->precision, h->alloc);
        if (status == PFS_OK) {
            status = pfs_tally_add(&tally, values, n);
        }
        if (status == PFS_OK) {
            status = pfs_tally_merge(&tally, h);
        }
        pfs_tally_clear(&tally);
        return status;
    }
    /* All or nothing: the window first, so that no record can fail. */
    double low = INFINITY, high = 0.0;
    for (size_t i = 0; i < n; i++) {
        double x = values[i];
        if (x > 0.0 && x <= DBL_MAX) {
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
    }
    if (high > 0.0) {
        pfs_status status =
            pfs_histogram_reserve(h, pfs_histogram_key(h, low), pfs_histogram_key(h, high));
        if (status != PFS_OK) {
            return status;
        }
    }
    return add_singly(h, values, n);
}
