/* How many pieces a read of raw text bore, by the kernel's counts of segments.
 *
 * Each piece takes a segment at least; pieces that the sender's kernel put into one stay one.  But
 * a segment that came twice is counted twice: a sender that hears nothing of its last segments for
 * some milliseconds sends one of them again (RFC 8985, tail loss probes), as it does whenever this
 * machine reads late.  Each that came twice is acknowledged at once (RFC 9293, 3.10.7.4), so that
 * segments tell of pieces only where nothing was acknowledged since the read before.  A run of
 * bytes longer than a segment is acknowledged at once as well, and tells nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* Whether the kernel tells; what it tells is of now. */
static bool ask(int fd, pfs_wire_arrived *out)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_data_segs_out) + sizeof info.tcpi_data_segs_out) {
        return false;
    }
    *out = (pfs_wire_arrived){.bytes = info.tcpi_bytes_received,
                              .segments = info.tcpi_data_segs_in,
                              .answers = info.tcpi_segs_out - info.tcpi_data_segs_out,
                              .full = info.tcpi_rcv_mss};
    return true;
}

uint32_t pfs_wire_pieces_ahead(const pfs_wire_conn *c, uint64_t *length)
{
    pfs_wire_arrived now, again;
    if (!c->by_reads || !c->counting || !ask(c->fd, &now)) {
        return 0;
    }
    uint32_t pieces = now.segments - c->arrived.segments;
    *length = now.bytes - c->arrived.bytes;
    if (pieces < 2 || *length > now.full || now.answers != c->arrived.answers) {
        return 0;
    }
    /* A segment that comes while the kernel tells is counted before its bytes are, and before it
     * is acknowledged: by the time of another question both are. */
    return ask(c->fd, &again) && again.bytes == now.bytes && again.answers == now.answers ? pieces
                                                                                          : 0;
}

void pfs_wire_count_pieces(pfs_wire *w, pfs_wire_conn *c, uint32_t pieces, uint64_t expected,
                           size_t length)
{
    if (pieces != 0 && length == expected) {
        w->counts.merged_reads++;
        w->counts.merged_pieces += pieces - 1;
    }
    c->bytes_in += length;
    /* The read itself may have been acknowledged: that is known from here on. */
    c->counting = ask(c->fd, &c->arrived) && c->arrived.bytes == c->bytes_in;
}
