#include "pfs_events.h"

#include <math.h>
#include <string.h>

#include "pfs_bytes.h"
#include "pfs_events_measure.h"

#define NO_SLOT     UINT32_MAX
#define FIRST_SLOTS 16
#define FIRST_RAW   64

typedef pfs_events_request row;

struct pfs_events {
    pfs_events_spec spec;
    pfs_events_counts counts;
    pfs_events_windows seconds;
    pfs_histogram whole[PFS_EVENTS_METRICS];
    pfs_histogram *slices[PFS_EVENTS_METRICS]; /* `blocks` of them, NULL until the first value */
    unsigned slice_shift;                      /* a slice is FIRST_SLICE_NS << slice_shift long */
    row *rows;
    uint32_t used, capacity, free_slot;
    unsigned char *raw;
    size_t raw_used, raw_capacity;
    pfs_bytes stamps;
    const pfs_alloc *alloc;
};

static const char *const METRICS[PFS_EVENTS_METRICS] = {
    "response_time",
    "service_time",
    "ttft",
    "service_ttft",
    "answer_ttft",
    "itl",
    "max_gap",
    "tpot",
    "output_tokens_per_s",
    "prompt_tokens",
    "completion_tokens",
    "lateness",
};

static const char *const STATUSES[PFS_EVENTS_STATUSES] = {
    "ok",       "dns",        "connect",   "tls",       "timeout",  "reset",
    "closed",   "incomplete", "malformed", "too_large", "protocol", "http_429",
    "http_4xx", "http_5xx",   "target",    "cancelled",
};

const char *pfs_events_metric_name(int metric)
{
    return metric >= 0 && metric < PFS_EVENTS_METRICS ? METRICS[metric] : NULL;
}

const char *pfs_events_status_name(int status)
{
    return status >= 0 && status < PFS_EVENTS_STATUSES ? STATUSES[status] : NULL;
}

/* ---- making and releasing -------------------------------------------------------------------- */

pfs_status pfs_events_new(pfs_events **out, const pfs_events_spec *spec, const pfs_alloc *alloc)
{
    if (spec->blocks < 2 || spec->blocks > 4096 || spec->blocks % 2 != 0 || spec->warmup_ns < 0 ||
        isnan(spec->limit_ms)) {
        return PFS_EINVAL;
    }
    pfs_events *events = pfs_alloc_zeroed(alloc, 1, sizeof *events);
    if (events == NULL) {
        return PFS_ENOMEM;
    }
    events->spec = *spec;
    events->alloc = alloc;
    events->free_slot = NO_SLOT;
    pfs_status status =
        pfs_events_windows_init(&events->seconds, spec->windows, spec->start_ns, alloc);
    for (int m = 0; status == PFS_OK && m < PFS_EVENTS_METRICS; m++) {
        /* Allocates nothing; a precision out of range is refused by the first. */
        status = pfs_histogram_init(&events->whole[m], spec->precision, alloc);
        if (status != PFS_OK) {
            pfs_events_windows_clear(&events->seconds);
        }
    }
    if (status != PFS_OK) {
        pfs_alloc_release(alloc, events);
        return status;
    }
    *out = events;
    return PFS_OK;
}

void pfs_events_forget_slices(pfs_events *events)
{
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        for (unsigned i = 0; events->slices[m] != NULL && i < events->spec.blocks; i++) {
            pfs_histogram_clear(&events->slices[m][i]);
        }
        pfs_alloc_release(events->alloc, events->slices[m]);
        events->slices[m] = NULL;
    }
}

void pfs_events_free(pfs_events *events)
{
    if (events == NULL) {
        return;
    }
    pfs_events_forget_slices(events);
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        pfs_histogram_clear(&events->whole[m]);
    }
    pfs_events_windows_clear(&events->seconds);
    pfs_alloc_release(events->alloc, events->rows);
    pfs_alloc_release(events->alloc, events->raw);
    pfs_bytes_release(&events->stamps, events->alloc);
    pfs_alloc_release(events->alloc, events);
}

pfs_status pfs_events_restart(pfs_events *events, int64_t start_ns)
{
    if (events->used != 0) {
        return PFS_EINVAL;
    }
    events->spec.start_ns = start_ns;
    events->seconds.start_ns = start_ns;
    return PFS_OK;
}

