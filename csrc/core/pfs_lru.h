/* A bounded map in the order of last use: what a cache needs, and nothing about its keys.
 *
 * An entry holds a 64-bit hash, a key and a value, the last two opaque.  The map never compares
 * keys.  A look-up is an explicit walk over the entries that have the hash asked for:
 *
 *     pfs_lru_probe probe;
 *     for (uint32_t id = pfs_lru_first(lru, hash, &probe); id != 0; id = pfs_lru_next(lru, &probe))
 *         if (mine_equal(pfs_lru_at(lru, id)->key, key)) ...
 *
 * so that no foreign code ever runs while the map is in the middle of something.  A caller whose
 * comparison can run foreign code (Python's __eq__ can do anything, this map's removal included)
 * reads lru->version before it, and if it differs afterwards drops the walk and starts again:
 * that one rule is all the re-entrancy there is.  Ids and entry pointers are valid as long as
 * version does not change.
 *
 * Memory: 32 bytes an entry in one array, and 6 to 12 bytes in an index of 32-bit slots; no nodes,
 * so nothing for a collector to visit but the array.  The array grows by halves up to maxsize,
 * the index by doubling; the index is rehashed a few slots an insertion, so that no insertion
 * pays for all, and the last index (half the size) is there until that is done (the essay is in
 * pfs_lru.c).
 *
 * Thread rule: one owner at a time.  Ownership: the map never owns what keys and values point to;
 * whatever leaves it is handed to the caller.
 */
#ifndef PFS_LRU_H
#define PFS_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

/* The largest maxsize. */
#define PFS_LRU_MAX (UINT32_C(1) << 30)

typedef union {
    void *pointer;
    uint64_t number;
} pfs_lru_word;

typedef struct {
    uint64_t hash; /* mixed: see pfs_lru_mix */
    pfs_lru_word key;
    pfs_lru_word value;
    uint32_t older; /* ids; 0 is the list's own end */
    uint32_t newer;
} pfs_lru_entry;

typedef struct {
    uint32_t *slots; /* 2^bits of them, 0: empty; NULL: no such table */
    uint32_t mask;   /* 2^bits - 1 */
    uint32_t bits;
} pfs_lru_index;

/* Fields are for reading; only the functions below write them. */
typedef struct {
    pfs_lru_entry *entries; /* [0] closes the ring: its newer is the oldest, its older the newest */
    pfs_lru_index index;
    uint32_t count;
    uint32_t maxsize;
    uint64_t version;  /* changes whenever an id may have come to mean something else */
    uint64_t moves;    /* changes whenever the order of entries does */
    pfs_lru_index old; /* what a rehash has not yet taken from the last index */
    uint32_t old_next; /* the slot of `old` to go on from; the one before it is empty */
    uint32_t old_left; /* slots of `old` still to be looked at */
    uint32_t capacity; /* entries allocated, without [0] */
    uint32_t used;     /* ids 1...used have been handed out; those given back have key.number 0 */
    uint32_t free;     /* the first id given back, chained through newer; 0: none */
    const pfs_alloc *alloc;
} pfs_lru;

typedef struct {
    const pfs_lru_index *table;
    uint64_t mixed;
    uint32_t position;
} pfs_lru_probe;

/* A key and a value that left the map; `present` tells whether any did. */
typedef struct {
    pfs_lru_word key;
    pfs_lru_word value;
    bool present;
} pfs_lru_pair;

/* An empty map; allocates nothing.  `maxsize` in 1...PFS_LRU_MAX, else PFS_EINVAL. */
pfs_status pfs_lru_init(pfs_lru *lru, const pfs_alloc *alloc, size_t maxsize);

/* Releases the map's own memory and leaves it empty and usable, with the same maxsize.  What the
 * entries point to is the caller's: take it out first. */
void pfs_lru_clear(pfs_lru *lru);

/* Moves all contents to *taken (an uninitialised map, to be read with pfs_lru_at and released with
 * pfs_lru_clear) and leaves `lru` empty and usable.  Cannot fail: this is how a whole map is
 * dropped when dropping may run foreign code. */
void pfs_lru_take(pfs_lru *lru, pfs_lru *taken);

/* Makes room for `total` entries, at most maxsize of which count, so that insertions up to there
 * cannot fail.  PFS_ENOMEM: unchanged but for room gained. */
pfs_status pfs_lru_reserve(pfs_lru *lru, size_t total);

/* Adds an entry as the newest.  The caller has made sure that its key is not there yet.  In a full
 * map the oldest leaves, into *evicted, and the call cannot fail.  PFS_ENOMEM: unchanged. */
