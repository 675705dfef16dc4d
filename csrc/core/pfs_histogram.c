#include "pfs_histogram.h"

#include <float.h>
#include <math.h>

#define FRACTION_BITS 52
#define BIAS          1023

static int64_t octave(const pfs_histogram *h)
{
    return INT64_C(1) << h->precision;
}

/* Keys number the buckets in order of value.  Normal numbers have their bits' own number; subnormal
 * ones are scaled up by 2^52, which is exact, and take the keys below. */
int64_t pfs_histogram_key(const pfs_histogram *h, double x)
{
    bool subnormal = x < DBL_MIN;
    double normal = subnormal ? x * 0x1.0p52 : x;
    uint64_t bits;
    memcpy(&bits, &normal, sizeof bits);
    int64_t key = (int64_t)(bits >> h->shift);
    return subnormal ? key - FRACTION_BITS * octave(h) : key;
}

/* The double at `quarters` fourths into the bucket: 0 its lower edge, 2 its midpoint. */
static double inside(const pfs_histogram *h, int64_t key, int64_t quarters)
{
    int64_t per_octave = octave(h);
    if (key >= per_octave) {
        uint64_t bits = ((uint64_t)key << h->shift) + ((uint64_t)quarters << (h->shift - 2));
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    int64_t up = key + FRACTION_BITS * per_octave; /* > 0: the key of the number scaled up */
    int64_t exponent = up / per_octave - BIAS - FRACTION_BITS - (int64_t)h->precision - 2;
    int64_t fraction = 4 * (per_octave + up % per_octave) + quarters;
    return ldexp((double)fraction, (int)exponent);
}

static uint64_t *blocks_of(pfs_histogram_table *table)
{
    return table->counts + table->length;
}

pfs_status pfs_histogram_init(pfs_histogram *h, unsigned precision, const pfs_alloc *alloc)
{
    if (precision < PFS_HISTOGRAM_MIN_PRECISION || precision > PFS_HISTOGRAM_MAX_PRECISION) {
        return PFS_EINVAL;
    }
    h->first_key = h->keys = 0;
    h->pending_count = 0;
    h->blocks_stale = false;
    h->precision = precision;
    h->shift = FRACTION_BITS - precision;
    /* Blocks near the square root of some twenty octaves, never more than an octave. */
    h->block_shift = (precision + 5) / 2 < precision ? (precision + 5) / 2 : precision;
    pfs_moments_init(&h->moments);
    h->zeros = h->pending_zeros = 0;
    h->rejected_nan = h->rejected_inf = h->rejected_negative = 0;
    h->table = NULL;
    h->alloc = alloc;
    return PFS_OK;
}

static void release(pfs_histogram_table *table, const pfs_alloc *alloc)
{
    if (table != NULL && --table->references == 0) {
        pfs_alloc_release(alloc, table);
    }
}

void pfs_histogram_clear(pfs_histogram *h)
{
    release(h->table, h->alloc);
    h->table = NULL;
    h->keys = 0;
}

static size_t cells(const pfs_histogram *h, size_t length)
{
    return length + (length >> h->block_shift);
}

void pfs_histogram_reset(pfs_histogram *h)
{
    if (h->table != NULL) {
        memset(h->table->counts, 0, cells(h, h->table->length) * sizeof(uint64_t));
    }
    h->pending_count = 0;
    h->blocks_stale = false;
    pfs_moments_init(&h->moments);
    h->zeros = h->pending_zeros = 0;
    h->rejected_nan = h->rejected_inf = h->rejected_negative = 0;
}

static pfs_histogram_table *new_table(const pfs_histogram *h, int64_t first, size_t length)
{
    size_t bytes = sizeof(pfs_histogram_table) + cells(h, length) * sizeof(uint64_t);
    pfs_histogram_table *table = pfs_alloc_zeroed(h->alloc, 1, bytes);
    if (table != NULL) {
        table->references = 1;
        table->length = length;
        table->first = first;
    }
    return table;
}

/* Makes `table`, which must not be shared, the window.  record sees only its normal numbers: the
 * bits of a subnormal one or of zero, shifted, would look like a key below one octave. */
static void adopt(pfs_histogram *h, pfs_histogram_table *table)
{
    int64_t first = table->first, hidden = octave(h) - first;
    hidden = hidden < 0 ? 0 : hidden;
    hidden = hidden < (int64_t)table->length ? hidden : (int64_t)table->length;
    h->table = table;
    h->first_key = (uint64_t)(first + hidden);
    h->keys = table->length - (size_t)hidden;
}

pfs_histogram_table *pfs_histogram_hold(pfs_histogram *h)
{
    if (h->table != NULL) {
        pfs_histogram_fold(h);
        h->keys = 0;
        h->table->references++;
    }
    return h->table;
}

void pfs_histogram_let_go(pfs_histogram *h, pfs_histogram_table *table)
{
    release(table, h->alloc);
    if (table != NULL && table == h->table && table->references == 1) {
        adopt(h, table);
    }
}

static int64_t floor_octave(const pfs_histogram *h, int64_t key)
{
    return key & -octave(h); /* two's complement: towards minus infinity */
}

pfs_status pfs_histogram_reserve(pfs_histogram *h, int64_t low, int64_t high)
{
    int64_t first = floor_octave(h, low), end = floor_octave(h, high) + octave(h);
    pfs_histogram_table *old = h->table;
    if (old != NULL) {
        int64_t old_end = old->first + (int64_t)old->length;
        if (first >= old->first && end <= old_end) {
            return PFS_OK;
        }
        /* A quarter more than asked for on the side that grows, so that a slow drift does not copy
         * the table at every octave. */
        int64_t spare = floor_octave(h, (int64_t)old->length / 4);
        int64_t lowest = -(FRACTION_BITS - 1) * octave(h), highest = (2 * BIAS + 1) * octave(h);
        if (first < old->first) {
            first = first - spare > lowest ? first - spare : lowest;
        } else {
            first = old->first;
        }
        if (end > old_end) {
            end = end + spare < highest ? end + spare : highest;
        } else {
            end = old_end;
        }
    }
    pfs_histogram_table *table = new_table(h, first, (size_t)(end - first));
    if (table == NULL) {
        return PFS_ENOMEM;
    }
    if (old != NULL) {
        size_t at = (size_t)(old->first - first);
        memcpy(table->counts + at, old->counts, old->length * sizeof(uint64_t));
        memcpy(blocks_of(table) + (at >> h->block_shift), blocks_of(old),
               (old->length >> h->block_shift) * sizeof(uint64_t));
        release(old, h->alloc);
    }
    adopt(h, table);
    return PFS_OK;
}

pfs_status pfs_histogram_copy(pfs_histogram *out, const pfs_histogram *h, const pfs_alloc *alloc)
{
    pfs_histogram copy = *h;
    copy.alloc = alloc;
    if (h->table != NULL) {
        pfs_histogram_table *table = new_table(&copy, h->table->first, h->table->length);
        if (table == NULL) {
            return PFS_ENOMEM;
        }
        memcpy(table->counts, h->table->counts, cells(h, h->table->length) * sizeof(uint64_t));
        adopt(&copy, table);
    }
    *out = copy;
    return PFS_OK;
}

/* A window of so many cells is added up in under half a microsecond. */
#define SMALL_WINDOW 4096

static void fold(pfs_histogram *h, bool keep_blocks)
{
    uint32_t n = h->pending_count;
    if (n != 0) {
        h->pending_count = 0;
        uint32_t cells_of[PFS_HISTOGRAM_PENDING];
        pfs_block_pass pass = {.shift = h->shift,
                               .first = (uint32_t)h->table->first,
                               .length = UINT32_MAX, /* record has looked: all are inside */
                               .cells = cells_of};
        pfs_moments block = pfs_moments_of(&h->moments, h->pending, n, &pass);
        pfs_moments_merge(&h->moments, &block);
        uint64_t *counts = h->table->counts;
        for (uint32_t i = 0; i < n; i++) {
            counts[cells_of[i]]++;
        }
        if (!keep_blocks) {
            h->blocks_stale = true;
        } else if (!h->blocks_stale) {
            uint64_t *blocks = blocks_of(h->table);
            for (uint32_t i = 0; i < n; i++) {
                blocks[cells_of[i] >> h->block_shift]++;
            }
        }
    }
    if (h->pending_zeros != 0) {
        pfs_moments_add_times(&h->moments, 0.0, h->pending_zeros);
        h->pending_zeros = 0;
    }
}

void pfs_histogram_fold(pfs_histogram *h)
{
    fold(h, h->pending_count < PFS_HISTOGRAM_PENDING || h->table->length > SMALL_WINDOW);
}

/* Folds, and sees to the block sums. */
static void settle(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    if (!h->blocks_stale) {
        return;
    }
    h->blocks_stale = false;
    const uint64_t *cell = h->table->counts;
    uint64_t *blocks = blocks_of(h->table);
    size_t per_block = (size_t)1 << h->block_shift;
    for (size_t block = 0; block < h->table->length >> h->block_shift; block++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < per_block; i++) {
            sum += *cell++;
        }
        blocks[block] = sum;
    }
}

