/* The histogram against sorted arrays and long-hand sums. */
#include "harness.h"

#include <float.h>

#include "pfs_histogram.h"
#include "pfs_histogram_tally.h"
#include "pfs_rng.h"

#define N 20000

static double values[N], sorted[N];

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Latencies of a plausible shape: log-normal-ish over `octaves` octaves, with some zeros. */
static void make_values(uint64_t seed, double octaves, double zeros)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, seed);
    for (size_t i = 0; i < N; i++) {
        double u = pfs_rng_double(&rng) + pfs_rng_double(&rng) - 1.0;
        values[i] = pfs_rng_double(&rng) < zeros ? 0.0 : exp2(u * octaves);
    }
    memcpy(sorted, values, sizeof values);
    qsort(sorted, N, sizeof *sorted, by_value);
}

static pfs_histogram filled(unsigned precision)
{
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, precision, pfs_alloc_libc()) == PFS_OK);
    for (size_t i = 0; i < N; i++) {
        CHECK(pfs_histogram_record(&h, values[i]) == PFS_OK);
    }
    return h;
}

static bool close_to(double a, double b, double relative)
{
    return a == b || fabs(a - b) <= relative * fmax(fabs(a), fabs(b));
}

/* Every invariant that the parts rely on. */
static void check_whole(pfs_histogram *h)
{
    CHECK(pfs_histogram_rank(h, DBL_MAX) ==
          pfs_histogram_count(h)); /* all folded, blocks seen to */
    uint64_t total = h->zeros;
    if (h->table != NULL) {
        CHECK(h->table->references >= 1);
        for (size_t i = 0; i < h->table->length; i++) {
            total += h->table->counts[i];
        }
        for (size_t b = 0; b < h->table->length >> h->block_shift; b++) {
            uint64_t block = 0;
            for (size_t i = 0; i < (size_t)1 << h->block_shift; i++) {
                block += h->table->counts[(b << h->block_shift) + i];
            }
            CHECK(block == h->table->counts[h->table->length + b]);
        }
    }
    CHECK(total == pfs_histogram_count(h));
}

TEST(precision_has_bounds)
{
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 0, pfs_alloc_libc()) == PFS_EINVAL);
    CHECK(pfs_histogram_init(&h, 13, pfs_alloc_libc()) == PFS_EINVAL);
}

TEST(quantiles_are_within_half_a_bucket)
{
    static const double qs[] = {0.0,   1e-9, 0.001, 0.07, 0.1,    0.25, 0.5,
                                0.731, 0.9,  0.95,  0.99, 0.9999, 1.0};
    for (unsigned precision = 1; precision <= 12; precision++) {
        for (int shape = 0; shape < 3; shape++) {
            make_values(precision * 3 + (unsigned)shape, shape == 2 ? 1000.0 : 8.0,
                        shape == 1 ? 0.3 : 0.0);
            pfs_histogram h = filled(precision);
            check_whole(&h);
            double bound = ldexp(1.0, -(int)precision - 1);
            for (size_t i = 0; i < sizeof qs / sizeof *qs; i++) {
                double product = qs[i] * N, up = ceil(product);
                if (up - product > 1 - 1e-9) {
                    up -= 1;
                }
                size_t rank = up < 1 ? 1 : (size_t)up;
                double got = -1.0;
                CHECK(pfs_histogram_quantile(&h, qs[i], &got) == PFS_OK);
                CHECK(close_to(got, sorted[rank - 1], bound));
            }
            double low, high;
            CHECK(pfs_histogram_quantile(&h, 0.0, &low) == PFS_OK && low == sorted[0]);
            CHECK(pfs_histogram_quantile(&h, 1.0, &high) == PFS_OK && high == sorted[N - 1]);
            pfs_histogram_clear(&h);
        }
    }
}

