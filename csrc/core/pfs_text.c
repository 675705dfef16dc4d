/* Text preservation.
 *
 * Tokens become small integers first, so that everything after compares integers.  The longest
 * common subsequence is bit-parallel: a column of the table of lengths rises by 0 or 1 from row to
 * row, so 64 rows fit in one word, and one addition carries a column to the next:
 *     V' = (V + (V & M)) | (V & ~M),   M: the rows whose token is this column's
 * (M. Crochemore et al., "A fast and practical bit-vector algorithm for the longest common
 * subsequence problem", IPL 80, 2001; H. Hyyro, "Bit-parallel LCS-length computation revisited",
 * AWOCA 2004).  The zeros left in V are the length.
 *
 * Rows are taken in blocks of 256, each over all columns before the next block begins; the carry
 * out of a block at each column is kept for the next.  So there is one set of masks, for the tokens
 * of one block, and memory stays linear whatever the length.
 */
#include "pfs_text.h"

#include <string.h>

#define WORDS 4 /* of 64 rows in a block: their additions overlap in the processor */
#define ROWS  ((size_t)64 * WORDS)

void pfs_text_fold_ascii(uint32_t *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint32_t c = text[i];
        uint32_t lower = c | 0x20;
        if (c < 128 && lower - 'a' < 26u) {
            text[i] = lower;
        } else if (c - '0' >= 10u) {
            text[i] = 0;
        }
    }
}

double pfs_text_f1(size_t shared, size_t original, size_t recovered)
{
    double precision = (double)shared / (double)(recovered > 0 ? recovered : 1);
    double recall = (double)shared / (double)(original > 0 ? original : 1);
    return precision + recall > 0.0 ? 2.0 * precision * recall / (precision + recall) : 0.0;
}

/* ---- tokens to ids ---- */

typedef struct {
    const uint32_t *text; /* NULL: free */
    uint32_t length, hash, id;
} word;

typedef struct {
    word *slots;
    size_t mask;
    uint32_t count;
} vocabulary;

static uint32_t intern(vocabulary *v, const uint32_t *text, size_t length)
{
    uint64_t mixed = length;
    for (size_t i = 0; i < length; i++) {
        mixed = (mixed ^ text[i]) * UINT64_C(0x9fb21c651e98df25);
        mixed ^= mixed >> 32;
    }
    uint32_t hash = (uint32_t)mixed;
    for (size_t at = hash & v->mask;; at = (at + 1) & v->mask) {
        word *slot = &v->slots[at];
        if (slot->text == NULL) {
            *slot = (word){text, (uint32_t)length, hash, v->count};
            return v->count++;
        }
        if (slot->hash == hash && slot->length == length &&
            memcmp(slot->text, text, length * sizeof *text) == 0) {
            return slot->id;
        }
    }
}

/* Calls it a token where runs begin and end; with v NULL only counts. */
static size_t tokenize(const uint32_t *text, size_t length, vocabulary *v, uint32_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < length;) {
        if (text[i] == 0) {
            i++;
            continue;
        }
        size_t end = i + 1;
        if (!(text[i] & PFS_TEXT_ALONE)) {
            while (end < length && text[end] != 0 && !(text[end] & PFS_TEXT_ALONE)) {
                end++;
            }
        }
        if (v != NULL) {
            ids[count] = intern(v, text + i, end - i);
        }
        count++;
        i = end;
    }
    return count;
}

/* ---- shared n-grams ---- */

static size_t share_unigrams(const uint32_t *a, size_t na, const uint32_t *b, size_t nb,
                             uint32_t *counts)
{
    size_t shared = 0;
    for (size_t i = 0; i < na; i++) {
        counts[a[i]]++;
    }
    for (size_t i = 0; i < nb; i++) {
        if (counts[b[i]] > 0) {
            counts[b[i]]--;
            shared++;
        }
    }
    return shared;
}

typedef struct {
    uint32_t first, second, count, used;
} pair;

