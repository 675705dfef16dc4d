#if !defined(_GNU_SOURCE) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* the monotonic clock, under -std=c11 */
#endif

#include "pfs_compress.h"

#include <math.h>
#include <stdbool.h>

#include "pfs_clock.h"
#include "pfs_rng.h"

void pfs_compress_count(const unsigned char *data, size_t n, uint64_t counts[256])
{
    /* Four tables: equal neighbours would wait for each other's increment in one. */
    uint64_t tables[4][256] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        tables[0][data[i]]++;
        tables[1][data[i + 1]]++;
        tables[2][data[i + 2]]++;
        tables[3][data[i + 3]]++;
    }
    for (; i < n; i++) {
        tables[0][data[i]]++;
    }
    for (size_t byte = 0; byte < 256; byte++) {
        counts[byte] += tables[0][byte] + tables[1][byte] + tables[2][byte] + tables[3][byte];
    }
}

double pfs_compress_entropy(const uint64_t counts[256])
{
    double total = 0.0, bits = 0.0;
    for (size_t byte = 0; byte < 256; byte++) {
        total += (double)counts[byte];
    }
    for (size_t byte = 0; byte < 256; byte++) {
        if (counts[byte] > 0) {
            bits += (double)counts[byte] * log2(total / (double)counts[byte]);
        }
    }
    return total > 0.0 ? bits / total : 0.0;
}

int64_t pfs_compress_timer_cost(void)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < 1000; i++) {
        int64_t before = pfs_clock_ns();
        int64_t after = pfs_clock_ns();
        least = after - before < least ? after - before : least;
    }
    return least;
}

/* One timed step; false when the payload is to be left out from here, or *stop. */
static bool step(const pfs_compress_codec *codec, size_t payload, pfs_compress_step which,
                 int64_t cost, double *ns, bool *stop)
{
    int64_t before = pfs_clock_ns();
    bool ran = codec->run(codec->context, payload, which);
    int64_t after = pfs_clock_ns();
    int64_t taken = after - before - cost;
    if (!codec->settle(codec->context, payload, which, ran, stop) || *stop) {
        return false;
    }
    *ns = taken > 0 ? (double)taken : 0.0;
    return true;
}

static void shuffle(size_t *order, size_t n, pfs_rng *rng)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)pfs_rng_below(rng, i);
        size_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

pfs_status pfs_compress_measure(const pfs_compress_codec *codec, size_t payloads, size_t repeat,
                                size_t warmup, uint64_t seed, const pfs_alloc *alloc,
                                double *compress_ns, double *decompress_ns)
{
    if (payloads == 0 || repeat == 0) {
        return PFS_EINVAL;
    }
    size_t *order = pfs_alloc_array(alloc, payloads, sizeof *order);
    if (order == NULL) {
        return PFS_ENOMEM;
    }
    for (size_t i = 0; i < payloads; i++) {
        order[i] = i;
        for (size_t r = 0; r < repeat; r++) {
            compress_ns[i * repeat + r] = decompress_ns[i * repeat + r] = -1.0;
        }
    }
    pfs_rng rng;
    pfs_rng_seed(&rng, seed);
    int64_t cost = pfs_compress_timer_cost();
    size_t live = payloads; /* order[0..live) are still in it */
    bool stop = false;
    size_t rounds = warmup > SIZE_MAX - repeat ? SIZE_MAX : warmup + repeat;
    for (size_t round = 0; round < rounds && live > 0 && !stop; round++) {
        shuffle(order, live, &rng);
        size_t kept = 0;
        for (size_t i = 0; i < live && !stop; i++) {
            size_t payload = order[i];
            double in = 0.0, out = 0.0;
            if (step(codec, payload, PFS_COMPRESS, cost, &in, &stop) &&
                step(codec, payload, PFS_DECOMPRESS, cost, &out, &stop)) {
                order[kept++] = payload;
                if (round >= warmup) {
                    compress_ns[payload * repeat + (round - warmup)] = in;
                    decompress_ns[payload * repeat + (round - warmup)] = out;
                }
            }
        }
        live = kept;
    }
    pfs_alloc_release(alloc, order);
    return stop ? PFS_ECALLBACK : PFS_OK;
}
