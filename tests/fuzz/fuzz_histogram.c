/* Bytes as an encoded histogram (with their checksum put right, else nothing would get past it),
 * and bytes as doubles to record. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pfs_histogram.h"
#include "pfs_histogram_tally.h"

#include "fuzzing.h"

static void check_total(pfs_histogram *h)
{
    uint64_t total = 0;
    size_t cursor = 0;
    pfs_histogram_bucket bucket;
    while (pfs_histogram_next(h, &cursor, &bucket)) {
        double value = pfs_histogram_value(h, &bucket);
        REQUIRE(value >= bucket.low && value <= bucket.high);
        total += bucket.count;
    }
    REQUIRE(total == pfs_histogram_count(h));
    if (total != 0) {
        double median, low = pfs_histogram_min(h), high = pfs_histogram_max(h);
        double mean = pfs_histogram_mean(h);
        REQUIRE(pfs_histogram_quantile(h, 0.5, &median) == PFS_OK);
        REQUIRE(median >= low && median <= high && mean >= low && mean <= high);
        REQUIRE(pfs_histogram_rank(h, median) >= total / 2);
        REQUIRE(!(pfs_histogram_variance(h) < 0.0));
    }
}

static void round_trip(pfs_histogram *h)
{
    unsigned char *bytes, *again;
    size_t length, length_again;
    pfs_histogram back;
    REQUIRE(pfs_histogram_encode(h, &bytes, &length) == PFS_OK);
    REQUIRE(pfs_histogram_decode(&back, bytes, length, pfs_alloc_libc()) == PFS_OK);
    REQUIRE(pfs_histogram_equal(h, &back));
    REQUIRE(pfs_histogram_encode(&back, &again, &length_again) == PFS_OK);
    REQUIRE(length == length_again && memcmp(bytes, again, length) == 0);
    if (pfs_histogram_merge(&back, h) == PFS_OK) {
        REQUIRE(pfs_histogram_count(&back) == 2 * pfs_histogram_count(h));
        check_total(&back);
    }
    free(bytes);
    free(again);
    pfs_histogram_clear(&back);
}

static void as_encoded(const uint8_t *data, size_t size)
{
    pfs_histogram h;
    if (pfs_histogram_decode(&h, data, size, pfs_alloc_libc()) != PFS_OK) {
        unsigned char *fixed = malloc(size + 1);
        REQUIRE(fixed != NULL);
        memcpy(fixed, data, size);
        if (size >= 4) {
            uint32_t crc = pfs_histogram_crc32c(fixed, size - 4);
            for (unsigned i = 0; i < 4; i++) {
                fixed[size - 4 + i] = (unsigned char)(crc >> (8 * i));
            }
        }
        pfs_status status = pfs_histogram_decode(&h, fixed, size, pfs_alloc_libc());
        REQUIRE(size < 4 || status != PFS_ECHECKSUM);
        free(fixed);
        if (status != PFS_OK) {
            return;
        }
    }
    check_total(&h);
    round_trip(&h);
    pfs_histogram_clear(&h);
}

static void as_doubles(const uint8_t *data, size_t size)
{
    pfs_histogram one, many;
    double values[512];
    size_t n = (size - 1) / 8 < 512 ? (size - 1) / 8 : 512;
    memcpy(values, data + 1, n * 8);
    REQUIRE(pfs_histogram_init(&one, 1 + data[0] % 4, pfs_alloc_libc()) == PFS_OK);
    REQUIRE(pfs_histogram_init(&many, one.precision, pfs_alloc_libc()) == PFS_OK);
    for (size_t i = 0; i < n; i++) {
        REQUIRE(pfs_histogram_record(&one, values[i]) == PFS_OK);
    }
    REQUIRE(pfs_histogram_record_many(&many, values, n) == PFS_OK);
    REQUIRE(pfs_histogram_equal(&one, &many));
    pfs_tally tally;
    REQUIRE(pfs_tally_init(&tally, one.precision, pfs_alloc_libc()) == PFS_OK);
    tally.limit = 900;
    for (size_t round = 0; round < 3; round++) { /* a block as the next one's neighbour */
        REQUIRE(pfs_tally_add(&tally, values, n) == PFS_OK);
        REQUIRE(pfs_tally_add(&tally, values + n / 3, n - n / 3) == PFS_OK);
        REQUIRE(round == 0 || pfs_histogram_record_many(&many, values, n) == PFS_OK);
        REQUIRE(pfs_histogram_record_many(&many, values + n / 3, n - n / 3) == PFS_OK);
    }
    pfs_histogram tallied;
    REQUIRE(pfs_histogram_init(&tallied, one.precision, pfs_alloc_libc()) == PFS_OK);
    REQUIRE(pfs_tally_merge(&tally, &tallied) == PFS_OK);
    REQUIRE(pfs_histogram_equal(&tallied, &many));
    REQUIRE(!(pfs_histogram_stdev(&many) > pfs_histogram_max(&many)));
    check_total(&tallied);
    round_trip(&tallied);
    pfs_tally_clear(&tally);
    pfs_histogram_clear(&tallied);
    check_total(&one);
    round_trip(&one);
    pfs_histogram_clear(&one);
    pfs_histogram_clear(&many);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 6 || data[5] <= 7) { /* finer ones only take longer */
        as_encoded(data, size);
    }
    if (size != 0) {
        as_doubles(data, size);
    }
    return 0;
}
