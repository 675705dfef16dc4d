/* Text preservation: the bit-parallel subsequence against the table, and allocations failed. */
#include "harness.h"

#include "pfs_rng.h"
#include "pfs_text.h"

#define MOST 700

static size_t table_lcs(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
    static size_t row[MOST + 1];
    memset(row, 0, sizeof row);
    for (size_t i = 0; i < na; i++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < nb; j++) {
            size_t above = row[j + 1];
            row[j + 1] = a[i] == b[j] ? diagonal + 1 : above > row[j] ? above : row[j];
            diagonal = above;
        }
    }
    return row[nb];
}

TEST(lcs_is_the_tables)
{
    static uint32_t a[MOST], b[MOST];
    size_t sizes[] = {0, 1, 2, 63, 64, 65, 128, 255, 256, 257, 511, 513, 700};
    size_t alphabets[] = {1, 2, 5, 60, 2000};
    size_t kinds = sizeof sizes / sizeof *sizes;
    pfs_rng rng;
    pfs_rng_seed(&rng, 5);
    for (size_t s = 0; s < kinds * kinds; s++) {
        size_t na = sizes[s / kinds], nb = sizes[s % kinds], ids = alphabets[s % 5], length = 9999;
        for (size_t i = 0; i < MOST; i++) {
            a[i] = (uint32_t)pfs_rng_below(&rng, ids);
            b[i] = (uint32_t)pfs_rng_below(&rng, ids);
        }
        CHECK(pfs_text_lcs(a, na, b, nb, ids, NULL, NULL, pfs_alloc_libc(), &length) == PFS_OK);
        CHECK(length == table_lcs(a, na, b, nb));
    }
}

static size_t points(const char *text, uint32_t *out)
{
    size_t n = 0;
    for (; text[n] != '\0'; n++) {
        out[n] = (unsigned char)text[n];
    }
    pfs_text_fold_ascii(out, n);
    return n;
}

TEST(overlap_by_hand)
{
    uint32_t a[100], b[100];
    size_t na = points("The cat, the CAT and the dog!", a), nb = points("the dog and the cat", b);
    pfs_text_overlap o;
    CHECK(pfs_text_compare(a, na, b, nb, true, NULL, NULL, pfs_alloc_libc(), &o) == PFS_OK);
    CHECK(o.original == 7 && o.recovered == 5);
    CHECK(o.unigrams == 5); /* the the dog and cat */
    CHECK(o.bigrams == 3);  /* the-dog, and-the, the-cat; dog-and is not in the first */
    CHECK(o.lcs == 3);      /* the and the, or the and dog */
}

TEST(alone_and_empty)
{
    uint32_t a[] = {'x', 'y' | PFS_TEXT_ALONE, 'y' | PFS_TEXT_ALONE, 'x', 0, 'x'}, b[] = {0, 0};
    pfs_text_overlap o;
    CHECK(pfs_text_compare(a, 6, a, 6, true, NULL, NULL, pfs_alloc_libc(), &o) == PFS_OK);
    CHECK(o.original == 5 && o.unigrams == 5 && o.bigrams == 4 && o.lcs == 5);
    CHECK(pfs_text_compare(a, 6, b, 2, true, NULL, NULL, pfs_alloc_libc(), &o) == PFS_OK);
    CHECK(o.original == 5 && o.recovered == 0 && o.lcs == 0);
    CHECK(pfs_text_f1(0, 0, 0) == 0.0 && pfs_text_f1(2, 2, 2) == 1.0);
}

static bool stop_at_once(void *context)
{
    (void)context;
    return true;
}

TEST(stops)
{
    uint32_t a[] = {'a', 0, 'b', 0, 'c'}, b[] = {'b', 0, 'a', 0, 'd'};
    pfs_text_overlap o = {.lcs = 42};
    CHECK(pfs_text_compare(a, 5, b, 5, true, stop_at_once, NULL, pfs_alloc_libc(), &o) ==
          PFS_ECALLBACK);
    CHECK(o.lcs == 42);
}

static bool compare_two(const pfs_alloc *alloc)
{
    uint32_t a[100], b[100];
    size_t na = points("one two three four five six", a), nb = points("two one three six five", b);
    pfs_text_overlap o = {.lcs = 42};
    pfs_status status = pfs_text_compare(a, na, b, nb, true, NULL, NULL, alloc, &o);
    CHECK(status == PFS_OK ? o.lcs == 3 : status == PFS_ENOMEM && o.lcs == 42);
    return status == PFS_OK;
}

TEST(no_allocation_may_hurt)
{
    CHECK(torture(compare_two) == 7);
}

int main(void)
{
    RUN(lcs_is_the_tables);
    RUN(overlap_by_hand);
    RUN(alone_and_empty);
    RUN(stops);
    RUN(no_allocation_may_hurt);
    FINISH();
}
