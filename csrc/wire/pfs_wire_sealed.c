/* The exchange of parcels with who opens and seals, and what the engine does with those it gets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NO_MEMORY "this client had no memory for TLS"
#define SPARE     ((size_t)16) /* parcels without bytes that a connection can make before a pause */

/* As a parcel lies among the others: its bytes follow. */
typedef struct {
    uint64_t id;
    int64_t at_ns;
    size_t length;
    pfs_wire_parcel_kind what;
} label;

static pfs_status pack(pfs_wire *w, pfs_bytes *to, const label *on, const char *bytes)
{
    pfs_status status = pfs_bytes_reserve(to, w->alloc, sizeof *on + on->length);
    if (status == PFS_OK) {
        (void)pfs_bytes_append(to, w->alloc, (const char *)on, sizeof *on);
        (void)pfs_bytes_append(to, w->alloc, bytes, on->length);
    }
    return status;
}

static bool unpack(const pfs_bytes *from, size_t *at, pfs_wire_parcel *parcel)
{
    label on;
    if (*at == from->length) {
        return false;
    }
    memcpy(&on, from->at + *at, sizeof on);
    *parcel = (pfs_wire_parcel){.id = on.id,
                                .at_ns = on.at_ns,
                                .bytes = from->at + *at + sizeof on,
                                .length = on.length,
                                .what = on.what};
    *at += sizeof on + on.length;
    return true;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Besides what counts as full: a read, and every connection's end. */
static size_t spare(const pfs_wire *w)
{
    return PFS_WIRE_READ + (w->spec.connections + 1) * SPARE * sizeof(label);
}

pfs_status pfs_wire_sealed_init(pfs_wire *w)
{
    size_t room = PFS_WIRE_PARCELS + spare(w);
    if (pfs_bytes_reserve(&w->inbox, w->alloc, room) != PFS_OK ||
        pfs_bytes_reserve(&w->taken, w->alloc, room) != PFS_OK) {
        return PFS_ENOMEM;
    }
    w->sealer = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->sealer < 0 ? PFS_EFULL : PFS_OK;
}

void pfs_wire_sealed_clear(pfs_wire *w)
{
    pfs_bytes_release(&w->inbox, w->alloc);
    pfs_bytes_release(&w->taken, w->alloc);
    pfs_bytes_release(&w->outbox, w->alloc);
    pfs_bytes_release(&w->given, w->alloc);
}

bool pfs_wire_is_sealed(const pfs_wire *w)
{
    return w->spec.sealed;
}

/* ---- to who seals ---------------------------------------------------------------------------- */

bool pfs_wire_can_hand(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    bool can = w->inbox.length <= PFS_WIRE_PARCELS;
    pthread_mutex_unlock(&w->lock);
    return can;
}

bool pfs_wire_is_behind(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    bool behind = w->outbox.length > PFS_WIRE_PARCELS;
    pthread_mutex_unlock(&w->lock);
    return behind;
}

pfs_status pfs_wire_hand(pfs_wire *w, pfs_wire_conn *c, pfs_wire_parcel_kind what, int64_t at_ns,
                         const char *bytes, size_t length)
{
    label on = {c->id, at_ns, length, what};
    pthread_mutex_lock(&w->lock);
    /* A request may be of any size, and must not take the room of the parcels that have to fit. */
    pfs_status status = what == PFS_WIRE_TO_SEAL
                            ? pfs_bytes_reserve(&w->inbox, w->alloc, sizeof on + length + spare(w))
                            : PFS_OK;
    status = status == PFS_OK ? pack(w, &w->inbox, &on, bytes) : status;
    bool tell = status == PFS_OK && !w->has_handed;
    w->has_handed = w->has_handed || tell;
    pthread_mutex_unlock(&w->lock);
    if (tell) {
        pfs_wire_ring(w->sealer);
    }
    return status;
}

/* Tells the engine what was given. */
static void deliver(pfs_wire *w)
{
    pthread_mutex_lock(&w->lock);
    bool tell = w->has_given;
    w->has_given = false;
    pthread_mutex_unlock(&w->lock);
    if (tell) {
        pfs_wire_ring(w->wake);
    }
}

bool pfs_wire_take(pfs_wire *w, int wait_ms)
{
    uint64_t count;
    struct pollfd told = {.fd = w->sealer, .events = POLLIN};
    deliver(w);
    pthread_mutex_lock(&w->lock);
    bool over = w->over;
    pthread_mutex_unlock(&w->lock);
    if (poll(&told, 1, over ? 0 : wait_ms) > 0) {
        while (read(w->sealer, &count, sizeof count) < 0 && errno == EINTR) {
        }
    }
    pthread_mutex_lock(&w->lock);
    pfs_bytes taken = w->inbox;
    w->inbox = w->taken;
    w->inbox.length = 0;
    w->taken = taken;
    w->read_to = 0;
    w->has_handed = false;
    bool more = !w->over || taken.length != 0;
    pthread_mutex_unlock(&w->lock);
    if (taken.length > PFS_WIRE_PARCELS) {
        pfs_wire_ring(w->wake); /* it has paused */
    }
    return more;
}

bool pfs_wire_taken(pfs_wire *w, pfs_wire_parcel *parcel)
{
    return unpack(&w->taken, &w->read_to, parcel);
}

pfs_status pfs_wire_give(pfs_wire *w, uint64_t id, pfs_wire_parcel_kind what, int64_t at_ns,
                         const char *bytes, size_t length)
{
    if (what < PFS_WIRE_READY || what >= PFS_WIRE_PARCEL_KINDS || !w->spec.sealed) {
        return PFS_EINVAL;
    }
    size_t index = (size_t)(id & 0xffff);
    pthread_mutex_lock(&w->lock);
    for (size_t at = 0; at == 0 || at < length;) {
        /* What is heard at once makes a bounded number of marks. */
        size_t n =
            what == PFS_WIRE_PLAIN && length - at > PFS_WIRE_READ ? PFS_WIRE_READ : length - at;
        label on = {id, at_ns, n, what};
        if (pack(w, &w->outbox, &on, bytes == NULL ? NULL : bytes + at) != PFS_OK) {
            if (index < w->made) {
                w->conns[index].lost = id;
            }
            w->any_lost = true;
            break;
        }
        at += n == 0 ? 1 : n;
    }
    w->has_given = true;
    pthread_mutex_unlock(&w->lock);
    return PFS_OK;
}

/* ---- from who seals -------------------------------------------------------------------------- */

void pfs_wire_lose(pfs_wire *w, pfs_wire_conn *c)
{
    if (c->reply == NULL || c->state == PFS_WIRE_PRIMED) {
        pfs_wire_drop(w, c);
    } else {
        pfs_wire_end_failed(w, c, PFS_EVENTS_CANCELLED, NO_MEMORY, 0);
    }
}

static void opened(pfs_wire *w, pfs_wire_conn *c, bool resumed)
{
    int64_t now = pfs_clock_ns();
    uint64_t took = (uint64_t)(now - c->opening_ns);
    w->counts.handshakes++;
    w->counts.resumed += resumed;
    w->counts.handshake_sum_ns += took;
    w->counts.handshake_max_ns =
        took > w->counts.handshake_max_ns ? took : w->counts.handshake_max_ns;
    if (c->reply == NULL) {
        c->state = PFS_WIRE_IDLE;
        pfs_wire_move(c, &w->idle);
        return;
    }
    if (c->reply->due_ns == PFS_WIRE_NOW) {
        pfs_wire_begin(w, c->reply, now);
    }
    c->last_ns = now;
    pfs_wire_send_first(w, c, PFS_WIRE_SENDING);
}

static void to_send(pfs_wire *w, pfs_wire_conn *c, const pfs_wire_parcel *parcel)
{
    if (pfs_bytes_append(&c->out, w->alloc, parcel->bytes, parcel->length) != PFS_OK) {
        pfs_wire_lose(w, c);
        return;
    }
    c->sealing = c->sealing && parcel->what != PFS_WIRE_SEALED;
    if (c->state != PFS_WIRE_PRIMED) {
        pfs_wire_send_more(w, c);
    }
}

static void plain(pfs_wire *w, pfs_wire_conn *c, const pfs_wire_parcel *parcel)
{
    if (c->state != PFS_WIRE_SENDING && c->state != PFS_WIRE_AWAITING) {
        pfs_wire_drop(w, c); /* what nobody asked for cannot be trusted */
        return;
    }
    uint64_t lag = (uint64_t)(pfs_clock_ns() - parcel->at_ns);
    w->counts.unseal_max_ns = lag > w->counts.unseal_max_ns ? lag : w->counts.unseal_max_ns;
    c->last_ns = parcel->at_ns;
    pfs_wire_judge(w, c, pfs_wire_hear(w, c, parcel->bytes, parcel->length, parcel->at_ns));
}

/* Nothing more comes. */
static void ended(pfs_wire *w, pfs_wire_conn *c, const pfs_wire_parcel *parcel)
{
    bool torn = parcel->what == PFS_WIRE_TORN;
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED || c->reply == NULL) {
        pfs_wire_drop(w, c);
        return;
    }
    if (c->state == PFS_WIRE_OPENING) {
        pfs_wire_end_failed(w, c, PFS_EVENTS_TLS,
                            "the server closed the connection in the TLS handshake",
                            c->shut_number);
        return;
    }
    int number = torn ? c->shut_number : c->reply->error_number;
    c->last_ns = c->finished || number != 0 ? c->last_ns : parcel->at_ns;
    pfs_wire_broken(w, c, number, torn);
}

