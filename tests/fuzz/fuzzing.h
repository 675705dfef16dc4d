/* What the fuzzers share: their entry, a check that ends the process, and input in pieces. */
#ifndef FUZZING_H
#define FUZZING_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One input; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The next piece of the data from *at on, which moves past it: a block of its own for the caller to
 * free, so that a parser that looks at it too late is caught.  *cuts tells the length of this piece
 * and of those to come, many of them one byte; 0: all in one piece. */
static inline char *fuzzing_piece(const uint8_t *data, size_t size, size_t *at, uint32_t *cuts,
                                  size_t *n)
{
    *n = size - *at;
    if (*cuts != 0) {
        *cuts = *cuts * 1664525u + 1013904223u;
        size_t want = (*cuts >> 24) % 3 == 0 ? 1 : 1 + (*cuts >> 26) % 24;
        *n = want < *n ? want : *n;
    }
    char *piece = malloc(*n);
    REQUIRE(piece != NULL);
    memcpy(piece, data + *at, *n);
    *at += *n;
    return piece;
}

#endif
