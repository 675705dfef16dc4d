/* A test binary is one file: TEST(name) { ... CHECK(...) ... } and RUN(name) in main.
 *
 * failing_alloc counts live blocks and can be told to fail the nth allocation; torture() runs a
 * scenario again and again, failing each of its allocations in turn, and checks that nothing leaks.
 */
#ifndef PFS_TEST_HARNESS_H
#define PFS_TEST_HARNESS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pfs_alloc.h"

static int checks_failed, checks_done;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        checks_done++;                                                                             \
        if (!(condition)) {                                                                        \
            checks_failed++;                                                                       \
            fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition);                 \
        }                                                                                          \
    } while (0)

#define TEST(name) static void test_##name(void)
#define RUN(name)                                                                                  \
    do {                                                                                           \
        int before = checks_failed;                                                                \
        test_##name();                                                                             \
        printf("%s %s\n", checks_failed == before ? "ok    " : "FAILED", #name);                   \
    } while (0)
#define FINISH()                                                                                   \
    do {                                                                                           \
        printf("%d checks, %d failed\n", checks_done, checks_failed);                              \
        return checks_failed != 0 || checks_done == 0;                                             \
    } while (0)

typedef struct {
    long live;      /* blocks handed out and not released */
    long calls;     /* allocations asked for, resizes included */
    long fail_from; /* the call, counted from 1, that fails; 0: none */
    bool fail_on;   /* whether every later call fails too */
} failing_state;

static inline bool failing_fails(failing_state *state)
{
    state->calls++;
    return state->fail_from != 0 && (state->calls == state->fail_from ||
                                     (state->fail_on && state->calls > state->fail_from));
}

static inline void *failing_get(void *context, size_t size)
{
    failing_state *state = (failing_state *)context;
    void *block = failing_fails(state) ? NULL : malloc(size);
    if (block != NULL) {
        memset(block, 0xA5, size); /* so that nobody relies on zeroes */
        state->live++;
    }
    return block;
}

static inline void *failing_resize(void *context, void *block, size_t size)
{
    failing_state *state = (failing_state *)context;
    if (failing_fails(state)) {
        return NULL;
    }
    if (block == NULL) {
        state->live++;
    }
    return realloc(block, size);
}

static inline void failing_release(void *context, void *block)
{
    failing_state *state = (failing_state *)context;
    if (block != NULL) {
        state->live--;
        free(block);
    }
}

static inline pfs_alloc failing_alloc(failing_state *state)
{
    return (pfs_alloc){failing_get, failing_resize, failing_release, state};
}

/* Runs scenario(alloc) once without failures, then once for each of its allocations with that one
 * (and then with that one and all later ones) failing.  The scenario returns whether it went
 * through; it must clean up after itself in every case.  `steady`: it allocates as often each time;
 * one that reads from a socket need not, and a run with fewer allocations is not hit.  Returns how
 * many runs were, so that a test can assert that there were some. */
static inline long torture_as(bool (*scenario)(const pfs_alloc *alloc), bool steady)
{
    failing_state state = {0};
    pfs_alloc alloc = failing_alloc(&state);
    CHECK(scenario(&alloc));
    CHECK(state.live == 0);
    long calls = state.calls, hit = 0;
    for (int all = 0; all < 2; all++) {
        for (long n = 1; n <= calls; n++) {
            state = (failing_state){.fail_from = n, .fail_on = all != 0};
            (void)scenario(&alloc);
            CHECK(state.live == 0);
            CHECK(!steady || state.calls >= n);
            hit += state.calls >= n;
        }
    }
    return hit;
}

/* For what is steady.  Returns how many allocations there are. */
static inline long torture(bool (*scenario)(const pfs_alloc *alloc))
{
    return torture_as(scenario, true) / 2;
}

#endif