static void failed(pfs_wire *w, pfs_wire_conn *c, const pfs_wire_parcel *parcel)
{
    if (c->state == PFS_WIRE_IDLE || c->state == PFS_WIRE_PRIMED || c->reply == NULL) {
        pfs_wire_drop(w, c);
    } else if (c->state != PFS_WIRE_OPENING && pfs_http_begun(&c->http)) {
        pfs_wire_end_failed(w, c, PFS_EVENTS_INCOMPLETE, "TLS broke in the middle of the answer",
                            0);
    } else if (c->reply->reused && !c->reply->retried) {
        pfs_wire_stale(w, c);
    } else {
        c->reply->said.length = 0;
        /* Without memory the reason is a shorter one. */
        (void)pfs_bytes_append(&c->reply->said, w->alloc, parcel->bytes, parcel->length);
        pfs_wire_end_failed(w, c, PFS_EVENTS_TLS, "TLS failed", 0);
    }
}

static void hear(pfs_wire *w, const pfs_wire_parcel *parcel)
{
    size_t index = (size_t)(parcel->id & 0xffff);
    if (parcel->id == 0 || index >= w->made || w->conns[index].id != parcel->id) {
        return; /* it was closed meanwhile */
    }
    pfs_wire_conn *c = &w->conns[index];
    switch (parcel->what) {
    case PFS_WIRE_READY:
        if (c->state == PFS_WIRE_OPENING) {
            opened(w, c, parcel->at_ns == 1);
        }
        break;
    case PFS_WIRE_SEND:
    case PFS_WIRE_SEALED:
        to_send(w, c, parcel);
        break;
    case PFS_WIRE_PLAIN:
        plain(w, c, parcel);
        break;
    case PFS_WIRE_OVER:
    case PFS_WIRE_TORN:
        ended(w, c, parcel);
        break;
    case PFS_WIRE_BROKEN:
        failed(w, c, parcel);
        break;
    case PFS_WIRE_LOST:
        pfs_wire_lose(w, c);
        break;
    case PFS_WIRE_OPENED:
    case PFS_WIRE_ARRIVED:
    case PFS_WIRE_TO_SEAL:
    case PFS_WIRE_SHUT:
    case PFS_WIRE_GONE:
    case PFS_WIRE_PARCEL_KINDS: /* pfs_wire_give takes none of these */
        break;
    }
}

