/* The file form of pfs_vectors: reading, merging, writing.  The layout is in the header. */
#include "pfs_vectors.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, ENTRY = 24, CHECKED = 32 };

static const unsigned char MAGIC[8] = {0x89, 'P', 'F', 'S', 'V', 'E', 'C', '\n'};

static uint64_t get64(const unsigned char *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void set64(unsigned char *p, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        p[i] = (unsigned char)(value >> (8 * i));
    }
}

static void set32(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (unsigned char)(value >> (8 * i));
    }
}

/* Floats to and from their little-endian bytes; the direction is the caller's, the work the same.
 */
static void copy_floats(void *to, const void *from, size_t count)
{
    memcpy(to, from, count * sizeof(float));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    unsigned char *p = to;
    for (size_t i = 0; i < count; i++, p += 4) {
        unsigned char a = p[0], b = p[1];
        p[0] = p[3];
        p[1] = p[2];
        p[2] = b;
        p[3] = a;
    }
#endif
}

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t rotated(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static uint64_t lane(uint64_t sum, uint64_t input)
{
    return rotated(sum + input * P2, 31) * P1;
}

uint64_t pfs_vectors_checksum(const unsigned char *bytes, size_t size, uint64_t seed)
{
    const unsigned char *p = bytes, *end = bytes + size;
    uint64_t sum = seed + P5;
    if (size >= 32) {
        uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
        for (; end - p >= 32; p += 32) {
            a = lane(a, get64(p));
            b = lane(b, get64(p + 8));
            c = lane(c, get64(p + 16));
            d = lane(d, get64(p + 24));
        }
        sum = rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18);
        sum = (sum ^ lane(0, a)) * P1 + P4;
        sum = (sum ^ lane(0, b)) * P1 + P4;
        sum = (sum ^ lane(0, c)) * P1 + P4;
        sum = (sum ^ lane(0, d)) * P1 + P4;
    }
    sum += size;
    for (; end - p >= 8; p += 8) {
        sum = rotated(sum ^ lane(0, get64(p)), 27) * P1 + P4;
    }
    if (end - p >= 4) {
        sum = rotated(sum ^ get32(p) * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) {
        sum = rotated(sum ^ *p * P5, 11) * P1;
    }
    sum = (sum ^ sum >> 33) * P2;
    sum = (sum ^ sum >> 29) * P3;
    return sum ^ sum >> 32;
}

static uint64_t checksum_of(const unsigned char *bytes, size_t size)
{
    uint64_t seed = pfs_vectors_checksum(bytes, CHECKED, 0);
    return pfs_vectors_checksum(bytes + PFS_VECTORS_HEADER, size - PFS_VECTORS_HEADER, seed);
}

pfs_status pfs_vectors_file_size(const unsigned char *header, size_t size, uint64_t *whole)
{
    if (size < PFS_VECTORS_HEADER || memcmp(header, MAGIC, sizeof MAGIC) != 0) {
        return PFS_EFORMAT;
    }
    uint32_t version = get32(header + 8), dimension = get32(header + 12);
    uint64_t count = get64(header + 16);
    if (version != VERSION) {
        return version > VERSION ? PFS_EVERSION : PFS_EFORMAT;
    }
    if (dimension > PFS_VECTORS_MAX_DIMENSION || count > PFS_LRU_MAX ||
        (dimension == 0) != (count == 0)) {
        return PFS_EFORMAT;
    }
    *whole = PFS_VECTORS_HEADER + count * (ENTRY + (uint64_t)dimension * sizeof(float));
    return PFS_OK;
}

pfs_status pfs_vectors_file_open(const unsigned char *bytes, size_t size, pfs_vectors_file *file)
{
    uint64_t whole = 0;
    pfs_status status = pfs_vectors_file_size(bytes, size, &whole);
    if (status != PFS_OK) {
        return status;
    }
    if (whole != size) {
        return PFS_EFORMAT;
    }
    if (checksum_of(bytes, size) != get64(bytes + CHECKED)) {
        return PFS_ECHECKSUM;
    }
    *file = (pfs_vectors_file){
        .dimension = get32(bytes + 12),
        .count = (size_t)get64(bytes + 16),
        .capacity = get64(bytes + 24),
        .index = bytes + PFS_VECTORS_HEADER,
    };
    file->floats = file->index + file->count * ENTRY;
    return PFS_OK;
}

/* ---- Merging: both sides in one list, sorted by time, of which the newest maxsize are kept. */

#define NONE SIZE_MAX

typedef struct {
    uint64_t when; /* the stamp, or that of an entry which was used less recently, if later */
    size_t from;   /* the entry of the file to take the floats of; NONE: keep the store's */
    uint32_t id;   /* the store's entry; 0: only the file has it */
    size_t rank;   /* breaks ties: the file's before the store's, each in its order */
} item;

static int by_time(const void *left, const void *right)
{
    const item *a = left, *b = right;
    if (a->when != b->when) {
        return a->when < b->when ? -1 : 1;
    }
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static pfs_digest digest_at(const pfs_vectors_file *file, size_t at)
{
    const unsigned char *entry = file->index + at * ENTRY;
    return (pfs_digest){get64(entry), get64(entry + 8)};
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Fills `items` and returns how many; `places` maps the store's ids to them. */
static size_t collect(const pfs_vectors *vectors, const pfs_vectors_file *file, item *items,
                      size_t *places)
{
    const pfs_lru *order = &vectors->order;
    size_t count = 0;
    uint64_t when = 0;
    for (uint32_t id = pfs_lru_oldest(order); id != 0; id = pfs_lru_at(order, id)->newer) {
        when = later(when, vectors->stamps[pfs_lru_at(order, id)->value.number]);
        places[id] = count;
        items[count] = (item){when, NONE, id, file->count + count};
        count++;
    }
    when = 0;
    for (size_t at = 0; at < file->count; at++) {
        uint64_t stamp = get64(file->index + at * ENTRY + 16);
        when = later(when, stamp);
        uint32_t id = pfs_vectors_find(vectors, digest_at(file, at));
        if (id == 0) {
            items[count++] = (item){when, at, 0, at};
            continue;
        }
        item *mine = &items[places[id]];
        mine->when = later(mine->when, when);
        if (stamp > vectors->stamps[pfs_lru_at(order, id)->value.number]) {
            mine->from = at;
        }
    }
    return count;
}

static bool pinned(const pfs_vectors *vectors, uint32_t id)
{
    return pfs_vectors_pinned(vectors, (uint32_t)pfs_lru_at(&vectors->order, id)->value.number);
}

/* Everything that may fail; changes nothing but room. */
static pfs_status make_room(pfs_vectors *vectors, const pfs_vectors_file *file, const item *items,
                            size_t dropped, size_t count)
{
    size_t needed = 0, freed = vectors->free_count;
    for (size_t i = 0; i < count; i++) {
        const item *it = &items[i];
        if (i < dropped) {
            freed += it->id != 0 && !pinned(vectors, it->id);
        } else if (it->from != NONE) {
            needed += it->id == 0 || pinned(vectors, it->id);
        }
    }
    size_t wanted = needed > freed ? vectors->free_count + (needed - freed) : 0;
    pfs_status status = pfs_vectors_reserve_rows(vectors, file->dimension, wanted);
    return status == PFS_OK ? pfs_lru_reserve(&vectors->order, count - dropped) : status;
}

static pfs_status apply(pfs_vectors *vectors, const pfs_vectors_file *file, const item *items,
                        size_t dropped, size_t count, float *row)
{
    for (size_t i = 0; i < dropped; i++) {
        if (items[i].id != 0) {
            pfs_vectors_remove(vectors, items[i].id);
        }
    }
    for (size_t i = dropped; i < count; i++) {
        const item *it = &items[i];
        if (it->from == NONE) {
            pfs_lru_touch(&vectors->order, it->id);
            continue;
        }
        bool evicted;
        size_t floats = file->dimension;
        copy_floats(row, file->floats + it->from * floats * sizeof(float), floats);
        pfs_status status = pfs_vectors_put(vectors, digest_at(file, it->from), row, floats,
                                            get64(file->index + it->from * ENTRY + 16), &evicted);
        if (status != PFS_OK) {
            return status; /* make_room has seen to it that there is none */
        }
    }
    return PFS_OK;
}

pfs_status pfs_vectors_merge(pfs_vectors *vectors, const pfs_vectors_file *file)
{
    if (file->count == 0) {
        return PFS_OK;
    }
    if (vectors->dimension != 0 && vectors->dimension != file->dimension) {
        return PFS_EMISMATCH;
    }
    const pfs_alloc *alloc = vectors->alloc;
    pfs_lru *order = &vectors->order;
    item *items = pfs_alloc_array(alloc, file->count + order->count, sizeof *items);
    size_t *places = pfs_alloc_array(alloc, (size_t)order->used + 1, sizeof *places);
    float *row = pfs_alloc_array(alloc, file->dimension, sizeof *row);
    pfs_status status = PFS_ENOMEM;
    if (items != NULL && places != NULL && row != NULL) {
        size_t count = collect(vectors, file, items, places);
        qsort(items, count, sizeof *items, by_time);
        size_t dropped = count > order->maxsize ? count - order->maxsize : 0;
        status = make_room(vectors, file, items, dropped, count);
        if (status == PFS_OK) {
            status = apply(vectors, file, items, dropped, count, row);
        }
    }
    pfs_alloc_release(alloc, row);
    pfs_alloc_release(alloc, places);
    pfs_alloc_release(alloc, items);
    return status;
}

/* ---- Writing */

struct pfs_vectors_taken {
    pfs_digest digest;
    uint64_t stamp;
    const float *floats;
    uint32_t row;
};

pfs_status pfs_vectors_snapshot_take(pfs_vectors *vectors, pfs_vectors_snapshot *snapshot)
{
    const pfs_lru *order = &vectors->order;
    pfs_vectors_snapshot taken = {NULL, 0, order->count == 0 ? 0 : vectors->dimension};
    if (order->count > 0) {
        taken.entries = pfs_alloc_array(vectors->alloc, order->count, sizeof *taken.entries);
        if (taken.entries == NULL) {
            return PFS_ENOMEM;
        }
    }
    for (uint32_t id = pfs_lru_oldest(order); id != 0;) {
        const pfs_lru_entry *entry = pfs_lru_at(order, id);
        uint32_t row = (uint32_t)entry->value.number;
        taken.entries[taken.count++] = (struct pfs_vectors_taken){
            {pfs_lru_unmix(entry->hash), entry->key.number},
            vectors->stamps[row],
            pfs_vectors_row(vectors, row),
            row,
        };
        id = entry->newer;
        pfs_status status = pfs_vectors_pin(vectors, row);
        if (status != PFS_OK) {
            taken.count--;
            pfs_vectors_snapshot_release(vectors, &taken);
            return status;
        }
    }
    *snapshot = taken;
    return PFS_OK;
}

size_t pfs_vectors_snapshot_size(const pfs_vectors_snapshot *snapshot)
{
    return PFS_VECTORS_HEADER +
           snapshot->count * (ENTRY + (size_t)snapshot->dimension * sizeof(float));
}

void pfs_vectors_snapshot_write(const pfs_vectors_snapshot *snapshot, uint64_t capacity,
                                unsigned char *out)
{
    memcpy(out, MAGIC, sizeof MAGIC);
    set32(out + 8, VERSION);
    set32(out + 12, snapshot->dimension);
    set64(out + 16, snapshot->count);
    set64(out + 24, capacity);
    unsigned char *index = out + PFS_VECTORS_HEADER;
    unsigned char *floats = index + snapshot->count * ENTRY;
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct pfs_vectors_taken *entry = &snapshot->entries[i];
        set64(index + i * ENTRY, entry->digest.low);
        set64(index + i * ENTRY + 8, entry->digest.high);
        set64(index + i * ENTRY + 16, entry->stamp);
        copy_floats(floats + i * snapshot->dimension * sizeof(float), entry->floats,
                    snapshot->dimension);
    }
    set64(out + CHECKED, checksum_of(out, pfs_vectors_snapshot_size(snapshot)));
}

void pfs_vectors_snapshot_release(pfs_vectors *vectors, pfs_vectors_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        pfs_vectors_unpin(vectors, snapshot->entries[i].row);
    }
    pfs_alloc_release(vectors->alloc, snapshot->entries);
    *snapshot = (pfs_vectors_snapshot){NULL, 0, 0};
}
