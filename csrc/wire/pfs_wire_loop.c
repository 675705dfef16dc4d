/* The readiness loop: connections, sends, reads, time-outs.  Level-triggered epoll, one thread.
 *
 * A connection is in one list: closed, idle (open), active, or lingering (the answer said that it
 * was complete, but the server does not end it).  The time-out is the same for all, so active and
 * lingering are in the order of their deadlines, and the first is the next.
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
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH    256
#define PAUSE_MS 10
#define CONTROL  256
#define CPU_NS   INT64_C(10000000) /* how often the thread's CPU time is asked for */

/* ---- lists ----------------------------------------------------------------------------------- */

static void move(pfs_wire_conn *c, pfs_wire_list *to)
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

static void hang_up(pfs_wire_conn *c)
{
    if (c->fd >= 0) {
        close(c->fd); /* epoll forgets it too */
    }
    c->fd = -1;
    c->watched = 0;
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
    c->watched = events;
    return true;
}

/* ---- a request's end ------------------------------------------------------------------------- */

static void finish(pfs_wire *w, pfs_wire_conn *c, bool usable, int64_t at_ns)
{
    pfs_wire_reply *reply = c->reply;
    if (w->spec.speaks && reply->status == PFS_EVENTS_OK && reply->chunks == 0) {
        (void)pfs_wire_fail(c, PFS_EVENTS_MALFORMED, "the answer has no text");
    }
    reply->end_ns = at_ns;
    reply->kernel_received = reply->http_status != 0 && c->all_kernel;
    if (!reply->keep) {
        pfs_bytes_release(&reply->body, w->alloc);
    }
    c->reply = NULL;
    w->counts.ended++;
    if (usable) {
        c->state = PFS_WIRE_IDLE;
        c->used = true;
        move(c, &w->idle);
    } else {
        hang_up(c);
        move(c, &w->closed);
    }
    pfs_wire_note(w, PFS_WIRE_ENDED, reply, false, at_ns); /* from here it may be gone */
}

static void fail(pfs_wire *w, pfs_wire_conn *c, pfs_events_status status, const char *why,
                 int number)
{
    (void)pfs_wire_fail(c, status, why);
    c->reply->error_number = number;
    finish(w, c, false, pfs_clock_ns());
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
            id == c->bytes_out - 1) {
            c->reply->kernel_sent = true;
            w->counts.kernel_sends++;
            sent(w, c, at);
        }
    }
}

static void stale(pfs_wire *w, pfs_wire_conn *c);

static void send_more(pfs_wire *w, pfs_wire_conn *c)
{
    pfs_bytes *request = &c->reply->request;
    while (c->written < request->length) {
        c->began_ns = pfs_clock_ns();
        ssize_t n =
            send(c->fd, request->at + c->written, request->length - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!watch(w, c, EPOLLIN | EPOLLOUT)) {
                fail(w, c, PFS_EVENTS_CONNECT, "the system cannot watch the connection", errno);
            }
            return;
        }
        if (n < 0) {
            if (c->reply->reused && !c->reply->retried) {
                stale(w, c);
            } else if (!watch(w, c, EPOLLIN)) {
                fail(w, c, PFS_EVENTS_RESET, "the connection was reset during the request", errno);
            } else {
                /* The server may have answered before it closed: read that first. */
                c->state = PFS_WIRE_AWAITING;
                c->written = 0;
                c->reply->error_number = errno;
            }
            return;
        }
        c->written += (size_t)n;
        c->bytes_out += (uint32_t)n;
        w->counts.bytes_sent += (uint64_t)n;
    }
    if (c->state == PFS_WIRE_SENDING) {
        c->state = PFS_WIRE_AWAITING;
        c->last_ns = c->began_ns;
        if (!c->reply->retried) {
            w->counts.sent++;
            w->counts.reused += c->reply->reused;
        }
        /* On the loopback the stamp is there already. */
        if (!w->spec.kernel || !read_send_stamps(w, c) || !c->reply->kernel_sent) {
            sent(w, c, c->began_ns);
        }
        if (!watch(w, c, EPOLLIN)) {
            fail(w, c, PFS_EVENTS_CONNECT, "the system cannot watch the connection", errno);
        }
    }
}

static void send_first(pfs_wire *w, pfs_wire_conn *c)
{
    c->state = PFS_WIRE_SENDING;
    c->written = 0;
    c->finished = false;
    c->all_kernel = true;
    c->reading = PFS_WIRE_AS_ERROR; /* until the head says */
    pfs_http_begin(&c->http, false);
    pfs_stream_reset(&c->stream);
    send_more(w, c);
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
    w->counts.connects++;
    c->bytes_out = 0;
    send_first(w, c);
}

