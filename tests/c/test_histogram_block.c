/* Blocks of values: their pass against long-hand sums, their moments at the ends of the doubles. */
#include "harness.h"

#include <float.h>

#include "pfs_histogram.h"
#include "pfs_histogram_tally.h"
#include "pfs_rng.h"

/* The same file for a machine without SSE2. */
#undef __SSE2__
#define pfs_block_scan  portable_scan
#define pfs_block_count portable_count
#include "pfs_histogram_block.c" /* NOLINT(bugprone-suspicious-include) */
#undef pfs_block_scan
#undef pfs_block_count

#define N     PFS_BLOCK_VALUES
#define CELLS 1024

static double values[N];
static uint32_t cells[N], tables[PFS_BLOCK_TABLES * CELLS];

static bool close_to(double a, double b, double relative)
{
    return a == b || fabs(a - b) <= relative * fmax(fabs(a), fabs(b));
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* From 2^-4 up to 2^4, at precision 7. */
static pfs_block_pass a_pass(void)
{
    pfs_block_pass pass = {.shift = 45, .first = (uint32_t)(bits_of(0x1p-4) >> 45), .cells = cells};
    pass.length = CELLS;
    return pass;
}

static void fill(uint64_t seed, size_t n)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        values[i] = exp2(8.0 * pfs_rng_double(&rng) - 4.0);
    }
}

TEST(a_pass_is_what_it_says)
{
    for (size_t n = 1; n <= N; n += n < 20 ? 1 : 123) {
        fill(n, n);
        pfs_block_pass pass = a_pass();
        pfs_block_powers r = pfs_block_scan(1.5, values, n, &pass);
        double min = INFINITY, max = 0.0;
        long double sum = 0.0L, first = 0.0L, second = 0.0L;
        for (size_t i = 0; i < n; i++) {
            long double x = values[i], d = x - 1.5L;
            min = fmin(min, values[i]);
            max = fmax(max, values[i]);
            sum += x;
            first += d;
            second += d * d;
            CHECK(cells[i] == (bits_of(values[i]) >> 45) - (bits_of(0x1p-4) >> 45));
        }
        CHECK(pass.inside && r.min == min && r.max == max);
        CHECK(close_to(r.sum, (double)sum, 1e-14));
        CHECK(fabs(r.first - (double)first) <= 1e-14 * (double)second * (double)n);
        CHECK(close_to(r.second, (double)second, 1e-14));
    }
}

TEST(one_value_outside_is_seen_wherever_it_is)
{
    static const double outside[] = {
        0.0,         -0.0,         DBL_TRUE_MIN,     -1.0,
        16.0,        0x0.fffp-4,   DBL_MAX,          DBL_MIN,
        (double)NAN, -(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t n = 1; n <= 23; n++) {
        for (size_t at = 0; at < n; at++) {
            for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
                fill(n, n);
                values[at] = outside[i];
                pfs_block_pass pass = a_pass();
                pfs_block_powers r = pfs_block_scan(1.0, values, n, &pass);
                CHECK(!pass.inside);
                if (isnan(outside[i])) {
                    CHECK(isnan(r.sum));
                } else {
                    CHECK(r.min <= outside[i] && r.max >= outside[i]);
                }
                values[at] = 0x1p-4;
                (void)pfs_block_scan(1.0, values, n, &pass);
                CHECK(pass.inside);
            }
        }
    }
}

