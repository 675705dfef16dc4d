/* Sockets: lists of connections, sends, reads, ends.
 *
 * A connection is in one list: closed, opening (ahead of a request), idle (open), primed (with a
 * request that is not due yet), active, lingering (the answer said that it was complete, but the
 * server does not end it), or one of those that rest.  The time-out is the same for all, so
 * opening, active and lingering are in the order of their deadlines, each list of those that rest
 * too, and primed in that of what is due: the first is the next.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONTROL  256
#define KEPT_OUT ((size_t)16 << 10)  /* of a block for sealed bytes, between requests */
#define REST_NS  INT64_C(1000000000) /* without opening ahead, after that has failed */

/* ---- lists ----------------------------------------------------------------------------------- */

void pfs_wire_move(pfs_wire_conn *c, pfs_wire_list *to)
{
    pfs_wire_list *from = c->list;
    *(c->before == NULL ? &from->first : &c->before->after) = c->after;
    *(c->after == NULL ? &from->last : &c->after->before) = c->before;
    from->count--;
    c->before = to->last;
    c->after = NULL;
    *(to->last == NULL ? &to->first : &to->last->after) = c;
    to->last = c;
    to->count++;
    c->list = to;
}

size_t pfs_wire_closed(const pfs_wire *w)
{
    return w->closed.count + w->spec.connections - w->made;
}

pfs_wire_conn *pfs_wire_next_closed(pfs_wire *w)
{
    if (w->closed.first == NULL && w->made < w->spec.connections) {
        pfs_wire_conn *c = &w->conns[w->made];
        *c = (pfs_wire_conn){.list = &w->closed, .fd = -1};
        /* Nothing is allocated, and pfs_wire_new has tried the same. */
        (void)pfs_stream_init(&c->stream, w->spec.stream, w->spec.max_event, w->alloc);
        (void)pfs_http_init(&c->http, PFS_HTTP_MAX_HEAD, w->alloc);
        w->closed = (pfs_wire_list){.first = c, .last = c, .count = 1};
        pthread_mutex_lock(&w->lock);
        w->made++;
        pthread_mutex_unlock(&w->lock);
    }
    return w->closed.first;
}

static void watching(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    w->writing += (events & EPOLLOUT) != 0;
    w->writing -= (c->watched & EPOLLOUT) != 0;
    c->watched = events;
}

void pfs_wire_hang_up(pfs_wire *w, pfs_wire_conn *c)
{
    if (c->id != 0) {
        (void)pfs_wire_hand(w, c, PFS_WIRE_GONE, 0, NULL, 0); /* there is room for every end */
        pfs_bytes_reuse(&c->out, w->alloc, KEPT_OUT);
    }
    c->id = 0;
    c->written = 0;
    c->sealing = c->shut = false;
    if (c->fd >= 0) {
        close(c->fd); /* epoll forgets it too */
    }
    c->fd = -1;
    watching(w, c, 0);
    c->state = PFS_WIRE_CLOSED;
    c->used = false;
}

static bool watch(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    struct epoll_event wanted = {.events = events, .data = {.ptr = c}};
    if (events != c->watched &&
        epoll_ctl(w->epoll, c->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &wanted) < 0) {
        return false;
    }
    watching(w, c, events);
    return true;
}

/* What was said of the socket's end needs to be heard once only. */
static void unwatch(pfs_wire *w, pfs_wire_conn *c)
{
    if (c->watched != 0) {
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        watching(w, c, 0);
    }
}

void pfs_wire_drop(pfs_wire *w, pfs_wire_conn *c)
{
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED) {
        w->counts.stale_closed++;
    } else {
        w->rest_ns = pfs_clock_ns() + REST_NS;
    }
    pfs_wire_hang_up(w, c);
    if (c->reply == NULL) { /* a primed one waits for its time, and connects then */
        pfs_wire_move(c, &w->closed);
    }
}

/* ---- rests ----------------------------------------------------------------------------------- */

/* Without a socket: to be tried again at once, or, where the last request of a closed loop came to
 * no connection, after a rest. */
