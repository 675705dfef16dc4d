#include "pfs_histogram_block.h"

#include <math.h>
#include <string.h>

/* Two lanes.  Compilers may not reorder sums, nor pick minima by vectors, of their own accord. */
#ifdef __SSE2__
#include <emmintrin.h>
typedef __m128d pair;
typedef __m128i quad;
#define pair_of(x)     _mm_set1_pd(x)
#define pair_at(p)     _mm_loadu_pd(p)
#define pair_add(a, b) _mm_add_pd(a, b)
#define pair_sub(a, b) _mm_sub_pd(a, b)
#define pair_mul(a, b) _mm_mul_pd(a, b)
#define pair_min(a, b) _mm_min_pd(a, b) /* b where either is NaN */
#define pair_max(a, b) _mm_max_pd(a, b)
#define pair_low(a)    _mm_cvtsd_f64(a)
#define pair_high(a)   _mm_cvtsd_f64(_mm_unpackhi_pd(a, a))
#define quad_of(n)     _mm_set1_epi32((int)(n))
#define quad_or(a, b)  _mm_or_si128(a, b)

static inline uint32_t quad_any(quad a)
{
    uint32_t of[4];
    _mm_storeu_si128((quad *)(void *)of, a);
    return of[0] | of[1] | of[2] | of[3];
}

/* The cells of four values, stored as well.  A key is in the upper half of the bits. */
static inline quad find_four(pair a, pair b, uint32_t shift, quad first, uint32_t *cells)
{
    quad highs = _mm_castps_si128(
        _mm_shuffle_ps(_mm_castpd_ps(a), _mm_castpd_ps(b), _MM_SHUFFLE(3, 1, 3, 1)));
    quad found = _mm_sub_epi32(_mm_srl_epi32(highs, _mm_cvtsi32_si128((int)shift - 32)), first);
    _mm_storeu_si128((quad *)(void *)cells, found);
    return found;
}
#else
typedef struct {
    double low, high;
} pair;
typedef uint32_t quad; /* one of what is four times the same, or the four of them in one */

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

#define quad_of(n)    (n)
#define quad_or(a, b) ((a) | (b))
#define quad_any(a)   (a)
#endif

static inline uint32_t find_cell(double x, uint32_t shift, uint32_t first)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint32_t)(bits >> shift) - first;
}

#ifndef __SSE2__
static inline quad find_four(pair a, pair b, uint32_t shift, quad first, uint32_t *cells)
{
    cells[0] = find_cell(a.low, shift, first);
    cells[1] = find_cell(a.high, shift, first);
    cells[2] = find_cell(b.low, shift, first);
    cells[3] = find_cell(b.high, shift, first);
    return cells[0] | cells[1] | cells[2] | cells[3];
}
#endif

/* Four values at a time are added up before they meet what came before: that halves the
 * accumulators, which all stay in registers. */
typedef struct {
    uint32_t shift;
    quad key, any; /* the window's first key; all cells, or-ed */
    pair centre, min, max, sum, first, second;
} lanes;

static inline void take_four(lanes *l, const double *values, uint32_t *cells)
{
    pair x = pair_at(values), y = pair_at(values + 2);
    l->any = quad_or(l->any, find_four(x, y, l->shift, l->key, cells));
    l->min = pair_min(l->min, pair_min(x, y));
    l->max = pair_max(l->max, pair_max(x, y));
    l->sum = pair_add(l->sum, pair_add(x, y));
    x = pair_sub(x, l->centre);
    y = pair_sub(y, l->centre);
    l->first = pair_add(l->first, pair_add(x, y));
    l->second = pair_add(l->second, pair_add(pair_mul(x, x), pair_mul(y, y)));
}

typedef struct {
    uint32_t *a, *b, *c, *d;
} four_tables;

static inline four_tables tables_at(uint32_t *tables, size_t length)
{
    return (four_tables){tables, tables + length, tables + 2 * length, tables + 3 * length};
}

static inline void count_four(const uint32_t *cells, const four_tables *to)
{
    to->a[cells[0]]++;
    to->b[cells[1]]++;
    to->c[cells[2]]++;
    to->d[cells[3]]++;
}

void pfs_block_count(const uint32_t *cells, size_t n, uint32_t *tables, size_t length)
{
    if (n == 0) {
        return; /* there may be no tables */
    }
    four_tables to = tables_at(tables, length);
    size_t i = 0;
    for (; i + PFS_BLOCK_TABLES <= n; i += PFS_BLOCK_TABLES) {
        count_four(cells + i, &to);
    }
    for (; i < n; i++) {
        tables[cells[i]]++;
    }
}

static double total(pair lane)
{
    return pair_low(lane) + pair_high(lane);
}

pfs_block_powers pfs_block_scan(double centre, const double *values, size_t n, pfs_block_pass *pass)
{
    lanes l = {.shift = pass->shift,
               .key = quad_of(pass->first),
               .any = quad_of(0),
               .centre = pair_of(centre),
               .min = pair_of(INFINITY),
               .max = pair_of(-INFINITY),
               .sum = pair_of(0.0),
               .first = pair_of(0.0),
               .second = pair_of(0.0)};
    uint32_t *cells = pass->cells;
    const uint32_t *due = pass->due;
    size_t i = 0;
    if (pass->due_count != 0) {
        four_tables to = tables_at(pass->tables, pass->length);
        size_t shared = pass->due_count < n ? pass->due_count : n;
        for (; i + 4 <= shared; i += 4) {
            take_four(&l, values + i, cells + i);
            count_four(due + i, &to);
        }
        pfs_block_count(due + i, pass->due_count - i, pass->tables, pass->length);
    }
    for (; i + 4 <= n; i += 4) {
        take_four(&l, values + i, cells + i);
    }
    pfs_block_powers r = {
        .min = pair_low(l.min) < pair_high(l.min) ? pair_low(l.min) : pair_high(l.min),
        .max = pair_low(l.max) > pair_high(l.max) ? pair_low(l.max) : pair_high(l.max),
        .sum = total(l.sum),
        .first = total(l.first),
        .second = total(l.second)};
    uint32_t any = quad_any(l.any);
    for (; i < n; i++) {
        double x = values[i], d = x - centre;
        cells[i] = find_cell(x, pass->shift, pass->first);
        any |= cells[i];
        r.min = x < r.min ? x : r.min;
        r.max = x > r.max ? x : r.max;
        r.sum += x;
        r.first += d;
        r.second += d * d;
    }
    pass->inside = any < pass->length;
    return r;
}
