/* The engine as others see it: made, fed, drained, stopped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define STACK ((size_t)256 << 10)

/* ---- small parts ----------------------------------------------------------------------------- */

void pfs_wire_push(pfs_wire_fifo *fifo, pfs_wire_reply *reply)
{
    reply->next = NULL;
    if (fifo->last == NULL) {
        fifo->first = reply;
    } else {
        fifo->last->next = reply;
    }
    fifo->last = reply;
    fifo->count++;
}

/* By due, after those of the same.  Cheap at either end: what is late goes to the front. */
static void place(pfs_wire_fifo *fifo, pfs_wire_reply *reply)
{
    if (reply->closed_loop || fifo->last == NULL || fifo->last->due_ns <= reply->due_ns) {
        pfs_wire_push(fifo, reply);
        return;
    }
    pfs_wire_reply **at = &fifo->first;
    while ((*at)->due_ns <= reply->due_ns) {
        at = &(*at)->next;
    }
    reply->next = *at;
    *at = reply;
    fifo->count++;
}

pfs_wire_reply *pfs_wire_pop(pfs_wire_fifo *fifo)
{
    pfs_wire_reply *reply = fifo->first;
    if (reply != NULL) {
        fifo->first = reply->next;
        if (fifo->first == NULL) {
            fifo->last = NULL;
        }
        fifo->count--;
        reply->next = NULL;
    }
    return reply;
}

void pfs_wire_reply_free(pfs_wire *w, pfs_wire_reply *reply)
{
    if (reply != NULL) {
        pfs_bytes_release(&reply->request, w->alloc);
        pfs_bytes_release(&reply->echo, w->alloc);
        pfs_bytes_release(&reply->last, w->alloc);
        pfs_bytes_release(&reply->body, w->alloc);
        pfs_bytes_release(&reply->said, w->alloc);
        pfs_alloc_release(w->alloc, reply);
    }
}

static size_t free_all(pfs_wire *w, pfs_wire_fifo *fifo)
{
    size_t count = fifo->count;
    for (pfs_wire_reply *reply; (reply = pfs_wire_pop(fifo)) != NULL;) {
        pfs_wire_reply_free(w, reply);
    }
    return count;
}