static void put_away(pfs_wire *w, pfs_wire_conn *c, const pfs_wire_reply *reply)
{
    bool refused = reply->status == PFS_EVENTS_CONNECT || reply->status == PFS_EVENTS_TLS;
    pfs_wire_hang_up(w, c);
    if (!refused || !reply->closed_loop) {
        c->refused = 0;
        pfs_wire_move(c, &w->closed);
        return;
    }
    size_t level = c->refused < PFS_WIRE_RESTS ? c->refused : PFS_WIRE_RESTS - 1;
    int64_t rest = PFS_WIRE_REST_NS << level;
    c->refused = level + 1;
    c->resting_ns = pfs_clock_ns();
    c->deadline_ns =
        c->resting_ns + (rest < PFS_WIRE_LONGEST_REST_NS ? rest : PFS_WIRE_LONGEST_REST_NS);
    w->counts.rests++;
    pfs_wire_move(c, &w->resting[level]);
}

void pfs_wire_rested(pfs_wire *w, pfs_wire_conn *c, int64_t now)
{
    w->counts.rest_ns += (uint64_t)(now - c->resting_ns);
    pfs_wire_move(c, &w->closed);
}

/* ---- a request's begin and end
 * ------------------------------------------------------------------------- */

void pfs_wire_begin(pfs_wire *w, pfs_wire_reply *reply, int64_t now)
{
    if (reply->due_ns == PFS_WIRE_NOW) {
        reply->due_ns = now;
    }
    pfs_wire_note(w, PFS_WIRE_BEGUN, reply, false, now);
}

void pfs_wire_finish(pfs_wire *w, pfs_wire_conn *c, bool usable, int64_t at_ns)
{
    pfs_wire_reply *reply = c->reply;
    if (w->spec.speaks && reply->status == PFS_EVENTS_OK && reply->chunks == 0) {
        (void)pfs_wire_fail(c, PFS_EVENTS_MALFORMED, "the answer has no text");
    }
    c->reply = NULL;
    if (reply->due_ns == PFS_WIRE_NOW) { /* its connection never was open */
        pfs_wire_begin(w, reply, c->deadline_ns - w->spec.timeout_ns);
    }
    reply->end_ns = at_ns;
    reply->kernel_received = reply->http_status != 0 && c->all_kernel;
    if (!reply->keep) {
        pfs_bytes_release(&reply->body, w->alloc);
    }
    if (usable && c->shut) {
        w->counts.stale_closed++;
        usable = false;
    }
    w->counts.ended++;
    if (usable) {
        c->state = PFS_WIRE_IDLE;
        c->used = true;
        c->refused = 0;
        pfs_wire_move(c, &w->idle);
    } else {
        put_away(w, c, reply);
    }
    pfs_wire_note(w, PFS_WIRE_ENDED, reply, false, at_ns); /* from here it may be gone */
}

void pfs_wire_end_failed(pfs_wire *w, pfs_wire_conn *c, pfs_events_status status, const char *why,
                         int number)
{
    (void)pfs_wire_fail(c, status, why);
    c->reply->error_number = number;
    pfs_wire_finish(w, c, false, pfs_clock_ns());
}

/* ---- sending --------------------------------------------------------------------------------- */

static void sent(pfs_wire *w, pfs_wire_conn *c, int64_t at_ns)
{
    c->reply->sent_ns = at_ns;
    pfs_wire_note(w, PFS_WIRE_SENT, c->reply, false, at_ns);
}