static pair *find_pair(pair *slots, size_t mask, uint32_t first, uint32_t second)
{
    uint64_t hash = ((uint64_t)first << 32 | second) * UINT64_C(0x9fb21c651e98df25);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x9fb21c651e98df25);
    size_t at = (size_t)(hash >> 32) & mask;
    while (slots[at].used && (slots[at].first != first || slots[at].second != second)) {
        at = (at + 1) & mask;
    }
    return &slots[at];
}

/* A power of two of at least twice `count`. */
static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size < 2 * count) {
        size *= 2;
    }
    return size;
}

static pfs_status share_bigrams(const uint32_t *a, size_t na, const uint32_t *b, size_t nb,
                                const pfs_alloc *alloc, size_t *shared)
{
    *shared = 0;
    if (na < 2 || nb < 2) {
        return PFS_OK;
    }
    size_t size = table_size(na);
    pair *slots = pfs_alloc_zeroed(alloc, size, sizeof *slots);
    if (slots == NULL) {
        return PFS_ENOMEM;
    }
    for (size_t i = 0; i + 1 < na; i++) {
        pair *slot = find_pair(slots, size - 1, a[i], a[i + 1]);
        *slot = (pair){a[i], a[i + 1], slot->count + 1, 1};
    }
    for (size_t i = 0; i + 1 < nb; i++) {
        pair *slot = find_pair(slots, size - 1, b[i], b[i + 1]);
        if (slot->count > 0) {
            slot->count--;
            *shared += 1;
        }
    }
    pfs_alloc_release(alloc, slots);
    return PFS_OK;
}

/* ---- the longest common subsequence ---- */

static size_t zeros(uint64_t bits)
{
    size_t count = 0;
    for (uint64_t left = ~bits; left != 0; left &= left - 1) {
        count++;
    }
    return count;
}

/* One block of rows over all columns; masks[id * WORDS + w]; carries[column] in and out. */
static void cross_block(uint64_t v[WORDS], const uint64_t *masks, const uint32_t *columns, size_t n,
                        uint8_t *carries)
{
    uint64_t v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
#define STEP(value, mask)                                                                          \
    do {                                                                                           \
        uint64_t met = value & (mask);                                                             \
        uint64_t half = value + met;                                                               \
        uint64_t sum = half + carry;                                                               \
        carry = (uint64_t)(half < met) | (uint64_t)(sum < half);                                   \
        value = sum | (value & ~(mask));                                                           \
    } while (0)
    for (size_t i = 0; i < n; i++) {
        const uint64_t *m = masks + (size_t)columns[i] * WORDS;
        uint64_t carry = carries[i];
        STEP(v0, m[0]);
        STEP(v1, m[1]);
        STEP(v2, m[2]);
        STEP(v3, m[3]);
        carries[i] = (uint8_t)carry;
    }
#undef STEP
    v[0] = v0, v[1] = v1, v[2] = v2, v[3] = v3;
}

/* Copies the ids that occur in the other sequence (the rest cannot be in common). */
static size_t keep_known(const uint32_t *ids, size_t n, const uint8_t *seen, uint8_t bit,
                         uint32_t *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (seen[ids[i]] & bit) {
            kept[count++] = ids[i];
        }
    }
    return count;
}

static pfs_status cross(const uint32_t *rows, size_t m, const uint32_t *columns, size_t n,
                        uint64_t *masks, uint8_t *carries, bool (*stop)(void *), void *context,
                        size_t *length)
{
    memset(carries, 0, n);
    for (size_t start = 0; start < m; start += ROWS) {
        size_t size = m - start < ROWS ? m - start : ROWS;
        for (size_t i = 0; i < size; i++) {
            masks[(size_t)rows[start + i] * WORDS + i / 64] |= UINT64_C(1) << (i % 64);
        }
        uint64_t v[WORDS];
        memset(v, 0xff, sizeof v);
        /* In pieces, so that a long column does not outlast the caller's patience. */
        for (size_t at = 0; at < n; at += 1 << 16) {
            if (stop != NULL && stop(context)) {
                return PFS_ECALLBACK;
            }
            size_t piece = n - at < (1 << 16) ? n - at : (1 << 16);
            cross_block(v, masks, columns + at, piece, carries + at);
        }
        for (size_t i = 0; i < size; i++) {
            memset(masks + (size_t)rows[start + i] * WORDS, 0, WORDS * sizeof *masks);
        }
        /* Rows beyond the last match nothing; a carry that runs into them changes bits there. */
        for (size_t w = 0; w * 64 < size; w++) {
            uint64_t beyond = size - w * 64 >= 64 ? 0 : ~UINT64_C(0) << (size - w * 64);
            *length += zeros(v[w] | beyond);
        }
    }
    return PFS_OK;
}

