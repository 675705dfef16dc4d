#include "pfs_vectors.h"

#include <string.h>

/* A row's state: FREE and the next free row's number; else the number of pins, with ORPHAN when no
 * entry has it any more. */
#define FREE   UINT32_C(0x80000000)
#define ORPHAN UINT32_C(0x40000000)
#define PINS   UINT32_C(0x3FFFFFFF)
#define NO_ROW UINT32_C(0x7FFFFFFF)

enum { BLOCK_BYTES = 65536 };

pfs_status pfs_vectors_init(pfs_vectors *vectors, const pfs_alloc *alloc, size_t maxsize)
{
    *vectors = (pfs_vectors){.free = NO_ROW, .alloc = alloc};
    return pfs_lru_init(&vectors->order, alloc, maxsize);
}

static float *row_at(const pfs_vectors *vectors, uint32_t row)
{
    uint32_t inside = row & ((UINT32_C(1) << vectors->shift) - 1);
    return vectors->blocks[row >> vectors->shift].floats + (size_t)inside * vectors->dimension;
}

const float *pfs_vectors_row(const pfs_vectors *vectors, uint32_t row)
{
    return row_at(vectors, row);
}

bool pfs_vectors_pinned(const pfs_vectors *vectors, uint32_t row)
{
    return (vectors->states[row] & PINS) != 0;
}

static void push_free(pfs_vectors *vectors, uint32_t row)
{
    vectors->states[row] = FREE | vectors->free;
    vectors->free = row;
    vectors->free_count++;
}

static uint32_t pop_free(pfs_vectors *vectors)
{
    uint32_t row = vectors->free;
    vectors->free = vectors->states[row] & ~FREE;
    vectors->free_count--;
    vectors->states[row] = 0;
    return row;
}

/* The entry of a row is gone. */
static void let_go(pfs_vectors *vectors, uint32_t row)
{
    if (pfs_vectors_pinned(vectors, row)) {
        vectors->states[row] |= ORPHAN;
    } else {
        push_free(vectors, row);
    }
}

pfs_status pfs_vectors_pin(pfs_vectors *vectors, uint32_t row)
{
    if ((vectors->states[row] & PINS) == PINS) {
        return PFS_ERANGE;
    }
    vectors->states[row]++;
    return PFS_OK;
}

void pfs_vectors_unpin(pfs_vectors *vectors, uint32_t row)
{
    vectors->states[row]--;
    if (vectors->states[row] == ORPHAN) {
        push_free(vectors, row);
    }
}

/* Room for one more block in every array. */
static pfs_status grow_arrays(pfs_vectors *vectors)
{
    const pfs_alloc *alloc = vectors->alloc;
    uint64_t wanted = ((uint64_t)vectors->block_count + 1) << vectors->shift;
    if (wanted > NO_ROW) {
        return PFS_ERANGE;
    }
    if (wanted > vectors->slots) {
        uint64_t most = (uint64_t)vectors->order.maxsize + ((UINT64_C(1) << vectors->shift) - 1);
        uint64_t slots = (uint64_t)vectors->slots + vectors->slots / 2;
        slots = slots > most ? most : slots;
        slots = slots < wanted ? wanted : slots;
        uint32_t *states =
            vectors->states == NULL
                ? pfs_alloc_array(alloc, (size_t)slots, sizeof *states)
                : pfs_alloc_resize(alloc, vectors->states, (size_t)slots, sizeof *states);
        if (states == NULL) {
            return PFS_ENOMEM;
        }
        vectors->states = states;
        uint64_t *stamps =
            vectors->stamps == NULL
                ? pfs_alloc_array(alloc, (size_t)slots, sizeof *stamps)
                : pfs_alloc_resize(alloc, vectors->stamps, (size_t)slots, sizeof *stamps);
        if (stamps == NULL) {
            return PFS_ENOMEM;
        }
        vectors->stamps = stamps;
        vectors->slots = (uint32_t)slots;
    }
    size_t blocks = (size_t)vectors->block_count + 1;
    pfs_vectors_block *grown =
        vectors->blocks == NULL ? pfs_alloc_array(alloc, blocks, sizeof *grown)
                                : pfs_alloc_resize(alloc, vectors->blocks, blocks, sizeof *grown);
    if (grown == NULL) {
        return PFS_ENOMEM;
    }
    vectors->blocks = grown;
    grown[vectors->block_count] = (pfs_vectors_block){NULL, 0};
    vectors->block_count++;
    vectors->empty_blocks++;
    return PFS_OK;
}