/* The kernel's stamps of what was sent, from the error queue; whether there was any message. */
static bool read_send_stamps(pfs_wire *w, pfs_wire_conn *c)
{
    for (bool any = false;; any = true) {
        union {
            char bytes[CONTROL];
            struct cmsghdr align;
        } control;
        struct msghdr message = {.msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        if (recvmsg(c->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            return any;
        }
        int64_t at;
        uint32_t id;
        if (c->state == PFS_WIRE_AWAITING && !c->reply->kernel_sent &&
            pfs_wire_clock_read(&w->clock, &message, c->began_ns, pfs_clock_ns(), &at, &id) &&
            id == c->last_byte) {
            c->reply->kernel_sent = true;
            w->counts.kernel_sends++;
            sent(w, c, at);
        }
    }
}

static void send_failed(pfs_wire *w, pfs_wire_conn *c, int number)
{
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED || c->reply == NULL) {
        pfs_wire_drop(w, c);
    } else if (c->state == PFS_WIRE_OPENING) {
        pfs_wire_end_failed(w, c, PFS_EVENTS_TLS, "the connection was reset in the TLS handshake",
                            number);
    } else if (c->reply->reused && !c->reply->retried) {
        pfs_wire_stale(w, c);
    } else if (!c->shut && !watch(w, c, EPOLLIN)) {
        pfs_wire_end_failed(w, c, PFS_EVENTS_RESET, "the connection was reset during the request",
                            number);
    } else {
        /* The server may have answered before it closed: read that first. */
        c->state = PFS_WIRE_AWAITING;
        c->written = 0;
        c->reply->error_number = number;
    }
}

static bool all_sent(const pfs_wire *w, const pfs_wire_conn *c)
{
    return w->spec.sealed ? !c->sealing && c->out.length == c->written
                          : c->written == c->reply->request.length;
}

static void request_sent(pfs_wire *w, pfs_wire_conn *c)
{
    c->state = PFS_WIRE_AWAITING;
    c->last_ns = c->began_ns;
    if (!w->spec.sealed) {
        c->read_ns = c->began_ns; /* over TLS, what came before may still be unread */
    }
    c->last_byte = c->bytes_out - 1;
    if (!c->reply->retried) {
        w->counts.sent++;
        w->counts.reused += c->reply->reused;
    }
    if (c->prompt && c->began_ns - c->reply->due_ns > PFS_WIRE_LATE_NS) {
        w->counts.late_sends++; /* who seals was late */
    }
    /* On the loopback the stamp is there already. */
    if (!w->spec.kernel || !read_send_stamps(w, c) || !c->reply->kernel_sent) {
        sent(w, c, c->began_ns);
    }
}

void pfs_wire_send_more(pfs_wire *w, pfs_wire_conn *c)
{
    const pfs_bytes *from = w->spec.sealed ? &c->out : &c->reply->request;
    while (c->written < from->length) {
        c->began_ns = pfs_clock_ns();
        ssize_t n = send(c->fd, from->at + c->written, from->length - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !c->shut) {
            if (!watch(w, c, EPOLLIN | EPOLLOUT)) {
                send_failed(w, c, errno);
            }
            return;
        }
        if (n < 0) {
            send_failed(w, c, errno);
            return;
        }
        c->written += (size_t)n;
        c->bytes_out += (uint32_t)n;
        w->counts.bytes_sent += (uint64_t)n;
    }
    bool request = c->state == PFS_WIRE_SENDING && !c->sealing;
    if (w->spec.sealed) {
        c->written = 0;
        pfs_bytes_reuse(&c->out, w->alloc, KEPT_OUT);
    }
    if (request) {
        request_sent(w, c);
    }
    if (!c->shut && !watch(w, c, EPOLLIN)) {
        send_failed(w, c, errno);
    }
}

void pfs_wire_send_first(pfs_wire *w, pfs_wire_conn *c, pfs_wire_state state)
{
    c->state = state;
    c->finished = false;
    c->said = 0;
    c->by_reads = false;
    c->all_kernel = true;
    c->shared_ns = PFS_EVENTS_NONE;
    c->reading = PFS_WIRE_AS_ERROR; /* until the head says */
    pfs_http_begin(&c->http, false);
    pfs_stream_reset(&c->stream);
    if (!w->spec.sealed) {
        c->written = 0;
        pfs_wire_send_more(w, c);
        return;
    }
    c->sealing = true;
    const pfs_bytes *request = &c->reply->request;
    if (pfs_wire_hand(w, c, PFS_WIRE_TO_SEAL, 0, request->at, request->length) != PFS_OK) {
        pfs_wire_end_failed(w, c, PFS_EVENTS_CANCELLED, "this client had no memory for the request",
                            0);
    }
}

static void connected(pfs_wire *w, pfs_wire_conn *c)
{
    int one = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (w->spec.kernel) {
        int flags = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
                    SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                    SOF_TIMESTAMPING_OPT_TSONLY;
        /* Without them the clock stamps, and the counts show it. */
        (void)setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
    }
    c->bytes_in = 0;
    c->counting = false;
    w->counts.connects++;
    w->preferred = (w->preferred + c->tried) % w->spec.address_count;
    c->tried = 0;
    c->bytes_out = 0;
    if (!w->spec.sealed) {
        pfs_wire_send_first(w, c, PFS_WIRE_SENDING);
        return;
    }
    c->state = PFS_WIRE_OPENING;
    c->opening_ns = c->read_ns = pfs_clock_ns();
    c->id = ++w->serial << 16 | (uint64_t)(c - w->conns);
    (void)pfs_wire_hand(w, c, PFS_WIRE_OPENED, c->opening_ns, NULL, 0);
    if (!watch(w, c, EPOLLIN)) {
        send_failed(w, c, errno);
    }
}

/* One address does not answer: the next, or it was the last. */
static void unreachable(pfs_wire *w, pfs_wire_conn *c, const char *why, int number)
{
    pfs_wire_hang_up(w, c);
    if (++c->tried < w->spec.address_count) {
        pfs_wire_dial(w, c);
        return;
    }
    c->tried = 0;
    if (c->reply == NULL) {
        pfs_wire_drop(w, c);
    } else {
        pfs_wire_end_failed(w, c, PFS_EVENTS_CONNECT, why, number);
    }
}

void pfs_wire_dial(pfs_wire *w, pfs_wire_conn *c)
{
    const pfs_wire_address *to = &w->addresses[(w->preferred + c->tried) % w->spec.address_count];
    c->fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        unreachable(w, c, "the system gives no socket", errno);
        return;
    }
    c->state = PFS_WIRE_CONNECTING;
    int done = connect(c->fd, (const struct sockaddr *)&to->at, to->length);
    if (done < 0 && errno != EINPROGRESS) {
        unreachable(w, c, "no connection", errno);
    } else if (!watch(w, c, EPOLLOUT)) {
        unreachable(w, c, "the system cannot watch the connection", errno);
    }
}

