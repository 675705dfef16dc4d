/* How many pieces a read of raw text bore, by the kernel's count of segments. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pfs_wire_inner.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* Whether the kernel tells; what it tells is of now, which may be later than the read. */
static bool ask(int fd, struct tcp_info *info)
{
    socklen_t size = sizeof *info;
    *info = (struct tcp_info){0};
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) == 0 &&
           size >= offsetof(struct tcp_info, tcpi_data_segs_in) + sizeof info->tcpi_data_segs_in;
}

/* Each piece takes a segment at least, and a long one as many as it fills: more than that were
 * pieces of their own.  Pieces that the sender's kernel put into one segment stay one. */
void pfs_wire_count_pieces(pfs_wire *w, pfs_wire_conn *c, size_t length)
{
    struct tcp_info info;
    c->bytes_in += length;
    if (!ask(c->fd, &info)) {
        c->counting = false;
        return;
    }
    size_t full = info.tcpi_rcv_mss == 0 ? 1 : info.tcpi_rcv_mss;
    if (c->by_reads) {
        c->needed += (uint32_t)((length + full - 1) / full);
    } else {
        c->counting = false; /* a head, or what is no raw text: from here on */
    }
    if (info.tcpi_bytes_received != c->bytes_in) {
        return; /* more has come: the next read's question is for both */
    }
    uint32_t came = info.tcpi_data_segs_in - c->segments;
    /* A segment that comes while the kernel answers is counted before its bytes are: by the time
     * of another answer they are, too. */
    struct tcp_info again;
    if (c->counting && came > c->needed && ask(c->fd, &again) &&
        again.tcpi_bytes_received == c->bytes_in) {
        w->counts.merged_reads++;
        w->counts.merged_pieces += came - c->needed;
    }
    c->segments = info.tcpi_data_segs_in;
    c->needed = 0;
    c->counting = true;
}
