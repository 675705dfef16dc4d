/* Kernel stamps as CLOCK_MONOTONIC.
 *
 * The kernel stamps packets with CLOCK_REALTIME, which can be set.  What lies between the two
 * clocks is measured by reading one between two readings of the other, and measured again each
 * second; NTP slews both alike, so that it changes only when the wall clock is set.
 *
 * Thread rule: one owner.
 */
#ifndef PFS_WIRE_CLOCK_H
#define PFS_WIRE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define PFS_WIRE_PAIR_NS INT64_C(1000000000)
#define PFS_WIRE_STEP_NS INT64_C(100000) /* more than two pairs can differ by in measuring */

typedef struct {
    int64_t offset_ns; /* monotonic - wall clock */
    int64_t due_ns;    /* of the next pair */
    uint64_t pairs, steps, dropped;
    int64_t suspect_ns; /* stamps before this instant lie before a step */
} pfs_wire_clock;

/* Takes the first pair. */
void pfs_wire_clock_init(pfs_wire_clock *clock);

/* Takes another pair when it is time. */
void pfs_wire_clock_renew(pfs_wire_clock *clock, int64_t now_ns);

/* Tells it a pair's offset. */
void pfs_wire_clock_learn(pfs_wire_clock *clock, int64_t offset_ns, int64_t now_ns);

/* *at_ns: what the kernel's stamp in the control data of `message` is on the monotonic clock; id
 * (may be NULL): which byte it is of, in an error queue's message.  False, *at_ns untouched, when
 * there is none, or it does not lie in not_before_ns ... now_ns (counted in dropped). */
bool pfs_wire_clock_read(pfs_wire_clock *clock, struct msghdr *message, int64_t not_before_ns,
                         int64_t now_ns, int64_t *at_ns, uint32_t *id);

#endif
