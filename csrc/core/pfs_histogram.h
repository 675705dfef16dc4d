/* A log-linear histogram of positive numbers of any size: 2^precision buckets in each octave.
 *
 * The bucket of a double is the top of its bit pattern: all of the exponent and the first
 * `precision` bits of the fraction, so finding it is one shift.  A bucket's midpoint is within
 * 2^-(precision + 1) of every value in it (0.39 % at 7, 0.05 % at 10).  Subnormal numbers are
 * brought into the normal form first and keep that promise.  Zero has a bucket of its own; NaN,
 * infinities and negative numbers are counted apart, by kind, and touch nothing else.
 *
 * Counts are a dense window over the octaves seen, which grows both ways.  A value that falls in it
 * is only put in a row of pending ones: the row is folded in when it is full or when something is
 * asked, its minimum, maximum, sum and variance taken block-wise and its buckets counted in one
 * loop that needs no checks and cannot fail.  Beside the counts stands a row of block sums, so that
 * a quantile walks over those and one block.  Folding keeps them up in a large window; in a small
 * one it is cheaper to add them up again when a quantile is asked for after many new values.
 *
 * Idea: HdrHistogram (Gil Tene, http://hdrhistogram.org) and DDSketch's bit-pattern mapping
 * (Masson, Rim, Lee, VLDB 2019, section 2.2).
 *
 * Thread rule: one owner at a time per histogram; questions fold in what is pending, so they count
 * as writes unless the parameter is const.  A histogram may be moved by plain assignment (it holds
 * no pointer to itself), not copied that way.
 */
#ifndef PFS_HISTOGRAM_H
#define PFS_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pfs_alloc.h"
#include "pfs_histogram_moments.h"
#include "pfs_status.h"

#define PFS_HISTOGRAM_MIN_PRECISION 1
#define PFS_HISTOGRAM_MAX_PRECISION 12
#define PFS_HISTOGRAM_PENDING       256
#define PFS_HISTOGRAM_MAX_COUNT     INT64_MAX /* of record_n, merge and decode */

/* The window: `length` counts, then their block sums.  Shared with whoever looks at it from
 * outside (pfs_histogram_hold): while it is shared, record writes through, so that the view is
 * live; growing leaves it where it is, frozen. */
typedef struct {
    size_t references;
    size_t length;
    int64_t first; /* key of counts[0] */
    uint64_t counts[];
} pfs_histogram_table;

typedef struct pfs_histogram {
    /* The keys that record may leave pending: normal numbers in the window; none while the table is
     * shared. */
    uint64_t first_key, keys;
    uint32_t shift, pending_count;
    double pending[PFS_HISTOGRAM_PENDING];
    uint32_t precision, block_shift;
    bool blocks_stale;   /* the block sums are to be added up anew */
    pfs_moments moments; /* of what is not pending */
    uint64_t zeros;      /* all of them, of which so many are not in the moments: */
    uint64_t pending_zeros;
    uint64_t rejected_nan, rejected_inf, rejected_negative;
    pfs_histogram_table *table; /* NULL until the first positive number */
    const pfs_alloc *alloc;
} pfs_histogram;

/* Values >= low and < high (low = high = 0 for the zeros). */
typedef struct {
    double low, high;
    uint64_t count;
} pfs_histogram_bucket;

/* PFS_EINVAL for a precision outside 1 to 12.  Allocates nothing. */
pfs_status pfs_histogram_init(pfs_histogram *h, unsigned precision, const pfs_alloc *alloc);

/* Releases what it holds.  It must be made again with init, copy or decode before any other use. */
void pfs_histogram_clear(pfs_histogram *h);

/* Empties it and keeps its window for what comes. */
void pfs_histogram_reset(pfs_histogram *h);

/* Makes `out` (not initialised) a copy of `h`.  PFS_ENOMEM. */
pfs_status pfs_histogram_copy(pfs_histogram *out, const pfs_histogram *h, const pfs_alloc *alloc);

/* The rest of pfs_histogram_record: a full row, or what may not be left pending. */
pfs_status pfs_histogram_record_slow(pfs_histogram *h, double x);

/* Folds in what is pending.  Cannot fail. */
void pfs_histogram_fold(pfs_histogram *h);

/* The fast half of pfs_histogram_record, for callers that want the other half out of line: whether
 * x was recorded; if not, pfs_histogram_record_slow has to be called. */
static inline bool pfs_histogram_record_fast(pfs_histogram *h, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t n = h->pending_count;
    if ((bits >> h->shift) - h->first_key >= h->keys || n == PFS_HISTOGRAM_PENDING) {
        return false;
    }
    h->pending[n] = x;
    h->pending_count = n + 1;
    return true;
}

/* PFS_ENOMEM only when the window had to grow; then nothing was recorded.  A value that cannot be
 * recorded is counted as rejected, which is PFS_OK. */
static inline pfs_status pfs_histogram_record(pfs_histogram *h, double x)
{
    return pfs_histogram_record_fast(h, x) ? PFS_OK : pfs_histogram_record_slow(h, x);
}

