/* Token buckets against an exact model, and the keyed table against the single bucket. */
#include "harness.h"

#include "pfs_bucket_keyed.h"
#include "pfs_rng.h"

#define SECOND INT64_C(1000000000)

static int take(pfs_bucket *bucket, int64_t now, double n)
{
    int64_t cost = pfs_rate_cost(&bucket->rate, n);
    return cost >= 0 && pfs_bucket_take(bucket, now, cost);
}

TEST(bad_rates)
{
    pfs_rate rate;
    CHECK(pfs_rate_init(&rate, -1.0, 1.0) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, (double)NAN, 1.0) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, 1.0, 0.0) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, 1.0, (double)NAN) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, 1.0, (double)INFINITY) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, 1.0, 0x1p51) == PFS_EINVAL);
    CHECK(pfs_rate_init(&rate, 1.0, 0x1p50) == PFS_OK);
}

TEST(every_rate_gives_its_burst_and_no_more)
{
    static const double rates[] = {0.0, 5e-324, 1e-300, 1e-12, 1e-3,  1.0 / 3.0, 1.0,
                                   1.5, 3.0,    7.0,    1e3,   1e6,   3e8,       7e8,
                                   1e9, 1e12,   1e15,   1e18,  1e100, 1.7e308};
    static const double capacities[] = {1.0, 2.0, 3.0, 7.0, 1000.0};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
            for (int start = -1; start <= 1; start++) {
                pfs_bucket bucket;
                int64_t now = start * (INT64_MAX / 2);
                CHECK(pfs_bucket_init(&bucket, rates[r], capacities[c], now) == PFS_OK);
                CHECK(bucket.rate.burst > 0 && bucket.rate.burst <= (INT64_C(1) << 60) + 4096);
                int granted = 0;
                while (take(&bucket, now, 1.0) && granted < 2000) {
                    granted++;
                }
                CHECK(granted == (int)capacities[c]);
                CHECK(!take(&bucket, now, 1.0));
                double left = pfs_bucket_available(&bucket, now);
                CHECK(left >= 0.0 && left < 1e-9);
                CHECK(pfs_bucket_wait(&bucket, now, bucket.rate.period) > 0.0);
            }
        }
    }
}

TEST(refill_is_exact_to_a_millionth)
{
    static const double rates[] = {1e-9, 1e-6, 0.3, 1.0 / 3.0, 1.0, 7.0, 999.0, 1e6, 3e8, 7e8};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        pfs_bucket bucket;
        CHECK(pfs_bucket_init(&bucket, rates[r], 1e9, 5) == PFS_OK);
        CHECK(take(&bucket, 5, 1e9));
        CHECK(!take(&bucket, 5, 1.0));
        double wait = pfs_bucket_wait(&bucket, 5, pfs_rate_cost(&bucket.rate, 1e6));
        CHECK(fabs(wait * rates[r] / 1e6 - 1.0) < 1e-6);
        if (wait < 1e9) {
            CHECK(!take(&bucket, 5 + (int64_t)(wait * 0.999999 * 1e9), 1e6));
            CHECK(take(&bucket, 5 + (int64_t)ceil(wait * 1e9) + 1, 1e6));
        }
    }
}

TEST(the_clock_may_step_back)
{
    pfs_bucket bucket;
    CHECK(pfs_bucket_init(&bucket, 1.0, 2.0, 100 * SECOND) == PFS_OK);
    CHECK(take(&bucket, 200 * SECOND, 2.0));
    CHECK(!take(&bucket, 50 * SECOND, 1.0)); /* neither refilled */
    CHECK(pfs_bucket_available(&bucket, 0) == 0.0);
    CHECK(!take(&bucket, INT64_MIN, 1.0));
    CHECK(!take(&bucket, 200 * SECOND + SECOND / 2, 1.0));
    CHECK(take(&bucket, 201 * SECOND, 1.0));
    CHECK(pfs_bucket_available(&bucket, 300 * SECOND) == 2.0);
    CHECK(take(&bucket, 0, 2.0)); /* nor drained */
    CHECK(!take(&bucket, 0, 1.0));
}

