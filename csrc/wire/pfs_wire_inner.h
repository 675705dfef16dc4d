/* What the engine's files know of one another; nobody else includes it. */
#ifndef PFS_WIRE_INNER_H
#define PFS_WIRE_INNER_H

#include <pthread.h>

#include "pfs_clock.h"
#include "pfs_http.h"
#include "pfs_wire.h"
#include "pfs_wire_clock.h"
#include "pfs_wire_sealed.h"

#define PFS_WIRE_READ ((size_t)16 << 10)
/* The most marks that one read can make: a line of JSON has two bytes at least. */
#define PFS_WIRE_MARKS_A_READ (PFS_WIRE_READ / 2 + 8)
#define PFS_WIRE_LOG          ((size_t)32768)
#define PFS_WIRE_MOST_WAITING ((size_t)4096) /* due requests taken; more stay in the queue */

#define PFS_WIRE_RESTS ((size_t)8) /* lengths of a rest: 10 ms, 20, 40 ... 640, 1 s */

typedef enum { PFS_WIRE_BEGUN, PFS_WIRE_SENT, PFS_WIRE_TOKEN, PFS_WIRE_ENDED } pfs_wire_what;

typedef struct {
    pfs_wire_reply *reply;
    int64_t at_ns;
    uint8_t what;
    bool visible;
} pfs_wire_mark;

typedef enum {
    PFS_WIRE_CLOSED, /* no socket */
    PFS_WIRE_CONNECTING,
    PFS_WIRE_OPENING, /* sealed: in the handshake */
    PFS_WIRE_SENDING,
    PFS_WIRE_AWAITING,
    PFS_WIRE_IDLE,  /* open, without a request */
    PFS_WIRE_PRIMED /* sealed: open, with a request that is not due yet */
} pfs_wire_state;

typedef enum { PFS_WIRE_AS_STREAM, PFS_WIRE_AS_WHOLE, PFS_WIRE_AS_ERROR } pfs_wire_reading;

/* What the kernel has counted of a socket; `answers` bore no data, `full` is a long segment. */
typedef struct {
    uint64_t bytes;
    uint32_t segments, answers, full;
} pfs_wire_arrived;

typedef struct pfs_wire_conn {
    struct pfs_wire_conn *before, *after;
    struct pfs_wire_list *list; /* the one that it is in */
    pfs_wire_reply *reply;      /* whose turn it is; NULL when closed, idle or opened ahead */
    int64_t deadline_ns;
    int64_t last_ns;   /* of the last bytes taken apart, or of the send */
    int64_t read_ns;   /* of the last bytes that came: no stamp is before it */
    int64_t shared_ns; /* the stamp of the chunks that came last ... */
    uint64_t sharing;  /* ... and how many share it */
    int64_t began_ns;  /* the clock before the send's last call */
    size_t written;
    size_t tried;       /* addresses that did not answer */
    size_t refused;     /* requests in a row that came to no connection */
    int64_t resting_ns; /* since when it rests */
    uint32_t watched;   /* epoll's events; 0: not registered */
    uint32_t bytes_out; /* on this connection, as the kernel numbers stamps */
    uint32_t last_byte; /* the request's, in that numbering */
    int fd;
    pfs_wire_state state;
    pfs_wire_reading reading;
    bool used, finished; /* has answered before; the answer said that it is complete */
    bool all_kernel;
    uint64_t said; /* cumulative: a digest of the text so far; 0: none yet */
    /* Raw text: whether reads are all that bounds its pieces; what was read on this socket; what
     * had come by then, and whether that is all that had. */
    bool by_reads, counting;
    uint64_t bytes_in;
    pfs_wire_arrived arrived;
    pfs_http http;
    pfs_stream stream;
    /* Sealed. */
    uint64_t id;        /* of this socket, among all; 0: none */
    uint64_t lost;      /* under the lock: the id whose bytes found no memory */
    pfs_bytes out;      /* to be sent, from `written` on */
    int64_t opening_ns; /* when the handshake began */
    int shut_number;    /* errno of the peer's end */
    bool sealing, shut; /* the request is with who seals; the peer has closed */
    bool prompt;        /* open when the request was due */
} pfs_wire_conn;