TEST(rank_is_the_inverse_of_quantile)
{
    make_values(9, 12.0, 0.1);
    pfs_histogram h = filled(7);
    for (double q = 0.001; q < 1.0; q += 0.013) {
        double x;
        CHECK(pfs_histogram_quantile(&h, q, &x) == PFS_OK);
        CHECK((double)pfs_histogram_rank(&h, x) >= floor(q * N));
    }
    CHECK(pfs_histogram_rank(&h, -1.0) == 0);
    CHECK(pfs_histogram_rank(&h, (double)NAN) == 0);
    CHECK(pfs_histogram_rank(&h, 0.0) == h.zeros);
    CHECK(pfs_histogram_rank(&h, DBL_TRUE_MIN) == h.zeros);
    CHECK(pfs_histogram_rank(&h, (double)INFINITY) == N);
    uint64_t before = 0, sum = 0;
    size_t cursor = 0;
    pfs_histogram_bucket bucket;
    double last = -1.0;
    while (pfs_histogram_next(&h, &cursor, &bucket)) {
        CHECK(bucket.low > last && bucket.high >= bucket.low && bucket.count > 0);
        last = bucket.low;
        sum += bucket.count;
        double value = pfs_histogram_value(&h, &bucket);
        CHECK(value >= bucket.low && (value < bucket.high || value == 0.0));
        CHECK(pfs_histogram_rank(&h, value) == sum);
        CHECK(sum > before);
        before = sum;
    }
    CHECK(sum == N);
    CHECK(!pfs_histogram_next(&h, &cursor, &bucket));
    pfs_histogram_clear(&h);
}

TEST(edges_of_the_doubles)
{
    static const double extremes[] = {
        DBL_TRUE_MIN, 3 * DBL_TRUE_MIN, 1e-320, 0x1.1p-1024, 0x1.8p-1024, DBL_MIN / 2,
        DBL_MIN,      1e-300,           1.0,    1e300,       DBL_MAX};
    size_t n = sizeof extremes / sizeof *extremes;
    for (unsigned precision = 1; precision <= 12; precision++) {
        for (int order = 0; order < 2; order++) {
            pfs_histogram h;
            CHECK(pfs_histogram_init(&h, precision, pfs_alloc_libc()) == PFS_OK);
            for (size_t i = 0; i < n; i++) {
                double x = extremes[order ? n - 1 - i : i];
                CHECK(pfs_histogram_record(&h, x) == PFS_OK);
                CHECK(pfs_histogram_record(&h, x) == PFS_OK); /* by the window, this time */
            }
            CHECK(pfs_histogram_record(&h, -0.0) == PFS_OK);
            CHECK(h.zeros == 1 && h.rejected_negative == 0);
            check_whole(&h);
            for (size_t i = 0; i < n; i++) {
                double got, q = (1.0 + 2.0 * (double)i + 1.5) / (2.0 * (double)n + 1.0);
                CHECK(pfs_histogram_quantile(&h, fmin(q, 0.999), &got) == PFS_OK);
                CHECK(close_to(got, extremes[i], ldexp(1.0, -(int)precision - 1)));
            }
            CHECK(pfs_histogram_min(&h) == 0.0 && !signbit(pfs_histogram_min(&h)));
            CHECK(pfs_histogram_max(&h) == DBL_MAX);
            CHECK(isinf(pfs_histogram_sum(&h)) && isfinite(pfs_histogram_mean(&h)));
            CHECK(isinf(pfs_histogram_variance(&h)));
            pfs_histogram_clear(&h);
        }
    }
}

