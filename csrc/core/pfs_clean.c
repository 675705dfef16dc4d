/* One pass over the text, written once for each width of a code point by DEFINE.
 *
 * Nearly all text is clean, and all of it but a few code points lies in two ranges that are: from
 * blank to tilde, and from U+00A0 to U+061B.  These are asked for first.
 */
#include "pfs_clean.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define REPLACEMENT 0xfffd

/* Code points in a row that are looked at together: a few more than needed, and no branch for each.
 */
#define BLOCK 64

static inline bool between(uint32_t c, uint32_t low, uint32_t high)
{
    return c - low <= high - low;
}

static inline bool is_plain(uint32_t c)
{
    return between(c, 0x20, 0x7e) || c == '\n' || c == '\t' || between(c, 0xa0, 0x61b);
}

static inline bool is_break(uint32_t c)
{
    return c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static inline bool is_surrogate(uint32_t c)
{
    return between(c, 0xd800, 0xdfff);
}

/* What is neither plain, nor a break, nor a surrogate: whether it goes. */
static inline bool is_taken_out(uint32_t c)
{
    return c <= 0x61c /* controls, and the Arabic letter mark */
           || c == 0x200b || between(c, 0x200e, 0x200f) || between(c, 0x202a, 0x202e) ||
           (between(c, 0x2060, 0x206f) && c != 0x2065) || c == 0xfeff ||
           between(c, 0xfff9, 0xfffb) || between(c, 0xe0000, 0xe007f);
}

static inline bool stays(uint32_t c)
{
    return is_plain(c) || !(is_break(c) || is_surrogate(c) || is_taken_out(c));
}

#define DEFINE(type)                                                                               \
    static size_t first_##type(const type *text, size_t length)                                    \
    {                                                                                              \
        size_t i = 0;                                                                              \
        while (i < length) {                                                                       \
            if (length - i >= BLOCK) {                                                             \
                unsigned odd = 0;                                                                  \
                for (size_t j = 0; j < BLOCK; j++) {                                               \
                    odd |= (unsigned)!is_plain(text[i + j]);                                       \
                }                                                                                  \
                if (odd == 0) {                                                                    \
                    i += BLOCK;                                                                    \
                    continue;                                                                      \
                }                                                                                  \
            }                                                                                      \
            size_t end = length - i < BLOCK ? length : i + BLOCK;                                  \
            for (; i < end; i++) {                                                                 \
                if (!stays(text[i])) {                                                             \
                    return i;                                                                      \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        return length;                                                                             \
    }                                                                                              \
    static size_t clean_##type(const type *text, size_t length, size_t clean, type *out)           \
    {                                                                                              \
        size_t n = clean;                                                                          \
        if (clean > 0) {                                                                           \
            memcpy(out, text, clean * sizeof *text);                                               \
        }                                                                                          \
        for (size_t i = clean; i < length; i++) {                                                  \
            uint32_t c = text[i];                                                                  \
            if (!is_plain(c)) {                                                                    \
                if (is_break(c)) {                                                                 \
                    i += c == '\r' && i + 1 < length && text[i + 1] == '\n';                       \
                    c = '\n';                                                                      \
                } else if (is_surrogate(c)) {                                                      \
                    c = REPLACEMENT;                                                               \
                } else if (is_taken_out(c)) {                                                      \
                    continue;                                                                      \
                }                                                                                  \
            }                                                                                      \
            out[n++] = (type)c;                                                                    \
        }                                                                                          \
        return n;                                                                                  \
    }

DEFINE(uint8_t)
DEFINE(uint16_t)
DEFINE(uint32_t)

size_t pfs_clean_first(const void *text, size_t width, size_t length)
{
    return width == 1   ? first_uint8_t(text, length)
           : width == 2 ? first_uint16_t(text, length)
                        : first_uint32_t(text, length);
}

size_t pfs_clean(const void *text, size_t width, size_t length, size_t clean, void *out)
{
    return width == 1   ? clean_uint8_t(text, length, clean, out)
           : width == 2 ? clean_uint16_t(text, length, clean, out)
                        : clean_uint32_t(text, length, clean, out);
}
