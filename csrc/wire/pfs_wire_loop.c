/* The readiness loop: what is due, time-outs, turns.  Level-triggered epoll, one thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH    256
#define PAUSE_MS 10
#define AHEAD    64                /* the most connections that are opened ahead of what is due */
#define CPU_NS   INT64_C(10000000) /* how often the thread's CPU time is asked for */
#define FEW      500               /* reads for each that was coalesced after a nap, at least */
#define MANY     32 /* reads for each answer: the next request may wait for a nap, in few of them */

/* ---- what is due ----------------------------------------------------------------------------- */

static void start(pfs_wire *w, pfs_wire_reply *reply, int64_t now)
{
    pfs_wire_conn *c = w->idle.last != NULL       ? w->idle.last
                       : w->opening.first != NULL ? w->opening.first
                                                  : pfs_wire_next_closed(w);
    c->reply = reply;
    c->deadline_ns = now + w->spec.timeout_ns;
    c->last_ns = now;
    c->prompt = false;
    pfs_http_begin(&c->http, false);
    pfs_wire_move(c, &w->active);
    if (c->state == PFS_WIRE_IDLE) {
        reply->reused = c->used;
        c->prompt =
            w->spec.sealed && !reply->closed_loop && now - reply->due_ns <= PFS_WIRE_LATE_NS;
        if (!w->spec.sealed) {
            c->read_ns = now;
        }
        pfs_wire_send_first(w, c, PFS_WIRE_SENDING);
    } else if (c->state == PFS_WIRE_CLOSED) {
        c->tried = 0;
        pfs_wire_dial(w, c);
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

/* Whether there is a connection for a request. */
static bool vacant(const pfs_wire *w)
{
    return w->idle.count + w->opening.count + pfs_wire_closed(w) > 0;
}

static void count_late(pfs_wire *w, int64_t due_ns, int64_t now)
{
    w->counts.late_sends += now - due_ns > PFS_WIRE_LATE_NS;
}

/* A request that has been sealed already is due. */
static void start_primed(pfs_wire *w, pfs_wire_conn *c, int64_t now)
{
    bool late = now - c->reply->due_ns > PFS_WIRE_LATE_NS;
    count_late(w, c->reply->due_ns, now);
    pfs_wire_begin(w, c->reply, now);
    c->deadline_ns = now + w->spec.timeout_ns;
    c->last_ns = now;
    c->prompt = !late;
    pfs_wire_move(c, &w->active);
    if (c->state == PFS_WIRE_PRIMED) {
        c->state = PFS_WIRE_SENDING;
        if (!c->sealing) {
            pfs_wire_send_more(w, c);
        }
    } else { /* it was closed meanwhile */
        c->reply->reused = false;
        c->prompt = false;
        c->tried = 0;
        pfs_wire_dial(w, c);
    }
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

/* Discards what is primed and not due, and closes what was opened ahead. */
static void unprepare(pfs_wire *w, int64_t now)
{
    for (pfs_wire_conn *c; (c = w->primed.last) != NULL && c->reply->due_ns > now;) {
        pfs_wire_reply_free(w, c->reply);
        c->reply = NULL;
        pthread_mutex_lock(&w->lock);
        w->unsent++;
        pthread_mutex_unlock(&w->lock);
        pfs_wire_hang_up(w, c);
        pfs_wire_move(c, &w->closed);
    }
    while (w->opening.first != NULL) {
        pfs_wire_conn *c = w->opening.first;
        pfs_wire_hang_up(w, c);
        pfs_wire_move(c, &w->closed);
    }
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
            pfs_wire_begin(w, reply, now);
        }
        end_unsent(w, reply, status, why, now);
    }
}

/* After pfs_wire_give_up. */
static void wind_up(pfs_wire *w, bool late)
{
    int64_t now = pfs_clock_ns();
    while (w->primed.first != NULL && w->primed.first->reply->due_ns <= now &&
           pfs_wire_can_hand(w)) {
        start_primed(w, w->primed.first, now);
    }
    unprepare(w, now);
    while (late && w->lingering.first != NULL) {
        pfs_wire_finish(w, w->lingering.first, false, w->lingering.first->last_ns);
    }
    while (late && w->active.first != NULL) {
        pfs_wire_end_failed(w, w->active.first, PFS_EVENTS_TIMEOUT, "no end within the time-out",
                            0);
    }
    end_due(w, late);
}

static void start_due(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    bool giving_up = w->giving_up, late = w->too_late;
    pthread_mutex_unlock(&w->lock);
    if (giving_up) {
        wind_up(w, late);
        return;
    }
    while (pfs_wire_has_room(w, 8) && (!w->spec.sealed || pfs_wire_can_hand(w))) {
        int64_t now = pfs_clock_ns();
        bool free = vacant(w);
        pfs_wire_reply *reply = NULL;
        if (w->primed.first != NULL && w->primed.first->reply->due_ns <= now) {
            start_primed(w, w->primed.first, now);
            continue;
        }
        if (free && w->waiting.count > 0) {
            start(w, pfs_wire_pop(&w->waiting), now);
            continue;
        }
        if (free || w->waiting.count < PFS_WIRE_MOST_WAITING) {
            reply = take(w, now, free);
        }
        if (reply == NULL) {
            return;
        }
        if (!reply->closed_loop && free) {
            count_late(w, reply->due_ns, now);
        }
        if (!reply->closed_loop || !w->spec.sealed || w->idle.count > 0) {
            pfs_wire_begin(w, reply, now); /* else it begins when its connection is open */
        }
        if (free) {
            start(w, reply, now);
        } else {
            pfs_wire_push(&w->waiting, reply);
        }
    }
}

/* ---- what will be due ------------------------------------------------------------------------ */

/* The next request, if it is to be sealed now and a connection is open. */
static pfs_wire_reply *take_ahead(pfs_wire *w, int64_t now)
{
    pfs_wire_reply *found = NULL;
    pthread_mutex_lock(&w->lock);
    pfs_wire_reply *first = w->queue.first;
    if (first != NULL && !first->closed_loop && first->due_ns - PFS_WIRE_PRIME_NS <= now) {
        found = pfs_wire_pop(&w->queue);
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* How many are due soon, at most so many as are worth counting. */
static size_t soon(pfs_wire *w, int64_t now)
{
    size_t count = 0;
    pthread_mutex_lock(&w->lock);
    for (const pfs_wire_reply *r = w->queue.first;
         r != NULL && !r->closed_loop && r->due_ns - PFS_WIRE_OPEN_AHEAD_NS <= now && count < AHEAD;
         r = r->next) {
        count++;
    }
    pthread_mutex_unlock(&w->lock);
    return count;
}

static void open_ahead(pfs_wire *w, int64_t now)
{
    pfs_wire_conn *c = pfs_wire_next_closed(w);
    c->deadline_ns = now + w->spec.timeout_ns;
    c->tried = 0;
    c->used = false;
    w->counts.opened_ahead++;
    pfs_wire_move(c, &w->opening);
    pfs_wire_dial(w, c);
}

/* Sealed: prepares what is due within moments.  Says in look_ns when to come again. */
static void look_ahead(pfs_wire *w)
{
    int64_t now = pfs_clock_ns();
    pthread_mutex_lock(&w->lock);
    bool giving_up = w->giving_up;
    pthread_mutex_unlock(&w->lock);
    if (giving_up) {
        w->look_ns = INT64_MAX;
        return;
    }
    while (w->idle.count > 0 && w->waiting.count == 0 && pfs_wire_can_hand(w)) {
        pfs_wire_reply *reply = take_ahead(w, now);
        if (reply == NULL) {
            break;
        }
        pfs_wire_conn *c = w->idle.last;
        c->reply = reply;
        c->prompt = false;
        c->deadline_ns = now + w->spec.timeout_ns; /* anew when it is due */
        reply->reused = c->used;
        pfs_wire_move(c, &w->primed);
        pfs_wire_send_first(w, c, PFS_WIRE_PRIMED);
    }
    if (now >= w->rest_ns && w->waiting.count == 0) {
        for (size_t wanted = soon(w, now); wanted > w->idle.count + w->opening.count &&
                                           pfs_wire_closed(w) > 0 && now >= w->rest_ns &&
                                           pfs_wire_can_hand(w);) {
            open_ahead(w, now);
        }
    }
    pthread_mutex_lock(&w->lock);
    const pfs_wire_reply *first = w->queue.first;
    int64_t due = first == NULL || first->closed_loop ? INT64_MAX : first->due_ns;
    pthread_mutex_unlock(&w->lock);
    int64_t at = INT64_MAX;
    if (due != INT64_MAX) {
        at = due - PFS_WIRE_OPEN_AHEAD_NS > now ? due - PFS_WIRE_OPEN_AHEAD_NS
             : due - PFS_WIRE_PRIME_NS > now    ? due - PFS_WIRE_PRIME_NS
                                                : INT64_MAX; /* then it is due next */
    }
    w->look_ns = at;
}

static const char *late_in(pfs_wire_state state)
{
    return state == PFS_WIRE_CONNECTING ? "no connection within the time-out"
           : state == PFS_WIRE_OPENING  ? "no end of the TLS handshake within the time-out"
                                        : "no end within the time-out";
}

static void expire(pfs_wire *w, int64_t now)
{
    while (w->opening.first != NULL && w->opening.first->deadline_ns <= now) {
        pfs_wire_drop(w, w->opening.first);
    }
    for (size_t i = 0; i < PFS_WIRE_RESTS; i++) {
        while (w->resting[i].first != NULL && w->resting[i].first->deadline_ns <= now) {
            pfs_wire_rested(w, w->resting[i].first, now);
        }
    }
    while (w->active.first != NULL && w->active.first->deadline_ns <= now) {
        pfs_wire_conn *c = w->active.first;
        pfs_wire_end_failed(w, c, PFS_EVENTS_TIMEOUT, late_in(c->state), 0);
    }
    while (w->lingering.first != NULL && w->lingering.first->deadline_ns <= now) {
        pfs_wire_finish(w, w->lingering.first, false, w->lingering.first->last_ns);
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
        (vacant(w) || w->waiting.count < PFS_WIRE_MOST_WAITING)) {
        at = w->queue.first->due_ns;
    }
    pthread_mutex_unlock(&w->lock);
    if (w->active.first != NULL && w->active.first->deadline_ns < at) {
        at = w->active.first->deadline_ns;
    }
    if (w->lingering.first != NULL && w->lingering.first->deadline_ns < at) {
        at = w->lingering.first->deadline_ns;
    }
    if (w->opening.first != NULL && w->opening.first->deadline_ns < at) {
        at = w->opening.first->deadline_ns;
    }
    if (w->primed.first != NULL && w->primed.first->reply->due_ns < at) {
        at = w->primed.first->reply->due_ns;
    }
    for (size_t i = 0; i < PFS_WIRE_RESTS; i++) {
        if (w->resting[i].first != NULL && w->resting[i].first->deadline_ns < at) {
            at = w->resting[i].first->deadline_ns;
        }
    }
    at = w->look_ns < at ? w->look_ns : at;
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
    counts->resting = 0;
    for (size_t i = 0; i < PFS_WIRE_RESTS; i++) {
        counts->resting += w->resting[i].count;
    }
    pthread_mutex_lock(&w->lock);
    w->published = *counts;
    pthread_mutex_unlock(&w->lock);
}

static bool can_read(pfs_wire *w)
{
    return pfs_wire_has_room(w, PFS_WIRE_MARKS_A_READ) &&
           (!w->spec.sealed || (pfs_wire_can_hand(w) && !pfs_wire_is_behind(w)));
}

/* Lets chunks come together; what must not wait ends it. */
static void nap(pfs_wire *w)
{
    struct pollfd urgent[] = {{.fd = w->wake, .events = POLLIN},
                              {.fd = w->timer, .events = POLLIN}};
    const struct timespec length = {.tv_nsec = (long)PFS_WIRE_NAP_NS};
    int64_t before = w->turned_ns;
    (void)ppoll(urgent, sizeof urgent / sizeof urgent[0], &length, NULL);
    w->turned_ns = pfs_clock_ns();
    w->napped_ns = w->turned_ns - before;
    w->counts.nap_ns += (uint64_t)(w->napped_ns > 0 ? w->napped_ns : 0);
    w->napped_ns = w->napped_ns < PFS_WIRE_NAP_NS ? w->napped_ns : PFS_WIRE_NAP_NS;
    w->counts.naps++;
}

/* After a turn that began then, and what was counted before it: whether a nap saves work and costs
 * no stamp and no time of a request. */
static bool may_nap(pfs_wire *w, int64_t began, const pfs_wire_counts *before)
{
    const pfs_wire_counts *counts = &w->counts;
    if (w->napped_ns != 0) {
        w->blurred += counts->coalesced_reads - before->coalesced_reads;
    }
    return w->spec.kernel && !w->spec.sealed && w->spec.stream != PFS_STREAM_TEXT &&
           !w->ends_unsaid && w->writing == 0 && began - w->turned_ns < PFS_WIRE_NAP_NS &&
           counts->reads >= FEW * w->blurred && counts->reads >= MANY * (counts->ended + 1) &&
           counts->reads - before->reads == counts->kernel_reads - before->kernel_reads;
}

void pfs_wire_turn(pfs_wire *w, int wait_ms)
{
    struct epoll_event events[BATCH];
    w->napped_ns = 0;
    if (!can_read(w)) {
        struct pollfd woken = {.fd = w->wake, .events = POLLIN};
        w->counts.paused++;
        publish(w);
        if (poll(&woken, 1, wait_ms < 0 || wait_ms > PAUSE_MS ? PAUSE_MS : wait_ms) > 0) {
            silence(w, w->wake);
        }
        if (w->spec.sealed) {
            pfs_wire_hear_given(w);
        }
        return;
    }
    if (w->spec.sealed && pfs_wire_has_given(w)) {
        wait_ms = 0;
    }
    if (w->napping && wait_ms < 0) {
        nap(w);
    }
    int n = epoll_wait(w->epoll, events, BATCH, wait_ms);
    int64_t began = pfs_clock_ns();
    pfs_wire_counts before = w->counts;
    if (w->spec.kernel) {
        pfs_wire_clock_renew(&w->clock, began);
    }
    for (int i = 0; i < n && can_read(w); i++) {
        void *what = events[i].data.ptr;
        if (what == &w->wake || what == &w->timer) {
            silence(w, *(int *)what);
        } else {
            pfs_wire_ready(w, what, events[i].events);
        }
    }
    if (w->spec.sealed) {
        pfs_wire_hear_given(w);
    }
    expire(w, began);
    start_due(w);
    if (w->spec.sealed) {
        look_ahead(w);
    }
    if (began >= w->cpu_due_ns) {
        w->cpu_due_ns = began + CPU_NS;
        pfs_wire_count_cpu(w);
    }
    set_timer(w);
    w->napping = may_nap(w, began, &before);
    w->turned_ns = pfs_clock_ns();
    uint64_t busy = (uint64_t)(w->turned_ns - began);
    w->counts.turn_max_ns = busy > w->counts.turn_max_ns ? busy : w->counts.turn_max_ns;
    publish(w);
}

void pfs_wire_abandon(pfs_wire *w)
{
    int64_t now = pfs_clock_ns();
    const char *why = "given up";
    while (w->lingering.first != NULL) {
        pfs_wire_finish(w, w->lingering.first, false, w->lingering.first->last_ns);
    }
    while (w->active.first != NULL) {
        pfs_wire_end_failed(w, w->active.first, PFS_EVENTS_CANCELLED, why, 0);
    }
    unprepare(w, INT64_MIN);
    while (w->idle.first != NULL) {
        pfs_wire_conn *c = w->idle.first;
        pfs_wire_hang_up(w, c);
        pfs_wire_move(c, &w->closed);
    }
    for (size_t i = 0; i < PFS_WIRE_RESTS; i++) {
        while (w->resting[i].first != NULL) {
            pfs_wire_rested(w, w->resting[i].first, now);
        }
    }
    for (pfs_wire_reply *reply; (reply = pfs_wire_pop(&w->waiting)) != NULL;) {
        end_unsent(w, reply, PFS_EVENTS_CANCELLED, why, now);
    }
    publish(w);
}
