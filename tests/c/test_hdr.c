/* HdrHistogram's V2 payload: slots against long-hand arithmetic, round trips, hostile bytes.  That
 * the published decoders agree is tests/unit/test_histogram.py's part. */
#include "harness.h"

#include "pfs_hdr.h"
#include "pfs_rng.h"

static pfs_histogram filled(unsigned precision, double scale)
{
    pfs_histogram h;
    pfs_rng rng;
    pfs_rng_seed(&rng, 3);
    CHECK(pfs_histogram_init(&h, precision, pfs_alloc_libc()) == PFS_OK);
    for (int i = 0; i < 5000; i++) {
        CHECK(pfs_histogram_record(&h, scale * exp2(20.0 * pfs_rng_double(&rng))) == PFS_OK);
    }
    CHECK(pfs_histogram_record_n(&h, 0.0, 17) == PFS_OK);
    return h;
}

TEST(a_known_payload)
{
    /* By hand: three digits have 2048 sub-buckets; 5000 is in bucket 2 (width 4) at sub-bucket
     * 1250, so in slot 3 * 1024 + 226 = 3298.  One empty slot is a count of 0, 3296 are -3296. */
    static const unsigned char expected[] = {
        0x1c, 0x84, 0x93, 0x13,                               /* cookie */
        0,    0,    0,    5,    0, 0, 0,    0,    0, 0, 0, 3, /* length, offset, digits */
        0,    0,    0,    0,    0, 0, 0,    1,                /* lowest */
        0,    0,    0,    0,    0, 0, 0x13, 0x88,             /* highest: 5000 */
        0x3f, 0xf0, 0,    0,    0, 0, 0,    0,                /* ratio 1.0 */
        0,                                                    /* slot 0: none */
        6,                                                    /* slot 1: three, zigzag */
        0xbf, 0x33,                                           /* 3296 empty: zigzag 6591 */
        4,                                                    /* slot 3298: two */
    };
    pfs_histogram h;
    CHECK(pfs_histogram_init(&h, 10, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 0.001, 3) == PFS_OK);
    CHECK(pfs_histogram_record_n(&h, 5.0, 2) == PFS_OK);
    unsigned char *bytes;
    size_t length;
    CHECK(pfs_hdr_encode(&h, 1000.0, &bytes, &length) == PFS_OK);
    CHECK(length == sizeof expected && memcmp(bytes, expected, length) == 0);
    pfs_histogram back;
    CHECK(pfs_hdr_decode(&back, 10, 1000.0, bytes, length, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_count(&back) == 5);
    CHECK(pfs_histogram_min(&back) == 0.001 && pfs_histogram_max(&back) == 5.002);
    free(bytes);
    pfs_histogram_clear(&h);
    pfs_histogram_clear(&back);
}

TEST(round_trips)
{
    for (unsigned precision = 5; precision <= 12; precision++) {
        for (double scale = 1e-6; scale <= 1e12; scale *= 1e6) {
            pfs_histogram h = filled(precision, 1000.0 / scale), back;
            unsigned char *bytes;
            size_t length;
            CHECK(pfs_hdr_encode(&h, scale, &bytes, &length) == PFS_OK);
            CHECK(pfs_hdr_decode(&back, precision, scale, bytes, length, pfs_alloc_libc()) ==
                  PFS_OK);
            CHECK(pfs_histogram_count(&back) == pfs_histogram_count(&h));
            CHECK(back.zeros == h.zeros);
            /* Each writes a midpoint, so errors add: ours, theirs, ours; and half a unit of 1000.
             */
            double bound = 2 * ldexp(1.0, -(int)precision - 1) + 0.0005 + 0.0005;
            for (double q = 0.01; q < 1.0; q += 0.01) {
                double a, b;
                CHECK(pfs_histogram_quantile(&h, q, &a) == PFS_OK);
                CHECK(pfs_histogram_quantile(&back, q, &b) == PFS_OK);
                CHECK(fabs(a - b) <= bound * a);
            }
            for (size_t cut = 0; cut < length; cut += 1 + cut / 8) {
                CHECK(pfs_hdr_decode(&back, precision, scale, bytes, cut, pfs_alloc_libc()) ==
                      PFS_EFORMAT);
            }
            free(bytes);
            pfs_histogram_clear(&h);
            pfs_histogram_clear(&back);
        }
    }
}

TEST(limits)
{
    pfs_histogram h, back;
    unsigned char *bytes;
    size_t length;
    CHECK(pfs_histogram_init(&h, 12, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_hdr_encode(&h, 1.0, &bytes, &length) == PFS_OK); /* empty */
    CHECK(pfs_hdr_decode(&back, 12, 1.0, bytes, length, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_count(&back) == 0);
    free(bytes);
    pfs_histogram_clear(&back);
    CHECK(pfs_histogram_record_n(&h, 9.2e18, (uint64_t)1 << 62) == PFS_OK);
    CHECK(pfs_hdr_encode(&h, 1.0, &bytes, &length) == PFS_OK);
    CHECK(pfs_hdr_decode(&back, 12, 1.0, bytes, length, pfs_alloc_libc()) == PFS_OK);
    CHECK(pfs_histogram_count(&back) == (uint64_t)1 << 62);
    CHECK(fabs(pfs_histogram_max(&back) / 9.2e18 - 1) < 1e-4);
    pfs_histogram_clear(&back);
    CHECK(pfs_hdr_decode(&back, 7, 1e-300, bytes, length, pfs_alloc_libc()) == PFS_ERANGE);
    CHECK(pfs_hdr_decode(&back, 13, 1.0, bytes, length, pfs_alloc_libc()) == PFS_EINVAL);
    CHECK(pfs_hdr_decode(&back, 7, 0.0, bytes, length, pfs_alloc_libc()) == PFS_EINVAL);
    bytes[11] = 1; /* a normalizing offset */
    CHECK(pfs_hdr_decode(&back, 7, 1.0, bytes, length, pfs_alloc_libc()) == PFS_EFORMAT);
    free(bytes);
    bytes = (unsigned char *)&h;
    CHECK(pfs_hdr_encode(&h, 1.01, &bytes, &length) == PFS_ERANGE);
    CHECK(pfs_hdr_encode(&h, -1.0, &bytes, &length) == PFS_EINVAL);
    CHECK(pfs_hdr_encode(&h, (double)NAN, &bytes, &length) == PFS_EINVAL);
    CHECK(pfs_hdr_encode(&h, (double)INFINITY, &bytes, &length) == PFS_EINVAL);
    CHECK(bytes == (unsigned char *)&h);
    pfs_histogram_clear(&h);
}

static bool scenario(const pfs_alloc *alloc)
{
    pfs_histogram h, back;
    unsigned char *bytes;
    size_t length;
    bool ok = false;
    CHECK(pfs_histogram_init(&h, 7, alloc) == PFS_OK);
    for (double x = 1e-3; x < 1e9; x *= 7) {
        if (pfs_histogram_record(&h, x) != PFS_OK) {
            pfs_histogram_clear(&h);
            return false;
        }
    }
    if (pfs_hdr_encode(&h, 1000.0, &bytes, &length) == PFS_OK) {
        if (pfs_hdr_decode(&back, 7, 1000.0, bytes, length, alloc) == PFS_OK) {
            ok = pfs_histogram_count(&back) == pfs_histogram_count(&h);
            pfs_histogram_clear(&back);
        }
        pfs_alloc_release(alloc, bytes);
    }
    pfs_histogram_clear(&h);
    return ok;
}

TEST(every_allocation_may_fail)
{
    CHECK(torture(scenario) > 5);
}

int main(void)
{
    RUN(a_known_payload);
    RUN(round_trips);
    RUN(limits);
    RUN(every_allocation_may_fail);
    FINISH();
}