TEST(rejected_touch_nothing)
{
    static const double bad[] = {(double)NAN,       -(double)NAN, (double)INFINITY,
                                 -(double)INFINITY, -1.0,         -DBL_TRUE_MIN};
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            CHECK(pfs_histogram_record(&h, bad[i]) == PFS_OK);
            CHECK(pfs_histogram_record_n(&h, bad[i], 2) == PFS_OK);
        }
        CHECK(pfs_histogram_record_many(&h, bad, sizeof bad / sizeof *bad) == PFS_OK);
        CHECK(h.rejected_nan == 8 + 8u * (unsigned)round);
        CHECK(h.rejected_inf == 8 + 8u * (unsigned)round);
        CHECK(h.rejected_negative == 8 + 8u * (unsigned)round);
        CHECK(pfs_histogram_count(&h) == (round == 0 ? 0 : 1));
        CHECK(pfs_histogram_record(&h, 5.0) == PFS_OK);
    }
    CHECK(pfs_histogram_sum(&h) == 10.0 && pfs_histogram_max(&h) == 5.0);
    CHECK(pfs_histogram_variance(&h) == 0.0);
    pfs_histogram_clear(&h);
}

TEST(nothing_recorded)
{
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    double x = 42.0;
    CHECK(pfs_histogram_quantile(&h, 0.5, &x) == PFS_EEMPTY && x == 42.0);
    CHECK(pfs_histogram_quantile(&h, 1.5, &x) == PFS_EINVAL && x == 42.0);
    CHECK(pfs_histogram_quantile(&h, (double)NAN, &x) == PFS_EINVAL && x == 42.0);
    CHECK(isnan(pfs_histogram_mean(&h)) && isnan(pfs_histogram_min(&h)));
    CHECK(isnan(pfs_histogram_max(&h)) && isnan(pfs_histogram_variance(&h)));
    CHECK(pfs_histogram_sum(&h) == 0.0 && pfs_histogram_rank(&h, 1.0) == 0);
    CHECK(pfs_histogram_record(&h, 3.0) == PFS_OK);
    CHECK(isnan(pfs_histogram_variance(&h)));
    pfs_histogram_reset(&h);
    CHECK(pfs_histogram_count(&h) == 0 && isnan(pfs_histogram_min(&h)));
    pfs_histogram_clear(&h);
}

TEST(moments_keep_their_digits)
{
    /* Values 1e9 from zero that differ by little: squares about zero would lose every digit. */
    pfs_histogram h, halves[2];
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_init(&halves[0], 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_init(&halves[1], 7, pfs_alloc_libc()) == PFS_OK);
    long double sum = 0.0L, squares = 0.0L;
    for (int i = 0; i < N; i++) {
        double x = 1e9 + (double)(i % 10) * 0x1.0p-10;
        sum += (long double)x;
        CHECK(pfs_histogram_record(&h, x) == PFS_OK);
        CHECK(pfs_histogram_record(&halves[i > N / 3], x) == PFS_OK);
    }
    long double mean = sum / N;
    for (int i = 0; i < N; i++) {
        long double d = (long double)(1e9 + (double)(i % 10) * 0x1.0p-10) - mean;
        squares += d * d;
    }
    double variance = (double)(squares / (N - 1));
    CHECK(close_to(pfs_histogram_sum(&h), (double)sum, 2e-16));
    CHECK(close_to(pfs_histogram_variance(&h), variance, 1e-9));
    CHECK(pfs_histogram_merge(&halves[0], &halves[1]) == PFS_OK);
    CHECK(close_to(pfs_histogram_sum(&halves[0]), (double)sum, 2e-16));
    CHECK(close_to(pfs_histogram_variance(&halves[0]), variance, 1e-9));
    CHECK(pfs_histogram_equal(&h, &halves[0]));
    pfs_histogram_clear(&h);
    pfs_histogram_clear(&halves[0]);
    pfs_histogram_clear(&halves[1]);
}

