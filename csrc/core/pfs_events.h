/* Requests while they are under way, and what remains of them: the recorder of a load.
 *
 * A request has a row from the moment it is known until it ends.  Rows live in a slab whose slots
 * are used again, so memory follows the requests under way, not those that have been.  A row that
 * ends is folded at once
 *   - into a histogram of the whole run for each metric (PFS_EVENTS_PRECISION by default),
 *   - into at most `blocks` histograms of consecutive slices of time for each metric: when a later
 *     slice is needed, neighbours are merged in pairs and the slices become twice as long,
 *   - into the one-second window in which it was due (pfs_events_windows.h),
 *   - with `raw`, into a packed record that waits to be taken away.
 * With `stamps` the time of every chunk waits to be taken away as well: for holding a client
 * against the truth, for which histograms are too coarse.
 * A run of hours therefore needs no more memory than one of minutes.
 *
 * What the metrics mean (milliseconds, unless they are named otherwise):
 *   response_time        from due to the end                  service_time   from sent to the end
 *   ttft, service_ttft   from due, from sent, to the first token of any kind
 *   answer_ttft          from due to the first visible token, where other tokens came before it
 *   itl                  every gap between consecutive chunks of content, as it happens
 *   max_gap              the longest of them in a response of two chunks or more
 *   tpot                 (last - first) / (visible tokens - 1) over the visible chunks, of which
 *                        there must be two; visible tokens are the server's completion_tokens if
 *                        every token was visible, else those that were counted as they came
 *   output_tokens_per_s  completion tokens / service_time, a second
 *   prompt_tokens, completion_tokens   as told at the end; completion tokens that were not told
 *                        are those counted as they came (counts.estimated says how many rows)
 *   lateness             from due to sent: what waited in the client, or a client that was late
 * Failed requests are in none of these but itl (gaps that were seen) and lateness: they are
 * counted, by kind, and a reader of quantiles takes them for slower than any answer (longest_wait).
 * A cancelled request was given up by the client and says nothing of the system: it is in
 * errors[PFS_EVENTS_CANCELLED] and `cancelled`, not in `failed`.  A request due before start +
 * warm-up is counted in `warmup`, in the windows and in the raw records, and nowhere else.
 *
 * An objective is a limit on a metric of one response (itl: on each of its gaps;
 * output_tokens_per_s: a least value).  A response without chunks has its first token when it
 * ends; without two chunks it has no gap to judge, and meets limits on gaps.
 *
 * Stamps are CLOCK_MONOTONIC nanoseconds.  One that lies before the stamp it is measured from
 * counts as 0.  Thread rule: a pfs_events and its rows have one owner at a time; whoever shares it
 * between threads (a wire engine that writes, a view that reads) holds one lock over every call
 * below that takes a pfs_events, const ones included.  Handles are numbers and may go anywhere.
 */
#ifndef PFS_EVENTS_H
#define PFS_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_events_windows.h"
#include "pfs_histogram.h"
#include "pfs_status.h"

#define PFS_EVENTS_PRECISION       10
#define PFS_EVENTS_SLICE_PRECISION 7
#define PFS_EVENTS_FIRST_SLICE_NS  INT64_C(125000000)
#define PFS_EVENTS_MOST_WINDOWS    16384
#define PFS_EVENTS_NONE            INT64_MIN /* a stamp that was not taken */
#define PFS_EVENTS_RAW_BYTES       104

typedef enum {
    PFS_EVENTS_RESPONSE_TIME,
    PFS_EVENTS_SERVICE_TIME,
    PFS_EVENTS_TTFT,
    PFS_EVENTS_SERVICE_TTFT,
    PFS_EVENTS_ANSWER_TTFT,
    PFS_EVENTS_ITL,
    PFS_EVENTS_MAX_GAP,
    PFS_EVENTS_TPOT,
    PFS_EVENTS_OUTPUT_TOKENS_PER_S,
    PFS_EVENTS_PROMPT_TOKENS,
    PFS_EVENTS_COMPLETION_TOKENS,
    PFS_EVENTS_LATENESS,
    PFS_EVENTS_METRICS
} pfs_events_metric;

typedef enum {
    PFS_EVENTS_OK,
    PFS_EVENTS_DNS,
    PFS_EVENTS_CONNECT,
    PFS_EVENTS_TLS,
    PFS_EVENTS_TIMEOUT,
    PFS_EVENTS_RESET,
    PFS_EVENTS_CLOSED,
    PFS_EVENTS_INCOMPLETE,
    PFS_EVENTS_MALFORMED,
    PFS_EVENTS_TOO_LARGE,
    PFS_EVENTS_PROTOCOL,
    PFS_EVENTS_HTTP_429,
    PFS_EVENTS_HTTP_4XX,
    PFS_EVENTS_HTTP_5XX,
    PFS_EVENTS_TARGET,
    PFS_EVENTS_CANCELLED,
    PFS_EVENTS_STATUSES
} pfs_events_status;

typedef uint64_t pfs_events_row; /* a handle; 0 is none */

typedef struct {
    unsigned precision; /* of the whole run's histograms, as pfs_histogram_init */
    unsigned blocks;    /* slices of time, even, 2 to 4096 */
    size_t windows;     /* the most windows, >= 2 */
    int64_t start_ns, warmup_ns;
    double limit_ms;                       /* for over_limit */
    double objectives[PFS_EVENTS_METRICS]; /* NaN: none */
    bool raw, stamps;
} pfs_events_spec;