TEST(ages_pass)
{
    /* Every fine tick makes the epoch move; nothing overflows (the sanitizer looks on). */
    static const double rates[] = {1e-300, 1e-9, 1.0, 1e6, 1e12, 1e18};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        for (int shift = 20; shift < 63; shift += 3) {
            pfs_bucket bucket;
            CHECK(pfs_bucket_init(&bucket, rates[r], 3.0, INT64_MIN) == PFS_OK);
            int64_t now = INT64_MIN;
            for (int i = 0; i < 40; i++) {
                (void)take(&bucket, now, 3.0);
                CHECK(bucket.full_at >= 0 && bucket.latest >= 0);
                CHECK(bucket.full_at <= (INT64_C(1) << 62) + (INT64_C(1) << 60) + 4096);
                now = now > INT64_MAX - (INT64_C(1) << shift) ? INT64_MAX
                                                              : now + (INT64_C(1) << shift);
            }
        }
    }
    pfs_bucket bucket;
    CHECK(pfs_bucket_init(&bucket, 1e6, 10.0, 0) == PFS_OK);
    CHECK(bucket.rate.shift > 0);
    int64_t edge = bucket.rate.horizon;
    CHECK(take(&bucket, edge - 1000, 10.0));
    CHECK(!take(&bucket, edge - 1, 1.0));
    CHECK(take(&bucket, edge, 1.0)); /* the epoch moves here: one token came back, not ten */
    CHECK(!take(&bucket, edge, 1.0));
    CHECK(!take(&bucket, edge + 999, 1.0));
    CHECK(take(&bucket, edge + 1000, 1.0));
}

TEST(fractions)
{
    pfs_bucket bucket;
    CHECK(pfs_bucket_init(&bucket, 3.0, 1.0, 0) == PFS_OK);
    for (int i = 0; i < 10; i++) {
        CHECK(take(&bucket, 0, 0.1));
    }
    CHECK(!take(&bucket, 0, 0.1));
    CHECK(pfs_bucket_init(&bucket, 1.0, 2.5, 0) == PFS_OK);
    CHECK(take(&bucket, 0, 2.5));
    CHECK(!take(&bucket, 0, 0.001));
    CHECK(pfs_rate_cost(&bucket.rate, 2.6) == -1);
    CHECK(pfs_bucket_init(&bucket, (double)INFINITY, 2.0, 0) == PFS_OK);
    for (int i = 0; i < 100; i++) {
        CHECK(take(&bucket, INT64_MIN + i, 2.0));
    }
    CHECK(!take(&bucket, 0, 3.0));
    CHECK(pfs_bucket_available(&bucket, 0) == 2.0);
}

/* ---- many keys ---- */

static char names[5000]; /* a key is the address of one */

static int same(void *context, void *stored, void *wanted)
{
    (void)context;
    return stored == wanted;
}

static pfs_keyed_taken keyed_take(pfs_keyed *keyed, uint64_t hash, size_t key, int64_t now,
                                  double n)
{
    pfs_keyed_taken taken;
    int64_t cost = pfs_rate_cost(pfs_keyed_rate(keyed), n);
    CHECK(pfs_keyed_take(keyed, hash, &names[key], now, cost, same, NULL, &taken) == PFS_OK);
    return taken;
}

static void against_buckets(uint64_t hashes, double rate, int64_t step, size_t keys, int rounds)
{
    pfs_keyed *keyed = NULL;
    pfs_bucket *model = malloc(keys * sizeof *model);
    bool held[5000] = {false};
    pfs_rng rng;
    pfs_rng_seed(&rng, hashes + keys);
    CHECK(pfs_keyed_create(pfs_alloc_libc(), rate, 3.0, keys, 7, 0, &keyed) == PFS_OK);
    for (size_t i = 0; i < keys; i++) {
        CHECK(pfs_bucket_init(&model[i], rate, 3.0, 0) == PFS_OK);
    }
    int64_t now = 0;
    for (int i = 0; i < rounds; i++) {
        now += (int64_t)pfs_rng_below(&rng, (uint64_t)step);
        size_t key = pfs_rng_below(&rng, 4) == 0 ? pfs_rng_below(&rng, keys)
                                                 : pfs_rng_below(&rng, keys / 10 + 1);
        double n = 1.0 + (double)pfs_rng_below(&rng, 3);
        double seconds = -1.0;
        int64_t cost = pfs_rate_cost(&model[key].rate, n);
        CHECK(pfs_keyed_wait(keyed, key % hashes, &names[key], now, cost, same, NULL, &seconds) ==
              PFS_OK);
        CHECK(seconds == pfs_bucket_wait(&model[key], now, cost));
        pfs_keyed_taken taken = keyed_take(keyed, key % hashes, key, now, n);
        CHECK(taken.allowed == take(&model[key], now, n));
        for (unsigned d = 0; d < taken.drops; d++) {
            size_t gone = (size_t)((char *)taken.dropped[d] - names);
            CHECK(held[gone]);
            held[gone] = false;
            CHECK(pfs_bucket_available(&model[gone], now) == 3.0 || gone == key);
        }
        CHECK(!taken.stored || !held[key]);
        held[key] |= taken.stored;
        if (i % 100 == 0) {
            size_t live = 0, cursor = 0, kept = 0;
            for (size_t k = 0; k < keys; k++) {
                live += pfs_bucket_available(&model[k], now) < 3.0;
                kept += held[k];
            }
            CHECK(pfs_keyed_live(keyed, now) == live);
            CHECK(live <= kept);
            for (void *at; (at = pfs_keyed_next(keyed, &cursor)) != NULL; kept--) {
                CHECK(held[(char *)at - names]);
            }
            CHECK(kept == 0);
        }
    }
    CHECK(pfs_keyed_refused(keyed) == 0);
    pfs_keyed_destroy(keyed);
    free(model);
}

