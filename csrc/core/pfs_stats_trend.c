/* Theil and Sen's line: the median of the slopes between all pairs of points.
 *
 * Up to MANY pairs, all slopes are made and the ranks wanted are selected.  Beyond that the slopes
 * are never stored.  The number of slopes <= s is the number of inversions of the residuals
 * y - s t in order of t, which merging counts in O(n log n); so a rank can be bracketed by counting
 * at a few pivots taken from a random sample of slopes, until the bracket holds few enough pairs to
 * list them (they are the pairs whose order differs between the residuals at its two ends), and the
 * slope is selected among those.  After J. Matousek, "Randomized Optimal Algorithm for Slope
 * Selection", Information Processing Letters 39 (1991).  The sample only decides how many counts it
 * takes: the result is the same for every sample.
 *
 * Sen's interval: P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau",
 * JASA 63 (1968), with its variance multiplied by n / n_effective.
 */
#include "pfs_stats.h"

#include <math.h>
#include <string.h>

#define MANY   ((uint64_t)1 << 20) /* slopes that may be stored at once: 8 MB */
#define SAMPLE ((size_t)1 << 16)

typedef struct {
    uint64_t key;
    uint32_t index;
} item;

typedef struct {
    size_t n;
    double *y, *t;           /* in base order: t ascending, then y */
    uint32_t *by_tie;        /* base indices, groups of t descending, ascending within a group */
    item *items, *spare;     /* scratch of one sort */
    uint32_t *first, *last;  /* orders of the residuals at the two ends of a bracket */
    uint32_t *merge, *place; /* scratch of one count */
    double *sample;          /* sorted slopes of random pairs */
    size_t sampled;
    uint64_t pairs;
} slopes;

/* pfs_stats_sort_keys with a passenger: stable, digits that are all alike skipped. */
static pfs_status sort_items(item *items, item *spare, size_t n, const pfs_alloc *alloc)
{
    enum { RADIX = 1 << 11, PASSES = 6 };
    uint32_t *counts = pfs_alloc_zeroed(alloc, (size_t)PASSES * RADIX, sizeof *counts);
    if (counts == NULL) {
        return PFS_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        for (unsigned pass = 0; pass < PASSES; pass++) {
            counts[pass * RADIX + (items[i].key >> (pass * 11) & (RADIX - 1))]++;
        }
    }
    item *from = items, *to = spare;
    for (unsigned pass = 0; pass < PASSES; pass++) {
        uint32_t *starts = counts + (size_t)pass * RADIX, sum = 0;
        unsigned shift = pass * 11;
        if (starts[from[0].key >> shift & (RADIX - 1)] == n) {
            continue;
        }
        for (size_t digit = 0; digit < RADIX; digit++) {
            uint32_t count = starts[digit];
            starts[digit] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) {
            to[starts[from[i].key >> shift & (RADIX - 1)]++] = from[i];
        }
        item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) {
        memcpy(items, from, n * sizeof *items);
    }
    pfs_alloc_release(alloc, counts);
    return PFS_OK;
}

static double slope_of(const slopes *s, size_t a, size_t b)
{
    return (s->y[b] - s->y[a]) / (s->t[b] - s->t[a]);
}

/* Writes to `order` the base indices by residual at `slope`; equal residuals put the later t first,
 * so that they count as crossed. */
static pfs_status order_residuals(const slopes *s, double slope, const pfs_alloc *alloc,
                                  uint32_t *order)
{
    double origin = s->t[s->n / 2];
    for (size_t k = 0; k < s->n; k++) {
        uint32_t i = s->by_tie[k];
        s->items[k] = (item){pfs_stats_key(s->y[i] - slope * (s->t[i] - origin)), i};
    }
    pfs_status status = sort_items(s->items, s->spare, s->n, alloc);
    for (size_t k = 0; status == PFS_OK && k < s->n; k++) {
        order[k] = s->items[k].index;
    }
    return status;
}

/* Merges sorted runs of list[0..n) upwards, using `spare`; returns the number of inversions.  Where
 * `found` is given, the pair of every inversion is turned into its slope there: `base` maps list
 * values to base indices. */
static uint64_t merge_count(const slopes *s, uint32_t *list, uint32_t *spare, size_t n,
                            const uint32_t *base, double *found)
{
    uint64_t inversions = 0;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t middle = start + width < n ? start + width : n;
            size_t end = middle + width < n ? middle + width : n;
            size_t i = start, j = middle;
            for (size_t k = start; k < end; k++) {
                if (i < middle && (j == end || list[i] <= list[j])) {
                    spare[k] = list[i++];
                    continue;
                }
                for (size_t p = i; found != NULL && p < middle; p++) {
                    found[inversions + (p - i)] = slope_of(s, base[list[p]], base[list[j]]);
                }
                inversions += middle - i;
                spare[k] = list[j++];
            }
        }
        memcpy(list, spare, n * sizeof *list);
    }
    return inversions;
}