static bool same_bits(double a, double b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

TEST(with_and_without_vectors_alike)
{
    static uint32_t others[N], tables_too[PFS_BLOCK_TABLES * CELLS];
    for (size_t n = 1; n <= N; n += n < 20 ? 1 : 41) {
        for (int round = 0; round < 3; round++) {
            fill(n + (uint64_t)round, n);
            pfs_block_pass pass = a_pass(), portable = a_pass();
            (void)pfs_block_scan(1.0, values, n, &pass);
            (void)portable_scan(1.0, values, n, &portable);
            CHECK(pass.inside && portable.inside);
            static uint32_t due[N];
            memcpy(due, cells, n * sizeof *due);
            memset(tables, 0, sizeof tables);
            memset(tables_too, 0, sizeof tables_too);
            values[n / 2] = round == 0 ? 3.0 : round == 1 ? -7.0 : (double)INFINITY;
            portable.cells = others;
            pass.due = portable.due = due;
            pass.due_count = portable.due_count = n;
            pass.tables = tables;
            portable.tables = tables_too;
            pfs_block_powers a = pfs_block_scan(1.5, values, n, &pass);
            pfs_block_powers b = portable_scan(1.5, values, n, &portable);
            CHECK(same_bits(a.min, b.min) && same_bits(a.max, b.max) && same_bits(a.sum, b.sum));
            CHECK(same_bits(a.first, b.first) && same_bits(a.second, b.second));
            CHECK(pass.inside == portable.inside && pass.inside == (round == 0));
            CHECK(memcmp(cells, others, n * sizeof *cells) == 0);
            portable_count(due, n, tables_too, CELLS);
            pfs_block_count(due, n, tables, CELLS);
            CHECK(memcmp(tables, tables_too, sizeof tables) == 0);
        }
    }
}

TEST(what_is_due_is_counted_once)
{
    static const size_t sizes[] = {1, 3, 4, 7, 8, 64, 509, 512};
    static uint32_t due[N];
    for (size_t a = 0; a < sizeof sizes / sizeof *sizes; a++) {
        for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
            fill(a * 10 + b, sizes[a]);
            pfs_block_pass pass = a_pass();
            pass.cells = due;
            (void)pfs_block_scan(1.0, values, sizes[a], &pass);
            memset(tables, 0, sizeof tables);
            fill(77, sizes[b]);
            pass.cells = cells;
            pass.due = due;
            pass.due_count = sizes[a];
            pass.tables = tables;
            pfs_moments none;
            pfs_moments_init(&none);
            none.count = 1;
            none.mean = 1e9; /* so far off that the block is taken twice */
            (void)pfs_moments_of(&none, values, sizes[b], &pass);
            CHECK(pass.due_count == 0);
            uint64_t total = 0;
            for (size_t cell = 0; cell < CELLS; cell++) {
                uint32_t counted = 0, expected = 0;
                for (size_t table = 0; table < PFS_BLOCK_TABLES; table++) {
                    counted += tables[table * CELLS + cell];
                }
                for (size_t i = 0; i < sizes[a]; i++) {
                    expected += due[i] == cell;
                }
                CHECK(counted == expected);
                total += counted;
            }
            CHECK(total == sizes[a]);
        }
    }
}

