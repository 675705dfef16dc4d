/* The engine over TLS.  It reads, stamps and sends ciphertext, and keeps time, connections, HTTP
 * and the log as ever; somebody else, in a thread of its own, makes the handshakes, opens what came
 * and seals what leaves.  The engine links no TLS: perfsuite.loadgen.sealed does it with the
 * standard library's.
 *
 * Both sides exchange parcels, in order: a kind, the id of a connection, a stamp, bytes.
 *
 *     while (pfs_wire_take(w, wait_ms)) {               what happened, until the engine has stopped
 *         while (pfs_wire_taken(w, &parcel)) { ... pfs_wire_give(w, id, PFS_WIRE_PLAIN, at, ...) }
 *     }                                                 the next take tells the engine what was
 * given
 *
 * What comes out of ciphertext is given back with the ciphertext's stamp, so it does not matter for
 * stamps how late it is opened.  At most PFS_WIRE_PARCELS bytes (8 MiB) wait to be taken; then the
 * engine stops reading (counted: paused) instead of losing anything.
 *
 * When a request is due, a connection is to be open and the request sealed.  So one is opened ahead
 * of the requests due within PFS_WIRE_OPEN_AHEAD_NS (counted: opened_ahead), and a request is given
 * to an open one, and sealed, PFS_WIRE_PRIME_NS before it is due; from then on discard leaves it.
 * Where no connection was open, the handshake counts as the making of a plain connection does: as
 * time between due and sent.  In a closed loop a request is due when its connection is open.  A
 * handshake that fails ends the request that needed it; one made ahead just ends.
 *
 * A connection is closed without a farewell of TLS.  An answer that ends with its connection and
 * without the server's farewell may have been cut by anybody: it is incomplete.
 */
#ifndef PFS_WIRE_SEALED_H
#define PFS_WIRE_SEALED_H

#include "pfs_wire.h"

#define PFS_WIRE_OPEN_AHEAD_NS INT64_C(200000000)
#define PFS_WIRE_PRIME_NS      INT64_C(50000000)

typedef enum {
    /* From the engine. */
    PFS_WIRE_OPENED,  /* a connection, which wants its handshake */
    PFS_WIRE_ARRIVED, /* bytes that came, with their stamp */
    PFS_WIRE_TO_SEAL, /* a request, whole */
    PFS_WIRE_SHUT,    /* the peer has closed; the stamp is the clock's */
    PFS_WIRE_GONE,    /* the engine has closed it: to be forgotten */
    /* To the engine. */
    PFS_WIRE_READY,  /* the handshake is done; stamp 1: with an earlier session */
    PFS_WIRE_PLAIN,  /* what was in bytes that arrived, with their stamp */
    PFS_WIRE_SEND,   /* what TLS has to say itself */
    PFS_WIRE_SEALED, /* the request */
    PFS_WIRE_OVER,   /* TLS said that nothing more comes; the stamp of what said so */
    PFS_WIRE_TORN,   /* it did not, and the peer has closed; the stamp of SHUT */
    PFS_WIRE_BROKEN, /* TLS failed; bytes: why, in UTF-8 */
    PFS_WIRE_LOST,   /* who seals had no memory */
    PFS_WIRE_PARCEL_KINDS
} pfs_wire_parcel_kind;

typedef struct {
    uint64_t id;
    int64_t at_ns;
    const char *bytes; /* until the next pfs_wire_take */
    size_t length;
    pfs_wire_parcel_kind what;
} pfs_wire_parcel;

/* As it was made. */
bool pfs_wire_is_sealed(const pfs_wire *w);

/* Tells the engine what was given since the last time, drops what was taken, waits at most that
 * long (negative: for good) for parcels, and takes all that there are.  False once the engine has
 * stopped and all was taken.  One thread at a time, as for pfs_wire_taken. */
bool pfs_wire_take(pfs_wire *w, int wait_ms);

/* The next parcel of what was taken; false when there are no more. */
bool pfs_wire_taken(pfs_wire *w, pfs_wire_parcel *parcel);

/* Any thread.  The bytes are copied.  For an id that is gone it does nothing; without memory it
 * ends that connection's request as cancelled.  PFS_EINVAL for a kind that is the engine's. */
pfs_status pfs_wire_give(pfs_wire *w, uint64_t id, pfs_wire_parcel_kind what, int64_t at_ns,
                         const char *bytes, size_t length);

#endif