pfs_status pfs_events_shorten_warmup(pfs_events *events, int64_t warmup_ns)
{
    if (warmup_ns < 0 || warmup_ns > events->spec.warmup_ns) {
        return PFS_EINVAL;
    }
    events->spec.warmup_ns = warmup_ns;
    return PFS_OK;
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool in_warmup(const pfs_events *events, int64_t due_ns)
{
    return due_ns < events->spec.start_ns ||
           pfs_events_since(due_ns, events->spec.start_ns) < events->spec.warmup_ns;
}

/* ---- histograms ------------------------------------------------------------------------------ */

static pfs_histogram *slices_of(pfs_events *events, pfs_events_metric metric)
{
    pfs_histogram *slices = events->slices[metric];
    if (slices == NULL) {
        slices = pfs_alloc_array(events->alloc, events->spec.blocks, sizeof *slices);
        for (unsigned i = 0; slices != NULL && i < events->spec.blocks; i++) {
            (void)pfs_histogram_init(&slices[i], PFS_EVENTS_SLICE_PRECISION, events->alloc);
        }
        events->slices[metric] = slices;
    }
    return slices;
}

/* Makes every slice twice as long.  First each pair is merged in its first place, then the firsts
 * move together, which cannot fail.  A merge that finds no memory leaves every value in the pair
 * it belongs to, so that the whole can be tried again at the next value. */
static pfs_status fold_slices(pfs_events *events)
{
    unsigned half = events->spec.blocks / 2;
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        pfs_histogram *slices = events->slices[m];
        for (unsigned i = 0; slices != NULL && i < half; i++) {
            pfs_status status = pfs_histogram_merge(&slices[2 * i], &slices[2 * i + 1]);
            if (status != PFS_OK) {
                return status;
            }
            /* Not reset: as wide as the widest slice so far, each would be for all that comes. */
            pfs_histogram_clear(&slices[2 * i + 1]);
            (void)pfs_histogram_init(&slices[2 * i + 1], PFS_EVENTS_SLICE_PRECISION, events->alloc);
        }
    }
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        pfs_histogram *slices = events->slices[m];
        for (unsigned i = 1; slices != NULL && i < half; i++) {
            pfs_histogram empty = slices[i]; /* emptied above or moved here empty */
            slices[i] = slices[2 * i];
            slices[2 * i] = empty;
        }
    }
    events->slice_shift++;
    return PFS_OK;
}

