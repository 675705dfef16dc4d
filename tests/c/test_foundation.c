/* The parts that every other part stands on: allocator, generator, clock. */
#include "harness.h"

#include "pfs_clock.h"
#include "pfs_rng.h"

TEST(alloc_refuses_overflow)
{
    const pfs_alloc *alloc = pfs_alloc_libc();
    CHECK(pfs_alloc_array(alloc, SIZE_MAX / 2, 3) == NULL);
    CHECK(pfs_alloc_array(alloc, 0, 8) == NULL);
    CHECK(pfs_alloc_zeroed(alloc, SIZE_MAX, SIZE_MAX) == NULL);
    unsigned char *block = pfs_alloc_zeroed(alloc, 3, 5);
    CHECK(block != NULL);
    for (int i = 0; i < 15; i++) {
        CHECK(block[i] == 0);
    }
    CHECK(pfs_alloc_resize(alloc, block, SIZE_MAX / 2, 3) == NULL); /* block still ours */
    pfs_alloc_release(alloc, block);
    pfs_alloc_release(alloc, NULL);
}

TEST(rng_is_the_published_one)
{
    /* splitmix64 from 0 fills the state with its published first outputs. */
    pfs_rng rng;
    pfs_rng_seed(&rng, 0);
    CHECK(rng.s[0] == UINT64_C(0xe220a8397b1dcdaf));
    CHECK(rng.s[1] == UINT64_C(0x6e789e6aa1b965f4));
    CHECK(rng.s[2] == UINT64_C(0x06c45d188009454f));
    CHECK(rng.s[3] == UINT64_C(0xf88bb8a8724c81ec));
    /* xoshiro256** from {1, 2, 3, 4}: its published first outputs. */
    rng = (pfs_rng){{1, 2, 3, 4}};
    CHECK(pfs_rng_next(&rng) == 11520);
    CHECK(pfs_rng_next(&rng) == 0);
    CHECK(pfs_rng_next(&rng) == 1509978240);
    CHECK(pfs_rng_next(&rng) == UINT64_C(1215971899390074240));
}

TEST(rng_ranges)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, 42);
    unsigned counts[7] = {0};
    double sum = 0.0;
    for (int i = 0; i < 70000; i++) {
        uint64_t below = pfs_rng_below(&rng, 7);
        CHECK(below < 7);
        counts[below]++;
        double u = pfs_rng_double(&rng);
        CHECK(u >= 0.0 && u < 1.0);
        double e = pfs_rng_exponential(&rng);
        CHECK(e >= 0.0 && isfinite(e));
        sum += e;
    }
    for (int i = 0; i < 7; i++) {
        CHECK(counts[i] > 9500 && counts[i] < 10500);
    }
    CHECK(fabs(sum / 70000.0 - 1.0) < 0.02);
    CHECK(pfs_rng_below(&rng, 1) == 0);
}

TEST(clock_never_steps_back)
{
    int64_t last = pfs_clock_ns();
    for (int i = 0; i < 10000; i++) {
        int64_t now = pfs_clock_ns();
        CHECK(now >= last);
        last = now;
    }
}

static void *kept;

static bool keeps_a_block(const pfs_alloc *alloc)
{
    kept = pfs_alloc_array(alloc, 1, 1);
    return kept != NULL;
}

TEST(harness_finds_a_leak)
{
    /* The detector's negative control: a block that is not released must be counted. */
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    CHECK(keeps_a_block(&alloc));
    CHECK(state.live == 1);
    pfs_alloc_release(&alloc, kept);
    CHECK(state.live == 0);
    state.fail_from = 2;
    CHECK(!keeps_a_block(&alloc));
}

int main(void)
{
    RUN(alloc_refuses_overflow);
    RUN(rng_is_the_published_one);
    RUN(rng_ranges);
    RUN(clock_never_steps_back);
    RUN(harness_finds_a_leak);
    FINISH();
}