typedef struct pfs_wire_list {
    pfs_wire_conn *first, *last;
    size_t count;
} pfs_wire_list;

typedef struct {
    pfs_wire_reply *first, *last;
    size_t count;
} pfs_wire_fifo;

struct pfs_wire {
    const pfs_alloc *alloc;
    pfs_wire_spec spec;
    pfs_wire_address addresses[PFS_WIRE_MOST_ADDRESSES];
    pfs_json_rules rules;
    uint64_t roles[PFS_WIRE_ROLES]; /* which rules have each */
    char *finish;
    size_t finish_length;
    char **names;

    /* The engine thread's own. */
    pfs_wire_conn
        *conns; /* room for all; the first `made` have been wanted, the rest is untouched */
    pfs_wire_list closed, idle, active, lingering;
    pfs_wire_list resting[PFS_WIRE_RESTS]; /* by how long: each in the order of its ends */
    pfs_wire_list opening, primed; /* sealed: connections opened ahead; with what is due next */
    pfs_wire_fifo waiting;
    size_t preferred; /* the address to begin with */
    uint64_t serial;
    int64_t look_ns, rest_ns; /* when to look ahead next; not to open ahead before */
    pfs_bytes given;          /* what is heard of who seals, from `heard` on */
    size_t heard;
    pfs_wire_clock clock;
    pfs_wire_counts counts;
    int epoll, wake, timer, told, warm, sealer;
    int64_t timer_ns, cpu_due_ns;
    size_t writing;    /* connections that wait until they can be written to */
    bool napping;      /* before the next turn */
    bool ends_unsaid;  /* an answer ends when its connection does, and says nothing of it */
    int64_t napped_ns; /* before this one */
    int64_t turned_ns; /* when the last turn, or the nap after it, was over */
    uint64_t blurred;  /* reads that were coalesced after a nap */
    char buffer[PFS_WIRE_READ];

    /* Shared, under the lock. */
    pthread_mutex_t lock;
    pfs_wire_fifo queue;
    pfs_wire_mark *log, *spare;
    size_t logged, log_room, made;
    size_t collected; /* of `spare`: taken from the log, for the next drain */
    bool has_collected;
    size_t untold, tell_after; /* replies in the log; how many are worth telling of */
    pfs_wire_counts published;
    uint64_t unsent, unrecorded;
    bool stopping, starved, has_told;
    bool giving_up, too_late; /* pfs_wire_give_up was called; with `late` */
    pfs_bytes inbox, outbox;  /* sealed: to who seals, and from there */
    bool has_handed, has_given, any_lost, over;

    /* The sealer's own. */
    pfs_bytes taken;
    size_t read_to;

    pthread_t thread;
    bool started, threaded, stopped;
};

/* pfs_wire.c */
void pfs_wire_note(pfs_wire *w, pfs_wire_what what, pfs_wire_reply *reply, bool visible,
                   int64_t at_ns);
bool pfs_wire_has_room(pfs_wire *w, size_t marks);
void pfs_wire_push(pfs_wire_fifo *fifo, pfs_wire_reply *reply);
pfs_wire_reply *pfs_wire_pop(pfs_wire_fifo *fifo);

/* pfs_wire_read.c: what a connection's bytes say.  A verdict other than PFS_WIRE_MORE ends the
 * request; its status and why are set then. */
typedef enum {
    PFS_WIRE_MORE,
    PFS_WIRE_COMPLETE, /* the response has ended as HTTP says */
    PFS_WIRE_FAILED    /* the connection is of no more use */
} pfs_wire_verdict;
pfs_wire_verdict pfs_wire_hear(pfs_wire *w, pfs_wire_conn *c, const char *bytes, size_t length,
                               int64_t at_ns);
