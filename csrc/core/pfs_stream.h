/* Splits the body of a streamed answer into its events, as it arrives: server-sent events, lines
 * of JSON, or raw pieces of text.
 *
 * The caller gives a chunk with the stamp of its arrival and then takes events until there are no
 * more; each carries the stamp of the chunk that completed it.  How the bytes are cut into chunks
 * changes nothing but the stamps.  An event that lies within one chunk is not copied; what is
 * carried from chunk to chunk is bounded by max_event, and every byte is looked at a fixed number
 * of times.
 *
 *     pfs_stream_feed(&s, bytes, n, now);
 *     while ((status = pfs_stream_next(&s, &event)) == PFS_OK) { ... }
 *     if (status != PFS_EEMPTY) { this stream is over }
 *
 * SSE: the WHATWG HTML standard, "Server-sent events": lines end in CR, LF or CRLF, a BOM at the
 * start is skipped, data lines are joined by LF, a blank line dispatches, an event without a data
 * line is none, an id with a NUL and a retry that is not all digits are ignored.  No UTF-8 is
 * decoded: slices are the bytes as they came.
 * NDJSON: lines end in LF or CRLF; lines of white space are none, a BOM at the start is skipped,
 * the last line needs no end.
 * Text: every chunk that is not empty is an event.
 *
 * Thread rule: one owner at a time.
 */
#ifndef PFS_STREAM_H
#define PFS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pfs_alloc.h"
#include "pfs_bytes.h"
#include "pfs_status.h"

#define PFS_STREAM_MAX_EVENT  ((size_t)1 << 20) /* the usual bound */
#define PFS_STREAM_LINE_SLACK 16   /* a line may be longer than max_event by its field's name */
#define PFS_STREAM_KEEP       2048 /* bytes of a buffer that a reset keeps */

typedef enum { PFS_STREAM_SSE, PFS_STREAM_NDJSON, PFS_STREAM_TEXT } pfs_stream_kind;

/* Slices point into the chunk or into the parser, and hold until its next call. */
typedef struct {
    const char *data;
    size_t length;
    const char *name; /* SSE: of `event:`; length 0 when there was none ("message") */
    size_t name_length;
    const char *id; /* SSE: the last id seen so far in the stream; length 0 for none */
    size_t id_length;
    int64_t at_ns; /* the stamp of the chunk that completed it */
} pfs_stream_event;

typedef struct {
    const char *at;
    size_t length;
    bool kept; /* in the parser's own memory, not in the chunk */
} pfs_stream_slice;

typedef struct {
    const pfs_alloc *alloc;
    size_t max_event;
    const char *chunk; /* the caller's; NULL when it is used up */
    size_t length, at;
    size_t lf, cr; /* one past the next of each from `at` on; stale when <= at */
    int64_t at_ns;
    pfs_bytes line; /* an unfinished line */
    pfs_bytes data_kept, name_kept, id;
    pfs_stream_slice data, name; /* of the event under way */
    int64_t retry_ms;            /* the last `retry:`, -1 for none */
    pfs_stream_kind kind;
    pfs_status failed;
    bool has_data, after_cr, started;
    bool whole; /* `line` is complete and waits to be read (after PFS_ENOMEM only) */
} pfs_stream;

/* Allocates nothing.  PFS_EINVAL when the kind is unknown, or max_event is 0 or above 2^48. */
pfs_status pfs_stream_init(pfs_stream *s, pfs_stream_kind kind, size_t max_event,
                           const pfs_alloc *alloc);

/* Releases what it holds; the stream is as after init. */
void pfs_stream_clear(pfs_stream *s);

/* Ready for the next answer: as after init, but small buffers stay. */
void pfs_stream_reset(pfs_stream *s);

/* Gives the next chunk; it is borrowed until pfs_stream_next says PFS_EEMPTY or PFS_ERANGE.
 * PFS_EINVAL when the chunk before it is not used up; PFS_ERANGE when the stream has failed. */
pfs_status pfs_stream_feed(pfs_stream *s, const char *chunk, size_t length, int64_t at_ns);

/* What a paced stream brings, without the general way's state: a chunk that is one SSE event by
 * itself, of one data line and the blank line, both ended by LF, between events.  True: *data is
 * the event's, in the chunk, which is not borrowed; its name is "message".  False, with nothing
 * changed, for all else: then feed it. */
static inline bool pfs_stream_whole(pfs_stream *s, const char *chunk, size_t length, int64_t at_ns,
                                    const char **data, size_t *data_length)
{
    if (s->kind != PFS_STREAM_SSE || s->failed != PFS_OK || s->chunk != NULL ||
        s->line.length != 0 || s->name.length != 0 || s->has_data || s->after_cr || s->whole ||
        length < 8 || length - 7 > s->max_event || memcmp(chunk, "data:", 5) != 0 ||
        memcmp(chunk + length - 2, "\n\n", 2) != 0) {
        return false;
    }
    size_t skip = chunk[5] == ' ' ? 6 : 5, n = length - 2 - skip;
    if (memchr(chunk + skip, '\n', n) != NULL || memchr(chunk + skip, '\r', n) != NULL) {
        return false;
    }
    s->at_ns = at_ns;
    s->started = true;
    *data = chunk + skip;
    *data_length = n;
    return true;
}

/* PFS_OK: *event is the next one.  PFS_EEMPTY: the chunk is used up and no longer needed.
 * PFS_ERANGE: an event (or one line) is larger than max_event; so will say every later call until
 * the reset.  PFS_ENOMEM: nothing is lost, the call may be made again, the chunk is still borrowed.
 * *event is untouched unless PFS_OK. */
pfs_status pfs_stream_next(pfs_stream *s, pfs_stream_event *event);

/* The answer is over (every chunk must be used up, else PFS_EINVAL).  PFS_OK: *event is the last
 * line of NDJSON, which had no end; call again.  PFS_EEMPTY: nothing was left.  PFS_EFORMAT: the
 * stream was cut in the middle of an SSE event, which is none; *event shows what had come of it.
 * PFS_ERANGE, PFS_ENOMEM: as pfs_stream_next. */
pfs_status pfs_stream_end(pfs_stream *s, pfs_stream_event *event);

#endif