TEST(keyed_is_a_bucket_a_key)
{
    against_buckets(5000, 10.0, SECOND / 100, 50, 20000);
    against_buckets(5000, 10.0, SECOND / 1000, 3000, 30000); /* many live, chains split */
    against_buckets(3, 10.0, SECOND / 100, 60, 5000);        /* colliding hashes */
    against_buckets(5000, 1e12, SECOND, 20, 5000);           /* the epoch moves all the time */
    against_buckets(5000, 0.0, SECOND, 500, 5000);           /* nothing ever goes idle */
}

TEST(keyed_is_bounded_and_lets_idle_keys_go)
{
    pfs_keyed *keyed = NULL;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), 1.0, 1.0, 1000, 7, 0, &keyed) == PFS_OK);
    for (size_t i = 0; i < 1000; i++) {
        pfs_keyed_taken taken = keyed_take(keyed, i, i, (int64_t)i * 1000, 1.0);
        CHECK(taken.allowed && taken.stored && taken.drops == 0);
    }
    pfs_keyed_taken taken = keyed_take(keyed, 1000, 1000, SECOND / 2, 1.0);
    CHECK(!taken.allowed && !taken.stored && taken.drops == 0);
    CHECK(pfs_keyed_refused(keyed) == 1);
    double seconds = 0.0;
    CHECK(pfs_keyed_wait(keyed, 1000, &names[1000], SECOND / 2,
                         pfs_rate_cost(pfs_keyed_rate(keyed), 1.0), same, NULL,
                         &seconds) == PFS_OK);
    CHECK(seconds == 0.5);
    CHECK(!keyed_take(keyed, 1000, 1000, SECOND - 1, 1.0).allowed);
    taken = keyed_take(keyed, 1000, 1000, SECOND, 1.0); /* the moment the first is full again */
    CHECK(taken.allowed && taken.drops == 1 && taken.dropped[0] == &names[0]);
    CHECK(!keyed_take(keyed, 1001, 1001, SECOND, 1.0).allowed);
    /* The next to go is asked for again and stays; the one after it goes. */
    CHECK(keyed_take(keyed, 1, 1, SECOND + 1500, 1.0).allowed);
    taken = keyed_take(keyed, 1001, 1001, SECOND + 2500, 1.0);
    CHECK(taken.allowed && taken.drops == 1 && taken.dropped[0] == &names[2]);
    CHECK(pfs_keyed_live(keyed, SECOND + 2500) == 1000);
    CHECK(pfs_keyed_live(keyed, 100 * SECOND) == 0);
    /* Two idle keys go with every call. */
    size_t held = 1000;
    for (size_t i = 0; i < 600 && held > 1; i++) {
        held -= keyed_take(keyed, 5, 5, 100 * SECOND, 0.5).drops;
    }
    CHECK(held == 1);
    CHECK(pfs_keyed_bytes(keyed) <= 40 * 1024 + 512);
    pfs_keyed_destroy(keyed);
}

/* A clock whose earlier reading is `lag` behind, and how often the exact one was read. */
static int64_t true_ns, lag_ns;
static int exact_reads;

static int64_t lagging(bool exact)
{
    exact_reads += exact;
    return exact ? true_ns : true_ns - lag_ns;
}

/* Takes at random times from two tables, of which one is told the exact time always; how often
 * their answers, or the time until a key is full again, differ. */
