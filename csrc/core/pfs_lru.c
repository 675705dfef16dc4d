/* How the index works.
 *
 * Linear probing in a power-of-two table of 32-bit slots, at most two thirds full.  The upper
 * `bits` of a mixed hash choose where a probe starts, its home.  An id needs no more than `bits`
 * bits, so the other 32 - bits of a slot hold bits of the hash.  Of a small table the uppermost,
 * the home and at least two more: then a removal, which has to know the homes of what it may shift,
 * reads no entries.  Of a large one the next after the home: at a million entries 11 bits.  Either
 * way a probe reads an entry only when it is almost surely the one.
 *
 * Removal shifts later slots of the run back instead of leaving a tombstone (Knuth, TAOCP 3, 6.4,
 * algorithm R): a cache that evicts at every miss would fill a table with tombstones and have to
 * rebuild it for ever.
 *
 * Growth keeps the last table as `old` and takes its runs over at later insertions, at least
 * MIGRATED slots at a time, stopping only at an empty slot.  So every run of `old` is either whole
 * or gone, and each table by itself stays a correct linear-probing table: look-ups go through the
 * new one and then the old one, removals shift within either.  A table of S slots holds 2/3 S
 * entries and its successor twice that, so there are 2/3 S insertions to finish S / MIGRATED steps
 * in; the old one is gone long before the next growth.
 */
#include "pfs_lru.h"

#include <string.h>

enum { MIGRATED = 16, FIRST_BITS = 3, MAX_BITS = 31 };

#define NOWHERE UINT32_MAX

static uint32_t holds(uint32_t bits)
{
    return (uint32_t)((UINT64_C(2) << bits) / 3);
}

static uint32_t home(const pfs_lru_index *table, uint64_t mixed)
{
    return (uint32_t)(mixed >> (64 - table->bits));
}

static inline uint32_t slot_of(const pfs_lru_index *table, uint64_t mixed, uint32_t id)
{
    return pfs_lru_tag(table, mixed) | id;
}

static inline uint32_t home_of_slot(const pfs_lru *lru, const pfs_lru_index *table, uint32_t slot)
{
    return table->bits <= PFS_LRU_HOMED ? slot >> (32 - table->bits)
                                        : home(table, lru->entries[slot & table->mask].hash);
}

static void place(const pfs_lru_index *table, uint64_t mixed, uint32_t id)
{
    uint32_t position = home(table, mixed);
    while (table->slots[position] != 0) {
        position = (position + 1) & table->mask;
    }
    table->slots[position] = slot_of(table, mixed, id);
}

/* Takes the entry's slot out of this table.  The slot that is empty now and was not before, or
 * NOWHERE when the entry was not in this table. */
static inline uint32_t unplace(const pfs_lru *lru, const pfs_lru_index *table, uint32_t id)
{
    uint32_t *slots = table->slots;
    uint32_t mask = table->mask, slot;
    uint32_t hole = home(table, lru->entries[id].hash);
    while ((slots[hole] & mask) != id) {
        if (slots[hole] == 0) {
            return NOWHERE;
        }
        hole = (hole + 1) & mask;
    }
    for (uint32_t at = (hole + 1) & mask; (slot = slots[at]) != 0; at = (at + 1) & mask) {
        uint32_t start = home_of_slot(lru, table, slot);
        if (((at - start) & mask) >= ((at - hole) & mask)) {
            slots[hole] = slot;
            hole = at;
        }
    }
    slots[hole] = 0;
    return hole;
}

static void unplace_anywhere(const pfs_lru *lru, uint32_t id)
{
    if (unplace(lru, &lru->index, id) == NOWHERE) {
        (void)unplace(lru, &lru->old, id);
    }
}

/* Takes over at least `steps` slots of the old table, or all that are left. */
static void migrate(pfs_lru *lru, uint32_t steps)
{
    while (lru->old_left > 0) {
        uint32_t slot = lru->old.slots[lru->old_next];
        if (slot != 0) {
            uint32_t id = slot & lru->old.mask;
            place(&lru->index, lru->entries[id].hash, id);
            lru->old.slots[lru->old_next] = 0;
        }
        lru->old_next = (lru->old_next + 1) & lru->old.mask;
        lru->old_left--;
        steps -= steps > 0;
        if (steps == 0 && slot == 0) {
            break;
        }
    }
    if (lru->old_left == 0 && lru->old.slots != NULL) {
        pfs_alloc_release(lru->alloc, lru->old.slots);
        lru->old = (pfs_lru_index){0};
    }
}

