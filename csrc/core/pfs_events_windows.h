/* What happened in each second of a run.
 *
 * A row of windows from `start_ns` on, one second wide.  There are never more than `most`: when a
 * later one is needed, neighbours are added together in pairs and the width doubles.  The same is
 * done when there is no memory for more, so finding a window cannot fail.  Times before the start
 * belong to the first window.  Thread rule: one owner at a time.
 */
#ifndef PFS_EVENTS_WINDOWS_H
#define PFS_EVENTS_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

typedef struct {
    /* By the second in which the request was due: */
    int64_t due;                            /* requests, of warm-up too */
    int64_t warmup;                         /* those of warm-up */
    int64_t ok, failed;                     /* how they ended (cancelled ones are neither) */
    int64_t over_limit;                     /* ok, but with a response time over the limit */
    double sum_ms;                          /* response times of the ok ones, */
    double max_ms;                          /* and the longest */
    int64_t good;                           /* ok and within every objective, of warm-up none */
    int64_t visible_tokens, visible_chunks; /* of the ok ones that came in chunks, likewise */
    /* By the second in which it happened: */
    int64_t finished;      /* requests that ended, however; cancelled ones left out */
    int64_t tokens;        /* tokens that arrived */
    int64_t in_flight_max; /* the most in flight */
    int64_t waiting;       /* requests begun before and not ended as the second began */
} pfs_events_window;

typedef struct {
    pfs_events_window *windows;
    size_t used, capacity, most;
    int64_t start_ns, width_ns;
    size_t reached; /* the last window whose in_flight_max and waiting are set */
    const pfs_alloc *alloc;
} pfs_events_windows;

/* `most` >= 2.  PFS_EINVAL, PFS_ENOMEM: then there is nothing to clear. */
pfs_status pfs_events_windows_init(pfs_events_windows *w, size_t most, int64_t start_ns,
                                   const pfs_alloc *alloc);
void pfs_events_windows_clear(pfs_events_windows *w);

/* The window of `at_ns`.  Never NULL; valid until the next call. */
pfs_events_window *pfs_events_windows_at(pfs_events_windows *w, int64_t at_ns);

/* To be called before each change in what is in flight, with the counts before it: every second
 * entered since the last call held so many. */
void pfs_events_windows_advance(pfs_events_windows *w, int64_t at_ns, int64_t in_flight,
                                int64_t unfinished);

#endif