/* Where values that have no bucket are counted; NULL for those that have one. */
static uint64_t *rejection(pfs_histogram *h, double x)
{
    if (isnan(x)) {
        return &h->rejected_nan;
    }
    if (isinf(x)) {
        return &h->rejected_inf;
    }
    return x < 0.0 ? &h->rejected_negative : NULL;
}

pfs_status pfs_histogram_record_slow(pfs_histogram *h, double x)
{
    if (h->pending_count == PFS_HISTOGRAM_PENDING) {
        pfs_histogram_fold(h);
        if (pfs_histogram_record_fast(h, x)) {
            return PFS_OK;
        }
    }
    uint64_t *rejected = rejection(h, x);
    if (rejected != NULL) {
        ++*rejected;
        return PFS_OK;
    }
    if (x == 0.0) {
        h->zeros++;
        h->pending_zeros++;
        return PFS_OK;
    }
    int64_t key = pfs_histogram_key(h, x);
    pfs_status status = pfs_histogram_reserve(h, key, key);
    if (status == PFS_OK) {
        pfs_histogram_put(h, key, 1);
        pfs_moments_add_times(&h->moments, x, 1);
    }
    return status;
}

pfs_status pfs_histogram_record_n(pfs_histogram *h, double x, uint64_t n)
{
    uint64_t *rejected = rejection(h, x);
    if (n > PFS_HISTOGRAM_MAX_COUNT ||
        (rejected != NULL ? *rejected : pfs_histogram_count(h)) > PFS_HISTOGRAM_MAX_COUNT - n) {
        return PFS_ERANGE;
    }
    if (rejected != NULL) {
        *rejected += n;
        return PFS_OK;
    }
    if (n == 0) {
        return PFS_OK;
    }
    if (x == 0.0) {
        x = 0.0; /* not -0.0 */
        h->zeros += n;
    } else {
        int64_t key = pfs_histogram_key(h, x);
        pfs_status status = pfs_histogram_reserve(h, key, key);
        if (status != PFS_OK) {
            return status;
        }
        pfs_histogram_put(h, key, n);
    }
    pfs_moments_add_times(&h->moments, x, n);
    return PFS_OK;
}