/* How many slopes are <= slope; `order` keeps the order of the residuals. */
static pfs_status count_slopes(const slopes *s, double slope, const pfs_alloc *alloc,
                               uint32_t *order, uint64_t *count)
{
    pfs_status status = order_residuals(s, slope, alloc, order);
    if (status == PFS_OK) {
        memcpy(s->place, order, s->n * sizeof *order);
        *count = merge_count(s, s->place, s->merge, s->n, NULL, NULL);
    }
    return status;
}

/* The slope of rank k (from 1) among those in (low, high], of which `before` are <= low. */
static pfs_status select_listed(const slopes *s, uint64_t k, uint64_t before,
                                const pfs_alloc *alloc, double *slope)
{
    /* Each point's place at the low end, in the order of the high end: pairs that are out of order
     * have crossed in between. */
    size_t n = s->n;
    uint32_t *sequence = pfs_alloc_array(alloc, n, sizeof *sequence);
    if (sequence == NULL) {
        return PFS_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        s->place[s->first[i]] = (uint32_t)i;
    }
    for (size_t i = 0; i < n; i++) {
        sequence[i] = s->place[s->last[i]];
    }
    memcpy(s->place, sequence, n * sizeof *sequence);
    uint64_t crossed = merge_count(s, s->place, s->merge, n, NULL, NULL);
    double *found = pfs_alloc_array(alloc, (size_t)crossed, sizeof *found);
    pfs_status status = found == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        (void)merge_count(s, sequence, s->merge, n, s->first, found);
        uint64_t rank = k - before - 1; /* rounding may have moved the odd pair over an end */
        pfs_stats_select(found, (size_t)crossed, (size_t)(rank < crossed ? rank : crossed - 1));
        *slope = found[rank < crossed ? rank : crossed - 1];
    }
    pfs_alloc_release(alloc, found);
    pfs_alloc_release(alloc, sequence);
    return status;
}

/* A pivot strictly between low and high: a sampled slope if there is one, near the wanted rank at
 * first and then the middle one; else the slope just below high, then the middle of the bits. */
static double choose_pivot(const slopes *s, uint64_t k, double low, double high, unsigned round)
{
    size_t from = 0, to = s->sampled;
    while (from < to) { /* first above low */
        size_t middle = from + (to - from) / 2;
        if (s->sample[middle] <= low) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    size_t below = from;
    to = s->sampled;
    while (from < to) { /* first not below high */
        size_t middle = from + (to - from) / 2;
        if (s->sample[middle] < high) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    size_t above = from;
    if (below < above) {
        if (round < 2) {
            double place = (double)s->sampled * ((double)k / (double)s->pairs);
            double margin = 1.5 * sqrt((double)s->sampled);
            double wanted = round == 0 ? place - margin : place + margin;
            if (wanted >= (double)below && wanted < (double)above) {
                return s->sample[(size_t)wanted];
            }
        }
        return s->sample[below + (above - below) / 2];
    }
    uint64_t bottom = pfs_stats_key(low), top = pfs_stats_key(high);
    /* A slope that many pairs share is an end of the bracket by now: step off it. */
    uint64_t key = round % 2 == 0 ? top - 1 : bottom + (top - bottom) / 2;
    return pfs_stats_value(key);
}

/* The slope of rank k, from 1. */
static pfs_status select_slope(const slopes *s, uint64_t k, const pfs_alloc *alloc, double *slope)
{
    double low = -INFINITY, high = INFINITY;
    uint64_t before = 0, upto = s->pairs;
    bool have_low = false, have_high = false;
    uint32_t *first = s->first, *last = s->last;
    for (unsigned round = 0; upto - before > MANY; round++) {
        if (pfs_stats_key(high) - pfs_stats_key(low) <= 1) {
            *slope = high; /* more equal slopes than may be stored */
            return PFS_OK;
        }
        double pivot = choose_pivot(s, k, low, high, round);
        uint64_t count;
        pfs_status status = count_slopes(s, pivot, alloc, s->merge + s->n, &count);
        if (status != PFS_OK) {
            return status;
        }
        if (count < k) {
            low = pivot;
            before = count > before ? count : before;
            have_low = true;
            memcpy(first, s->merge + s->n, s->n * sizeof *first);
        } else {
            high = pivot;
            upto = count < upto ? count : upto;
            have_high = true;
            memcpy(last, s->merge + s->n, s->n * sizeof *last);
        }
    }
    /* At -inf the order is that of t itself, at +inf its reverse. */
    for (size_t i = 0; i < s->n; i++) {
        if (!have_low) {
            first[i] = (uint32_t)i;
        }
        if (!have_high) {
            last[i] = s->by_tie[i];
        }
    }
    return select_listed(s, k, before, alloc, slope);
}

/* The same with all slopes at hand. */
static pfs_status select_stored(const slopes *s, const uint64_t *ranks, size_t count,
                                const pfs_alloc *alloc, double *chosen)
{
    double *all = pfs_alloc_array(alloc, (size_t)s->pairs, sizeof *all);
    if (all == NULL) {
        return PFS_ENOMEM;
    }
    size_t k = 0;
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = i + 1; j < s->n; j++) {
            if (s->t[j] != s->t[i]) {
                all[k++] = slope_of(s, i, j);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        pfs_stats_select(all, (size_t)s->pairs, (size_t)ranks[i] - 1);
        chosen[i] = all[ranks[i] - 1];
    }
    pfs_alloc_release(alloc, all);
    return PFS_OK;
}

/* Heapsort: the sample is small, and the library's qsort takes memory behind our back. */
static void sort_sample(double *v, size_t n)
{
    for (size_t end = n, start = n / 2; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            double top = v[0];
            v[0] = v[end];
            v[end] = top;
        }
        size_t root = start;
        double value = v[root];
        for (size_t child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && v[child] < v[child + 1]) {
                child++;
            }
            if (value >= v[child]) {
                break;
            }
            v[root] = v[child];
        }
        v[root] = value;
    }
}

