#include "pfs_rng.h"

#include <math.h>

void pfs_rng_seed(pfs_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        rng->s[i] = z ^ (z >> 31);
    }
}

/* The high and low halves of a 64 x 64 bit product, without a 128-bit type (not ISO C). */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *low)
{
    uint64_t a0 = a & UINT32_MAX, a1 = a >> 32;
    uint64_t b0 = b & UINT32_MAX, b1 = b >> 32;
    uint64_t p00 = a0 * b0, p01 = a0 * b1, p10 = a1 * b0, p11 = a1 * b1;
    uint64_t middle = (p00 >> 32) + (p01 & UINT32_MAX) + (p10 & UINT32_MAX);
    *low = (middle << 32) | (p00 & UINT32_MAX);
    return p11 + (p01 >> 32) + (p10 >> 32) + (middle >> 32);
}

uint64_t pfs_rng_below(pfs_rng *rng, uint64_t bound)
{
    uint64_t low;
    uint64_t high = multiply(pfs_rng_next(rng), bound, &low);
    if (low < bound) {
        uint64_t threshold = (0 - bound) % bound;
        while (low < threshold) {
            high = multiply(pfs_rng_next(rng), bound, &low);
        }
    }
    return high;
}

double pfs_rng_exponential(pfs_rng *rng)
{
    return -log1p(-pfs_rng_double(rng));
}
