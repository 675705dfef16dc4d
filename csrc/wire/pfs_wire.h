/* The load engine: chat requests over HTTP/1.1, plain or (pfs_wire_sealed.h) over TLS, sent when
 * they are due, their answers stamped by the kernel and taken apart as they come.  Linux.
 *
 * One engine is one address, a bounded number of connections and one thread of its own:
 *
 *     pfs_wire_new(&w, &spec, alloc);
 *     pfs_wire_start(w);
 *     pfs_wire_submit(w, &order);             from any thread, ahead of time
 *     pfs_wire_collect(w, &untold);           if who drains counts the tokens that no server told
 *     pfs_wire_drain(w, events, &replies);    now and then, or when pfs_wire_fd is readable
 *     pfs_wire_stop(w);
 *     pfs_wire_drain(w, events, &replies);    the rest
 *     pfs_wire_free(w);
 *
 * A request is its complete bytes, head and body.  Its due stamp is an instant (an open loop: in
 * the order of the instants), or PFS_WIRE_NOW: it is due when a connection is free (a closed
 * loop of as many as there are connections).  One that is due while every connection is busy waits,
 * on the clock of the user who asked.
 *
 * The thread writes down what happens (begun, sent, token, ended, with stamps) in a log of fixed
 * size; pfs_wire_drain replays it into a pfs_events under the caller's lock.  So nothing on the
 * timing path waits for a reader, and recorder and engine share no lock.  When the log is full
 * because nobody drains, the engine stops reading (counted: paused) instead of losing anything.
 *
 * Stamps are CLOCK_MONOTONIC.  An answer's come from the kernel (SO_TIMESTAMPING, software), where
 * it gives them: when the bytes arrived, however late the reader woke.  So does the send's, from
 * the error queue.  Elsewhere the clock is read after the read and before the send; counts say how
 * many of each there were.  Events completed by one read share its stamp: they are counted.
 *
 * To wake for every chunk is most of what a chunk costs, and of no use where the kernel stamps it.
 * So where chunks of many streams come closer together than PFS_WIRE_NAP_NS, the engine lets so
 * much time pass before it looks again (counted: naps).  Not so while something waits to be
 * written, where answers are so short that their slots would idle, nor where chunks of one stream
 * come that close: they would share a stamp; nor of raw text, whose pieces are what was read at
 * once, so that nothing would tell; nor once an answer ended with its connection and had no other
 * way to say that it does: the kernel stamps no end.  What is due or submitted ends a nap.
 *
 * Raw text without chunks of HTTP has no bounds but those of reads: pieces that are read at once
 * are one chunk.  How many there were is told by the kernel's count of segments, where it has one,
 * nothing arrived between the question and the read, and no segment may have come twice (counted,
 * at least: merged_reads).
 *
 * Keep-alive: a connection that the server closed while it was idle is found out by a request that
 * gets no byte of an answer; that one is sent again, once, on a new connection, and counted.
 *
 * A closed loop's request that comes to no connection ends at once, and its slot would take the
 * next and fail again, thousands of times a second.  So that connection rests first:
 * PFS_WIRE_REST_NS, doubled with each failure in a row, PFS_WIRE_LONGEST_REST_NS at most.  Nothing
 * is in flight on it meanwhile (counted: rests, rest_ns).  A schedule bounds its own attempts and
 * is kept.
 *
 * An engine may be given several addresses: a connection that one refuses is tried at the next, in
 * their order, and the one that took it is the first to be tried from then on.
 */
#ifndef PFS_WIRE_H
#define PFS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "pfs_alloc.h"
#include "pfs_bytes.h"
#include "pfs_events.h"
#include "pfs_json_scan.h"
#include "pfs_status.h"
#include "pfs_stream.h"

#define PFS_WIRE_NOW              INT64_MIN
#define PFS_WIRE_LATE_NS          INT64_C(1000000) /* a send so long after due is a late client's */
#define PFS_WIRE_NAP_NS           INT64_C(2000000)
#define PFS_WIRE_LINGER_NS        INT64_C(2000000000)
#define PFS_WIRE_REST_NS          INT64_C(10000000)
#define PFS_WIRE_LONGEST_REST_NS  INT64_C(1000000000)
#define PFS_WIRE_MESSAGE          2048 /* bytes kept of an error's body, or of the last payload */
#define PFS_WIRE_MOST_CONNECTIONS 65536
#define PFS_WIRE_MOST_QUEUED      1048576
#define PFS_WIRE_MOST_NAMES       64
#define PFS_WIRE_MOST_ADDRESSES   8

