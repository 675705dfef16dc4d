/* Statistics: values known in closed form, and every allocation failed in turn. */
#include "harness.h"

#include "pfs_stats.h"

static bool near(double a, double b, double relative)
{
    return fabs(a - b) <= relative * fabs(b) + 1e-300;
}

TEST(keys_keep_the_order)
{
    double values[] = {-INFINITY, -1e300, -1.0, -1e-310, 0.0, 1e-310, 1.0, 1e300, INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        CHECK(pfs_stats_value(pfs_stats_key(values[i])) == values[i]);
        CHECK(i == 0 || pfs_stats_key(values[i - 1]) < pfs_stats_key(values[i]));
    }
    CHECK(pfs_stats_key(-0.0) == pfs_stats_key(0.0));
}

static bool is_sorted(const uint64_t *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (keys[i - 1] > keys[i]) {
            return false;
        }
    }
    return true;
}

TEST(sorts_whatever_the_range)
{
    enum { N = 5000 };
    static uint64_t keys[N], spare[N];
    pfs_rng rng;
    pfs_rng_seed(&rng, 1);
    for (int kind = 0; kind < 7; kind++) {
        uint64_t sum = 0, after = 0;
        for (size_t i = 0; i < N; i++) {
            uint64_t low = pfs_rng_below(&rng, 1000), any = pfs_rng_next(&rng);
            uint64_t kinds[] = {any,
                                low,
                                UINT64_MAX - low,
                                i == 7 ? UINT64_MAX : low, /* one outlier: only low digits differ */
                                5,
                                N - i,
                                any & UINT64_C(0x800000000000ffff)};
            keys[i] = kinds[kind];
            sum += keys[i];
        }
        CHECK(pfs_stats_sort_keys(keys, spare, N, pfs_alloc_libc()) == PFS_OK);
        CHECK(is_sorted(keys, N));
        for (size_t i = 0; i < N; i++) {
            after += keys[i];
        }
        CHECK(sum == after);
    }
}

TEST(selects_every_rank)
{
    double data[60], copy[60];
    pfs_rng rng;
    pfs_rng_seed(&rng, 3);
    for (size_t n = 1; n <= 60; n++) {
        for (size_t i = 0; i < n; i++) {
            data[i] = (double)pfs_rng_below(&rng, n / 2 + 1);
        }
        for (size_t rank = 0; rank < n; rank++) {
            memcpy(copy, data, n * sizeof *data);
            pfs_stats_select(copy, n, rank);
            size_t below = 0, equal = 0;
            for (size_t i = 0; i < n; i++) {
                below += data[i] < copy[rank];
                equal += data[i] == copy[rank];
            }
            CHECK(below <= rank && rank < below + equal);
        }
    }
}

TEST(distributions_in_closed_form)
{
    for (double x = 0.05; x < 1.0; x += 0.1) {
        CHECK(near(pfs_stats_beta_cdf(1, 1, x), x, 1e-14));
        CHECK(near(pfs_stats_beta_cdf(3, 1, x), x * x * x, 1e-13));
        CHECK(near(pfs_stats_beta_cdf(1, 4, x), 1 - pow(1 - x, 4), 1e-13));
        CHECK(near(pfs_stats_beta_quantile(3, 1, x), cbrt(x), 1e-13));
        CHECK(near(pfs_stats_t_tail(1 / x, 1), atan(x) / 3.141592653589793, 1e-12)); /* Cauchy */
        double t = pfs_stats_t_quantile(x, 2);
        CHECK(near(t, (2 * x - 1) / sqrt(2 * x * (1 - x)), 1e-11));
        CHECK(near(pfs_stats_normal_tail(-pfs_stats_normal_quantile(x)), x, 1e-13));
    }
    CHECK(isnan(pfs_stats_beta_cdf(0, 1, 0.5)) && isnan(pfs_stats_beta_cdf(1, 1, NAN)));
    CHECK(isnan(pfs_stats_t_quantile(0.5, 0)) && isnan(pfs_stats_t_tail(NAN, 1)));
    CHECK(isnan(pfs_stats_normal_quantile(1.5)) && isnan(pfs_stats_beta_quantile(1, 1, -1)));
    CHECK(isinf(pfs_stats_t_quantile(1, 3)) && isinf(pfs_stats_normal_quantile(0)));
}