static bool too_many(uint64_t a, uint64_t b)
{
    return a > PFS_HISTOGRAM_MAX_COUNT || b > PFS_HISTOGRAM_MAX_COUNT - a;
}

pfs_status pfs_histogram_merge(pfs_histogram *into, const pfs_histogram *from)
{
    if (into->precision != from->precision) {
        return PFS_EMISMATCH;
    }
    if (too_many(pfs_histogram_count(into), pfs_histogram_count(from)) ||
        too_many(into->rejected_nan, from->rejected_nan) ||
        too_many(into->rejected_inf, from->rejected_inf) ||
        too_many(into->rejected_negative, from->rejected_negative)) {
        return PFS_ERANGE;
    }
    const pfs_histogram_table *table = from->table;
    if (table != NULL) {
        pfs_status status =
            pfs_histogram_reserve(into, table->first, table->first + (int64_t)table->length - 1);
        if (status != PFS_OK) {
            return status;
        }
        pfs_histogram_fold(into); /* `from` may be `into`, and has nothing pending then */
        uint64_t *counts = into->table->counts + (table->first - into->table->first);
        for (size_t i = 0; i < table->length; i++) {
            counts[i] += table->counts[i];
        }
        into->blocks_stale = true;
    }
    pfs_moments_merge(&into->moments, &from->moments);
    for (uint32_t i = 0; i < from->pending_count; i++) {
        (void)pfs_histogram_record(into, from->pending[i]); /* in the window: cannot fail */
    }
    into->pending_zeros += from->pending_zeros;
    into->zeros += from->zeros;
    into->rejected_nan += from->rejected_nan;
    into->rejected_inf += from->rejected_inf;
    into->rejected_negative += from->rejected_negative;
    return PFS_OK;
}