static void take_sample(slopes *s)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, s->n);
    s->sampled = 0;
    for (size_t tries = 0; tries < 2 * SAMPLE && s->sampled < SAMPLE; tries++) {
        size_t a = (size_t)pfs_rng_below(&rng, s->n), b = (size_t)pfs_rng_below(&rng, s->n);
        if (s->t[a] != s->t[b]) {
            s->sample[s->sampled++] = slope_of(s, a, b);
        }
    }
    sort_sample(s->sample, s->sampled);
}

static pfs_status select_ranks(slopes *s, const uint64_t *ranks, size_t count,
                               const pfs_alloc *alloc, double *chosen)
{
    if (s->pairs <= MANY) {
        return select_stored(s, ranks, count, alloc, chosen);
    }
    size_t n = s->n;
    s->items = pfs_alloc_array(alloc, n, 2 * sizeof *s->items);
    s->merge = pfs_alloc_array(alloc, n, 5 * sizeof *s->merge);
    s->sample = pfs_alloc_array(alloc, SAMPLE, sizeof *s->sample);
    pfs_status status =
        s->items == NULL || s->merge == NULL || s->sample == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        s->spare = s->items + n;
        s->place = s->merge + 2 * n; /* merge[n..2n) is the order at a pivot */
        s->first = s->merge + 3 * n;
        s->last = s->merge + 4 * n;
        take_sample(s);
    }
    for (size_t i = 0; status == PFS_OK && i < count; i++) {
        if (i > 0 && ranks[i] == ranks[i - 1]) {
            chosen[i] = chosen[i - 1];
        } else {
            status = select_slope(s, ranks[i], alloc, &chosen[i]);
        }
    }
    pfs_alloc_release(alloc, s->sample);
    pfs_alloc_release(alloc, s->merge);
    pfs_alloc_release(alloc, s->items);
    return status;
}

/* What ties take from the variance of Kendall's S: sums over the groups of k equal values. */
typedef struct {
    uint64_t pairs; /* k (k - 1) / 2 */
    double triples; /* k (k - 1) (k - 2) */
    double term;    /* k (k - 1) (2 k + 5) */
} ties;

static ties count_ties(const double *sorted, size_t n)
{
    ties sum = {0, 0.0, 0.0};
    for (size_t start = 0, end; start < n; start = end) {
        end = start + 1;
        while (end < n && sorted[end] == sorted[start]) {
            end++;
        }
        uint64_t group = end - start;
        double k = (double)group;
        sum.pairs += group * (group - 1) / 2;
        sum.triples += k * (k - 1.0) * (k - 2.0);
        sum.term += k * (k - 1.0) * (2.0 * k + 5.0);
    }
    return sum;
}

/* The variance of Kendall's S with ties on both sides (M. G. Kendall, Rank Correlation Methods,
 * 1955, chapter 4). */
static double kendall_variance(double n, ties y, ties t)
{
    double variance = (n * (n - 1.0) * (2.0 * n + 5.0) - y.term - t.term) / 18.0;
    if (n > 2.0) {
        variance += y.triples * t.triples / (9.0 * n * (n - 1.0) * (n - 2.0));
    }
    return fmax(0.0, variance + 2.0 * (double)y.pairs * (double)t.pairs / (n * (n - 1.0)));
}

