#include "pfs_events_windows.h"

#include <string.h>

#define SECOND      INT64_C(1000000000)
#define FIRST_COUNT 64

pfs_status pfs_events_windows_init(pfs_events_windows *w, size_t most, int64_t start_ns,
                                   const pfs_alloc *alloc)
{
    if (most < 2) {
        return PFS_EINVAL;
    }
    size_t capacity = most < FIRST_COUNT ? most : FIRST_COUNT;
    pfs_events_window *windows = pfs_alloc_zeroed(alloc, capacity, sizeof *windows);
    if (windows == NULL) {
        return PFS_ENOMEM;
    }
    *w = (pfs_events_windows){.windows = windows,
                              .used = 1,
                              .capacity = capacity,
                              .most = most,
                              .start_ns = start_ns,
                              .width_ns = SECOND,
                              .alloc = alloc};
    return PFS_OK;
}

void pfs_events_windows_clear(pfs_events_windows *w)
{
    pfs_alloc_release(w->alloc, w->windows);
    w->windows = NULL;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void add(pfs_events_window *into, const pfs_events_window *from)
{
    into->due += from->due;
    into->warmup += from->warmup;
    into->ok += from->ok;
    into->failed += from->failed;
    into->over_limit += from->over_limit;
    into->sum_ms += from->sum_ms;
    into->max_ms = into->max_ms > from->max_ms ? into->max_ms : from->max_ms;
    into->good += from->good;
    into->visible_tokens += from->visible_tokens;
    into->visible_chunks += from->visible_chunks;
    into->finished += from->finished;
    into->tokens += from->tokens;
    into->in_flight_max = larger(into->in_flight_max, from->in_flight_max);
    into->waiting = larger(into->waiting, from->waiting);
}

/* Adds neighbours together in pairs; the width doubles. */
static void halve(pfs_events_windows *w)
{
    size_t pairs = (w->used + 1) / 2;
    for (size_t i = 0; i < pairs; i++) {
        pfs_events_window sum = w->windows[2 * i];
        if (2 * i + 1 < w->used) {
            add(&sum, &w->windows[2 * i + 1]);
        }
        w->windows[i] = sum;
    }
    memset(w->windows + pairs, 0, (w->used - pairs) * sizeof *w->windows);
    w->used = pairs;
    w->reached /= 2;
    w->width_ns = w->width_ns > INT64_MAX / 2 ? INT64_MAX : w->width_ns * 2;
}

/* Room for twice as many, as far as `most` allows; false when there is none. */
static int grow(pfs_events_windows *w)
{
    size_t capacity = w->capacity > w->most / 2 ? w->most : w->capacity * 2;
    if (capacity == w->capacity) {
        return 0;
    }
    pfs_events_window *windows = pfs_alloc_resize(w->alloc, w->windows, capacity, sizeof *windows);
    if (windows == NULL) {
        return 0;
    }
    memset(windows + w->capacity, 0, (capacity - w->capacity) * sizeof *windows);
    w->windows = windows;
    w->capacity = capacity;
    return 1;
}

static uint64_t index_of(const pfs_events_windows *w, int64_t at_ns)
{
    if (at_ns <= w->start_ns) {
        return 0;
    }
    /* Unsigned: the difference of two int64 may not fit in one. */
    return ((uint64_t)at_ns - (uint64_t)w->start_ns) / (uint64_t)w->width_ns;
}

pfs_events_window *pfs_events_windows_at(pfs_events_windows *w, int64_t at_ns)
{
    uint64_t i = index_of(w, at_ns);
    while (i >= w->capacity) {
        if (i >= w->most || !grow(w)) {
            halve(w);
            i = index_of(w, at_ns);
        }
    }
    if (i >= w->used) {
        w->used = (size_t)i + 1;
    }
    return &w->windows[i];
}

void pfs_events_windows_advance(pfs_events_windows *w, int64_t at_ns, int64_t in_flight,
                                int64_t unfinished)
{
    (void)pfs_events_windows_at(w, at_ns);
    uint64_t i = index_of(w, at_ns);
    while (w->reached < i) {
        pfs_events_window *window = &w->windows[++w->reached];
        window->in_flight_max = larger(window->in_flight_max, in_flight);
        window->waiting = larger(window->waiting, unfinished);
    }
}