double pfs_histogram_sum(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return pfs_moments_sum(&h->moments);
}

double pfs_histogram_mean(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return pfs_moments_mean(&h->moments);
}

double pfs_histogram_variance(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return pfs_moments_variance(&h->moments);
}

double pfs_histogram_stdev(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return pfs_moments_stdev(&h->moments);
}

double pfs_histogram_min(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return h->moments.count == 0 ? (double)NAN : h->moments.min;
}

double pfs_histogram_max(pfs_histogram *h)
{
    pfs_histogram_fold(h);
    return h->moments.count == 0 ? (double)NAN : h->moments.max;
}

static double clamp(const pfs_histogram *h, double x)
{
    x = x < h->moments.min ? h->moments.min : x;
    return x > h->moments.max ? h->moments.max : x;
}

/* The key of the positive value of this rank, 1 the lowest, by the nearer end. */
static int64_t key_of_rank(const pfs_histogram *h, uint64_t rank)
{
    const uint64_t *counts = h->table->counts, *blocks = counts + h->table->length;
    size_t per_block = (size_t)1 << h->block_shift;
    uint64_t positive = h->moments.count - h->zeros;
    size_t i;
    if (rank <= positive / 2) {
        uint64_t left = rank; /* to be found at or above i */
        size_t block = 0;
        while (blocks[block] < left) {
            left -= blocks[block++];
        }
        for (i = block * per_block; counts[i] < left; i++) {
            left -= counts[i];
        }
    } else {
        uint64_t above = positive - rank + 1; /* to be found at or below i */
        size_t block = (h->table->length >> h->block_shift) - 1;
        while (blocks[block] < above) {
            above -= blocks[block--];
        }
        for (i = (block + 1) * per_block - 1; counts[i] < above; i--) {
            above -= counts[i];
        }
    }
    return h->table->first + (int64_t)i;
}

static double quantile(const pfs_histogram *h, double q)
{
    if (q == 0.0) {
        return h->moments.min;
    }
    if (q == 1.0) {
        return h->moments.max;
    }
    uint64_t count = h->moments.count;
    double product = q * (double)count, whole = nearbyint(product);
    double up = fabs(product - whole) <= 4 * DBL_EPSILON * product ? whole : ceil(product);
    uint64_t rank = up >= (double)count ? count : (uint64_t)up;
    rank = rank == 0 ? 1 : rank;
    if (rank <= h->zeros) {
        return 0.0;
    }
    return clamp(h, inside(h, key_of_rank(h, rank - h->zeros), 2));
}