static void hear_losses(pfs_wire *w)
{
    for (size_t i = 0; i < w->made; i++) {
        pthread_mutex_lock(&w->lock);
        uint64_t id = w->conns[i].lost;
        w->conns[i].lost = 0;
        pthread_mutex_unlock(&w->lock);
        if (id != 0 && id == w->conns[i].id) {
            pfs_wire_lose(w, &w->conns[i]);
        }
    }
}

bool pfs_wire_has_given(pfs_wire *w)
{
    return w->heard < w->given.length;
}

void pfs_wire_hear_given(pfs_wire *w)
{
    pfs_wire_parcel parcel;
    bool any_lost = false;
    if (!pfs_wire_has_given(w)) {
        pthread_mutex_lock(&w->lock);
        pfs_bytes heard = w->given;
        w->given = w->outbox;
        w->outbox = heard;
        pfs_bytes_reuse(&w->outbox, w->alloc, PFS_WIRE_PARCELS);
        w->heard = 0;
        any_lost = w->any_lost;
        w->any_lost = false;
        pthread_mutex_unlock(&w->lock);
    }
    while (pfs_wire_has_room(w, PFS_WIRE_MARKS_A_READ) && pfs_wire_can_hand(w) &&
           unpack(&w->given, &w->heard, &parcel)) {
        hear(w, &parcel);
    }
    if (any_lost) {
        hear_losses(w);
    }
}
