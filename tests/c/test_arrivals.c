/* The schedules of an open loop: exact where they are exact, unbiased where they are random. */
#include "harness.h"

#include "pfs_arrivals.h"

static int64_t next(pfs_arrivals *arrivals)
{
    int64_t due = -1;
    CHECK(pfs_arrivals_next(arrivals, &due) == PFS_OK);
    return due;
}

TEST(constant_does_not_drift_over_days)
{
    pfs_arrivals_spec spec = {.kind = PFS_ARRIVALS_CONSTANT, .rate = 3.0};
    pfs_arrivals arrivals;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    CHECK(next(&arrivals) == 0);
    CHECK(next(&arrivals) == 333333333);
    CHECK(next(&arrivals) == 666666667);
    CHECK(next(&arrivals) == 1000000000);
    for (int64_t days = 1; days <= 64; days *= 2) {
        arrivals.whole = days * 86400 * 3 + 1; /* as if so many had fallen due */
        int64_t expected = days * 86400 * INT64_C(1000000000) + 333333333;
        CHECK(llabs(next(&arrivals) - expected) <= 1);
    }
    spec.rate = 1e9;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    for (int64_t i = 0; i < 1000; i++) {
        CHECK(next(&arrivals) == i);
    }
}

TEST(poisson_gaps_are_exponential)
{
    pfs_arrivals_spec spec = {.kind = PFS_ARRIVALS_POISSON, .rate = 250.0, .seed = 7};
    pfs_arrivals arrivals;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    enum { COUNT = 100000 };
    double sum = 0.0, squares = 0.0, both = 0.0, previous_gap = 0.0;
    int64_t last = 0;
    int long_gaps = 0;
    for (int i = 0; i < COUNT; i++) {
        int64_t due = next(&arrivals);
        CHECK(due >= last);
        double gap = (double)(due - last) * 1e-9 * spec.rate;
        last = due;
        sum += gap;
        squares += gap * gap;
        both += (gap - 1.0) * (previous_gap - 1.0);
        previous_gap = gap;
        long_gaps += gap > 3.0;
    }
    double mean = sum / COUNT, variance = squares / COUNT - mean * mean;
    CHECK(fabs(mean - 1.0) < 0.015);    /* 4.7 standard errors */
    CHECK(fabs(variance - 1.0) < 0.05); /* an exponential's variance is its mean squared */
    CHECK(fabs(both / COUNT) < 0.02);   /* gaps know nothing of one another */
    CHECK(fabs(long_gaps / 4978.7 - 1.0) < 0.065); /* exp(-3) of them */
}

TEST(poisson_is_the_same_for_a_seed_and_another_for_another)
{
    pfs_arrivals_spec spec = {.kind = PFS_ARRIVALS_POISSON, .rate = 10.0, .seed = 1};
    pfs_arrivals a, b, c;
    CHECK(pfs_arrivals_init(&a, &spec) == PFS_OK);
    CHECK(pfs_arrivals_init(&b, &spec) == PFS_OK);
    spec.seed = 2;
    CHECK(pfs_arrivals_init(&c, &spec) == PFS_OK);
    int equal = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t due = next(&a);
        CHECK(due == next(&b));
        equal += due == next(&c);
    }
    CHECK(equal < 3);
}

TEST(ramp_follows_its_line)
{
    pfs_arrivals_spec spec = {
        .kind = PFS_ARRIVALS_RAMP, .start_rate = 0.0, .rate = 100.0, .duration_s = 10.0};
    pfs_arrivals arrivals;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    for (int n = 0; n <= 500; n++) { /* L(t) = 5 t^2 */
        CHECK(fabs((double)next(&arrivals) - 1e9 * sqrt(n / 5.0)) <= 1.0);
    }
    for (int n = 1; n <= 100; n++) { /* then 100 a second for ever */
        CHECK(llabs(next(&arrivals) - (INT64_C(10000000000) + n * INT64_C(10000000))) <= 1);
    }
    spec.start_rate = 100.0; /* and down to nothing: an end */
    spec.rate = 0.0;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    int64_t due = 0;
    for (int n = 0; n <= 500; n++) {
        CHECK(pfs_arrivals_next(&arrivals, &due) == PFS_OK);
    }
    CHECK(due == INT64_C(10000000000));
    CHECK(pfs_arrivals_next(&arrivals, &due) == PFS_EEMPTY);
    CHECK(pfs_arrivals_next(&arrivals, &due) == PFS_EEMPTY);
    CHECK(due == INT64_C(10000000000));
}