/* Of requests that are not warm-up, unless said otherwise. */
typedef struct {
    uint64_t started, completed, failed, cancelled;
    uint64_t good;                        /* completed and within every objective */
    uint64_t errors[PFS_EVENTS_STATUSES]; /* by kind; [PFS_EVENTS_OK] is completed */
    uint64_t warmup, warmup_failed;       /* begun in warm-up; of these, failed */
    uint64_t in_flight, max_in_flight;    /* sent and not ended, of warm-up too */
    uint64_t waiting;                     /* begun and not sent, of warm-up too */
    /* Of completed ones: */
    uint64_t prompt_tokens, completion_tokens, estimated;
    uint64_t visible_tokens, visible_chunks; /* of those that came in chunks */
    uint64_t bytes;
    int64_t longest_wait_ns; /* from due to the end, of any that ended but cancelled ones */
    uint64_t unrecorded;     /* values that found no memory; a call said PFS_ENOMEM each time */
} pfs_events_counts;

typedef struct pfs_events pfs_events;

/* How a request ended; counts of -1 are not known.  counted: completion_tokens are the client's own
 * count, for the server told none. */
typedef struct {
    pfs_events_status status;
    int64_t prompt_tokens, completion_tokens;
    uint64_t bytes;
    bool counted;
} pfs_events_outcome;

/* "response_time" and so on; "ok", "dns" and so on.  NULL past the end.  Static storage. */
const char *pfs_events_metric_name(int metric);
const char *pfs_events_status_name(int status);

/* PFS_EINVAL, PFS_ENOMEM; *out is untouched then.  Release with pfs_events_free (NULL allowed). */
pfs_status pfs_events_new(pfs_events **out, const pfs_events_spec *spec, const pfs_alloc *alloc);
void pfs_events_free(pfs_events *events);

/* Moves the start (and with it the end of warm-up).  PFS_EINVAL once a row has begun. */
pfs_status pfs_events_restart(pfs_events *events, int64_t start_ns);

/* Ends the warm-up earlier: rows that begin from now on are of it only if they are due before
 * start + warmup_ns.  PFS_EINVAL for what is negative, or longer than it was. */
pfs_status pfs_events_shorten_warmup(pfs_events *events, int64_t warmup_ns);

/* A row for a request that is (or was) due; `now_ns` stands for its send until it is stamped.
 * PFS_ENOMEM; then nothing has happened. */
pfs_status pfs_events_begin(pfs_events *events, int64_t due_ns, int64_t now_ns, int64_t tag,
                            pfs_events_row *row);

/* All three: PFS_EINVAL for a row that has ended or never was. */

/* The request leaves.  Again: a better stamp, or a retry of which nothing had arrived. */
pfs_status pfs_events_sent(pfs_events *events, pfs_events_row row, int64_t at_ns);

/* A chunk of content with `tokens` tokens; one with none is no content and leaves no mark.
 * PFS_ENOMEM: the chunk counts, its gap is missing in itl, or its stamp among the stamps. */
pfs_status pfs_events_token(pfs_events *events, pfs_events_row row, uint64_t tokens, bool visible,
                            int64_t at_ns);

/* The row is folded and its slot free, whatever is returned.  PFS_ENOMEM: one or more of its
 * values are missing in histograms or raw records (counts.unrecorded). */
pfs_status pfs_events_end(pfs_events *events, pfs_events_row row, const pfs_events_outcome *outcome,
                          int64_t at_ns);

/* What a live row holds so far.  PFS_EINVAL as above. */
typedef struct {
    int64_t due, sent, first, answer, last; /* PFS_EVENTS_NONE where not stamped */
    uint64_t tokens, chunks;
} pfs_events_so_far;
pfs_status pfs_events_look(const pfs_events *events, pfs_events_row row, pfs_events_so_far *out);

const pfs_events_counts *pfs_events_counted(const pfs_events *events);
const pfs_events_spec *pfs_events_configuration(const pfs_events *events);
const pfs_events_windows *pfs_events_seconds(const pfs_events *events);

/* Borrowed; valid as long as the events, and written to by token and end. */
pfs_histogram *pfs_events_histogram(pfs_events *events, pfs_events_metric metric);

/* The i-th slice of a metric, borrowed, moved by the next token or end; NULL where nothing has been
 * recorded in any slice of the metric, or i >= blocks.  It covers slice_ns from
 * start + i * slice_ns on. */
pfs_histogram *pfs_events_slice(pfs_events *events, pfs_events_metric metric, unsigned i);
int64_t pfs_events_slice_ns(const pfs_events *events);

/* Gives back the slices' memory, for a recorder that is done and is kept for its other figures.
 * What is recorded later goes to new ones. */
void pfs_events_forget_slices(pfs_events *events);

/* The raw records since the last discard: `length` bytes, PFS_EVENTS_RAW_BYTES each, little-endian
 * without padding:
 *   i64 tag, due, sent, first, answer, last, end, max_gap   (ns; from the start of the run; the
 *       smallest i64 where there is none; answer is the first visible token)
 *   i64 prompt_tokens, completion_tokens (-1: not known)   u64 bytes
 *   u32 chunks, u32 tokens   u8 status, u8 flags (1 warm-up, 2 completion tokens estimated), u16 0,
 *   u32 0 */
const unsigned char *pfs_events_raw(const pfs_events *events, size_t *length);
void pfs_events_raw_discard(pfs_events *events);

/* The stamps of chunks since the last discard, in the order in which they were told: pairs of the
 * row's tag and CLOCK_MONOTONIC nanoseconds, *count of them, as int64_t in a row; NULL for none. */
const int64_t *pfs_events_stamps(const pfs_events *events, size_t *count);
void pfs_events_stamps_discard(pfs_events *events);

#endif
