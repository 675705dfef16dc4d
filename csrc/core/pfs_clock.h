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

/* The same clock as it stood at the kernel's last tick: never ahead of pfs_clock_ns, behind by 1 to
 * 10 ms (CLOCK_MONOTONIC_COARSE; CONFIG_HZ), about 6 ns.  The exact time where there is no such
 * clock. */
static inline int64_t pfs_clock_behind_ns(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + (int64_t)now.tv_nsec;
#else
    return pfs_clock_ns();
#endif
}

#endif
