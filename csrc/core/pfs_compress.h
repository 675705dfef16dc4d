/* Compression measurement: the order-0 entropy of bytes, and the measuring loop around a codec.
 *
 * The codec is the caller's functions; nothing here knows what they call.
 */
#ifndef PFS_COMPRESS_H
#define PFS_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

/* Adds how often each byte value occurs in data[0..n) to counts. */
void pfs_compress_count(const unsigned char *data, size_t n, uint64_t counts[256]);

/* Shannon's order-0 entropy in bits per byte, 0 to 8: what a coder that looks at one byte at a time
 * needs at least.  0 for no bytes. */
double pfs_compress_entropy(const uint64_t counts[256]);

/* The nanoseconds that a pair of clock readings adds to the work between them; some 100 us.  Not
 * more than what the pair measures with nothing between, nor less than 0. */
int64_t pfs_compress_timer_cost(void);

typedef enum { PFS_COMPRESS, PFS_DECOMPRESS } pfs_compress_step;

typedef struct {
    /* Runs one step on a payload, between two readings of the clock: so it does nothing else.
     * Returns false when the codec failed. */
    _Bool (*run)(void *context, size_t payload, pfs_compress_step step);
    /* Looks at what `run` made, outside the timed part, whether it failed or not, and releases what
     * is no longer needed.  Returns true to go on with this payload, false to leave it out from
     * here; sets *stop to end the whole measurement (PFS_ECALLBACK). */
    _Bool (*settle)(void *context, size_t payload, pfs_compress_step step, _Bool ran, _Bool *stop);
    void *context;
} pfs_compress_codec;

/* Runs `warmup` + `repeat` rounds of all payloads, in each round in another order (seeded), so that
 * no payload has the caches, the allocator or a slow moment of the machine to itself; in a round a
 * payload is compressed and then decompressed.  Writes nanoseconds, less the timer's cost and never
 * below 0, to compress_ns[payload * repeat + round] and decompress_ns likewise; rounds that did not
 * take place hold -1.  PFS_EINVAL: no payload or repeat 0; PFS_ENOMEM; PFS_ECALLBACK. */
pfs_status pfs_compress_measure(const pfs_compress_codec *codec, size_t payloads, size_t repeat,
                                size_t warmup, uint64_t seed, const pfs_alloc *alloc,
                                double *compress_ns, double *decompress_ns);

#endif