static pfs_status grow_index(pfs_lru *lru, uint32_t total)
{
    uint32_t bits = lru->index.slots == NULL ? FIRST_BITS : lru->index.bits;
    while (holds(bits) < total) {
        bits++;
    }
    pfs_lru_index table = {pfs_alloc_zeroed(lru->alloc, (size_t)1 << bits, sizeof(uint32_t)),
                           (UINT32_C(1) << bits) - 1, bits};
    if (table.slots == NULL) {
        return PFS_ENOMEM;
    }
    migrate(lru, UINT32_MAX); /* at most one old table; nothing to do unless a reserve was large */
    lru->version++;           /* probes point at the table */
    lru->old = lru->index;
    lru->index = table;
    if (lru->old.slots != NULL) {
        uint32_t empty = 0;
        while (lru->old.slots[empty] != 0) {
            empty++;
        }
        lru->old_next = (empty + 1) & lru->old.mask;
        lru->old_left = lru->old.mask + 1;
    }
    return PFS_OK;
}

static pfs_status grow_entries(pfs_lru *lru, uint32_t total)
{
    uint32_t capacity = lru->capacity + lru->capacity / 2;
    if (capacity < 8) {
        capacity = 8;
    }
    if (capacity > lru->maxsize) {
        capacity = lru->maxsize;
    }
    if (capacity < total) {
        capacity = total;
    }
    size_t elements = (size_t)capacity + 1;
    pfs_lru_entry *entries =
        lru->entries == NULL
            ? pfs_alloc_array(lru->alloc, elements, sizeof *entries)
            : pfs_alloc_resize(lru->alloc, lru->entries, elements, sizeof *entries);
    if (entries == NULL) {
        return PFS_ENOMEM;
    }
    if (lru->entries == NULL) {
        memset(entries, 0, sizeof *entries);
    }
    lru->entries = entries;
    lru->capacity = capacity;
    lru->version++;
    return PFS_OK;
}

static void empty_out(pfs_lru *lru)
{
    lru->entries = NULL;
    lru->index = lru->old = (pfs_lru_index){0};
    lru->old_next = lru->old_left = 0;
    lru->count = lru->capacity = lru->used = lru->free = 0;
    lru->version++;
    lru->moves++;
}

pfs_status pfs_lru_init(pfs_lru *lru, const pfs_alloc *alloc, size_t maxsize)
{
    if (maxsize < 1 || maxsize > PFS_LRU_MAX) {
        return PFS_EINVAL;
    }
    *lru = (pfs_lru){.maxsize = (uint32_t)maxsize, .alloc = alloc};
    return PFS_OK;
}

void pfs_lru_clear(pfs_lru *lru)
{
    pfs_alloc_release(lru->alloc, lru->entries);
    pfs_alloc_release(lru->alloc, lru->index.slots);
    pfs_alloc_release(lru->alloc, lru->old.slots);
    empty_out(lru);
}

void pfs_lru_take(pfs_lru *lru, pfs_lru *taken)
{
    *taken = *lru;
    empty_out(lru);
}

pfs_status pfs_lru_reserve(pfs_lru *lru, size_t total)
{
    uint32_t wanted = total < lru->maxsize ? (uint32_t)total : lru->maxsize;
    if (wanted > lru->capacity) {
        pfs_status status = grow_entries(lru, wanted);
        if (status != PFS_OK) {
            return status;
        }
    }
    if (lru->index.slots == NULL || wanted > holds(lru->index.bits)) {
        return grow_index(lru, wanted);
    }
    return PFS_OK;
}

/* Links an entry that is in no ring as the newest. */
static void link_newest(pfs_lru *lru, uint32_t id)
{
    pfs_lru_entry *entries = lru->entries;
    uint32_t newest = entries[0].older;
    entries[id].older = newest;
    entries[id].newer = 0;
    entries[newest].newer = id;
    entries[0].older = id;
}

/* The way of a full map: the new entry takes the oldest one's place in the array and, in the ring,
 * the other end. */
static uint32_t take_oldest(pfs_lru *lru, pfs_lru_pair *evicted)
{
    uint32_t id = lru->entries[0].newer;
    const pfs_lru_entry *entry = &lru->entries[id];
    *evicted = (pfs_lru_pair){entry->key, entry->value, true};
    lru->entries[0].newer = entry->newer;
    lru->entries[entry->newer].older = 0;
    return id;
}

static void fill(pfs_lru *lru, uint32_t id, uint64_t mixed, pfs_lru_word key, pfs_lru_word value)
{
    pfs_lru_entry *entry = &lru->entries[id];
    entry->hash = mixed;
    entry->key = key;
    entry->value = value;
    link_newest(lru, id);
    lru->version++;
}