static pfs_status record(pfs_events *events, const row *r, pfs_events_metric metric, double value)
{
    pfs_status status = pfs_histogram_record(&events->whole[metric], value);
    pfs_status folded = PFS_OK;
    while (folded == PFS_OK && (r->slice >> events->slice_shift) >= (int64_t)events->spec.blocks) {
        folded = fold_slices(events);
    }
    if (folded == PFS_OK) {
        pfs_histogram *slices = slices_of(events, metric);
        folded = slices == NULL
                     ? PFS_ENOMEM
                     : pfs_histogram_record(&slices[r->slice >> events->slice_shift], value);
    }
    if (status != PFS_OK || folded != PFS_OK) {
        events->counts.unrecorded++;
    }
    return status != PFS_OK ? status : folded;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static row *find(const pfs_events *events, pfs_events_row handle)
{
    uint32_t slot = (uint32_t)handle, generation = (uint32_t)(handle >> 32);
    if (slot >= events->used || events->rows[slot].generation != generation ||
        generation % 2 == 0) {
        return NULL;
    }
    return &events->rows[slot];
}

static pfs_status take_slot(pfs_events *events, uint32_t *slot)
{
    if (events->free_slot != NO_SLOT) {
        *slot = events->free_slot;
        events->free_slot = events->rows[*slot].next_free;
        return PFS_OK;
    }
    if (events->used == events->capacity) {
        if (events->capacity >= NO_SLOT / 2) {
            return PFS_ENOMEM;
        }
        uint32_t capacity = events->capacity == 0 ? FIRST_SLOTS : events->capacity * 2;
        row *rows = pfs_alloc_resize(events->alloc, events->rows, capacity, sizeof *rows);
        if (rows == NULL) {
            return PFS_ENOMEM;
        }
        events->rows = rows;
        events->capacity = capacity;
    }
    *slot = events->used++;
    events->rows[*slot].generation = 0;
    return PFS_OK;
}

/* Seconds entered since the last change held what the counts say now. */
static void advance(pfs_events *events, int64_t at_ns)
{
    const pfs_events_counts *counts = &events->counts;
    pfs_events_windows_advance(&events->seconds, at_ns, (int64_t)counts->in_flight,
                               (int64_t)(counts->in_flight + counts->waiting));
}

pfs_status pfs_events_begin(pfs_events *events, int64_t due_ns, int64_t now_ns, int64_t tag,
                            pfs_events_row *handle)
{
    uint32_t slot;
    pfs_status status = take_slot(events, &slot);
    if (status != PFS_OK) {
        return status;
    }
    row *r = &events->rows[slot];
    *r = (row){.tag = tag,
               .due = due_ns,
               .sent = now_ns,
               .first = PFS_EVENTS_NONE,
               .answer = PFS_EVENTS_NONE,
               .last = PFS_EVENTS_NONE,
               .slice = pfs_events_since(due_ns, events->spec.start_ns) / PFS_EVENTS_FIRST_SLICE_NS,
               .generation = r->generation + 1,
               .warmup = in_warmup(events, due_ns)};
    advance(events, now_ns);
    events->counts.waiting++;
    if (r->warmup) {
        events->counts.warmup++;
    } else {
        events->counts.started++;
    }
    pfs_events_window *window = pfs_events_windows_at(&events->seconds, due_ns);
    window->due++;
    window->warmup += r->warmup;
    *handle = (uint64_t)r->generation << 32 | slot;
    return PFS_OK;
}

static void mark_sent(pfs_events *events, row *r, int64_t at_ns)
{
    advance(events, at_ns);
    r->was_sent = true;
    pfs_events_counts *counts = &events->counts;
    counts->waiting--;
    counts->in_flight++;
    if (counts->in_flight > counts->max_in_flight) {
        counts->max_in_flight = counts->in_flight;
    }
    pfs_events_window *window = pfs_events_windows_at(&events->seconds, at_ns);
    if (window->in_flight_max < (int64_t)counts->in_flight) {
        window->in_flight_max = (int64_t)counts->in_flight;
    }
}

pfs_status pfs_events_sent(pfs_events *events, pfs_events_row handle, int64_t at_ns)
{
    row *r = find(events, handle);
    if (r == NULL) {
        return PFS_EINVAL;
    }
    if (!r->was_sent) {
        mark_sent(events, r, at_ns);
    }
    r->sent = at_ns;
    return PFS_OK;
}

pfs_status pfs_events_token(pfs_events *events, pfs_events_row handle, uint64_t tokens,
                            bool visible, int64_t at_ns)
{
    row *r = find(events, handle);
    if (r == NULL) {
        return PFS_EINVAL;
    }
    if (tokens == 0) {
        return PFS_OK;
    }
    if (!r->was_sent) {
        mark_sent(events, r, r->sent);
    }
    pfs_status status = PFS_OK;
    if (r->chunks == 0) {
        r->first = at_ns;
    } else {
        int64_t gap = pfs_events_since(at_ns, r->last);
        if (gap > r->max_gap) {
            r->max_gap = gap;
        }
        if (!r->warmup) {
            status = record(events, r, PFS_EVENTS_ITL, pfs_events_milliseconds(gap));
        }
    }
    r->last = at_ns;
    r->chunks++;
    r->tokens += tokens;
    if (visible) {
        if (r->visible_chunks == 0) {
            r->answer = at_ns;
        }
        r->visible_last = at_ns;
        r->visible_chunks++;
        r->visible_tokens += tokens;
    }
    pfs_events_windows_at(&events->seconds, at_ns)->tokens += (int64_t)tokens;
    if (events->spec.stamps && status == PFS_OK) {
        const int64_t pair[2] = {r->tag, at_ns};
        status = pfs_bytes_append(&events->stamps, events->alloc, (const char *)pair, sizeof pair);
        if (status != PFS_OK) {
            events->counts.unrecorded++;
        }
    }
    return status;
}

pfs_status pfs_events_look(const pfs_events *events, pfs_events_row handle, pfs_events_so_far *out)
{
    const row *r = find(events, handle);
    if (r == NULL) {
        return PFS_EINVAL;
    }
    *out = (pfs_events_so_far){.due = r->due,
                               .sent = r->was_sent ? r->sent : PFS_EVENTS_NONE,
                               .first = r->first,
                               .answer = r->answer,
                               .last = r->last,
                               .tokens = r->tokens,
                               .chunks = r->chunks};
    return PFS_OK;
}

/* ---- the end of a row ------------------------------------------------------------------------ */

static void store(unsigned char **at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *(*at)++ = (unsigned char)(value >> (8 * i));
    }
}