pfs_status pfs_lru_insert(pfs_lru *lru, uint64_t hash, pfs_lru_word key, pfs_lru_word value,
                          pfs_lru_pair *evicted);

/* As pfs_lru_insert, where a walk with `probe` over the entries of the hash came to its end and
 * version has not changed since: a full map need not look for the place again. */
pfs_status pfs_lru_insert_after(pfs_lru *lru, const pfs_lru_probe *probe, pfs_lru_word key,
                                pfs_lru_word value, pfs_lru_pair *evicted);

/* Takes out the entry `id`, which must be there. */
pfs_lru_pair pfs_lru_remove(pfs_lru *lru, uint32_t id);

/* Sets maxsize (1...PFS_LRU_MAX, at least count: remove first what is too much; else PFS_EINVAL)
 * and gives back memory that it makes needless.  Having no memory to do that with is not an error:
 * then the larger arrays stay. */
pfs_status pfs_lru_resize(pfs_lru *lru, size_t maxsize);

/* Bytes allocated, without the struct itself. */
size_t pfs_lru_bytes(const pfs_lru *lru);

/* The entry of an id; its value may be replaced in place, its key and hash not. */
static inline pfs_lru_entry *pfs_lru_at(const pfs_lru *lru, uint32_t id)
{
    return &lru->entries[id];
}

/* Ids at the two ends; 0 when empty.  From there on follow newer (older) until 0. */
static inline uint32_t pfs_lru_oldest(const pfs_lru *lru)
{
    return lru->count == 0 ? 0 : lru->entries[0].newer;
}

static inline uint32_t pfs_lru_newest(const pfs_lru *lru)
{
    return lru->count == 0 ? 0 : lru->entries[0].older;
}

/* Makes the entry `id` the newest. */
static inline void pfs_lru_touch(pfs_lru *lru, uint32_t id)
{
    pfs_lru_entry *entries = lru->entries;
    uint32_t newest = entries[0].older;
    if (newest == id) {
        return;
    }
    pfs_lru_entry *entry = &entries[id];
    entries[entry->older].newer = entry->newer;
    entries[entry->newer].older = entry->older;
    entry->older = newest;
    entry->newer = 0;
    entries[newest].newer = id;
    entries[0].older = id;
    lru->moves++;
}

/* A bijection, so that equal mixed hashes are equal hashes; Fibonacci hashing (Knuth, TAOCP 3,
 * 6.4) after folding, because the index takes the upper bits and Python's small integers are
 * their own hashes. */
static inline uint64_t pfs_lru_mix(uint64_t hash)
{
    return (hash ^ (hash >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
}

/* The hash that was mixed. */
static inline uint64_t pfs_lru_unmix(uint64_t mixed)
{
    uint64_t folded = mixed * UINT64_C(0xF1DE83E19937733D); /* times the factor: 1 */
    return folded ^ (folded >> 32);
}

/* Up to this many bits (21,845 entries) a slot has room for its home as well. */
#define PFS_LRU_HOMED 15

/* What a slot holds beside an id, in its upper 32 - bits bits. */
static inline uint32_t pfs_lru_tag(const pfs_lru_index *table, uint64_t mixed)
{
    uint32_t top = (uint32_t)(mixed >> 32);
    return table->bits <= PFS_LRU_HOMED ? top & ~table->mask : top << table->bits;
}

static inline uint32_t pfs_lru_next(const pfs_lru *lru, pfs_lru_probe *probe)
{
    for (;;) {
        const pfs_lru_index *table = probe->table;
        uint32_t bits = table->bits, mask = table->mask, position = probe->position;
        uint32_t tag = pfs_lru_tag(table, probe->mixed);
        uint32_t slot;
        while ((slot = table->slots[position]) != 0) {
            position = (position + 1) & mask;
            if (((slot ^ tag) >> bits) == 0 && lru->entries[slot & mask].hash == probe->mixed) {
                probe->position = position;
                return slot & mask;
            }
        }
        if (table == &lru->old || lru->old.slots == NULL) {
            probe->position = position;
            return 0;
        }
        probe->table = &lru->old;
        probe->position = (uint32_t)(probe->mixed >> (64 - lru->old.bits));
    }
}

/* The first entry with this hash, or 0; pfs_lru_next gives the others. */
static inline uint32_t pfs_lru_first(const pfs_lru *lru, uint64_t hash, pfs_lru_probe *probe)
{
    probe->mixed = pfs_lru_mix(hash);
    if (lru->count == 0) {
        return 0; /* pfs_lru_next is not to be used then */
    }
    probe->table = &lru->index;
    probe->position = (uint32_t)(probe->mixed >> (64 - lru->index.bits));
    return pfs_lru_next(lru, probe);
}

#endif
