/* The decoder of embedding files: as it stands, and with the checksum put right so that what lies
 * behind it is reached; whatever opens must merge, be saved and read back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pfs_vectors.h"

#include "fuzzing.h"

static unsigned char *save(pfs_vectors *vectors, size_t *size)
{
    pfs_vectors_snapshot snapshot;
    REQUIRE(pfs_vectors_snapshot_take(vectors, &snapshot) == PFS_OK);
    *size = pfs_vectors_snapshot_size(&snapshot);
    unsigned char *bytes = malloc(*size);
    REQUIRE(bytes != NULL);
    pfs_vectors_snapshot_write(&snapshot, vectors->order.maxsize, bytes);
    pfs_vectors_snapshot_release(vectors, &snapshot);
    return bytes;
}

static void use(const unsigned char *bytes, size_t size)
{
    pfs_vectors_file file;
    if (pfs_vectors_file_open(bytes, size, &file) != PFS_OK) {
        return;
    }
    pfs_vectors vectors, again;
    REQUIRE(pfs_vectors_init(&vectors, pfs_alloc_libc(), 5) == PFS_OK);
    REQUIRE(pfs_vectors_init(&again, pfs_alloc_libc(), 5) == PFS_OK);
    REQUIRE(pfs_vectors_merge(&vectors, &file) == PFS_OK);
    REQUIRE(vectors.order.count <= 5 && (vectors.order.count > 0) == (file.count > 0));
    REQUIRE(pfs_vectors_merge(&vectors, &file) == PFS_OK);
    size_t first, second;
    unsigned char *one = save(&vectors, &first);
    pfs_vectors_file mine;
    REQUIRE(pfs_vectors_file_open(one, first, &mine) == PFS_OK);
    REQUIRE(pfs_vectors_merge(&again, &mine) == PFS_OK);
    unsigned char *two = save(&again, &second);
    REQUIRE(first == second && again.order.count == vectors.order.count);
    free(one);
    free(two);
    pfs_vectors_destroy(&vectors);
    pfs_vectors_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    use(data, size);
    if (size >= PFS_VECTORS_HEADER) {
        unsigned char *fixed = malloc(size);
        REQUIRE(fixed != NULL);
        memcpy(fixed, data, size);
        uint64_t sum = pfs_vectors_checksum(fixed + PFS_VECTORS_HEADER, size - PFS_VECTORS_HEADER,
                                            pfs_vectors_checksum(fixed, 32, 0));
        for (int i = 0; i < 8; i++) {
            fixed[32 + i] = (unsigned char)(sum >> (8 * i));
        }
        use(fixed, size);
        free(fixed);
    }
    return 0;
}