pfs_status pfs_histogram_quantiles(pfs_histogram *h, const double *qs, size_t n, double *out)
{
    settle(h);
    for (size_t i = 0; i < n; i++) {
        if (!(qs[i] >= 0.0 && qs[i] <= 1.0)) {
            return PFS_EINVAL;
        }
    }
    if (h->moments.count == 0) {
        return PFS_EEMPTY;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = quantile(h, qs[i]);
    }
    return PFS_OK;
}

pfs_status pfs_histogram_quantile(pfs_histogram *h, double q, double *out)
{
    return pfs_histogram_quantiles(h, &q, 1, out);
}

uint64_t pfs_histogram_rank(pfs_histogram *h, double x)
{
    settle(h);
    if (h->moments.count == 0 || !(x >= h->moments.min)) {
        return 0;
    }
    if (x >= h->moments.max) {
        return h->moments.count;
    }
    uint64_t rank = h->zeros;
    if (x == 0.0) {
        return rank;
    }
    int64_t end = pfs_histogram_key(h, x) + 1 - h->table->first;
    if (end <= 0) {
        return rank; /* between the zeros and the window */
    }
    size_t stop = (size_t)end < h->table->length ? (size_t)end : h->table->length;
    const uint64_t *counts = h->table->counts, *blocks = counts + h->table->length;
    size_t block = stop >> h->block_shift;
    for (size_t i = 0; i < block; i++) {
        rank += blocks[i];
    }
    for (size_t i = block << h->block_shift; i < stop; i++) {
        rank += counts[i];
    }
    return rank;
}

double pfs_histogram_edge(const pfs_histogram *h, size_t i)
{
    return inside(h, h->table->first + (int64_t)i, 0);
}

bool pfs_histogram_next(pfs_histogram *h, size_t *cursor, pfs_histogram_bucket *out)
{
    size_t at = *cursor; /* 0: the zeros; i + 1: cell i */
    if (at == 0) {
        *cursor = at = 1;
        pfs_histogram_fold(h);
        if (h->zeros != 0) {
            *out = (pfs_histogram_bucket){0.0, 0.0, h->zeros};
            return true;
        }
    }
    size_t length = h->table == NULL ? 0 : h->table->length;
    for (size_t i = at - 1; i < length; i++) {
        if (h->table->counts[i] != 0) {
            *out = (pfs_histogram_bucket){pfs_histogram_edge(h, i), pfs_histogram_edge(h, i + 1),
                                          h->table->counts[i]};
            *cursor = i + 2;
            return true;
        }
    }
    *cursor = length + 1;
    return false;
}

double pfs_histogram_value(pfs_histogram *h, const pfs_histogram_bucket *bucket)
{
    pfs_histogram_fold(h);
    double low = bucket->low;
    if (low == 0.0 && bucket->high == 0.0) {
        return 0.0;
    }
    return clamp(h, low >= DBL_MIN ? inside(h, pfs_histogram_key(h, low), 2)
                                   : low + (bucket->high - low) / 2.0);
}

bool pfs_histogram_equal(pfs_histogram *a, pfs_histogram *b)
{
    if (a->precision != b->precision || pfs_histogram_count(a) != pfs_histogram_count(b) ||
        a->zeros != b->zeros || a->rejected_nan != b->rejected_nan ||
        a->rejected_inf != b->rejected_inf || a->rejected_negative != b->rejected_negative) {
        return false;
    }
    pfs_histogram_fold(a);
    pfs_histogram_fold(b);
    if (a->moments.min != b->moments.min || a->moments.max != b->moments.max) {
        return false;
    }
    pfs_histogram_bucket left, right;
    size_t i = 0, j = 0;
    while (pfs_histogram_next(a, &i, &left)) {
        if (!pfs_histogram_next(b, &j, &right) || left.low != right.low ||
            left.count != right.count) {
            return false;
        }
    }
    return true;
}

size_t pfs_histogram_footprint(const pfs_histogram *h)
{
    return h->table == NULL
               ? 0
               : sizeof(pfs_histogram_table) + cells(h, h->table->length) * sizeof(uint64_t);
}