TEST(merge_is_exact)
{
    make_values(5, 40.0, 0.05);
    pfs_histogram all = filled(9), parts[3], sum;
    CHECK(pfs_histogram_init(&sum, 9, pfs_alloc_libc()) == PFS_OK);
    for (size_t p = 0; p < 3; p++) {
        CHECK(pfs_histogram_init(&parts[p], 9, pfs_alloc_libc()) == PFS_OK);
        for (size_t i = p; i < N; i += 3) {
            CHECK(pfs_histogram_record(&parts[p], values[i]) == PFS_OK);
        }
    }
    for (size_t p = 0; p < 3; p++) {
        CHECK(pfs_histogram_merge(&sum, &parts[p]) == PFS_OK);
        check_whole(&sum);
    }
    CHECK(pfs_histogram_equal(&sum, &all));
    CHECK(close_to(pfs_histogram_variance(&sum), pfs_histogram_variance(&all), 1e-12));
    CHECK(pfs_histogram_merge(&sum, &sum) == PFS_OK);
    CHECK(pfs_histogram_count(&sum) == 2 * N);
    check_whole(&sum);
    CHECK(!pfs_histogram_equal(&sum, &all));
    pfs_histogram other;
    CHECK(pfs_histogram_init(&other, 8, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_merge(&sum, &other) == PFS_EMISMATCH);
    pfs_histogram_clear(&sum);
    pfs_histogram_clear(&all);
    for (size_t p = 0; p < 3; p++) {
        pfs_histogram_clear(&parts[p]);
    }
}

TEST(many_at_once_is_one_by_one)
{
    for (int shape = 0; shape < 4; shape++) {
        make_values(100 + (uint64_t)shape, shape == 3 ? 1000.0 : 6.0, shape == 1 ? 0.01 : 0.0);
        if (shape == 2) {
            values[17] = (double)NAN;
            values[5000] = -1.0;
            values[9999] = (double)INFINITY;
            values[12000] = DBL_TRUE_MIN;
        }
        pfs_histogram one = filled(7), many, tallied;
        CHECK(pfs_histogram_init(&many, 7, pfs_alloc_libc()) == PFS_OK);
        CHECK(pfs_histogram_init(&tallied, 7, pfs_alloc_libc()) == PFS_OK);
        CHECK(pfs_histogram_record_many(&many, values, 1500) == PFS_OK);
        CHECK(pfs_histogram_record_many(&many, values + 1500, N - 1500) == PFS_OK);
        check_whole(&many);
        CHECK(pfs_histogram_equal(&one, &many));
        CHECK(close_to(pfs_histogram_sum(&one), pfs_histogram_sum(&many), 1e-15));
        CHECK(close_to(pfs_histogram_variance(&one), pfs_histogram_variance(&many), 1e-12));
        pfs_tally tally;
        CHECK(pfs_tally_init(&tally, 7, pfs_alloc_libc()) == PFS_OK);
        tally.limit = 700; /* a table that would wrap after one block and a bit */
        for (size_t i = 0; i < N; i += 777) {
            CHECK(pfs_tally_add(&tally, values + i, N - i < 777 ? N - i : 777) == PFS_OK);
            CHECK(tally.held <= 700);
        }
        CHECK(pfs_tally_merge(&tally, &tallied) == PFS_OK);
        CHECK(pfs_tally_merge(&tally, &tallied) == PFS_OK); /* empty now */
        CHECK(pfs_histogram_equal(&one, &tallied));
        pfs_tally_clear(&tally);
        pfs_histogram_clear(&one);
        pfs_histogram_clear(&many);
        pfs_histogram_clear(&tallied);
    }
}

TEST(weights_and_their_limit)
{
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 2.0, UINT64_C(1) << 60) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 4.0, UINT64_C(1) << 60) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 4.0, 0) == PFS_OK);
    CHECK(pfs_histogram_mean(&h) == 3.0);
    CHECK(close_to(pfs_histogram_variance(&h), 1.0, 1e-12));
    CHECK(pfs_histogram_record_n(&h, 1.0, UINT64_MAX) == PFS_ERANGE);
    CHECK(pfs_histogram_record_n(&h, 1.0, INT64_MAX) == PFS_ERANGE);
    CHECK(pfs_histogram_merge(&h, &h) == PFS_OK);
    CHECK(pfs_histogram_merge(&h, &h) == PFS_ERANGE);
    CHECK(pfs_histogram_count(&h) == UINT64_C(1) << 62);
    double x;
    CHECK(pfs_histogram_quantile(&h, 0.5, &x) == PFS_OK && close_to(x, 2.0, 0.004));
    CHECK(pfs_histogram_quantile(&h, 0.500001, &x) == PFS_OK && close_to(x, 4.0, 0.004));
    check_whole(&h);
    pfs_histogram_clear(&h);
}

