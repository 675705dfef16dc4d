/* Counting many values.
 *
 * Blocks are taken by pfs_block_scan, which finds the cells of one while it counts those of the one
 * before, into four tables of 32-bit counts: they stay in the nearest cache, and are added up at
 * the end.  A block with a value outside the tables' window is taken again, from a copy: if it has
 * nothing but positive normal numbers, the window grows to hold it; else, or if the window would be
 * too large, it goes value by value.
 */
#include "pfs_histogram_tally.h"

#include <float.h>
#include <math.h>

/* A table stays small enough to be worth clearing and adding up; wilder blocks go one by one. */
#define MAX_CELLS (1 << 16)
/* Of the exponents' 2048 values the first is subnormal numbers', the last infinity's. */
#define NORMAL_OCTAVES_END 2047
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
        tally->turn = 0;
        tally->due = 0;
    }
    return status;
}

void pfs_tally_clear(pfs_tally *tally)
{
    pfs_alloc_release(tally->histogram.alloc, tally->scratch);
    tally->scratch = NULL;
    pfs_histogram_clear(&tally->histogram);
}

static uint64_t counted(const pfs_tally *tally, size_t i)
{
    uint64_t n = 0;
    for (size_t table = 0; table < PFS_BLOCK_TABLES; table++) {
        n += tally->scratch[table * tally->length + i];
    }
    return n;
}

/* Empties the tables into the histogram.  PFS_ENOMEM: they are as they were. */
static pfs_status empty(pfs_tally *tally)
{
    if (tally->held == 0) {
        return PFS_OK;
    }
    pfs_block_count(tally->cells[tally->turn], tally->due, tally->scratch, tally->length);
    tally->due = 0;
    size_t low = 0, end = tally->length;
    while (counted(tally, low) == 0) {
        low++;
    }
    while (counted(tally, end - 1) == 0) {
        end--;
    }
    pfs_histogram *h = &tally->histogram;
    pfs_status status =
        pfs_histogram_reserve(h, tally->first + (int64_t)low, tally->first + (int64_t)end - 1);
    if (status != PFS_OK) {
        return status;
    }
    for (size_t i = low; i < end; i++) {
        uint64_t n = counted(tally, i);
        if (n != 0) {
            pfs_histogram_put(h, tally->first + (int64_t)i, n);
        }
    }
    memset(tally->scratch, 0, PFS_BLOCK_TABLES * tally->length * sizeof *tally->scratch);
    tally->held = 0;
    return PFS_OK;
}

/* The least power of two that reaches from `low` to `end`; what it is too long by goes to either
 * side, within the keys of normal numbers.  False: longer than a table may be. */
static bool window_over(unsigned precision, int64_t *low, int64_t end, int64_t *length)
{
    int64_t octave = INT64_C(1) << precision, last = NORMAL_OCTAVES_END * octave;
    *length = octave;
    while (*length < end - *low) {
        *length *= 2;
    }
    int64_t first = *low - (*length - (end - *low)) / 2;
    first = first + *length > last ? last - *length : first;
    first = first < octave ? octave : first;
    *low = first;
    return *length <= MAX_CELLS && first + *length <= last;
}

/* Makes the tables reach from `low` to `high`.  Sets *fits to whether they can. */
static pfs_status cover(pfs_tally *tally, int64_t low, int64_t high, bool *fits)
{
    int64_t end = tally->first + (int64_t)tally->length, length;
    *fits = true;
    if (low >= tally->first && high < end) {
        return PFS_OK;
    }
    high++;
    if (tally->length != 0) {
        low = low < tally->first ? low : tally->first;
        high = high > end ? high : end;
    }
    if (!window_over(tally->histogram.precision, &low, high, &length)) {
        *fits = false;
        return PFS_OK;
    }
    pfs_status status = empty(tally);
    if (status != PFS_OK) {
        return status;
    }
    const pfs_alloc *alloc = tally->histogram.alloc;
    uint32_t *scratch = pfs_alloc_zeroed(alloc, PFS_BLOCK_TABLES * (size_t)length, sizeof *scratch);
    if (scratch == NULL) {
        return PFS_ENOMEM;
    }
    pfs_alloc_release(alloc, tally->scratch);
    tally->scratch = scratch;
    tally->first = low;
    tally->length = (size_t)length;
    return PFS_OK;
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

/* Takes a block's moments and finds its cells, counting what is due. */
static pfs_moments scan(pfs_tally *tally, const double *values, size_t n, bool *inside)
{
    pfs_block_pass pass = {.shift = tally->histogram.shift,
                           .first = (uint32_t)tally->first,
                           .length = (uint32_t)tally->length,
                           .cells = tally->cells[1 - tally->turn],
                           .due = tally->cells[tally->turn],
                           .due_count = tally->due,
                           .tables = tally->scratch};
    pfs_moments moments = pfs_moments_of(&tally->histogram.moments, values, n, &pass);
    tally->due = 0;
    *inside = pass.inside;
    return moments;
}

/* Takes what `scan` has found: all of it is inside. */
static void take(pfs_tally *tally, const pfs_moments *moments, size_t n)
{
    pfs_moments_merge(&tally->histogram.moments, moments);
    tally->turn = 1 - tally->turn;
    tally->due = n;
    tally->held += n;
}

/* A block that is not in the window. */
static pfs_status add_outside(pfs_tally *tally, const double *values, size_t n)
{
    double copy[PFS_BLOCK_VALUES]; /* scanned more than once, and must not change meanwhile */
    memcpy(copy, values, n * sizeof *copy);
    pfs_histogram *h = &tally->histogram;
    bool inside;
    pfs_moments moments = scan(tally, copy, n, &inside);
    /* A NaN shows in the sum only, which an overflow makes infinite but not NaN. */
    bool plain = moments.min >= DBL_MIN && moments.max <= DBL_MAX && moments.sum == moments.sum;
    if (plain) {
        pfs_status status = cover(tally, pfs_histogram_key(h, moments.min),
                                  pfs_histogram_key(h, moments.max), &plain);
        if (status != PFS_OK) {
            return status;
        }
    }
    if (!plain) {
        return add_singly(h, copy, n);
    }
    moments = scan(tally, copy, n, &inside);
    take(tally, &moments, n);
    return PFS_OK;
}

pfs_status pfs_tally_add(pfs_tally *tally, const double *values, size_t n)
{
    pfs_status status = PFS_OK;
    while (n != 0 && status == PFS_OK) {
        size_t block = n < PFS_BLOCK_VALUES ? n : PFS_BLOCK_VALUES;
        if (tally->held > tally->limit - block) {
            status = empty(tally);
        }
        if (status == PFS_OK) {
            bool inside;
            pfs_moments moments = scan(tally, values, block, &inside);
            if (inside) {
                take(tally, &moments, block);
            } else {
                status = add_outside(tally, values, block);
            }
        }
        values += block;
        n -= block;
    }
    return status;
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
