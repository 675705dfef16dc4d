/* A token bucket for each of many keys, all of one rate and capacity.
 *
 * The clock is the caller's, as for pfs_bucket.
 *
 * Thread rule: one caller at a time for an object.
 */
#ifndef PFS_BUCKET_KEYED_H
#define PFS_BUCKET_KEYED_H

#include "pfs_bucket.h"

typedef struct pfs_keyed pfs_keyed;

/* Whether the stored key equals the wanted one: 1, 0, or -1 on failure.  It may call back into the
 * same pfs_keyed (the search then starts again), and may not destroy it. */
typedef int (*pfs_keyed_equal)(void *context, void *stored, void *wanted);

#define PFS_KEYED_DROPS 2

typedef struct {
    bool allowed;
    bool stored;    /* the limiter now holds `key`: the caller gives it a reference */
    unsigned drops; /* how many of dropped[] are set */
    void *dropped[PFS_KEYED_DROPS]; /* keys that went idle: the caller takes the references back */
} pfs_keyed_taken;

/* PFS_EINVAL as pfs_rate_init, or unless 1 <= max_keys <= 2^31; PFS_ENOMEM.  `seed` makes the
 * order in the table unpredictable to whoever chooses keys. */
pfs_status pfs_keyed_create(const pfs_alloc *alloc, double per_second, double capacity,
                            size_t max_keys, uint64_t seed, int64_t now_ns, pfs_keyed **out);

/* Releases the table.  References to the keys are the caller's: take them with pfs_keyed_next. */
void pfs_keyed_destroy(pfs_keyed *keyed);

const pfs_rate *pfs_keyed_rate(const pfs_keyed *keyed);
size_t pfs_keyed_max_keys(const pfs_keyed *keyed);

/* Takes from the bucket of `key`, which is full when the key is new.  `cost` as for
 * pfs_bucket_take.  `taken` is set in full in every case, and its drops must be honoured in every
 * case.  A new key is refused (not allowed, not stored, counted) when max_keys are live.
 * PFS_ENOMEM, PFS_ECALLBACK (equal failed): nothing was taken.  Amortised O(1); no call takes more
 * than a bounded number of steps, whatever the number of keys: there is no rehash.  (To find room
 * in a full table it looks at no more than 1,024 keys; if none of these is idle the new key is
 * refused, and the next call looks on from there.) */
pfs_status pfs_keyed_take(pfs_keyed *keyed, uint64_t hash, void *key, int64_t now_ns, int64_t cost,
                          pfs_keyed_equal equal, void *context, pfs_keyed_taken *taken);

/* A clock: the exact time in monotonic nanoseconds, or one that is up to PFS_KEYED_BEHIND_NS
 * earlier, which may be cheaper to read. */
typedef int64_t (*pfs_keyed_clock)(bool exact);

#define PFS_KEYED_BEHIND_NS (INT64_C(1) << 26) /* 67 ms; a kernel's tick is 1 to 10 ms */

/* As pfs_keyed_take at the exact time, which is read only if it matters: a bucket that is full
 * again later than any time it can be now, and from which the earlier time already allows the take,
 * is left in the same state whichever of the two is taken. */
pfs_status pfs_keyed_take_by(pfs_keyed *keyed, uint64_t hash, void *key, pfs_keyed_clock clock,
                             int64_t cost, pfs_keyed_equal equal, void *context,
                             pfs_keyed_taken *taken);

/* Seconds until such a take would be allowed; for a new key and a full table, until the first key
 * may go idle (at least).  PFS_ECALLBACK: equal failed. */
pfs_status pfs_keyed_wait(pfs_keyed *keyed, uint64_t hash, void *key, int64_t now_ns, int64_t cost,
                          pfs_keyed_equal equal, void *context, double *seconds);

/* Keys whose bucket is not full: a full one tells no more than a key never seen.  O(keys). */
size_t pfs_keyed_live(pfs_keyed *keyed, int64_t now_ns);

/* New keys refused so far because max_keys were live. */
uint64_t pfs_keyed_refused(const pfs_keyed *keyed);

/* Bytes allocated. */
size_t pfs_keyed_bytes(const pfs_keyed *keyed);

/* Walks the held keys: *cursor starts at 0; NULL at the end.  The table must not change meanwhile.
 */
void *pfs_keyed_next(const pfs_keyed *keyed, size_t *cursor);

#endif