static void dial(pfs_wire *w, pfs_wire_conn *c)
{
    c->fd = socket(w->spec.address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fail(w, c, PFS_EVENTS_CONNECT, "the system gives no socket", errno);
        return;
    }
    c->state = PFS_WIRE_CONNECTING;
    int done = connect(c->fd, w->spec.address, w->spec.address_length);
    if (done < 0 && errno != EINPROGRESS) {
        fail(w, c, PFS_EVENTS_CONNECT, "no connection", errno);
    } else if (!watch(w, c, EPOLLOUT)) {
        fail(w, c, PFS_EVENTS_CONNECT, "the system cannot watch the connection", errno);
    }
}

/* No byte of an answer came on a connection that had been used before: once more, on a new one. */
static void stale(pfs_wire *w, pfs_wire_conn *c)
{
    hang_up(c);
    w->counts.stale_retries++;
    c->reply->retried = true;
    c->reply->reused = c->reply->kernel_sent = false;
    c->reply->error_number = 0;
    dial(w, c);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void judge(pfs_wire *w, pfs_wire_conn *c, pfs_wire_verdict verdict)
{
    if (verdict == PFS_WIRE_FAILED) {
        finish(w, c, false, c->last_ns);
    } else if (verdict == PFS_WIRE_COMPLETE) {
        finish(w, c,
               c->state == PFS_WIRE_AWAITING && pfs_http_keep_alive(&c->http) &&
                   c->written == c->reply->request.length,
               c->last_ns);
    } else if (c->finished && c->list == &w->active) {
        c->deadline_ns = pfs_clock_ns() + PFS_WIRE_LINGER_NS;
        move(c, &w->lingering);
    }
}

static void broken(pfs_wire *w, pfs_wire_conn *c, int number)
{
    if (!pfs_http_begun(&c->http) && c->reply->reused && !c->reply->retried) {
        stale(w, c);
        return;
    }
    if (number == 0) {
        judge(w, c,
              pfs_wire_hear_close(w, c) == PFS_WIRE_COMPLETE ? PFS_WIRE_COMPLETE : PFS_WIRE_FAILED);
    } else if (c->finished) {
        finish(w, c, false, c->last_ns);
    } else {
        fail(w, c, PFS_EVENTS_RESET, "the connection was reset", number);
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
    ssize_t n = recvmsg(c->fd, &message, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            broken(w, c, errno);
        }
        return;
    }
    int64_t now = pfs_clock_ns(), at = now;
    if (n == 0) {
        c->last_ns = c->finished ? c->last_ns : now;
        broken(w, c, c->reply->error_number);
        return;
    }
    w->counts.reads++;
    w->counts.bytes_received += (uint64_t)n;
    if (w->spec.kernel && pfs_wire_clock_read(&w->clock, &message, c->last_ns, now, &at, NULL)) {
        uint64_t lag = (uint64_t)(now - at);
        w->counts.kernel_reads++;
        w->counts.lag_sum_ns += lag;
        w->counts.lag_over += lag > (uint64_t)PFS_WIRE_LATE_NS;
        w->counts.lag_max_ns = lag > w->counts.lag_max_ns ? lag : w->counts.lag_max_ns;
    } else {
        c->all_kernel = false;
    }
    c->last_ns = at;
    judge(w, c, pfs_wire_hear(w, c, (size_t)n, at));
}

/* The server has something to say on a connection without a request: that it closes, or nothing
 * that can be trusted. */
static void idle(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    if (read_send_stamps(w, c) && (events & (EPOLLIN | EPOLLHUP)) == 0) {
        return;
    }
    w->counts.stale_closed++;
    hang_up(c);
    move(c, &w->closed);
}

static void ready(pfs_wire *w, pfs_wire_conn *c, uint32_t events)
{
    if (c->state == PFS_WIRE_CLOSED) {
        return;
    }
    if (c->state == PFS_WIRE_IDLE) {
        idle(w, c, events);
        return;
    }
    if (c->state == PFS_WIRE_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
            error = errno;
        }
        if (error != 0) {
            fail(w, c, PFS_EVENTS_CONNECT, "no connection", error);
        } else {
            connected(w, c);
        }
        return;
    }
    bool stamps = (events & EPOLLERR) != 0 && read_send_stamps(w, c);
    if ((events & (EPOLLIN | EPOLLHUP)) != 0 || ((events & EPOLLERR) != 0 && !stamps)) {
        receive(w, c);
    } else if ((events & EPOLLOUT) != 0 && c->state == PFS_WIRE_SENDING) {
        send_more(w, c);
    }
}

