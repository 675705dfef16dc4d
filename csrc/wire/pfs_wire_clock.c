#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_clock.h"

#include <linux/errqueue.h>
#include <string.h>
#include <time.h>

#include "pfs_clock.h"

#define TRIES 5

static int64_t nanoseconds(const struct timespec *at)
{
    return (int64_t)at->tv_sec * INT64_C(1000000000) + (int64_t)at->tv_nsec;
}

/* The closest of a few brackets: one of them may have been interrupted. */
static int64_t measure(void)
{
    int64_t best = INT64_MAX, offset = 0;
    for (int i = 0; i < TRIES; i++) {
        struct timespec wall;
        int64_t before = pfs_clock_ns();
        clock_gettime(CLOCK_REALTIME, &wall);
        int64_t after = pfs_clock_ns();
        if (after - before < best) {
            best = after - before;
            offset = before + best / 2 - nanoseconds(&wall);
        }
    }
    return offset;
}

void pfs_wire_clock_init(pfs_wire_clock *clock)
{
    int64_t now = pfs_clock_ns();
    *clock = (pfs_wire_clock){.offset_ns = measure(),
                              .pairs = 1,
                              .due_ns = now + PFS_WIRE_PAIR_NS,
                              .suspect_ns = INT64_MIN};
}

void pfs_wire_clock_learn(pfs_wire_clock *clock, int64_t offset_ns, int64_t now_ns)
{
    int64_t moved = offset_ns - clock->offset_ns;
    clock->pairs++;
    if (moved > PFS_WIRE_STEP_NS || moved < -PFS_WIRE_STEP_NS) {
        clock->steps++;
        clock->suspect_ns = now_ns; /* what is stamped before now may be of either side */
    }
    clock->offset_ns = offset_ns;
    clock->due_ns = now_ns + PFS_WIRE_PAIR_NS;
}

void pfs_wire_clock_renew(pfs_wire_clock *clock, int64_t now_ns)
{
    if (now_ns >= clock->due_ns) {
        pfs_wire_clock_learn(clock, measure(), now_ns);
    }
}

bool pfs_wire_clock_read(pfs_wire_clock *clock, struct msghdr *message, int64_t not_before_ns,
                         int64_t now_ns, int64_t *at_ns, uint32_t *id)
{
    struct timespec stamp = {0};
    bool named = id == NULL;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPING) {
            struct scm_timestamping stamps;
            memcpy(&stamps, CMSG_DATA(c), sizeof stamps);
            stamp = stamps.ts[0];
        } else if (id != NULL && c->cmsg_len >= CMSG_LEN(sizeof(struct sock_extended_err))) {
            struct sock_extended_err error;
            memcpy(&error, CMSG_DATA(c), sizeof error);
            if (error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING) {
                *id = error.ee_data;
                named = true;
            }
        }
    }
    if (!named || (stamp.tv_sec == 0 && stamp.tv_nsec == 0)) {
        return false;
    }
    int64_t at = nanoseconds(&stamp) + clock->offset_ns;
    /* The two readings of a pair are some ten nanoseconds apart: a stamp may seem as much too
     * late, or too early. */
    if (at < not_before_ns - 1000 || at > now_ns + 1000 || at < clock->suspect_ns) {
        clock->dropped++;
        return false;
    }
    *at_ns = at > now_ns ? now_ns : at < not_before_ns ? not_before_ns : at;
    return true;
}
