/* Keys are found by linear hashing (Litwin, VLDB 1980; Larson, CACM 31(4), 1988): chains, and one
 * chain split in two for every two keys that come, so that the table never stops to rehash and a
 * key costs the same bytes in a table of any size.  Everything lives in segments that never move.
 *
 * A key whose bucket is full again is idle and can go.  A heap holds the keys by a time at which
 * each was last seen to become full; takes push the true time on and leave the heap alone.  So the
 * top of the heap is never too late: if it is due, the key is idle or sinks to its true time.  A
 * key can only have to sink once for each take from it, and every take looks at two keys, so the
 * work is O(1) a take, amortised, and the order of the heap costs nothing on the hot path.
 */
#include "pfs_bucket_keyed.h"

#include "pfs_bucket_ticks.h"

#define SEGMENT   256u
#define CHAINS    128u /* chains in a segment: two keys a chain */
#define NONE      UINT32_MAX
#define MAX_KEYS  ((size_t)1 << 31)
#define FULL_LOOK 1024u /* keys looked at for an idle one before a new key is refused */

typedef struct {
    void *key;
    int64_t full_at;
    int64_t due; /* full_at as the heap knows it: never later than the true one */
    uint32_t hash;
    uint32_t next; /* in its chain, or in the list of free entries */
} entry;

typedef struct {
    entry entries[SEGMENT];
    uint32_t heap[SEGMENT];
    uint32_t heads[CHAINS];
} segment;

struct pfs_keyed {
    const pfs_alloc *alloc;
    pfs_bucket clock; /* the rate, the epoch and the latest tick; full_at is not used */
    segment **segments;
    uint32_t segments_held, segments_room;
    uint32_t max_keys, count, used; /* used: entries ever handed out */
    uint32_t free_list;
    uint32_t chains, mask; /* chains in use; mask of the present round, the next one is twice + 1 */
    uint64_t seed, refused;
    uint64_t version; /* of the chains: a search that called out starts again if it changed */
};

static inline entry *entry_at(const pfs_keyed *keyed, uint32_t id)
{
    return &keyed->segments[id / SEGMENT]->entries[id % SEGMENT];
}

static inline uint32_t *heap_at(const pfs_keyed *keyed, uint32_t place)
{
    return &keyed->segments[place / SEGMENT]->heap[place % SEGMENT];
}

static inline uint32_t *head_at(const pfs_keyed *keyed, uint32_t chain)
{
    return &keyed->segments[chain / CHAINS]->heads[chain % CHAINS];
}

static inline uint32_t *chain_of(const pfs_keyed *keyed, uint32_t hash)
{
    uint32_t chain = hash & (keyed->mask * 2 + 1);
    return head_at(keyed, chain < keyed->chains ? chain : chain & keyed->mask);
}

/* The finaliser of splitmix64: an attacker who knows the hashes of the keys but not the seed
 * cannot aim at one chain. */
static inline uint32_t mixed(const pfs_keyed *keyed, uint64_t hash)
{
    uint64_t x = hash ^ keyed->seed;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(x ^ (x >> 31));
}

static void sink(pfs_keyed *keyed, uint32_t place)
{
    uint32_t id = *heap_at(keyed, place);
    int64_t due = entry_at(keyed, id)->due;
    for (uint64_t child = 2 * (uint64_t)place + 1; child < keyed->count;
         child = 2 * (uint64_t)place + 1) {
        uint32_t least = *heap_at(keyed, (uint32_t)child);
        if (child + 1 < keyed->count) {
            uint32_t other = *heap_at(keyed, (uint32_t)child + 1);
            if (entry_at(keyed, other)->due < entry_at(keyed, least)->due) {
                least = other;
                child++;
            }
        }
        if (entry_at(keyed, least)->due >= due) {
            break;
        }
        *heap_at(keyed, place) = least;
        place = (uint32_t)child;
    }
    *heap_at(keyed, place) = id;
}

static void swim(pfs_keyed *keyed, uint32_t place)
{
    uint32_t id = *heap_at(keyed, place);
    int64_t due = entry_at(keyed, id)->due;
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        uint32_t above = *heap_at(keyed, parent);
        if (entry_at(keyed, above)->due <= due) {
            break;
        }
        *heap_at(keyed, place) = above;
        place = parent;
    }
    *heap_at(keyed, place) = id;
}