static double median(const double *sorted, size_t n)
{
    return n % 2 ? sorted[n / 2] : 0.5 * sorted[n / 2 - 1] + 0.5 * sorted[n / 2];
}

/* Puts y and t in base order; `items` is scratch for 2 n. */
static pfs_status arrange(slopes *s, const double *y, const double *t, item *items,
                          const pfs_alloc *alloc)
{
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        items[i] = (item){pfs_stats_key(y[i]), (uint32_t)i};
    }
    pfs_status status = sort_items(items, items + n, n, alloc);
    if (status == PFS_OK) {
        for (size_t i = 0; i < n; i++) {
            items[i].key = pfs_stats_key(t[items[i].index]);
        }
        status = sort_items(items, items + n, n, alloc);
    }
    if (status != PFS_OK) {
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        s->y[i] = y[items[i].index];
        s->t[i] = t[items[i].index];
    }
    size_t k = 0;
    for (size_t end = n, start; end > 0; end = start) {
        start = end - 1;
        while (start > 0 && s->t[start - 1] == s->t[end - 1]) {
            start--;
        }
        for (size_t i = start; i < end; i++) {
            s->by_tie[k++] = (uint32_t)i;
        }
    }
    return PFS_OK;
}

static pfs_status fit(slopes *s, double *sorted_y, double confidence, double n_effective,
                      const pfs_alloc *alloc, pfs_stats_line *line)
{
    double n = (double)s->n;
    ties of_t = count_ties(s->t, s->n), of_y = count_ties(sorted_y, s->n);
    s->pairs = (uint64_t)s->n * (s->n - 1) / 2 - of_t.pairs;
    if (s->pairs == 0) {
        return PFS_EEMPTY;
    }
    double worth = n_effective > 0.0 ? fmin(n_effective, n) : n;
    double spread = pfs_stats_normal_quantile(0.5 + 0.5 * confidence) *
                    sqrt(kendall_variance(n, of_y, of_t) * (n / worth));
    double pairs = (double)s->pairs;
    double low = nearbyint(0.5 * (pairs - spread)), high = nearbyint(0.5 * (pairs + spread)) + 1.0;
    /* Ranks that fall off the ends: too few points for this confidence, that side stays open. */
    bool open_low = !(low >= 1.0), open_high = !(high <= pairs);
    uint64_t ranks[4] = {
        open_low ? 1 : (uint64_t)low,
        (s->pairs + 1) / 2,
        s->pairs / 2 + 1,
        open_high ? s->pairs : (uint64_t)high,
    };
    double chosen[4];
    pfs_status status = select_ranks(s, ranks, 4, alloc, chosen);
    if (status != PFS_OK) {
        return status;
    }
    double slope = 0.5 * chosen[1] + 0.5 * chosen[2];
    double intercept = median(sorted_y, s->n) - slope * median(s->t, s->n);
    if (!isfinite(slope) || !isfinite(intercept)) {
        return PFS_ERANGE;
    }
    *line = (pfs_stats_line){slope, intercept, open_low ? -INFINITY : chosen[0],
                             open_high ? INFINITY : chosen[3]};
    return PFS_OK;
}

pfs_status pfs_stats_trend(const double *y, const double *t, size_t n, double confidence,
                           double n_effective, const pfs_alloc *alloc, pfs_stats_line *line)
{
    if (n < 2 || n > UINT32_MAX / 2 || !(confidence > 0.0 && confidence < 1.0)) {
        return PFS_EINVAL;
    }
    slopes s = {.n = n};
    double *values = pfs_alloc_array(alloc, n, 3 * sizeof *values);
    item *items = pfs_alloc_array(alloc, n, 2 * sizeof *items);
    s.by_tie = pfs_alloc_array(alloc, n, sizeof *s.by_tie);
    pfs_status status = values == NULL || items == NULL || s.by_tie == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        s.y = values;
        s.t = values + n;
        status = arrange(&s, y, t, items, alloc);
    }
    if (status == PFS_OK) {
        double *sorted_y = values + 2 * n;
        uint64_t *keys = (uint64_t *)(void *)items; /* 2 n keys fit in 2 n items */
        for (size_t i = 0; i < n; i++) {
            keys[i] = pfs_stats_key(y[i]);
        }
        status = pfs_stats_sort_keys(keys, keys + n, n, alloc);
        for (size_t i = 0; i < n; i++) {
            sorted_y[i] = pfs_stats_value(keys[i]);
        }
    }
    pfs_alloc_release(alloc, items);
    if (status == PFS_OK) {
        status = fit(&s, values + 2 * n, confidence, n_effective, alloc, line);
    }
    pfs_alloc_release(alloc, s.by_tie);
    pfs_alloc_release(alloc, values);
    return status;
}