static pfs_status add_block(pfs_vectors *vectors)
{
    if (vectors->empty_blocks == 0) {
        pfs_status status = grow_arrays(vectors);
        if (status != PFS_OK) {
            return status;
        }
    }
    uint32_t at = vectors->block_count - 1;
    while (vectors->blocks[at].floats != NULL) {
        at--;
    }
    /* Up to maxsize rows exactly; a whole block when pinned rows need more than that. */
    uint32_t rows = UINT32_C(1) << vectors->shift;
    uint32_t maxsize = vectors->order.maxsize;
    if (vectors->rows < maxsize && maxsize - vectors->rows < rows) {
        rows = maxsize - vectors->rows;
    }
    size_t row_bytes = (size_t)vectors->dimension * sizeof(float);
    float *floats = pfs_alloc_array(vectors->alloc, rows, row_bytes);
    if (floats == NULL) {
        return PFS_ENOMEM; /* an empty block waits for the next attempt */
    }
    vectors->blocks[at] = (pfs_vectors_block){floats, rows};
    vectors->empty_blocks--;
    vectors->rows += rows;
    for (uint32_t row = rows; row-- > 0;) {
        push_free(vectors, (at << vectors->shift) + row);
    }
    return PFS_OK;
}

static void release_arrays(pfs_vectors *vectors)
{
    pfs_alloc_release(vectors->alloc, vectors->blocks);
    pfs_alloc_release(vectors->alloc, vectors->states);
    pfs_alloc_release(vectors->alloc, vectors->stamps);
    vectors->blocks = NULL;
    vectors->states = NULL;
    vectors->stamps = NULL;
    vectors->block_count = vectors->empty_blocks = vectors->slots = 0;
}

pfs_status pfs_vectors_reserve_rows(pfs_vectors *vectors, size_t dimension, size_t wanted)
{
    if (dimension == 0 || dimension > PFS_VECTORS_MAX_DIMENSION) {
        return PFS_EINVAL;
    }
    bool first = vectors->dimension == 0;
    if (!first && vectors->dimension != dimension) {
        return PFS_EMISMATCH;
    }
    if (first) {
        vectors->dimension = (uint32_t)dimension;
        vectors->shift = 0;
        while (((sizeof(float) * dimension) << (vectors->shift + 1)) <= BLOCK_BYTES &&
               (UINT32_C(1) << vectors->shift) < vectors->order.maxsize) {
            vectors->shift++;
        }
    }
    while (vectors->free_count < wanted) {
        pfs_status status = add_block(vectors);
        if (status != PFS_OK) {
            if (first && vectors->rows == 0) {
                release_arrays(vectors);
                vectors->dimension = 0;
            }
            return status;
        }
    }
    return PFS_OK;
}

uint32_t pfs_vectors_find(const pfs_vectors *vectors, pfs_digest digest)
{
    pfs_lru_probe probe;
    uint32_t id = pfs_lru_first(&vectors->order, digest.low, &probe);
    while (id != 0 && pfs_lru_at(&vectors->order, id)->key.number != digest.high) {
        id = pfs_lru_next(&vectors->order, &probe);
    }
    return id;
}

bool pfs_vectors_has(const pfs_vectors *vectors, pfs_digest digest)
{
    return pfs_vectors_find(vectors, digest) != 0;
}

static uint32_t row_of(const pfs_vectors *vectors, uint32_t id)
{
    return (uint32_t)pfs_lru_at(&vectors->order, id)->value.number;
}

pfs_status pfs_vectors_get(pfs_vectors *vectors, pfs_digest digest, uint32_t *row)
{
    uint32_t id = pfs_vectors_find(vectors, digest);
    if (id == 0) {
        return PFS_EEMPTY;
    }
    uint32_t found = row_of(vectors, id);
    pfs_status status = pfs_vectors_pin(vectors, found);
    if (status == PFS_OK) {
        pfs_lru_touch(&vectors->order, id);
        *row = found;
    }
    return status;
}

