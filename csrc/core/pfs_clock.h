/* Monotonic nanoseconds.
 *
 * CLOCK_MONOTONIC: never steps, is slewed by NTP, is the clock of time.monotonic_ns() and
 * time.perf_counter_ns() on Linux, so stamps taken here and in Python can be compared.
 */
#ifndef PFS_CLOCK_H
#define PFS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Any thread.  Cannot fail on the platforms supported; about 20 ns. */
static inline int64_t pfs_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + (int64_t)now.tv_nsec;
}

#endif