TEST(a_held_table_outlives_growth)
{
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_hold(&h) == NULL);
    CHECK(pfs_histogram_record(&h, 1.0) == PFS_OK);
    pfs_histogram_table *table = pfs_histogram_hold(&h);
    CHECK(pfs_histogram_record(&h, 1.0) == PFS_OK);
    CHECK(table->counts[0] == 2); /* live */
    CHECK(pfs_histogram_record(&h, 1e6) == PFS_OK);
    CHECK(pfs_histogram_record(&h, 1.0) == PFS_OK);
    CHECK(pfs_histogram_rank(&h, 2.0) == 3);
    CHECK(table->counts[0] == 2 && h.table != table && table->references == 1); /* frozen */
    pfs_histogram_let_go(&h, table);
    /* A view of the present table: live, and recording is fast again when it ends. */
    table = pfs_histogram_hold(&h);
    pfs_histogram_table *second = pfs_histogram_hold(&h);
    CHECK(second == table && h.keys == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(pfs_histogram_record(&h, 1.0) == PFS_OK);
        CHECK(table->counts[0] == 4 + (unsigned)i);
    }
    pfs_histogram_let_go(&h, table);
    CHECK(h.keys == 0);
    pfs_histogram_let_go(&h, second);
    CHECK(h.keys == table->length);
    check_whole(&h);
    pfs_histogram_clear(&h);
}

TEST(bytes_come_back)
{
    CHECK(pfs_histogram_crc32c((const unsigned char *)"123456789", 9) == 0xE3069283u);
    for (int shape = 0; shape < 4; shape++) {
        make_values(50 + (uint64_t)shape, shape == 2 ? 1000.0 : 5.0, shape == 1 ? 1.0 : 0.2);
        pfs_histogram h = filled(7), back;
        if (shape == 3) {
            pfs_histogram_reset(&h);
        }
        CHECK(pfs_histogram_record(&h, (double)NAN) == PFS_OK);
        CHECK(pfs_histogram_record_n(&h, -1.0, 300) == PFS_OK);
        unsigned char *bytes, *again;
        size_t length, length_again;
        CHECK(pfs_histogram_encode(&h, &bytes, &length) == PFS_OK);
        CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_OK);
        check_whole(&back);
        CHECK(pfs_histogram_equal(&h, &back));
        CHECK(pfs_histogram_sum(&h) == pfs_histogram_sum(&back));
        CHECK(memcmp(&h.moments, &back.moments, sizeof h.moments) == 0);
        CHECK(pfs_histogram_encode(&back, &again, &length_again) == PFS_OK);
        CHECK(length == length_again && memcmp(bytes, again, length) == 0);
        for (size_t cut = 0; cut < length; cut += 1 + cut / 16) {
            CHECK(pfs_histogram_decode(&back, bytes, cut, pfs_alloc_libc()) != PFS_OK);
        }
        for (size_t i = 0; i < length; i += 1 + i / 16) {
            bytes[i] ^= 4;
            CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) != PFS_OK);
            bytes[i] ^= 4;
        }
        bytes[4] = 2;
        CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_EVERSION);
        bytes[4] = 1;
        bytes[length - 1] ^= 1;
        CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_ECHECKSUM);
        free(bytes);
        free(again);
        pfs_histogram_clear(&h); /* back was made once and holds what that gave it */
        pfs_histogram_clear(&back);
    }
}

