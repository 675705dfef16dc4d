/* The measuring loop, with a codec that keeps count, and the entropy. */
#include "harness.h"

#include "pfs_compress.h"

enum { PAYLOADS = 5, REPEAT = 4, WARMUP = 2, ROUNDS = REPEAT + WARMUP };

typedef struct {
    size_t log[PAYLOADS * ROUNDS]; /* payloads in the order of compression */
    size_t compressed, decompressed, settled;
    size_t fails;      /* a payload whose decompression fails in the third round; PAYLOADS: none */
    size_t stop_after; /* settlements; 0: never */
    size_t open;       /* the payload whose decompression must come next; PAYLOADS: none */
} counting;

static bool run(void *context, size_t payload, pfs_compress_step step)
{
    counting *c = context;
    if (step == PFS_COMPRESS) {
        CHECK(c->open == PAYLOADS);
        c->open = payload;
        c->log[c->compressed++] = payload;
        return true;
    }
    CHECK(c->open == payload);
    c->open = PAYLOADS;
    c->decompressed++;
    return !(payload == c->fails && c->decompressed > 2 * PAYLOADS);
}

static bool settle(void *context, size_t payload, pfs_compress_step step, bool ran, bool *stop)
{
    counting *c = context;
    CHECK(ran || (payload == c->fails && step == PFS_DECOMPRESS));
    c->settled++;
    *stop = c->stop_after != 0 && c->settled >= c->stop_after;
    return ran;
}

static double in[PAYLOADS * REPEAT], out[PAYLOADS * REPEAT];

static pfs_status measure(counting *c, const pfs_alloc *alloc)
{
    c->open = PAYLOADS;
    pfs_compress_codec codec = {run, settle, c};
    return pfs_compress_measure(&codec, PAYLOADS, REPEAT, WARMUP, 7, alloc, in, out);
}

TEST(every_payload_every_round)
{
    counting c = {.fails = PAYLOADS};
    CHECK(measure(&c, pfs_alloc_libc()) == PFS_OK);
    CHECK(c.compressed == PAYLOADS * ROUNDS && c.decompressed == PAYLOADS * ROUNDS);
    CHECK(c.settled == 2 * PAYLOADS * ROUNDS);
    bool moved = false;
    for (size_t r = 0; r < ROUNDS; r++) {
        unsigned seen = 0;
        for (size_t i = 0; i < PAYLOADS; i++) {
            seen |= 1u << c.log[r * PAYLOADS + i];
            moved |= c.log[r * PAYLOADS + i] != c.log[i];
        }
        CHECK(seen == (1u << PAYLOADS) - 1);
    }
    CHECK(moved);
    for (size_t i = 0; i < PAYLOADS * REPEAT; i++) {
        CHECK(in[i] >= 0 && out[i] >= 0);
    }
}

TEST(a_payload_that_fails_leaves)
{
    counting c = {.fails = 3};
    CHECK(measure(&c, pfs_alloc_libc()) == PFS_OK);
    CHECK(c.compressed == PAYLOADS * 3 + (PAYLOADS - 1) * (ROUNDS - 3));
    for (size_t p = 0; p < PAYLOADS; p++) {
        for (size_t r = 0; r < REPEAT; r++) {
            CHECK((in[p * REPEAT + r] == -1.0) == (p == 3));
            CHECK((out[p * REPEAT + r] == -1.0) == (p == 3));
        }
    }
}

TEST(stops_at_once)
{
    counting c = {.fails = PAYLOADS, .stop_after = 3};
    CHECK(measure(&c, pfs_alloc_libc()) == PFS_ECALLBACK);
    CHECK(c.settled == 3);
    pfs_compress_codec codec = {run, settle, &c};
    CHECK(pfs_compress_measure(&codec, 0, 1, 0, 0, pfs_alloc_libc(), in, out) == PFS_EINVAL);
    CHECK(pfs_compress_measure(&codec, 1, 0, 0, 0, pfs_alloc_libc(), in, out) == PFS_EINVAL);
}

static bool measure_once(const pfs_alloc *alloc)
{
    counting c = {.fails = PAYLOADS};
    return measure(&c, alloc) == PFS_OK;
}

TEST(no_allocation_may_hurt)
{
    CHECK(torture(measure_once) == 1);
}

TEST(entropy)
{
    unsigned char data[1024];
    uint64_t counts[256] = {0};
    CHECK(pfs_compress_entropy(counts) == 0.0);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)i;
    }
    pfs_compress_count(data, sizeof data, counts);
    CHECK(counts[0] == 4 && counts[255] == 4);
    CHECK(pfs_compress_entropy(counts) == 8.0);
    memset(counts, 0, sizeof counts);
    pfs_compress_count((const unsigned char *)"aabbb", 4, counts);
    CHECK(pfs_compress_entropy(counts) == 1.0);
    memset(counts, 0, sizeof counts);
    pfs_compress_count((const unsigned char *)"zzz", 3, counts);
    CHECK(counts['z'] == 3 && pfs_compress_entropy(counts) == 0.0);
    int64_t cost = pfs_compress_timer_cost();
    CHECK(cost >= 0 && cost < 1000000);
}

int main(void)
{
    RUN(every_payload_every_round);
    RUN(a_payload_that_fails_leaves);
    RUN(stops_at_once);
    RUN(no_allocation_may_hurt);
    RUN(entropy);
    FINISH();
}