/* No byte of an answer came on a connection that had been used before: once more, on a new one. */
void pfs_wire_stale(pfs_wire *w, pfs_wire_conn *c)
{
    pfs_wire_hang_up(w, c);
    w->counts.stale_retries++;
    c->reply->retried = true;
    c->reply->reused = c->reply->kernel_sent = false;
    c->reply->error_number = 0;
    c->reply->said.length = 0;
    c->prompt = false;
    c->tried = 0;
    pfs_wire_dial(w, c);
}

/* ---- reading --------------------------------------------------------------------------------- */

void pfs_wire_judge(pfs_wire *w, pfs_wire_conn *c, pfs_wire_verdict verdict)
{
    if (verdict == PFS_WIRE_FAILED) {
        pfs_wire_finish(w, c, false, c->last_ns);
    } else if (verdict == PFS_WIRE_COMPLETE) {
        pfs_wire_finish(
            w, c, c->state == PFS_WIRE_AWAITING && pfs_http_keep_alive(&c->http) && all_sent(w, c),
            c->last_ns);
    } else if (c->finished && c->list == &w->active) {
        c->deadline_ns = pfs_clock_ns() + PFS_WIRE_LINGER_NS;
        pfs_wire_move(c, &w->lingering);
    }
}

void pfs_wire_broken(pfs_wire *w, pfs_wire_conn *c, int number, bool torn)
{
    if (!pfs_http_begun(&c->http) && c->reply->reused && !c->reply->retried) {
        pfs_wire_stale(w, c);
        return;
    }
    if (number == 0) {
        pfs_wire_verdict verdict = pfs_wire_hear_close(w, c, torn);
        pfs_wire_judge(w, c, verdict == PFS_WIRE_COMPLETE ? PFS_WIRE_COMPLETE : PFS_WIRE_FAILED);
    } else if (c->finished) {
        pfs_wire_finish(w, c, false, c->last_ns);
    } else {
        pfs_wire_end_failed(w, c, PFS_EVENTS_RESET, "the connection was reset", number);
    }
}

