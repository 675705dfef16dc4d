/* One pass over a block of values: their least and greatest, their sum, the first two powers of
 * their distance from a centre, and the cell of each in a window of counts.
 *
 * The pass can count the cells of the block before into four tables while it is at it.  Finding is
 * arithmetic on vectors and counting is loads and stores, so in one loop either hides in the
 * other's latency; a run of equal cells makes every increment wait for the store of the one before
 * it, so the four tables take turns.
 *
 * A cell is the top of the value's bit pattern, less the window's first key: one shift and one
 * subtraction for any double.  Zero, subnormal and negative numbers, infinities and NaN have none
 * in any window of normal keys, so whether all cells lie inside is also whether all values are
 * positive, normal and finite.
 *
 * Thread rule: one owner per pass.  Nothing here allocates or fails.
 */
#ifndef PFS_HISTOGRAM_BLOCK_H
#define PFS_HISTOGRAM_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PFS_BLOCK_VALUES 512 /* at most, in one pass */
#define PFS_BLOCK_TABLES 4

typedef struct {
    /* The window: values >> shift is their key, less `first` (modulo 2^32) their cell. */
    uint32_t shift, first, length;
    uint32_t *cells; /* out: one for each value */
    /* Cells of an earlier block of the same window, all inside it, and the PFS_BLOCK_TABLES tables,
     * one after the other, each `length` long, that the pass counts them into. */
    const uint32_t *due;
    size_t due_count;
    uint32_t *tables; /* unused while due_count is 0 */
    /* Out: whether all cells or-ed are below `length`, which, if that is a power of two, is whether
     * every one is.  Only then may they be counted. */
    bool inside;
} pfs_block_pass;

typedef struct {
    double min, max, sum, first, second; /* powers of the distance from the centre */
} pfs_block_powers;

/* Fills the pass and counts what is due.  NaN shows in the sum; minimum and maximum mean nothing
 * then.  `values` may change during the call: the cells and `inside` agree all the same. */
pfs_block_powers pfs_block_scan(double centre, const double *values, size_t n,
                                pfs_block_pass *pass);

/* Counts `n` cells, all below `length`, into the tables. */
void pfs_block_count(const uint32_t *cells, size_t n, uint32_t *tables, size_t length);

#endif
