/* The clock of a bucket, in ticks: what pfs_bucket and pfs_bucket_keyed share, inline for both. */
#ifndef PFS_BUCKET_TICKS_H
#define PFS_BUCKET_TICKS_H

#include <math.h>

#include "pfs_bucket.h"

#define PFS_TICKS_MAX (INT64_C(1) << 60)

/* Nanoseconds since the epoch, 0 if before it; a difference of any two int64 fits the result. */
static inline uint64_t pfs_tick_since(int64_t epoch_ns, int64_t now_ns)
{
    return now_ns <= epoch_ns ? 0 : (uint64_t)now_ns - (uint64_t)epoch_ns;
}

static inline int64_t pfs_tick_of(const pfs_rate *rate, uint64_t elapsed_ns)
{
    if (rate->never | rate->free) {
        return 0;
    }
    return rate->shift >= 0 ? (int64_t)(elapsed_ns << rate->shift)
                            : (int64_t)(elapsed_ns >> -rate->shift);
}

/* How far the ticks of a clock must be moved back, its horizon reached: all of them, when the
 * clock went on for so long that nothing can still be due. */
static inline int64_t pfs_tick_rebase(const pfs_rate *rate, uint64_t elapsed_ns)
{
    if (rate->shift < 0) {
        return INT64_MAX;
    }
    return elapsed_ns >= (uint64_t)(INT64_MAX >> rate->shift) ? INT64_MAX
                                                              : pfs_tick_of(rate, elapsed_ns);
}

static inline int64_t pfs_tick_back(int64_t tick, int64_t by)
{
    return tick > by ? tick - by : 0;
}

/* The tick that it is now, never before one returned earlier. */
static inline int64_t pfs_tick_now(pfs_bucket *bucket, int64_t now_ns)
{
    uint64_t elapsed = pfs_tick_since(bucket->epoch_ns, now_ns);
    if (elapsed >= (uint64_t)bucket->rate.horizon) {
        if (!(bucket->rate.never | bucket->rate.free)) {
            bucket->full_at =
                pfs_tick_back(bucket->full_at, pfs_tick_rebase(&bucket->rate, elapsed));
            bucket->epoch_ns = now_ns;
            bucket->latest = 0;
        }
        elapsed = 0;
    }
    int64_t tick = pfs_tick_of(&bucket->rate, elapsed);
    if (tick > bucket->latest) {
        bucket->latest = tick;
    }
    return bucket->latest;
}

/* Seconds from `now` until `cost` more fits before the burst. */
static inline double pfs_tick_wait(const pfs_rate *rate, int64_t full_at, int64_t now, int64_t cost)
{
    int64_t short_by = (full_at > now ? full_at - now : 0) + cost - rate->burst;
    if (rate->free || short_by <= 0) {
        return 0.0;
    }
    return rate->never ? (double)INFINITY : pfs_rate_seconds(rate, short_by);
}

#endif