TEST(bytes_of_an_uneven_load_come_back)
{
    /* The mean falls by 300 orders of magnitude in one step: what is written must be readable. */
    pfs_histogram h, back;
    CHECK(pfs_histogram_init(&h, 7, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 1.23e300, 3) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 1.1e290, 7) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 1.0, UINT64_C(1) << 60) == PFS_OK);
    unsigned char *bytes;
    size_t length;
    CHECK(pfs_histogram_encode(&h, &bytes, &length) == PFS_OK);
    CHECK(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_OK);
    CHECK(close_to(pfs_histogram_mean(&back), (3.69e300 + 7.7e290) / 0x1p60, 1e-12));
    free(bytes);
    pfs_histogram_clear(&h);
    pfs_histogram_clear(&back);
}

static bool scenario(const pfs_alloc *alloc)
{
    pfs_histogram h, copy, back;
    bool ok = false;
    CHECK(pfs_histogram_init(&h, 5, alloc) == PFS_OK);
    bool through = true;
    for (int i = 0; i < 40; i++) {
        uint64_t before = pfs_histogram_count(&h);
        pfs_status status = pfs_histogram_record(&h, ldexp(1.0, i % 2 ? i : -i));
        CHECK(status == PFS_OK || status == PFS_ENOMEM);
        CHECK(pfs_histogram_count(&h) == before + (status == PFS_OK));
        through = through && status == PFS_OK;
    }
    uint64_t before = pfs_histogram_count(&h);
    pfs_status status = pfs_histogram_record_many(&h, values, N);
    CHECK(pfs_histogram_count(&h) == before + (status == PFS_OK ? N : 0));
    through = through && status == PFS_OK;
    status = pfs_histogram_record_n(&h, 1e-200, 7);
    through = through && status == PFS_OK;
    check_whole(&h);
    if (pfs_histogram_copy(&copy, &h, alloc) == PFS_OK) {
        CHECK(pfs_histogram_equal(&h, &copy));
        uint64_t copied = pfs_histogram_count(&copy);
        status = pfs_histogram_record_n(&copy, 1e200, 1);
        CHECK(pfs_histogram_count(&copy) == copied + (status == PFS_OK));
        CHECK(pfs_histogram_count(&h) == copied);
        before = pfs_histogram_count(&h);
        status = pfs_histogram_merge(&h, &copy);
        CHECK(pfs_histogram_count(&h) ==
              before + (status == PFS_OK ? pfs_histogram_count(&copy) : 0));
        through = through && status == PFS_OK;
        unsigned char *bytes;
        size_t length;
        if (pfs_histogram_encode(&h, &bytes, &length) == PFS_OK) {
            if (pfs_histogram_decode(&back, bytes, length, alloc) == PFS_OK) {
                CHECK(pfs_histogram_equal(&h, &back));
                pfs_histogram_clear(&back);
                ok = through;
            }
            pfs_alloc_release(alloc, bytes);
        }
        pfs_histogram_clear(&copy);
    }
    check_whole(&h);
    pfs_histogram_clear(&h);
    return ok;
}

TEST(every_allocation_may_fail)
{
    make_values(77, 20.0, 0.01);
    CHECK(torture(scenario) > 10);
}

int main(void)
{
    RUN(precision_has_bounds);
    RUN(quantiles_are_within_half_a_bucket);
    RUN(rank_is_the_inverse_of_quantile);
    RUN(edges_of_the_doubles);
    RUN(rejected_touch_nothing);
    RUN(nothing_recorded);
    RUN(moments_keep_their_digits);
    RUN(merge_is_exact);
    RUN(many_at_once_is_one_by_one);
    RUN(weights_and_their_limit);
    RUN(a_held_table_outlives_growth);
    RUN(bytes_come_back);
    RUN(bytes_of_an_uneven_load_come_back);
    RUN(every_allocation_may_fail);
    FINISH();
}