/* An entry for the digest that has a row of its own which nobody reads: *row. */
static pfs_status prepare(pfs_vectors *vectors, pfs_digest digest, size_t dimension, uint32_t *row,
                          bool *evicted)
{
    pfs_lru *order = &vectors->order;
    uint32_t id = pfs_vectors_find(vectors, digest);
    uint32_t leaves = id != 0 ? id : order->count == order->maxsize ? pfs_lru_oldest(order) : 0;
    bool reuse = leaves != 0 && !pfs_vectors_pinned(vectors, row_of(vectors, leaves));
    pfs_status status = pfs_vectors_reserve_rows(vectors, dimension, reuse ? 0 : 1);
    if (status == PFS_OK && leaves == 0) {
        status = pfs_lru_reserve(order, (size_t)order->count + 1);
    }
    if (status != PFS_OK) {
        return status;
    }
    *evicted = id == 0 && leaves != 0;
    if (leaves != 0) {
        let_go(vectors, row_of(vectors, leaves)); /* first on the free list, when it is free */
    }
    *row = pop_free(vectors);
    if (id != 0) {
        pfs_lru_at(order, id)->value.number = *row;
        pfs_lru_touch(order, id);
        return PFS_OK;
    }
    pfs_lru_pair out;
    return pfs_lru_insert(order, digest.low, (pfs_lru_word){.number = digest.high},
                          (pfs_lru_word){.number = *row}, &out);
}

pfs_status pfs_vectors_put(pfs_vectors *vectors, pfs_digest digest, const float *floats,
                           size_t dimension, uint64_t stamp, bool *evicted)
{
    uint32_t row;
    bool full;
    pfs_status status = prepare(vectors, digest, dimension, &row, &full);
    if (status == PFS_OK) {
        memcpy(row_at(vectors, row), floats, dimension * sizeof *floats);
        vectors->stamps[row] = stamp;
        *evicted = full;
    }
    return status;
}

void pfs_vectors_remove(pfs_vectors *vectors, uint32_t id)
{
    let_go(vectors, (uint32_t)pfs_lru_remove(&vectors->order, id).value.number);
}

void pfs_vectors_clear(pfs_vectors *vectors)
{
    for (uint32_t id; (id = pfs_lru_oldest(&vectors->order)) != 0;) {
        pfs_vectors_remove(vectors, id);
    }
    pfs_lru_clear(&vectors->order);
    vectors->free = NO_ROW;
    vectors->free_count = vectors->rows = 0;
    for (uint32_t at = 0; at < vectors->block_count; at++) {
        pfs_vectors_block *block = &vectors->blocks[at];
        uint32_t first = at << vectors->shift;
        bool read = false;
        for (uint32_t row = 0; row < block->rows; row++) {
            read = read || (vectors->states[first + row] & FREE) == 0;
        }
        if (!read && block->floats != NULL) {
            vectors->empty_blocks++;
            pfs_alloc_release(vectors->alloc, block->floats);
            *block = (pfs_vectors_block){NULL, 0};
        }
        vectors->rows += block->rows;
        for (uint32_t row = 0; row < block->rows; row++) {
            if ((vectors->states[first + row] & FREE) != 0) {
                push_free(vectors, first + row);
            }
        }
    }
    if (vectors->rows == 0) {
        release_arrays(vectors);
    }
}

void pfs_vectors_destroy(pfs_vectors *vectors)
{
    for (uint32_t at = 0; at < vectors->block_count; at++) {
        pfs_alloc_release(vectors->alloc, vectors->blocks[at].floats);
    }
    release_arrays(vectors);
    pfs_lru_clear(&vectors->order);
    vectors->rows = vectors->free_count = 0;
    vectors->free = NO_ROW;
}

size_t pfs_vectors_bytes(const pfs_vectors *vectors)
{
    return pfs_lru_bytes(&vectors->order) +
           (size_t)vectors->rows * vectors->dimension * sizeof(float) +
           (size_t)vectors->slots * (sizeof *vectors->states + sizeof *vectors->stamps) +
           (size_t)vectors->block_count * sizeof *vectors->blocks;
}
