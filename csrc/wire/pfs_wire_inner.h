/* What the engine's files know of one another; nobody else includes it. */
#ifndef PFS_WIRE_INNER_H
#define PFS_WIRE_INNER_H

#include <pthread.h>

#include "pfs_clock.h"
#include "pfs_http.h"
#include "pfs_wire.h"
#include "pfs_wire_clock.h"

#define PFS_WIRE_READ ((size_t)16 << 10)
/* The most marks that one read can make: a line of JSON has two bytes at least. */
#define PFS_WIRE_MARKS_A_READ (PFS_WIRE_READ / 2 + 8)
#define PFS_WIRE_LOG          ((size_t)32768)
#define PFS_WIRE_MOST_WAITING ((size_t)4096) /* due requests taken; more stay in the queue */

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
    PFS_WIRE_SENDING,
    PFS_WIRE_AWAITING,
    PFS_WIRE_IDLE /* open, without a request */
} pfs_wire_state;

typedef enum { PFS_WIRE_AS_STREAM, PFS_WIRE_AS_WHOLE, PFS_WIRE_AS_ERROR } pfs_wire_reading;

typedef struct pfs_wire_conn {
    struct pfs_wire_conn *before, *after;
    struct pfs_wire_list *list; /* the one that it is in */
    pfs_wire_reply *reply;      /* whose turn it is; NULL when closed or idle */
    int64_t deadline_ns;
    int64_t last_ns;  /* of the last bytes, or of the send */
    int64_t began_ns; /* the clock before the send's last call */
    size_t written;
    uint32_t watched;   /* epoll's events; 0: not registered */
    uint32_t bytes_out; /* on this connection, as the kernel numbers stamps */
    int fd;
    pfs_wire_state state;
    pfs_wire_reading reading;
    bool used, finished; /* has answered before; the answer said that it is complete */
    bool all_kernel;
    pfs_http http;
    pfs_stream stream;
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
    struct sockaddr_storage address;
    pfs_json_rules rules;
    uint64_t roles[PFS_WIRE_ROLES]; /* which rules have each */
    char *finish;
    size_t finish_length;
    char **names;

    /* The engine thread's own. */
    pfs_wire_conn *conns;
    pfs_wire_list closed, idle, active, lingering;
    pfs_wire_fifo waiting;
    pfs_wire_clock clock;
    pfs_wire_counts counts;
    int epoll, wake, timer, told, warm;
    int64_t timer_ns, cpu_due_ns;
    char buffer[PFS_WIRE_READ];

    /* Shared, under the lock. */
    pthread_mutex_t lock;
    pfs_wire_fifo queue;
    pfs_wire_mark *log, *spare;
    size_t logged, log_room;
    pfs_wire_counts published;
    uint64_t unsent, unrecorded;
    bool stopping, starved, has_told;
    bool giving_up, too_late; /* pfs_wire_give_up was called; with `late` */

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
pfs_wire_verdict pfs_wire_hear(pfs_wire *w, pfs_wire_conn *c, size_t length, int64_t at_ns);
pfs_wire_verdict pfs_wire_hear_close(pfs_wire *w, pfs_wire_conn *c);
pfs_wire_verdict pfs_wire_fail(pfs_wire_conn *c, pfs_events_status status, const char *why);

/* pfs_wire_loop.c */
void pfs_wire_count_cpu(pfs_wire *w);

/* Ends all that is under way or waits, as cancelled; the thread has ended. */
void pfs_wire_abandon(pfs_wire *w);

#endif