/* Numbers around one, times 2^exponent, on three ways into a histogram. */
static void check_spread(int exponent)
{
    enum { MANY = 5000 };
    static double scaled[MANY];
    pfs_histogram one, many, parts[2];
    CHECK(pfs_histogram_init(&one, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_init(&many, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_init(&parts[0], 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_init(&parts[1], 7, pfs_alloc_libc()) == PFS_OK);
    pfs_rng rng;
    pfs_rng_seed(&rng, (uint64_t)(exponent + 2000));
    long double sum = 0.0L, squares = 0.0L;
    for (int i = 0; i < MANY; i++) {
        scaled[i] = ldexp(0.5 + pfs_rng_double(&rng), exponent);
        sum += ldexpl((long double)scaled[i], -exponent);
        CHECK(pfs_histogram_record(&one, scaled[i]) == PFS_OK);
        CHECK(pfs_histogram_record(&parts[i % 3 == 0], scaled[i]) == PFS_OK);
    }
    for (int i = 0; i < MANY; i++) {
        long double d = ldexpl((long double)scaled[i], -exponent) - sum / MANY;
        squares += d * d;
    }
    double stdev = (double)ldexpl(sqrtl(squares / (MANY - 1)), exponent);
    CHECK(stdev > 0.0 && stdev < DBL_MAX);
    CHECK(pfs_histogram_record_many(&many, scaled, MANY) == PFS_OK);
    CHECK(pfs_histogram_merge(&parts[0], &parts[1]) == PFS_OK);
    double loss = stdev < DBL_MIN ? 0.5 : 1e-12; /* of a subnormal answer's own few digits */
    CHECK(close_to(pfs_histogram_stdev(&one), stdev, loss));
    CHECK(close_to(pfs_histogram_stdev(&many), stdev, loss));
    CHECK(close_to(pfs_histogram_stdev(&parts[0]), stdev, loss));
    if (exponent > -440 && exponent < 440) {
        CHECK(one.moments.scale == 0 && many.moments.scale == 0); /* the plain road */
    }
    unsigned char *bytes;
    size_t length;
    pfs_histogram back;
    CHECK(pfs_histogram_encode(&many, &bytes, &length) == PFS_OK);
    CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_OK);
    CHECK(memcmp(&many.moments, &back.moments, sizeof many.moments) == 0);
    CHECK(pfs_histogram_stdev(&back) == pfs_histogram_stdev(&many));
    free(bytes);
    pfs_histogram_clear(&one);
    pfs_histogram_clear(&many);
    pfs_histogram_clear(&parts[0]);
    pfs_histogram_clear(&parts[1]);
    pfs_histogram_clear(&back);
}

TEST(deviations_of_every_size)
{
    for (int exponent = -1060; exponent <= 1022; exponent += exponent < -1000 ? 7 : 61) {
        check_spread(exponent);
    }
    check_spread(1022);
}

TEST(small_and_large_deviations_meet)
{
    /* Two histograms whose squares are in other units: the large one's decide. */
    static const int exponents[] = {-1000, -600, 0, 600, 1020};
    for (size_t a = 0; a < 5; a++) {
        for (size_t b = 0; b < 5; b++) {
            pfs_histogram h, other;
            CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
            CHECK(pfs_histogram_init(&other, 7, pfs_alloc_libc()) == PFS_OK);
            double x = ldexp(1.0, exponents[a]), y = ldexp(1.0, exponents[b]);
            CHECK(pfs_histogram_record(&h, x) == PFS_OK);
            CHECK(pfs_histogram_record(&h, 3.0 * x) == PFS_OK);
            CHECK(pfs_histogram_record(&other, y) == PFS_OK);
            CHECK(pfs_histogram_record(&other, 3.0 * y) == PFS_OK);
            CHECK(pfs_histogram_merge(&h, &other) == PFS_OK);
            double large = fmax(x, y), factor = x == y ? sqrt(4.0 / 3.0) : sqrt(2.0);
            /* {0, 0, 1, 3} has a variance of 2, {1, 1, 3, 3} one of 4 / 3. */
            CHECK(close_to(pfs_histogram_stdev(&h) / large, factor, 1e-12));
            pfs_histogram_clear(&h);
            pfs_histogram_clear(&other);
        }
    }
}

TEST(equal_values_do_not_deviate)
{
    static const double same[] = {0.1, 1e-310, DBL_TRUE_MIN, 1e300, DBL_MAX};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        pfs_histogram h;
        CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
        for (int k = 0; k < 1000; k++) {
            CHECK(pfs_histogram_record(&h, same[i]) == PFS_OK);
        }
        CHECK(pfs_histogram_stdev(&h) == 0.0 && pfs_histogram_mean(&h) == same[i]);
        pfs_histogram_clear(&h);
    }
}

TEST(a_tally_of_every_precision_takes_every_double)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, 5);
    static double any[3000];
    for (unsigned precision = 1; precision <= 12; precision++) {
        for (int kind = 0; kind < 3; kind++) {
            pfs_histogram one, many;
            CHECK(pfs_histogram_init(&one, precision, pfs_alloc_libc()) == PFS_OK);
            CHECK(pfs_histogram_init(&many, precision, pfs_alloc_libc()) == PFS_OK);
            for (size_t i = 0; i < 3000; i++) {
                uint64_t bits = pfs_rng_next(&rng);
                /* Anything; the last two octaves before infinity; the first two of normal ones. */
                bits = kind == 0   ? bits
                       : kind == 1 ? bits % (UINT64_C(1) << 53) + (UINT64_C(2045) << 52)
                                   : bits % (UINT64_C(1) << 53) + (UINT64_C(1) << 52);
                memcpy(&any[i], &bits, sizeof bits);
                CHECK(pfs_histogram_record(&one, any[i]) == PFS_OK);
            }
            CHECK(pfs_histogram_record_many(&many, any, 3000) == PFS_OK);
            CHECK(pfs_histogram_equal(&one, &many));
            double a = pfs_histogram_stdev(&one), b = pfs_histogram_stdev(&many);
            CHECK(isfinite(a) && close_to(a, b, 1e-9));
            pfs_histogram_clear(&one);
            pfs_histogram_clear(&many);
        }
    }
}

int main(void)
{
    RUN(a_pass_is_what_it_says);
    RUN(one_value_outside_is_seen_wherever_it_is);
    RUN(with_and_without_vectors_alike);
    RUN(what_is_due_is_counted_once);
    RUN(deviations_of_every_size);
    RUN(small_and_large_deviations_meet);
    RUN(equal_values_do_not_deviate);
    RUN(a_tally_of_every_precision_takes_every_double);
    FINISH();
}
