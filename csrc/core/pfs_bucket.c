/* The generic cell rate algorithm (GCRA; ITU-T I.371, ATM Forum TM 4.1): a bucket is one number,
 * the time at which it will be full again.  n tokens push that time n periods on, from now if it
 * is past; they are granted if it then is no more than the burst ahead.  Nothing is ever
 * "refilled", so nothing runs while a bucket is idle.
 *
 * Times are whole ticks, so that sums are exact: capacity takes of 1 always cost what one take of
 * capacity costs.  A nanosecond would be too coarse a tick for 10^9 tokens a second and too fine
 * for one a year, so a tick is 2^-shift ns, with the shift chosen such that a period has 2^20 ticks
 * if the burst then still fits into 2^60.  Ticks count from an epoch that is moved up when they
 * near 2^61; no product or sum here can overflow.
 */
#include "pfs_bucket.h"

#include <math.h>

#include "pfs_bucket_ticks.h"

pfs_status pfs_rate_init(pfs_rate *rate, double per_second, double capacity)
{
    if (!(per_second >= 0.0) || !(capacity > 0.0) || capacity > PFS_RATE_MAX_CAPACITY) {
        return PFS_EINVAL;
    }
    *rate = (pfs_rate){.rate = per_second,
                       .capacity = capacity,
                       .burst = INT64_MAX,
                       .horizon = INT64_MAX,
                       .free = isinf(per_second) != 0};
    /* The most ticks that a period may have.  floor(capacity) >= 1 period must fit, and 2^50 of
     * 2^10. */
    double most = fmin((double)PFS_TICKS_MAX, (double)PFS_TICKS_MAX / capacity);
    double period_ns = fmax(1e9 / per_second, 0x1p-60); /* infinite at rate 0 */
    int shift = -31;
    if (isfinite(period_ns) && !rate->free) {
        int fine = 0, room = 0;
        (void)frexp(0x1p20 / period_ns, &fine); /* period_ns * 2^fine >= 2^20 */
        (void)frexp(most / period_ns, &room);   /* period_ns * 2^(room - 1) <= most */
        shift = fine > 30 ? 30 : fine < 0 ? 0 : fine;
        shift = room - 1 < shift ? room - 1 : shift;
    }
    if (shift < -30) { /* or the bucket is free: then the clock stands still, which does no harm */
        rate->never = !rate->free;
        rate->period = (int64_t)fmin(0x1p20, floor(most));
        rate->shift = 0;
    } else {
        double ticks = round(ldexp(period_ns, shift));
        rate->period = (int64_t)fmax(1.0, fmin(ticks, floor(most)));
        rate->shift = shift;
        rate->horizon = shift < 0 ? INT64_MAX : (PFS_TICKS_MAX << 1) >> shift;
    }
    rate->burst = pfs_rate_cost(rate, capacity);
    return PFS_OK;
}

int64_t pfs_rate_cost(const pfs_rate *rate, double n)
{
    if (n > rate->capacity) {
        return -1;
    }
    if (n == floor(n)) {
        return (int64_t)n * rate->period;
    }
    int64_t cost = (int64_t)(n * (double)rate->period);
    return cost < 1 ? 1 : cost > rate->burst ? rate->burst : cost;
}

double pfs_rate_seconds(const pfs_rate *rate, int64_t ticks)
{
    if (rate->shift <= 0) {
        return ldexp((double)ticks, -rate->shift) / 1e9;
    }
    int64_t mask = (INT64_C(1) << rate->shift) - 1;
    return (double)((ticks >> rate->shift) + ((ticks & mask) != 0)) / 1e9;
}

pfs_status pfs_bucket_init(pfs_bucket *bucket, double per_second, double capacity, int64_t now_ns)
{
    pfs_rate rate;
    pfs_status status = pfs_rate_init(&rate, per_second, capacity);
    if (status == PFS_OK) {
        *bucket = (pfs_bucket){.rate = rate, .epoch_ns = now_ns};
    }
    return status;
}

bool pfs_bucket_take(pfs_bucket *bucket, int64_t now_ns, int64_t cost)
{
    if (bucket->rate.free) {
        return true;
    }
    int64_t now = pfs_tick_now(bucket, now_ns);
    int64_t full_at = (bucket->full_at > now ? bucket->full_at : now) + cost;
    if (full_at - now > bucket->rate.burst) {
        return false;
    }
    bucket->full_at = full_at;
    return true;
}

double pfs_bucket_wait(pfs_bucket *bucket, int64_t now_ns, int64_t cost)
{
    int64_t now = pfs_tick_now(bucket, now_ns);
    return pfs_tick_wait(&bucket->rate, bucket->full_at, now, cost);
}

double pfs_bucket_available(pfs_bucket *bucket, int64_t now_ns)
{
    const pfs_rate *rate = &bucket->rate;
    int64_t now = pfs_tick_now(bucket, now_ns);
    if (bucket->full_at <= now) {
        return rate->capacity;
    }
    return fmin((double)(rate->burst - (bucket->full_at - now)) / (double)rate->period,
                rate->capacity);
}
