/* What is taken out of a message before anybody reads it.
 *
 * Text is an array of code points of 1, 2 or 4 bytes each (`width`), as Python keeps them.  Taken
 * out: control characters but line breaks and tabs, the characters that change the direction of
 * text, and those that hide in it (tags, zero-width spaces, deprecated format characters); joiners
 * stay.  CR, CR LF, NEL, LS and PS become LF, a lone surrogate U+FFFD.
 *
 * Pure functions, no allocation, any thread.
 */
#ifndef PFS_CLEAN_H
#define PFS_CLEAN_H

#include <stddef.h>

/* Where the first code point is that does not stay as it is; `length` where all do. */
size_t pfs_clean_first(const void *text, size_t width, size_t length);

/* Writes what stays of the text to `out`, which has room for `length` code points of the same width
 * and does not overlap it; returns how many there are.  The first `clean` are known to stay. */
size_t pfs_clean(const void *text, size_t width, size_t length, size_t clean, void *out);

#endif
