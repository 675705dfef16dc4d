/* A seeded generator for workloads, arrivals and the bootstrap: the same seed gives the same
 * numbers on every platform.  Not for secrets.
 *
 * xoshiro256** by Blackman and Vigna (https://prng.di.unimi.it/, ACM TOMS 47(4), 2021), its state
 * filled by splitmix64.  Thread rule: one owner per state.
 */
#ifndef PFS_RNG_H
#define PFS_RNG_H

#include <stdint.h>

typedef struct {
    uint64_t s[4];
} pfs_rng;

void pfs_rng_seed(pfs_rng *rng, uint64_t seed);

static inline uint64_t pfs_rng_rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* Uniform over all 64-bit values. */
static inline uint64_t pfs_rng_next(pfs_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = pfs_rng_rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = pfs_rng_rotl(s[3], 45);
    return result;
}

/* Uniform in [0, 1), 53 bits. */
static inline double pfs_rng_double(pfs_rng *rng)
{
    return (double)(pfs_rng_next(rng) >> 11) * 0x1.0p-53;
}

/* Uniform in [0, bound), bound > 0, without bias (Lemire, ACM TOMACS 29(1), 2019). */
uint64_t pfs_rng_below(pfs_rng *rng, uint64_t bound);

/* Exponential with mean 1, always finite and >= 0. */
double pfs_rng_exponential(pfs_rng *rng);

#endif