/* Takes the key at the top of the heap out of the table and returns it. */
static void *drop_top(pfs_keyed *keyed)
{
    uint32_t id = *heap_at(keyed, 0);
    entry *gone = entry_at(keyed, id);
    uint32_t *link = chain_of(keyed, gone->hash);
    while (*link != id) {
        link = &entry_at(keyed, *link)->next;
    }
    *link = gone->next;
    keyed->count--;
    *heap_at(keyed, 0) = *heap_at(keyed, keyed->count);
    if (keyed->count > 0) {
        sink(keyed, 0);
    }
    void *key = gone->key;
    gone->key = NULL;
    gone->next = keyed->free_list;
    keyed->free_list = id;
    keyed->version++;
    return key;
}

/* Looks at up to `steps` keys that are due, drops the idle ones while taken has room for them. */
static inline void expire(pfs_keyed *keyed, int64_t now, unsigned steps, pfs_keyed_taken *taken)
{
    while (steps-- > 0 && keyed->count > 0 && taken->drops < PFS_KEYED_DROPS) {
        entry *top = entry_at(keyed, *heap_at(keyed, 0));
        if (top->due > now) {
            return;
        }
        if (top->full_at <= now) {
            taken->dropped[taken->drops++] = drop_top(keyed);
        } else {
            top->due = top->full_at;
            sink(keyed, 0);
        }
    }
}

/* As pfs_tick_now; when the epoch moves, all keys move with it. */
static inline int64_t keyed_now(pfs_keyed *keyed, int64_t now_ns)
{
    uint64_t elapsed = pfs_tick_since(keyed->clock.epoch_ns, now_ns);
    if (elapsed >= (uint64_t)keyed->clock.rate.horizon && !keyed->clock.rate.never) {
        int64_t by = pfs_tick_rebase(&keyed->clock.rate, elapsed);
        for (uint32_t id = 0; id < keyed->used; id++) {
            entry *held = entry_at(keyed, id);
            held->full_at = pfs_tick_back(held->full_at, by);
            held->due = pfs_tick_back(held->due, by); /* keeps the order of the heap */
        }
    }
    return pfs_tick_now(&keyed->clock, now_ns);
}

/* Sets *id to the entry of `key`, or to NONE. */
static inline pfs_status find(pfs_keyed *keyed, uint32_t hash, void *key, pfs_keyed_equal equal,
                              void *context, uint32_t *id)
{
restart:
    for (uint32_t at = *chain_of(keyed, hash); at != NONE; at = entry_at(keyed, at)->next) {
        const entry *held = entry_at(keyed, at);
        if (held->hash != hash) {
            continue;
        }
        int same = held->key == key;
        if (!same) {
            uint64_t version = keyed->version;
            same = equal(context, held->key, key);
            if (same < 0) {
                return PFS_ECALLBACK;
            }
            if (version != keyed->version) {
                goto restart;
            }
        }
        if (same) {
            *id = at;
            return PFS_OK;
        }
    }
    *id = NONE;
    return PFS_OK;
}

static pfs_status add_segment(pfs_keyed *keyed)
{
    if (keyed->segments_held == keyed->segments_room) {
        uint32_t room = keyed->segments_room == 0 ? 4 : keyed->segments_room * 2;
        segment **bigger = pfs_alloc_resize(keyed->alloc, keyed->segments, room, sizeof *bigger);
        if (bigger == NULL) {
            return PFS_ENOMEM;
        }
        keyed->segments = bigger;
        keyed->segments_room = room;
    }
    segment *fresh = pfs_alloc_array(keyed->alloc, 1, sizeof *fresh);
    if (fresh == NULL) {
        return PFS_ENOMEM;
    }
    for (uint32_t i = 0; i < CHAINS; i++) {
        fresh->heads[i] = NONE;
    }
    keyed->segments[keyed->segments_held++] = fresh;
    return PFS_OK;
}

/* Moves the entries of the next chain of this round that belong to the new one. */
static void split(pfs_keyed *keyed)
{
    uint32_t fresh = keyed->chains, wide = keyed->mask * 2 + 1;
    uint32_t *from = head_at(keyed, fresh & keyed->mask), *to = head_at(keyed, fresh);
    while (*from != NONE) {
        entry *held = entry_at(keyed, *from);
        if ((held->hash & wide) == fresh) {
            uint32_t id = *from;
            *from = held->next;
            held->next = *to;
            *to = id;
        } else {
            from = &held->next;
        }
    }
    keyed->chains++;
    if (keyed->chains == wide + 1) {
        keyed->mask = wide;
    }
}