/* The same value n times.  PFS_ENOMEM; PFS_ERANGE when there would be more than
 * PFS_HISTOGRAM_MAX_COUNT values; nothing is recorded then. */
pfs_status pfs_histogram_record_n(pfs_histogram *h, double x, uint64_t n);

/* All or nothing.  `values` must not change during the call.  PFS_ENOMEM. */
pfs_status pfs_histogram_record_many(pfs_histogram *h, const double *values, size_t n);

/* Adds the counts of `from`, which may be `into`.  PFS_EMISMATCH when precisions differ, PFS_ERANGE
 * as record_n, PFS_ENOMEM; `into` is unchanged then. */
pfs_status pfs_histogram_merge(pfs_histogram *into, const pfs_histogram *from);

/* Values recorded, rejected ones left out. */
static inline uint64_t pfs_histogram_count(const pfs_histogram *h)
{
    return h->moments.count + h->pending_count + h->pending_zeros;
}

double pfs_histogram_sum(pfs_histogram *h);      /* 0 when empty */
double pfs_histogram_mean(pfs_histogram *h);     /* NaN when empty */
double pfs_histogram_variance(pfs_histogram *h); /* n - 1; NaN for fewer than two values */
double pfs_histogram_stdev(pfs_histogram *h);    /* its root, even where its square is no double */
double pfs_histogram_min(pfs_histogram *h);      /* NaN when empty */
double pfs_histogram_max(pfs_histogram *h);      /* NaN when empty */

/* The value of rank ceil(q n), by its bucket's midpoint, clamped to minimum and maximum; q = 0 and
 * q = 1 are the exact minimum and maximum.  A product q n that is a whole number but for rounding
 * counts as that number (0.07 of 100 values is the 7th).  PFS_EINVAL unless 0 <= q <= 1;
 * PFS_EEMPTY. */
pfs_status pfs_histogram_quantile(pfs_histogram *h, double q, double *out);

/* As above for n of them; `out` is untouched unless all are good. */
pfs_status pfs_histogram_quantiles(pfs_histogram *h, const double *qs, size_t n, double *out);

/* How many values are in the buckets up to and including that of x; 0 for x < 0 or NaN. */
uint64_t pfs_histogram_rank(pfs_histogram *h, double x);

/* Steps through the buckets that are not empty, lowest first.  *cursor starts at 0 and is the
 * function's own; false when there are no more.  The histogram must not change meanwhile. */
bool pfs_histogram_next(pfs_histogram *h, size_t *cursor, pfs_histogram_bucket *out);

/* Midpoint of a bucket of `h`, clamped to its minimum and maximum: what stands for its values. */
double pfs_histogram_value(pfs_histogram *h, const pfs_histogram_bucket *bucket);

/* Whether precision, every count, rejected counts, minimum and maximum are the same.  Sums are left
 * out: they differ in the last place with the order of recording. */
bool pfs_histogram_equal(pfs_histogram *a, pfs_histogram *b);

/* Bytes held beyond the struct itself. */
size_t pfs_histogram_footprint(const pfs_histogram *h);

/* The lower edge of cell i of the table; i = length is the upper edge of the last. */
double pfs_histogram_edge(const pfs_histogram *h, size_t i);

/* The present table (NULL: no positive number recorded) with one more reference: it stays valid
 * and, until the histogram outgrows it, live.  Every hold needs a let_go of the same histogram,
 * which must not have been cleared; until then recording is slower. */
pfs_histogram_table *pfs_histogram_hold(pfs_histogram *h);
void pfs_histogram_let_go(pfs_histogram *h, pfs_histogram_table *table);

/* The versioned byte form described in pfs_histogram_code.c.  *out is the caller's, to be released
 * with the histogram's allocator.  PFS_ENOMEM. */
pfs_status pfs_histogram_encode(pfs_histogram *h, unsigned char **out, size_t *length);

/* Makes `out` (not initialised) from bytes, which may be hostile.  PFS_EFORMAT, PFS_ECHECKSUM,
 * PFS_EVERSION, PFS_ENOMEM; `out` is untouched then.  Needs at most 70 MB for precision 12. */
pfs_status pfs_histogram_decode(pfs_histogram *out, const unsigned char *bytes, size_t length,
                                const pfs_alloc *alloc);

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4). */
uint32_t pfs_histogram_crc32c(const unsigned char *bytes, size_t length);

/* For the core's own files: the key of a finite x > 0, and a window over two keys. */
int64_t pfs_histogram_key(const pfs_histogram *h, double x);
pfs_status pfs_histogram_reserve(pfs_histogram *h, int64_t low, int64_t high);

/* Adds to a cell of the window and its block sum, not to the moments. */
static inline void pfs_histogram_put(pfs_histogram *h, int64_t key, uint64_t n)
{
    size_t i = (size_t)(key - h->table->first);
    h->table->counts[i] += n;
    h->table->counts[h->table->length + (i >> h->block_shift)] += n;
}

#endif
