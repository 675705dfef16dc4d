/* Two texts from bytes, parted by the first 0xff: what the overlap must keep to, and the same from
 * a table of lengths. */
#include <stdlib.h>
#include <string.h>

#include "pfs_text.h"

#include "fuzzing.h"

static uint32_t *read_points(const uint8_t *data, size_t size)
{
    uint32_t *points = malloc((size + 1) * sizeof *points);
    REQUIRE(points != NULL);
    for (size_t i = 0; i < size; i++) {
        points[i] = data[i] >= 0xf0 ? (data[i] | PFS_TEXT_ALONE) : data[i];
    }
    return points;
}

/* The table's last row over single tokens: every code point by itself. */
static size_t table_lcs(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
    size_t *row = calloc(nb + 1, sizeof *row);
    REQUIRE(row != NULL);
    for (size_t i = 0; i < na; i++) {
        size_t diagonal = 0;
        for (size_t j = 0; j < nb; j++) {
            size_t above = row[j + 1];
            row[j + 1] = a[i] == b[j] ? diagonal + 1 : above > row[j] ? above : row[j];
            diagonal = above;
        }
    }
    size_t length = row[nb];
    free(row);
    return length;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void check_overlap(const uint8_t *left, size_t na, const uint8_t *right, size_t nb,
                          int ascii)
{
    uint32_t *a = read_points(left, na), *b = read_points(right, nb);
    if (ascii) {
        pfs_text_fold_ascii(a, na);
        pfs_text_fold_ascii(b, nb);
    }
    pfs_text_overlap there, back, self;
    const pfs_alloc *libc = pfs_alloc_libc();
    REQUIRE(pfs_text_compare(a, na, b, nb, true, NULL, NULL, libc, &there) == PFS_OK);
    REQUIRE(pfs_text_compare(b, nb, a, na, true, NULL, NULL, libc, &back) == PFS_OK);
    REQUIRE(there.unigrams == back.unigrams && there.bigrams == back.bigrams);
    REQUIRE(there.lcs == back.lcs && there.original == back.recovered);
    REQUIRE(there.lcs <= there.unigrams &&
            there.unigrams <= least(there.original, there.recovered));
    REQUIRE(there.bigrams == 0 || there.bigrams < least(there.original, there.recovered));
    REQUIRE(pfs_text_compare(a, na, a, na, true, NULL, NULL, libc, &self) == PFS_OK);
    REQUIRE(self.lcs == self.original && self.unigrams == self.original);
    double f1 = pfs_text_f1(there.lcs, there.original, there.recovered);
    REQUIRE(f1 >= 0.0 && f1 <= 1.0);
    free(a);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *border = memchr(data, 0xff, size);
    size_t na = border == NULL ? size / 2 : (size_t)(border - data);
    const uint8_t *right = data + na + (border != NULL);
    size_t nb = size - na - (border != NULL);
    check_overlap(data, na, right, nb, 0);
    check_overlap(data, na, right, nb, 1);
    if (size <= 300) { /* the table takes the square of it */
        uint32_t *a = read_points(data, na), *b = read_points(right, nb);
        for (size_t i = 0; i < na; i++) {
            a[i] = data[i];
        }
        for (size_t i = 0; i < nb; i++) {
            b[i] = right[i];
        }
        size_t length = 0;
        REQUIRE(pfs_text_lcs(a, na, b, nb, 256, NULL, NULL, pfs_alloc_libc(), &length) == PFS_OK);
        REQUIRE(length == table_lcs(data, na, right, nb));
        free(a);
        free(b);
    }
    return 0;
}
