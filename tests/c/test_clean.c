/* What is taken out of a message, at each width and each place. */
#include "harness.h"

#include "pfs_clean.h"

#define N 200

/* The text cleaned at a width; its length. */
static size_t cleaned(const uint32_t *text, size_t length, size_t width, uint32_t *out)
{
    union {
        uint8_t one[N];
        uint16_t two[N];
        uint32_t four[N];
    } in, made;
    for (size_t i = 0; i < length; i++) {
        if (width == 1) {
            in.one[i] = (uint8_t)text[i];
        } else if (width == 2) {
            in.two[i] = (uint16_t)text[i];
        } else {
            in.four[i] = text[i];
        }
    }
    size_t clean = pfs_clean_first(&in, width, length);
    CHECK(clean <= length);
    size_t n = pfs_clean(&in, width, length, clean, &made);
    CHECK(n <= length && pfs_clean_first(&made, width, n) == n);
    CHECK(clean < length || n == length);
    for (size_t i = 0; i < n; i++) {
        out[i] = width == 1 ? made.one[i] : width == 2 ? made.two[i] : made.four[i];
        CHECK(i >= clean || out[i] == text[i]);
    }
    return n;
}

TEST(all_kinds_by_hand)
{
    uint32_t out[N];
    const uint32_t narrow[] = {'a', 0, '\t', '\r', '\n', '\r', 'b', 0x85, 0x7f, 0xa0, 0x9b, '\r'};
    const uint32_t narrow_left[] = {'a', '\t', '\n', '\n', 'b', '\n', 0xa0, '\n'};
    for (size_t width = 1; width <= 4; width *= 2) {
        CHECK(cleaned(narrow, 12, width, out) == 8 && memcmp(out, narrow_left, 32) == 0);
    }
    const uint32_t wide[] = {0x61b,  0x61c,  0x200a, 0x200b, 0x200c, 0x200d, 0x200e,
                             0x2028, 0x202a, 0x2060, 0x2065, 0x206f, 0x2070, 0xd7ff,
                             0xd800, 0xdfff, 0xe000, 0xfeff, 0xfff8, 0xfff9, 0xfffc};
    const uint32_t wide_left[] = {0x61b,  0x200a, 0x200c, 0x200d, '\n',   0x2065, 0x2070,
                                  0xd7ff, 0xfffd, 0xfffd, 0xe000, 0xfff8, 0xfffc};
    for (size_t width = 2; width <= 4; width *= 2) {
        CHECK(cleaned(wide, 21, width, out) == 13 && memcmp(out, wide_left, 52) == 0);
    }
    const uint32_t beyond[] = {0xdffff, 0xe0000, 0x1f468, 0xe007f, 0xe0080};
    const uint32_t beyond_left[] = {0xdffff, 0x1f468, 0xe0080};
    CHECK(cleaned(beyond, 5, 4, out) == 3 && memcmp(out, beyond_left, 12) == 0);
}

TEST(wherever_it_is)
{
    uint32_t text[N], out[N];
    for (size_t length = 0; length <= N; length += 1 + length / 3) {
        for (size_t width = 1; width <= 4; width *= 2) {
            for (size_t i = 0; i < length; i++) {
                text[i] = 'x';
            }
            CHECK(cleaned(text, length, width, out) == length);
            for (size_t at = 0; at < length; at++) {
                text[at] = 0x1b;
                CHECK(cleaned(text, length, width, out) == length - 1);
                text[at] = 'x';
            }
        }
    }
}

int main(void)
{
    RUN(all_kinds_by_hand);
    RUN(wherever_it_is);
    FINISH();
}