/* Stores a key whose bucket is full at `full_at`; there is room by count. */
static pfs_status store(pfs_keyed *keyed, uint32_t hash, void *key, int64_t full_at)
{
    uint32_t id = keyed->free_list;
    if (id != NONE) {
        keyed->free_list = entry_at(keyed, id)->next;
    } else {
        if (keyed->used == keyed->segments_held * SEGMENT) {
            pfs_status status = add_segment(keyed);
            if (status != PFS_OK) {
                return status;
            }
        }
        id = keyed->used++;
        if (keyed->used > keyed->chains * 2) {
            split(keyed);
        }
    }
    uint32_t *head = chain_of(keyed, hash);
    *entry_at(keyed, id) =
        (entry){.key = key, .full_at = full_at, .due = full_at, .hash = hash, .next = *head};
    *head = id;
    *heap_at(keyed, keyed->count) = id;
    keyed->count++;
    swim(keyed, keyed->count - 1);
    keyed->version++;
    return PFS_OK;
}

pfs_status pfs_keyed_create(const pfs_alloc *alloc, double per_second, double capacity,
                            size_t max_keys, uint64_t seed, int64_t now_ns, pfs_keyed **out)
{
    pfs_bucket clock;
    pfs_status status = pfs_bucket_init(&clock, per_second, capacity, now_ns);
    if (status != PFS_OK || max_keys == 0 || max_keys > MAX_KEYS) {
        return PFS_EINVAL;
    }
    pfs_keyed *keyed = pfs_alloc_array(alloc, 1, sizeof *keyed);
    if (keyed == NULL) {
        return PFS_ENOMEM;
    }
    *keyed = (pfs_keyed){.alloc = alloc,
                         .clock = clock,
                         .max_keys = (uint32_t)max_keys,
                         .free_list = NONE,
                         .chains = CHAINS,
                         .mask = CHAINS - 1,
                         .seed = seed};
    status = add_segment(keyed);
    if (status != PFS_OK) {
        pfs_keyed_destroy(keyed);
        return status;
    }
    *out = keyed;
    return PFS_OK;
}

void pfs_keyed_destroy(pfs_keyed *keyed)
{
    if (keyed == NULL) {
        return;
    }
    for (uint32_t i = 0; i < keyed->segments_held; i++) {
        pfs_alloc_release(keyed->alloc, keyed->segments[i]);
    }
    pfs_alloc_release(keyed->alloc, keyed->segments);
    pfs_alloc_release(keyed->alloc, keyed);
}

const pfs_rate *pfs_keyed_rate(const pfs_keyed *keyed)
{
    return &keyed->clock.rate;
}

size_t pfs_keyed_max_keys(const pfs_keyed *keyed)
{
    return keyed->max_keys;
}

/* Takes from the entry `id`, or from a full bucket for a new key when it is NONE. */
static pfs_status take_found(pfs_keyed *keyed, uint32_t id, uint32_t mix, void *key, int64_t now,
                             int64_t cost, pfs_keyed_taken *taken)
{
    if (id != NONE) {
        entry *held = entry_at(keyed, id);
        int64_t full_at = (held->full_at > now ? held->full_at : now) + cost;
        if (full_at - now <= keyed->clock.rate.burst) {
            held->full_at = full_at;
            taken->allowed = true;
        }
        expire(keyed, now, PFS_KEYED_DROPS, taken); /* not this one: it is not full now */
        return PFS_OK;
    }
    expire(keyed, now, keyed->count < keyed->max_keys ? PFS_KEYED_DROPS : FULL_LOOK, taken);
    if (keyed->count >= keyed->max_keys) {
        keyed->refused++;
        return PFS_OK;
    }
    pfs_status status = store(keyed, mix, key, now + cost);
    taken->allowed = taken->stored = status == PFS_OK;
    return status;
}

