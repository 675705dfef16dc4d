/* When requests fall due: the schedule of an open loop.
 *
 * A schedule is a rate over time r(t) and a way of spacing.  Let L(t) be the integral of r from 0
 * to t.  Evenly spaced arrivals fall where L reaches 0, 1, 2...; random ones where L reaches the
 * sums of unit exponentials, which makes them a Poisson process of rate r(t) (time rescaling:
 * Cinlar, Introduction to Stochastic Processes, 1975, ch. 4.7).  Each instant comes from the
 * position itself and never from the instant before, so that rounding does not add up: over ten
 * days an instant is off by no more than a nanosecond.
 *
 *   constant  evenly spaced at `rate`
 *   poisson   random at `rate`
 *   ramp      r(t) goes in a line from `start_rate` to `rate` over `duration_s`, then stays
 *   step      r(t) climbs `steps` equal stairs from `start_rate` to `rate`, each
 *             duration_s / steps long, then stays
 *
 * Allocates nothing.  Thread rule: one owner per schedule.
 */
#ifndef PFS_ARRIVALS_H
#define PFS_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "pfs_rng.h"
#include "pfs_status.h"

typedef enum {
    PFS_ARRIVALS_CONSTANT,
    PFS_ARRIVALS_POISSON,
    PFS_ARRIVALS_RAMP,
    PFS_ARRIVALS_STEP,
    PFS_ARRIVALS_KINDS
} pfs_arrivals_kind;

/* Rates are a second, at most a thousand million. */
typedef struct {
    pfs_arrivals_kind kind;
    double rate;       /* > 0; ramp and step: >= 0, and not both rates 0 */
    double start_rate; /* ramp and step: >= 0 */
    double duration_s; /* ramp and step: > 0 */
    uint32_t steps;    /* step: 1...1,000,000; with 1 the rate is `rate` from the start */
    bool random;       /* ramp and step: Poisson around r(t) instead of evenly spaced */
    uint64_t seed;     /* of random spacing */
} pfs_arrivals_spec;

typedef struct {
    pfs_arrivals_spec spec;
    pfs_rng rng;
    int64_t whole; /* the position: how much of L has been used up, whole part and fraction */
    double fraction;
    int64_t last_ns;
    uint32_t stair;     /* step: the stair that the position is on, */
    double stair_start; /* and L where it begins */
} pfs_arrivals;

/* PFS_OK, or PFS_EINVAL when a field of `spec` that its kind needs is out of range (NaN included):
 * then `arrivals` is untouched. */
pfs_status pfs_arrivals_init(pfs_arrivals *arrivals, const pfs_arrivals_spec *spec);

/* The next instant, in nanoseconds from the start of the schedule; never before the last one.
 * PFS_EEMPTY, now and for ever after, when there is none: the rate has fallen to 0, or 292 years
 * are over; `due_ns` is then untouched. */
pfs_status pfs_arrivals_next(pfs_arrivals *arrivals, int64_t *due_ns);

#endif
