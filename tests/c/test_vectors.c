/* pfs_vectors: order, pins, the file, merging. */
#include "harness.h"

#include "pfs_rng.h"
#include "pfs_vectors.h"

enum { DIM = 6 };

static pfs_digest digest(uint64_t n)
{
    return (pfs_digest){n * UINT64_C(0x9E3779B97F4A7C15) % 97, n}; /* low halves clash */
}

static pfs_status put(pfs_vectors *v, uint64_t n, float base, uint64_t stamp)
{
    float floats[DIM];
    bool evicted;
    for (int i = 0; i < DIM; i++) {
        floats[i] = base + (float)i;
    }
    return pfs_vectors_put(v, digest(n), floats, DIM, stamp, &evicted);
}

/* The first float of the entry, or -1. */
static float look(pfs_vectors *v, uint64_t n)
{
    uint32_t id = pfs_vectors_find(v, digest(n));
    if (id == 0) {
        return -1.0f;
    }
    const float *row = pfs_vectors_row(v, (uint32_t)pfs_lru_at(&v->order, id)->value.number);
    for (int i = 0; i < DIM; i++) {
        CHECK(row[i] == row[0] + (float)i);
    }
    return row[0];
}

static uint64_t nth_oldest(const pfs_vectors *v, uint32_t n)
{
    uint32_t id = pfs_lru_oldest(&v->order);
    while (n-- > 0) {
        id = pfs_lru_at(&v->order, id)->newer;
    }
    return pfs_lru_at(&v->order, id)->key.number;
}

/* Free rows, rows of entries and orphans are all rows there are. */
static void check_rows(const pfs_vectors *v, uint32_t orphans)
{
    CHECK(v->rows == v->free_count + v->order.count + orphans);
}

static unsigned char *saved(pfs_vectors *v, size_t *size)
{
    pfs_vectors_snapshot snapshot;
    if (pfs_vectors_snapshot_take(v, &snapshot) != PFS_OK) {
        return NULL;
    }
    *size = pfs_vectors_snapshot_size(&snapshot);
    unsigned char *bytes = malloc(*size);
    CHECK(bytes != NULL);
    pfs_vectors_snapshot_write(&snapshot, v->order.maxsize, bytes);
    pfs_vectors_snapshot_release(v, &snapshot);
    return bytes;
}

TEST(checksum_is_the_published_one)
{
    const unsigned char *text = (const unsigned char *)"Nobody inspects the spammish repetition";
    CHECK(pfs_vectors_checksum(text, 0, 0) == UINT64_C(0xef46db3751d8e999));
    CHECK(pfs_vectors_checksum((const unsigned char *)"a", 1, 0) == UINT64_C(0xd24ec4f1a98c6e5b));
    CHECK(pfs_vectors_checksum((const unsigned char *)"abc", 3, 0) == UINT64_C(0x44bc2cf5ad770999));
    CHECK(pfs_vectors_checksum(text, 39, 0) == UINT64_C(0xfbcea83c8a378bf1));
}

TEST(unmix_undoes_mix)
{
    pfs_rng rng;
    pfs_rng_seed(&rng, 7);
    for (int i = 0; i < 1000; i++) {
        uint64_t hash = pfs_rng_next(&rng);
        CHECK(pfs_lru_unmix(pfs_lru_mix(hash)) == hash);
    }
}

TEST(keeps_the_newest)
{
    pfs_vectors v;
    CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), 0) == PFS_EINVAL);
    CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), 100) == PFS_OK);
    for (uint64_t n = 0; n < 250; n++) {
        CHECK(put(&v, n, (float)n, n) == PFS_OK);
        check_rows(&v, 0);
    }
    CHECK(v.order.count == 100);
    CHECK(v.rows == 100); /* not a row more than maxsize */
    for (uint64_t n = 0; n < 250; n++) {
        CHECK(look(&v, n) == (n < 150 ? -1.0f : (float)n));
    }
    CHECK(put(&v, 200, 7.0f, 1) == PFS_OK);
    CHECK(look(&v, 200) == 7.0f);
    CHECK(pfs_lru_at(&v.order, pfs_lru_newest(&v.order))->key.number == 200);
    float one[3] = {0};
    bool evicted;
    CHECK(pfs_vectors_put(&v, digest(1), one, 3, 0, &evicted) == PFS_EMISMATCH);
    CHECK(pfs_vectors_put(&v, digest(1), one, 0, 0, &evicted) == PFS_EINVAL);
    CHECK(pfs_vectors_put(&v, digest(1), one, (size_t)1 << 40, 0, &evicted) == PFS_EINVAL);
    pfs_vectors_destroy(&v);
}