TEST(step_climbs_its_stairs)
{
    pfs_arrivals_spec spec = {
        .kind = PFS_ARRIVALS_STEP, .start_rate = 10.0, .rate = 30.0, .duration_s = 6.0, .steps = 3};
    for (int random = 0; random < 2; random++) {
        int counts[8] = {0};
        for (uint64_t seed = 0; seed < (random ? 400 : 1); seed++) {
            spec.random = random != 0;
            spec.seed = seed;
            pfs_arrivals arrivals;
            CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
            for (int64_t due = next(&arrivals); due < INT64_C(8000000000); due = next(&arrivals)) {
                counts[due / 1000000000]++;
            }
        }
        static const int rates[8] = {10, 10, 20, 20, 30, 30, 30, 30};
        for (int second = 0; second < 8; second++) {
            double expected = rates[second] * (random ? 400.0 : 1.0);
            CHECK(fabs(counts[second] - expected) <= (random ? 4.5 * sqrt(expected) : 0.0));
        }
    }
    /* Stairs that begin at a standstill are passed over; one stair is a constant rate. */
    pfs_arrivals arrivals;
    spec.random = false;
    spec.start_rate = 0.0;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    CHECK(next(&arrivals) == INT64_C(2000000000));
    spec.steps = 1;
    CHECK(pfs_arrivals_init(&arrivals, &spec) == PFS_OK);
    CHECK(next(&arrivals) == 0);
    CHECK(next(&arrivals) == 33333333);
}

TEST(nonsense_is_refused_and_touches_nothing)
{
    pfs_arrivals arrivals = {.whole = 42};
    static const pfs_arrivals_spec wrong[] = {
        {.kind = PFS_ARRIVALS_KINDS, .rate = 1.0},
        {.kind = PFS_ARRIVALS_CONSTANT, .rate = 0.0},
        {.kind = PFS_ARRIVALS_CONSTANT, .rate = -1.0},
        {.kind = PFS_ARRIVALS_POISSON, .rate = NAN},
        {.kind = PFS_ARRIVALS_POISSON, .rate = INFINITY},
        {.kind = PFS_ARRIVALS_RAMP, .rate = 1.0, .duration_s = 0.0},
        {.kind = PFS_ARRIVALS_RAMP, .rate = 1.0, .duration_s = INFINITY},
        {.kind = PFS_ARRIVALS_RAMP, .rate = 1.0, .duration_s = NAN},
        {.kind = PFS_ARRIVALS_RAMP, .rate = 0.0, .start_rate = 0.0, .duration_s = 1.0},
        {.kind = PFS_ARRIVALS_RAMP, .rate = 1.0, .start_rate = NAN, .duration_s = 1.0},
        {.kind = PFS_ARRIVALS_STEP, .rate = 1.0, .duration_s = 1.0, .steps = 0},
        {.kind = PFS_ARRIVALS_STEP, .rate = 1.0, .duration_s = 1.0, .steps = UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(pfs_arrivals_init(&arrivals, &wrong[i]) == PFS_EINVAL);
        CHECK(arrivals.whole == 42);
    }
    /* The clock's end is an end, not an overflow. */
    pfs_arrivals_spec slow = {.kind = PFS_ARRIVALS_CONSTANT, .rate = 1e-10};
    CHECK(pfs_arrivals_init(&arrivals, &slow) == PFS_OK);
    CHECK(next(&arrivals) == 0);
    int64_t due = 5;
    CHECK(pfs_arrivals_next(&arrivals, &due) == PFS_EEMPTY);
    CHECK(due == 5);
}

int main(void)
{
    RUN(constant_does_not_drift_over_days);
    RUN(poisson_gaps_are_exponential);
    RUN(poisson_is_the_same_for_a_seed_and_another_for_another);
    RUN(ramp_follows_its_line);
    RUN(step_climbs_its_stairs);
    RUN(nonsense_is_refused_and_touches_nothing);
    FINISH();
}