pfs_status pfs_keyed_take(pfs_keyed *keyed, uint64_t hash, void *key, int64_t now_ns, int64_t cost,
                          pfs_keyed_equal equal, void *context, pfs_keyed_taken *taken)
{
    *taken = (pfs_keyed_taken){.allowed = keyed->clock.rate.free};
    if (taken->allowed) {
        return PFS_OK;
    }
    (void)keyed_now(keyed, now_ns);
    uint32_t mix = mixed(keyed, hash), id;
    pfs_status status = find(keyed, mix, key, equal, context, &id);
    if (status != PFS_OK) {
        return status;
    }
    /* The latest tick, because equal may have called back at a later time. */
    return take_found(keyed, id, mix, key, keyed->clock.latest, cost, taken);
}

/* Whether the take is done, by a time that may be behind the true one. */
static bool take_behind(pfs_keyed *keyed, uint32_t id, pfs_keyed_clock clock, int64_t cost,
                        pfs_keyed_taken *taken)
{
    const pfs_rate *rate = &keyed->clock.rate;
    int64_t behind = pfs_tick_of(rate, (uint64_t)PFS_KEYED_BEHIND_NS);
    entry *held = entry_at(keyed, id);
    if (held->full_at - keyed->clock.latest <= behind) {
        return false; /* without reading a clock: it is not before the latest time seen */
    }
    int64_t now = keyed_now(keyed, clock(false));
    int64_t ahead = held->full_at - now;
    if (ahead <= behind || ahead + cost > rate->burst) {
        return false;
    }
    held->full_at += cost;
    taken->allowed = true;
    expire(keyed, now, PFS_KEYED_DROPS, taken);
    return true;
}

pfs_status pfs_keyed_take_by(pfs_keyed *keyed, uint64_t hash, void *key, pfs_keyed_clock clock,
                             int64_t cost, pfs_keyed_equal equal, void *context,
                             pfs_keyed_taken *taken)
{
    *taken = (pfs_keyed_taken){.allowed = keyed->clock.rate.free};
    if (taken->allowed) {
        return PFS_OK;
    }
    uint32_t mix = mixed(keyed, hash), id;
    pfs_status status = find(keyed, mix, key, equal, context, &id);
    if (status != PFS_OK || (id != NONE && take_behind(keyed, id, clock, cost, taken))) {
        return status;
    }
    return take_found(keyed, id, mix, key, keyed_now(keyed, clock(true)), cost, taken);
}

pfs_status pfs_keyed_wait(pfs_keyed *keyed, uint64_t hash, void *key, int64_t now_ns, int64_t cost,
                          pfs_keyed_equal equal, void *context, double *seconds)
{
    const pfs_rate *rate = &keyed->clock.rate;
    (void)keyed_now(keyed, now_ns);
    uint32_t id;
    pfs_status status = find(keyed, mixed(keyed, hash), key, equal, context, &id);
    if (status != PFS_OK) {
        return status;
    }
    int64_t now = keyed->clock.latest;
    if (id != NONE) {
        *seconds = pfs_tick_wait(rate, entry_at(keyed, id)->full_at, now, cost);
        return PFS_OK;
    }
    *seconds = 0.0;
    if (keyed->count >= keyed->max_keys) { /* the burst ahead of it is what must pass */
        for (unsigned steps = 0; steps < FULL_LOOK; steps++) {
            entry *top = entry_at(keyed, *heap_at(keyed, 0));
            if (top->due == top->full_at) {
                break;
            }
            top->due = top->full_at;
            sink(keyed, 0);
        }
        *seconds = pfs_tick_wait(rate, entry_at(keyed, *heap_at(keyed, 0))->due, now, rate->burst);
    }
    return PFS_OK;
}

size_t pfs_keyed_live(pfs_keyed *keyed, int64_t now_ns)
{
    int64_t now = keyed_now(keyed, now_ns);
    size_t live = 0;
    for (uint32_t id = 0; id < keyed->used; id++) {
        const entry *held = entry_at(keyed, id);
        live += held->key != NULL && held->full_at > now;
    }
    return live;
}

uint64_t pfs_keyed_refused(const pfs_keyed *keyed)
{
    return keyed->refused;
}

size_t pfs_keyed_bytes(const pfs_keyed *keyed)
{
    return sizeof *keyed + keyed->segments_room * sizeof *keyed->segments +
           keyed->segments_held * sizeof **keyed->segments;
}

void *pfs_keyed_next(const pfs_keyed *keyed, size_t *cursor)
{
    while (*cursor < keyed->used) {
        void *key = entry_at(keyed, (uint32_t)(*cursor)++)->key;
        if (key != NULL) {
            return key;
        }
    }
    return NULL;
}
