/* Events of the last minute: none lost, none told of twice, none older. */
#include "harness.h"

#include "pfs_minute.h"

static const int64_t S = INT64_C(1000000000);

TEST(counts_the_running_second_and_the_59_before_it)
{
    pfs_minute minute;
    pfs_minute_init(&minute);
    CHECK(pfs_minute_count(&minute, 0) == 0);
    for (int64_t second = 0; second < 200; second++) {
        for (int64_t i = 0; i <= second % 3; i++) {
            pfs_minute_add(&minute, second * S + i);
        }
        uint64_t expected = 0;
        for (int64_t back = 0; back < 60 && back <= second; back++) {
            expected += (uint64_t)((second - back) % 3) + 1;
        }
        CHECK(pfs_minute_count(&minute, second * S + S - 1) == expected);
    }
}

TEST(forgets_what_is_older_than_a_minute)
{
    pfs_minute minute;
    pfs_minute_init(&minute);
    pfs_minute_add(&minute, 5 * S);
    CHECK(pfs_minute_count(&minute, 64 * S + S - 1) == 1);
    CHECK(pfs_minute_count(&minute, 65 * S) == 0);
    CHECK(pfs_minute_count(&minute, 500 * S) == 0);
    pfs_minute_add(&minute, 69 * S); /* the same slot, a round later */
    CHECK(pfs_minute_count(&minute, 69 * S) == 1);
}

TEST(an_earlier_time_is_not_lost_and_a_later_one_is_not_told_of_yet)
{
    pfs_minute minute;
    pfs_minute_init(&minute);
    pfs_minute_add(&minute, 70 * S);
    pfs_minute_add(&minute, 6 * S); /* its slot is 70's by now */
    CHECK(pfs_minute_count(&minute, 70 * S) == 2);
    CHECK(pfs_minute_count(&minute, 6 * S) == 0);
    pfs_minute_add(&minute, -S);
    CHECK(pfs_minute_count(&minute, 0) == 1);
}

int main(void)
{
    RUN(counts_the_running_second_and_the_59_before_it);
    RUN(forgets_what_is_older_than_a_minute);
    RUN(an_earlier_time_is_not_lost_and_a_later_one_is_not_told_of_yet);
    FINISH();
}