static pfs_status keep_raw(pfs_events *events, const row *r, const pfs_events_outcome *outcome,
                           int64_t completion, bool estimated, int64_t at_ns)
{
    if (events->raw_used + PFS_EVENTS_RAW_BYTES > events->raw_capacity) {
        size_t capacity = events->raw_capacity == 0 ? FIRST_RAW * (size_t)PFS_EVENTS_RAW_BYTES
                                                    : events->raw_capacity * 2;
        unsigned char *raw = pfs_alloc_resize(events->alloc, events->raw, capacity, 1);
        if (raw == NULL) {
            events->counts.unrecorded++;
            return PFS_ENOMEM;
        }
        events->raw = raw;
        events->raw_capacity = capacity;
    }
    const int64_t stamps[] = {
        r->due, r->was_sent ? r->sent : PFS_EVENTS_NONE, r->first, r->answer, r->last, at_ns};
    unsigned char *at = events->raw + events->raw_used;
    store(&at, (uint64_t)r->tag, 8);
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
        uint64_t from_start = (uint64_t)stamps[i] - (uint64_t)events->spec.start_ns;
        store(&at, stamps[i] == PFS_EVENTS_NONE ? (uint64_t)PFS_EVENTS_NONE : from_start, 8);
    }
    store(&at, (uint64_t)(r->chunks > 1 ? r->max_gap : PFS_EVENTS_NONE), 8);
    store(&at, (uint64_t)outcome->prompt_tokens, 8);
    store(&at, (uint64_t)completion, 8);
    store(&at, outcome->bytes, 8);
    store(&at, r->chunks, 4);
    store(&at, r->tokens > UINT32_MAX ? UINT32_MAX : r->tokens, 4);
    store(&at, (uint64_t)outcome->status, 1);
    store(&at, (uint64_t)(r->warmup ? 1 : 0) | (uint64_t)(estimated ? 2 : 0), 1);
    store(&at, 0, 6);
    events->raw_used += PFS_EVENTS_RAW_BYTES;
    return PFS_OK;
}

static void count_completed(pfs_events *events, const row *r, const pfs_events_outcome *outcome,
                            int64_t completion, bool estimated, bool good)
{
    pfs_events_counts *counts = &events->counts;
    pfs_events_window *due = pfs_events_windows_at(&events->seconds, r->due);
    counts->good += good;
    due->good += good;
    counts->bytes += outcome->bytes;
    counts->prompt_tokens += outcome->prompt_tokens > 0 ? (uint64_t)outcome->prompt_tokens : 0;
    counts->completion_tokens += completion > 0 ? (uint64_t)completion : 0;
    counts->estimated += estimated;
    if (r->visible_chunks > 0) {
        uint64_t tokens = r->visible_chunks == r->chunks && completion > 0 ? (uint64_t)completion
                                                                           : r->visible_tokens;
        counts->visible_chunks += r->visible_chunks;
        counts->visible_tokens += tokens;
        due->visible_chunks += (int64_t)r->visible_chunks;
        due->visible_tokens += (int64_t)tokens;
    }
}