/* What it means that a rule of pfs_json_scan matches an event. */
typedef enum {
    PFS_WIRE_VISIBLE,     /* a chunk of the visible answer */
    PFS_WIRE_HIDDEN,      /* a chunk of reasoning, or of a tool call */
    PFS_WIRE_PROMPT,      /* the number there is the prompt's tokens */
    PFS_WIRE_MORE_PROMPT, /* so many more beside them in the same event: those from a cache */
    PFS_WIRE_COMPLETION,  /* the number there is the completion's tokens */
    PFS_WIRE_FINISH,      /* the answer is complete */
    PFS_WIRE_ERROR,       /* the service reports an error */
    PFS_WIRE_ROLES
} pfs_wire_role;

typedef struct {
    struct sockaddr_storage at;
    socklen_t length;
} pfs_wire_address;

typedef struct {
    const pfs_wire_address *addresses; /* 1 ... PFS_WIRE_MOST_ADDRESSES, copied */
    size_t address_count;
    size_t connections, queue; /* the most at a time; the most requests that wait to be taken */
    int64_t timeout_ns;        /* from when a connection takes a request to its end */
    pfs_stream_kind stream;
    bool whole;     /* the answer is one JSON document, not a stream */
    bool marks_end; /* an answer that did not say that it is complete was cut short */
    bool speaks;    /* an answer without a chunk is malformed */
    /* Each event has the whole text so far, where the visible rule finds it: it is a chunk when it
     * differs from the one before, and does not merely repeat the request's `echo` before that. */
    bool cumulative;
    bool kernel; /* ask the kernel for stamps */
    bool sealed; /* over TLS: pfs_wire_sealed.h */
    size_t max_event, max_body;
    const char *const *rules; /* as pfs_json_scan.h; none: every event is a visible chunk */
    const pfs_wire_role *roles;
    size_t rule_count;
    /* A payload that ends the answer and is no JSON, "[DONE]"; of SSE "event:NAME" is any event of
     * that name, too, whatever it carries; or NULL. */
    const char *finish;
    /* SSE: events of other names are passed over; none: all are read.  One named `error` that is
     * not among them is an error. */
    const char *const *names;
    size_t name_count;
} pfs_wire_spec;

typedef struct {
    const char *request; /* its complete bytes */
    size_t length;
    int64_t due_ns; /* or PFS_WIRE_NOW */
    int64_t tag;
    bool keep;        /* the reply has the whole body */
    const char *echo; /* of a cumulative answer: the user's own words, UTF-8; or NULL */
    size_t echo_length;
} pfs_wire_order;

/* A request that has ended.  Owned by who drained it; pfs_wire_reply_free. */
typedef struct pfs_wire_reply {
    struct pfs_wire_reply *next;
    int64_t tag, due_ns, sent_ns, first_ns, end_ns; /* PFS_EVENTS_NONE where not stamped */
    pfs_events_status status;
    int http_status;                          /* 0: no head came */
    int error_number;                         /* errno, or 0 */
    const char *why;                          /* of a failure, static; NULL for success */
    int64_t retry_after_s;                    /* -1: not told */
    int64_t prompt_tokens, completion_tokens; /* -1: not told */
    /* What is recorded instead of what was not told: -1, unless set after pfs_wire_collect. */
    int64_t counted_prompt, counted_completion;
    uint64_t bytes, tokens, chunks;
    bool reused, retried, kernel_sent, kernel_received; /* every read was stamped by the kernel */
    bool keep, closed_loop;
    pfs_bytes last; /* the last payload (of an error, its body), at most PFS_WIRE_MESSAGE bytes */
    pfs_bytes
        body; /* with `keep`, as it came, less its framing; a document without all counts is kept */
    pfs_bytes request, echo;
    pfs_bytes said; /* what TLS said of a failure, UTF-8, instead of why; or nothing */
    pfs_events_row row;
} pfs_wire_reply;