static int differences(double rate, int64_t step, int64_t lag, int rounds)
{
    pfs_keyed *exact = NULL, *lazy = NULL;
    pfs_rng rng;
    int differ = 0;
    pfs_rng_seed(&rng, (uint64_t)step);
    true_ns = 0;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), rate, 20.0, 50, 7, 0, &exact) == PFS_OK);
    CHECK(pfs_keyed_create(pfs_alloc_libc(), rate, 20.0, 50, 7, 0, &lazy) == PFS_OK);
    int64_t one = pfs_rate_cost(pfs_keyed_rate(lazy), 1.0);
    int64_t all = pfs_rate_cost(pfs_keyed_rate(lazy), 20.0);
    for (int i = 0; i < rounds; i++) {
        true_ns += (int64_t)pfs_rng_below(&rng, (uint64_t)step);
        lag_ns = lag == 0 ? 0 : (int64_t)pfs_rng_below(&rng, (uint64_t)lag + 1);
        size_t key = pfs_rng_below(&rng, 60); /* more than the table holds */
        int64_t cost = one * (int64_t)(1 + pfs_rng_below(&rng, 4));
        pfs_keyed_taken now, maybe;
        CHECK(pfs_keyed_take(exact, key, &names[key], true_ns, cost, same, NULL, &now) == PFS_OK);
        CHECK(pfs_keyed_take_by(lazy, key, &names[key], lagging, cost, same, NULL, &maybe) ==
              PFS_OK);
        differ += now.allowed != maybe.allowed;
        if (i % 10 == 0) { /* seldom, for it tells both the time */
            double full = -1.0, full_too = -2.0;
            CHECK(pfs_keyed_wait(exact, key, &names[key], true_ns, all, same, NULL, &full) ==
                  PFS_OK);
            CHECK(pfs_keyed_wait(lazy, key, &names[key], true_ns, all, same, NULL, &full_too) ==
                  PFS_OK);
            differ += now.allowed && full != full_too;
        }
    }
    pfs_keyed_destroy(exact);
    pfs_keyed_destroy(lazy);
    return differ;
}

TEST(a_clock_that_is_behind_changes_nothing)
{
    const double rates[] = {0.0, 0.01, 5.0, 100.0, 1e6, 1e9};
    for (int r = 0; r < 6; r++) {
        for (int64_t step = 1000; step <= SECOND; step *= 100) {
            CHECK(differences(rates[r], step, PFS_KEYED_BEHIND_NS, 3000) == 0);
        }
    }
}

/* The negative control: a clock further behind than it may be is found out. */
TEST(a_clock_that_is_too_far_behind_changes_something)
{
    pfs_keyed *keyed = NULL;
    pfs_keyed_taken taken;
    double seconds = 0.0;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), 5.0, 20.0, 50, 7, 0, &keyed) == PFS_OK);
    int64_t one = pfs_rate_cost(pfs_keyed_rate(keyed), 1.0);
    int64_t all = pfs_rate_cost(pfs_keyed_rate(keyed), 20.0);
    for (true_ns = SECOND; true_ns <= 3 * SECOND; true_ns += 2 * SECOND) {
        lag_ns = true_ns - SECOND;
        CHECK(pfs_keyed_take_by(keyed, 1, &names[1], lagging, one, same, NULL, &taken) == PFS_OK);
    }
    CHECK(pfs_keyed_wait(keyed, 1, &names[1], 3 * SECOND, all, same, NULL, &seconds) == PFS_OK);
    CHECK(seconds == 0.0); /* one token is out since 3 s, but the table took it for 1 s */
    pfs_keyed_destroy(keyed);
}

TEST(the_exact_time_is_read_only_where_it_matters)
{
    pfs_keyed *keyed = NULL;
    pfs_keyed_taken taken;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), 10.0, 20.0, 50, 7, 0, &keyed) == PFS_OK);
    int64_t one = pfs_rate_cost(pfs_keyed_rate(keyed), 1.0);
    true_ns = SECOND;
    lag_ns = SECOND / 250;
    exact_reads = 0;
    for (int i = 0; i < 21; i++) { /* new: exact; refused: exact before it is said */
        CHECK(pfs_keyed_take_by(keyed, 1, &names[1], lagging, one, same, NULL, &taken) == PFS_OK);
        CHECK(taken.allowed == (i < 20));
        CHECK(exact_reads == (i < 20 ? 1 : 2));
    }
    true_ns += SECOND / 10; /* the moment one token is back, which the earlier time is before */
    CHECK(pfs_keyed_take_by(keyed, 1, &names[1], lagging, one, same, NULL, &taken) == PFS_OK);
    CHECK(taken.allowed && exact_reads == 3);
    true_ns += 10 * SECOND; /* full again */
    CHECK(pfs_keyed_take_by(keyed, 1, &names[1], lagging, one, same, NULL, &taken) == PFS_OK);
    CHECK(taken.allowed && exact_reads == 4);
    pfs_keyed_destroy(keyed);
}