/* What the seconds and the counts take of a row that ends; returns whether it was ok. */
static void count_end(pfs_events *events, const row *r, pfs_events_status status,
                      int64_t completion, int64_t at_ns)
{
    pfs_events_counts *counts = &events->counts;
    bool ok = status == PFS_EVENTS_OK, cancelled = status == PFS_EVENTS_CANCELLED;
    advance(events, at_ns);
    if (r->was_sent) {
        counts->in_flight--;
    } else {
        counts->waiting--;
    }
    pfs_events_window *now = pfs_events_windows_at(&events->seconds, at_ns);
    now->finished += !cancelled;
    now->tokens += ok && r->chunks == 0 && completion > 0 ? completion : 0;
    int64_t wait = pfs_events_since(at_ns, r->due);
    pfs_events_window *due = pfs_events_windows_at(&events->seconds, r->due);
    due->failed += !ok && !cancelled;
    if (ok) {
        double response_ms = pfs_events_milliseconds(wait);
        due->ok++;
        due->over_limit += response_ms > events->spec.limit_ms;
        due->sum_ms += response_ms;
        due->max_ms = response_ms > due->max_ms ? response_ms : due->max_ms;
    }
    if (r->warmup) {
        counts->warmup_failed += !ok && !cancelled;
        return;
    }
    counts->errors[status]++;
    counts->completed += ok;
    counts->cancelled += cancelled;
    counts->failed += !ok && !cancelled;
    if (!cancelled && wait > counts->longest_wait_ns) {
        counts->longest_wait_ns = wait;
    }
}

pfs_status pfs_events_end(pfs_events *events, pfs_events_row handle,
                          const pfs_events_outcome *outcome, int64_t at_ns)
{
    row *r = find(events, handle);
    if (r == NULL || (int)outcome->status < 0 || outcome->status >= PFS_EVENTS_STATUSES) {
        return PFS_EINVAL;
    }
    bool ok = outcome->status == PFS_EVENTS_OK;
    bool untold = outcome->completion_tokens < 0 && r->chunks > 0;
    bool estimated = untold || (outcome->counted && outcome->completion_tokens >= 0);
    int64_t completion = untold ? (int64_t)r->tokens : outcome->completion_tokens;
    if (ok && !r->was_sent) {
        mark_sent(events, r, r->sent); /* a target that does not stamp: sent as the row began */
    }
    count_end(events, r, outcome->status, completion, at_ns);

    pfs_status worst = PFS_OK;
    if (!r->warmup && r->was_sent) {
        double values[PFS_EVENTS_METRICS];
        pfs_events_measure(r, outcome, completion, at_ns, values);
        for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
            if (!isnan(values[m]) && (ok || m == PFS_EVENTS_LATENESS)) {
                pfs_status status = record(events, r, (pfs_events_metric)m, values[m]);
                worst = status != PFS_OK ? status : worst;
            }
        }
        if (ok) {
            bool good = pfs_events_meets(events->spec.objectives, values);
            count_completed(events, r, outcome, completion, estimated, good);
        }
    }
    if (events->spec.raw) {
        pfs_status status = keep_raw(events, r, outcome, completion, estimated, at_ns);
        worst = status != PFS_OK ? status : worst;
    }
    r->generation++; /* even: the slot is free, and this handle means nothing any more */
    r->next_free = events->free_slot;
    events->free_slot = (uint32_t)handle;
    return worst;
}

/* ---- reading --------------------------------------------------------------------------------- */

const pfs_events_counts *pfs_events_counted(const pfs_events *events)
{
    return &events->counts;
}

const pfs_events_spec *pfs_events_configuration(const pfs_events *events)
{
    return &events->spec;
}

const pfs_events_windows *pfs_events_seconds(const pfs_events *events)
{
    return &events->seconds;
}

pfs_histogram *pfs_events_histogram(pfs_events *events, pfs_events_metric metric)
{
    return &events->whole[metric];
}

pfs_histogram *pfs_events_slice(pfs_events *events, pfs_events_metric metric, unsigned i)
{
    pfs_histogram *slices = events->slices[metric];
    return slices == NULL || i >= events->spec.blocks ? NULL : &slices[i];
}

int64_t pfs_events_slice_ns(const pfs_events *events)
{
    return PFS_EVENTS_FIRST_SLICE_NS << events->slice_shift;
}

const unsigned char *pfs_events_raw(const pfs_events *events, size_t *length)
{
    *length = events->raw_used;
    return events->raw;
}

const int64_t *pfs_events_stamps(const pfs_events *events, size_t *count)
{
    *count = events->stamps.length / (2 * sizeof(int64_t));
    return (const int64_t *)(const void *)events->stamps.at;
}

void pfs_events_stamps_discard(pfs_events *events)
{
    events->stamps.length = 0;
}

void pfs_events_raw_discard(pfs_events *events)
{
    events->raw_used = 0;
}