/* torn: it ended without TLS saying that it does. */
pfs_wire_verdict pfs_wire_hear_close(pfs_wire *w, pfs_wire_conn *c, bool torn);
pfs_wire_verdict pfs_wire_fail(pfs_wire_conn *c, pfs_events_status status, const char *why);

/* pfs_wire_pieces.c.  Before a read of raw text: how many pieces it bears if it takes so many
 * bytes, neither more nor fewer; 0: nothing tells, and *length may be untouched. */
uint32_t pfs_wire_pieces_ahead(const pfs_wire_conn *c, uint64_t *length);
/* After it, before it is heard: counts them. */
void pfs_wire_count_pieces(pfs_wire *w, pfs_wire_conn *c, uint32_t pieces, uint64_t expected,
                           size_t length);

/* pfs_wire_conn.c: sockets.  Each may end the request, and the connection then is in another
 * list. */
void pfs_wire_ring(int fd);
void pfs_wire_move(pfs_wire_conn *c, pfs_wire_list *to);
/* How many are closed, and the one to be opened next, if any. */
size_t pfs_wire_closed(const pfs_wire *w);
pfs_wire_conn *pfs_wire_next_closed(pfs_wire *w);
void pfs_wire_hang_up(pfs_wire *w, pfs_wire_conn *c);
void pfs_wire_rested(pfs_wire *w, pfs_wire_conn *c, int64_t now);
void pfs_wire_begin(pfs_wire *w, pfs_wire_reply *reply, int64_t now);
void pfs_wire_finish(pfs_wire *w, pfs_wire_conn *c, bool usable, int64_t at_ns);
void pfs_wire_end_failed(pfs_wire *w, pfs_wire_conn *c, pfs_events_status status, const char *why,
                         int number);
void pfs_wire_dial(pfs_wire *w, pfs_wire_conn *c);
void pfs_wire_send_first(pfs_wire *w, pfs_wire_conn *c, pfs_wire_state state);
void pfs_wire_send_more(pfs_wire *w, pfs_wire_conn *c);
void pfs_wire_stale(pfs_wire *w, pfs_wire_conn *c);
void pfs_wire_judge(pfs_wire *w, pfs_wire_conn *c, pfs_wire_verdict verdict);
void pfs_wire_broken(pfs_wire *w, pfs_wire_conn *c, int number, bool torn);
void pfs_wire_ready(pfs_wire *w, pfs_wire_conn *c, uint32_t events);

/* Closes a connection that is nobody's, or whose request is not due yet. */
void pfs_wire_drop(pfs_wire *w, pfs_wire_conn *c);

/* pfs_wire_sealed.c */
#define PFS_WIRE_PARCELS                                                                           \
    ((size_t)8 << 20) /* bytes that may wait for who seals, or come from there */

/* Room for what one connection can make of one event, and for every other's end. */
bool pfs_wire_can_hand(pfs_wire *w);
pfs_status pfs_wire_hand(pfs_wire *w, pfs_wire_conn *c, pfs_wire_parcel_kind what, int64_t at_ns,
                         const char *bytes, size_t length);

/* As much was given as may wait: nothing more is to be read before it is heard. */
bool pfs_wire_is_behind(pfs_wire *w);

/* What was of this connection found no memory. */
void pfs_wire_lose(pfs_wire *w, pfs_wire_conn *c);

/* Hears what was given, as far as the log has room. */
void pfs_wire_hear_given(pfs_wire *w);
bool pfs_wire_has_given(pfs_wire *w);
pfs_status pfs_wire_sealed_init(pfs_wire *w);
void pfs_wire_sealed_clear(pfs_wire *w);

/* pfs_wire_loop.c */
void pfs_wire_count_cpu(pfs_wire *w);

/* Ends all that is under way or waits, as cancelled; the thread has ended. */
void pfs_wire_abandon(pfs_wire *w);

#endif
