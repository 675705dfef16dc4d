/* How much of one text is left in another: tokens, n-grams and the longest common subsequence.
 *
 * Text comes as code points that have been folded: 0 parts tokens, and a code point with
 * PFS_TEXT_ALONE set is a token by itself (scripts that put no spaces between words).  All
 * functions are pure, may run in any thread, and give back all scratch before they return.
 */
#ifndef PFS_TEXT_H
#define PFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pfs_alloc.h"
#include "pfs_status.h"

#define PFS_TEXT_ALONE UINT32_C(0x80000000)

typedef struct {
    size_t original, recovered; /* tokens in either text */
    size_t unigrams, bigrams;   /* how many they share, counted as often as in both */
    size_t lcs;                 /* length of the longest common subsequence of tokens */
} pfs_text_overlap;

/* Folds in place as the default tokenizer of rouge-score: lower-case a-z and 0-9 stay, A-Z become
 * lower case, all else parts tokens.  (What Unicode lower-cases to ASCII is for the caller.) */
void pfs_text_fold_ascii(uint32_t *text, size_t length);

/* Compares two folded texts.  `with_order` asks for bigrams and lcs as well, else they are 0.
 * `stop` (may be NULL) is asked now and then; when it returns true the call ends with
 * PFS_ECALLBACK. Time O(tokens of one * tokens of the other / 64) after what both have in common at
 * either end is set aside; memory O(length).  PFS_ERANGE from 2^31 code points on, PFS_ENOMEM. */
pfs_status pfs_text_compare(const uint32_t *original, size_t original_length,
                            const uint32_t *recovered, size_t recovered_length, bool with_order,
                            bool (*stop)(void *), void *context, const pfs_alloc *alloc,
                            pfs_text_overlap *overlap);

/* The longest common subsequence of two sequences of ids below `ids`, as above. */
pfs_status pfs_text_lcs(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, size_t ids,
                        bool (*stop)(void *), void *context, const pfs_alloc *alloc,
                        size_t *length);

/* F1 of `shared` out of `original` and `recovered`, with rouge-score's order of operations, so that
 * the doubles are the same; 0 where nothing is shared. */
double pfs_text_f1(size_t shared, size_t original, size_t recovered);

#endif
