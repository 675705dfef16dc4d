/* A bounded store of float32 vectors of one length, in the order of last use, and its file form.
 *
 * A vector is found by a 128-bit digest of whatever it belongs to.  The digest is the key: nothing
 * longer is kept or compared, so the caller must use a cryptographic hash (the binding: BLAKE2b of
 * the text).  Two of a million texts then share a digest with a probability of 2^-89, which is far
 * below that of a memory error, and making two that do takes about 2^64 attempts.
 *
 * Rows lie packed in blocks of about 64 KiB that never move.  A reader pins its row.  A pinned row
 * is never written: when its entry is replaced, evicted or cleared it becomes an orphan, and the
 * last unpin gives it back.  So a reader may look at its row for as long as it likes, also while
 * another thread works on the store.
 *
 * Memory beside the floats: 32 to 44 bytes an entry of pfs_lru, 12 of state and time stamp.  Pinned
 * orphans come on top of maxsize; rows they took stay for reuse.
 *
 * Thread rule: one owner at a time; only what the snapshot functions say goes without.
 */
#ifndef PFS_VECTORS_H
#define PFS_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_lru.h"
#include "pfs_status.h"

/* The most floats in a vector. */
#define PFS_VECTORS_MAX_DIMENSION (UINT32_C(1) << 24)

typedef struct {
    uint64_t low;
    uint64_t high;
} pfs_digest;

typedef struct {
    float *floats; /* NULL: given back by a clear; its row numbers wait for another */
    uint32_t rows;
} pfs_vectors_block;

/* Fields are for reading. */
typedef struct {
    pfs_lru order; /* hash: digest.low; key: digest.high; value: row */
    pfs_vectors_block *blocks;
    uint32_t *states; /* of each row: see pfs_vectors.c */
    uint64_t *stamps; /* of each row */
    uint32_t block_count;
    uint32_t empty_blocks; /* those whose floats are NULL */
    uint32_t shift;        /* row >> shift is its block */
    uint32_t dimension;    /* 0 until the first put */
    uint32_t rows;         /* in all blocks */
    uint32_t slots;        /* allocated in states and stamps */
    uint32_t free;         /* the first free row, chained through states; see pfs_vectors.c */
    uint32_t free_count;
    const pfs_alloc *alloc;
} pfs_vectors;

/* PFS_EINVAL unless 1 <= maxsize <= PFS_LRU_MAX.  Allocates nothing. */
pfs_status pfs_vectors_init(pfs_vectors *vectors, const pfs_alloc *alloc, size_t maxsize);

/* Releases everything; no row may be pinned. */
void pfs_vectors_destroy(pfs_vectors *vectors);

/* Drops all entries and gives back the blocks in which no row is pinned.  The dimension stays. */
void pfs_vectors_clear(pfs_vectors *vectors);

/* Stores a copy of `floats` as the newest entry; `stamp` says when, on a clock that processes which
 * share a file have in common.  A full store evicts its oldest (*evicted tells).  PFS_EINVAL: a
 * dimension of 0 or above PFS_VECTORS_MAX_DIMENSION.  PFS_EMISMATCH: another dimension than the
 * store's, which the first vector fixes.  PFS_ENOMEM.  Nothing is changed then. */
pfs_status pfs_vectors_put(pfs_vectors *vectors, pfs_digest digest, const float *floats,
                           size_t dimension, uint64_t stamp, bool *evicted);

/* Whether there is such an entry; changes nothing. */
bool pfs_vectors_has(const pfs_vectors *vectors, pfs_digest digest);

/* Finds an entry, makes it the newest and pins its row: PFS_OK with the row's number; PFS_EEMPTY
 * when there is none; PFS_ERANGE when the row has 2^30 - 1 pins. */
pfs_status pfs_vectors_get(pfs_vectors *vectors, pfs_digest digest, uint32_t *row);

/* One more pin on a row that an entry or a pin holds.  PFS_ERANGE as pfs_vectors_get. */
pfs_status pfs_vectors_pin(pfs_vectors *vectors, uint32_t row);

