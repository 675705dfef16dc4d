/* A growing run of bytes: what the incremental parsers carry from one chunk to the next.
 *
 * Zero bytes are a valid empty run.  The allocator is given with every call, so that a parser with
 * several of them keeps one pointer.  Thread rule: as the object that it is part of.
 */
#ifndef PFS_BYTES_H
#define PFS_BYTES_H

#include <stdint.h>
#include <string.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

typedef struct {
    char *at;
    size_t length, room;
} pfs_bytes;

/* Makes room for `more` bytes behind those there; at least doubles, so that appending is linear.
 * PFS_ENOMEM: nothing has changed. */
static inline pfs_status pfs_bytes_reserve(pfs_bytes *bytes, const pfs_alloc *alloc, size_t more)
{
    if (more <= bytes->room - bytes->length) {
        return PFS_OK;
    }
    if (more > SIZE_MAX / 2 - bytes->length) {
        return PFS_ENOMEM;
    }
    size_t room = bytes->room < 64 ? 64 : bytes->room;
    while (room < bytes->length + more) {
        room *= 2;
    }
    char *grown = (char *)pfs_alloc_resize(alloc, bytes->at, room, 1);
    if (grown == NULL) {
        return PFS_ENOMEM;
    }
    bytes->at = grown;
    bytes->room = room;
    return PFS_OK;
}

/* PFS_ENOMEM: nothing has changed.  `from` may be NULL when n is 0. */
static inline pfs_status pfs_bytes_append(pfs_bytes *bytes, const pfs_alloc *alloc,
                                          const char *from, size_t n)
{
    pfs_status status = pfs_bytes_reserve(bytes, alloc, n);
    if (status == PFS_OK && n != 0) {
        memcpy(bytes->at + bytes->length, from, n);
        bytes->length += n;
    }
    return status;
}

static inline void pfs_bytes_release(pfs_bytes *bytes, const pfs_alloc *alloc)
{
    pfs_alloc_release(alloc, bytes->at);
    *bytes = (pfs_bytes){0};
}

/* Empties it for the next use, and gives back a block of more than `keep` bytes. */
static inline void pfs_bytes_reuse(pfs_bytes *bytes, const pfs_alloc *alloc, size_t keep)
{
    bytes->length = 0;
    if (bytes->room > keep) {
        pfs_bytes_release(bytes, alloc);
    }
}

#endif