static pfs_status insert_mixed(pfs_lru *lru, uint64_t mixed, pfs_lru_word key, pfs_lru_word value,
                               pfs_lru_pair *evicted)
{
    uint32_t id;
    if (lru->count >= lru->maxsize) {
        id = take_oldest(lru, evicted);
        unplace_anywhere(lru, id);
    } else {
        pfs_status status = pfs_lru_reserve(lru, (size_t)lru->count + 1);
        if (status != PFS_OK) {
            return status;
        }
        *evicted = (pfs_lru_pair){.present = false};
        id = lru->free;
        if (id != 0) {
            lru->free = lru->entries[id].newer;
        } else {
            id = ++lru->used;
        }
        lru->count++;
    }
    fill(lru, id, mixed, key, value);
    place(&lru->index, mixed, id);
    if (lru->old_left > 0) {
        migrate(lru, MIGRATED);
    }
    return PFS_OK;
}

pfs_status pfs_lru_insert(pfs_lru *lru, uint64_t hash, pfs_lru_word key, pfs_lru_word value,
                          pfs_lru_pair *evicted)
{
    return insert_mixed(lru, pfs_lru_mix(hash), key, value, evicted);
}

pfs_status pfs_lru_insert_after(pfs_lru *lru, const pfs_lru_probe *probe, pfs_lru_word key,
                                pfs_lru_word value, pfs_lru_pair *evicted)
{
    uint64_t mixed = probe->mixed;
    if (lru->count < lru->maxsize || lru->old.slots != NULL) {
        return insert_mixed(lru, mixed, key, value, evicted);
    }
    /* The walk ended at the empty slot that would be this entry's.  Taking the oldest one out
     * empties one slot more; if that lies on the way from home to there, it is the first empty one
     * on it, and so the place. */
    const pfs_lru_index *table = &lru->index;
    uint32_t id = take_oldest(lru, evicted);
    uint32_t hole = unplace(lru, table, id), mask = table->mask, start = home(table, mixed);
    uint32_t position = probe->position;
    if (((hole - start) & mask) < ((position - start) & mask)) {
        position = hole;
    }
    fill(lru, id, mixed, key, value);
    table->slots[position] = slot_of(table, mixed, id);
    return PFS_OK;
}

pfs_lru_pair pfs_lru_remove(pfs_lru *lru, uint32_t id)
{
    pfs_lru_entry *entry = &lru->entries[id];
    pfs_lru_pair pair = {entry->key, entry->value, true};
    unplace_anywhere(lru, id);
    lru->entries[entry->older].newer = entry->newer;
    lru->entries[entry->newer].older = entry->older;
    entry->key.number = 0;
    entry->newer = lru->free;
    lru->free = id;
    lru->count--;
    lru->version++;
    return pair;
}

pfs_status pfs_lru_resize(pfs_lru *lru, size_t maxsize)
{
    if (maxsize < 1 || maxsize > PFS_LRU_MAX || maxsize < lru->count) {
        return PFS_EINVAL;
    }
    lru->maxsize = (uint32_t)maxsize;
    if (lru->capacity <= lru->maxsize) {
        return PFS_OK;
    }
    if (lru->count == 0) {
        pfs_lru_clear(lru);
        return PFS_OK;
    }
    pfs_lru fresh = {.maxsize = lru->maxsize, .alloc = lru->alloc};
    if (pfs_lru_reserve(&fresh, lru->count) != PFS_OK) {
        pfs_lru_clear(&fresh);
        return PFS_OK;
    }
    uint32_t id = 0;
    for (uint32_t from = lru->entries[0].newer; from != 0; from = lru->entries[from].newer) {
        id++;
        fresh.entries[id] = lru->entries[from];
        fresh.entries[id].older = id - 1;
        fresh.entries[id].newer = id == lru->count ? 0 : id + 1;
        place(&fresh.index, fresh.entries[id].hash, id);
    }
    fresh.entries[0].newer = 1;
    fresh.entries[0].older = id;
    fresh.count = fresh.used = id;
    fresh.version = lru->version + 1;
    fresh.moves = lru->moves;
    pfs_lru_clear(lru);
    *lru = fresh;
    return PFS_OK;
}

static size_t table_bytes(const pfs_lru_index *table)
{
    return table->slots == NULL ? 0 : ((size_t)table->mask + 1) * sizeof(uint32_t);
}

size_t pfs_lru_bytes(const pfs_lru *lru)
{
    size_t entries = lru->entries == NULL ? 0 : ((size_t)lru->capacity + 1) * sizeof(pfs_lru_entry);
    return entries + table_bytes(&lru->index) + table_bytes(&lru->old);
}