TEST(pinned_rows_never_change)
{
    pfs_vectors v;
    uint32_t rows[5], again;
    CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), 5) == PFS_OK);
    for (uint64_t n = 0; n < 5; n++) {
        CHECK(put(&v, n, (float)n * 100.0f, n) == PFS_OK);
        CHECK(pfs_vectors_get(&v, digest(n), &rows[n]) == PFS_OK);
    }
    CHECK(pfs_vectors_get(&v, digest(77), &again) == PFS_EEMPTY);
    for (uint64_t n = 0; n < 5; n++) { /* replaced... */
        CHECK(put(&v, n, 5.0f, 9) == PFS_OK);
        CHECK(look(&v, n) == 5.0f);
    }
    check_rows(&v, 5);
    for (uint64_t n = 10; n < 60; n++) { /* ...evicted... */
        CHECK(put(&v, n, 6.0f, 9) == PFS_OK);
    }
    pfs_vectors_clear(&v); /* ...and cleared */
    CHECK(v.order.count == 0);
    for (uint32_t n = 0; n < 5; n++) {
        for (int i = 0; i < DIM; i++) {
            CHECK(pfs_vectors_row(&v, rows[n])[i] == (float)n * 100.0f + (float)i);
        }
    }
    for (uint64_t n = 0; n < 9; n++) {
        CHECK(put(&v, n, 3.0f, 9) == PFS_OK);
    }
    CHECK(pfs_vectors_row(&v, rows[4])[0] == 400.0f);
    for (uint32_t n = 0; n < 5; n++) {
        pfs_vectors_unpin(&v, rows[n]);
        check_rows(&v, 4 - n);
    }
    size_t before = pfs_vectors_bytes(&v);
    for (uint64_t n = 0; n < 100; n++) {
        CHECK(put(&v, n, 3.0f, 9) == PFS_OK);
    }
    CHECK(pfs_vectors_bytes(&v) == before); /* what orphans took is used again */
    pfs_vectors_clear(&v);
    CHECK(pfs_vectors_bytes(&v) == 0);
    pfs_vectors_destroy(&v);
}

TEST(random_pins_against_copies)
{
    enum { KEYS = 40, READERS = 30 };
    pfs_vectors v;
    pfs_rng rng;
    struct {
        uint32_t row;
        float was;
        bool live;
    } readers[READERS] = {{0, 0.0f, false}};
    CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), 17) == PFS_OK);
    pfs_rng_seed(&rng, 3);
    for (int step = 0; step < 20000; step++) {
        uint64_t key = pfs_rng_below(&rng, KEYS), r = pfs_rng_below(&rng, READERS);
        uint64_t act = pfs_rng_below(&rng, 300);
        if (act == 0) {
            pfs_vectors_clear(&v);
        } else if (act < 140) {
            CHECK(put(&v, key, (float)step, (uint64_t)step) == PFS_OK);
        } else if (readers[r].live) {
            CHECK(pfs_vectors_row(&v, readers[r].row)[0] == readers[r].was);
            CHECK(pfs_vectors_row(&v, readers[r].row)[DIM - 1] == readers[r].was + DIM - 1);
            pfs_vectors_unpin(&v, readers[r].row);
            readers[r].live = false;
        } else if (pfs_vectors_get(&v, digest(key), &readers[r].row) == PFS_OK) {
            readers[r].was = pfs_vectors_row(&v, readers[r].row)[0];
            readers[r].live = true;
        }
    }
    for (int r = 0; r < READERS; r++) {
        if (readers[r].live) {
            CHECK(pfs_vectors_row(&v, readers[r].row)[0] == readers[r].was);
            pfs_vectors_unpin(&v, readers[r].row);
        }
    }
    check_rows(&v, 0);
    CHECK(v.rows <= 17 + READERS + 32);
    pfs_vectors_destroy(&v);
}