TEST(ranks_of_p99)
{
    double low = -1, high = -1;
    CHECK(pfs_stats_quantile_ranks(298, 0.99, 0.95, &low, &high) == PFS_OK);
    CHECK(high == 0 && low > 0);
    CHECK(pfs_stats_quantile_ranks(299, 0.99, 0.95, &low, &high) == PFS_OK);
    CHECK(high == 299 && low > 0 && low < 296);
    CHECK(pfs_stats_quantile_ranks(299, 0.01, 0.95, &low, &high) == PFS_OK);
    CHECK(low == 1 && high > 4);
    CHECK(pfs_stats_samples_needed(0.99, 0.95) == 299);
    double kept = low;
    CHECK(pfs_stats_quantile_ranks(0, 0.5, 0.95, &low, &high) == PFS_EINVAL);
    CHECK(pfs_stats_quantile_ranks(9, 1, 0.95, &low, &high) == PFS_EINVAL);
    CHECK(pfs_stats_quantile_ranks(9, 0.5, NAN, &low, &high) == PFS_EINVAL);
    CHECK(low == kept);
    CHECK(pfs_stats_nearest_rank(100, 0.07) == 7 && pfs_stats_nearest_rank(3, 0) == 1);
    CHECK(pfs_stats_nearest_rank(3, 1) == 3 && pfs_stats_nearest_rank(2, 0.5) == 1);
}

TEST(bootstrap_draws_every_value_equally)
{
    /* Data with one 1 and else 0: a mean is (how often the 1 was drawn) / n. */
    static double data[70000], means[4000];
    size_t sizes[] = {1, 2, 3, 7, 1000, 70000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s], count = n > 1000 ? 200 : 4000;
        pfs_rng rng;
        pfs_rng_seed(&rng, n);
        memset(data, 0, sizeof data);
        data[n / 2] = 1.0;
        pfs_stats_bootstrap_means(data, n, &rng, means, count);
        double sum = 0.0;
        for (size_t i = 0; i < count; i++) {
            sum += means[i] * (double)n;
        }
        CHECK(fabs(sum - (double)count) < 4.5 * sqrt((double)count)); /* Poisson-like: its root */
    }
    /* In pieces as in one. */
    static double pieces[4000];
    pfs_rng one, two;
    pfs_rng_seed(&one, 9);
    pfs_rng_seed(&two, 9);
    for (size_t i = 0; i < 50; i++) {
        data[i] = (double)(i * i);
    }
    pfs_stats_bootstrap_means(data, 50, &one, means, 100);
    pfs_stats_bootstrap_means(data, 50, &two, pieces, 33);
    pfs_stats_bootstrap_means(data, 50, &two, pieces + 33, 67);
    CHECK(memcmp(means, pieces, 100 * sizeof *means) == 0);
}

TEST(mann_whitney_by_hand)
{
    double x[] = {1, 2, 3}, y[] = {4, 5, 6}, u, p;
    const pfs_alloc *libc = pfs_alloc_libc();
    CHECK(pfs_stats_mann_whitney(x, 3, y, 3, PFS_STATS_TWO_SIDED, libc, &u, &p) == PFS_OK);
    CHECK(u == 0 && near(p, 0.1, 1e-14)); /* 2 of the 20 arrangements */
    CHECK(pfs_stats_mann_whitney(x, 3, y, 3, PFS_STATS_LESS, libc, &u, &p) == PFS_OK);
    CHECK(near(p, 0.05, 1e-14));
    CHECK(pfs_stats_mann_whitney(x, 3, y, 3, PFS_STATS_GREATER, libc, &u, &p) == PFS_OK);
    CHECK(p == 1.0);
    CHECK(pfs_stats_mann_whitney(x, 0, y, 3, PFS_STATS_GREATER, libc, &u, &p) == PFS_EEMPTY);
}

enum { LONG = 1600 }; /* more pairs than are stored */
static double series[LONG], times[LONG];

