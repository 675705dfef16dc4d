/* How often something happened in the last minute, in bounded memory.
 *
 * One slot for each second of the clock; a slot that is found to be of an earlier round counts
 * from 0 again.  The minute is the running second and the 59 before it, so that what is told is
 * up to a second short of sixty, and no event is told of twice.
 *
 * Allocates nothing.  Thread rule: one owner at a time.
 */
#ifndef PFS_MINUTE_H
#define PFS_MINUTE_H

#include <stdint.h>

#define PFS_MINUTE_SECONDS 60
#define PFS_MINUTE_SLOTS   64 /* a power of two, so that a slot is found without a division */

typedef struct {
    int64_t second[PFS_MINUTE_SLOTS]; /* of the clock; -1: never used */
    uint64_t count[PFS_MINUTE_SLOTS];
} pfs_minute;

void pfs_minute_init(pfs_minute *minute);

/* One more at `now_ns` (monotonic, 0 or more; an earlier time counts as 0).  A time before the
 * slot's own second, which another thread's later event has taken already, counts in that slot. */
void pfs_minute_add(pfs_minute *minute, int64_t now_ns);

/* How many were added in the last minute before `now_ns`. */
uint64_t pfs_minute_count(const pfs_minute *minute, int64_t now_ns);

#endif