TEST(file_round_trip_and_damage)
{
    pfs_vectors v, w;
    size_t size = 0;
    CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), 50) == PFS_OK);
    CHECK(pfs_vectors_init(&w, pfs_alloc_libc(), 50) == PFS_OK);
    pfs_vectors_file file;
    unsigned char *bytes = saved(&v, &size);
    CHECK(size == PFS_VECTORS_HEADER && pfs_vectors_file_open(bytes, size, &file) == PFS_OK);
    CHECK(pfs_vectors_merge(&w, &file) == PFS_OK && w.order.count == 0);
    free(bytes);
    for (uint64_t n = 0; n < 60; n++) {
        CHECK(put(&v, n, (float)n, 1000 + n) == PFS_OK);
    }
    pfs_lru_touch(&v.order, pfs_lru_oldest(&v.order)); /* 10 was used after all others */
    bytes = saved(&v, &size);
    CHECK(pfs_vectors_file_open(bytes, size, &file) == PFS_OK);
    CHECK(file.count == 50 && file.dimension == DIM && file.capacity == 50);
    CHECK(pfs_vectors_merge(&w, &file) == PFS_OK);
    CHECK(w.order.count == 50);
    for (uint32_t i = 0; i < 50; i++) {
        CHECK(nth_oldest(&w, i) == nth_oldest(&v, i));
        CHECK(look(&w, nth_oldest(&w, i)) == (float)nth_oldest(&w, i));
    }
    CHECK(nth_oldest(&w, 49) == 10);
    size_t again = 0;
    unsigned char *twice = saved(&w, &again);
    CHECK(again == size && memcmp(bytes, twice, size) == 0);
    free(twice);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK(pfs_vectors_file_open(bytes, cut, &file) == PFS_EFORMAT);
    }
    for (size_t at = 0; at < size; at++) {
        for (int bit = 0; bit < 8; bit += 7) {
            bytes[at] ^= (unsigned char)(1 << bit);
            CHECK(pfs_vectors_file_open(bytes, size, &file) != PFS_OK);
            bytes[at] ^= (unsigned char)(1 << bit);
        }
    }
    bytes[8]++;
    CHECK(pfs_vectors_file_open(bytes, size, &file) == PFS_EVERSION);
    free(bytes);
    pfs_vectors_destroy(&v);
    pfs_vectors_destroy(&w);
}

TEST(merge_keeps_the_newest_of_both)
{
    for (int pin = 0; pin < 2; pin++) {
        pfs_vectors mine, theirs;
        uint32_t rows[8];
        size_t size = 0;
        CHECK(pfs_vectors_init(&mine, pfs_alloc_libc(), 8) == PFS_OK);
        CHECK(pfs_vectors_init(&theirs, pfs_alloc_libc(), 8) == PFS_OK);
        for (uint64_t n = 0; n < 8; n++) {
            CHECK(put(&mine, n, (float)n, 10 * n) == PFS_OK); /* 0 ... 70 */
            if (pin) {
                CHECK(pfs_vectors_get(&mine, digest(n), &rows[n]) == PFS_OK);
            }
        }
        CHECK(put(&theirs, 100, 100.0f, 5) == PFS_OK);
        CHECK(put(&theirs, 101, 101.0f, 35) == PFS_OK);
        CHECK(put(&theirs, 6, 1000.0f, 45) == PFS_OK); /* stored earlier than mine: mine stays */
        CHECK(put(&theirs, 2, 1002.0f, 55) == PFS_OK); /* later than mine: theirs */
        CHECK(put(&theirs, 102, 102.0f, 75) == PFS_OK);
        unsigned char *bytes = saved(&theirs, &size);
        pfs_vectors_file file;
        CHECK(pfs_vectors_file_open(bytes, size, &file) == PFS_OK);
        CHECK(pfs_vectors_merge(&mine, &file) == PFS_OK);
        /* times: 0:0 100:5 1:10 3:30 101:35 4:40 5:50 2:55 6:60 7:70 102:75; the first three go */
        const uint64_t left[] = {3, 101, 4, 5, 2, 6, 7, 102};
        CHECK(mine.order.count == 8);
        for (uint32_t i = 0; i < 8; i++) {
            CHECK(nth_oldest(&mine, i) == left[i]);
        }
        CHECK(look(&mine, 6) == 6.0f);
        CHECK(look(&mine, 2) == 1002.0f);
        CHECK(look(&mine, 102) == 102.0f);
        check_rows(&mine, pin ? 3 : 0); /* 0, 1 gone, 2 replaced, while being read */
        for (uint64_t n = 0; pin && n < 8; n++) {
            CHECK(pfs_vectors_row(&mine, rows[n])[0] == (float)n);
            pfs_vectors_unpin(&mine, rows[n]);
        }
        check_rows(&mine, 0);
        CHECK(pfs_vectors_merge(&mine, &file) == PFS_OK); /* once more changes no value */
        CHECK(look(&mine, 2) == 1002.0f && mine.order.count == 8);
        free(bytes);

        float other[2] = {0};
        bool evicted;
        pfs_vectors short_ones;
        CHECK(pfs_vectors_init(&short_ones, pfs_alloc_libc(), 8) == PFS_OK);
        CHECK(pfs_vectors_put(&short_ones, digest(1), other, 2, 0, &evicted) == PFS_OK);
        bytes = saved(&short_ones, &size);
        CHECK(pfs_vectors_file_open(bytes, size, &file) == PFS_OK);
        CHECK(pfs_vectors_merge(&mine, &file) == PFS_EMISMATCH);
        free(bytes);
        pfs_vectors_destroy(&short_ones);
        pfs_vectors_destroy(&mine);
        pfs_vectors_destroy(&theirs);
    }
}