static void fill_series(void)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, 2);
    for (size_t i = 0; i < LONG; i++) {
        times[i] = (double)i;
        series[i] = 3.0 * (double)i + (double)pfs_rng_below(&rng, 5) + (i >= 100 ? 1e4 : 0.0);
    }
}

TEST(trend_of_a_line)
{
    double y[] = {1, 3, 5, 7, 9, 11, 13}, same[] = {2, 2, 2, 2, 2, 2, 2};
    pfs_stats_line line = {-1, -1, -1, -1};
    const pfs_alloc *libc = pfs_alloc_libc();
    CHECK(pfs_stats_trend(y, times, 7, 0.95, 0, libc, &line) == PFS_OK);
    CHECK(line.slope == 2 && line.intercept == 1 && line.low == 2 && line.high == 2);
    CHECK(pfs_stats_trend(y, same, 7, 0.95, 0, libc, &line) == PFS_EEMPTY);
    CHECK(pfs_stats_trend(y, times, 1, 0.95, 0, libc, &line) == PFS_EINVAL);
    CHECK(pfs_stats_trend(y, times, 7, 1, 0, libc, &line) == PFS_EINVAL);
    double huge[] = {-1e308, 1e308, 1e308, 1e308};
    CHECK(pfs_stats_trend(huge, times, 2, 0.95, 0, libc, &line) == PFS_ERANGE);
    CHECK(line.slope == 2);
}

static bool stop_at_once(void *context)
{
    *(int *)context += 1;
    return true;
}

TEST(change_points_stop_and_refuse)
{
    size_t points[200], count = 77;
    int asked = 0;
    const pfs_alloc *libc = pfs_alloc_libc();
    CHECK(pfs_stats_change_points(series, 200, 3, 0.01, 999, 0, stop_at_once, &asked, libc, points,
                                  &count) == PFS_ECALLBACK);
    CHECK(asked == 1 && count == 77);
    CHECK(pfs_stats_change_points(series, 200, 1, 0.01, 99, 0, NULL, NULL, libc, points, &count) ==
          PFS_EINVAL);
    CHECK(pfs_stats_change_points(series, 3, 3, 0.01, 99, 0, NULL, NULL, libc, points, &count) ==
          PFS_OK);
    CHECK(count == 0);
}

static bool all_that_allocates(const pfs_alloc *alloc)
{
    double u, p, size;
    pfs_stats_line line;
    size_t points[200], count = 0;
    double little[] = {1, 2, 3};
    bool ok = pfs_stats_mann_whitney(series, 300, series + 9, 300, PFS_STATS_LESS, alloc, &u, &p) ==
              PFS_OK;
    ok =
        pfs_stats_mann_whitney(little, 3, series, 5, PFS_STATS_LESS, alloc, &u, &p) == PFS_OK && ok;
    ok = pfs_stats_trend(series, times, 50, 0.95, 0, alloc, &line) == PFS_OK && ok;
    ok = pfs_stats_effective_size(series, 200, alloc, &size) == PFS_OK && ok;
    ok = pfs_stats_change_points(series, 200, 3, 0.05, 99, 1, NULL, NULL, alloc, points, &count) ==
             PFS_OK &&
         ok;
    bool found = false; /* the line rises as well, so there are other steps */
    for (size_t i = 0; i < count; i++) {
        found |= points[i] == 100;
    }
    return ok && found;
}

static bool long_trend(const pfs_alloc *alloc)
{
    pfs_stats_line line;
    return pfs_stats_trend(series, times, LONG, 0.95, 0, alloc, &line) == PFS_OK;
}

TEST(no_allocation_may_hurt)
{
    CHECK(torture(all_that_allocates) > 20);
    CHECK(torture(long_trend) > 20);
}

int main(void)
{
    fill_series();
    RUN(keys_keep_the_order);
    RUN(sorts_whatever_the_range);
    RUN(selects_every_rank);
    RUN(distributions_in_closed_form);
    RUN(ranks_of_p99);
    RUN(bootstrap_draws_every_value_equally);
    RUN(mann_whitney_by_hand);
    RUN(trend_of_a_line);
    RUN(change_points_stop_and_refuse);
    RUN(no_allocation_may_hurt);
    FINISH();
}
