/* A token bucket; one for each of many keys is pfs_bucket_keyed.
 *
 * A bucket holds up to `capacity` tokens and gains `rate` a second.  The clock is the caller's:
 * every call takes `now_ns`, monotonic nanoseconds.  A reading earlier than one seen before is
 * taken for that one, so a clock that steps back neither refills a bucket nor drains it.
 *
 * Thread rule: one caller at a time for an object.
 */
#ifndef PFS_BUCKET_H
#define PFS_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

#define PFS_RATE_MAX_CAPACITY 1125899906842624.0 /* 2^50 */

/* A rate and a capacity in whole ticks.  A tick is 2^-shift ns, chosen for each rate. */
typedef struct {
    double rate, capacity;
    int64_t period;  /* ticks that one token takes to come back */
    int64_t burst;   /* ticks that a whole bucket takes to come back */
    int64_t horizon; /* ns after its epoch at which a clock must be rebased */
    int shift;
    bool never; /* rate 0, or so small that a whole bucket takes over 10^10 years to come back */
    bool free;  /* rate infinite: always full */
} pfs_rate;

/* PFS_EINVAL unless rate >= 0 (infinity allowed) and 0 < capacity <= 2^50.  The rate is held to
 * better than 1 part in 10^6 as long as capacity <= 2^39 and rate <= 10^12. */
pfs_status pfs_rate_init(pfs_rate *rate, double per_second, double capacity);

/* Ticks that `n` tokens cost, or -1 when n > capacity: no wait is long enough.  n > 0, not NaN. */
int64_t pfs_rate_cost(const pfs_rate *rate, double n);

/* A length of ticks in seconds, rounded up to the ns. */
double pfs_rate_seconds(const pfs_rate *rate, int64_t ticks);

typedef struct {
    pfs_rate rate;
    int64_t epoch_ns, latest; /* when tick 0 was; the latest tick seen */
    int64_t full_at;          /* the tick at which the bucket is full again */
} pfs_bucket;

/* A full bucket.  Returns as pfs_rate_init. */
pfs_status pfs_bucket_init(pfs_bucket *bucket, double per_second, double capacity, int64_t now_ns);

/* Takes tokens that cost `cost` (of pfs_rate_cost, not -1), all or none. */
bool pfs_bucket_take(pfs_bucket *bucket, int64_t now_ns, int64_t cost);

/* Seconds until such a take would succeed, if nobody takes in between: 0 when at once, INFINITY
 * when never. */
double pfs_bucket_wait(pfs_bucket *bucket, int64_t now_ns, int64_t cost);

/* Tokens in the bucket, 0 ... capacity. */
double pfs_bucket_available(pfs_bucket *bucket, int64_t now_ns);

#endif