/* Ends one pin. */
void pfs_vectors_unpin(pfs_vectors *vectors, uint32_t row);

/* The floats of a row: `dimension` of them, never moved, not written while pinned. */
const float *pfs_vectors_row(const pfs_vectors *vectors, uint32_t row);

/* Bytes allocated in all, without the struct itself. */
size_t pfs_vectors_bytes(const pfs_vectors *vectors);

/* Makes sure that `wanted` rows are free, so that as many puts cannot want for a row; fixes the
 * dimension.  Errors as pfs_vectors_put. */
pfs_status pfs_vectors_reserve_rows(pfs_vectors *vectors, size_t dimension, size_t wanted);

/* Takes an entry out by its id in `order`; its row is free, or an orphan while pinned. */
void pfs_vectors_remove(pfs_vectors *vectors, uint32_t id);

/* The id of an entry in `order`, or 0. */
uint32_t pfs_vectors_find(const pfs_vectors *vectors, pfs_digest digest);

/* Whether a row is pinned. */
bool pfs_vectors_pinned(const pfs_vectors *vectors, uint32_t row);

/* ---- The file (pfs_vectors_file.c): all little-endian
 *
 *   0  magic 89 'P' 'F' 'S' 'V' 'E' 'C' 0A      24  u64 capacity: the largest maxsize of a writer
 *   8  u32 version, 1                           32  u64 checksum
 *  12  u32 dimension (0 only with count 0)      40  count x { digest 16, u64 stamp }, oldest first
 *  16  u64 count                                    count x dimension float32
 *
 * Checksum: XXH64 of all after it, seeded with XXH64 (seed 0) of the 32 bytes before it. */

enum { PFS_VECTORS_HEADER = 40 };

/* A file in memory that has been checked; points into its bytes. */
typedef struct {
    uint32_t dimension;
    size_t count;
    uint64_t capacity;
    const unsigned char *index;
    const unsigned char *floats;
} pfs_vectors_file;

/* The size that a file whose first PFS_VECTORS_HEADER bytes these are must have.  PFS_EFORMAT,
 * PFS_EVERSION.  For knowing before reading on. */
pfs_status pfs_vectors_file_size(const unsigned char *header, size_t size, uint64_t *whole);

/* Checks everything.  PFS_EFORMAT, PFS_EVERSION, PFS_ECHECKSUM.  Any thread. */
pfs_status pfs_vectors_file_open(const unsigned char *bytes, size_t size, pfs_vectors_file *file);

/* Brings a file's entries in.  Of two vectors for one digest the one with the later stamp stays
 * (the store's own, when equal).  The order is that of the later of stamp and the order on either
 * side; when all are more than maxsize, the newest stay.  PFS_EMISMATCH: another dimension.
 * PFS_ENOMEM.  The store is unchanged then. */
pfs_status pfs_vectors_merge(pfs_vectors *vectors, const pfs_vectors_file *file);

/* A moment of the store for writing: all entries with their rows pinned. */
typedef struct {
    struct pfs_vectors_taken *entries;
    size_t count;
    uint32_t dimension;
} pfs_vectors_snapshot;

/* PFS_ENOMEM; PFS_ERANGE as pfs_vectors_get. */
pfs_status pfs_vectors_snapshot_take(pfs_vectors *vectors, pfs_vectors_snapshot *snapshot);

/* Bytes that the snapshot takes as a file. */
size_t pfs_vectors_snapshot_size(const pfs_vectors_snapshot *snapshot);

/* Writes as many bytes.  Any thread, while others work on the store. */
void pfs_vectors_snapshot_write(const pfs_vectors_snapshot *snapshot, uint64_t capacity,
                                unsigned char *out);

/* Ends the pins and releases the snapshot. */
void pfs_vectors_snapshot_release(pfs_vectors *vectors, pfs_vectors_snapshot *snapshot);

/* XXH64 (Y. Collet, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): against
 * accidents, not against attackers. */
uint64_t pfs_vectors_checksum(const unsigned char *bytes, size_t size, uint64_t seed);

#endif