/* An eventfd's counter cannot overflow here: whoever adds 1 has seen it read since. */
void pfs_wire_ring(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void silence(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

/* ---- the log --------------------------------------------------------------------------------- */

bool pfs_wire_has_room(pfs_wire *w, size_t marks)
{
    pthread_mutex_lock(&w->lock);
    /* Besides, every request on a connection can still be sent twice, each with its better stamp,
     * and end, and every one that waits can be given up. */
    bool has = w->logged + marks + 6 * w->spec.connections + w->waiting.count <= w->log_room;
    pthread_mutex_unlock(&w->lock);
    return has;
}

/* Under the lock. */
static void tell_if_due(pfs_wire *w)
{
    if (!w->has_told && (w->untold >= w->tell_after || w->logged >= w->log_room / 2)) {
        w->has_told = true;
        pfs_wire_ring(w->told);
    }
}

void pfs_wire_note(pfs_wire *w, pfs_wire_what what, pfs_wire_reply *reply, bool visible,
                   int64_t at_ns)
{
    pthread_mutex_lock(&w->lock);
    w->log[w->logged++] = (pfs_wire_mark){reply, at_ns, (uint8_t)what, visible};
    w->untold += what == PFS_WIRE_ENDED;
    tell_if_due(w);
    pthread_mutex_unlock(&w->lock);
}

void pfs_wire_tell_after(pfs_wire *w, size_t replies)
{
    pthread_mutex_lock(&w->lock);
    w->tell_after = replies < 1 ? 1 : replies;
    tell_if_due(w);
    pthread_mutex_unlock(&w->lock);
}

static void replay(const pfs_wire_mark *mark, pfs_events *events, uint64_t *lost)
{
    pfs_wire_reply *reply = mark->reply;
    if (mark->what == PFS_WIRE_BEGUN) {
        if (pfs_events_begin(events, reply->due_ns, mark->at_ns, reply->tag, &reply->row) !=
            PFS_OK) {
            reply->row = 0;
            ++*lost;
        }
    } else if (reply->row == 0) {
        return;
    } else if (mark->what == PFS_WIRE_SENT) {
        (void)pfs_events_sent(events, reply->row, mark->at_ns);
    } else if (mark->what == PFS_WIRE_TOKEN) {
        /* Without memory the gap is missing, which the recorder counts (unrecorded). */
        (void)pfs_events_token(events, reply->row, 1, mark->visible, mark->at_ns);
    } else {
        pfs_events_outcome outcome = {
            .status = reply->status,
            .prompt_tokens =
                reply->prompt_tokens < 0 ? reply->counted_prompt : reply->prompt_tokens,
            .completion_tokens =
                reply->completion_tokens < 0 ? reply->counted_completion : reply->completion_tokens,
            .bytes = reply->bytes,
            .counted = reply->completion_tokens < 0};
        (void)pfs_events_end(events, reply->row, &outcome, mark->at_ns);
        reply->row = 0;
    }
}

/* What has happened, out of the log. */
static void collect(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    pfs_wire_mark *log = w->log;
    size_t count = w->logged;
    w->log = w->spare;
    w->spare = log;
    w->logged = w->untold = 0;
    if (w->has_told) {
        silence(w->told);
        w->has_told = false;
    }
    w->collected = count;
    w->has_collected = true;
    pthread_mutex_unlock(&w->lock);
    if (count >= w->log_room / 2) {
        pfs_wire_ring(w->wake); /* it may have paused */
    }
}

void pfs_wire_collect(pfs_wire *w, pfs_wire_reply **untold)
{
    pfs_wire_fifo found = {0};
    *untold = NULL;
    if (w->has_collected) {
        return;
    }
    collect(w);
    for (size_t i = 0; i < w->collected; i++) {
        pfs_wire_reply *reply = w->spare[i].reply;
        if (w->spare[i].what == PFS_WIRE_ENDED && reply->status == PFS_EVENTS_OK &&
            (reply->prompt_tokens < 0 || reply->completion_tokens < 0)) {
            pfs_wire_push(&found, reply);
        }
    }
    *untold = found.first;
}

void pfs_wire_drain(pfs_wire *w, pfs_events *events, pfs_wire_reply **replies)
{
    pfs_wire_fifo ended = {0};
    uint64_t lost = 0;
    if (!w->has_collected) {
        collect(w);
    }
    for (size_t i = 0; i < w->collected; i++) {
        replay(&w->spare[i], events, &lost);
        if (w->spare[i].what == PFS_WIRE_ENDED) {
            pfs_wire_push(&ended, w->spare[i].reply);
        }
    }
    w->collected = 0;
    w->has_collected = false;
    if (lost != 0) {
        pthread_mutex_lock(&w->lock);
        w->unrecorded += lost;
        pthread_mutex_unlock(&w->lock);
    }
    *replies = ended.first;
}

int pfs_wire_fd(const pfs_wire *w)
{
    return w->told;
}

void pfs_wire_counted(pfs_wire *w, pfs_wire_counts *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->published;
    out->unsent = w->unsent;
    out->unrecorded = w->unrecorded;
    out->queued = w->queue.count;
    pthread_mutex_unlock(&w->lock);
}

/* ---- feeding --------------------------------------------------------------------------------- */

/* Not a byte more than it has: what waits may be as long as a conversation. */
static pfs_status copy_bytes(pfs_wire *w, pfs_bytes *into, const char *from, size_t length)
{
    into->at = pfs_alloc_array(w->alloc, length, 1);
    if (into->at == NULL) {
        return PFS_ENOMEM;
    }
    memcpy(into->at, from, length);
    into->length = into->room = length;
    return PFS_OK;
}

pfs_status pfs_wire_submit(pfs_wire *w, const pfs_wire_order *order)
{
    if (order->length == 0) {
        return PFS_EINVAL;
    }
    pfs_wire_reply *reply = pfs_alloc_zeroed(w->alloc, 1, sizeof *reply);
    bool echoes = w->spec.cumulative && order->echo != NULL && order->echo_length != 0;
    if (reply == NULL || copy_bytes(w, &reply->request, order->request, order->length) != PFS_OK ||
        (echoes && copy_bytes(w, &reply->echo, order->echo, order->echo_length) != PFS_OK)) {
        pfs_wire_reply_free(w, reply);
        return PFS_ENOMEM;
    }
    reply->tag = order->tag;
    reply->due_ns = order->due_ns;
    reply->sent_ns = reply->first_ns = reply->end_ns = PFS_EVENTS_NONE;
    reply->retry_after_s = reply->prompt_tokens = reply->completion_tokens = -1;
    reply->counted_prompt = reply->counted_completion = -1;
    reply->keep = order->keep;
    reply->closed_loop = order->due_ns == PFS_WIRE_NOW;
    bool full, wake;
    pthread_mutex_lock(&w->lock);
    full = w->stopping || w->giving_up || w->queue.count >= w->spec.queue;
    wake = w->starved;
    if (!full) {
        place(&w->queue, reply);
        wake = wake || w->queue.first == reply; /* the one that the loop waits for */
        w->starved = false;
    }
    pthread_mutex_unlock(&w->lock);
    if (full) {
        pfs_wire_reply_free(w, reply);
        return PFS_EFULL;
    }
    if (wake) {
        pfs_wire_ring(w->wake);
    }
    return PFS_OK;
}

size_t pfs_wire_discard(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    pfs_wire_fifo taken = w->queue;
    w->queue = (pfs_wire_fifo){0};
    w->unsent += taken.count;
    pthread_mutex_unlock(&w->lock);
    return free_all(w, &taken);
}

void pfs_wire_give_up(pfs_wire *w, bool late)
{
    pfs_wire_fifo due = {0}, rest = {0};
    int64_t now = pfs_clock_ns();
    pthread_mutex_lock(&w->lock);
    for (pfs_wire_reply *reply; (reply = pfs_wire_pop(&w->queue)) != NULL;) {
        pfs_wire_push(reply->closed_loop || reply->due_ns > now ? &rest : &due, reply);
    }
    w->queue = due; /* the loop ends these, in the log */
    w->unsent += rest.count;
    w->giving_up = true;
    w->too_late = w->too_late || late;
    pthread_mutex_unlock(&w->lock);
    pfs_wire_ring(w->wake);
    (void)free_all(w, &rest);
}

/* ---- making and unmaking --------------------------------------------------------------------- */

static pfs_status open_all(pfs_wire *w)
{
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->told = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (w->epoll < 0 || w->wake < 0 || w->told < 0 || w->timer < 0) {
        return PFS_EFULL;
    }
    struct epoll_event wake = {.events = EPOLLIN, .data = {.ptr = &w->wake}};
    struct epoll_event timer = {.events = EPOLLIN, .data = {.ptr = &w->timer}};
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &wake) < 0 ||
        epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->timer, &timer) < 0) {
        return PFS_EFULL;
    }
    if (w->spec.kernel) {
        /* The kernel stamps packets only while some socket asks it to, and takes a moment to begin:
         * this one asks from now on.  Without it the first answers lack their stamps, no more. */
        int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
        w->warm = socket(w->addresses[0].at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (w->warm >= 0) {
            (void)setsockopt(w->warm, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
        }
    }
    return PFS_OK;
}

static void close_all(pfs_wire *w)
{
    const int fds[] = {w->epoll, w->wake, w->told, w->timer, w->warm, w->sealer};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static bool sound(const pfs_wire_spec *spec)
{
    for (size_t i = 0; i < spec->rule_count; i++) {
        if ((int)spec->roles[i] < 0 || spec->roles[i] >= PFS_WIRE_ROLES) {
            return false;
        }
    }
    for (size_t i = 0; i < spec->address_count && i < PFS_WIRE_MOST_ADDRESSES; i++) {
        if (spec->addresses[i].length > sizeof spec->addresses[i].at) {
            return false;
        }
    }
    return spec->address_count >= 1 && spec->address_count <= PFS_WIRE_MOST_ADDRESSES &&
           spec->connections >= 1 && spec->connections <= PFS_WIRE_MOST_CONNECTIONS &&
           spec->queue >= 1 && spec->queue <= PFS_WIRE_MOST_QUEUED && spec->timeout_ns > 0 &&
           spec->timeout_ns < INT64_MAX / 4 && spec->max_body >= 1 &&
           spec->name_count <= PFS_WIRE_MOST_NAMES && spec->max_event <= spec->max_body;
}

static char *copy_of(pfs_wire *w, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = pfs_alloc_array(w->alloc, size, 1);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static pfs_status copy_names(pfs_wire *w, const pfs_wire_spec *spec)
{
    w->names = pfs_alloc_zeroed(w->alloc, spec->name_count + 1, sizeof *w->names);
    for (size_t i = 0; w->names != NULL && i < spec->name_count; i++) {
        w->names[i] = copy_of(w, spec->names[i]);
        if (w->names[i] == NULL) {
            return PFS_ENOMEM;
        }
    }
    return w->names == NULL ? PFS_ENOMEM : PFS_OK;
}

static pfs_status make(pfs_wire *w, const pfs_wire_spec *spec, size_t *wrong)
{
    pfs_status status =
        pfs_json_rules_init(&w->rules, spec->rules, spec->rule_count, wrong, w->alloc);
    if (status != PFS_OK) {
        w->rules.alloc = NULL;
        return status;
    }
    for (size_t i = 0; i < spec->rule_count; i++) {
        w->roles[spec->roles[i]] |= UINT64_C(1) << i;
    }
    w->rules.counting =
        w->roles[PFS_WIRE_PROMPT] | w->roles[PFS_WIRE_MORE_PROMPT] | w->roles[PFS_WIRE_COMPLETION];
    w->log_room =
        PFS_WIRE_LOG + PFS_WIRE_MARKS_A_READ + PFS_WIRE_MOST_WAITING + 8 * spec->connections;
    w->log = pfs_alloc_array(w->alloc, w->log_room, sizeof *w->log);
    w->spare = pfs_alloc_array(w->alloc, w->log_room, sizeof *w->spare);
    w->conns = pfs_alloc_array(w->alloc, spec->connections, sizeof *w->conns);
    w->finish = copy_of(w, spec->finish == NULL ? "" : spec->finish);
    if (w->log == NULL || w->spare == NULL || w->conns == NULL || w->finish == NULL ||
        copy_names(w, spec) != PFS_OK) {
        return PFS_ENOMEM;
    }
    w->finish_length = strlen(w->finish);
    pfs_stream stream;
    pfs_http http;
    status = pfs_stream_init(&stream, spec->stream, spec->max_event, w->alloc);
    if (status == PFS_OK) {
        status = pfs_http_init(&http, PFS_HTTP_MAX_HEAD, w->alloc);
    }
    if (status != PFS_OK) {
        return status;
    }
    pfs_wire_clock_init(&w->clock);
    status = open_all(w);
    return status == PFS_OK && spec->sealed ? pfs_wire_sealed_init(w) : status;
}

static void unmake(pfs_wire *w)
{
    close_all(w);
    pfs_wire_sealed_clear(w);
    for (size_t i = 0; i < w->made; i++) {
        pfs_stream_clear(&w->conns[i].stream);
        pfs_http_clear(&w->conns[i].http);
        pfs_bytes_release(&w->conns[i].out, w->alloc);
    }
    if (w->rules.alloc != NULL) {
        pfs_json_rules_clear(&w->rules);
    }
    pfs_alloc_release(w->alloc, w->conns);
    pfs_alloc_release(w->alloc, w->log);
    pfs_alloc_release(w->alloc, w->spare);
    pfs_alloc_release(w->alloc, w->finish);
    for (size_t i = 0; w->names != NULL && i < w->spec.name_count; i++) {
        pfs_alloc_release(w->alloc, w->names[i]);
    }
    pfs_alloc_release(w->alloc, w->names);
    pthread_mutex_destroy(&w->lock);
    pfs_alloc_release(w->alloc, w);
}

pfs_status pfs_wire_new(pfs_wire **out, const pfs_wire_spec *spec, size_t *wrong,
                        const pfs_alloc *alloc)
{
    if (!sound(spec)) {
        return PFS_EINVAL;
    }
    pfs_wire *w = pfs_alloc_zeroed(alloc, 1, sizeof *w);
    if (w == NULL) {
        return PFS_ENOMEM;
    }
    w->alloc = alloc;
    w->spec = *spec;
    memcpy(w->addresses, spec->addresses, spec->address_count * sizeof *w->addresses);
    w->spec.addresses = w->addresses;
    w->spec.rules = NULL; /* the caller's */
    w->spec.roles = NULL;
    w->spec.finish = NULL;
    w->spec.names = NULL;
    w->epoll = w->wake = w->told = w->timer = w->warm = w->sealer = -1;
    w->timer_ns = w->look_ns = INT64_MAX;
    w->rest_ns = INT64_MIN;
    w->tell_after = 1;
    if (pthread_mutex_init(&w->lock, NULL) != 0) {
        pfs_alloc_release(alloc, w);
        return PFS_ENOMEM;
    }
    pfs_status status = make(w, spec, wrong);
    if (status != PFS_OK) {
        int why = errno;
        unmake(w);
        errno = why;
        return status;
    }
    *out = w;
    return PFS_OK;
}

static void *run(void *context)
{
    pfs_wire *w = context;
    for (bool over = false; !over;) {
        pfs_wire_turn(w, -1);
        pthread_mutex_lock(&w->lock);
        over = w->stopping;
        pthread_mutex_unlock(&w->lock);
    }
    pfs_wire_count_cpu(w);
    return NULL;
}

pfs_status pfs_wire_start(pfs_wire *w)
{
    if (w->started || w->stopped) {
        return PFS_EINVAL;
    }
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) {
        return PFS_EFULL;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK);
    /* Signals are for the program's own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, &attributes, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    w->started = w->threaded = failed == 0;
    return failed == 0 ? PFS_OK : PFS_EFULL;
}

void pfs_wire_stop(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_mutex_unlock(&w->lock);
    if (w->threaded) {
        pfs_wire_ring(w->wake);
        pthread_join(w->thread, NULL);
        w->threaded = false;
    }
    if (!w->stopped) {
        w->stopped = true;
        (void)pfs_wire_discard(w);
        pfs_wire_abandon(w);
        if (w->spec.sealed) {
            pthread_mutex_lock(&w->lock);
            w->over = true;
            pthread_mutex_unlock(&w->lock);
            pfs_wire_ring(w->sealer);
        }
    }
}

void pfs_wire_free(pfs_wire *w)
{
    if (w == NULL) {
        return;
    }
    pfs_wire_stop(w);
    for (size_t i = 0; i < w->logged; i++) {
        if (w->log[i].what == PFS_WIRE_ENDED) {
            pfs_wire_reply_free(w, w->log[i].reply);
        }
    }
    for (size_t i = 0; i < w->collected; i++) {
        if (w->spare[i].what == PFS_WIRE_ENDED) {
            pfs_wire_reply_free(w, w->spare[i].reply);
        }
    }
    unmake(w);
}
