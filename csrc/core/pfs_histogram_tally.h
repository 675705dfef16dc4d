/* Many values into a histogram, faster than one by one, and apart from it: a tally is private, so
 * a binding can fill it without its interpreter's lock and merge it under the lock afterwards.
 *
 * Thread rule: one owner per tally.
 */
#ifndef PFS_HISTOGRAM_TALLY_H
#define PFS_HISTOGRAM_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "pfs_histogram.h"

typedef struct {
    pfs_histogram histogram; /* everything but what is still in the scratch tables */
    uint32_t *scratch;       /* 4 tables, one after the other */
    int64_t first;           /* key of their first cells */
    size_t length;           /* of each: a power of two, or 0 */
    uint64_t held;           /* values in them */
    uint64_t limit;          /* emptied before they hold more: a 32-bit count must not wrap */
    /* Cells of the last block, among those held, that are yet to be counted, and of the next. */
    uint32_t cells[2][PFS_BLOCK_VALUES];
    unsigned turn;
    size_t due;
} pfs_tally;

/* PFS_EINVAL as pfs_histogram_init.  Allocates nothing. */
pfs_status pfs_tally_init(pfs_tally *tally, unsigned precision, const pfs_alloc *alloc);

void pfs_tally_clear(pfs_tally *tally);

/* If `values` change during the call, either may be taken, of each.  PFS_ENOMEM: part of them may
 * have been taken, the tally can only be cleared. */
pfs_status pfs_tally_add(pfs_tally *tally, const double *values, size_t n);

/* Merges all that was added into `h` and leaves the tally empty.  PFS_ENOMEM, PFS_ERANGE,
 * PFS_EMISMATCH: `h` is unchanged and the tally still holds everything. */
pfs_status pfs_tally_merge(pfs_tally *tally, pfs_histogram *h);

#endif
