/* Bytes as HdrHistogram's V2 payload: what can be read must be writable, and keep its count. */
#include <stdint.h>
#include <stdlib.h>

#include "pfs_hdr.h"

#include "fuzzing.h"

static void read_and_write(const uint8_t *data, size_t size)
{
    pfs_histogram h, back;
    if (pfs_hdr_decode(&h, 7, 1000.0, data, size, pfs_alloc_libc()) != PFS_OK) {
        return;
    }
    unsigned char *bytes;
    size_t length;
    /* The middle of the topmost slot may round up to 2^63. */
    pfs_status status = pfs_hdr_encode(&h, 1000.0, &bytes, &length);
    REQUIRE(status == PFS_OK || (status == PFS_ERANGE && pfs_histogram_max(&h) > 9.2e15));
    if (status == PFS_OK) {
        REQUIRE(pfs_hdr_decode(&back, 7, 1000.0, bytes, length, pfs_alloc_libc()) == PFS_OK);
        REQUIRE(pfs_histogram_count(&back) == pfs_histogram_count(&h));
        pfs_histogram_clear(&back);
        free(bytes);
    }
    pfs_histogram_clear(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_and_write(data, size);
    if (size >= 40) { /* once more with cookie and length put right */
        uint8_t *fixed = malloc(size);
        REQUIRE(fixed != NULL);
        memcpy(fixed, data, size);
        memcpy(fixed, "\x1c\x84\x93\x13", 4);
        for (unsigned i = 0; i < 4; i++) {
            fixed[4 + i] = (uint8_t)((size - 40) >> (24 - 8 * i));
            fixed[8 + i] = 0;
        }
        read_and_write(fixed, size);
        free(fixed);
    }
    return 0;
}