#define PFS_WIRE_COUNTS(X)                                                                         \
    X(connects)      /* connections made */                                                        \
    X(reused)        /* requests sent on a connection used before */                               \
    X(stale_retries) /* of these, sent again because it was stale */                               \
    X(stale_closed)  /* idle connections that the server closed */                                 \
    X(sent)          /* requests that left, retries left out */                                    \
    X(ended)         /* requests that ended, however */                                            \
    X(unsent)        /* requests discarded from the queue */                                       \
    X(late_sends)    /* sent later than PFS_WIRE_LATE_NS, though a connection was free */          \
    X(starved)       /* times a connection was free and the queue empty */                         \
    X(paused)        /* times the log was full */                                                  \
    X(rests)         /* times a connection that could not be made began to rest */                 \
    X(rest_ns)       /* how long those that are over took, of all connections together */          \
    X(reads)                                                                                       \
    X(kernel_reads) /* stamped by the kernel */                                                    \
    X(kernel_sends)                                                                                \
    X(coalesced_reads)  /* reads that completed two chunks or more */                              \
    X(coalesced_chunks) /* and the chunks that share another's stamp so */                         \
    X(merged_reads)     /* of raw text: reads of several pieces, each taken for one chunk */       \
    X(merged_pieces)    /* and the pieces that so are no chunks of their own, at least */          \
    X(clock_pairs)                                                                                 \
    X(clock_steps)    /* pairs between which the wall clock was set */                             \
    X(stamps_dropped) /* kernel stamps that could not be: taken after the read instead */          \
    X(lag_max_ns)     /* from the kernel's stamp to the read, less a nap in between */             \
    X(lag_sum_ns)                                                                                  \
    X(lag_over)    /* reads that lagged by more than a millisecond */                              \
    X(turn_max_ns) /* the longest that one turn of the loop was busy */                            \
    X(naps)        /* times that what arrived was left to come together */                         \
    X(nap_ns)      /* and how long, of all together */                                             \
    X(cpu_ns)      /* of the engine's thread */                                                    \
    X(bytes_received)                                                                              \
    X(bytes_sent)                                                                                  \
    X(unrecorded)       /* requests that found no memory in the recorder */                        \
    X(handshakes)       /* of TLS that succeeded */                                                \
    X(resumed)          /* and of these, with the session of an earlier connection */              \
    X(opened_ahead)     /* connections begun before the request that they were for was due */      \
    X(handshake_sum_ns) /* from the connection to its being ready */                               \
    X(handshake_max_ns)                                                                            \
    X(unseal_max_ns) /* from the stamp of bytes to their being taken apart */                      \
    X(queued)        /* now: not taken yet */                                                      \
    X(waiting)       /* now: due, without a connection */                                          \
    X(active)        /* now: on a connection */                                                    \
    X(resting)       /* now: connections that rest */

typedef struct {
#define PFS_WIRE_FIELD(name) uint64_t name;
    PFS_WIRE_COUNTS(PFS_WIRE_FIELD)
#undef PFS_WIRE_FIELD
} pfs_wire_counts;

typedef struct pfs_wire pfs_wire;

/* PFS_EINVAL; PFS_EFORMAT when rule *wrong (may be NULL) is none; PFS_EFULL when the system gives
 * no descriptors (errno says why); PFS_ENOMEM; *out is untouched then.  The allocator is used from
 * the engine's thread and from those that submit and drain. */
pfs_status pfs_wire_new(pfs_wire **out, const pfs_wire_spec *spec, size_t *wrong,
                        const pfs_alloc *alloc);

/* Stops it first.  What was not drained is gone.  NULL is allowed. */
void pfs_wire_free(pfs_wire *w);

/* PFS_EINVAL when it has been started before; PFS_EFULL when there is no thread to be had. */
pfs_status pfs_wire_start(pfs_wire *w);

/* One turn of the loop in the caller's thread, which waits at most that long for something to
 * happen: instead of pfs_wire_start, for tests. */
void pfs_wire_turn(pfs_wire *w, int wait_ms);

/* Ends the thread.  What is under way or due ends as cancelled, what is queued is discarded.
 * Any thread, any number of times; one at a time. */
void pfs_wire_stop(pfs_wire *w);

/* Any thread.  The order's bytes are copied.  PFS_EFULL: the queue is full, or the engine was
 * stopped.  PFS_EINVAL without a request's bytes.  PFS_ENOMEM. */
pfs_status pfs_wire_submit(pfs_wire *w, const pfs_wire_order *order);

/* Any thread.  Empties the queue of what has not been taken; returns how many that were. */
size_t pfs_wire_discard(pfs_wire *w);

/* Any thread.  Nothing more is sent: what is not due yet is discarded, what is due and waits for a
 * connection ends as cancelled; what is under way goes on.  `late`: the time for all of it is over,
 * and what waits or is under way ends as a time-out.  Later submits find the queue full. */
void pfs_wire_give_up(pfs_wire *w, bool late);

/* Takes what has happened for the next drain, and gives the replies of it that ended well without
 * that the server told both counts, oldest first (NULL for none), in a list that holds until that
 * drain.  Again before it: nothing.  One at a time, and no drain meanwhile. */
void pfs_wire_collect(pfs_wire *w, pfs_wire_reply **untold);

/* Replays what has happened (if it was collected, as far as then) into `events` and gives the
 * replies that have ended, oldest first (NULL for none).  One drain at a time, the caller's lock on
 * `events` held. */
void pfs_wire_drain(pfs_wire *w, pfs_events *events, pfs_wire_reply **replies);

void pfs_wire_reply_free(pfs_wire *w, pfs_wire_reply *reply);

/* Readable while so many replies wait to be drained as pfs_wire_tell_after says (1), or the log is
 * half full.  Owned by the engine. */
int pfs_wire_fd(const pfs_wire *w);

/* Any thread.  For one who drains now and then anyway, and whom single replies need not wake: a
 * closed loop's slots find their next requests in the queue.  At least 1. */
void pfs_wire_tell_after(pfs_wire *w, size_t replies);

/* Any thread; as of the end of the last turn. */
void pfs_wire_counted(pfs_wire *w, pfs_wire_counts *out);

#endif