/* ---- what is due ----------------------------------------------------------------------------- */

static void start(pfs_wire *w, pfs_wire_reply *reply, int64_t now)
{
    pfs_wire_conn *c = w->idle.last != NULL ? w->idle.last : w->closed.first;
    c->reply = reply;
    c->deadline_ns = now + w->spec.timeout_ns;
    c->last_ns = now;
    pfs_http_begin(&c->http, false);
    move(c, &w->active);
    if (c->state == PFS_WIRE_IDLE) {
        reply->reused = c->used;
        send_first(w, c);
    } else {
        dial(w, c);
    }
}

/* Takes from the queue what is due: for a connection, or, when none is free, to wait. */
static pfs_wire_reply *take(pfs_wire *w, int64_t now, bool vacant)
{
    pfs_wire_reply *found = NULL;
    pthread_mutex_lock(&w->lock);
    pfs_wire_reply *first = w->queue.first;
    if (first != NULL && (first->closed_loop ? vacant : first->due_ns <= now)) {
        found = pfs_wire_pop(&w->queue);
    }
    if (vacant && first == NULL && !w->starved) {
        w->starved = true;
        w->counts.starved++;
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

static void end_unsent(pfs_wire *w, pfs_wire_reply *reply, pfs_events_status status,
                       const char *why, int64_t now)
{
    reply->status = status;
    reply->why = why;
    reply->end_ns = now;
    w->counts.ended++;
    pfs_wire_note(w, PFS_WIRE_ENDED, reply, false, now);
}

/* Ends what is due, after pfs_wire_give_up; as much as the log has room for. */
static void end_due(pfs_wire *w, bool late)
{
    pfs_events_status status = late ? PFS_EVENTS_TIMEOUT : PFS_EVENTS_CANCELLED;
    const char *why = late ? "not sent within the time-out" : "given up";
    while (pfs_wire_has_room(w, 8)) {
        int64_t now = pfs_clock_ns();
        pfs_wire_reply *reply = pfs_wire_pop(&w->waiting);
        if (reply == NULL) {
            reply = take(w, now, false);
            if (reply == NULL) {
                return;
            }
            pfs_wire_note(w, PFS_WIRE_BEGUN, reply, false, now);
        }
        end_unsent(w, reply, status, why, now);
    }
}

static void start_due(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    bool giving_up = w->giving_up, late = w->too_late;
    pthread_mutex_unlock(&w->lock);
    if (giving_up) {
        while (late && w->lingering.first != NULL) {
            finish(w, w->lingering.first, false, w->lingering.first->last_ns);
        }
        while (late && w->active.first != NULL) {
            fail(w, w->active.first, PFS_EVENTS_TIMEOUT, "no end within the time-out", 0);
        }
        end_due(w, late);
        return;
    }
    while (pfs_wire_has_room(w, 8)) {
        int64_t now = pfs_clock_ns();
        bool vacant = w->idle.count + w->closed.count > 0;
        pfs_wire_reply *reply = NULL;
        if (vacant && w->waiting.count > 0) {
            start(w, pfs_wire_pop(&w->waiting), now);
            continue;
        }
        if (vacant || w->waiting.count < PFS_WIRE_MOST_WAITING) {
            reply = take(w, now, vacant);
        }
        if (reply == NULL) {
            return;
        }
        if (reply->closed_loop) {
            reply->due_ns = now;
        } else if (vacant && now - reply->due_ns > PFS_WIRE_LATE_NS) {
            w->counts.late_sends++;
        }
        pfs_wire_note(w, PFS_WIRE_BEGUN, reply, false, now);
        if (vacant) {
            start(w, reply, now);
        } else {
            pfs_wire_push(&w->waiting, reply);
        }
    }
}

static void expire(pfs_wire *w, int64_t now)
{
    while (w->active.first != NULL && w->active.first->deadline_ns <= now) {
        pfs_wire_conn *c = w->active.first;
        const char *why = c->state == PFS_WIRE_CONNECTING ? "no connection within the time-out"
                                                          : "no end within the time-out";
        fail(w, c, PFS_EVENTS_TIMEOUT, why, 0);
    }
    while (w->lingering.first != NULL && w->lingering.first->deadline_ns <= now) {
        finish(w, w->lingering.first, false, w->lingering.first->last_ns);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* When to wake up though nothing happens. */
static void set_timer(pfs_wire *w)
{
    int64_t at = INT64_MAX;
    pthread_mutex_lock(&w->lock);
    /* What is due already, and was not taken, waits for a connection or for room. */
    if (w->queue.first != NULL && !w->queue.first->closed_loop &&
        (w->idle.count + w->closed.count > 0 || w->waiting.count < PFS_WIRE_MOST_WAITING)) {
        at = w->queue.first->due_ns;
    }
    pthread_mutex_unlock(&w->lock);
    if (w->active.first != NULL && w->active.first->deadline_ns < at) {
        at = w->active.first->deadline_ns;
    }
    if (w->lingering.first != NULL && w->lingering.first->deadline_ns < at) {
        at = w->lingering.first->deadline_ns;
    }
    if (at == w->timer_ns) {
        return;
    }
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (at != INT64_MAX) {
        int64_t then = at < 1 ? 1 : at; /* 0 would disarm it */
        when.it_value.tv_sec = (time_t)(then / INT64_C(1000000000));
        when.it_value.tv_nsec = (long)(then % INT64_C(1000000000));
    }
    if (timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0) {
        w->timer_ns = at;
    }
}

static void silence(pfs_wire *w, int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) > 0 && fd == w->timer) {
        w->timer_ns = INT64_MAX; /* it has gone off */
    }
}

void pfs_wire_count_cpu(pfs_wire *w)
{
    struct timespec cpu;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) == 0) {
        w->counts.cpu_ns = (uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec;
    }
}

static void publish(pfs_wire *w)
{
    pfs_wire_counts *counts = &w->counts;
    counts->clock_pairs = w->clock.pairs;
    counts->clock_steps = w->clock.steps;
    counts->stamps_dropped = w->clock.dropped;
    counts->waiting = w->waiting.count;
    counts->active = w->active.count + w->lingering.count;
    pthread_mutex_lock(&w->lock);
    w->published = *counts;
    pthread_mutex_unlock(&w->lock);
}

void pfs_wire_turn(pfs_wire *w, int wait_ms)
{
    struct epoll_event events[BATCH];
    if (!pfs_wire_has_room(w, PFS_WIRE_MARKS_A_READ)) {
        struct pollfd woken = {.fd = w->wake, .events = POLLIN};
        w->counts.paused++;
        publish(w);
        if (poll(&woken, 1, wait_ms < 0 || wait_ms > PAUSE_MS ? PAUSE_MS : wait_ms) > 0) {
            silence(w, w->wake);
        }
        return;
    }
    int n = epoll_wait(w->epoll, events, BATCH, wait_ms);
    int64_t began = pfs_clock_ns();
    if (w->spec.kernel) {
        pfs_wire_clock_renew(&w->clock, began);
    }
    for (int i = 0; i < n && pfs_wire_has_room(w, PFS_WIRE_MARKS_A_READ); i++) {
        void *what = events[i].data.ptr;
        if (what == &w->wake || what == &w->timer) {
            silence(w, *(int *)what);
        } else {
            ready(w, what, events[i].events);
        }
    }
    expire(w, began);
    start_due(w);
    if (began >= w->cpu_due_ns) {
        w->cpu_due_ns = began + CPU_NS;
        pfs_wire_count_cpu(w);
    }
    set_timer(w);
    uint64_t busy = (uint64_t)(pfs_clock_ns() - began);
    w->counts.turn_max_ns = busy > w->counts.turn_max_ns ? busy : w->counts.turn_max_ns;
    publish(w);
}

void pfs_wire_abandon(pfs_wire *w)
{
    int64_t now = pfs_clock_ns();
    const char *why = "given up";
    while (w->lingering.first != NULL) {
        finish(w, w->lingering.first, false, w->lingering.first->last_ns);
    }
    while (w->active.first != NULL) {
        fail(w, w->active.first, PFS_EVENTS_CANCELLED, why, 0);
    }
    while (w->idle.first != NULL) {
        hang_up(w->idle.first);
        move(w->idle.first, &w->closed);
    }
    for (pfs_wire_reply *reply; (reply = pfs_wire_pop(&w->waiting)) != NULL;) {
        end_unsent(w, reply, PFS_EVENTS_CANCELLED, why, now);
    }
    publish(w);
}