/* The peer has closed. */
static void shut(pfs_wire *w, pfs_wire_conn *c, int64_t now, int number)
{
    if (number == 0 && c->reply != NULL) {
        number = c->reply->error_number;
    }
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED) {
        pfs_wire_drop(w, c);
    } else if (w->spec.sealed) { /* it may have said something before that is not open yet */
        c->shut = true;
        c->shut_number = number;
        unwatch(w, c);
        (void)pfs_wire_hand(w, c, PFS_WIRE_SHUT, now, NULL, 0);
    } else {
        c->last_ns = c->finished || number != 0 ? c->last_ns : now;
        pfs_wire_broken(w, c, number, false);
    }
}

static void receive(pfs_wire *w, pfs_wire_conn *c)
{
    union {
        char bytes[CONTROL];
        struct cmsghdr align;
    } control;
    struct iovec into = {w->buffer, sizeof w->buffer};
    struct msghdr message = {.msg_iov = &into,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = w->spec.kernel ? sizeof control.bytes : 0};
    bool text = w->spec.stream == PFS_STREAM_TEXT && !w->spec.sealed;
    uint64_t expected = 0;
    uint32_t pieces = text ? pfs_wire_pieces_ahead(c, &expected) : 0;
    ssize_t n = recvmsg(c->fd, &message, 0);
    int64_t now = pfs_clock_ns(), at = now;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        shut(w, c, now, n < 0 ? errno : 0);
        return;
    }
    w->counts.reads++;
    w->counts.bytes_received += (uint64_t)n;
    if (w->spec.kernel && pfs_wire_clock_read(&w->clock, &message, c->read_ns, now, &at, NULL)) {
        uint64_t lag = (uint64_t)(now - at > w->napped_ns ? now - at - w->napped_ns : 0);
        w->counts.kernel_reads++;
        w->counts.lag_sum_ns += lag;
        w->counts.lag_over += lag > (uint64_t)PFS_WIRE_LATE_NS;
        w->counts.lag_max_ns = lag > w->counts.lag_max_ns ? lag : w->counts.lag_max_ns;
    } else {
        c->all_kernel = false;
    }
    c->read_ns = at;
    if (text) {
        pfs_wire_count_pieces(w, c, pieces, expected, (size_t)n);
    }
    if (!w->spec.sealed) {
        c->last_ns = at;
        pfs_wire_judge(w, c, pfs_wire_hear(w, c, w->buffer, (size_t)n, at));
    } else if (pfs_wire_hand(w, c, PFS_WIRE_ARRIVED, at, w->buffer, (size_t)n) != PFS_OK) {
        pfs_wire_lose(w, c);
    }
}

/* Without a request on its way: the server closes, or says what cannot be trusted; or TLS speaks.
 */
static void idle(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    if (read_send_stamps(w, c) && (events & (EPOLLIN | EPOLLHUP)) == 0) {
        return;
    }
    if (w->spec.sealed) {
        receive(w, c);
    } else {
        pfs_wire_drop(w, c);
    }
}

void pfs_wire_ready(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    if (c->state == PFS_WIRE_CLOSED) {
        return;
    }
    if (c->state == PFS_WIRE_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
            error = errno;
        }
        if (error != 0) {
            unreachable(w, c, "no connection", error);
        } else {
            connected(w, c);
        }
        return;
    }
    if ((events & EPOLLOUT) != 0 && (c->state == PFS_WIRE_SENDING || w->spec.sealed) &&
        (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        pfs_wire_send_more(w, c);
        return;
    }
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED) {
        idle(w, c, events);
        return;
    }
    bool stamps = (events & EPOLLERR) != 0 && read_send_stamps(w, c);
    if ((events & (EPOLLIN | EPOLLHUP)) != 0 || ((events & EPOLLERR) != 0 && !stamps)) {
        receive(w, c);
    } else if ((events & EPOLLOUT) != 0 && (c->state == PFS_WIRE_SENDING || w->spec.sealed)) {
        pfs_wire_send_more(w, c);
    }
}
