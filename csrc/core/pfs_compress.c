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

/* About 100 ns that the processor can neither skip nor do in another order: each step needs the
 * last one's result. */
static uint64_t known_work(uint64_t x)
{
    for (int i = 0; i < 90; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    return x;
}

/* Two readings one after the other take longer than two with work between them, for the processor
 * begins the work while it ends the first reading.  So: what a pair of readings adds to work whose
 * own time is known from many times of it in a row. */
int64_t pfs_compress_timer_cost(void)
{
    enum { SINGLES = 255, RUNS = 64, IN_A_RUN = 16 };
    int64_t bare = INT64_MAX, run = INT64_MAX, singles[SINGLES];
    volatile uint64_t seed = 1; /* lest the work be done at compile time */
    uint64_t x = seed;
    for (int i = 0; i < RUNS; i++) {
        int64_t before = pfs_clock_ns();
        int64_t between = pfs_clock_ns();
        for (int k = 0; k < IN_A_RUN; k++) {
            x = known_work(x);
        }
        seed = x;
        int64_t after = pfs_clock_ns();
        bare = between - before < bare ? between - before : bare;
        run = after - between < run ? after - between : run;
    }
    for (int i = 0; i < SINGLES; i++) {
        int64_t before = pfs_clock_ns();
        x = known_work(x);
        seed = x;
        int64_t taken = pfs_clock_ns() - before;
        int at = i;
        for (; at > 0 && singles[at - 1] > taken; at--) {
            singles[at] = singles[at - 1];
        }
        singles[at] = taken;
    }
    /* A run has one pair of readings as well: run = 16 w + c, single = w + c. */
    int64_t cost = (IN_A_RUN * singles[SINGLES / 2] - run) / (IN_A_RUN - 1);
    cost = cost < bare ? cost : bare; /* a disturbed machine */
    return cost > 0 ? cost : 0;
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