TEST(bytes_an_entry)
{
    enum { FLOATS = 384 };
    size_t sizes[] = {1000, 5000, 5462};
    float floats[FLOATS] = {0};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        pfs_vectors v;
        bool evicted;
        CHECK(pfs_vectors_init(&v, pfs_alloc_libc(), sizes[s]) == PFS_OK);
        for (uint64_t n = 0; n < sizes[s] + sizes[s] / 10; n++) {
            CHECK(pfs_vectors_put(&v, digest(n), floats, FLOATS, n, &evicted) == PFS_OK);
        }
        double each = (double)pfs_vectors_bytes(&v) / (double)sizes[s];
        CHECK(each > 1536.0 && each <= 1600.0);
        pfs_vectors_destroy(&v);
    }
}

static unsigned char *foreign;
static size_t foreign_size;

static bool scenario(const pfs_alloc *alloc)
{
    pfs_vectors v;
    bool all = true;
    uint32_t row = 0;
    if (pfs_vectors_init(&v, alloc, 20) != PFS_OK) {
        return false;
    }
    for (uint64_t n = 0; n < 30; n++) {
        uint32_t before = v.order.count;
        pfs_status status = put(&v, n, (float)n, n);
        CHECK(status == PFS_OK || (status == PFS_ENOMEM && v.order.count == before));
        all = all && status == PFS_OK;
        check_rows(&v, 0);
    }
    bool read = pfs_vectors_get(&v, digest(29), &row) == PFS_OK;
    pfs_vectors_file file;
    CHECK(pfs_vectors_file_open(foreign, foreign_size, &file) == PFS_OK);
    uint32_t before = v.order.count;
    float kept = look(&v, 29);
    pfs_status status = pfs_vectors_merge(&v, &file);
    CHECK(status == PFS_OK || status == PFS_ENOMEM);
    if (status != PFS_OK) {
        CHECK(v.order.count == before && look(&v, 29) == kept);
        all = false;
    } else {
        CHECK(look(&v, 29) == 2029.0f && look(&v, 1019) == 1019.0f);
    }
    pfs_vectors_snapshot snapshot;
    status = pfs_vectors_snapshot_take(&v, &snapshot);
    if (status == PFS_OK) {
        pfs_vectors_snapshot_release(&v, &snapshot);
    } else {
        all = false;
    }
    if (read) {
        CHECK(pfs_vectors_row(&v, row)[0] == 29.0f);
        pfs_vectors_unpin(&v, row);
    }
    check_rows(&v, 0);
    pfs_vectors_destroy(&v);
    return all;
}

TEST(survives_every_failing_allocation)
{
    pfs_vectors theirs;
    CHECK(pfs_vectors_init(&theirs, pfs_alloc_libc(), 20) == PFS_OK);
    for (uint64_t n = 1000; n < 1020; n++) {
        CHECK(put(&theirs, n, (float)n, n) == PFS_OK);
    }
    CHECK(put(&theirs, 29, 2029.0f, 5000) == PFS_OK);
    foreign = saved(&theirs, &foreign_size);
    pfs_vectors_destroy(&theirs);
    CHECK(torture(scenario) >= 10);
    free(foreign);
}

int main(void)
{
    RUN(checksum_is_the_published_one);
    RUN(unmix_undoes_mix);
    RUN(keeps_the_newest);
    RUN(pinned_rows_never_change);
    RUN(random_pins_against_copies);
    RUN(file_round_trip_and_damage);
    RUN(merge_keeps_the_newest_of_both);
    RUN(bytes_an_entry);
    RUN(survives_every_failing_allocation);
    FINISH();
}