TEST(keyed_bytes_a_key)
{
    pfs_keyed *keyed = NULL;
    pfs_keyed_taken taken;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), 0.0, 1.0, 200000, 7, 0, &keyed) == PFS_OK);
    for (uint64_t i = 0; i < 200000; i++) { /* hashes differ after mixing, so equal is not asked */
        CHECK(pfs_keyed_take(keyed, i << 32, (void *)(uintptr_t)(i + 1), 0, 1, same, NULL,
                             &taken) == PFS_OK);
        CHECK(taken.stored);
    }
    CHECK(pfs_keyed_bytes(keyed) <= 40u * 200000);
    pfs_keyed_destroy(keyed);
}

typedef struct {
    pfs_keyed *keyed;
    int calls, fail_at;
} meddler;

/* Stores further keys in the middle of a search (which splits chains), and may fail. */
static int meddles(void *context, void *stored, void *wanted)
{
    meddler *m = context;
    int call = ++m->calls;
    if (call == m->fail_at) {
        return -1;
    }
    if (call <= 300) {
        pfs_keyed_taken taken;
        CHECK(pfs_keyed_take(m->keyed, (uint64_t)call + 100, &names[1000 + call], call, 1, same,
                             NULL, &taken) == PFS_OK);
    }
    return stored == wanted;
}

TEST(keyed_search_survives_its_callback)
{
    meddler m = {0};
    pfs_keyed_taken taken;
    CHECK(pfs_keyed_create(pfs_alloc_libc(), 0.0, 5.0, 4000, 7, 0, &m.keyed) == PFS_OK);
    for (size_t key = 0; key < 10; key++) {
        CHECK(keyed_take(m.keyed, 1, key, 0, 1.0).stored);
    }
    CHECK(pfs_keyed_take(m.keyed, 1, &names[0], 0, 1, meddles, &m, &taken) == PFS_OK);
    CHECK(taken.allowed && !taken.stored);
    CHECK(m.calls > 300);
    CHECK(pfs_keyed_live(m.keyed, 0) == 310);
    CHECK(pfs_keyed_take(m.keyed, 1, &names[99], 0, 1, meddles, &m, &taken) == PFS_OK);
    CHECK(taken.stored);
    m.fail_at = m.calls + 3;
    CHECK(pfs_keyed_take(m.keyed, 1, &names[98], 0, 1, meddles, &m, &taken) == PFS_ECALLBACK);
    CHECK(!taken.allowed && !taken.stored);
    CHECK(pfs_keyed_live(m.keyed, 0) == 311);
    pfs_keyed_destroy(m.keyed);
}

static bool fills_a_table(const pfs_alloc *alloc)
{
    pfs_keyed *keyed = NULL;
    if (pfs_keyed_create(alloc, 0.0, 2.0, 3000, 7, 0, &keyed) != PFS_OK) {
        return false;
    }
    bool whole = true;
    size_t stored = 0;
    for (size_t key = 0; key < 3000; key++) {
        pfs_keyed_taken taken;
        pfs_status status = pfs_keyed_take(keyed, key, &names[key], 0, 1, same, NULL, &taken);
        whole &= status == PFS_OK;
        CHECK(status == PFS_OK || status == PFS_ENOMEM);
        CHECK(taken.stored == (status == PFS_OK));
        stored += taken.stored;
    }
    CHECK(pfs_keyed_live(keyed, 0) == stored);
    for (size_t key = 0; key < 10; key++) { /* still usable */
        CHECK(keyed_take(keyed, key, key, 0, 1.0).allowed || !whole);
    }
    pfs_keyed_destroy(keyed);
    return whole;
}

TEST(keyed_without_memory)
{
    CHECK(torture(fills_a_table) > 10);
}

int main(void)
{
    RUN(bad_rates);
    RUN(every_rate_gives_its_burst_and_no_more);
    RUN(refill_is_exact_to_a_millionth);
    RUN(the_clock_may_step_back);
    RUN(ages_pass);
    RUN(fractions);
    RUN(keyed_is_a_bucket_a_key);
    RUN(keyed_is_bounded_and_lets_idle_keys_go);
    RUN(a_clock_that_is_behind_changes_nothing);
    RUN(a_clock_that_is_too_far_behind_changes_something);
    RUN(the_exact_time_is_read_only_where_it_matters);
    RUN(keyed_bytes_a_key);
    RUN(keyed_search_survives_its_callback);
    RUN(keyed_without_memory);
    FINISH();
}
