/* What a response that has ended measures: its row's stamps as a value of every metric. */
#ifndef PFS_EVENTS_MEASURE_H
#define PFS_EVENTS_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "pfs_events.h"

/* A request from its begin to its end; stamps in ns, PFS_EVENTS_NONE where there is none. */
typedef struct {
    int64_t tag, due, sent, first, answer, last, visible_last, max_gap;
    uint64_t tokens, visible_tokens;
    uint32_t chunks, visible_chunks;
    int64_t slice;       /* of its due time, in units of PFS_EVENTS_FIRST_SLICE_NS */
    uint32_t generation; /* odd while the row is live: half of its handle */
    uint32_t next_free;
    bool warmup, was_sent;
} pfs_events_request;

/* later - earlier, 0 when it is not later. */
static inline int64_t pfs_events_since(int64_t later, int64_t earlier)
{
    if (later <= earlier) {
        return 0;
    }
    uint64_t gap = (uint64_t)later - (uint64_t)earlier;
    return gap > INT64_MAX ? INT64_MAX : (int64_t)gap;
}

static inline double pfs_events_milliseconds(int64_t ns)
{
    return (double)ns * 1e-6;
}

/* A response's value of every metric; NaN where it has none.  `completion`: its tokens, told or
 * counted, -1 when unknown. */
void pfs_events_measure(const pfs_events_request *request, const pfs_events_outcome *outcome,
                        int64_t completion, int64_t at_ns, double values[PFS_EVENTS_METRICS]);

/* Whether such values keep all objectives (NaN: none for that metric).  What has no token times is
 * held against the time of the whole response. */
bool pfs_events_meets(const double objectives[PFS_EVENTS_METRICS],
                      const double values[PFS_EVENTS_METRICS]);

#endif