pfs_status pfs_text_lcs(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, size_t ids,
                        bool (*stop)(void *), void *context, const pfs_alloc *alloc, size_t *length)
{
    size_t common = 0;
    while (na > 0 && nb > 0 && a[0] == b[0]) {
        a++, b++, na--, nb--, common++;
    }
    while (na > 0 && nb > 0 && a[na - 1] == b[nb - 1]) {
        na--, nb--, common++;
    }
    if (na == 0 || nb == 0) {
        *length = common;
        return PFS_OK;
    }
    uint64_t *masks = pfs_alloc_zeroed(alloc, ids, WORDS * sizeof *masks);
    uint32_t *kept = pfs_alloc_array(alloc, na + nb, sizeof *kept);
    uint8_t *flags = pfs_alloc_zeroed(alloc, ids + na + nb, 1);
    pfs_status status = masks == NULL || kept == NULL || flags == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        for (size_t i = 0; i < na; i++) {
            flags[a[i]] |= 1;
        }
        for (size_t i = 0; i < nb; i++) {
            flags[b[i]] |= 2;
        }
        size_t m = keep_known(a, na, flags, 2, kept);
        size_t n = keep_known(b, nb, flags, 1, kept + m);
        status = cross(kept, m, kept + m, n, masks, flags + ids, stop, context, &common);
    }
    pfs_alloc_release(alloc, flags);
    pfs_alloc_release(alloc, kept);
    pfs_alloc_release(alloc, masks);
    if (status == PFS_OK) {
        *length = common;
    }
    return status;
}

pfs_status pfs_text_compare(const uint32_t *original, size_t original_length,
                            const uint32_t *recovered, size_t recovered_length, bool with_order,
                            bool (*stop)(void *), void *context, const pfs_alloc *alloc,
                            pfs_text_overlap *overlap)
{
    if (original_length >= INT32_MAX || recovered_length >= INT32_MAX) {
        return PFS_ERANGE;
    }
    pfs_text_overlap found = {.original = tokenize(original, original_length, NULL, NULL),
                              .recovered = tokenize(recovered, recovered_length, NULL, NULL)};
    if (found.original == 0 || found.recovered == 0) {
        *overlap = found;
        return PFS_OK;
    }
    size_t tokens = found.original + found.recovered, size = table_size(tokens);
    uint32_t *a = pfs_alloc_array(alloc, tokens, sizeof *a);
    uint32_t *counts = pfs_alloc_zeroed(alloc, tokens, sizeof *counts);
    word *slots = pfs_alloc_zeroed(alloc, size, sizeof *slots);
    pfs_status status = a == NULL || counts == NULL || slots == NULL ? PFS_ENOMEM : PFS_OK;
    if (status == PFS_OK) {
        vocabulary v = {slots, size - 1, 0};
        uint32_t *b = a + found.original;
        (void)tokenize(original, original_length, &v, a);
        (void)tokenize(recovered, recovered_length, &v, b);
        found.unigrams = share_unigrams(a, found.original, b, found.recovered, counts);
        if (with_order) {
            status = share_bigrams(a, found.original, b, found.recovered, alloc, &found.bigrams);
        }
        if (with_order && status == PFS_OK) {
            status = pfs_text_lcs(a, found.original, b, found.recovered, v.count, stop, context,
                                  alloc, &found.lcs);
        }
    }
    pfs_alloc_release(alloc, slots);
    pfs_alloc_release(alloc, counts);
    pfs_alloc_release(alloc, a);
    if (status == PFS_OK) {
        *overlap = found;
    }
    return status;
}
